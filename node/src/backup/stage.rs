//! The named stages of a backup and of a restore, at each of which the crash tests end the process.

/// Where a backup or a restore can be when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The state was copied.
    State,
    /// Every file but the log's was copied.
    Files,
    /// The log was copied.
    Log,
    /// Manifest and seal are written; the backup has no name yet.
    Sealed,
    /// The backup has its name; older ones are still there.
    Placed,
    /// A restore has copied everything into the folder that will become the data directory.
    RestoreCopied,
    /// The log of a restore is the newest, and was checked.
    RestoreLog,
    /// The state of a restore is the log's.
    RestoreCaughtUp,
    /// The log of a restore tells of it; the folder is not in its place.
    RestoreReady,
    /// The data directory is in its place.
    RestorePlaced,
}

impl Stage {
    /// The stages of a backup, in their order.
    pub const BACKUP: [Self; 5] = [Self::State, Self::Files, Self::Log, Self::Sealed, Self::Placed];

    /// The stages of a restore, in their order.
    pub const RESTORE: [Self; 5] = [
        Self::RestoreCopied,
        Self::RestoreLog,
        Self::RestoreCaughtUp,
        Self::RestoreReady,
        Self::RestorePlaced,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "backup-state",
            Self::Files => "backup-files",
            Self::Log => "backup-log",
            Self::Sealed => "backup-sealed",
            Self::Placed => "backup-placed",
            Self::RestoreCopied => "restore-copied",
            Self::RestoreLog => "restore-log",
            Self::RestoreCaughtUp => "restore-caught-up",
            Self::RestoreReady => "restore-ready",
            Self::RestorePlaced => "restore-placed",
        }
    }

    /// Tells that the stage was reached.
    pub(crate) fn reached(self) {
        tracing::debug!(stage = self.name(), "a backup or a restore reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
