//! Secret polynomials and commitments to their coefficients.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::oprf::{ELEMENT_BYTES, nonzero};

/// A polynomial over the scalars, coefficient of 1 first.
pub(super) struct Polynomial(Zeroizing<Vec<Scalar>>);

/// Commitments to a polynomial: its coefficients times the generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Commitments {
    points: Vec<RistrettoPoint>,
    bytes: Vec<[u8; ELEMENT_BYTES]>,
}

impl Polynomial {
    /// With so many random coefficients, none of them zero.
    pub(super) fn random(coefficients: usize, rng: &mut impl CryptoRng) -> Self {
        Self(Zeroizing::new((0..coefficients).map(|_| nonzero(rng)).collect()))
    }

    /// The value at 0: what is shared.
    pub(super) fn constant(&self) -> &Scalar {
        &self.0[0]
    }

    /// The value at `x`.
    pub(super) fn at(&self, x: u64) -> Zeroizing<Scalar> {
        let x = Scalar::from(x);
        Zeroizing::new(self.0.iter().rev().fold(Scalar::ZERO, |value, coefficient| value * x + coefficient))
    }

    /// The commitments.
    pub(super) fn commitments(&self) -> Commitments {
        let points: Vec<_> = self.0.iter().map(RistrettoPoint::mul_base).collect();
        let bytes = points.iter().map(|point| point.compress().to_bytes()).collect();
        Commitments { points, bytes }
    }
}

impl std::fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Polynomial(of {} coefficients)", self.0.len())
    }
}

impl Commitments {
    /// Reads canonical encodings other than the identity: a coefficient of zero would lower the threshold.
    pub(in super::super) fn from_bytes(bytes: &[[u8; ELEMENT_BYTES]]) -> Option<Self> {
        let points = bytes.iter().map(decode).collect::<Option<Vec<_>>>()?;
        Some(Self { points, bytes: bytes.to_vec() })
    }

    /// The encodings, as they travel.
    pub(in super::super) fn as_bytes(&self) -> &[[u8; ELEMENT_BYTES]] {
        &self.bytes
    }

    /// Commitment to the value at 0.
    pub(in super::super) fn constant(&self) -> &RistrettoPoint {
        &self.points[0]
    }

    /// Commitment to the value at `x`.
    pub(in super::super) fn at(&self, x: u64) -> RistrettoPoint {
        let x = Scalar::from(x);
        self.points.iter().rev().fold(RistrettoPoint::identity(), |value, point| value * x + point)
    }
}

/// Reads one canonical encoding other than the identity (RFC 9496, section 4.3.1).
pub(super) fn decode(bytes: &[u8; ELEMENT_BYTES]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| !point.is_identity())
}
