//! Which numbers a training lists as decoys, and which rows it holds out: drawn from a seed, so that an auditor who has it
//! draws the same again, with whichever build.
//!
//! Each draw has a key, the first 32 bytes of SHA-512 over a transcript of the seed under the draw's own domain.
//!
//! **Decoys.** The numbers of the universe that are not in the sample have places 0 to m − 1, by position. Of them n distinct
//! ones are drawn by Floyd's algorithm (Bentley and Floyd 1987), each set of n as likely as any other: for j from m − n to
//! m − 1, t is drawn below j + 1, and t is taken, or j where t was taken before. A number below b is the next word of the
//! key's stream modulo b, words of ⌊2^64 / b⌋·b and more being passed over. The stream is SHA-512 over key and counter, which
//! is eight big-endian bytes and begins at 0; each hash is eight words, big-endian.
//!
//! **Held-out rows.** A row is held out where the first word of SHA-512 over key and position (eight big-endian bytes), times
//! 100, is below the share in hundredths times 2^64: by itself, whatever else is listed.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::transcript::{Hash, Transcript};

/// Shares are in hundredths.
const HUNDRED: u64 = 100;

/// Words of a hash.
const WORDS: usize = 8;

/// Draws `count` positions, ascending, of a universe with so many `rows` and without those of the `sample`, which ascend; all
/// others where there are no more.
pub fn decoys(seed: &[u8; 32], sample: &[u64], rows: u64, count: u64) -> Vec<u64> {
    let others = rows.saturating_sub(sample.len() as u64);
    let mut stream = Stream::new(key(seed, "windvane/train-decoys/v1"));
    let mut places = BTreeSet::new();
    for last in others.saturating_sub(count)..others {
        if !places.insert(stream.up_to(last)) {
            places.insert(last);
        }
    }
    // A place moves behind the sample's rows that stand before it.
    let mut before = 0;
    let position = |place| {
        while sample.get(before).is_some_and(|at| *at <= place + before as u64) {
            before += 1;
        }
        place + before as u64
    };
    places.into_iter().map(position).collect()
}

/// Which rows are held out.
#[derive(Clone)]
pub struct HeldOut {
    key: Zeroizing<[u8; 32]>,
    share: u64,
}

impl HeldOut {
    /// So many hundredths, about.
    pub fn new(seed: &[u8; 32], share: u64) -> Self {
        Self { key: key(seed, "windvane/train-held-out/v1"), share }
    }

    /// Whether a row is.
    pub fn has(&self, position: u64) -> bool {
        let [word, ..] = words(&self.key, position);
        u128::from(word) * u128::from(HUNDRED) < u128::from(self.share) << 64
    }
}

impl fmt::Debug for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldOut({} hundredths)", self.share)
    }
}

/// A key's words, one after another.
struct Stream {
    key: Zeroizing<[u8; 32]>,
    counter: u64,
    words: [u64; WORDS],
    used: usize,
}

impl Stream {
    fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { words: words(&key, 0), key, counter: 0, used: 0 }
    }

    fn word(&mut self) -> u64 {
        if self.used == WORDS {
            self.counter += 1;
            (self.words, self.used) = (words(&self.key, self.counter), 0);
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// A number of 0 to `last`, each as likely as any other.
    fn up_to(&mut self, last: u64) -> u64 {
        let (all, bound) = (1_u128 << 64, u128::from(last) + 1);
        let limit = all / bound * bound;
        loop {
            let word = u128::from(self.word());
            if word < limit {
                return (word % bound) as u64;
            }
        }
    }
}

fn words(key: &[u8; 32], number: u64) -> [u64; WORDS] {
    let hash: Hash = Sha512::new().chain_update(key).chain_update(number.to_be_bytes()).finalize().into();
    let (words, _) = hash.as_chunks();
    std::array::from_fn(|i| u64::from_be_bytes(words[i]))
}

/// Another key for each draw.
fn key(seed: &[u8; 32], domain: &str) -> Zeroizing<[u8; 32]> {
    let digest = Zeroizing::new(Transcript::new(domain).bytes("seed", seed).digest());
    Zeroizing::new(*digest.first_chunk().expect("a hash has 64 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    /// Made by another implementation.
    #[test]
    fn the_published_draws_hold() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/train-v1.json")).unwrap();
        let lists = &vectors["lists"];
        let seed = hex::decode(lists["seed"].as_str().unwrap()).unwrap().try_into().unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<u64> {
            value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
        };
        for case in lists["decoys"].as_array().unwrap() {
            let (rows, count) = (case["rows"].as_u64().unwrap(), case["count"].as_u64().unwrap());
            let found = decoys(&seed, &numbers(&case["sample"]), rows, count);
            assert_eq!(found, numbers(&case["positions"]));
        }
        let held_out = &lists["held_out"];
        let draw = HeldOut::new(&seed, held_out["share"].as_u64().unwrap());
        let found = (0..held_out["rows"].as_u64().unwrap()).filter(|row| draw.has(*row));
        assert!(found.eq(numbers(&held_out["positions"])));
    }

    #[test]
    fn decoys_are_all_others_where_there_are_no_more_and_none_where_none_are_drawn() {
        for count in [3, 4] {
            assert_eq!(decoys(&SEED, &[0, 2, 5], 6, count), [1, 3, 4]);
        }
        assert!(decoys(&SEED, &[0, 2, 5], 6, 0).is_empty() && decoys(&SEED, &[0], 1, 1).is_empty());
    }

    #[test]
    fn each_position_is_as_likely_a_decoy_as_any_other() {
        let mut drawn = [0; 12];
        for draw in 0..3_000_u64 {
            let mut seed = SEED;
            seed[..8].copy_from_slice(&draw.to_be_bytes());
            let found = decoys(&seed, &[4, 9], 12, 3);
            assert!(found.len() == 3 && found.is_sorted_by(|a, b| a < b), "{found:?}");
            found.iter().for_each(|at| drawn[*at as usize] += 1);
        }
        // 900 of each are expected; five standard deviations are 125.
        let others = (0..12).filter(|at| ![4, 9].contains(at));
        assert!(others.clone().all(|at| (775..1_025).contains(&drawn[at])), "{drawn:?}");
        assert_eq!(others.map(|at| drawn[at]).sum::<i32>(), 9_000);
    }

    #[test]
    fn nobody_or_everybody_is_held_out_at_the_ends_of_the_shares() {
        let held_out = |share| (0..1_000).filter(|at| HeldOut::new(&SEED, share).has(*at)).count();
        assert_eq!((held_out(0), held_out(100)), (0, 1_000));
        assert!((150..250).contains(&held_out(20)));
    }
}
