//! The named stages of full files, changes and deltas at a provider, at each of which the crash tests end the process.

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

/// Where a provider can be with a full file when it is killed: import, build and publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullStage {
    /// Every row is read and the gates are passed; the staging file has another name and no end.
    ImportRead,
    /// The staging file is in place; it has no index for changes.
    ImportPlaced,
    /// Index and staging file are in place.
    ImportIndexed,
    /// The epoch has keys, and the log knows them.
    BuildKeys,
    /// The table's pages are written under another name.
    BuildWritten,
    /// The table is complete and waits for its publication.
    BuildPlaced,
    /// The manifest is signed.
    PublishSigned,
    /// The table is in place; no log knows it.
    PublishPlaced,
    /// The state has its id, and the log's entry.
    PublishRecorded,
    /// The epoch before it retires; the log does not know it yet.
    PublishSucceeded,
}

impl FullStage {
    /// All stages, in their order.
    pub const ALL: [Self; 10] = [
        Self::ImportRead,
        Self::ImportPlaced,
        Self::ImportIndexed,
        Self::BuildKeys,
        Self::BuildWritten,
        Self::BuildPlaced,
        Self::PublishSigned,
        Self::PublishPlaced,
        Self::PublishRecorded,
        Self::PublishSucceeded,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImportRead => "import-read",
            Self::ImportPlaced => "import-placed",
            Self::ImportIndexed => "import-indexed",
            Self::BuildKeys => "build-keys",
            Self::BuildWritten => "build-written",
            Self::BuildPlaced => "build-placed",
            Self::PublishSigned => "publish-signed",
            Self::PublishPlaced => "publish-placed",
            Self::PublishRecorded => "publish-recorded",
            Self::PublishSucceeded => "publish-succeeded",
        }
    }

    /// Tells that a full file has reached this stage.
    pub(crate) fn reached(self) {
        tracing::debug!(stage = self.name(), "a full file reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
