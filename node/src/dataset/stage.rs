//! The named stages of full files, changes and deltas at a provider, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a provider can be with a change file or a delta when it is killed.
    pub enum Stage {
        /// A change file is read and checked; nothing of it is kept.
        ChangeRead => "change-read",
        /// It is sealed under another name.
        ChangeSealed => "change-sealed",
        /// It is in place.
        ChangePlaced => "change-placed",
        /// A delta's rows are sealed under another name, and signed.
        DeltaSealed => "delta-sealed",
        /// The delta is in place; no log knows it.
        DeltaPlaced => "delta-placed",
        /// The state has its id, and the log's entry.
        DeltaLogged => "delta-logged",
    }
}

stages! {
    /// Where a provider can be with a full file when it is killed: import, build and publication.
    pub enum FullStage {
        /// Every row is read and the gates are passed; the staging file has another name and no end.
        ImportRead => "import-read",
        /// The staging file is in place; it has no index for changes.
        ImportPlaced => "import-placed",
        /// Index and staging file are in place.
        ImportIndexed => "import-indexed",
        /// The epoch has keys, and the log knows them.
        BuildKeys => "build-keys",
        /// The table's pages are written under another name.
        BuildWritten => "build-written",
        /// The table is complete and waits for its publication.
        BuildPlaced => "build-placed",
        /// The manifest is signed.
        PublishSigned => "publish-signed",
        /// The table is in place; no log knows it.
        PublishPlaced => "publish-placed",
        /// The state has its id, and the log's entry.
        PublishRecorded => "publish-recorded",
        /// The epoch before it retires; the log does not know it yet.
        PublishSucceeded => "publish-succeeded",
    }
}
