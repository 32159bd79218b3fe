//! Where a node keeps what it knows of scoring groups: `score/` in the data directory.
//!
//! ```text
//! score/ledger                            epochs begun and tables published; only grows
//! score/<group>/plan                      what this party joined or set up: pins, threshold, model, and the signed
//!                                         list of segments
//! score/<group>/models/<name>/            the registry's versions
//! score/<group>/epochs/<n>/setup          the signed messages so far of a setup that is not finished here
//! score/<group>/epochs/<n>/evidence       all signed messages of the finished setup
//! score/<group>/epochs/<n>/plan           what the epoch was set up under, in the same form
//! score/<group>/epochs/<n>/retired        marks an epoch whose keys are destroyed
//! score/<group>/epochs/<n>/manifests/<party>
//! score/<group>/epochs/<n>/table          a provider's own table; at the bank, the sum of all
//! score/<group>/epochs/<n>/sum-root       at the bank: the sum's root, and of which tables it is
//! score/<group>/epochs/<n>/table.record   of which parts the table is, and how much of it stands
//! score/<group>/epochs/<n>/*.tmp          a table or a sum that is not whole, with `sum.record` of the latter
//! score/<group>/state                     which epoch and model are active, and what the log still has
//!                                         to be told of it
//! ```
//!
//! Files appear whole or not at all; who changes a group holds its folder.

use std::io;
use std::path::{Path, PathBuf};

use windvane_keys::files::{FileError, read_private, write_private};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::ledger::{Ledger, LedgerError, TableRoot};
use windvane_protocols::transcript::{Hash, Record, TranscriptError};

use crate::identity::Layout;
use crate::snapshot::disk::{DirectoryLock, at, create_directory, numbered};

/// A full ledger: contexts with their roots, and groups with their epochs.
const MAX_LEDGER_BYTES: usize = 16 << 20;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what it should be.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TranscriptError,
    },
    /// Another process changes the same.
    #[error("{path} is in use by another command; wait for it to end")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The ledger forbids it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such group here.
    #[error(
        "there is no scoring group {group} here; `score join` (a provider) or `score setup` (the bank) makes it"
    )]
    NoGroup {
        /// The group.
        group: DataSet,
    },
    /// The group is here, and not this epoch of it.
    #[error("scoring group {group} has no epoch {epoch} here; `score status` lists those that it has")]
    NoEpoch {
        /// The group.
        group: DataSet,
        /// The epoch.
        epoch: u64,
    },
}

impl FolderError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Damaged { .. } => "SCORE_FILE_DAMAGED",
            Self::Busy { .. } => "SCORE_BUSY",
            Self::Ledger(LedgerError::Rollback { .. }) => "SCORE_EPOCH_USED",
            Self::Ledger(LedgerError::TooFar { .. }) => "SCORE_EPOCH_TOO_LARGE",
            Self::Ledger(LedgerError::SecondTable) => "SCORE_SECOND_TABLE",
            Self::Ledger(_) => "SCORE_LEDGER_FULL",
            Self::NoGroup { .. } => "SCORE_GROUP_UNKNOWN",
            Self::NoEpoch { .. } => "SCORE_EPOCH_UNKNOWN",
        }
    }
}

/// `score/`.
#[derive(Debug, Clone)]
pub struct ScoreFolder(PathBuf);

/// `score/<group>/`.
#[derive(Debug, Clone)]
pub struct GroupFolder {
    group: DataSet,
    path: PathBuf,
}

/// `score/<group>/epochs/<n>/`.
#[derive(Debug, Clone)]
pub struct EpochFolder {
    epoch: u64,
    path: PathBuf,
}

/// The ledger, held for one writer.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    ledger: Ledger,
    _lock: DirectoryLock,
}

