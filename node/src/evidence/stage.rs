//! The named stages of an append and of a checkpoint, at each of which the crash tests end the process.

/// Where the log can be when its process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Entries are written into the journal and not synced.
    Written,
    /// They are durable; nobody was told.
    Durable,
    /// Their tiles have their names; no checkpoint covers them.
    Tiles,
    /// The checkpoint is in place; the journal still has them.
    Checkpoint,
    /// The journal is cleared.
    Cleared,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [Self::Written, Self::Durable, Self::Tiles, Self::Checkpoint, Self::Cleared];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "log-written",
            Self::Durable => "log-durable",
            Self::Tiles => "log-tiles",
            Self::Checkpoint => "log-checkpoint",
            Self::Cleared => "log-cleared",
        }
    }

    /// Tells that the log has reached this stage. Called for every entry, so that nothing is done in a release.
    #[inline]
    pub(super) fn reached(self) {
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
