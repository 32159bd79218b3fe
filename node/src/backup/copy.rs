//! Copies files into a backup that is being made, with their digests; and out of one.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ed25519_dalek::VerifyingKey;
use rustix::fs::{FlockOperation, flock, syncfs};
use sha2::{Digest as _, Sha512};
use windvane_protocols::transcript::{Hash, Signed};

use super::manifest::{MANIFEST, Manifest, SEAL, Seal, is_plain, read_seal};
use super::repository::Repository;
use super::{BackupError, Stage, Watch};
use crate::error::NodeError;
use crate::snapshot::disk::{self, DirectoryLock, at};

const BUFFER_BYTES: usize = 1 << 20;

/// Copied in their own way, or not at all: the journal is in the published log, or will be.
const NOT_FILES: [&str; 6] = ["state.db", "state.db-wal", "state.db-shm", "log", "journal.0", "journal.1"];

/// Names of what is being made, beside those that begin as [`disk::UNFINISHED`] does.
const MAKING: [&str; 2] = [".adding", ".publishing"];

/// Ends of names of what is not whole, and of keys that are being overwritten.
const ENDING: [&str; 2] = [".tmp", ".wipe"];

/// Folders of jobs: a job that runs changes its journal at any time, and a kill leaves it as a copy does.
const JOBS: [&str; 3] = ["psi/", "train/", "train-sessions/"];

/// The key store's folder.
const KEYS: &str = "keys/";

/// Files by their paths.
type Files = BTreeMap<String, Seen>;

/// A file, and by what one sees that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    len: u64,
    modified: SystemTime,
    inode: u64,
}

