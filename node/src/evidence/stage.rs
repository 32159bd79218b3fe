//! The named stages of an append and of a checkpoint, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    silent
    /// Where the log can be when its process is killed.
    ///
    /// Every entry passes some of them, so a release build does nothing there.
    pub enum Stage {
        /// Entries are written into the journal and not synced.
        Written => "log-written",
        /// They are durable; nobody was told.
        Durable => "log-durable",
        /// Their tiles have their names; no checkpoint covers them.
        Tiles => "log-tiles",
        /// The checkpoint is in place; the journal still has them.
        Checkpoint => "log-checkpoint",
        /// The journal is cleared.
        Cleared => "log-cleared",
    }
}
