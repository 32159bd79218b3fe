//! Private files: read only when nobody else may, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// Permission bits of everyone but the owner.
const OTHERS: u32 = 0o077;

/// Why a private file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{path} has mode {found:04o}, so others can reach it; run: chmod {expected:o} {path}")]
    Loose {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
        /// The permission bits it should have.
        expected: u32,
    },
    /// It is not a regular file, or not a directory.
    #[error("{path} is not a {expected}")]
    Kind {
        /// The path.
        path: PathBuf,
        /// What should stand there.
        expected: &'static str,
    },
    /// It is larger than anything we would write there.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size that is read.
        max: usize,
    },
}

impl FileError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "FILE_IO",
            Self::Loose { .. } => "LOOSE_PERMISSIONS",
            Self::Kind { .. } => "FILE_KIND",
            Self::TooLarge { .. } => "FILE_TOO_LARGE",
        }
    }

    /// Whether nothing stands at the path.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What was read, or `None` where nothing stands at the path. No other failure says so.
///
/// # Errors
/// [`FileError`], as it came.
pub fn if_there<T>(read: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match read {
        Err(error) if error.is_missing() => Ok(None),
        read => read.map(Some),
    }
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}

/// Reads a file that only its owner may reach, of at most `max` bytes.
///
/// # Errors
/// [`FileError`], with the command that tightens loose permissions.
pub fn read_private(path: &Path, max: usize) -> Result<Vec<u8>, FileError> {
    read_checked(path, max, OTHERS)
}

/// As [`read_private`], for a file whose mode must have none of the `forbidden` bits.
pub(crate) fn read_checked(path: &Path, max: usize, forbidden: u32) -> Result<Vec<u8>, FileError> {
    let file = open_regular(path)?;
    let metadata = file.metadata().map_err(io_error(path))?;
    check_mode(path, metadata.permissions().mode(), forbidden, 0o600)?;
    read_at_most(path, file, max)
}

/// Reads a public file of at most `max` bytes.
///
/// # Errors
/// [`FileError`].
pub fn read_public(path: &Path, max: usize) -> Result<Vec<u8>, FileError> {
    read_at_most(path, open_regular(path)?, max)
}

/// The 32 random bytes that a private file holds; fresh ones are kept there where nothing stands. What cannot be read is
/// never replaced: without it nobody could open what was committed to with it.
///
/// # Errors
/// [`FileError`].
pub fn kept_random(path: &Path) -> Result<[u8; 32], FileError> {
    if let Some(known) = if_there(read_private(path, 32))? {
        let other = |_| FileError::Kind { path: path.to_owned(), expected: "file of 32 bytes" };
        return known.try_into().map_err(other);
    }
    let fresh: [u8; 32] = rand::random();
    write_private(path, &fresh)?;
    Ok(fresh)
}

fn open_regular(path: &Path) -> Result<File, FileError> {
    // Without NONBLOCK, opening a named pipe would wait for a writer.
    let flags =
        i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).expect("open flags fit in 31 bits");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_error(path))?;
    if file.metadata().map_err(io_error(path))?.is_file() {
        Ok(file)
    } else {
        Err(FileError::Kind { path: path.to_owned(), expected: "regular file" })
    }
}

fn read_at_most(path: &Path, file: File, max: usize) -> Result<Vec<u8>, FileError> {
    // The whole capacity at once: a growing buffer would leave copies of a secret behind.
    let mut bytes = Vec::with_capacity(max + 1);
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if bytes.len() <= max {
        Ok(bytes)
    } else {
        zeroize::Zeroize::zeroize(&mut bytes);
        Err(FileError::TooLarge { path: path.to_owned(), max })
    }
}

/// Writes a file with mode 0600 whole or not at all: a temporary file, `fsync`, a rename, `fsync` of the
/// directory. A file that stands there is replaced.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(path, bytes, 0o600)
}

/// As [`write_private`], with mode 0644.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(path, bytes, 0o644)
}

fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = with_extension(path, TEMPORARY);
    remove_if_present(&temporary)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(io_error(&temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&temporary))?;
    fs::rename(&temporary, path).map_err(io_error(path))?;
    sync_directory(parent_of(path))
}

/// What a file's name is followed by as long as its new content is not whole.
pub(crate) const TEMPORARY: &str = "tmp";

/// What the name of a file that was replaced is followed by until its bytes are overwritten.
pub(crate) const WIPING: &str = "wipe";

fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The directory that holds what a path names: of a name alone the working directory, which [`Path::parent`] calls "".
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(crate) fn remove_if_present(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error(path)(source)),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io_error(path))
}

/// Replaces a file, then overwrites the bytes that stood there, so that they do not linger in another
/// link to the file or, on file systems that write in place, on the disk. Until they are overwritten they have a name,
/// under which [`wipe_leftover`] finds them after a crash or a disk's error; nothing may stand under it before.
pub(crate) fn replace_and_wipe(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let old = with_extension(path, WIPING);
    fs::hard_link(path, &old).map_err(io_error(&old))?;
    sync_directory(parent_of(path))?;
    // The new file first: a crash in between leaves a readable store, never a wiped file under the name.
    write_private(path, bytes)?;
    wipe_and_remove(&old)
}

