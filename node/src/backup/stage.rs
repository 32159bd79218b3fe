//! The named stages of a backup, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a backup can be when it is killed.
    pub enum Stage {
        /// The state was copied.
        State => "backup-state",
        /// Every file but the log's was copied.
        Files => "backup-files",
        /// The log was copied.
        Log => "backup-log",
        /// Manifest and seal are written; the backup has no name yet.
        Sealed => "backup-sealed",
        /// The backup has its name; older ones are still there.
        Placed => "backup-placed",
    }
}
