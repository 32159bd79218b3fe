//! What does not fit in memory: a file without a name, sealed block by block.
//!
//! AES-256-GCM under a random key that is never written; the nonce is the block's number, used once. The file
//! has no name from its creation on, so that nothing is left of it when the process ends, however it ends.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use rand_core::CryptoRng;
use windvane_keys::files::FileError;
use zeroize::Zeroize as _;

use crate::snapshot::disk::at;

const TAG_BYTES: usize = 16;

/// Why blocks cannot be put away or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpillError {
    /// The file cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was spilled is not what was written.
    #[error("the spill file in {folder} changed while it was used; check the disk, and start again")]
    Damaged {
        /// The folder.
        folder: PathBuf,
    },
}

impl SpillError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Damaged { .. } => "SPILL_DAMAGED",
        }
    }
}

/// Blocks of one size on disk; the file is made when the first comes.
pub(crate) struct Spill {
    folder: PathBuf,
    cipher: Aes256Gcm,
    file: Option<File>,
    /// Bytes of a block, before it is sealed.
    block_bytes: usize,
    blocks: u32,
    buffer: Vec<u8>,
}

impl Spill {
    pub(crate) fn new(folder: &Path, block_bytes: usize, rng: &mut impl CryptoRng) -> Self {
        let mut key = Key::<Aes256Gcm>::default();
        rng.fill_bytes(&mut key);
        let cipher = Aes256Gcm::new(&key);
        key.zeroize();
        Self { folder: folder.to_owned(), cipher, file: None, block_bytes, blocks: 0, buffer: Vec::new() }
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * self.sealed_bytes() as u64
    }

    const fn sealed_bytes(&self) -> usize {
        self.block_bytes + TAG_BYTES
    }

    /// Seals and writes the block that `fill` writes; gives its number.
    pub(crate) fn append(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<u32, SpillError> {
        self.buffer.resize(self.block_bytes + TAG_BYTES, 0);
        let (plain, tag) = self.buffer.split_at_mut(self.block_bytes);
        fill(plain);
        let sealed = self.cipher.encrypt_inout_detached(&nonce(self.blocks), &[], plain.into());
        tag.copy_from_slice(&sealed.expect("blocks are far below the cipher's limit"));
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(at(&self.folder))?,
        };
        file.write_all(&self.buffer).map_err(at(&self.folder))?;
        self.file = Some(file);
        self.blocks += 1;
        Ok(self.blocks - 1)
    }

    /// Reads a block back into `block`.
    pub(crate) fn read(&self, number: u32, block: &mut Vec<u8>) -> Result<(), SpillError> {
        block.resize(self.sealed_bytes(), 0);
        let missing = || at(&self.folder)(io::ErrorKind::NotFound.into());
        let file = self.file.as_ref().ok_or_else(missing)?;
        let offset = u64::from(number) * self.sealed_bytes() as u64;
        file.read_exact_at(block, offset).map_err(at(&self.folder))?;
        let (plain, tag) = block.split_at_mut(self.block_bytes);
        let damaged = || SpillError::Damaged { folder: self.folder.clone() };
        let tag = Tag::try_from(&*tag).map_err(|_| damaged())?;
        let opened = self.cipher.decrypt_inout_detached(&nonce(number), &[], plain.into(), &tag);
        opened.map_err(|_| damaged())?;
        block.truncate(self.block_bytes);
        Ok(())
    }
}

fn nonce(block: u32) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&block.to_be_bytes());
    nonce.into()
}
