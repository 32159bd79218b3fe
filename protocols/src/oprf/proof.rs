//! Proofs that one key answered a whole batch: RFC 9497, section 2.2 (DLEQ over composites).
//!
//! Elements and proofs are what both parties see, so the sums over them run in variable time; only the
//! prover's key and nonce are secret, and those multiplications are constant time.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroize as _;

use super::{Context, Element, PublicKey};

/// Bytes of a proof: challenge and response.
pub const PROOF_BYTES: usize = 64;

/// A proof that `log_G(public key) = log_blinded(evaluated)` for every pair of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    pub(super) challenge: Scalar,
    pub(super) response: Scalar,
}

impl Proof {
    /// Reads `c ‖ s`; `None` when a scalar is not canonical.
    pub fn from_bytes(bytes: &[u8; PROOF_BYTES]) -> Option<Self> {
        let scalar = |half: &[u8]| {
            let half: [u8; 32] = half.try_into().ok()?;
            Scalar::from_canonical_bytes(half).into_option()
        };
        Some(Self { challenge: scalar(&bytes[..32])?, response: scalar(&bytes[32..])? })
    }

    /// `c ‖ s`.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut bytes = [0; PROOF_BYTES];
        bytes[..32].copy_from_slice(self.challenge.as_bytes());
        bytes[32..].copy_from_slice(self.response.as_bytes());
        bytes
    }
}

/// `GenerateProof` with a fresh nonce.
pub(super) fn prove(
    context: &Context,
    key: &Scalar,
    public: &PublicKey,
    pairs: Pairs<'_>,
    rng: &mut impl CryptoRng,
) -> Proof {
    let mut nonce = Scalar::random(rng);
    let proof = prove_with_nonce(context, key, public, pairs, &nonce);
    nonce.zeroize();
    proof
}

/// `GenerateProof` of section 2.2.1 with a given nonce, which must never be used twice.
pub(super) fn prove_with_nonce(
    context: &Context,
    key: &Scalar,
    public: &PublicKey,
    pairs: Pairs<'_>,
    nonce: &Scalar,
) -> Proof {
    let weights = half_weights(context, public, pairs);
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, pairs.blinded.iter().map(|e| e.point));
    let mut half_nonce = nonce.div_by_2();
    let t2 = RISTRETTO_BASEPOINT_TABLE * &half_nonce;
    half_nonce.zeroize();
    let challenge = challenge(context, public, [m, key * m, t2, nonce * m]);
    Proof { challenge, response: nonce - challenge * key }
}

/// `VerifyProof` of section 2.2.2. Variable time over public values.
pub(super) fn verify(context: &Context, public: &PublicKey, pairs: Pairs<'_>, proof: &Proof) -> bool {
    let weights = half_weights(context, public, pairs);
    let sum =
        |side: &[Element]| RistrettoPoint::vartime_multiscalar_mul(&weights, side.iter().map(|e| e.point));
    let (m, z) = (sum(pairs.blinded), sum(pairs.evaluated));
    let (c, s) = (proof.challenge, proof.response);
    let (half_c, half_s) = (c.div_by_2(), s.div_by_2());
    let t2 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&half_c, &public.element.point, &half_s);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([s, c], [m, z]);
    challenge(context, public, [m, z, t2, t3]) == c
}

/// A batch: element `i` of one side belongs to element `i` of the other.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) blinded: &'a [Element],
    pub(super) evaluated: &'a [Element],
}

/// Half of the coefficients of `ComputeComposites`, section 2.2.1: all points of a proof are computed as their
/// halves, because [`Element::doubles`] encodes doubles with a single inversion.
fn half_weights(context: &Context, public: &PublicKey, pairs: Pairs<'_>) -> Vec<Scalar> {
    let seed = Sha512::new()
        .chain_update(32_u16.to_be_bytes())
        .chain_update(public.element.bytes)
        .chain_update((context.seed.len() as u16).to_be_bytes())
        .chain_update(context.seed)
        .finalize();
    let len = 32_u16.to_be_bytes();
    let weigh = |(i, (blinded, evaluated)): (usize, (&Element, &Element))| {
        let index = u16::try_from(i).expect("a batch has at most 16,384 elements").to_be_bytes();
        let seed_len = 64_u16.to_be_bytes();
        context
            .scalar(&[
                &seed_len,
                seed.as_slice(),
                &index,
                &len,
                &blinded.bytes,
                &len,
                &evaluated.bytes,
                b"Composite",
            ])
            .div_by_2()
    };
    pairs.blinded.iter().zip(pairs.evaluated).enumerate().map(weigh).collect()
}

/// The challenge over four points, of which the halves are given.
fn challenge(context: &Context, public: &PublicKey, halves: [RistrettoPoint; 4]) -> Scalar {
    let [a, b, c, d] = Element::doubles(halves).map(|element| element.bytes);
    let len = 32_u16.to_be_bytes();
    context.scalar(&[&len, &public.element.bytes, &len, &a, &len, &b, &len, &c, &len, &d, b"Challenge"])
}
