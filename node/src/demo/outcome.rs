//! A demonstration in figures.

use std::time::Duration;

use serde::Serialize;

use super::figures::LatencyFigures;
use super::trial::Trial;
use super::{rounded, seconds};
use crate::fleet::Fleet;
use crate::verification::Colour;

/// What came of a demonstration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Subscribers of the largest carrier.
    pub subscribers: u64,
    /// Carriers, and whoever else takes part in the joint score.
    pub providers: usize,
    /// Verifications.
    pub verifications: usize,
    /// Those that are as the truth says in every compared part.
    pub correct: usize,
    /// Verifications that must have a joint score.
    pub scored: usize,
    /// Those whose sum and band are as the truth says.
    pub scores_correct: usize,
    /// How many answers of each colour.
    pub colours: Colours,
    /// From the call to its answer.
    pub latency_ms: LatencyFigures,
    /// Verifications a second, a few at a time.
    pub throughput_per_s: f64,
    /// Every log is whole and signed, and the parties' logs agree.
    pub logs_verified: bool,
    /// From the first file to the last check, without waiting for a signal.
    pub duration_s: f64,
}

/// How many answers of each colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Colours {
    /// Strong signs of fraud or of a false identity.
    pub red: usize,
    /// To be looked at by a person.
    pub yellow: usize,
    /// Nothing speaks against the customer.
    pub green: usize,
}

impl Outcome {
    pub(super) fn new(fleet: &Fleet, trial: &Trial, logs_verified: bool, duration: Duration) -> Self {
        let verifications = trial.checked.len();
        Self {
            subscribers: fleet.imports().iter().map(|import| import.rows).max().unwrap_or_default(),
            providers: fleet.carriers().len(),
            verifications,
            correct: trial.correct(),
            scored: trial.scored(),
            scores_correct: trial.scores_correct(),
            colours: Colours::of(trial),
            latency_ms: LatencyFigures::of(trial.checked.iter().map(|checked| checked.latency).collect()),
            throughput_per_s: rounded(verifications as f64 / trial.elapsed.as_secs_f64()),
            logs_verified,
            duration_s: seconds(duration),
        }
    }

    /// Whether everything is as it must be.
    pub const fn is_good(&self) -> bool {
        let all_correct = self.correct == self.verifications && self.scores_correct == self.scored;
        all_correct && self.verifications > 0 && self.logs_verified
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of numbers always serialises")
    }
}

impl Colours {
    fn of(trial: &Trial) -> Self {
        let answers = trial.checked.iter().filter_map(|checked| checked.answer.as_ref().ok());
        let mut colours = Self::default();
        for report in answers {
            match report.decision.colour {
                Colour::Red => colours.red += 1,
                Colour::Yellow => colours.yellow += 1,
                Colour::Green => colours.green += 1,
            }
        }
        colours
    }
}
