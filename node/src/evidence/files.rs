//! Files that are whole or not there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use windvane_keys::files::parent_of;

use super::LogError;
use super::disk::Disk;

/// Turns a system error into one that names the file.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    |source| LogError::Io { path: path.to_owned(), source }
}

/// How often a lock is tried, and how long between two times: longer than [`is_locked`] holds it.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Takes the exclusive lock of an open file or directory; it lasts until the file is closed.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), LogError> {
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(at(path)(source)),
        }
    }
    Ok(())
}

/// Whether somebody else has the lock of a file or directory. For a moment nobody else can take it.
pub(crate) fn is_locked(path: &Path) -> bool {
    let tried = File::open(path).map(|file| file.try_lock_shared());
    matches!(tried, Ok(Err(TryLockError::WouldBlock)))
}

/// Reads a file of at most `limit` bytes; `None` when there is none.
pub(super) fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, LogError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content).map_err(at(path))?;
    if content.len() > limit {
        return Err(LogError::TooLong { path: path.to_owned(), expected: limit as u64 });
    }
    Ok(Some(content))
}

/// Writes `temporary`, makes it durable and names it `path`. The directory's entry is not yet durable.
pub(super) fn replace(
    disk: &dyn Disk,
    temporary: &Path,
    path: &Path,
    content: &[u8],
) -> Result<(), LogError> {
    let file = File::create(temporary).map_err(at(temporary))?;
    disk.write(&file, content, 0).map_err(at(temporary))?;
    // The length of a new file is part of its content.
    disk.sync(&file).map_err(at(temporary))?;
    fs::rename(temporary, path).map_err(at(path))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

/// Makes the names in a path's directory durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), LogError> {
    sync_dir(parent_of(path))
}

/// Removes a file or a directory tree, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), LogError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
