//! Inputs from inputs: mutations that nothing guides, for the test of this crate.

use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;

/// Values at which lengths and counters break.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX];

/// Changes an input one to eight times; never longer than `most`.
pub(crate) fn mutate(input: &[u8], others: &[Vec<u8>], most: usize, rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        change(&mut bytes, others, rng);
        bytes.truncate(most);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut ChaCha20Rng) {
    let at = rng.random_range(0..=bytes.len());
    let length = rng.random_range(0..=(bytes.len() - at).min(64));
    match rng.random_range(0..8) {
        0 => bytes.insert(at, rng.random()),
        1 => drop(bytes.drain(at..at + length)),
        2 => bytes.truncate(at),
        3 => {
            let copy = bytes[at..at + length].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => put_number(&mut bytes[at..], rng),
        5 if !others.is_empty() => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            bytes.splice(at..at + length, other[from..].iter().take(256).copied());
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}

/// An edge in two, four or eight bytes, in either order.
fn put_number(bytes: &mut [u8], rng: &mut ChaCha20Rng) {
    let width = [2, 4, 8][rng.random_range(0..3)];
    let Some(place) = bytes.get_mut(..width) else { return };
    let edge = EDGES[rng.random_range(0..EDGES.len())].to_be_bytes();
    place.copy_from_slice(&edge[8 - width..]);
    if rng.random() {
        place.reverse();
    }
}
