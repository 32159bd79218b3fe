//! Keys in a directory, one sealed file each.
//!
//! `kek` holds salt and parameters of the key-encryption key; `<id>.key` is a transcript of the key's header
//! in clear, a nonce, and the secret sealed with AES-256-GCM, the header as associated data. A destroyed key
//! keeps its file, sealed anew around nothing. Directory 0700, files 0600; writes are atomic, and a lock
//! on the directory keeps writers, among processes too, from each other and from readers.
//!
//! `<id>.key.wipe` is a file that was replaced and whose bytes are not overwritten yet, `*.tmp` one that is not whole:
//! whoever opens the store or writes to it overwrites and removes both first, and fails where it cannot. The file
//! system has to have hard links.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::{Reader, Transcript, TranscriptError};

use super::{
    KeyStore, MAX_KEYS, MAX_PUBLIC_BYTES, MAX_SECRET_BYTES, StoreError, admit, next_state, oldest_first,
    outlived,
};
use crate::files::{self, DirectoryLock, TEMPORARY, WIPING, io_error};
use crate::kek::{Kek, KekError, Sealed};
use crate::passphrase::Passphrase;
use crate::record::{KeyId, KeyRecord, State};

const DOMAIN: &str = "windvane/sealed-key/v1";
const KEK_FILE: &str = "kek";
const EXTENSION: &str = "key";

/// Largest key file: secret, public half, and under 1 KiB of labels, purpose and tag.
const MAX_FILE_BYTES: usize = MAX_SECRET_BYTES + MAX_PUBLIC_BYTES + 1_024;

/// A store in a directory, opened with its passphrase.
pub struct FileStore {
    directory: PathBuf,
    kek: Kek,
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl FileStore {
    /// Makes an empty store; the directory is created with mode 0700 if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or what the file system says.
    pub fn create(directory: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        files::create_directory(directory)?;
        let _lock = DirectoryLock::exclusive(directory)?;
        let path = directory.join(KEK_FILE);
        if path.exists() {
            return Err(StoreError::Exists { path: directory.to_owned() });
        }
        let (kek, file) = Kek::create(passphrase).map_err(kek_error(directory, &path))?;
        files::write_private(&path, &file)?;
        Ok(Self { directory: directory.to_owned(), kek })
    }

    /// Opens a store and checks every file in it.
    ///
    /// # Errors
    /// [`StoreError::NoStore`], [`StoreError::WrongPassphrase`], [`StoreError::Damaged`], loose permissions.
    pub fn open(directory: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        let absent = || StoreError::NoStore { path: directory.to_owned() };
        let or_absent = |error: files::FileError| if error.is_missing() { absent() } else { error.into() };
        files::check_directory(directory).map_err(or_absent)?;
        let path = directory.join(KEK_FILE);
        let file = files::read_private(&path, MAX_FILE_BYTES).map_err(or_absent)?;
        let kek = Kek::open(&file, passphrase).map_err(kek_error(directory, &path))?;
        let store = Self { directory: directory.to_owned(), kek };
        drop(store.lock()?);
        store.records()?;
        Ok(store)
    }

    /// Overwrites and removes every file of a store, for good: the records go too, and the store cannot be opened again.
    /// It needs no passphrase, so that a call that was interrupted is made again.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn erase(directory: &Path) -> Result<(), StoreError> {
        let _lock = DirectoryLock::exclusive(directory)?;
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for entry in entries.map_err(io_error(directory))? {
            files::wipe_and_remove(&entry.path())?;
        }
        Ok(())
    }

    /// Holds the store for one writer, and overwrites and removes what an earlier one was kept from.
    fn lock(&self) -> Result<DirectoryLock, StoreError> {
        let lock = DirectoryLock::exclusive(&self.directory)?;
        for extension in [TEMPORARY, WIPING] {
            self.files_ending(extension)?.iter().try_for_each(|path| files::wipe_leftover(path))?;
        }
        Ok(lock)
    }

    fn files_ending(&self, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(io_error(&self.directory))? {
            let path = entry.map_err(io_error(&self.directory))?.path();
            if path.extension().is_some_and(|found| found == extension) {
                paths.push(path);
            }
            if paths.len() > MAX_KEYS {
                return Err(StoreError::Damaged { path: self.directory.clone() });
            }
        }
        Ok(paths)
    }

    fn path_of(&self, id: &KeyId) -> PathBuf {
        self.directory.join(format!("{id}.{EXTENSION}"))
    }

