use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::psi::{Mode, Protocol, Sizes};

const SALT: [u8; PSI_SALT_BYTES] = [5; PSI_SALT_BYTES];

fn item(number: u64) -> ItemKey {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn parameters(mode: Mode, receiver: u64, sender: u64, payload_bytes: usize) -> Parameters {
    let sizes = Sizes { payload_bytes, ..Sizes::new(Protocol::Ecdh, mode, receiver, sender) };
    Parameters::new(sizes).unwrap()
}

/// A bucket's answer, what the sender kept, and the receiver that waits for it.
fn run(
    parameters: Parameters,
    xs: &[ItemKey],
    ys: &[SenderItem<'_>],
    rng: &mut ChaCha20Rng,
) -> (AwaitEvaluated, Vec<u8>, Option<Withheld>) {
    let receiver = Receiver::new(parameters, SALT, rng);
    let sender = Sender::new(parameters, SALT, rng);
    let (message, wait) = receiver.blind(xs, 2, rng).unwrap();
    assert_eq!(message.len(), blinded_bytes(&parameters));
    let (answer, withheld) = sender.answer(&message, ys, 2, rng).unwrap();
    assert_eq!(answer.len(), answer_bytes(&parameters));
    (wait, answer, withheld)
}

fn without_payload(keys: &[ItemKey]) -> Vec<SenderItem<'static>> {
    keys.iter().map(|key| SenderItem { key: *key, payload: &[] }).collect()
}

#[test]
fn the_intersection_is_the_true_one_with_its_payloads_at_random_sizes() {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for _ in 0..12 {
        let mut draw = |count: usize| -> Vec<ItemKey> {
            let set: BTreeSet<_> = (0..count).map(|_| rng.random_range(0..200)).map(item).collect();
            set.into_iter().collect()
        };
        let (xs, ys) = (draw(90), draw(60));
        let payloads: Vec<_> = ys.iter().map(|y| format!("tag {}", y[15])).collect();
        let rows: Vec<_> = ys
            .iter()
            .zip(&payloads)
            .map(|(key, p)| SenderItem { key: *key, payload: p.as_bytes() })
            .collect();
        let parameters = parameters(Mode::Intersection, 100, 80, 9);
        let (wait, answer, _) = run(parameters, &xs, &rows, &mut rng);
        let Found::Matches(found) = wait.on_answer(&answer, 2).unwrap() else {
            panic!("matches were asked for")
        };
        let expected: Vec<_> = xs
            .iter()
            .enumerate()
            .filter(|(_, x)| ys.contains(x))
            .map(|(item, x)| Match { item, payload: Some(format!("tag {}", x[15]).into_bytes()) })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn empty_and_single_buckets_work() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    for (xs, ys, expected) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1)] {
        let (xs, ys): (Vec<_>, Vec<_>) = ((0..xs).map(item).collect(), (0..ys).map(item).collect());
        let parameters = parameters(Mode::Intersection, xs.len() as u64, ys.len() as u64, 0);
        let (wait, answer, _) = run(parameters, &xs, &without_payload(&ys), &mut rng);
        let Found::Matches(found) = wait.on_answer(&answer, 1).unwrap() else {
            panic!("matches were asked for")
        };
        assert_eq!(found.len(), expected);
    }
}

#[test]
fn the_cardinality_is_true_and_the_answers_order_is_secret() {
    let mut rng = ChaCha20Rng::seed_from_u64(13);
    let (xs, ys): (Vec<_>, Vec<_>) = ((0..50).map(item).collect(), (30..90).map(item).collect());
    let parameters = parameters(Mode::Cardinality, 64, 64, 0);
    let (wait, answer, withheld) = run(parameters, &xs, &without_payload(&ys), &mut rng);
    assert!(withheld.is_none(), "nothing is left that could reveal the order");
    assert!(matches!(wait.on_answer(&answer, 1), Ok(Found::Count(20))));
}

