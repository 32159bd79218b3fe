//! How large a world is to be.

use crate::date::Date;

/// The size, seed and date of a world. Equal configurations give equal worlds, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Rows of each carrier's file.
    pub subscribers_per_carrier: usize,
    /// Rows of the bank's file.
    pub applicants: usize,
    /// Number segments of 10,000 numbers, over all carriers; held to 3–12. If more subscribers are asked
    /// for than these hold (about 38,000 a carrier in 12), as many more are used as are needed.
    pub segments: usize,
    /// The data date of the carriers' files; ages, tenures and limits count back from it.
    pub as_of: Date,
    /// Rows that an import must reject, over all carriers, in addition to the subscribers.
    pub bad_rows: usize,
}

impl WorldConfig {
    /// The most segments that may be asked for.
    pub const MAX_SEGMENTS: usize = 12;
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            subscribers_per_carrier: 20_000,
            applicants: 400,
            segments: Self::MAX_SEGMENTS,
            as_of: Date::new(2026, 11, 1).expect("the first of November exists"),
            bad_rows: 0,
        }
    }
}
