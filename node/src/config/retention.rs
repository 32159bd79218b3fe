//! How long the node keeps what, within the bounds of its classes.

use serde::Deserialize;

use super::ConfigError;

/// A person's sealed details, and trainings with their labels: five years.
const MAX_DETAIL_DAYS: u32 = 1_826;

/// Details are needed for questions about a decision at least for a month.
const MIN_DETAIL_DAYS: u32 = 30;

/// Working data: a month.
const MAX_WORKING_DAYS: u32 = 30;

/// How long the node keeps what. The log, with its receipts, grants and public keys, has no entry here: nothing in the
/// node removes any of it, and it is kept for at least fifteen years.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// How often the running node destroys what is due; 0 leaves it to `windvane retain run`.
    pub every_minutes: u32,
    /// Sealed details of verifications, from their time.
    pub verification_days: u32,
    /// A bank's folders of trainings, from their end; their audit needs them.
    pub training_days: u32,
    /// What jobs that are over refused or found twice, and leftovers of downloads and builds.
    pub working_days: u32,
    /// Reports of refused rows of imports, builds and lists.
    pub reject_days: u32,
    /// A provider's ended epochs, tables and keys, from the end that their manifest names.
    pub epoch_days: u32,
    /// A bank's snapshots that a newer one replaced, from the arrival of the next one.
    pub snapshot_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            every_minutes: 60,
            verification_days: MAX_DETAIL_DAYS,
            training_days: MAX_DETAIL_DAYS,
            working_days: MAX_WORKING_DAYS,
            reject_days: MAX_WORKING_DAYS,
            epoch_days: 7,
            snapshot_days: 1,
        }
    }
}

impl RetentionConfig {
    /// Checks every bound.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let details = MIN_DETAIL_DAYS..=MAX_DETAIL_DAYS;
        for (field, days, range) in [
            ("retention.verification_days", self.verification_days, details.clone()),
            ("retention.training_days", self.training_days, details),
            ("retention.working_days", self.working_days, 1..=MAX_WORKING_DAYS),
            ("retention.reject_days", self.reject_days, 1..=MAX_WORKING_DAYS),
            ("retention.epoch_days", self.epoch_days, 0..=MAX_WORKING_DAYS),
            ("retention.snapshot_days", self.snapshot_days, 0..=MAX_WORKING_DAYS),
        ] {
            if !range.contains(&days) {
                let rule = format!("is {} to {} days", range.start(), range.end());
                return Err(ConfigError::Field { field, rule });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_of_a_class_is_refused() {
        assert!(RetentionConfig::default().check().is_ok());
        for change in [
            |c: &mut RetentionConfig| c.verification_days = 1_827,
            |c: &mut RetentionConfig| c.verification_days = 29,
            |c: &mut RetentionConfig| c.training_days = 1_827,
            |c: &mut RetentionConfig| c.working_days = 31,
            |c: &mut RetentionConfig| c.working_days = 0,
            |c: &mut RetentionConfig| c.reject_days = 31,
            |c: &mut RetentionConfig| c.epoch_days = 31,
            |c: &mut RetentionConfig| c.snapshot_days = 31,
        ] {
            let mut config = RetentionConfig::default();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().code(), "CONFIG_FIELD", "{config:?}");
        }
    }
}
