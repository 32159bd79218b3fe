//! Proofs that one key answered a whole batch: RFC 9497, section 2.2 (DLEQ over composites).
//!
//! A call has several batches, one a key: their multiplications run beside each other, because a kernel
//! multiplies eight points in the time of one. All points are computed as their halves ([`Elements::doubles`]).

use std::iter;
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
    let n = statements.len();
    let weights: Vec<_> = statements.iter().map(|s| half_weights(context, s.key.public(), s.pairs)).collect();
    let sides = weights.iter().map(Vec::as_slice).zip(statements.iter().map(|s| &s.pairs.blinded.points));
    let (m, _) = composites(sides, &BASE.slice(0..0), &[]);
    // z = key·m, t3 = nonce·m and t2 = nonce·G for every batch.
    let keys = statements.iter().map(|s| s.key.scalar);
    let halves = nonces.iter().map(Scalar::div_by_2);
    let scalars = Zeroizing::new(keys.chain(nonces.iter().copied()).chain(halves).collect::<Vec<_>>());
    let products = Points::concat(&[&m, &m, &BASE.gather(&vec![0; n])]).mul_each(&scalars);
    let encoded = Points::concat(&[&m, &products]).encode_doubled();
    let answer = |(i, (statement, nonce)): (usize, (&Statement<'_>, &Scalar))| {
        let [m, z, t3, t2] = [0, 1, 2, 3].map(|part| &encoded[part * n + i]);
        let challenge = challenge(context, statement.key.public(), [m, z, t2, t3]);
        Proof { challenge, response: nonce - challenge * statement.key.scalar }
    };
    statements.iter().zip(nonces).enumerate().map(answer).collect()
}

/// `VerifyProof` of section 2.2.2 for every batch. In its first pass it multiplies other points too, each by its
/// secret scalar; their products come with the verdict.
pub(super) fn verify_beside(
    context: &Context,
    claims: &[Claim<'_>],
    others: &Points,
    scalars: &[Scalar],
) -> (bool, Points) {
    let n = claims.len();
    let weights: Vec<_> = claims.iter().map(|c| half_weights(context, c.public, c.pairs)).collect();
    let blinded = claims.iter().map(|claim| &claim.pairs.blinded.points);
    let evaluated = claims.iter().map(|claim| &claim.pairs.evaluated.points);
    let twice = weights.iter().chain(&weights).map(Vec::as_slice);
    let (composites, products) = composites(twice.zip(blinded.chain(evaluated)), others, scalars);
    // t2 = s·G + c·public and t3 = s·m + c·z for every batch.
    let publics: Vec<_> = claims.iter().map(|claim| &claim.public.element.points).collect();
    let points = Points::concat(&[&BASE.gather(&vec![0; n]), &Points::concat(&publics), &composites]);
    let (c, s): (Vec<_>, Vec<_>) = claims.iter().map(|c| (c.proof.challenge, c.proof.response)).unzip();
    let half = |scalars: &[Scalar]| scalars.iter().map(Scalar::div_by_2).collect::<Vec<_>>();
    let terms = points.mul_each(&[half(&s), half(&c), s, c.clone()].concat());
    let part = |part: usize| terms.slice(part * n..(part + 1) * n);
    let (t2, t3) = (part(0).add(&part(1)), part(2).add(&part(3)));
    let encoded = Points::concat(&[&composites, &t2, &t3]).encode_doubled();
    let holds = claims.iter().zip(c).enumerate().all(|(i, (claim, expected))| {
        let points = [0, 1, 2, 3].map(|part| &encoded[part * n + i]);
        challenge(context, claim.public, points) == expected
    });
    (holds, products)
}

/// `ComputeComposites`, section 2.2.1: the weighted sum of each side of each batch; and the products of other
/// points, in the same pass.
fn composites<'a>(
    sides: impl Iterator<Item = (&'a [Scalar], &'a Points)>,
    others: &'a Points,
    scalars: &'a [Scalar],
) -> (Points, Points) {
    let (mut weights, mut points): (Vec<_>, Vec<_>) = sides.unzip();
    let count = weights.len();
    let bins: Vec<u32> =
        (0..).zip(&weights).flat_map(|(bin, weights)| iter::repeat_n(bin, weights.len())).collect();
    weights.push(scalars);
    points.push(others);
    let products = Points::concat(&points).mul_each(&Zeroizing::new(weights.concat()));
    let sums = products.slice(0..bins.len()).vartime_accumulate(&bins, count);
    (sums, products.slice(bins.len()..products.len()))
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
fn challenge(context: &Context, public: &PublicKey, points: [&[u8; ELEMENT_BYTES]; 4]) -> Scalar {
    let len = (ELEMENT_BYTES as u16).to_be_bytes();
    let [a, b, c, d] = points;
    context.scalar(&[&len, public.as_bytes(), &len, a, &len, b, &len, c, &len, d, b"Challenge"])
}
