//! Records beyond the memory budget: a file without a name, sealed chunk by chunk.
//!
//! AES-256-GCM under a random key that is never written; the nonce is the chunk's number, used once. The file
//! has no name from its creation on, so that nothing is left of it when the process ends, however it ends.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use rand_core::CryptoRng;
use zeroize::Zeroize as _;

use super::PartitionError;
use super::store::{CHUNK_RECORDS, Record};
use crate::snapshot::disk::at;

const TAG_BYTES: usize = 16;
const PLAIN_BYTES: usize = CHUNK_RECORDS * Record::BYTES;
const SEALED_BYTES: usize = PLAIN_BYTES + TAG_BYTES;

/// Full chunks on disk; the file is made when the first comes.
pub(super) struct Spill {
    folder: PathBuf,
    cipher: Aes256Gcm,
    file: Option<File>,
    chunks: u32,
    buffer: Vec<u8>,
}

impl Spill {
    pub(super) fn new(folder: &Path, rng: &mut impl CryptoRng) -> Self {
        let mut key = Key::<Aes256Gcm>::default();
        rng.fill_bytes(&mut key);
        let cipher = Aes256Gcm::new(&key);
        key.zeroize();
        Self { folder: folder.to_owned(), cipher, file: None, chunks: 0, buffer: Vec::new() }
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.chunks) * SEALED_BYTES as u64
    }

    /// Seals and writes a full chunk; gives its number.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<u32, PartitionError> {
        self.buffer.resize(SEALED_BYTES, 0);
        let (plain, tag) = self.buffer.split_at_mut(PLAIN_BYTES);
        records.iter().zip(plain.chunks_exact_mut(Record::BYTES)).for_each(|(r, bytes)| r.write(bytes));
        let sealed = self.cipher.encrypt_inout_detached(&nonce(self.chunks), &[], plain.into());
        tag.copy_from_slice(&sealed.expect("chunks are far below the cipher's limit"));
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(at(&self.folder))?,
        };
        file.write_all(&self.buffer).map_err(at(&self.folder))?;
        self.file = Some(file);
        self.chunks += 1;
        Ok(self.chunks - 1)
    }

    /// Reads a chunk back.
    pub(super) fn read(&self, chunk: u32) -> Result<Vec<Record>, PartitionError> {
        let mut sealed = vec![0; SEALED_BYTES];
        let missing = || at(&self.folder)(io::ErrorKind::NotFound.into());
        let file = self.file.as_ref().ok_or_else(missing)?;
        let offset = u64::from(chunk) * SEALED_BYTES as u64;
        file.read_exact_at(&mut sealed, offset).map_err(at(&self.folder))?;
        let (plain, tag) = sealed.split_at_mut(PLAIN_BYTES);
        let damaged = || PartitionError::SpillDamaged { folder: self.folder.clone() };
        let tag = Tag::try_from(&*tag).map_err(|_| damaged())?;
        let opened = self.cipher.decrypt_inout_detached(&nonce(chunk), &[], plain.into(), &tag);
        opened.map_err(|_| damaged())?;
        Ok(sealed.as_chunks().0.iter().take(CHUNK_RECORDS).map(Record::read).collect())
    }
}

fn nonce(chunk: u32) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&chunk.to_be_bytes());
    nonce.into()
}
