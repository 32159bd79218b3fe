//! The named stages of a bank's snapshots and deltas, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a bank can be with a delta when it is killed.
    pub enum Stage {
        /// The provider's chain is checked, nothing is kept.
        Checked => "delta-checked",
        /// Some pages are kept.
        Pages => "delta-pages",
        /// All pages are kept and checked; the delta is not applied.
        Complete => "delta-complete",
        /// The delta is applied; the log does not know it yet.
        Applied => "delta-applied",
        /// The state has its id, and the log's entry.
        Recorded => "delta-recorded",
    }
}

stages! {
    /// Where a bank can be with a snapshot when it is killed.
    pub enum FetchStage {
        /// The download has begun; no page is kept.
        Begun => "snapshot-begun",
        /// Some pages are kept.
        Pages => "snapshot-pages",
        /// All pages are kept and checked; the snapshot is not in its place.
        Complete => "snapshot-complete",
        /// The snapshot is in its place; the log does not know it yet.
        Placed => "snapshot-placed",
        /// The state has its id, and the log's entry.
        Recorded => "snapshot-recorded",
    }
}
