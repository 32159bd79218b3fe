//! The one canonical encoding that is hashed, signed and logged.
//!
//! An item is `len16 ‖ label ‖ len32 ‖ bytes`, integers big-endian; a transcript is items one after another,
//! the first naming its domain. Its digest is SHA-512 over all bytes, and signatures cover those 64 bytes.
//! Protobuf encoding is not canonical, so nothing else is ever signed.
//!
//! [`Reader`] takes the same items back in the same order and refuses anything else, so a record in the log
//! is evidence and data at once.

mod record;

pub use record::{Record, Signed, SignedError};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha512};

/// Digest of a transcript.
pub type Hash = [u8; 64];

/// Bytes of an Ed25519 signature.
pub type SignatureBytes = [u8; 64];

const DOMAIN: &str = "domain";

/// A transcript under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    bytes: Vec<u8>,
}

impl Transcript {
    /// Begins a transcript; `domain` separates its kind and version from every other, for example
    /// `windvane/grant/v1`.
    pub fn new(domain: &str) -> Self {
        Self { bytes: Vec::with_capacity(512) }.bytes(DOMAIN, domain.as_bytes())
    }

    /// Adds an item.
    ///
    /// # Panics
    /// When a label is longer than 65,535 bytes or an item longer than 2^32 − 1: labels are constants of
    /// this code, and items are bounded by [`crate::limits`].
    #[must_use]
    pub fn bytes(mut self, label: &str, item: &[u8]) -> Self {
        let label_len = u16::try_from(label.len()).expect("labels are short constants");
        let item_len = u32::try_from(item.len()).expect("items are bounded by limits.rs");
        self.bytes.extend_from_slice(&label_len.to_be_bytes());
        self.bytes.extend_from_slice(label.as_bytes());
        self.bytes.extend_from_slice(&item_len.to_be_bytes());
        self.bytes.extend_from_slice(item);
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, label: &str, item: &str) -> Self {
        self.bytes(label, item.as_bytes())
    }

    /// Adds an integer as eight big-endian bytes.
    #[must_use]
    pub fn u64(self, label: &str, item: u64) -> Self {
        self.bytes(label, &item.to_be_bytes())
    }

    /// Adds a list: its length as an item, then every element under the same label.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, label: &str, items: impl ExactSizeIterator<Item = T>) -> Self {
        let counted = self.u64(label, items.len() as u64);
        items.fold(counted, |t, item| t.bytes(label, item.as_ref()))
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoding, taken.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-512 over the encoding.
    pub fn digest(&self) -> Hash {
        digest(&self.bytes)
    }
}

/// SHA-512 over an encoding that is already there.
pub fn digest(encoding: &[u8]) -> Hash {
    Sha512::digest(encoding).into()
}

/// Ed25519 over the 64-byte digest of an encoding.
pub fn sign(key: &SigningKey, encoding: &[u8]) -> SignatureBytes {
    key.sign(&digest(encoding)).to_bytes()
}

/// Checks [`sign`], strictly (no small-order keys, canonical encodings only).
pub fn verify(key: &VerifyingKey, encoding: &[u8], signature: &SignatureBytes) -> bool {
    key.verify_strict(&digest(encoding), &Signature::from_bytes(signature)).is_ok()
}

/// Commitment to an item: HMAC-SHA-512 under a 32-byte salt, first 32 bytes.
pub fn commit(salt: &[u8; 32], item: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha512>::new_from_slice(salt).expect("HMAC takes a key of any length");
    mac.update(item);
    let tag = mac.finalize().into_bytes();
    let mut commitment = [0; 32];
    commitment.copy_from_slice(&tag[..32]);
    commitment
}

/// Why an encoding is not the transcript it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// The encoding ends inside an item.
    #[error("the record ends inside its item {label}")]
    Truncated {
        /// The item that was being read.
        label: &'static str,
    },
    /// Another item stands where this one is expected.
    #[error("the record has another item where {expected} is expected")]
    Label {
        /// The label that should stand here.
        expected: &'static str,
    },
    /// The item's bytes are not of the expected form.
    #[error("the record's item {label} must be {expected}")]
    Form {
        /// The item.
        label: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// More bytes follow the last item.
    #[error("{found} bytes follow the record's last item")]
    Trailing {
        /// How many.
        found: usize,
    },
}

