//! Whether scores still are what the model's card expects: pure logic over the bank's own figures.
//!
//! Only verifications are counted, alone or in batches: applicants, of whom the card's reference is. A file or a
//! screening that is scored alone is not: its customers were chosen, a screening's by standing on a list, and how often
//! they hit, fall into a band or go unanswered at night must neither stop the score for applicants nor dilute what is
//! wrong there; their output names what failed.
//!
//! Calls are counted into windows of a fixed number, so that the same calls always give the same verdict. At a
//! window's end:
//! - **drift**: [`psi`] of the bands' shares against the card's reference, where at least
//!   [`LEAST_OBSERVATIONS`] calls gave a score;
//! - **unavailable** and **undecodable**: their shares of all calls; a single undecodable row alerts, since an
//!   honest table has none;
//! - **hit rate**: scores, unavailable and undecodable rows, as a share of all calls: numbers in the universe;
//! - **red rate**: red decisions as a share of those that there are.
//!
//! Hit and red rate are compared with their mean over up to [`HISTORY`] earlier windows in which they were fine,
//! once there are [`LEAST_HISTORY`]. **Not here**: what is done about a verdict, which is
//! [`reaction`](super::reaction).

use std::collections::VecDeque;

use serde::Serialize;
use windvane_protocols::score::model::ModelCard;

use super::stability::{LEAST_OBSERVATIONS, psi};
use crate::config::ScoreConfig;
use crate::verification::Colour;

/// Earlier windows that make a rate's mean.
pub const HISTORY: usize = 20;

/// Earlier windows before rates are compared at all.
pub const LEAST_HISTORY: usize = 5;

/// How a call for a score ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With a score, in the band of this index in the card.
    Band(usize),
    /// The number is not in the universe.
    Outside,
    /// A provider's answer was missing, late or wrong.
    Unavailable,
    /// The row did not decode.
    Undecodable,
}

/// One call, and what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    /// How it ended.
    pub outcome: Outcome,
    /// The decision's colour, where there was a decision.
    pub colour: Option<Colour>,
}

/// What a window is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Rows that do not decode.
    Undecodable,
    /// Calls without a score.
    Unavailable,
    /// The bands' stability index.
    Drift,
    /// Numbers that are in the universe.
    HitRate,
    /// Red decisions.
    RedRate,
}

/// One figure at or beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Finding {
    /// Which figure.
    pub what: What,
    /// What it is: an index, a share, or a share's change.
    pub found: f64,
    /// Its limit.
    pub limit: f64,
}

/// What a window's figures say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// All is within its limits.
    Fine,
    /// Somebody should look.
    Alert {
        /// What is beyond its limit; never empty.
        findings: Vec<Finding>,
        /// Whether the window before said the same, so that it has been told.
        repeated: bool,
    },
    /// The score should no longer be used.
    Fallback {
        /// What is beyond the limit of a fallback; never empty.
        findings: Vec<Finding>,
    },
}

/// What was counted in a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Scores in each band.
    pub bands: Vec<u64>,
    /// Numbers outside of the universe.
    pub outside: u64,
    /// Calls without a score.
    pub unavailable: u64,
    /// Rows that did not decode.
    pub undecodable: u64,
    /// Decisions.
    pub decisions: u64,
    /// Yellow ones.
    pub yellow: u64,
    /// Red ones.
    pub red: u64,
}

/// A complete window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// Its number since the monitor began, from 1.
    pub number: u64,
    /// What was counted.
    pub counts: Counts,
    /// Stability index of the bands; none where too few calls gave a score.
    pub psi: Option<f64>,
    /// Share of numbers in the universe.
    pub hit_rate: f64,
    /// Share of calls without a score.
    pub unavailable_rate: f64,
    /// Share of red decisions; none where nothing was decided.
    pub red_rate: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
}

/// Where the monitor stands, for `score status` and metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The model that is watched.
    pub model: String,
    /// Calls that make a window.
    pub window: u64,
    /// What was counted since the last window.
    pub current: Counts,
    /// The last complete window.
    pub last: Option<Window>,
}

/// Watches the scores of one model.
#[derive(Debug, Clone)]
pub struct Monitor {
    model: String,
    reference: Vec<u64>,
    config: ScoreConfig,
    current: Counts,
    hits: Past,
    reds: Past,
    last: Option<Window>,
    /// Whether the last verdict could not be told.
    untold: bool,
}

/// A rate in earlier windows.
#[derive(Debug, Clone, Default)]
struct Past(VecDeque<f64>);

impl Monitor {
    /// Begins with an empty window; a model that becomes active gets a monitor of its own.
    pub fn new(card: &ModelCard, config: &ScoreConfig) -> Self {
        let reference: Vec<u64> = card.reference().iter().copied().map(u64::from).collect();
        Self {
            model: card.name().to_owned(),
            current: Counts::of(reference.len()),
            reference,
            config: config.clone(),
            hits: Past::default(),
            reds: Past::default(),
            last: None,
            untold: false,
        }
    }

    /// Counts a call; gives the verdict of a window that it completes. A band that the card does not have counts
    /// as undecodable.
    pub fn observe(&mut self, observation: &Observation) -> Option<Verdict> {
        self.current.add(observation);
        (self.current.calls >= self.config.window).then(|| self.judge())
    }

