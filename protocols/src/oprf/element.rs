//! Group elements as they travel, and keys.

use std::fmt;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity as _;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Context, OprfError, hash::wide_scalar};
use crate::secret::Secret;
use crate::transcript::Transcript;

/// Bytes of an encoded element or scalar.
pub const ELEMENT_BYTES: usize = 32;

/// An element other than the identity, with its canonical encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Element {
    pub(super) point: RistrettoPoint,
    pub(super) bytes: [u8; ELEMENT_BYTES],
}

impl Element {
    /// Reads a canonical encoding (RFC 9496, section 4.3.1).
    ///
    /// # Errors
    /// [`OprfError::InvalidElement`] for other encodings, and for the identity, which RFC 9497 refuses.
    pub fn from_bytes(bytes: [u8; ELEMENT_BYTES]) -> Result<Self, OprfError> {
        match CompressedRistretto(bytes).decompress() {
            Some(point) if !point.is_identity() => Ok(Self { point, bytes }),
            _ => Err(OprfError::InvalidElement),
        }
    }

    /// Reads elements that stand one after another.
    ///
    /// # Errors
    /// [`OprfError::InvalidElement`] when one is invalid or bytes are left over.
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, OprfError> {
        let (chunks, []) = bytes.as_chunks::<ELEMENT_BYTES>() else {
            return Err(OprfError::InvalidElement);
        };
        chunks.iter().map(|chunk| Self::from_bytes(*chunk)).collect()
    }

    /// A uniformly random element, as it stands for an absent field.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let [element] = Self::doubles([RistrettoPoint::random(rng)]);
        element
    }

    /// The canonical encoding.
    pub const fn as_bytes(&self) -> &[u8; ELEMENT_BYTES] {
        &self.bytes
    }

    /// The doubles of points, encoded together with a single inversion.
    pub(super) fn doubles<const N: usize>(halves: [RistrettoPoint; N]) -> [Self; N] {
        let elements = Self::all_doubles(&halves);
        elements.try_into().expect("one element per half")
    }

    /// [`Self::doubles`] for any number.
    ///
    /// A point is the double of its half; batched encoding of doubles costs a sixth of encoding one by one,
    /// so callers halve their scalars beforehand.
    pub(super) fn all_doubles(halves: &[RistrettoPoint]) -> Vec<Self> {
        let encodings = RistrettoPoint::double_and_compress_batch(halves);
        halves
            .iter()
            .zip(encodings)
            .map(|(half, encoding)| Self { point: half + half, bytes: encoding.to_bytes() })
            .collect()
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Element(")?;
        self.bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// The public half of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey {
    pub(super) element: Element,
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`OprfError::InvalidElement`] as for [`Element::from_bytes`].
    pub fn from_bytes(bytes: [u8; ELEMENT_BYTES]) -> Result<Self, OprfError> {
        Element::from_bytes(bytes).map(|element| Self { element })
    }

    /// The canonical encoding.
    pub const fn as_bytes(&self) -> &[u8; ELEMENT_BYTES] {
        &self.element.bytes
    }

    /// A short name of the key, for answers and manifests.
    pub fn id(&self) -> KeyId {
        let digest = Transcript::new("windvane/oprf-key-id/v1").bytes("public", self.as_bytes()).digest();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        KeyId(id)
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
        loop {
            let scalar = Scalar::random(rng);
            if scalar != Scalar::ZERO {
                return Self::from_scalar(scalar);
            }
        }
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
            .map(|counter| wide_scalar(&[seed, &len, info, &[counter]], context.derive_key_pair))
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
        let [element] = Element::doubles([RISTRETTO_BASEPOINT_TABLE * &half]);
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
