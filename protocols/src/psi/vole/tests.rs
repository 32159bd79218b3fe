//! Both parties in one process.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use windvane_kernels::gf128;

use super::*;

fn session(seed: u64) -> (Receiver, Sender, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let hash = [seed as u8; 64];
    let opened = AwaitPoints::open(&hash, &mut rng);
    let answered = AwaitNoise::respond(&hash, &opened.message, &mut rng).unwrap();
    let received = opened.state.on_points(&answered.message, &mut rng).unwrap();
    let sender = answered.state.on_noise(&received.message).unwrap();
    (received.state, sender, rng)
}

fn batch(
    receiver: Receiver,
    sender: Sender,
    outputs: usize,
    rng: &mut ChaCha20Rng,
) -> (ReceiverBatch, SenderBatch) {
    let shape = Shape::for_outputs(outputs).unwrap();
    let begun = receiver.begin(shape, rng);
    assert_eq!(begun.message.len(), shape.request_bytes());
    let sent = sender.on_request(shape, &begun.message, rng).unwrap();
    assert_eq!(sent.message.len(), shape.trees_bytes());
    (begun.state.on_trees(&sent.message).unwrap(), sent)
}

fn holds(receiver: &ReceiverShare, sender: &SenderShare, delta: u128) -> bool {
    let mut entries = receiver.a.iter().zip(&*receiver.c).zip(&*sender.b);
    entries.all(|((a, c), b)| gf128::mul(delta, *a) ^ b == *c)
}

#[test]
fn the_relation_holds_in_batches_of_every_size() {
    let (mut receiver, mut sender, mut rng) = session(1);
    let delta = *sender.delta().expose();
    for outputs in [1, 2, 0, 500, 10_000, 10_000, 300_000, 17] {
        let (received, sent) = batch(receiver, sender, outputs, &mut rng);
        let lengths = [received.share.a.len(), received.share.c.len(), sent.share.b.len()];
        assert_eq!(lengths, [outputs; 3]);
        assert!(holds(&received.share, &sent.share, delta), "{outputs} outputs");
        (receiver, sender) = (received.state, sent.state);
    }
    assert_eq!(delta, *sender.delta().expose());
}

