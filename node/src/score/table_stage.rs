//! The named stages of a publication and of a download, at each of which the crash tests end the process.

use std::fmt;

/// Where a publication or a download can be when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableStage {
    /// Provider: nothing of the table was made in this run yet.
    TableBegun,
    /// Provider: some of the table's segments, and how many, are on the disk.
    TablePart,
    /// Provider: the whole table is on the disk; nobody was told of it.
    TableBuilt,
    /// Provider: the ledger has the table's root.
    TableNoted,
    /// Provider: the manifest is signed and kept.
    ManifestWritten,
    /// Provider: the table is in its place, and is served from here on.
    TablePlaced,
    /// Bank: the manifests of all providers are checked; no row came in this run yet.
    FetchBegun,
    /// Bank: the sum of some segments, and how many, are on the disk.
    FetchPart,
    /// Bank: every segment came and was added.
    Fetched,
    /// Bank: every table has its manifest's root, and the sum is on the disk.
    Summed,
    /// Bank: the sum is in its place.
    Installed,
}

impl TableStage {
    /// All stages: those of a publication in their order, then those of a download.
    pub const ALL: [Self; 11] = [
        Self::TableBegun,
        Self::TablePart,
        Self::TableBuilt,
        Self::TableNoted,
        Self::ManifestWritten,
        Self::TablePlaced,
        Self::FetchBegun,
        Self::FetchPart,
        Self::Fetched,
        Self::Summed,
        Self::Installed,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TableBegun => "table-begun",
            Self::TablePart => "table-part",
            Self::TableBuilt => "table-built",
            Self::TableNoted => "table-noted",
            Self::ManifestWritten => "manifest-written",
            Self::TablePlaced => "table-placed",
            Self::FetchBegun => "fetch-begun",
            Self::FetchPart => "fetch-part",
            Self::Fetched => "fetched",
            Self::Summed => "summed",
            Self::Installed => "installed",
        }
    }

    /// Tells that this stage is reached.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a table reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for TableStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