/// Reads a transcript back, item by item, in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read; the first item must be `domain`.
    ///
    /// # Errors
    /// [`TranscriptError`] when the encoding is of another domain.
    pub fn new(encoding: &'a [u8], domain: &'static str) -> Result<Self, TranscriptError> {
        let mut reader = Self { rest: encoding };
        if reader.bytes(DOMAIN)? == domain.as_bytes() {
            Ok(reader)
        } else {
            Err(TranscriptError::Form { label: DOMAIN, expected: domain })
        }
    }

    /// The next item, which must carry this label.
    ///
    /// # Errors
    /// [`TranscriptError`] when the encoding ends or another label stands here.
    pub fn bytes(&mut self, label: &'static str) -> Result<&'a [u8], TranscriptError> {
        let short = || TranscriptError::Truncated { label };
        let (len, rest) = self.rest.split_first_chunk::<2>().ok_or_else(short)?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or_else(short)?;
        if name != label.as_bytes() {
            return Err(TranscriptError::Label { expected: label });
        }
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (item, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or_else(short)?;
        self.rest = rest;
        Ok(item)
    }

    /// The next item as exactly `N` bytes.
    ///
    /// # Errors
    /// [`TranscriptError`], also when the length differs.
    pub fn array<const N: usize>(&mut self, label: &'static str) -> Result<[u8; N], TranscriptError> {
        self.bytes(label)?
            .try_into()
            .map_err(|_| TranscriptError::Form { label, expected: "of its fixed length" })
    }

    /// The next item as text.
    ///
    /// # Errors
    /// [`TranscriptError`], also when the bytes are not UTF-8.
    pub fn text(&mut self, label: &'static str) -> Result<&'a str, TranscriptError> {
        std::str::from_utf8(self.bytes(label)?)
            .map_err(|_| TranscriptError::Form { label, expected: "UTF-8 text" })
    }

    /// The next item as text of another type.
    ///
    /// # Errors
    /// [`TranscriptError`], also when the text does not parse.
    pub fn parse<T: std::str::FromStr>(&mut self, label: &'static str) -> Result<T, TranscriptError> {
        self.text(label)?.parse().map_err(|_| TranscriptError::Form { label, expected: "well-formed" })
    }

    /// The next item as an integer.
    ///
    /// # Errors
    /// [`TranscriptError`], also when it is not eight bytes.
    pub fn u64(&mut self, label: &'static str) -> Result<u64, TranscriptError> {
        self.array(label).map(u64::from_be_bytes)
    }

    /// The next item as an integer of a smaller type.
    ///
    /// # Errors
    /// [`TranscriptError`], also when it does not fit.
    pub fn number<T: TryFrom<u64>>(&mut self, label: &'static str) -> Result<T, TranscriptError> {
        T::try_from(self.u64(label)?)
            .map_err(|_| TranscriptError::Form { label, expected: "a number within its range" })
    }

    /// A list of at most `max` elements.
    ///
    /// # Errors
    /// [`TranscriptError`], also when the declared length is larger than `max`.
    pub fn list(&mut self, label: &'static str, max: usize) -> Result<Vec<&'a [u8]>, TranscriptError> {
        let count = self.number::<usize>(label)?;
        if count > max {
            return Err(TranscriptError::Form { label, expected: "a list within its limit" });
        }
        (0..count).map(|_| self.bytes(label)).collect()
    }

    /// Ends the reading; nothing may follow.
    ///
    /// # Errors
    /// [`TranscriptError::Trailing`].
    pub fn finish(self) -> Result<(), TranscriptError> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(TranscriptError::Trailing { found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Transcript {
        Transcript::new("windvane/test/v1")
            .text("who", "bank")
            .u64("count", 3)
            .list("item", [b"a".as_slice(), b"bc"].into_iter())
    }

    #[test]
    fn items_are_len16_label_len32_bytes() {
        let encoding = Transcript::new("d").bytes("ab", &[9]).into_bytes();
        assert_eq!(encoding, b"\x00\x06domain\x00\x00\x00\x01d\x00\x02ab\x00\x00\x00\x01\x09");
    }

    #[test]
    fn a_reader_takes_back_what_was_written() {
        let encoding = sample().into_bytes();
        let mut r = Reader::new(&encoding, "windvane/test/v1").unwrap();
        assert_eq!(r.text("who").unwrap(), "bank");
        assert_eq!(r.number::<u8>("count").unwrap(), 3);
        assert_eq!(r.list("item", 2).unwrap(), [b"a".as_slice(), b"bc"]);
        r.finish().unwrap();
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        let encoding = sample().into_bytes();
        let read = |bytes: &[u8]| -> Result<(), TranscriptError> {
            let mut r = Reader::new(bytes, "windvane/test/v1")?;
            r.text("who")?;
            r.u64("count")?;
            r.list("item", 2)?;
            r.finish()
        };
        assert!((0..encoding.len()).all(|end| read(&encoding[..end]).is_err()));
        let longer = [encoding.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Err(TranscriptError::Trailing { found: 1 }));
        assert_eq!(read(&encoding), Ok(()));
    }

    #[test]
    fn a_list_longer_than_its_limit_is_refused_before_it_allocates() {
        let encoding = Transcript::new("d").u64("item", u64::MAX).into_bytes();
        assert!(Reader::new(&encoding, "d").unwrap().list("item", 10).is_err());
    }

    #[test]
    fn a_signature_covers_every_byte() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let encoding = sample().into_bytes();
        let signature = sign(&key, &encoding);
        assert!(verify(&key.verifying_key(), &encoding, &signature));
        for i in 0..encoding.len() {
            let mut other = encoding.clone();
            other[i] ^= 1;
            assert!(!verify(&key.verifying_key(), &other, &signature));
        }
    }
}
