//! Number segments (seven digits, 10,000 numbers each) and which number stands where.
//!
//! Each carrier owns segments under its real prefixes. Of the numbers of a carrier's segments, by index:
//! `0..n` are its subscribers' (n per carrier, every 32nd left out), then come those ported out, then
//! those that stand nowhere. Every 32nd row of a carrier holds a number ported in.

use crate::seed::{Purpose, Scatter, Seed};
use rand::RngExt;
use rand::seq::SliceRandom;

/// How many carriers there are.
pub(crate) const CARRIERS: usize = 3;
/// One row in so many holds a number that was ported in.
pub(crate) const PORTED_ONE_IN: u64 = 32;
const NUMBERS_PER_SEGMENT: u64 = 10_000;
const SPARE_NUMBERS: u64 = 1_000;

/// Three-digit prefixes of China Mobile, China Unicom and China Telecom.
const PREFIXES: [&[u32]; CARRIERS] = [
    &[134, 135, 136, 137, 138, 139, 150, 151, 152, 157, 158, 159, 182, 183, 184, 187, 188, 198],
    &[130, 131, 132, 155, 156, 185, 186, 166],
    &[133, 153, 180, 181, 189, 199, 191],
];

/// Where every number stands.
#[derive(Clone, Debug)]
pub(crate) struct Numbering {
    subscribers: u64,
    segments: [Vec<u32>; CARRIERS],
    scatters: [Scatter; CARRIERS],
}

impl Numbering {
    /// Spreads `segments` (at least one a carrier, more when they do not hold all numbers) over carriers.
    /// `spare` is how many numbers a carrier's segments must keep that stand nowhere.
    pub(crate) fn new(seed: &Seed, subscribers: u64, segments: usize, spare: u64) -> Self {
        let needed = subscribers + subscribers / PORTED_ONE_IN + 1 + spare.max(SPARE_NUMBERS);
        let mut rng = seed.stream(Purpose::Layout, 1);
        let segments: [Vec<u32>; CARRIERS] = std::array::from_fn(|carrier| {
            let share = (segments + CARRIERS - 1 - carrier) / CARRIERS;
            let count = (share as u64).max(needed.div_ceil(NUMBERS_PER_SEGMENT));
            choose_segments(&mut rng, PREFIXES[carrier], count)
        });
        let scatters = std::array::from_fn(|carrier| {
            let size = segments[carrier].len() as u64 * NUMBERS_PER_SEGMENT;
            Scatter::new(size, rng.random_range(0..size))
        });
        Self { subscribers, segments, scatters }
    }

    /// The segments under `carrier`'s prefixes, ascending.
    pub(crate) fn segments(&self, carrier: usize) -> &[u32] {
        &self.segments[carrier]
    }

    /// The number in `row` of `carrier`, and whether it was ported in.
    pub(crate) fn number(&self, carrier: usize, row: u64) -> (String, bool) {
        if row % PORTED_ONE_IN != PORTED_ONE_IN - 1 {
            return (self.home_number(carrier, row), false);
        }
        let nth = row / PORTED_ONE_IN;
        let donor = (carrier + 1 + (nth % 2) as usize) % CARRIERS;
        (self.home_number(donor, self.subscribers + nth), true)
    }

    /// The `nth` number of `carrier`'s segments that stands nowhere; the last is followed by the first.
    pub(crate) fn unused_number(&self, carrier: usize, nth: u64) -> String {
        let first = self.subscribers + self.subscribers / PORTED_ONE_IN + 1;
        let count = self.segments[carrier].len() as u64 * NUMBERS_PER_SEGMENT - first;
        self.home_number(carrier, first + nth % count)
    }

    fn home_number(&self, carrier: usize, index: u64) -> String {
        let position = self.scatters[carrier].map(index);
        let segment = self.segments[carrier][(position / NUMBERS_PER_SEGMENT) as usize];
        format!("{segment}{:04}", position % NUMBERS_PER_SEGMENT)
    }
}

/// `count` segments, the prefixes taken in turn; every carrier has at least 70,000 to choose from.
fn choose_segments(rng: &mut impl rand::Rng, prefixes: &[u32], count: u64) -> Vec<u32> {
    let mut prefixes = prefixes.to_vec();
    prefixes.shuffle(rng);
    let codes = Scatter::new(10_000, rng.random_range(0..10_000));
    let mut segments: Vec<u32> = (0..count)
        .map(|nth| {
            let prefix = prefixes[nth as usize % prefixes.len()];
            let code = codes.map(nth / prefixes.len() as u64);
            prefix * 10_000 + code as u32
        })
        .collect();
    segments.sort_unstable();
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn standing(numbering: &Numbering, subscribers: u64) -> HashMap<String, (usize, bool)> {
        let mut standing = HashMap::new();
        for carrier in 0..CARRIERS {
            for row in 0..subscribers {
                let (number, ported) = numbering.number(carrier, row);
                assert_eq!(number.len(), 11);
                assert!(standing.insert(number, (carrier, ported)).is_none(), "a number stands twice");
            }
        }
        standing
    }

    fn home(number: &str) -> usize {
        let prefix: u32 = number[..3].parse().unwrap();
        PREFIXES.iter().position(|prefixes| prefixes.contains(&prefix)).unwrap()
    }

    #[test]
    fn a_number_stands_once_and_only_ported_ones_away_from_their_prefix() {
        for subscribers in [1, 31, 32, 33, 64, 1_000, 20_000, 45_000] {
            let numbering = Numbering::new(&Seed::new(5), subscribers, 12, 0);
            let standing = standing(&numbering, subscribers);
            for (number, (carrier, ported)) in &standing {
                assert_eq!(home(number) != *carrier, *ported);
            }
            for carrier in 0..CARRIERS {
                assert!((0..1_500).all(|nth| !standing.contains_key(&numbering.unused_number(carrier, nth))));
            }
        }
    }

    #[test]
    fn segments_stay_within_the_limit_until_the_numbers_do_not_fit() {
        let count = |subscribers, segments| {
            let numbering = Numbering::new(&Seed::new(5), subscribers, segments, 0);
            (0..CARRIERS).map(|carrier| numbering.segments(carrier).len()).sum::<usize>()
        };
        assert_eq!(count(20_000, 12), 12);
        assert_eq!(count(5_000, 4), 4);
        assert_eq!(count(36_000, 12), 12);
        assert_eq!(count(100_000, 12), 3 * 11);
    }

    #[test]
    fn a_prefix_belongs_to_one_carrier() {
        let mut all = PREFIXES.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), PREFIXES.iter().map(|prefixes| prefixes.len()).sum::<usize>());
    }
}
