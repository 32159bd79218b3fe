//! Group elements as they travel, and keys.

use std::fmt;
use std::ops::Range;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::Points;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Context, OprfError, hash::wide_scalar, nonzero};
use crate::secret::Secret;
use crate::transcript::Transcript;

/// Bytes of an encoded element or scalar.
pub const ELEMENT_BYTES: usize = 32;

/// Elements other than the identity, in order, each with its canonical encoding.
#[derive(Clone)]
pub struct Elements {
    pub(super) points: Points,
    pub(super) bytes: Vec<[u8; ELEMENT_BYTES]>,
}

impl Elements {
    /// Reads canonical encodings (RFC 9496, section 4.3.1) that stand one after another.
    ///
    /// # Errors
    /// [`OprfError::InvalidElement`] for another encoding, for the identity, which RFC 9497 refuses, and when
    /// bytes are left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OprfError> {
        let (chunks, []) = bytes.as_chunks::<ELEMENT_BYTES>() else {
            return Err(OprfError::InvalidElement);
        };
        let points = Points::decode_nonidentity(chunks).map_err(|_| OprfError::InvalidElement)?;
        Ok(Self { points, bytes: chunks.to_vec() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The canonical encodings one after another, as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_flattened()
    }

    /// The elements of a range.
    ///
    /// # Panics
    /// When the range is out of bounds.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { points: self.points.slice(range.clone()), bytes: self.bytes[range].to_vec() }
    }

    /// The elements at these places, in this order.
    ///
    /// # Panics
    /// When a place is out of bounds.
    #[must_use]
    pub fn gather(&self, places: &[usize]) -> Self {
        let bytes = places.iter().map(|place| self.bytes[*place]).collect();
        Self { points: self.points.gather(places), bytes }
    }

    /// Neighbouring runs of these lengths.
    ///
    /// # Panics
    /// When there are not as many elements.
    pub fn split(&self, lengths: impl IntoIterator<Item = usize>) -> Vec<Self> {
        let mut at = 0;
        let mut next = |length| {
            at += length;
            self.slice(at - length..at)
        };
        lengths.into_iter().map(&mut next).collect()
    }

    /// The doubles of points.
    ///
    /// Doubles are encoded with shared inversions and without a square root each, so callers halve their scalars
    /// beforehand.
    pub(super) fn doubles(halves: &Points) -> Self {
        Self { points: halves.double(), bytes: halves.encode_doubled() }
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Elements {}

impl fmt::Debug for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elements({})", self.len())
    }
}

/// The public half of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// One element.
    pub(super) element: Elements,
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`OprfError::InvalidElement`] as for [`Elements::from_bytes`].
    pub fn from_bytes(bytes: [u8; ELEMENT_BYTES]) -> Result<Self, OprfError> {
        Elements::from_bytes(&bytes).map(|element| Self { element })
    }

    /// The canonical encoding.
    pub fn as_bytes(&self) -> &[u8; ELEMENT_BYTES] {
        &self.element.bytes[0]
    }

    /// A short name of the key, for answers and manifests.
    pub fn id(&self) -> KeyId {
        let digest = Transcript::new("windvane/oprf-key-id/v1").bytes("public", self.as_bytes()).digest();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        KeyId(id)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// First 16 bytes of the digest of a public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A secret key and what is derived from it once.
#[derive(Clone)]
pub struct PrivateKey {
    pub(super) scalar: Scalar,
    /// Half the key, for batched encoding of doubles.
    pub(super) half: Scalar,
    pub(super) public: PublicKey,
}

impl PrivateKey {
    /// A fresh key.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self::from_scalar(nonzero(rng))
    }

    /// Reads a canonical, nonzero scalar.
    ///
    /// # Errors
    /// [`OprfError::InvalidKey`].
    pub fn from_bytes(bytes: &[u8; ELEMENT_BYTES]) -> Result<Self, OprfError> {
        match Scalar::from_canonical_bytes(*bytes).into_option() {
            Some(scalar) if scalar != Scalar::ZERO => Ok(Self::from_scalar(scalar)),
            _ => Err(OprfError::InvalidKey),
        }
    }

    /// RFC 9497 `DeriveKeyPair`, section 3.2.1.
    ///
    /// # Errors
    /// [`OprfError::InvalidKey`] after 256 attempts that all gave zero, which does not happen, and for an
    /// `info` of more than 65,535 bytes.
    pub fn derive(context: &Context, seed: &[u8; 32], info: &[u8]) -> Result<Self, OprfError> {
        let len = u16::try_from(info.len()).map_err(|_| OprfError::InvalidKey)?.to_be_bytes();
        (0..=u8::MAX)
            .map(|counter| wide_scalar([seed, &len, info, &[counter]], context.derive_key_pair))
            .find(|scalar| *scalar != Scalar::ZERO)
            .map(Self::from_scalar)
            .ok_or(OprfError::InvalidKey)
    }

    /// The canonical scalar, for a sealed store; [`Self::from_bytes`] reads it back.
    pub fn to_bytes(&self) -> Secret<[u8; ELEMENT_BYTES]> {
        Secret::new(self.scalar.to_bytes())
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    fn from_scalar(scalar: Scalar) -> Self {
        let half = scalar.div_by_2();
        let element = Elements::doubles(&Points::mul_base(&[half]));
        Self { scalar, half, public: PublicKey { element } }
    }
}

impl Zeroize for PrivateKey {
    fn zeroize(&mut self) {
        self.scalar.zeroize();
        self.half.zeroize();
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.public.id())
    }
}
