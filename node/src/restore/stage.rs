//! The named stages of a restore, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a restore can be when it is killed.
    pub enum Stage {
        /// Everything was copied into the folder that will become the data directory.
        Copied => "restore-copied",
        /// The log is the newest, and was checked.
        Log => "restore-log",
        /// The state is the log's.
        CaughtUp => "restore-caught-up",
        /// The log tells of the restore; the folder is not in its place.
        Ready => "restore-ready",
        /// The data directory is in its place.
        Placed => "restore-placed",
    }
}
