//! `[score]`: how the bank watches the joint score.

use serde::Deserialize;

use super::ConfigError;
use crate::score::stability;

/// Calls in one window of the monitor: a day of a busy bank.
const MAX_SCORE_WINDOW: u64 = 10_000_000;

/// How the bank watches the joint score. A limit counts as reached when it is met.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreConfig {
    /// Verifications with a score after which their figures are judged; what is scored alone does not count.
    pub window: u64,
    /// Population stability index of the bands, against the model's card, from which there is an alert.
    pub psi_alert: f64,
    /// From which the score is no longer used.
    pub psi_fallback: f64,
    /// Share of calls without a score, because a provider did not answer, from which there is an alert.
    pub unavailable_alert: f64,
    /// From which the score is no longer used; the same for calls whose row does not decode.
    pub unavailable_fallback: f64,
    /// Change of the share of numbers that are in the universe, against earlier windows, from which there is an
    /// alert.
    pub hit_alert: f64,
    /// Change of the share of red decisions, against earlier windows, from which there is an alert.
    pub red_alert: f64,
    /// What is done instead of using the score.
    pub fallback: Fallback,
}

/// What the bank does instead of using a score that it no longer trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// It decides by its rules alone.
    Rules,
    /// It goes back to the last model whose table is still there, and to its rules where there is none.
    LastGood,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self {
            window: 1_000,
            psi_alert: stability::STABLE,
            psi_fallback: stability::CHANGED,
            unavailable_alert: 0.05,
            unavailable_fallback: 0.5,
            hit_alert: 0.1,
            red_alert: 0.1,
            fallback: Fallback::Rules,
        }
    }
}

impl ScoreConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule: String| Err(ConfigError::Field { field, rule });
        if !(stability::LEAST_OBSERVATIONS..=MAX_SCORE_WINDOW).contains(&self.window) {
            let least = stability::LEAST_OBSERVATIONS;
            return refuse("score.window", format!("is {least} to {MAX_SCORE_WINDOW}"));
        }
        let ordered = |low: f64, high: f64| low > 0.0 && low <= high && high.is_finite();
        if !ordered(self.psi_alert, self.psi_fallback) {
            return refuse("score.psi_alert", "is above 0 and at most score.psi_fallback".to_owned());
        }
        if !ordered(self.unavailable_alert, self.unavailable_fallback) || self.unavailable_fallback > 1.0 {
            let rule = "is above 0 and at most score.unavailable_fallback, which is at most 1";
            return refuse("score.unavailable_alert", rule.to_owned());
        }
        for (field, limit) in [("score.hit_alert", self.hit_alert), ("score.red_alert", self.red_alert)] {
            if !(ordered(limit, limit) && limit <= 1.0) {
                return refuse(field, "is above 0 and at most 1".to_owned());
            }
        }
        Ok(())
    }
}