/// Holds a group against other commands until it is dropped.
#[derive(Debug)]
pub struct GroupLock(#[expect(dead_code, reason = "held, not read")] DirectoryLock);

impl ScoreFolder {
    /// The folder in a node's data directory.
    pub fn new(layout: &Layout) -> Self {
        Self(layout.root().join("score"))
    }

    /// The groups that have a folder here, ascending.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn groups(&self) -> Result<Vec<DataSet>, FolderError> {
        if !stands(&self.0)? {
            return Ok(Vec::new());
        }
        let mut groups = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(at(&self.0))? {
            let entry = entry.map_err(at(&self.0))?;
            let name = entry.file_name();
            let name = name.to_str().filter(|_| entry.path().is_dir()).and_then(|name| name.parse().ok());
            groups.extend(name);
        }
        groups.sort_unstable();
        Ok(groups)
    }

    /// A group's folder, whether it is there or not.
    pub fn group(&self, group: &DataSet) -> GroupFolder {
        GroupFolder { group: group.clone(), path: self.0.join(group.as_str()) }
    }

    /// Opens the ledger for a change; nobody else can until it is dropped.
    ///
    /// # Errors
    /// [`FolderError`]; `SCORE_BUSY` when another command has it.
    pub fn ledger(&self) -> Result<LedgerFile, FolderError> {
        create_directory(&self.0)?;
        let busy = || FolderError::Busy { path: self.0.clone() };
        let lock = DirectoryLock::try_acquire(&self.0)?.ok_or_else(busy)?;
        let path = self.0.join("ledger");
        let ledger = read_record(&path, MAX_LEDGER_BYTES)?.unwrap_or_default();
        Ok(LedgerFile { path, ledger, _lock: lock })
    }
}

impl LedgerFile {
    /// Notes, durably, that a setup begins whose number this party chooses.
    ///
    /// # Errors
    /// [`FolderError`]: nothing was noted, and nothing may begin.
    pub fn choose(&mut self, group: &DataSet, epoch: u64) -> Result<(), FolderError> {
        self.change(|ledger| ledger.choose(group, epoch))
    }

    /// As [`Self::choose`], of a number that another party chose.
    ///
    /// # Errors
    /// As of [`Self::choose`].
    pub fn begin(&mut self, group: &DataSet, epoch: u64) -> Result<(), FolderError> {
        self.change(|ledger| ledger.begin(group, epoch))
    }

    /// Notes, durably, that no number up to this one is used again.
    ///
    /// # Errors
    /// [`FolderError`]: nothing was noted.
    pub fn skip_to(&mut self, group: &DataSet, epoch: u64) -> Result<(), FolderError> {
        self.change(|ledger| ledger.skip_to(group, epoch))
    }

    /// Notes, durably, the table of a context; its first byte may leave after that.
    ///
    /// # Errors
    /// [`FolderError`]: nothing was noted, and nothing may leave.
    pub fn publish(&mut self, context: &Hash, root: &TableRoot) -> Result<(), FolderError> {
        self.change(|ledger| ledger.publish(context, root))
    }

    /// What is noted.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Ledger) -> Result<(), LedgerError>,
    ) -> Result<(), FolderError> {
        let mut ledger = self.ledger.clone();
        change(&mut ledger)?;
        if ledger != self.ledger {
            write_private(&self.path, ledger.encode().as_bytes())?;
            self.ledger = ledger;
        }
        Ok(())
    }
}

impl GroupFolder {
    /// The group.
    pub const fn group(&self) -> &DataSet {
        &self.group
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder, and holds it against other commands until the lock is dropped.
    ///
    /// # Errors
    /// [`FolderError`]; `SCORE_BUSY` when another command has it.
    pub fn lock(&self) -> Result<GroupLock, FolderError> {
        create_directory(&self.path)?;
        let busy = || FolderError::Busy { path: self.path.clone() };
        DirectoryLock::try_acquire(&self.path)?.map(GroupLock).ok_or_else(busy)
    }

    /// The epochs that have a folder, ascending.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn epochs(&self) -> Result<Vec<u64>, FolderError> {
        Ok(numbered(&self.path.join("epochs"))?)
    }

    /// The finished epochs that are not retired, ascending.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn standing_epochs(&self) -> Result<Vec<u64>, FolderError> {
        let mut epochs = self.epochs()?;
        epochs.retain(|epoch| self.epoch(*epoch).is_finished() && !self.epoch(*epoch).is_retired());
        Ok(epochs)
    }

    /// An epoch's folder, whether it is there or not.
    pub fn epoch(&self, epoch: u64) -> EpochFolder {
        EpochFolder { epoch, path: self.path.join("epochs").join(epoch.to_string()) }
    }
}

