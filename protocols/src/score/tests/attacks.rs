//! A bank that keeps to nothing, against this construction and against a weak one.
//!
//! The attacker holds what a bank holds: every published row, the providers as oracles for elements of its
//! choice, and all public keys. It wants one provider's part. The same attacker runs against a threshold-decrypted
//! sum of ElGamal ciphertexts, which the design rejects: there it must always succeed, or the test proves nothing.

use std::collections::HashMap;

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::{RistrettoPoint, Scalar};

use super::world::{World, rng};
use crate::oprf::{Context, Elements};
use crate::score::ledger::{Ledger, LedgerError};
use crate::score::query::Question;
use crate::score::table::{Row, input, sum};

/// What an attacker can see and ask, whichever the construction.
trait Target {
    /// What a provider published about a position; the part lies in the last element.
    fn row(&self, provider: usize, position: u64) -> Vec<RistrettoPoint>;

    /// Elements that everybody can compute for a position.
    fn public(&self, position: u64) -> Vec<RistrettoPoint>;

    /// What the bank gets when it asks all providers about elements and combines their answers.
    fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint>;
}

fn point(bytes: &[u8; 32]) -> RistrettoPoint {
    CompressedRistretto(*bytes).decompress().unwrap()
}

/// Our construction, by its own interface.
impl Target for World {
    fn row(&self, provider: usize, position: u64) -> Vec<RistrettoPoint> {
        vec![point(&self.tables[provider][position as usize])]
    }

    fn public(&self, position: u64) -> Vec<RistrettoPoint> {
        let hash = |u| {
            RistrettoPoint::from_uniform_bytes(
                &Context::SCORE.uniform(std::iter::once(&input(self.epoch().context(), u)[..]))[0],
            )
        };
        let shares = (0..self.members.len()).map(|i| point(self.epoch().share_key(i).unwrap().as_bytes()));
        let joint = point(self.epoch().joint_key().as_bytes());
        let sum = point(&self.sum[position as usize]);
        [vec![hash(position), hash(position + 1), joint, sum], shares.collect()].concat()
    }

    fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint> {
        let bytes: Vec<_> = elements.iter().map(|element| element.compress().to_bytes()).collect();
        let elements = Elements::from_bytes(bytes.as_flattened()).unwrap();
        let question = Question { context: *self.epoch().context(), elements };
        let all: Vec<_> = (0..self.members.len()).collect();
        let answers = self.answers(&question, &all);
        let mut sums = vec![RistrettoPoint::default(); bytes.len()];
        for (i, answer) in all.iter().zip(&answers) {
            let weight = lagrange(&all, *i);
            let (rows, _) = answer.elements.as_bytes().as_chunks();
            sums.iter_mut().zip(rows).for_each(|(sum, row)| *sum += weight * point(row));
        }
        sums
    }
}

fn lagrange(all: &[usize], i: usize) -> Scalar {
    let scalar = |i: usize| Scalar::from(i as u64 + 1);
    let others = all.iter().filter(|j| **j != i);
    others.map(|j| scalar(*j) * (scalar(*j) - scalar(i)).invert()).product()
}

/// The rejected construction: `(r·G, part·G + r·Y)` under a shared key, of which sums are decrypted.
struct ElGamalSum {
    secret: Scalar,
    rows: Vec<Vec<[RistrettoPoint; 2]>>,
}

impl ElGamalSum {
    fn new(parts: &[Vec<u8>]) -> Self {
        let mut rng = rng(77);
        let secret = Scalar::random(&mut rng);
        let mut row = |part: &u8| {
            let r = Scalar::random(&mut rng);
            let part = Scalar::from(*part);
            [RistrettoPoint::mul_base(&r), RistrettoPoint::mul_base(&(part + r * secret))]
        };
        let rows = parts.iter().map(|parts| parts.iter().map(&mut row).collect()).collect();
        Self { secret, rows }
    }
}

impl Target for ElGamalSum {
    fn row(&self, provider: usize, position: u64) -> Vec<RistrettoPoint> {
        self.rows[provider][position as usize].to_vec()
    }