/// Overwrites and removes what an interrupted replacement or writing left behind under a name with [`WIPING`] or
/// [`TEMPORARY`]. A file that was not replaced yet stands under its own name too: it loses the other one alone.
pub(crate) fn wipe_leftover(path: &Path) -> Result<(), FileError> {
    let inode = |path: &Path| {
        let metadata = fs::metadata(path).map_err(io_error(path))?;
        Ok::<_, FileError>((metadata.dev(), metadata.ino()))
    };
    if if_there(inode(&path.with_extension("")))? != Some(inode(path)?) {
        return wipe_and_remove(path);
    }
    remove_if_present(path)?;
    sync_directory(parent_of(path))
}

/// Overwrites a file's bytes, and then removes it.
pub(crate) fn wipe_and_remove(path: &Path) -> Result<(), FileError> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(io_error(path))?;
    wipe(&mut file).map_err(io_error(path))?;
    remove_if_present(path)?;
    sync_directory(parent_of(path))
}

fn wipe(file: &mut File) -> io::Result<()> {
    let len = file.metadata()?.len();
    file.rewind()?;
    io::copy(&mut io::repeat(0).take(len), file)?;
    file.sync_all()
}

/// Makes a directory with mode 0700, or checks the one that is there.
pub(crate) fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path))?;
    check_directory(path)
}

/// Checks that only its owner may reach a directory.
pub(crate) fn check_directory(path: &Path) -> Result<(), FileError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    if !metadata.is_dir() {
        return Err(FileError::Kind { path: path.to_owned(), expected: "directory" });
    }
    check_mode(path, metadata.permissions().mode(), OTHERS, 0o700)
}

fn check_mode(path: &Path, mode: u32, forbidden: u32, expected: u32) -> Result<(), FileError> {
    match mode & 0o7777 {
        found if found & forbidden == 0 => Ok(()),
        found => Err(FileError::Loose { path: path.to_owned(), found, expected }),
    }
}

/// Holds a directory for one writer or for readers, among threads and processes, until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Waits until nobody reads or writes.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, FileError> {
        Self::acquire(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody writes.
    pub(crate) fn shared(path: &Path) -> Result<Self, FileError> {
        Self::acquire(path, FlockOperation::LockShared)
    }

    fn acquire(path: &Path, operation: FlockOperation) -> Result<Self, FileError> {
        let directory = File::open(path).map_err(io_error(path))?;
        flock(&directory, operation).map_err(|e| io_error(path)(e.into()))?;
        Ok(Self { _directory: directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_reach_is_refused_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        write_private(&path, b"x").unwrap();
        assert_eq!(read_private(&path, 1).unwrap(), b"x");
        for mode in [0o601, 0o602, 0o604, 0o610, 0o620, 0o640] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path, 1).unwrap_err();
            assert_eq!(error.code(), "LOOSE_PERMISSIONS");
            assert!(error.to_string().ends_with(&format!("run: chmod 600 {}", path.display())));
        }
    }

    #[test]
    fn random_bytes_that_cannot_be_read_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("salt");
        let kept = kept_random(&path).unwrap();
        assert_eq!(kept_random(&path).unwrap(), kept);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(kept_random(&path).unwrap_err().code(), "LOOSE_PERMISSIONS");
        assert_eq!(fs::read(&path).unwrap(), kept);
        write_private(&path, &kept[..31]).unwrap();
        assert_eq!(kept_random(&path).unwrap_err().code(), "FILE_KIND");
        assert_eq!(fs::read(&path).unwrap(), kept[..31]);
    }

    #[test]
    fn a_name_alone_stands_in_the_working_directory() {
        for (path, parent) in [("data", "."), ("data/", "."), ("./data", "."), ("a/b", "a"), ("/a", "/")] {
            assert_eq!(parent_of(Path::new(path)), Path::new(parent), "{path}");
        }
    }

    #[test]
    fn a_file_larger_than_its_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        write_private(&path, b"1234").unwrap();
        assert_eq!(read_private(&path, 4).unwrap(), b"1234");
        assert_eq!(read_private(&path, 3).unwrap_err().code(), "FILE_TOO_LARGE");
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(read_private(&pipe, 4).unwrap_err().code(), "FILE_KIND");
        assert_eq!(read_private(dir.path(), 4).unwrap_err().code(), "FILE_KIND");
    }

    #[test]
    fn a_replaced_file_leaves_no_bytes_in_another_link_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("private"), dir.path().join("link"));
        write_private(&path, b"secret").unwrap();
        fs::hard_link(&path, &link).unwrap();
        replace_and_wipe(&path, b"tombstone").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"tombstone");
        assert_eq!(fs::read(&link).unwrap(), [0; 6]);
        wipe_and_remove(&link).unwrap();
        assert!(path.exists() && !link.exists());
    }

    #[test]
    fn what_was_not_wiped_is_wiped_later_and_what_was_not_replaced_never() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("private"), dir.path().join("link"));
        let old = with_extension(&path, WIPING);
        write_private(&path, b"secret").unwrap();
        fs::hard_link(&path, &link).unwrap();
        // A kill before the new file, and one behind it.
        fs::hard_link(&path, &old).unwrap();
        wipe_leftover(&old).unwrap();
        assert_eq!((fs::read(&path).unwrap(), old.exists()), (b"secret".to_vec(), false));
        fs::hard_link(&path, &old).unwrap();
        write_private(&path, b"tombstone").unwrap();
        wipe_leftover(&old).unwrap();
        assert_eq!((fs::read(&path).unwrap(), old.exists()), (b"tombstone".to_vec(), false));
        assert_eq!(fs::read(&link).unwrap(), [0; 6]);
    }
}
