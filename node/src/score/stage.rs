//! The named stages of a setup, at each of which the crash tests end the process.

use std::fmt;

/// Where a setup can be when a party is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The bank: the epoch is noted, nothing was sent. A provider: the first round has come.
    Announce,
    /// The bank keeps everybody's announcement. A provider: the epoch is noted and logged.
    Begun,
    /// The bank keeps everybody's dealing. A provider has dealt.
    Dealt,
    /// A provider's secrets are sealed, and the messages so far are kept; the bank does not pass it.
    KeysStored,
    /// The bank keeps everybody's confirmation. A provider's own is logged.
    Confirmed,
    /// All confirmations agree; the epoch is not kept yet.
    Agreed,
    /// The evidence is kept and logged.
    Finished,
}

impl Stage {
    /// All stages, in the order of a setup.
    pub const ALL: [Self; 7] = [
        Self::Announce,
        Self::Begun,
        Self::Dealt,
        Self::KeysStored,
        Self::Confirmed,
        Self::Agreed,
        Self::Finished,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Begun => "begun",
            Self::Dealt => "dealt",
            Self::KeysStored => "keys-stored",
            Self::Confirmed => "confirmed",
            Self::Agreed => "agreed",
            Self::Finished => "finished",
        }
    }

    /// Tells that a setup has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a setup reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