    fn public(&self, position: u64) -> Vec<RistrettoPoint> {
        let sums = self.rows.iter().map(|rows| rows[position as usize]);
        let sum = sums.reduce(|a, b| [a[0] + b[0], a[1] + b[1]]).unwrap();
        [sum.to_vec(), vec![RistrettoPoint::mul_base(&self.secret)]].concat()
    }

    fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint> {
        elements.iter().map(|element| element * self.secret).collect()
    }
}

/// Everything that the bank can combine with the row in small multiples, two at a time: it asks about the
/// provider's own row, other providers' rows, public elements, their sums and differences, and the generator.
fn single_out(target: &impl Target, provider: usize, position: u64) -> Option<u8> {
    let row = target.row(provider, position);
    let others: Vec<_> = (0..3).filter(|i| *i != provider).flat_map(|i| target.row(i, position)).collect();
    let next = target.row(provider, position + 1);
    let seen = [row.clone(), others, next.clone(), target.public(position)].concat();
    let generator = RistrettoPoint::mul_base(&Scalar::ONE);
    let mut asked = [seen.clone(), vec![generator]].concat();
    for (i, one) in seen.iter().enumerate() {
        asked.extend(seen[..i].iter().flat_map(|other| [one + other, one - other]));
        asked.push(one + one);
    }
    let mut known = target.ask(&asked);
    known.extend(&seen);
    known.push(RistrettoPoint::default());
    let parts = parts_of_one();
    let payload = row.last()?;
    let signed: Vec<_> = known.iter().flat_map(|point| [*point, -point]).collect();
    let first = signed.iter().filter(|point| *point != &-payload).map(|point| payload + point);
    let candidates = first.flat_map(|partial| [partial, partial - next.last().unwrap_or(payload)]);
    let doubled: Vec<_> = candidates.collect();
    let encoded = RistrettoPoint::double_and_compress_batch(&doubled);
    encoded.iter().find_map(|element| parts.get(element.as_bytes()).copied())
}

/// The doubles of the multiples of the generator that are parts.
fn parts_of_one() -> HashMap<[u8; 32], u8> {
    let twice = |part: u8| RistrettoPoint::mul_base(&Scalar::from(2 * u64::from(part))).compress().to_bytes();
    (0..=u8::MAX).map(|part| (twice(part), part)).collect()
}

#[test]
fn the_attacker_reads_every_part_of_the_weak_variant_and_none_of_ours() {
    let ours = World::new(3, 2, 101);
    let weak = ElGamalSum::new(&ours.parts);
    let wins = |target: &dyn Fn(usize, u64) -> Option<u8>| {
        let won = |u: &usize| target(u % 3, *u as u64) == Some(ours.parts[u % 3][*u]);
        (0..100).filter(won).count()
    };
    assert_eq!(wins(&|provider, u| single_out(&weak, provider, u)), 100);
    assert_eq!(wins(&|provider, u| single_out(&ours, provider, u)), 0);
    // Not a wrong part either: nothing that it computes is a small multiple of the generator.
    assert!((0..100).all(|u| single_out(&ours, u % 3, u as u64).is_none()));
}

/// Whether some rows minus masks, all against all, are small multiples of the generator.
fn any_decodes(rows: &[RistrettoPoint], masks: &[RistrettoPoint]) -> bool {
    let parts = parts_of_one();
    let all: Vec<_> = rows.iter().flat_map(|row| masks.iter().map(move |mask| row - mask)).collect();
    let encoded = RistrettoPoint::double_and_compress_batch(&all);
    encoded.iter().any(|element| parts.contains_key(element.as_bytes()))
}

fn hash(world: &World, position: u64) -> RistrettoPoint {
    world.public(position)[0]
}

