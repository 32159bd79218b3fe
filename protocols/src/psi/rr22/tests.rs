use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use windvane_kernels::aes::Prg;
use windvane_kernels::gf128;

use super::*;
use crate::psi::{Mode, Protocol, Sizes};

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn random(seed: u128, count: usize) -> Vec<u128> {
    let mut values = vec![0; count];
    Prg::new(seed).fill(&mut values);
    values
}

fn plan(receiver_keys: usize, sender_keys: usize, payload_bytes: usize) -> Plan {
    let rows = [receiver_keys, sender_keys].map(|keys| keys as u64);
    let sizes = Sizes { payload_bytes, ..Sizes::new(Protocol::Vole, Mode::Intersection, rows[0], rows[1]) };
    Plan::of(&Parameters::new(sizes).unwrap()).unwrap()
}

/// A vector OLE from a trusted dealer.
fn deal(columns: usize, rng: &mut ChaCha20Rng) -> (ReceiverShare, SenderShare) {
    let delta = rng.random();
    let (a, b) = (random(rng.random(), columns), random(rng.random(), columns));
    let mut c = b.clone();
    gf128::mul_add_slice(&mut c, &a, delta);
    (ReceiverShare::new(a, c), SenderShare::new(delta, b))
}

struct Messages {
    receiver: AwaitRecords,
    records: Vec<u8>,
}

/// Everything up to the sender's message.
fn exchange(plan: Plan, ours: &[u128], theirs: &[u128], payloads: &[Vec<u8>], seed: u64) -> Messages {
    let mut rng = rng(seed);
    let (receiver_share, sender_share) = deal(plan.columns(), &mut rng);
    let encoded = Encoded::encode(plan, ours, &mut rng).unwrap();
    let Masked { state, seeds, encoding } = encoded.mask(receiver_share).unwrap();
    assert_eq!(encoding.len(), plan.encoding_bytes());
    let sender = AwaitSeeds::new(plan, theirs.to_vec(), sender_share).unwrap();
    let mut sender = sender.on_seeds(&seeds).unwrap();
    for piece in encoding.chunks(10_007) {
        sender.on_chunk(piece).unwrap();
    }
    let records = sender.finish(payloads, &mut rng).unwrap().message;
    assert_eq!(records.len(), plan.records_bytes());
    Messages { receiver: state.decode().unwrap(), records }
}

fn intersect(plan: Plan, ours: &[u128], theirs: &[u128], payloads: &[Vec<u8>]) -> Intersection {
    let Messages { mut receiver, records } = exchange(plan, ours, theirs, payloads, 21);
    for piece in records.chunks(4_001) {
        receiver.on_chunk(piece).unwrap();
    }
    receiver.finish().unwrap()
}

/// Indices of the keys that both have: the definition.
fn defined(ours: &[u128], theirs: &[u128]) -> Vec<u32> {
    let theirs: std::collections::BTreeSet<_> = theirs.iter().collect();
    (0..).zip(ours).filter(|(_, key)| theirs.contains(key)).map(|(index, _)| index).collect()
}

fn sorted(intersection: &Intersection) -> Vec<u32> {
    let mut indices = intersection.indices().to_vec();
    indices.sort_unstable();
    indices
}

/// Keys of both parties, `common` of them shared, in unrelated orders.
fn sets(ours: usize, theirs: usize, common: usize) -> (Vec<u128>, Vec<u128>) {
    let mut second = random(2, theirs - common);
    let first = random(1, ours);
    second.extend_from_slice(&first[ours - common..]);
    second.sort_unstable();
    (first, second)
}

#[test]
fn the_intersection_is_the_true_one() {
    let sizes = [
        (0, 0, 0),
        (0, 5, 0),
        (5, 0, 0),
        (1, 1, 0),
        (1, 1, 1),
        (2, 2, 1),
        (2, 1, 1),
        (100, 100, 50),
        (100, 100, 0),
        (100, 100, 100),
        (10_000, 10_000, 5_000),
        (10_000, 10_000, 0),
        (10_000, 10_000, 10_000),
        (10, 20_000, 7),
        (20_000, 10, 7),
        (5_000, 5_001, 1),
    ];
    for (ours, theirs, common) in sizes {
        let (first, second) = sets(ours, theirs, common);
        let found = intersect(plan(ours, theirs, 0), &first, &second, &[]);
        assert_eq!(sorted(&found), defined(&first, &second), "{ours}, {theirs}, {common}");
        assert_eq!(found.indices().len(), common);
    }
}

#[test]
fn bounds_above_the_numbers_of_keys_change_nothing() {
    let (first, second) = sets(3_000, 2_000, 900);
    for plan in [plan(3_000, 2_000, 0), plan(3_001, 2_001, 0), plan(9_000, 30_000, 0)] {
        let found = intersect(plan, &first, &second, &[]);
        assert_eq!(sorted(&found), defined(&first, &second));
    }
}