/// A backup that is being made. Dropping it before it has its place removes it.
pub(super) struct Copier<'a> {
    dir: PathBuf,
    placed: PathBuf,
    _lock: DirectoryLock,
    previous: Option<(PathBuf, Manifest)>,
    manifest: Manifest,
    bytes: u64,
    linked_bytes: u64,
    total: u64,
    watch: Watch<'a>,
    done: bool,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        repository: &Repository,
        name: &str,
        key: &VerifyingKey,
        watch: Watch<'a>,
    ) -> Result<Self, NodeError> {
        let dir = repository.making(name);
        disk::create_directory(&dir).map_err(writing)?;
        let busy = || BackupError::Busy { path: dir.clone() };
        let lock = DirectoryLock::try_acquire(&dir)?.ok_or_else(busy)?;
        let newest = repository.backups()?.pop();
        let previous = newest.and_then(|path| Some((path.clone(), own_manifest(&path, key)?)));
        Ok(Self {
            dir,
            placed: repository.placed(name),
            _lock: lock,
            previous,
            manifest: Manifest::default(),
            bytes: 0,
            linked_bytes: 0,
            total: 0,
            watch,
            done: false,
        })
    }

    /// Bytes that are links to the backup before.
    pub(super) const fn linked_bytes(&self) -> u64 {
        self.linked_bytes
    }

    /// Where a file goes; its folder is made.
    pub(super) fn target(&self, path: &str) -> Result<PathBuf, NodeError> {
        let target = self.dir.join(path);
        let parent = target.parent().unwrap_or(&self.dir);
        disk::create_directory(parent).map_err(writing)?;
        Ok(target)
    }

    /// Takes a file that somebody else wrote to its target.
    pub(super) fn take(&mut self, path: &str) -> Result<(), NodeError> {
        let target = self.dir.join(path);
        let (hash, len) = digest(&target)?;
        self.add(path, hash, len);
        Ok(())
    }

    /// Writes a file.
    pub(super) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), NodeError> {
        let target = self.target(path)?;
        write(&target, content)?;
        self.add(path, Sha512::digest(content).into(), content.len() as u64);
        Ok(())
    }

    /// Copies every file of the data directory that is not copied in its own way, and again what changed meanwhile.
    pub(super) fn files(&mut self, root: &Path, rounds: usize) -> Result<(), NodeError> {
        self.total = list(root, false)?.values().map(|seen| seen.len).sum();
        let mut copied = Files::new();
        for _ in 0..rounds {
            let listed = list(root, true)?;
            if first_difference(&copied, &listed).is_none() {
                return Ok(());
            }
            self.round(root, &listed, &mut copied)?;
        }
        let listed = list(root, true)?;
        match first_difference(&copied, &listed) {
            Some(path) => Err(BackupError::Unstable { path: root.join(path) }.into()),
            None => Ok(()),
        }
    }

    /// Copies what is new or changed, and takes out what is gone.
    fn round(&mut self, root: &Path, listed: &Files, copied: &mut Files) -> Result<(), NodeError> {
        let keys = hold_keys(root)?;
        let (of_keys, others): (Vec<_>, Vec<_>) = listed.iter().partition(|(path, _)| path.starts_with(KEYS));
        self.changed(root, &of_keys, copied)?;
        drop(keys);
        self.changed(root, &others, copied)?;
        let gone: Vec<String> = copied.keys().filter(|path| !listed.contains_key(*path)).cloned().collect();
        for path in gone {
            copied.remove(&path);
            self.forget(&path)?;
        }
        Ok(())
    }

    fn changed(
        &mut self,
        root: &Path,
        listed: &[(&String, &Seen)],
        copied: &mut Files,
    ) -> Result<(), NodeError> {
        for (path, seen) in listed {
            if copied.get(*path) == Some(*seen) {
                continue;
            }
            self.forget(path)?;
            copied.remove(*path);
            if self.file(root, path, seen)? {
                copied.insert((*path).clone(), **seen);
            }
        }
        Ok(())
    }

    /// Copies a tile of the log, which never changes, unless it was copied before.
    pub(super) fn tile(&mut self, root: &Path, path: &str) -> Result<(), NodeError> {
        if self.tile_if_there(root, path)? {
            return Ok(());
        }
        Err(at(&root.join(path))(io::ErrorKind::NotFound.into()).into())
    }

    /// The same; whether it is there.
    pub(super) fn tile_if_there(&mut self, root: &Path, path: &str) -> Result<bool, NodeError> {
        if self.manifest.0.contains_key(path) {
            return Ok(true);
        }
        match see(&root.join(path))? {
            Some(seen) => self.file(root, path, &seen),
            None => Ok(false),
        }
    }

    /// Takes a file out again.
    pub(super) fn forget(&mut self, path: &str) -> Result<(), NodeError> {
        if self.manifest.0.remove(path).is_some() {
            disk::remove_file(&self.dir.join(path))?;
        }
        Ok(())
    }

    /// Copies or links one file; whether it was still there.
    fn file(&mut self, root: &Path, path: &str, seen: &Seen) -> Result<bool, NodeError> {
        let target = self.target(path)?;
        if let Some(hash) = self.link(path, seen, &target)? {
            self.linked_bytes += seen.len;
            self.add(path, hash, seen.len);
            return Ok(true);
        }
        let source = root.join(path);
        let from = match File::open(&source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            from => from.map_err(at(&source))?,
        };
        let (hash, len) = copy(from, &source, &target)?;
        self.add(path, hash, len);
        Ok(true)
    }

    /// Links to the copy in the backup before, where the file has not changed since. Keys are copied: a link would be
    /// wiped with the key.
    fn link(&self, path: &str, seen: &Seen, target: &Path) -> Result<Option<Hash>, NodeError> {
        let Some((dir, manifest)) = self.previous.as_ref().filter(|_| !path.starts_with(KEYS)) else {
            return Ok(None);
        };
        let (Some(hash), Some(before)) = (manifest.0.get(path), see(&dir.join(path))?) else {
            return Ok(None);
        };
        if (before.len, before.modified) != (seen.len, seen.modified) {
            return Ok(None);
        }
        // A file system without links, or with too many to one file, gets a copy.
        Ok(fs::hard_link(dir.join(path), target).is_ok().then_some(*hash))
    }

    fn add(&mut self, path: &str, hash: Hash, len: u64) {
        self.manifest.0.insert(path.to_owned(), hash);
        self.bytes += len;
        (self.watch)(self.bytes.min(self.total), self.total);
    }

    /// Writes the list of files, and fills in what the seal says of it.
    pub(super) fn seal(&self, seal: Seal) -> Seal {
        let (mut files, mut bytes) = (0, 0);
        for path in self.manifest.0.keys() {
            files += 1;
            bytes += fs::metadata(self.dir.join(path)).map_or(0, |metadata| metadata.len());
        }
        let manifest = Sha512::digest(self.manifest.to_text()).into();
        Seal { files, bytes, manifest, ..seal }
    }

    /// Makes everything durable and gives the backup its name.
    pub(super) fn place(mut self, seal: &Signed<Seal>) -> Result<PathBuf, NodeError> {
        write(&self.dir.join(MANIFEST), self.manifest.to_text().as_bytes())?;
        write(&self.dir.join(SEAL), seal.as_bytes())?;
        sync_file_system(&self.dir)?;
        Stage::Sealed.reached();
        let placed = self.placed.clone();
        disk::put_in_place(&self.dir, &placed).map_err(writing)?;
        self.done = true;
        Stage::Placed.reached();
        Ok(placed)
    }
}

impl Drop for Copier<'_> {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now has no backup's name, and goes with the next one.
            let _ = disk::remove_directory(&self.dir);
        }
    }
}

/// The list of a backup that this node sealed.
fn own_manifest(dir: &Path, key: &VerifyingKey) -> Option<Manifest> {
    let seal = read_seal(dir).ok().filter(|seal| seal.verify(key))?;
    let (manifest, digest) = Manifest::read(dir).ok()?;
    (digest == seal.body().manifest).then_some(manifest)
}

/// Keeps keys from being replaced and wiped while they are copied: the key store's own lock.
fn hold_keys(root: &Path) -> Result<Option<File>, NodeError> {
    let path = root.join("keys");
    if !path.exists() {
        return Ok(None);
    }
    let directory = File::open(&path).map_err(at(&path))?;
    flock(&directory, FlockOperation::LockShared).map_err(|error| at(&path)(error.into()))?;
    Ok(Some(directory))
}

