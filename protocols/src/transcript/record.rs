//! Records with one canonical encoding, and records that a party signed.

use std::sync::{Arc, OnceLock};

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::{Hash, Reader, SignatureBytes, Transcript, TranscriptError, digest, sign, verify};

/// Something that has one canonical encoding.
pub trait Record: Sized {
    /// Kind and version, for example `windvane/grant/v1`.
    const DOMAIN: &'static str;

    /// Adds every field, in order, to a transcript that carries the domain.
    fn write(&self, transcript: Transcript) -> Transcript;

    /// Reads every field, in order; the caller has read the domain and checks that nothing follows.
    ///
    /// # Errors
    /// [`TranscriptError`].
    fn read(reader: &mut Reader<'_>) -> Result<Self, TranscriptError>;

    /// The canonical encoding.
    fn encode(&self) -> Transcript {
        self.write(Transcript::new(Self::DOMAIN))
    }

    /// Reads a canonical encoding, all of it.
    ///
    /// # Errors
    /// [`TranscriptError`].
    fn decode(encoding: &[u8]) -> Result<Self, TranscriptError> {
        let mut reader = Reader::new(encoding, Self::DOMAIN)?;
        let record = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(record)
    }
}

/// A record with a party's signature over its digest. As bytes: encoding ‖ 64-byte signature. Clones share it.
pub struct Signed<T>(Arc<Parts<T>>);

struct Parts<T> {
    body: T,
    bytes: Vec<u8>,
    /// Several later records refer to one; it is hashed once.
    digest: OnceLock<Hash>,
}

/// Why signed bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// Too short to carry a signature.
    #[error("a signed record has more than 64 bytes, found {found}")]
    Short {
        /// Bytes found.
        found: usize,
    },
    /// The record itself is malformed.
    #[error(transparent)]
    Record(#[from] TranscriptError),
    /// The signature is not by the expected key over these bytes.
    #[error("the signature does not hold under the signer's key")]
    Signature,
}

impl<T: Record> Signed<T> {
    /// Signs a record.
    pub fn sign(body: T, key: &SigningKey) -> Self {
        let mut bytes = body.encode().into_bytes();
        let signature = sign(key, &bytes);
        bytes.extend_from_slice(&signature);
        Self::new(body, bytes)
    }

    /// Reads the bytes **without** checking the signature, to learn who should have signed;
    /// [`Self::verify`] comes next.
    ///
    /// # Errors
    /// [`SignedError::Short`], [`SignedError::Record`].
    pub fn from_bytes_unverified(bytes: Vec<u8>) -> Result<Self, SignedError> {
        let (encoding, _) = split(&bytes).ok_or(SignedError::Short { found: bytes.len() })?;
        Ok(Self::new(T::decode(encoding)?, bytes))
    }

    /// Reads the bytes and checks the signature.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn open(bytes: Vec<u8>, key: &VerifyingKey) -> Result<Self, SignedError> {
        let signed = Self::from_bytes_unverified(bytes)?;
        if signed.verify(key) { Ok(signed) } else { Err(SignedError::Signature) }
    }
}

impl<T> Signed<T> {
    fn new(body: T, bytes: Vec<u8>) -> Self {
        Self(Arc::new(Parts { body, bytes, digest: OnceLock::new() }))
    }

    /// Whether `key` signed this record.
    pub fn verify(&self, key: &VerifyingKey) -> bool {
        split(&self.0.bytes).is_some_and(|(encoding, signature)| verify(key, encoding, signature))
    }

    /// The record.
    pub fn body(&self) -> &T {
        &self.0.body
    }

    /// Encoding and signature, to send or to log.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Digest of the encoding and the signature together: what a later record refers to, so that it covers
    /// the signature too.
    pub fn digest(&self) -> Hash {
        *self.0.digest.get_or_init(|| digest(&self.0.bytes))
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The bytes have everything.
impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl<T> Eq for Signed<T> {}

impl<T: std::fmt::Debug> std::fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signed").field(self.body()).finish()
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &SignatureBytes)> {
    bytes.split_last_chunk::<64>()
}
