//! Proofs that one key answered a whole batch: RFC 9497, section 2.2 (DLEQ over composites).
//!
//! A call has several batches, one a key: their multiplications run beside each other, because a kernel
//! multiplies eight points in the time of one. All points are computed as their halves ([`Elements::doubles`]).

use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use windvane_kernels::ristretto::Points;
use zeroize::Zeroizing;

use super::{Context, ELEMENT_BYTES, Elements, PrivateKey, PublicKey};

/// The generator.
static BASE: LazyLock<Points> = LazyLock::new(|| Points::mul_base(&[Scalar::ONE]));

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

/// A batch and the key that answered it, as the prover knows it.
#[derive(Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) key: &'a PrivateKey,
    pub(super) pairs: Pairs<'a>,
}

/// A batch and its proof, as the verifier has them.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) public: &'a PublicKey,
    pub(super) pairs: Pairs<'a>,
    pub(super) proof: &'a Proof,
}

/// A batch: element `i` of one side belongs to element `i` of the other.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) blinded: &'a Elements,
    pub(super) evaluated: &'a Elements,
}

/// `GenerateProof` for every batch, with fresh nonces.
pub(super) fn prove(context: &Context, statements: &[Statement<'_>], rng: &mut impl CryptoRng) -> Vec<Proof> {
    let nonces = Zeroizing::new(statements.iter().map(|_| Scalar::random(rng)).collect::<Vec<_>>());
    prove_with_nonces(context, statements, &nonces)
}

/// `GenerateProof` of section 2.2.1 with given nonces, which must never be used twice.
pub(super) fn prove_with_nonces(
    context: &Context,
    statements: &[Statement<'_>],
    nonces: &[Scalar],
) -> Vec<Proof> {
    let composites = composites(
        statements.iter().map(|s| (half_weights(context, s.key.public(), s.pairs), &s.pairs.blinded.points)),
    );
    // For every batch: m, once for z and once for t3, and the generator for t2.
    let (mut points, mut scalars) = (Vec::new(), Zeroizing::new(Vec::new()));
    for ((m, statement), nonce) in composites.iter().zip(statements).zip(nonces) {
        points.extend([m, m, &BASE]);
        scalars.extend([statement.key.scalar, *nonce, nonce.div_by_2()]);
    }
    let products = Points::concat(&points).mul_each(&scalars);
    let encoded = challenge_points(&composites, |i| {
        [
            products.slice(3 * i..3 * i + 1),
            products.slice(3 * i + 2..3 * i + 3),
            products.slice(3 * i + 1..3 * i + 2),
        ]
    });
    let answer = |((statement, nonce), points): ((&Statement<'_>, &Scalar), &[[u8; ELEMENT_BYTES]; 4])| {
        let challenge = challenge(context, statement.key.public(), points);
        Proof { challenge, response: nonce - challenge * statement.key.scalar }
    };
    statements.iter().zip(nonces).zip(&encoded).map(answer).collect()
}

/// `VerifyProof` of section 2.2.2 for every batch.
pub(super) fn verify(context: &Context, claims: &[Claim<'_>]) -> bool {
    let weights: Vec<_> = claims.iter().map(|c| half_weights(context, c.public, c.pairs)).collect();
    let sides = claims.iter().zip(&weights).flat_map(|(c, weights)| {
        [(weights.clone(), &c.pairs.blinded.points), (weights.clone(), &c.pairs.evaluated.points)]
    });
    let composites = composites(sides);
    // For every batch: t2 = s·G + c·public and t3 = s·m + c·z.
    let (mut points, mut scalars) = (Vec::new(), Vec::new());
    for (claim, [m, z]) in claims.iter().zip(composites.as_chunks::<2>().0) {
        let (c, s) = (claim.proof.challenge, claim.proof.response);
        points.extend([&BASE, &claim.public.element.points, m, z]);
        scalars.extend([s.div_by_2(), c.div_by_2(), s, c]);
    }
    let products = Points::concat(&points).mul_each(&scalars);
    let bins: Vec<u32> = (0..2 * claims.len() as u32).flat_map(|bin| [bin, bin]).collect();
    let sums = products.vartime_accumulate(&bins, 2 * claims.len());
    let firsts: Vec<_> = composites.iter().step_by(2).cloned().collect();
    let encoded = challenge_points(&firsts, |i| {
        [composites[2 * i + 1].clone(), sums.slice(2 * i..2 * i + 1), sums.slice(2 * i + 1..2 * i + 2)]
    });
    claims
        .iter()
        .zip(&encoded)
        .all(|(claim, points)| challenge(context, claim.public, points) == claim.proof.challenge)
}

/// `ComputeComposites`, section 2.2.1: a weighted sum for each side of each batch.
fn composites<'a>(sides: impl Iterator<Item = (Vec<Scalar>, &'a Points)>) -> Vec<Points> {
    let (weights, points): (Vec<_>, Vec<_>) = sides.unzip();
    let bins: Vec<u32> =
        (0..).zip(&weights).flat_map(|(bin, weights)| std::iter::repeat_n(bin, weights.len())).collect();
    let sums = Points::concat(&points).mul_each(&weights.concat()).vartime_accumulate(&bins, weights.len());
    (0..weights.len()).map(|i| sums.slice(i..i + 1)).collect()
}

/// The encodings of m, z, t2 and t3 of every batch; `rest` gives the halves of the last three.
fn challenge_points(m: &[Points], rest: impl Fn(usize) -> [Points; 3]) -> Vec<[[u8; ELEMENT_BYTES]; 4]> {
    let mut halves = Points::concat(&[]);
    for (i, m) in m.iter().enumerate() {
        halves.append(m);
        rest(i).iter().for_each(|half| halves.append(half));
    }
    let encoded = halves.encode_doubled();
    encoded.as_chunks::<4>().0.to_vec()
}

/// Half of the coefficients of `ComputeComposites`, section 2.2.1.
fn half_weights(context: &Context, public: &PublicKey, pairs: Pairs<'_>) -> Vec<Scalar> {
    let len = (ELEMENT_BYTES as u16).to_be_bytes();
    let seed = Sha512::new()
        .chain_update(len)
        .chain_update(public.as_bytes())
        .chain_update((context.seed.len() as u16).to_be_bytes())
        .chain_update(context.seed)
        .finalize();
    let weigh = |(i, (blinded, evaluated)): (usize, (&[u8; 32], &[u8; 32]))| {
        let index = u16::try_from(i).expect("a batch has at most 16,384 elements").to_be_bytes();
        let seed_len = 64_u16.to_be_bytes();
        context
            .scalar(&[&seed_len, seed.as_slice(), &index, &len, blinded, &len, evaluated, b"Composite"])
            .div_by_2()
    };
    pairs.blinded.bytes.iter().zip(&pairs.evaluated.bytes).enumerate().map(weigh).collect()
}

/// The challenge over m, z, t2 and t3.
fn challenge(context: &Context, public: &PublicKey, points: &[[u8; ELEMENT_BYTES]; 4]) -> Scalar {
    let len = (ELEMENT_BYTES as u16).to_be_bytes();
    let [a, b, c, d] = points;
    context.scalar(&[&len, public.as_bytes(), &len, a, &len, b, &len, c, &len, d, b"Challenge"])
}