    /// Reads a key's file; an altered bit anywhere, or another key's file under this name, is damage.
    fn read(&self, path: &Path) -> Result<(KeyRecord, Secret<Vec<u8>>), StoreError> {
        let file = files::read_private(path, MAX_FILE_BYTES)?;
        let damaged = || StoreError::Damaged { path: path.to_owned() };
        let (header, sealed) = split(&file).map_err(|_| damaged())?;
        let secret = self.kek.unseal(header, &sealed).ok_or_else(damaged)?;
        let record = KeyRecord::decode(header).map_err(|_| damaged())?;
        if self.path_of(&record.id) == path { Ok((record, secret)) } else { Err(damaged()) }
    }

    /// Every record; the caller holds the lock.
    fn read_all(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let paths = self.files_ending(EXTENSION)?;
        let read = |path: &PathBuf| self.read(path).map(|(record, _)| record);
        let mut records: Vec<_> = paths.iter().map(read).collect::<Result<_, _>>()?;
        oldest_first(&mut records);
        Ok(records)
    }

    fn find_file(&self, id: &KeyId) -> Result<(KeyRecord, Secret<Vec<u8>>), StoreError> {
        self.read(&self.path_of(id)).map_err(|error| match error {
            StoreError::File(inner) if inner.is_missing() => StoreError::NotFound { id: *id },
            other => other,
        })
    }

    fn seal(&self, record: &KeyRecord, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let header = record.encode();
        let sealed = self.kek.seal(&header, secret).map_err(|_| StoreError::Resources)?;
        Ok(Transcript::new(DOMAIN)
            .bytes("header", &header)
            .bytes("nonce", &sealed.nonce)
            .bytes("sealed", &sealed.ciphertext)
            .into_bytes())
    }
}

fn split(file: &[u8]) -> Result<(&[u8], Sealed), TranscriptError> {
    let mut reader = Reader::new(file, DOMAIN)?;
    let header = reader.bytes("header")?;
    let sealed = Sealed { nonce: reader.array("nonce")?, ciphertext: reader.bytes("sealed")?.to_vec() };
    reader.finish()?;
    Ok((header, sealed))
}

fn kek_error(directory: &Path, file: &Path) -> impl FnOnce(KekError) -> StoreError {
    let (directory, file) = (directory.to_owned(), file.to_owned());
    move |error| match error {
        KekError::WrongPassphrase => StoreError::WrongPassphrase { path: directory },
        KekError::Damaged => StoreError::Damaged { path: file },
        KekError::Resources => StoreError::Resources,
    }
}

impl KeyStore for FileStore {
    fn insert(&self, record: &KeyRecord, secret: &Secret<Vec<u8>>) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let present = self.read_all()?;
        admit(&present, record, secret)?;
        let file = self.seal(record, secret.expose())?;
        files::write_private(&self.path_of(&record.id), &file)?;
        // Last: without the new record these are what keeps the numbers from being used again. A crash leaves them to the next.
        for id in outlived(&present, record) {
            files::remove_if_present(&self.path_of(&id))?;
        }
        Ok(())
    }

    fn secret(&self, id: &KeyId) -> Result<Secret<Vec<u8>>, StoreError> {
        // Without the lock, a file could be read while its bytes are being wiped.
        let _lock = DirectoryLock::shared(&self.directory)?;
        match self.find_file(id)? {
            (record, secret) if record.state != State::Destroyed => Ok(secret),
            _ => Err(StoreError::Destroyed { id: *id }),
        }
    }

    fn advance(&self, id: &KeyId, to: State) -> Result<(), StoreError> {
        if to == State::Destroyed {
            return self.destroy(id);
        }
        let _lock = self.lock()?;
        let Some(record) = next_state(&self.read_all()?, id, to)? else { return Ok(()) };
        let (_, secret) = self.find_file(id)?;
        let file = self.seal(&record, secret.expose())?;
        files::replace_and_wipe(&self.path_of(id), &file)?;
        Ok(())
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        files::check_directory(&self.directory)?;
        let _lock = DirectoryLock::shared(&self.directory)?;
        self.read_all()
    }

    fn destroy(&self, id: &KeyId) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let (mut record, _) = self.find_file(id)?;
        if record.state == State::Destroyed {
            return Ok(());
        }
        record.state = State::Destroyed;
        let tombstone = self.seal(&record, &[])?;
        files::replace_and_wipe(&self.path_of(id), &tombstone)?;
        Ok(())
    }
}
