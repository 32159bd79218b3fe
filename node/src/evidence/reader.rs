//! Reading a published log, also one that another process is writing.

use std::path::{Path, PathBuf};
use std::vec;

use windvane_protocols::audit::checkpoint::{
    Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES, SignedCheckpoint,
};
use windvane_protocols::audit::tiles::{TILE_WIDTH, Tile, TileKind, decode_bundle};

use super::LogError;
use super::files;
use super::tree::{CHECKPOINT, read_edge, read_tile};

/// A log as its checkpoint has it. Signatures and hashes are not checked here: see
/// [`super::verify::verify_log`].
#[derive(Debug, Clone)]
pub struct LogReader {
    dir: PathBuf,
    checkpoint: SignedCheckpoint,
}

impl LogReader {
    /// Reads the checkpoint.
    ///
    /// # Errors
    /// [`LogError`] when there is none or it is malformed.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let note = files::read(&dir.join(CHECKPOINT), MAX_CHECKPOINT_BYTES)?
            .ok_or_else(|| LogError::CheckpointMissing { dir: dir.to_owned() })?;
        Ok(Self { dir: dir.to_owned(), checkpoint: SignedCheckpoint::parse(&note)? })
    }

    /// The checkpoint; [`SignedCheckpoint::verify`] tells whether it is signed.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The checkpoint, once the log's signature is found right.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is not signed by this key.
    pub fn verify(&self, log: &super::LogVerifier) -> Result<&Checkpoint, CheckpointError> {
        self.checkpoint.verify(log)
    }

    /// The checkpoint, once it is signed by this key and the tiles' right edge, with the entries in it, gives its
    /// root: what a node checks of its log at a start. [`super::verify::verify_log`] checks everything.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn verify_edge(&self, log: &super::LogVerifier) -> Result<&Checkpoint, LogError> {
        let checkpoint = self.checkpoint.verify(log)?;
        read_edge(&self.dir, checkpoint)?;
        Ok(checkpoint)
    }

    /// The entries from this index to the checkpoint's size. The iteration ends after an error.
    pub fn entries(&self, from: u64) -> Entries {
        let size = self.checkpoint.unverified().size;
        Entries { dir: self.dir.clone(), size, next: from, bundle: Vec::new().into_iter() }
    }
}

/// Entries with their indices, one bundle in memory at a time.
#[derive(Debug)]
pub struct Entries {
    dir: PathBuf,
    size: u64,
    next: u64,
    bundle: vec::IntoIter<Vec<u8>>,
}

impl Entries {
    /// Reads the bundle that holds the next entry.
    fn load(&mut self) -> Result<(), LogError> {
        let index = self.next / u64::from(TILE_WIDTH);
        let Some(tile) = Tile::in_tree(TileKind::Entries, index, self.size) else { return Ok(()) };
        let (tile, content) = match read_tile(&self.dir, tile) {
            // The bundle may have become full, and its parts removed, since the checkpoint was read.
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                (tile.full(), read_tile(&self.dir, tile.full())?)
            }
            content => (tile, content?),
        };
        let entries = decode_bundle(&content, tile.width())
            .map_err(|source| LogError::Tile { path: tile.to_string(), source })?;
        let skipped = usize::try_from(self.next - tile.first()).unwrap_or(usize::MAX);
        let entries: Vec<_> = entries.into_iter().skip(skipped).map(<[u8]>::to_vec).collect();
        self.bundle = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<(u64, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.size {
            return None;
        }
        if self.bundle.len() == 0
            && let Err(error) = self.load()
        {
            self.next = self.size;
            return Some(Err(error));
        }
        let entry = self.bundle.next()?;
        self.next += 1;
        Some(Ok((self.next - 1, entry)))
    }
}
