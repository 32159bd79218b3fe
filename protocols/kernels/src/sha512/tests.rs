use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha512};

use super::*;

const LONGEST: usize = 520;
/// Between two lengths: fewer where every operation is interpreted.
const STEP: usize = if cfg!(miri) { 61 } else { 1 };

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(512)
}

/// Both twins, or the portable one alone where there is no AVX-512.
fn backends() -> Vec<Backend> {
    let all = [Backend::detected(), Backend::Portable];
    let distinct = if matches!(all[0], Backend::Portable) { &all[1..] } else { &all[..] };
    distinct.to_vec()
}

fn random(rng: &mut ChaCha20Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.random()).collect()
}

fn plain(message: &[u8]) -> Message<'_, 0> {
    Message { start: &INITIAL, parts: [], end: message }
}

fn digests(backend: Backend, messages: &[Vec<u8>]) -> Vec<[u8; DIGEST_BYTES]> {
    digest_each_with(backend, messages.iter().map(|message| plain(message)))
}

fn library(message: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha512::digest(message).into()
}

/// FIPS 180-4's examples ("abc", 112 bytes), the empty message, and FIPS 180-2's appendix C.3 (a million "a").
#[test]
fn published_examples_hash_as_published_in_every_lane() {
    let long: &[u8] = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
        hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    let examples = [
        (
            b"abc".to_vec(),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            long.to_vec(),
            "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
             501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
        ),
        (
            Vec::new(),
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            vec![b'a'; 1_000_000],
            "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
             de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
        ),
    ];
    // Interpreted, a million bytes take too long.
    let examples = if cfg!(miri) { &examples[..3] } else { &examples[..] };
    for backend in backends() {
        for (message, digest) in examples {
            for found in digest_each_with(backend, (0..LANES).map(|_| plain(message))) {
                assert_eq!(hex::encode(found), *digest, "{backend:?}, {} bytes", message.len());
            }
        }
    }
}

#[test]
fn random_messages_of_every_length_hash_as_the_library_does() {
    let mut rng = rng();
    for length in (0..LONGEST).step_by(STEP) {
        let messages: Vec<_> = (0..LANES).map(|_| random(&mut rng, length)).collect();
        let expected: Vec<_> = messages.iter().map(|message| library(message)).collect();
        for backend in backends() {
            assert_eq!(digests(backend, &messages), expected, "{backend:?}, {length} bytes");
        }
    }
}

#[test]
fn neighbours_of_different_lengths_do_not_disturb_each_other() {
    let mut rng = rng();
    for count in (0..=3 * LANES).step_by(STEP.min(8)) {
        let lengths: Vec<_> = (0..count).map(|_| rng.random_range(0..LONGEST)).collect();
        let messages: Vec<_> = lengths.iter().map(|length| random(&mut rng, *length)).collect();
        let expected: Vec<_> = messages.iter().map(|message| library(message)).collect();
        for backend in backends() {
            assert_eq!(digests(backend, &messages), expected, "{backend:?}, {count} messages");
        }
    }
}

#[test]
fn ten_thousand_messages_hash_as_the_library_does() {
    let mut rng = rng();
    let count = if cfg!(miri) { 9 } else { 10_000 };
    let messages: Vec<_> = (0..count).map(|_| random(&mut rng, 111)).collect();
    let expected: Vec<_> = messages.iter().map(|message| library(message)).collect();
    for backend in backends() {
        assert_eq!(digests(backend, &messages), expected, "{backend:?}");
    }
}

#[test]
fn parts_are_hashed_as_one_message_wherever_it_is_cut() {
    let message = random(&mut rng(), 260);
    let step = if cfg!(miri) { 100 } else { 13 };
    let cuts = || {
        (0..=message.len()).step_by(step).flat_map(|a| (a..=message.len()).step_by(step).map(move |b| (a, b)))
    };
    let parts = cuts().map(|(a, b)| ([&message[..a], &message[a..b]], &message[b..]));
    let messages: Vec<_> = parts.map(|(parts, end)| Message { start: &INITIAL, parts, end }).collect();
    for backend in backends() {
        let digests = digest_each_with(backend, messages.iter().copied());
        assert_eq!(digests, vec![library(&message); messages.len()], "{backend:?}");
    }
}

#[test]
fn messages_go_on_from_midstates_of_their_own() {
    let mut rng = rng();
    for count in (0..=2 * LANES + 1).step_by(STEP.min(8)) {
        let [first, second] = [(); 2].map(|()| {
            (0..count)
                .map(|_| random(&mut rng, BLOCK_BYTES).try_into().expect("a block"))
                .collect::<Vec<Block>>()
        });
        let rest = random(&mut rng, 77);
        for backend in backends() {
            let common = INITIAL.after(&[7; BLOCK_BYTES]);
            let starts = common.after_each_with(backend, &first);
            let messages = starts.iter().zip(&second).map(|(start, second)| Message {
                start,
                parts: [&second[..]],
                end: &rest,
            });
            let found = digest_each_with(backend, messages);
            let expected = first
                .iter()
                .zip(&second)
                .map(|(first, second)| library(&[&[7; BLOCK_BYTES][..], first, second, &rest].concat()));
            assert!(found.into_iter().eq(expected), "{backend:?}, {count} messages");
        }
    }
}

#[test]
fn printing_a_state_or_a_message_shows_its_size_alone() {
    let message = plain(b"secret");
    assert_eq!(format!("{message:?}"), "Message(6 bytes behind Midstate(after 0 blocks))");
}