/// A file that is not copied as it is listed, other than a job's.
fn first_difference<'a>(copied: &'a Files, listed: &'a Files) -> Option<&'a String> {
    let changed = listed.iter().find(|(path, seen)| !is_job(path) && copied.get(*path) != Some(*seen));
    let gone = || copied.keys().find(|path| !is_job(path) && !listed.contains_key(*path));
    changed.map(|(path, _)| path).or_else(gone)
}

fn is_job(path: &str) -> bool {
    JOBS.iter().any(|job| path.starts_with(job))
}

/// The files below a directory, without those that are copied in their own way if `only_files`.
fn list(root: &Path, only_files: bool) -> Result<Files, NodeError> {
    let (mut found, mut pending) = (Files::new(), vec![String::new()]);
    while let Some(folder) = pending.pop() {
        let dir = root.join(&folder);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            entries => entries.map_err(at(&dir))?,
        };
        for entry in entries {
            let entry = entry.map_err(at(&dir))?;
            let name = entry.file_name();
            let unnamed = || BackupError::Name { path: entry.path() };
            let name = name.to_str().ok_or_else(unnamed)?;
            let mut prefixes = disk::UNFINISHED.iter().chain(&MAKING);
            let unfinished = prefixes.any(|prefix| name.starts_with(prefix))
                || ENDING.iter().any(|extension| name.ends_with(extension));
            if unfinished || (only_files && folder.is_empty() && NOT_FILES.contains(&name)) {
                continue;
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if !is_plain(&path) {
                return Err(unnamed().into());
            }
            if entry.path().is_dir() {
                pending.push(path);
            } else if let Some(seen) = see(&entry.path())? {
                found.insert(path, seen);
            }
        }
    }
    Ok(found)
}

fn see(path: &Path) -> Result<Option<Seen>, NodeError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error).into()),
        Ok(metadata) => Ok(metadata.is_file().then(|| Seen {
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            inode: metadata.ino(),
        })),
    }
}

/// SHA-512 and length of a file.
pub(super) fn digest(path: &Path) -> Result<(Hash, u64), BackupError> {
    let mut file = File::open(path).map_err(at(path))?;
    let (mut hash, mut len) = (Sha512::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(at(path))?;
        if read == 0 {
            return Ok((hash.finalize().into(), len));
        }
        hash.update(&buffer[..read]);
        len += read as u64;
    }
}

/// Copies a file with its mode and its time of change.
fn copy(mut from: File, source: &Path, target: &Path) -> Result<(Hash, u64), NodeError> {
    let metadata = from.metadata().map_err(at(source))?;
    let mut to = disk::create_file(target).map_err(writing)?;
    let (mut hash, mut len) = (Sha512::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).map_err(at(source))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        len += read as u64;
        to.write_all(&buffer[..read]).map_err(BackupError::target(target))?;
    }
    let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777);
    let kept = to.set_permissions(mode).and_then(|()| {
        let times = FileTimes::new().set_modified(metadata.modified()?);
        to.set_times(times)
    });
    kept.map_err(BackupError::target(target))?;
    Ok((hash.finalize().into(), len))
}

fn write(path: &Path, content: &[u8]) -> Result<(), NodeError> {
    let mut file = disk::create_file(path).map_err(writing)?;
    Ok(file.write_all(content).map_err(BackupError::target(path))?)
}

fn writing(error: windvane_keys::files::FileError) -> NodeError {
    match error {
        windvane_keys::files::FileError::Io { path, source } => BackupError::Target { path, source }.into(),
        other => other.into(),
    }
}

/// Waits until everything on a file system is on the disk: one call for many small files.
fn sync_file_system(path: &Path) -> Result<(), BackupError> {
    let directory = File::open(path).map_err(at(path))?;
    syncfs(&directory).map_err(|error| BackupError::target(path)(error.into()))
}

/// Copies a backup's files, each of which must be what its manifest says, and makes them durable.
pub(crate) fn copy_dir(
    from: &Path,
    to: &Path,
    take: impl Fn(&str) -> bool,
    watch: Watch<'_>,
) -> Result<(), NodeError> {
    let (manifest, _) = Manifest::read(from)?;
    let files: Vec<_> = manifest.0.iter().filter(|(path, _)| take(path)).collect();
    for (done, (path, expected)) in files.iter().enumerate() {
        let (source, target) = (from.join(path), to.join(path));
        disk::create_directory(target.parent().unwrap_or(to)).map_err(writing)?;
        let (found, _) = copy(File::open(&source).map_err(at(&source))?, &source, &target)?;
        if found != **expected {
            let finding = format!("{path} is not the file that was sealed");
            return Err(BackupError::Damaged { path: from.to_owned(), finding }.into());
        }
        watch(done as u64 + 1, files.len() as u64);
    }
    Ok(sync_file_system(to)?)
}