#[test]
fn keys_that_come_again_match_once_and_are_reported() {
    let (mut first, mut second) = sets(1_000, 1_000, 500);
    first.extend([first[999], first[999], first[0]]);
    second.extend_from_within(..100);
    let plan = plan(first.len(), second.len(), 0);
    let encoded = Encoded::encode(plan, &first, &mut rng(3)).unwrap();
    let mut pairs: Vec<_> = encoded.duplicates().iter().map(|d| (d.kept, d.dropped)).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(0, 1_002), (999, 1_000), (999, 1_001)]);
    let found = intersect(plan, &first, &second, &[]);
    assert_eq!(sorted(&found), defined(&first[..1_000], &second));
}

#[test]
fn each_match_brings_the_payload_of_its_key() {
    for (ours, theirs, common) in [(300, 400, 120), (1, 1, 1), (50, 70, 0)] {
        let (first, second) = sets(ours, theirs, common);
        let payload = |i: usize| format!("row {i}{}", "!".repeat(i % 5)).into_bytes();
        let payloads: Vec<_> = (0..theirs).map(payload).collect();
        let found = intersect(plan(ours, theirs + 9, 19), &first, &second, &payloads);
        assert_eq!(sorted(&found), defined(&first, &second));
        for (i, index) in found.indices().iter().enumerate() {
            let origin = second.iter().position(|key| *key == first[*index as usize]).unwrap();
            assert_eq!(found.payload(i), payload(origin));
        }
    }
}

#[test]
fn records_ascend_and_do_not_depend_on_the_order_of_the_keys() {
    let (first, mut second) = sets(400, 500, 200);
    let plan = plan(400, 500, 0);
    let there = exchange(plan, &first, &second, &[], 5).records;
    second.reverse();
    let back = exchange(plan, &first, &second, &[], 5).records;
    assert_eq!(there, back);
    assert!(there.chunks(plan.record_bytes()).is_sorted());
    assert_ne!(exchange(plan, &first, &second, &[], 6).records, there, "seeds and share are fresh");
}

#[test]
fn messages_have_the_declared_length_whatever_the_keys() {
    let plan = plan(1_000, 2_000, 30);
    let mut lengths = BTreeMap::new();
    for (ours, theirs) in [(0, 0), (1, 2_000), (1_000, 3), (999, 1_999)] {
        let (first, second) = sets(ours, theirs, 0);
        let messages = exchange(plan, &first, &second, &vec![vec![7; theirs % 31]; theirs], 9);
        *lengths.entry(messages.records.len()).or_insert(0) += 1;
    }
    assert_eq!(lengths, BTreeMap::from([(2_000 * (plan.digest_bytes + 48), 4)]));
}

#[test]
fn too_many_and_too_few_bytes_are_refused_on_both_sides() {
    let (first, second) = sets(50, 60, 20);
    let plan = plan(50, 60, 0);
    let (_, share) = deal(plan.columns(), &mut rng(1));
    let mut sender = AwaitSeeds::new(plan, second.clone(), share).unwrap().on_seeds(&[3; 32]).unwrap();
    let expected = plan.encoding_bytes();
    assert_eq!(sender.on_chunk(&vec![0; expected + 1]), Err(Rr22Error::TooLong { expected }));
    sender.on_chunk(&vec![0; expected - 1]).unwrap();
    assert_eq!(sender.on_chunk(&[0; 2]), Err(Rr22Error::TooLong { expected }));
    let too_short = Rr22Error::TooShort { expected, found: expected - 1 };
    assert_eq!(sender.finish(&[], &mut rng(1)).unwrap_err(), too_short);

    let Messages { mut receiver, records } = exchange(plan, &first, &second, &[], 4);
    let expected = plan.records_bytes();
    receiver.on_chunk(&records[..expected - 1]).unwrap();
    assert_eq!(receiver.on_chunk(&[0; 2]), Err(Rr22Error::TooLong { expected }));
    let too_short = Rr22Error::TooShort { expected, found: expected - 1 };
    assert_eq!(receiver.finish().unwrap_err(), too_short);
}

#[test]
fn garbage_is_an_error_or_matches_nothing() {
    let (first, second) = sets(200, 200, 100);
    let plan = plan(200, 200, 8);
    let Messages { mut receiver, records } = exchange(plan, &first, &second, &vec![vec![5; 8]; 200], 4);
    let mut descending: Vec<&[u8]> = records.chunks(plan.record_bytes()).collect();
    descending.reverse();
    assert_eq!(receiver.on_chunk(&descending.concat()), Err(Rr22Error::RecordOrder { index: 1 }));

    let Messages { mut receiver, .. } = exchange(plan, &first, &second, &vec![vec![5; 8]; 200], 4);
    let mut noise: Vec<[u8; 16]> =
        random(77, 200 * plan.record_bytes() / 16 + 1).iter().map(|n| n.to_be_bytes()).collect();
    let noise = noise.as_flattened_mut();
    noise[..200 * plan.record_bytes()]
        .chunks_mut(plan.record_bytes())
        .enumerate()
        .for_each(|(i, r)| r[0] = i as u8);
    receiver.on_chunk(&noise[..plan.records_bytes()]).unwrap();
    assert!(receiver.finish().unwrap().indices().is_empty());
}