    /// Takes note that the last verdict could not be told, so that the next one with the same findings is not taken for
    /// a repetition.
    pub fn untold(&mut self) {
        self.untold = true;
    }

    /// Where it stands.
    pub fn summary(&self) -> Summary {
        Summary {
            model: self.model.clone(),
            window: self.config.window,
            current: self.current.clone(),
            last: self.last.clone(),
        }
    }

    fn judge(&mut self) -> Verdict {
        let counts = std::mem::replace(&mut self.current, Counts::of(self.reference.len()));
        let window = Window {
            number: self.last.as_ref().map_or(1, |last| last.number + 1),
            psi: (counts.scores() >= LEAST_OBSERVATIONS)
                .then(|| psi(&self.reference, &counts.bands))
                .flatten(),
            hit_rate: share(counts.calls - counts.outside, counts.calls),
            unavailable_rate: share(counts.unavailable, counts.calls),
            red_rate: (counts.decisions > 0).then(|| share(counts.red, counts.decisions)),
            verdict: Verdict::Fine,
            counts,
        };
        let verdict = self.verdict(&window);
        self.last = Some(Window { verdict: verdict.clone(), ..window });
        self.untold = false;
        verdict
    }

    fn verdict(&mut self, window: &Window) -> Verdict {
        let config = &self.config;
        let undecodable = share(window.counts.undecodable, window.counts.calls);
        let one = share(1, window.counts.calls);
        let watched = [
            (What::Undecodable, Some(undecodable), one, Some(config.unavailable_fallback)),
            (
                What::Unavailable,
                Some(window.unavailable_rate),
                config.unavailable_alert,
                Some(config.unavailable_fallback),
            ),
            (What::Drift, window.psi, config.psi_alert, Some(config.psi_fallback)),
            (
                What::HitRate,
                self.hits.change(Some(window.hit_rate), config.hit_alert),
                config.hit_alert,
                None,
            ),
            (What::RedRate, self.reds.change(window.red_rate, config.red_alert), config.red_alert, None),
        ];
        let reached = |limit: Option<f64>, what, found: Option<f64>| match (found, limit) {
            (Some(found), Some(limit)) if found >= limit => Some(Finding { what, found, limit }),
            _ => None,
        };
        let fallback = watched.iter().filter_map(|&(what, found, _, limit)| reached(limit, what, found));
        let fallback: Vec<_> = fallback.collect();
        if !fallback.is_empty() {
            return Verdict::Fallback { findings: fallback };
        }
        let alert = watched.iter().filter_map(|&(what, found, limit, _)| reached(Some(limit), what, found));
        match alert.collect::<Vec<_>>() {
            findings if findings.is_empty() => Verdict::Fine,
            findings => Verdict::Alert { repeated: self.told(&findings), findings },
        }
    }

    fn told(&self, findings: &[Finding]) -> bool {
        let kinds = |findings: &[Finding]| findings.iter().map(|finding| finding.what).collect::<Vec<_>>();
        let Some(Verdict::Alert { findings: before, .. }) = self.last.as_ref().map(|last| &last.verdict)
        else {
            return false;
        };
        !self.untold && kinds(before) == kinds(findings)
    }
}

impl What {
    /// The stable code of an alert.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Undecodable => "SCORE_UNDECODABLE_ROWS",
            Self::Unavailable => "SCORE_UNAVAILABLE_RATE",
            Self::Drift => "SCORE_DRIFT",
            Self::HitRate => "SCORE_HIT_RATE",
            Self::RedRate => "SCORE_RED_RATE",
        }
    }
}

impl Verdict {
    /// What is beyond its limit.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Fine => &[],
            Self::Alert { findings, .. } | Self::Fallback { findings } => findings,
        }
    }
}

impl Counts {
    fn of(bands: usize) -> Self {
        Self { bands: vec![0; bands], ..Self::default() }
    }

    fn add(&mut self, observation: &Observation) {
        self.calls += 1;
        match observation.outcome {
            Outcome::Band(index) if index < self.bands.len() => self.bands[index] += 1,
            Outcome::Band(_) | Outcome::Undecodable => self.undecodable += 1,
            Outcome::Outside => self.outside += 1,
            Outcome::Unavailable => self.unavailable += 1,
        }
        self.decisions += u64::from(observation.colour.is_some());
        self.yellow += u64::from(observation.colour == Some(Colour::Yellow));
        self.red += u64::from(observation.colour == Some(Colour::Red));
    }

    fn scores(&self) -> u64 {
        self.bands.iter().sum()
    }
}

impl Past {
    /// How far a rate is from its mean; a rate that is within the limit becomes part of the mean.
    fn change(&mut self, rate: Option<f64>, limit: f64) -> Option<f64> {
        let rate = rate?;
        let known = self.0.len() >= LEAST_HISTORY;
        let change = known.then(|| (rate - self.0.iter().sum::<f64>() / self.0.len() as f64).abs());
        if change.is_none_or(|change| change < limit) {
            self.0.push_back(rate);
            if self.0.len() > HISTORY {
                self.0.pop_front();
            }
        }
        change
    }
}

fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests;
