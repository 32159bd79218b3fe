//! The named stages of a job, at each of which the crash tests end the process.

use std::fmt;

/// Where a job can be when it is killed. Both parties pass the same stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The request is signed, logged and kept; nothing was sent. At the provider: it has come.
    Open,
    /// The acceptance is logged and kept.
    Accepted,
    /// The input is partitioned under the job's salt.
    Partitioned,
    /// A bucket's first step begins.
    BucketStarted,
    /// A bucket's first message was given to the connection.
    BucketSent,
    /// A bucket's result is kept. At the provider: the requester said that it keeps it.
    BucketFinished,
    /// The receipt is logged and kept.
    Receipt,
    /// The result file is in its place; the provider does not pass it.
    Output,
}

impl Stage {
    /// All stages, in the order of a job.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Accepted,
        Self::Partitioned,
        Self::BucketStarted,
        Self::BucketSent,
        Self::BucketFinished,
        Self::Receipt,
        Self::Output,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Partitioned => "partitioned",
            Self::BucketStarted => "bucket-started",
            Self::BucketSent => "bucket-sent",
            Self::BucketFinished => "bucket-finished",
            Self::Receipt => "receipt",
            Self::Output => "output",
        }
    }

    /// Tells that a job has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a job reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
