//! `[breaker]`: when the bank stops asking a provider that does not answer.

use serde::Deserialize;

use super::ConfigError;

/// When the bank stops asking a provider that does not answer, and when it tries again. Refusals are answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Over which time failures are counted.
    pub window_ms: u64,
    /// So many failures within the window, at least.
    pub failures: usize,
    /// And this share of all calls within it, at least.
    pub share: f64,
    /// How long the provider is not asked, give or take a tenth; twice as long after every failed attempt.
    pub open_ms: u64,
    /// And this at most.
    pub max_open_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { window_ms: 10_000, failures: 5, share: 0.5, open_ms: 2_000, max_open_ms: 30_000 }
    }
}

impl BreakerConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule: &str| Err(ConfigError::Field { field, rule: rule.to_owned() });
        if !(100..=3_600_000).contains(&self.window_ms) {
            return refuse("breaker.window_ms", "is 100 to 3600000");
        }
        if !(1..=1_000).contains(&self.failures) {
            return refuse("breaker.failures", "is 1 to 1000");
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return refuse("breaker.share", "is above 0 and at most 1");
        }
        if !(10..=3_600_000).contains(&self.open_ms) {
            return refuse("breaker.open_ms", "is 10 to 3600000");
        }
        if !(self.open_ms..=3_600_000).contains(&self.max_open_ms) {
            return refuse("breaker.max_open_ms", "is breaker.open_ms to 3600000");
        }
        Ok(())
    }
}
