//! A statistic in chunks of rows, and its digest.

use sha2::{Digest as _, Sha512};

use super::{CIPHERTEXT_BYTES, Ciphertexts, ElGamalError, EncodedCiphertext, Statistic, TrainingKey};
use crate::limits::{MAX_CIPHERTEXTS_PER_CHUNK, MAX_TRAINING_ROWS};
use crate::transcript::{Hash, Transcript};

/// SHA-512 over a transcript that names the statistic and the number of rows, and then all ciphertexts in the order
/// of rows. It does not depend on the chunks they came in.
#[derive(Clone, Debug)]
pub struct StatisticDigest {
    hash: Sha512,
    rows: usize,
    seen: usize,
}

impl StatisticDigest {
    /// Of no row yet.
    ///
    /// # Errors
    /// [`ElGamalError::Rows`].
    pub fn new(statistic: Statistic, rows: usize) -> Result<Self, ElGamalError> {
        if rows > MAX_TRAINING_ROWS {
            return Err(ElGamalError::Rows { found: rows });
        }
        let head = Transcript::new("windvane/train-statistic/v1")
            .u64("statistic", statistic.number())
            .u64("rows", rows as u64);
        Ok(Self { hash: Sha512::new_with_prefix(head.as_bytes()), rows, seen: 0 })
    }

    /// The next rows.
    ///
    /// # Errors
    /// [`ElGamalError::Count`] for more rows than there are.
    pub fn chunk(&mut self, ciphertexts: &[EncodedCiphertext]) -> Result<(), ElGamalError> {
        let found = self.seen + ciphertexts.len();
        if found > self.rows {
            return Err(ElGamalError::Count { expected: self.rows, found });
        }
        self.hash.update(ciphertexts.as_flattened());
        self.seen = found;
        Ok(())
    }

    /// The digest of all rows.
    ///
    /// # Errors
    /// [`ElGamalError::Count`] when rows are missing.
    pub fn finish(self) -> Result<Hash, ElGamalError> {
        if self.seen != self.rows {
            return Err(ElGamalError::Count { expected: self.rows, found: self.seen });
        }
        Ok(self.hash.finalize().into())
    }
}

/// Encrypts one statistic, chunk by chunk; also for an auditor, who has the seed and compares digests.
#[derive(Debug)]
pub struct Encryptor<'a> {
    key: &'a TrainingKey,
    statistic: Statistic,
    digest: StatisticDigest,
}

impl<'a> Encryptor<'a> {
    /// From the first row on. A statistic is encrypted once under a key.
    ///
    /// # Errors
    /// [`ElGamalError::Rows`].
    pub fn new(key: &'a TrainingKey, statistic: Statistic, rows: usize) -> Result<Self, ElGamalError> {
        Ok(Self { key, statistic, digest: StatisticDigest::new(statistic, rows)? })
    }

    /// The ciphertexts of the next rows.
    ///
    /// # Errors
    /// [`ElGamalError::Count`], [`ElGamalError::Value`].
    pub fn chunk(&mut self, values: &[i64], threads: usize) -> Result<Vec<EncodedCiphertext>, ElGamalError> {
        let chunk = self.key.encrypt(self.statistic, self.digest.seen, values, threads)?;
        self.digest.chunk(&chunk)?;
        Ok(chunk)
    }

    /// The digest of all ciphertexts.
    ///
    /// # Errors
    /// [`ElGamalError::Count`] when rows are missing.
    pub fn finish(self) -> Result<Hash, ElGamalError> {
        self.digest.finish()
    }
}

/// Receives one statistic, chunk by chunk.
#[derive(Debug)]
pub struct Receiver {
    parts: Vec<Ciphertexts>,
    digest: StatisticDigest,
}

impl Receiver {
    /// Waits for so many rows.
    ///
    /// # Errors
    /// [`ElGamalError::Rows`].
    pub fn new(statistic: Statistic, rows: usize) -> Result<Self, ElGamalError> {
        Ok(Self { parts: Vec::new(), digest: StatisticDigest::new(statistic, rows)? })
    }

    /// The next rows: 1 to [`MAX_CIPHERTEXTS_PER_CHUNK`]. Returns how many rows are still to come.
    ///
    /// # Errors
    /// [`ElGamalError::Length`], [`ElGamalError::Count`], [`ElGamalError::InvalidCiphertext`]: the peer misbehaved.
    pub fn on_chunk(&mut self, bytes: &[u8], threads: usize) -> Result<usize, ElGamalError> {
        let (chunk, rest) = bytes.as_chunks::<CIPHERTEXT_BYTES>();
        if !rest.is_empty() || !(1..=MAX_CIPHERTEXTS_PER_CHUNK).contains(&chunk.len()) {
            return Err(ElGamalError::Length { found: bytes.len() });
        }
        let before = self.digest.seen;
        self.digest.chunk(chunk)?;
        let part = Ciphertexts::decode(bytes, threads).map_err(|error| match error {
            ElGamalError::InvalidCiphertext { index } => {
                ElGamalError::InvalidCiphertext { index: before + index }
            }
            other => other,
        })?;
        self.parts.push(part);
        Ok(self.digest.rows - self.digest.seen)
    }

    /// All ciphertexts, and their digest.
    ///
    /// # Errors
    /// [`ElGamalError::Count`] when rows are missing.
    pub fn finish(self) -> Result<(Ciphertexts, Hash), ElGamalError> {
        let digest = self.digest.finish()?;
        Ok((Ciphertexts::concat(&self.parts), digest))
    }
}
