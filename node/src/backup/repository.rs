//! The directory that holds a node's backups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{BackupError, MANIFEST, SEAL};
use crate::error::NodeError;
use crate::snapshot::disk::{self, DirectoryLock, at};

/// Prefix of a backup that is being made.
const MAKING: &str = ".making-";

/// A backup's name: when it was made, UTC.
const NAME: &str = "%Y%m%dT%H%M%S.%3fZ";

/// A repository, held for one writer.
#[derive(Debug)]
pub(crate) struct Repository {
    path: PathBuf,
    _lock: DirectoryLock,
}

impl Repository {
    /// Opens or makes it, and removes what interrupted backups left.
    pub(crate) fn open(path: &Path, data_dir: &Path) -> Result<Self, NodeError> {
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

    /// A name by the time, but behind every other also where the clock went back: the newest backup is the last.
    pub(super) fn name(&self, now_ms: u64) -> Result<String, NodeError> {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let last = named(&self.path)?.into_keys().next_back();
        let at_ms = last.map_or(now_ms, |last| now_ms.max(last.saturating_add(1)));
        Ok(name_of(Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX)))
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

fn name_of(time: Timestamp) -> String {
    time.strftime(NAME).to_string()
}

/// The time that a name says, milliseconds of Unix time; `None` where it is no backup's name.
fn time_of(name: &str) -> Option<i64> {
    let time = DateTime::strptime(NAME, name).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (name_of(time) == name).then_some(time.as_millisecond())
}

/// What has a backup's name, whole or not, by the time in it.
fn named(path: &Path) -> Result<BTreeMap<i64, PathBuf>, NodeError> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(at(path))? {
        let entry = entry.map_err(at(path))?;
        let time = entry.file_name().to_str().and_then(time_of);
        found.extend(time.map(|time| (time, entry.path())));
    }
    Ok(found)
}

fn backups(path: &Path) -> Result<Vec<PathBuf>, NodeError> {
    Ok(named(path)?.into_values().filter(|path| is_backup(path)).collect())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// 2100-01-01, and 2026-11-10.
    const AHEAD: u64 = 4_102_444_800_000;
    const NOW: u64 = 1_794_268_800_000;

    fn made(path: &Path) -> PathBuf {
        fs::create_dir(path).unwrap();
        [SEAL, MANIFEST].iter().for_each(|name| fs::write(path.join(name), b"x").unwrap());
        path.to_owned()
    }

    fn repository() -> (tempfile::TempDir, PathBuf, Repository) {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("backups"), dir.path().join("data"));
        fs::create_dir(&data).unwrap();
        let repository = Repository::open(&path, &data).unwrap();
        (dir, path, repository)
    }

    #[test]
    fn a_backup_made_after_the_clock_was_put_back_is_the_newest_and_is_kept() {
        let (_dir, path, repository) = repository();
        let make = |now_ms| made(&repository.placed(&repository.name(now_ms).unwrap()));
        let [first, ahead, last] = [NOW, AHEAD, NOW].map(make);
        assert!(first.ends_with("20261110T000000.000Z") && last.ends_with("21000101T000000.001Z"));
        assert_eq!(resolve(&path).unwrap(), last);
        assert_eq!(repository.keep(1).unwrap(), [first, ahead]);
        assert_eq!(repository.backups().unwrap(), [last]);
    }

    #[test]
    fn a_folder_of_another_name_is_not_taken_for_a_backup_of_the_repository() {
        let (_dir, path, repository) = repository();
        for name in ["2026-by-hand", "20261110T000000.000Z-copy", "20261110T000000.000000Z"] {
            made(&path.join(name));
        }
        assert_eq!(resolve(&path).unwrap_err().code(), "BACKUP_MISSING");
        let only = made(&repository.placed(&repository.name(NOW).unwrap()));
        assert_eq!(repository.keep(1).unwrap(), [] as [PathBuf; 0]);
        assert_eq!(repository.backups().unwrap(), [only]);
    }
}
