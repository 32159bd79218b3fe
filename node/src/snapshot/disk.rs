//! Files and directories that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};
use windvane_keys::files::{FileError, parent_of};

/// Beginning of a directory that is being made.
pub(crate) const BUILDING: &str = ".building-";

/// Beginning of a directory that is being received.
pub(crate) const PARTIAL: &str = ".partial-";

/// Beginning of a directory that is being removed.
pub(crate) const REMOVING: &str = ".removing-";

/// All of these: what a kill leaves, and what no backup has. No party's or data set's name begins with a dot, so that none
/// of their folders is taken for one of these.
pub(crate) const UNFINISHED: [&str; 3] = [BUILDING, PARTIAL, REMOVING];

/// Says at which path the system refused.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}

/// Bytes that are free on the disk of a directory.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, FileError> {
    let disk = statvfs(dir).map_err(|error| at(dir)(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes a directory that only its owner may reach, and its parents.
pub(crate) fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Makes an empty file that only its owner may reach; one that stands there is replaced.
pub(crate) fn create_file(path: &Path) -> Result<File, FileError> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).clone();
    options.open(path).map_err(at(path))
}

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = create_file(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(path))
}

/// Waits until a directory's entries are on the disk.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}

/// Renames a complete file or directory to its final name, which nothing but a file may have.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<(), FileError> {
    if from.is_dir() {
        sync_directory(from)?;
    }
    fs::rename(from, to).map_err(at(to))?;
    sync_directory(parent_of(to))
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(at(path)(source)),
        _ => Ok(()),
    }
}

/// Removes a directory and all in it, if it is there.
pub(crate) fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(at(path)(source)),
        _ => Ok(()),
    }
}

/// Removes the directories whose names begin with `prefix`: what a crash left. One that another process holds
/// stays.
pub(crate) fn sweep(dir: &Path, prefix: &str) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let left = entry.file_name().to_string_lossy().starts_with(prefix);
        if left && DirectoryLock::try_acquire(&entry.path())?.is_some() {
            remove_directory(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a complete directory so that it is never seen half removed, and waits until it is gone from the disk. One that
/// a kill left half removed is removed as it stands.
pub(crate) fn remove_whole(path: &Path) -> Result<(), FileError> {
    let parent = parent_of(path);
    let aside = aside(path);
    if aside != path {
        sweep(parent, REMOVING)?;
        fs::rename(path, &aside).map_err(at(path))?;
    }
    remove_directory(&aside)?;
    sync_directory(parent)
}

/// Where a complete directory stands while it is being removed; one that is there already stays.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().expect("a complete directory has a name");
    if name.as_encoded_bytes().starts_with(REMOVING.as_bytes()) {
        return path.to_owned();
    }
    let mut aside = OsString::from(REMOVING);
    aside.push(name);
    path.with_file_name(aside)
}

/// The numbers that name a directory's entries, ascending; none when there is no directory. Entries of other
/// names, such as an unfinished download, are left out.
pub(crate) fn numbered(path: &Path) -> Result<Vec<u64>, FileError> {
    let entries = match fs::read_dir(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at(path))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(at(path))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Holds a directory for one writer, among threads and processes, until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    directory: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Not by closing alone: a process that is being started has a copy of the descriptor for a moment.
        let _ = flock(&self.directory, FlockOperation::Unlock);
    }
}

impl DirectoryLock {
    /// `None` when somebody else holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, FileError> {
        let directory = File::open(path).map_err(at(path))?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { directory })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(at(path)(error.into())),
        }
    }
}