#[test]
fn a_payload_that_was_changed_on_the_way_does_not_open() {
    let (first, second) = sets(200, 200, 200);
    let plan = plan(200, 200, 8);
    let Messages { mut receiver, mut records } = exchange(plan, &first, &second, &vec![vec![5; 8]; 200], 4);
    records[3 * plan.record_bytes() + plan.digest_bytes] ^= 1;
    assert_eq!(receiver.on_chunk(&records), Err(Rr22Error::SealedPayload { index: 3 }));
}

#[test]
fn another_delta_or_other_seeds_match_nothing() {
    let (first, _) = sets(300, 300, 0);
    let plan = plan(300, 300, 0);
    for spoil in ["delta", "seeds"] {
        let mut rng = rng(13);
        let (receiver_share, mut sender_share) = deal(plan.columns(), &mut rng);
        let encoded = Encoded::encode(plan, &first, &mut rng).unwrap();
        let Masked { state, mut seeds, encoding } = encoded.mask(receiver_share).unwrap();
        match spoil {
            "delta" => sender_share.delta ^= 1,
            _ => seeds[16] ^= 1,
        }
        let mut sender =
            AwaitSeeds::new(plan, first.clone(), sender_share).unwrap().on_seeds(&seeds).unwrap();
        sender.on_chunk(&encoding).unwrap();
        let records = sender.finish(&[], &mut rng).unwrap().message;
        let mut receiver = state.decode().unwrap();
        receiver.on_chunk(&records).unwrap();
        assert!(receiver.finish().unwrap().indices().is_empty(), "{spoil}");
    }
}

#[test]
fn what_does_not_fit_the_plan_is_refused() {
    let plan = plan(10, 20, 4);
    let keys = random(1, 21);
    let too_many = Encoded::encode(plan, &keys[..11], &mut rng(1)).unwrap_err();
    assert_eq!(too_many, Rr22Error::Keys { expected: 10, found: 11 });
    let share = |n| deal(n, &mut rng(1));
    let too_many = AwaitSeeds::new(plan, keys.clone(), share(plan.columns()).1).unwrap_err();
    assert_eq!(too_many, Rr22Error::Keys { expected: 20, found: 21 });
    let expected = plan.columns();
    let wrong = Rr22Error::Share { expected, found: 9 };
    assert_eq!(AwaitSeeds::new(plan, Vec::new(), share(9).1).unwrap_err(), wrong);
    assert_eq!(Encoded::encode(plan, &[], &mut rng(1)).unwrap().mask(share(9).0).unwrap_err(), wrong);
    let sender = || {
        let wait = AwaitSeeds::new(plan, keys[..2].to_vec(), share(expected).1).unwrap();
        let mut sender = wait.on_seeds(&[1; 32]).unwrap();
        sender.on_chunk(&vec![0; plan.encoding_bytes()]).unwrap();
        sender
    };
    let finish = |payloads: &[Vec<u8>]| sender().finish(payloads, &mut rng(1)).unwrap_err();
    assert_eq!(finish(&[vec![0; 4]]), Rr22Error::Payloads { expected: 2, found: 1 });
    let too_long = Rr22Error::PayloadBytes { expected: 4, found: 5 };
    assert_eq!(finish(&[vec![0; 4], vec![0; 5]]), too_long);
    let bucket =
        Bucket { receiver_keys: 1, sender_keys: 1, digest_bytes: 17, payload_bytes: 0, failure_bits: 40 };
    assert_eq!(Plan::new(bucket), Err(Rr22Error::DigestBytes { found: 17 }));
    let (digest_bytes, sender_keys) = (16, MAX_OKVS_ROWS + 1);
    let wrong = Rr22Error::Keys { expected: MAX_OKVS_ROWS, found: sender_keys };
    assert_eq!(Plan::new(Bucket { digest_bytes, sender_keys, ..bucket }), Err(wrong));
    let payload_bytes = MAX_PSI_PAYLOAD_BYTES + 1;
    let wrong = Rr22Error::PayloadBytes { expected: MAX_PSI_PAYLOAD_BYTES, found: payload_bytes };
    assert_eq!(Plan::new(Bucket { digest_bytes, payload_bytes, ..bucket }), Err(wrong));
}

#[test]
fn printing_a_state_shows_no_keys_or_shares() {
    let (receiver, sender) = deal(3, &mut rng(1));
    assert_eq!(format!("{receiver:?} {sender:?}"), "ReceiverShare(3 elements) SenderShare(3 elements)");
}
