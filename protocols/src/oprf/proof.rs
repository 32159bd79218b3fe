//! Proofs that one key answered a whole batch: RFC 9497, section 2.2 (DLEQ over composites).
//!
//! A call has several batches, one a key: their multiplications run beside each other, because a kernel
//! multiplies eight points in the time of one. All points are computed as their halves ([`Elements::doubles`]).

use std::iter;
use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use sha2::{Digest as _, Sha512};
use windvane_kernels::ristretto::Points;
use zeroize::Zeroizing;

use super::{Context, ELEMENT_BYTES, Elements, PrivateKey, PublicKey};
use crate::secret;

/// The generator.
static BASE: LazyLock<Points> = LazyLock::new(|| Points::mul_base(&[Scalar::ONE]));

/// Bytes of a proof: challenge and response.
pub const PROOF_BYTES: usize = 64;

/// Elements up to which m, z and t3 are summed side by side, each from the elements, where so many sums can stand beside
/// each other: in fewer passes, and with more multiplications, than z and t3 from m.
const FEW: usize = 5;

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
    pub(super) context: &'a Context,
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

/// `GenerateProof` of section 2.2.1 for every batch, each with a nonce that must never be used twice, and half of the
/// nonces' multiples of the generator ([`commit_beside`]).
pub(super) fn prove(statements: &[Statement<'_>], nonces: &[Scalar], commitments: &Points) -> Vec<Proof> {
    let n = statements.len();
    let sums = prover_sums(statements, nonces);
    let encoded = Points::concat(&[&sums, commitments]).encode_doubled();
    let answer = |(i, (statement, nonce)): (usize, (&Statement<'_>, &Scalar))| {
        let [m, z, t3, t2] = [0, 1, 2, 3].map(|part| &encoded[part * n + i]);
        let challenge = challenge(statement.context, statement.key.public(), [m, z, t2, t3]);
        Proof { challenge, response: nonce - challenge * statement.key.scalar }
    };
    statements.iter().zip(nonces).enumerate().map(answer).collect()
}

/// Each point times its secret scalar, and half of each nonce's multiple of the generator: in the same pass where lanes
/// would stand empty, else by the generator's table.
pub(super) fn commit_beside(points: &Points, scalars: &[Scalar], nonces: &[Scalar]) -> (Points, Points) {
    let (len, count, backend) = (points.len(), nonces.len(), points.backend());
    let halves = secret::collect(count, nonces.iter().map(Scalar::div_by_2));
    let passes = |points: usize| points.div_ceil(backend.width());
    if passes(len + count) > passes(len) {
        return (points.mul_each(scalars), Points::mul_base_with(backend, &halves));
    }
    let scalars = secret::collect(len + count, scalars.iter().chain(&*halves).copied());
    let products = Points::concat(&[points, &generators(count)]).mul_each(&scalars);
    (products.slice(0..len), products.slice(len..len + count))
}

/// The generator, as often as asked.
fn generators(count: usize) -> Points {
    BASE.gather(&vec![0; count])
}

/// Half of m of every batch, then of all z = key·m, then of all t3 = nonce·m.
fn prover_sums(statements: &[Statement<'_>], nonces: &[Scalar]) -> Points {
    let n = statements.len();
    let blinded: Vec<_> = statements.iter().map(|statement| &statement.pairs.blinded.points).collect();
    let blinded = Points::concat(&blinded);
    let weights: Vec<_> =
        statements.iter().map(|s| half_weights(s.context, s.key.public(), s.pairs)).collect();
    let factors = statements.iter().map(|s| s.key.scalar).chain(nonces.iter().copied());
    let factors = Zeroizing::new(factors.collect::<Vec<_>>());
    if blinded.len() > FEW || 3 * n > blinded.backend().width() {
        let bins: Vec<u32> = (0..).zip(&weights).flat_map(|(i, w)| iter::repeat_n(i, w.len())).collect();
        let m = blinded.mul_accumulate(&weights.concat(), &bins, n);
        return Points::concat(&[&m, &Points::concat(&[&m, &m]).mul_each(&factors)]);
    }
    let factors =
        Zeroizing::new(iter::repeat_n(Scalar::ONE, n).chain(factors.iter().copied()).collect::<Vec<_>>());
    let of_all = || factors.iter().zip(weights.iter().cycle());
    let scalars = of_all().flat_map(|(f, weights)| weights.iter().map(move |w| f * w));
    let scalars = secret::collect(3 * blinded.len(), scalars);
    let bins: Vec<u32> = (0..).zip(of_all()).flat_map(|(i, (_, w))| iter::repeat_n(i, w.len())).collect();
    Points::concat(&[&blinded; 3]).mul_accumulate(&scalars, &bins, 3 * n)
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
    let points = Points::concat(&[&generators(n), &Points::concat(&publics), &composites]);
    let (c, s): (Vec<_>, Vec<_>) = claims.iter().map(|c| (c.proof.challenge, c.proof.response)).unzip();
    let half = |scalars: &[Scalar]| scalars.iter().map(Scalar::div_by_2).collect::<Vec<_>>();
    let factors = [half(&s), half(&c), s, c.clone()].concat();
    let bins: Vec<u32> =
        [0..n, 0..n, n..2 * n, n..2 * n].into_iter().flatten().map(|bin| bin as u32).collect();
    let t2_t3 = points.mul_accumulate(&factors, &bins, 2 * n);
    let encoded = Points::concat(&[&composites, &t2_t3]).encode_doubled();
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
    let bins = (0..).zip(&weights).flat_map(|(bin, weights)| iter::repeat_n(bin, weights.len()));
    // Every other point is a sum of its own.
    let bins: Vec<u32> = bins.chain((count as u32..).take(others.len())).collect();
    weights.push(scalars);
    points.push(others);
    let weights = Zeroizing::new(weights.concat());
    let sums = Points::concat(&points).mul_accumulate(&weights, &bins, count + others.len());
    (sums.slice(0..count), sums.slice(count..sums.len()))
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
    let index = |i| u16::try_from(i).expect("a batch has at most 16,384 elements").to_be_bytes();
    let indices: Vec<[u8; 2]> = (0..pairs.blinded.len()).map(index).collect();
    let seed_len = 64_u16.to_be_bytes();
    let both = pairs.blinded.bytes.iter().zip(&pairs.evaluated.bytes);
    let messages = indices.iter().zip(both).map(|(index, (blinded, evaluated))| -> [&[u8]; 8] {
        [&seed_len, seed.as_slice(), index, &len, blinded, &len, evaluated, b"Composite"]
    });
    context.scalars(messages).iter().map(Scalar::div_by_2).collect()
}

/// The challenge over m, z, t2 and t3.
fn challenge(context: &Context, public: &PublicKey, points: [&[u8; ELEMENT_BYTES]; 4]) -> Scalar {
    let len = (ELEMENT_BYTES as u16).to_be_bytes();
    let [a, b, c, d] = points;
    context.scalar([&len, public.as_bytes(), &len, a, &len, b, &len, c, &len, d, b"Challenge"])
}