#[test]
fn entries_are_balanced_and_never_come_twice() {
    let (mut receiver, mut sender, mut rng) = session(2);
    let mut all: Vec<u128> = Vec::new();
    for _ in 0..3 {
        let (received, sent) = batch(receiver, sender, 20_000, &mut rng);
        all.extend(received.share.a.iter().chain(&*received.share.c).chain(&*sent.share.b));
        (receiver, sender) = (received.state, sent.state);
    }
    for bit in 0..128 {
        let ones = all.iter().filter(|entry| (*entry >> bit) & 1 == 1).count() as f64;
        let sigmas = (ones - all.len() as f64 / 2.0) / (all.len() as f64 / 4.0).sqrt();
        assert!(sigmas.abs() < 5.0, "bit {bit} is set {ones} times of {}", all.len());
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn messages_of_other_lengths_are_refused() {
    let shape = Shape::for_outputs(100).unwrap();
    for change in [-1, 1] {
        let cut = |message: &[u8]| {
            let mut message = message.to_vec();
            message.resize(message.len().checked_add_signed(change).unwrap(), 0);
            message
        };
        let (receiver, sender, mut rng) = session(3);
        let begun = receiver.begin(shape, &mut rng);
        let message = cut(&begun.message);
        let error = sender.on_request(shape, &message, &mut rng).unwrap_err();
        assert_eq!(error, VoleError::Length { expected: shape.request_bytes(), found: message.len() });
        let message = cut(&vec![0; shape.trees_bytes()]);
        let error = begun.state.on_trees(&message).unwrap_err();
        assert_eq!(error, VoleError::Length { expected: shape.trees_bytes(), found: message.len() });
        let opened = AwaitPoints::open(&[0; 64], &mut rng);
        let answered = AwaitNoise::respond(&[0; 64], &opened.message, &mut rng).unwrap();
        let message = cut(&vec![0; NOISE_BYTES]);
        let error = answered.state.on_noise(&message).unwrap_err();
        assert_eq!(error, VoleError::Length { expected: NOISE_BYTES, found: message.len() });
    }
}

#[test]
fn garbage_of_the_right_length_breaks_the_relation_and_nothing_else() {
    let (receiver, sender, mut rng) = session(4);
    let delta = *sender.delta().expose();
    let shape = Shape::for_outputs(100).unwrap();
    let begun = receiver.begin(shape, &mut rng);
    let sent = sender.on_request(shape, &vec![0xa5; shape.request_bytes()], &mut rng).unwrap();
    let received = begun.state.on_trees(&sent.message).unwrap();
    assert!(!holds(&received.share, &sent.share, delta));
}

#[test]
fn sessions_that_differ_only_in_their_hash_share_nothing() {
    let run = |hash: u8| {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let opened = AwaitPoints::open(&[hash; 64], &mut rng);
        let answered = AwaitNoise::respond(&[hash; 64], &opened.message, &mut rng).unwrap();
        let received = opened.state.on_points(&answered.message, &mut rng).unwrap();
        let sender = answered.state.on_noise(&received.message).unwrap();
        let (received, _) = batch(received.state, sender, 50, &mut rng);
        received.share.a.to_vec()
    };
    let (one, other) = (run(1), run(2));
    assert!(one.iter().all(|a| !other.contains(a)));
}

#[test]
fn states_and_shares_print_no_secret() {
    let (receiver, sender, mut rng) = session(6);
    let delta = format!("{}", sender.delta().expose());
    let printed = format!("{receiver:?} {sender:?}");
    let (received, sent) = batch(receiver, sender, 3, &mut rng);
    let printed = format!("{printed} {:?} {:?}", received.share, sent.share);
    assert!(!printed.contains(&delta) && !printed.contains(&format!("{}", received.share.a[0])));
    assert!(printed.contains("SecretBlocks(3 of them)"), "{printed}");
}

/// With the generator's seed, everything is fixed: two builds make the same messages and shares.
#[test]
fn messages_and_shares_are_those_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../../../vectors/psi-vole-v1.json")).unwrap();
    let vector = &vectors["session"];
    let mut rng = ChaCha20Rng::seed_from_u64(vector["rng_seed"].as_u64().unwrap());
    let hash = [vector["session_byte"].as_u64().unwrap() as u8; 64];
    let opened = AwaitPoints::open(&hash, &mut rng);
    let answered = AwaitNoise::respond(&hash, &opened.message, &mut rng).unwrap();
    let received = opened.state.on_points(&answered.message, &mut rng).unwrap();
    let sender = answered.state.on_noise(&received.message).unwrap();
    let mut found = vec![opened.message, answered.message, received.message];
    let (mut receiver, mut sender) = (received.state, sender);
    for outputs in vector["batches"].as_array().unwrap() {
        let shape = Shape::for_outputs(outputs.as_u64().unwrap() as usize).unwrap();
        let begun = receiver.begin(shape, &mut rng);
        let sent = sender.on_request(shape, &begun.message, &mut rng).unwrap();
        let received = begun.state.on_trees(&sent.message).unwrap();
        found.extend([begun.message, sent.message]);
        for share in [&received.share.a, &received.share.c, &sent.share.b] {
            found.push(share.iter().flat_map(|block| block.to_le_bytes()).collect());
        }
        (receiver, sender) = (received.state, sent.state);
    }
    let digests: Vec<String> = found.iter().map(|bytes| hex::encode(Sha256::digest(bytes))).collect();
    let expected: Vec<&str> =
        vector["sha256"].as_array().unwrap().iter().map(|digest| digest.as_str().unwrap()).collect();
    assert_eq!(digests, expected);
}