#[test]
fn a_released_result_is_the_intersection() {
    let mut rng = ChaCha20Rng::seed_from_u64(14);
    let (xs, ys): (Vec<_>, Vec<_>) = ((0..50).map(item).collect(), (30..90).map(item).collect());
    let parameters = parameters(Mode::MinimumThenRelease, 64, 64, 0);
    let (wait, answer, withheld) = run(parameters, &xs, &without_payload(&ys), &mut rng);
    let Found::Counted(counted) = wait.on_answer(&answer, 1).unwrap() else {
        panic!("a count was asked for")
    };
    assert_eq!(counted.count(), 20);
    let order = withheld.unwrap().reveal();
    assert_eq!(order.len(), permutation_bytes(&parameters));
    let found = counted.ask().on_permutation(&order).unwrap();
    assert_eq!(found.iter().map(|m| m.item).collect::<Vec<_>>(), (30..50).collect::<Vec<_>>());
}

#[test]
fn what_is_no_permutation_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(15);
    let parameters = parameters(Mode::MinimumThenRelease, 3, 3, 0);
    let xs: Vec<_> = (0..3).map(item).collect();
    for order in [[0_u32, 1, 1], [0, 1, 3]] {
        let (wait, answer, _) = run(parameters, &xs, &without_payload(&xs), &mut rng);
        let Found::Counted(counted) = wait.on_answer(&answer, 1).unwrap() else { panic!("a count") };
        let order: Vec<u8> = order.iter().flat_map(|place| place.to_be_bytes()).collect();
        assert_eq!(counted.ask().on_permutation(&order).unwrap_err(), EcdhError::Permutation);
    }
}

#[test]
fn malformed_messages_are_refused_with_their_reason() {
    let mut rng = ChaCha20Rng::seed_from_u64(16);
    let parameters = parameters(Mode::Intersection, 4, 4, 3);
    let xs: Vec<_> = (0..4).map(item).collect();
    let rows: Vec<_> = xs.iter().map(|key| SenderItem { key: *key, payload: b"abc" }).collect();
    let sender = Sender::new(parameters, SALT, &mut rng);
    let answer = |message: &[u8], rng: &mut ChaCha20Rng| sender.answer(message, &rows, 1, rng).map(drop);
    assert_eq!(answer(&[0; 4 * 32], &mut rng), Err(EcdhError::InvalidElement), "the identity");
    assert_eq!(answer(&[0xff; 4 * 32], &mut rng), Err(EcdhError::InvalidElement), "no encoding");
    assert_eq!(answer(&[0; 3 * 32], &mut rng), Err(EcdhError::Length { expected: 128, found: 96 }));

    let mut bent = |bend: &dyn Fn(&mut Vec<u8>)| {
        let (wait, mut answer, _) = run(parameters, &xs, &rows, &mut rng);
        bend(&mut answer);
        wait.on_answer(&answer, 1).map(drop).unwrap_err()
    };
    let tags = 4 * 32;
    assert_eq!(bent(&|a| a[..32].fill(0)), EcdhError::InvalidElement);
    assert!(matches!(bent(&|a| a.push(0)), EcdhError::Length { .. }));
    assert_eq!(bent(&|a| a[tags..tags + 6].fill(0xff)), EcdhError::Order);
    assert_eq!(bent(&|a| *a.last_mut().unwrap() ^= 1), EcdhError::Payload);
    assert_eq!(
        Receiver::new(parameters, SALT, &mut rng).blind(&[item(1); 5], 1, &mut rng).unwrap_err(),
        EcdhError::Bound
    );
}

#[test]
fn the_same_bucket_looks_different_on_every_connection() {
    let mut rng = ChaCha20Rng::seed_from_u64(17);
    let parameters = parameters(Mode::Intersection, 2, 2, 0);
    let mut message = || Receiver::new(parameters, SALT, &mut rng).blind(&[item(1)], 1, &mut rng).unwrap().0;
    assert_ne!(message(), message());
}
