//! What a provider has in hand, for checks and metrics.

use std::sync::Arc;

use super::{Provider, Published};

/// How much waits or is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Sessions that wait for the pass under way.
    pub passes: usize,
    /// Sessions that are remembered against replays.
    pub sessions: usize,
    /// Receipts without a countersignature.
    pub receipts: usize,
}

impl Provider {
    /// How much waits now.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            passes: self.passes.waiting(),
            sessions: self.sessions.remembered(),
            receipts: self.receipts.open(),
        }
    }

    /// The current epoch of every data set.
    pub(crate) fn all_published(&self) -> Vec<Arc<Published>> {
        self.published.every()
    }
}
