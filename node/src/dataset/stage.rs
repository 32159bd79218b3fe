//! The named stages of changes and deltas at a provider, at each of which the crash tests end the process.

use std::fmt;

/// Where a provider can be with a change file or a delta when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// A change file is read and checked; nothing of it is kept.
    ChangeRead,
    /// It is sealed under another name.
    ChangeSealed,
    /// It is in place.
    ChangePlaced,
    /// A delta's rows are sealed under another name, and signed.
    DeltaSealed,
    /// The delta is in place; no log knows it.
    DeltaPlaced,
    /// The state has its id, and the log's entry.
    DeltaLogged,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 6] = [
        Self::ChangeRead,
        Self::ChangeSealed,
        Self::ChangePlaced,
        Self::DeltaSealed,
        Self::DeltaPlaced,
        Self::DeltaLogged,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChangeRead => "change-read",
            Self::ChangeSealed => "change-sealed",
            Self::ChangePlaced => "change-placed",
            Self::DeltaSealed => "delta-sealed",
            Self::DeltaPlaced => "delta-placed",
            Self::DeltaLogged => "delta-logged",
        }
    }

    /// Tells that a change file or a delta has reached this stage.
    pub(crate) fn reached(self) {
        tracing::debug!(stage = self.name(), "a change reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
