//! Why a backup is not made, not taken, or not restored.

use std::io;
use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;

use crate::store::StoreError;

/// Why a backup is not made, does not hold, or is not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A file of the node or of the backup cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state cannot be copied.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The place for the backup cannot be written.
    #[error(
        "{path} cannot be written: {source}; nothing was left there. Make room, or name another directory"
    )]
    Target {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Backups within the data directory would hold one another, and go with it.
    #[error("{path} is within the data directory; name a directory outside of it, best on another disk")]
    Inside {
        /// The directory that was named.
        path: PathBuf,
    },
    /// Another backup is being made there.
    #[error("another backup is being made in {path}; wait for it to end")]
    Busy {
        /// The repository.
        path: PathBuf,
    },
    /// A path is no UTF-8 text, or has a character that a manifest's line cannot hold.
    #[error("{path} has a name that a manifest cannot hold; rename or remove it")]
    Name {
        /// The path.
        path: PathBuf,
    },
    /// Files changed again and again while they were copied.
    #[error(
        "{path} changed again and again while it was copied; run the backup when no import or build is running"
    )]
    Unstable {
        /// One of them.
        path: PathBuf,
    },
    /// The node has durable entries and does not publish them.
    #[error(
        "the log has {expected} durable entries and publishes {found}; see why the node does not publish, then run the backup again"
    )]
    Unpublished {
        /// Entries published.
        found: u64,
        /// Entries durable.
        expected: u64,
    },
    /// There is no backup.
    #[error("there is no backup in {path}; name a backup's folder, or a repository with one")]
    Missing {
        /// The directory that was named.
        path: PathBuf,
    },
    /// The backup is not what was sealed.
    #[error(
        "the backup {path} is damaged ({finding}); use another one. `windvane backup verify` shows everything"
    )]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// The first finding.
        finding: String,
    },
    /// The backup has links, devices or pipes in it, which no backup is made with.
    #[error(
        "the backup {path} holds what is neither file nor folder, {found}: nothing was read, because a link leads out of a backup and a pipe never ends; use another copy"
    )]
    Irregular {
        /// The backup.
        path: PathBuf,
        /// The first paths in it, with commas.
        found: String,
    },
    /// The backup is another node's.
    #[error(
        "the backup is of {found}, the configuration is of {expected}; name the backup, or the configuration, of one node"
    )]
    Foreign {
        /// Whose it is.
        found: String,
        /// Who wants it.
        expected: String,
    },
    /// The directory to restore to holds something.
    #[error("{path} is not empty; a restore makes a new data directory, so name one that is not there")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody said which log is the newest.
    #[error(
        "say where the newest log is: --log DATA_DIR of the node that was lost, or --log-lost when nothing of it is left (which ends grants, epochs and callers and suspends partners, because nobody knows what was used since the backup and who was distrusted)"
    )]
    LogNotNamed,
    /// The log does not go as far, or not on from where it was seen.
    #[error(
        "{finding}; restore with the newest log (--log DATA_DIR): a node does not go back behind what others have seen"
    )]
    LogBehind {
        /// What the check found.
        finding: String,
    },
}

impl BackupError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Target { .. } => "BACKUP_TARGET",
            Self::Inside { .. } => "BACKUP_INSIDE",
            Self::Busy { .. } => "BACKUP_BUSY",
            Self::Name { .. } => "BACKUP_NAME",
            Self::Unstable { .. } => "BACKUP_UNSTABLE",
            Self::Unpublished { .. } => "LOG_UNPUBLISHED",
            Self::Missing { .. } => "BACKUP_MISSING",
            Self::Damaged { .. } => "BACKUP_DAMAGED",
            Self::Irregular { .. } => "BACKUP_IRREGULAR",
            Self::Foreign { .. } => "BACKUP_FOREIGN",
            Self::NotEmpty { .. } => "RESTORE_NOT_EMPTY",
            Self::LogNotNamed => "RESTORE_LOG_NOT_NAMED",
            Self::LogBehind { .. } => "RESTORE_LOG_BEHIND",
        }
    }

    /// Says where something could not be written.
    pub(crate) fn target(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Target { path, source }
    }
}
