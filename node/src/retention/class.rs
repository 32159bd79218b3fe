//! What is kept and destroyed alike.

use crate::config::RetentionConfig;

/// Cause in a protocol of destruction: it was kept as long as its class is.
pub const RETENTION: &str = "retention";
/// Cause in a protocol of destruction: it left service.
pub const RETIRED: &str = "retired";

/// Class of what left service: a data set with all its tables and keys.
pub const DATA_SET: &str = "data set";
/// Class of what left service: an epoch of a data set, its table and its keys.
pub const EPOCH: &str = "epoch";
/// Class of what left service: a partner's enrolment here, its snapshots, its grants.
pub const PARTNER: &str = "partner";
/// Class of what left service: a node, with everything but what is archived.
pub const NODE: &str = "node";

/// A class of data with one length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Sealed details of verifications.
    Verifications,
    /// A bank's folders of trainings.
    Trainings,
    /// What jobs that are over left, and what downloads and builds did.
    Working,
    /// Reports of refused rows.
    Rejects,
    /// A provider's epochs past their end.
    Epochs,
    /// A bank's replaced snapshots.
    Snapshots,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 6] =
        [Self::Verifications, Self::Trainings, Self::Working, Self::Rejects, Self::Epochs, Self::Snapshots];

    /// The class's name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verifications => "verifications",
            Self::Trainings => "trainings",
            Self::Working => "working data",
            Self::Rejects => "rejects",
            Self::Epochs => "epochs",
            Self::Snapshots => "snapshots",
        }
    }

    /// For how many days it is kept.
    pub const fn days(self, config: &RetentionConfig) -> u32 {
        match self {
            Self::Verifications => config.verification_days,
            Self::Trainings => config.training_days,
            Self::Working => config.working_days,
            Self::Rejects => config.reject_days,
            Self::Epochs => config.epoch_days,
            Self::Snapshots => config.snapshot_days,
        }
    }

    /// How it is destroyed, and how that is checked.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Verifications => {
                "rows overwritten by secure_delete, write-ahead log truncated; none found before the time"
            }
            Self::Epochs => {
                "files unlinked, folders synced, keys overwritten; no file and no secret key found afterwards"
            }
            _ => "files unlinked, folders synced; none found afterwards",
        }
    }
}
