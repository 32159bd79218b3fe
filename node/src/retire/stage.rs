//! The named stages of a node's end, at each of which the crash tests end the process.

/// Where the end of a node can be when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Documents are gathered and the note is written; nothing was destroyed.
    Counted,
    /// Everything but keys, log, documents and note is gone; the log does not say so.
    Destroyed,
    /// The log ends with the protocol; there is no archive.
    Told,
    /// The archive has its name and was found whole; the keys are there.
    Archived,
    /// The keys are overwritten; the data directory is there.
    Wiped,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [Self::Counted, Self::Destroyed, Self::Told, Self::Archived, Self::Wiped];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counted => "retire-counted",
            Self::Destroyed => "retire-destroyed",
            Self::Told => "retire-told",
            Self::Archived => "retire-archived",
            Self::Wiped => "retire-wiped",
        }
    }

    /// Tells that the end of a node has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "the end of a node reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