#[test]
fn one_providers_table_alone_never_decodes_and_the_sum_of_all_does() {
    let world = World::new(3, 3, 60);
    let hashes: Vec<_> = (0..60).map(|u| hash(&world, u)).collect();
    let masks = world.ask(&hashes);
    for table in &world.tables {
        let rows: Vec<_> = table.iter().map(point).collect();
        assert!(!any_decodes(&rows, &masks));
    }
    let small: Vec<_> = (0..60).filter(|u| world.truth(*u) < 256).collect();
    assert!(!small.is_empty());
    assert!(small.iter().all(|u| any_decodes(&[point(&world.sum[*u])], &masks[*u..=*u])));
}

#[test]
fn differences_of_two_calls_decode_to_no_part() {
    let world = World::new(3, 2, 40);
    let hashes: Vec<_> = (0..40).map(|u| hash(&world, u)).collect();
    let masks = world.ask(&hashes);
    for table in &world.tables {
        let differences = |points: &[RistrettoPoint]| -> Vec<_> {
            points.windows(2).flat_map(|pair| [pair[0] - pair[1], pair[1] - pair[0]]).collect()
        };
        let rows: Vec<_> = table.iter().map(point).collect();
        let unmasked: Vec<_> = rows.iter().zip(&masks).map(|(row, mask)| row - mask).collect();
        let mut masks = differences(&masks);
        masks.push(RistrettoPoint::default());
        assert!(!any_decodes(&differences(&rows), &masks));
        assert!(!any_decodes(&differences(&unmasked), &masks));
    }
}

#[test]
fn answers_fewer_than_the_threshold_combine_to_nothing() {
    let world = World::new(4, 3, 20);
    let element = hash(&world, 7);
    let question = Question {
        context: *world.epoch().context(),
        elements: Elements::from_bytes(element.compress().as_bytes()).unwrap(),
    };
    let answers = world.answers(&question, &[1, 3]);
    let answers: Vec<_> =
        answers.iter().map(|a| point(a.elements.as_bytes().first_chunk().unwrap())).collect();
    let guesses: Vec<_> = (-8_i64..=8).flat_map(|a| (-8_i64..=8).map(move |b| (a, b))).collect();
    let small = |x: i64| if x < 0 { -Scalar::from(x.unsigned_abs()) } else { Scalar::from(x as u64) };
    let masks: Vec<_> =
        guesses.iter().map(|(a, b)| small(*a) * answers[0] + small(*b) * answers[1]).collect();
    let [two] = [lagrange(&[1, 3], 1) * answers[0] + lagrange(&[1, 3], 3) * answers[1]];
    let rows = [point(&world.sum[7]), point(&world.tables[0][7]), point(&world.tables[3][7])];
    assert!(!any_decodes(&rows, &masks) && !any_decodes(&rows, &[two]));
}

#[test]
fn a_group_that_lost_a_member_opens_nothing_without_its_table() {
    let world = World::new(3, 2, 30);
    let hashes: Vec<_> = (0..30).map(|u| hash(&world, u)).collect();
    let masks = world.ask(&hashes);
    let two: Vec<_> = (0..30).map(|u| point(&world.tables[0][u]) + point(&world.tables[1][u])).collect();
    assert!(!any_decodes(&two, &masks));
    let rest: Vec<_> = world.tables[..2].iter().map(|table| table.as_flattened()).collect();
    assert!(sum::add(world.epoch(), &rest).is_err());
}

#[test]
fn a_second_table_under_one_context_would_leak_so_the_ledger_refuses_it() {
    let world = World::new(2, 2, 30);
    let mut changed = world.parts[0].clone();
    changed[9] = changed[9].wrapping_add(1).max(1);
    let second: Vec<Row> = world.members[0].sealer().unwrap().rows(0, &changed);
    let difference = point(&second[9]) - point(&world.tables[0][9]);
    assert!(any_decodes(&[difference, -difference], &[RistrettoPoint::default()]));

    let mut ledger = Ledger::new();
    let (context, root) =
        (world.epoch().context(), |rows: &[Row]| crate::audit::merkle::leaf_hash(rows.as_flattened()));
    ledger.publish(context, &root(&world.tables[0])).unwrap();
    assert_eq!(ledger.publish(context, &root(&second)), Err(LedgerError::SecondTable));
}
