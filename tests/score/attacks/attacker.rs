//! What an attacker does with whatever it sees and may ask, and a weak construction that it must always break.
//!
//! The attacker forms small combinations of rows, answers and public elements, and looks for small multiples of the
//! generator. The weak construction is a threshold-decrypted sum of ElGamal ciphertexts, which the design rejects:
//! if an attack did not read it every time, that it reads nothing of ours would mean nothing.

use std::collections::HashMap;

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha512};

use crate::score::calls::part;

/// Seed of the weak construction.
const SEED: u64 = 20_261_126;

/// What an attacker can see and ask, whichever the construction.
pub(super) trait Target {
    /// What a provider published about a position; the part lies in the last element.
    fn row(&self, provider: usize, position: usize) -> Vec<RistrettoPoint>;

    /// Elements of a position that everybody can compute: its hash, or the first element of its sum, first.
    fn public(&self, position: usize) -> Vec<RistrettoPoint>;

    /// What the bank gets when it asks as many providers as are needed and combines their answers.
    async fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint>;
}

/// Multiples of the generator from −1,020 to 1,020, by their encodings.
pub(super) struct Multiples(HashMap<[u8; 32], i16>);

impl Multiples {
    pub(super) fn new() -> Self {
        let positive =
            (0..=1_020_u16).map(|m| (m, RistrettoPoint::mul_base(&Scalar::from(2 * u64::from(m)))));
        let both = positive.flat_map(|(m, point)| [(m as i16, point), (-(m as i16), -point)]);
        Self(both.map(|(m, point)| (point.compress().to_bytes(), m)).collect())
    }

    /// The first of these points that is a small multiple.
    pub(super) fn find(&self, points: &[RistrettoPoint]) -> Option<i16> {
        let doubles = RistrettoPoint::double_and_compress_batch(points);
        doubles.iter().find_map(|element| self.0.get(element.as_bytes()).copied())
    }
}

pub(super) fn point(bytes: &[u8]) -> RistrettoPoint {
    CompressedRistretto(bytes.try_into().unwrap()).decompress().unwrap()
}

/// RFC 9380's `hash_to_ristretto255` under the tag of the joint score, of ctx and a position.
pub(super) fn hash(context: &[u8; 64], position: usize) -> RistrettoPoint {
    const TAG: &[u8] = b"HashToGroup-WindvaneScoreV1-R255";
    let tag = [TAG, &[TAG.len() as u8]].concat();
    let sha = |parts: &[&[u8]]| Sha512::digest(parts.concat());
    let first = sha(&[&[0; 128], context, &(position as u64).to_be_bytes(), &[0, 64, 0], &tag]);
    RistrettoPoint::from_uniform_bytes(&sha(&[&first, &[1], &tag]).into())
}

/// A provider's row, less the answers to its own elements and to the public ones of its position.
pub(super) async fn alone(target: &impl Target, known: &Multiples, i: usize, position: usize) -> Option<i16> {
    let row = target.row(i, position);
    let asked = [row.clone(), target.public(position)].concat();
    let payload = row.last().unwrap();
    let without: Vec<_> = target.ask(&asked).await.iter().map(|mask| payload - mask).collect();
    known.find(&without)
}

/// The difference of two rows of a provider, less the difference of two calls.
pub(super) async fn difference(
    target: &impl Target,
    known: &Multiples,
    i: usize,
    position: usize,
) -> Option<i16> {
    let question = |position| [target.row(i, position), target.public(position)].concat();
    let (first, second) = (question(position), question(position + 1));
    let (one, two) = (target.ask(&first).await, target.ask(&second).await);
    let rows = target.row(i, position).pop().unwrap() - target.row(i, position + 1).pop().unwrap();
    let pairs = one.iter().flat_map(|a| two.iter().map(move |b| a - b));
    let mut differences: Vec<_> = pairs.map(|pair| rows - pair).collect();
    // And the rows by themselves.
    differences.push(rows);
    known.find(&differences)
}

/// Everything that combines with the row in small multiples, two at a time: the attacker asks about the provider's own
/// row, other rows, public elements, all their sums, differences and doubles, and the generator.
pub(super) async fn crafted(
    target: &impl Target,
    known: &Multiples,
    i: usize,
    position: usize,
) -> Option<i16> {
    let row = target.row(i, position);
    let others: Vec<_> = (0..3).filter(|j| *j != i).flat_map(|j| target.row(j, position)).collect();
    let next = target.row(i, position + 1);
    let seen = [row.clone(), others, next.clone(), target.public(position)].concat();
    let mut asked = [seen.clone(), vec![RistrettoPoint::mul_base(&Scalar::ONE)]].concat();
    for (place, one) in seen.iter().enumerate() {
        asked.extend(seen[..place].iter().flat_map(|other| [one + other, one - other]));
        asked.push(one + one);
    }
    let mut masks = target.ask(&asked).await;
    masks.extend(&seen);
    masks.push(RistrettoPoint::default());
    let (payload, next) = (row.last().unwrap(), next.last().unwrap());
    let signed = masks.iter().flat_map(|mask| [*mask, -mask]).filter(|mask| *mask != -payload);
    let candidates: Vec<_> = signed.flat_map(|mask| [payload + mask, payload + mask - next]).collect();
    known.find(&candidates)
}

/// The rejected construction: `(r·G, part·G + r·Y)` under a shared key, of which sums are decrypted.
pub(super) struct ElGamalSum {
    secret: Scalar,
    rows: Vec<Vec<[RistrettoPoint; 2]>>,
}

impl ElGamalSum {
    /// Rows of the tests' parts.
    pub(super) fn new(providers: usize, positions: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let secret = Scalar::random(&mut rng);
        let mut row = |part: u8| {
            let r = Scalar::random(&mut rng);
            [RistrettoPoint::mul_base(&r), RistrettoPoint::mul_base(&(Scalar::from(part) + r * secret))]
        };
        let table = |i| (0..positions).map(|position| row(part(i, position))).collect();
        Self { secret, rows: (0..providers).map(table).collect() }
    }
}

impl Target for ElGamalSum {
    fn row(&self, provider: usize, position: usize) -> Vec<RistrettoPoint> {
        self.rows[provider][position].to_vec()
    }

    fn public(&self, position: usize) -> Vec<RistrettoPoint> {
        let sums = self.rows.iter().map(|rows| rows[position]);
        let sum = sums.reduce(|a, b| [a[0] + b[0], a[1] + b[1]]).unwrap();
        [sum.to_vec(), vec![RistrettoPoint::mul_base(&self.secret)]].concat()
    }

    async fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint> {
        elements.iter().map(|element| element * self.secret).collect()
    }
}
