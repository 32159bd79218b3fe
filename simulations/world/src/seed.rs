//! One seed, many independent streams.
//!
//! Everything in the world is drawn from ChaCha8 under the configured seed; every object (a person, a
//! block, a row, an applicant) has a stream of its own, so that any of them can be made alone, in any
//! order, and comes out the same.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Purpose {
    Layout = 1,
    Person = 2,
    Block = 3,
    Row = 4,
    RowNoise = 5,
    Applicant = 6,
    ApplicantNoise = 7,
    Shuffle = 8,
    BadRow = 9,
    Class = 10,
    CustomerNoise = 11,
    ListNoise = 12,
    Hearsay = 13,
    Part = 14,
    PartNoise = 15,
    Day = 16,
}

/// The source of every random number of one world.
#[derive(Clone, Debug)]
pub(crate) struct Seed(ChaCha8Rng);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The stream of object `index` (below 2⁵⁶) for `purpose`.
    pub(crate) fn stream(&self, purpose: Purpose, index: u64) -> ChaCha8Rng {
        debug_assert!(index < 1 << 56);
        let mut rng = self.0.clone();
        rng.set_stream(u64::from(purpose as u8) << 56 | index);
        rng
    }
}

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15;

/// A one-to-one map of `0..size` onto itself, `x ↦ a·x + b mod size`: it scatters without a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scatter {
    size: u64,
    factor: u64,
    offset: u64,
}

impl Scatter {
    /// Neighbours land about 0.618 of `size` apart, the golden ratio, so that no short cycle shows.
    pub(crate) fn new(size: u64, offset: u64) -> Self {
        let size = size.max(1);
        let mut factor = ((u128::from(size) * GOLDEN) >> 64) as u64;
        while greatest_common_divisor(factor, size) != 1 {
            factor += 1;
        }
        Self { size, factor, offset: offset % size }
    }

    pub(crate) fn map(self, index: u64) -> u64 {
        debug_assert!(index < self.size);
        let scattered = u128::from(index) * u128::from(self.factor) + u128::from(self.offset);
        (scattered % u128::from(self.size)) as u64
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn scattering_is_one_to_one() {
        for size in [1, 2, 10, 999, 40_000] {
            let scatter = Scatter::new(size, 12_345);
            let images: HashSet<u64> = (0..size).map(|index| scatter.map(index)).collect();
            assert_eq!(images.len() as u64, size);
            assert!(images.into_iter().all(|image| image < size));
        }
    }

    #[test]
    fn neighbours_land_everywhere() {
        let scatter = Scatter::new(3_000_000, 1);
        let hundredths: HashSet<u64> = (0..300).map(|index| scatter.map(index) / 30_000).collect();
        assert_eq!(hundredths.len(), 100);
    }
}