impl EpochFolder {
    /// The epoch.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Reads a record; `None` when there is no file.
pub(super) fn read_record<T: Record>(path: &Path, max: usize) -> Result<Option<T>, FolderError> {
    let Some(bytes) = read_if_there(path, max)? else { return Ok(None) };
    T::decode(&bytes).map(Some).map_err(|source| FolderError::Damaged { path: path.to_owned(), source })
}

/// Reads a private file; `None` when there surely is none. One that cannot be reached is an error: who took it for
/// missing would write over it.
pub(super) fn read_if_there(path: &Path, max: usize) -> Result<Option<Vec<u8>>, FileError> {
    if stands(path)? { read_private(path, max).map(Some) } else { Ok(None) }
}

/// Whether anything stands at a path, be it a link to nowhere.
pub(super) fn stands(path: &Path) -> Result<bool, FileError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_durable_and_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ScoreFolder::new(&Layout::new(dir.path().to_owned()));
        let group: DataSet = "joint-risk".parse().unwrap();
        let mut ledger = folder.ledger().unwrap();
        ledger.begin(&group, 3).unwrap();
        ledger.publish(&[1; 64], &[2; 32]).unwrap();
        assert_eq!(folder.ledger().unwrap_err().code(), "SCORE_BUSY");
        drop(ledger);
        let mut ledger = folder.ledger().unwrap();
        assert_eq!(ledger.ledger().last_epoch(&group), Some(3));
        assert_eq!(ledger.begin(&group, 3).unwrap_err().code(), "SCORE_EPOCH_USED");
        assert_eq!(ledger.publish(&[1; 64], &[3; 32]).unwrap_err().code(), "SCORE_SECOND_TABLE");
    }

    #[test]
    fn a_ledger_that_cannot_be_reached_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ScoreFolder::new(&Layout::new(dir.path().to_owned()));
        let group: DataSet = "joint-risk".parse().unwrap();
        folder.ledger().unwrap().begin(&group, 3).unwrap();
        let (ledger, elsewhere) = (folder.0.join("ledger"), dir.path().join("elsewhere"));
        std::fs::rename(&ledger, &elsewhere).unwrap();
        std::os::unix::fs::symlink(dir.path().join("not-mounted"), &ledger).unwrap();
        assert_eq!(folder.ledger().unwrap_err().code(), "FILE_IO");
        std::fs::remove_file(&ledger).unwrap();
        std::fs::rename(&elsewhere, &ledger).unwrap();
        assert_eq!(folder.ledger().unwrap().ledger().last_epoch(&group), Some(3));
    }

    #[test]
    fn an_epoch_whose_mark_cannot_be_reached_counts_as_retired() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ScoreFolder::new(&Layout::new(dir.path().to_owned()));
        let group = folder.group(&"joint-risk".parse().unwrap());
        assert!(!group.epoch(3).is_retired());
        create_directory(&group.join("epochs")).unwrap();
        // A file in place of the epoch's folder: its marks are out of reach.
        write_private(&group.join("epochs/3"), b"").unwrap();
        assert!(group.epoch(3).is_retired());
        assert_eq!(group.epoch(3).retire("carol", 1).unwrap_err().code(), "FILE_IO");
    }

    #[test]
    fn groups_and_epochs_are_found_by_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ScoreFolder::new(&Layout::new(dir.path().to_owned()));
        assert_eq!(folder.groups().unwrap(), []);
        drop(folder.ledger().unwrap());
        let group = folder.group(&"joint-risk".parse().unwrap());
        create_directory(group.epoch(12).path()).unwrap();
        create_directory(group.epoch(3).path()).unwrap();
        assert_eq!(folder.groups().unwrap(), [group.group().clone()]);
        assert_eq!(group.epochs().unwrap(), [3, 12]);
        let _held = group.lock().unwrap();
        assert_eq!(group.lock().unwrap_err().code(), "SCORE_BUSY");
    }
}
