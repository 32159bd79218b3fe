//! The named stages of a publication and of a download, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a publication or a download can be when it is killed. The stages of a publication come first.
    pub enum TableStage {
        /// Provider: nothing of the table was made in this run yet.
        TableBegun => "table-begun",
        /// Provider: some of the table's segments, and how many, are on the disk.
        TablePart => "table-part",
        /// Provider: the whole table is on the disk; nobody was told of it.
        TableBuilt => "table-built",
        /// Provider: the ledger has the table's root.
        TableNoted => "table-noted",
        /// Provider: the manifest is signed and kept.
        ManifestWritten => "manifest-written",
        /// Provider: the table is in its place, and is served from here on.
        TablePlaced => "table-placed",
        /// Bank: the manifests of all providers are checked; no row came in this run yet.
        FetchBegun => "fetch-begun",
        /// Bank: the sum of some segments, and how many, are on the disk.
        FetchPart => "fetch-part",
        /// Bank: every segment came and was added.
        Fetched => "fetched",
        /// Bank: every table has its manifest's root, and the sum is on the disk.
        Summed => "summed",
        /// Bank: the sum is in its place.
        Installed => "installed",
    }
}
