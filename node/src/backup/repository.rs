//! The directory that holds a node's backups.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{BackupError, MANIFEST, SEAL};
use crate::error::NodeError;
use crate::snapshot::disk::{self, DirectoryLock, at};

/// Prefix of a backup that is being made.
const MAKING: &str = ".making-";

/// A repository, held for one writer.
#[derive(Debug)]
pub(super) struct Repository {
    path: PathBuf,
    _lock: DirectoryLock,
}

impl Repository {
    /// Opens or makes it, and removes what interrupted backups left.
    pub(super) fn open(path: &Path, data_dir: &Path) -> Result<Self, NodeError> {
        let target = |error| NodeError::from(BackupError::target(path)(error));
        disk::create_directory(path).map_err(|error| match error {
            windvane_keys::files::FileError::Io { source, .. } => target(source),
            other => other.into(),
        })?;
        let own = path.canonicalize().map_err(target)?;
        let data = data_dir.canonicalize().map_err(at(data_dir))?;
        if own.starts_with(&data) {
            return Err(BackupError::Inside { path: path.to_owned() }.into());
        }
        let busy = || BackupError::Busy { path: path.to_owned() };
        let lock = DirectoryLock::try_acquire(path)?.ok_or_else(busy)?;
        disk::sweep(path, MAKING)?;
        disk::sweep(path, disk::REMOVING)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A name by the time, which no backup has yet; names sort as times do.
    pub(super) fn name(&self, now_ms: u64) -> Result<String, NodeError> {
        let mut at_ms = now_ms;
        loop {
            let time = Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX));
            let time = time.unwrap_or(Timestamp::MAX);
            let name = time.strftime("%Y%m%dT%H%M%S.%3fZ").to_string();
            if !self.path.join(&name).exists() {
                return Ok(name);
            }
            at_ms += 1;
        }
    }

    /// Where a backup is made.
    pub(super) fn making(&self, name: &str) -> PathBuf {
        self.path.join(format!("{MAKING}{name}"))
    }

    /// Where it will stand.
    pub(super) fn placed(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The backups, oldest first.
    pub(super) fn backups(&self) -> Result<Vec<PathBuf>, NodeError> {
        backups(&self.path)
    }

    /// Removes all but the newest backups; gives those that went.
    pub(super) fn keep(&self, newest: usize) -> Result<Vec<PathBuf>, NodeError> {
        let mut all = self.backups()?;
        let gone = all.len().saturating_sub(newest.max(1));
        all.truncate(gone);
        for path in &all {
            disk::remove_whole(path)?;
        }
        Ok(all)
    }
}

fn is_backup(path: &Path) -> bool {
    path.join(SEAL).is_file() && path.join(MANIFEST).is_file()
}

fn backups(path: &Path) -> Result<Vec<PathBuf>, NodeError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(at(path))? {
        let entry = entry.map_err(at(path))?;
        let named =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        if named && is_backup(&entry.path()) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The backup that a path means: itself, or the newest of a repository.
///
/// # Errors
/// [`BackupError::Missing`], or when the directory cannot be read.
pub fn resolve(path: &Path) -> Result<PathBuf, NodeError> {
    if is_backup(path) {
        return Ok(path.to_owned());
    }
    let missing = || BackupError::Missing { path: path.to_owned() };
    if !path.is_dir() {
        return Err(missing().into());
    }
    Ok(backups(path)?.pop().ok_or_else(missing)?)
}
