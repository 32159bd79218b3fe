//! SHA-256 of a file on its way to the reader.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// A source whose bytes are digested as they are read, if that is asked for.
pub(super) struct Digested<R> {
    source: R,
    hash: Option<Sha256>,
}

impl<R: Read> Digested<R> {
    pub(super) fn new(source: R, wanted: bool) -> Self {
        Self { source, hash: wanted.then(Sha256::new) }
    }

    /// The digest of what was read so far; `None` if nobody asked.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.hash.clone().map(|hash| hash.finalize().into())
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&out[..read]);
        }
        Ok(read)
    }
}
