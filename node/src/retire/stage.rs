//! The named stages of a node's end, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where the end of a node can be when it is killed.
    pub enum Stage {
        /// Documents are gathered and the note is written; nothing was destroyed.
        Counted => "retire-counted",
        /// Everything but keys, log, documents and note is gone; the log does not say so.
        Destroyed => "retire-destroyed",
        /// The log ends with the protocol; there is no archive.
        Told => "retire-told",
        /// The archive has its name and was found whole, the note names it; the keys are there.
        Archived => "retire-archived",
        /// The keys are overwritten; the data directory is there.
        Wiped => "retire-wiped",
    }
}
