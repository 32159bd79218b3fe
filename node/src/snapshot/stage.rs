//! The named stages of a bank's snapshots and deltas, at each of which the crash tests end the process.

use std::fmt;

/// Where a bank can be with a delta when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The provider's chain is checked, nothing is kept.
    Checked,
    /// Some pages are kept.
    Pages,
    /// All pages are kept and checked; the delta is not applied.
    Complete,
    /// The delta is applied; the log does not know it yet.
    Applied,
    /// The state has its id, and the log's entry.
    Recorded,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [Self::Checked, Self::Pages, Self::Complete, Self::Applied, Self::Recorded];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checked => "delta-checked",
            Self::Pages => "delta-pages",
            Self::Complete => "delta-complete",
            Self::Applied => "delta-applied",
            Self::Recorded => "delta-recorded",
        }
    }

    /// Tells that a delta has reached this stage.
    pub(crate) fn reached(self) {
        tracing::debug!(stage = self.name(), "a delta reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a bank can be with a snapshot when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchStage {
    /// The download has begun; no page is kept.
    Begun,
    /// Some pages are kept.
    Pages,
    /// All pages are kept and checked; the snapshot is not in its place.
    Complete,
    /// The snapshot is in its place; the log does not know it yet.
    Placed,
    /// The state has its id, and the log's entry.
    Recorded,
}

impl FetchStage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [Self::Begun, Self::Pages, Self::Complete, Self::Placed, Self::Recorded];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "snapshot-begun",
            Self::Pages => "snapshot-pages",
            Self::Complete => "snapshot-complete",
            Self::Placed => "snapshot-placed",
            Self::Recorded => "snapshot-recorded",
        }
    }

    /// Tells that a snapshot has reached this stage.
    pub(crate) fn reached(self) {
        tracing::debug!(stage = self.name(), "a snapshot reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
