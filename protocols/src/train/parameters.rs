//! What all parties of a training agree on before it begins, and the two formulas that depend on nothing else.

use super::histogram::Cell;
use crate::limits::{
    MAX_BLOCK_TREES, MAX_CONTRIBUTION, MAX_LAMBDA, MAX_TRAIN_BLOCKS, MAX_TRAIN_ROWS, MAX_TREE_DEPTH,
};
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// The residual of a row with label 1 and prediction 0: residuals and leaves are integers in units of 1/1024.
pub const LABEL: i64 = 1_024;

/// Rates are in millionths.
pub const ONE: u32 = 1_000_000;

/// Bits behind the point of a [`Hyperparameters::score`].
const SCORE_BITS: u32 = 32;

/// The agreed numbers of a training. Checked: a value of this type is within its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hyperparameters(Numbers);

/// The numbers of [`Hyperparameters`], not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Blocks: how often the label holder and, after it, all other units take a turn.
    pub blocks: u16,
    /// Trees that a unit grows in one block.
    pub trees: u16,
    /// Splits on the way from the root to a leaf, at most; 1 gives a scorecard.
    pub depth: u8,
    /// The learning rate, in millionths.
    pub rate_micros: u32,
    /// Added to every count that divides, so that small nodes are trusted less.
    pub lambda: u32,
    /// Real rows that a split leaves on either side, at least.
    pub minimum_rows: u32,
    /// Listed rows, decoys among them, whose sum a unit shows, at least.
    pub minimum_count: u32,
}

/// Why hyperparameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// A number is outside of its limits.
    #[error("{name} is 1 to {most} (lambda from 0), found {found}")]
    Range {
        /// Which number.
        name: &'static str,
        /// What it is.
        found: u64,
        /// What it may be at most.
        most: u64,
    },
}

impl Hyperparameters {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ParametersError::Range`].
    pub fn new(numbers: Numbers) -> Result<Self, ParametersError> {
        let Numbers { blocks, trees, depth, rate_micros, lambda, minimum_rows, minimum_count } = numbers;
        let rows = MAX_TRAIN_ROWS as u64;
        for (name, found, least, most) in [
            ("blocks", u64::from(blocks), 1, MAX_TRAIN_BLOCKS.into()),
            ("trees", trees.into(), 1, MAX_BLOCK_TREES.into()),
            ("depth", depth.into(), 1, MAX_TREE_DEPTH.into()),
            ("rate_micros", rate_micros.into(), 1, ONE.into()),
            ("lambda", lambda.into(), 0, MAX_LAMBDA.into()),
            ("minimum_rows", minimum_rows.into(), 1, rows),
            ("minimum_count", minimum_count.into(), 1, rows),
        ] {
            if !(least..=most).contains(&found) {
                return Err(ParametersError::Range { name, found, most });
            }
        }
        Ok(Self(numbers))
    }

    /// How much of the squared residuals a node with this total takes away: floor(2^32 · sum² / (count + lambda)).
    ///
    /// The gain of a split is the score of its children less the score of the node. Rounding down never makes a
    /// gain of a split that has none: floor(a) + floor(b) <= floor(a + b). The sum's bound, 2^44, keeps it within
    /// 128 bits.
    pub(super) fn score(&self, total: Cell) -> u128 {
        let square = u128::from(total.sum.unsigned_abs()).pow(2);
        (square << SCORE_BITS).checked_div(self.divisor(total)).unwrap_or(0)
    }

    /// The largest distance of a leaf from 0, so that a block's trees add at most [`MAX_CONTRIBUTION`] to a row: one
    /// that could not be computed would tell which rows a leaf has.
    pub fn largest_leaf(&self) -> u32 {
        MAX_CONTRIBUTION.unsigned_abs() / u32::from(self.trees)
    }

    /// The leaf of a node with this total: rate · sum / (count + lambda), rounded to the nearest integer, halves
    /// away from zero, and at most [`Self::largest_leaf`] from 0. A node without real rows has the leaf 0.
    pub(super) fn leaf(&self, total: Cell) -> i32 {
        let (sum, rate) = (u128::from(total.sum.unsigned_abs()), u128::from(self.0.rate_micros));
        let divisor = u128::from(ONE) * self.divisor(total);
        let size = (2 * rate * sum + divisor).checked_div(2 * divisor).unwrap_or(0);
        let size = i32::try_from(size.min(self.largest_leaf().into())).expect("the largest leaf fits");
        if total.sum < 0 { -size } else { size }
    }

    fn divisor(&self, total: Cell) -> u128 {
        u128::from(total.count) + u128::from(self.0.lambda)
    }
}

impl std::ops::Deref for Hyperparameters {
    type Target = Numbers;

    fn deref(&self) -> &Numbers {
        &self.0
    }
}

impl Record for Hyperparameters {
    const DOMAIN: &'static str = "windvane/train-hyperparameters/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.u64("blocks", self.blocks.into())
            .u64("trees", self.trees.into())
            .u64("depth", self.depth.into())
            .u64("rate_micros", self.rate_micros.into())
            .u64("lambda", self.lambda.into())
            .u64("minimum_rows", self.minimum_rows.into())
            .u64("minimum_count", self.minimum_count.into())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let numbers = Numbers {
            blocks: r.number("blocks")?,
            trees: r.number("trees")?,
            depth: r.number("depth")?,
            rate_micros: r.number("rate_micros")?,
            lambda: r.number("lambda")?,
            minimum_rows: r.number("minimum_rows")?,
            minimum_count: r.number("minimum_count")?,
        };
        Self::new(numbers)
            .map_err(|_| TranscriptError::Form { label: "hyperparameters", expected: "within their limits" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Numbers = Numbers {
        blocks: 10,
        trees: 5,
        depth: 3,
        rate_micros: 100_000,
        lambda: 0,
        minimum_rows: 20,
        minimum_count: 50,
    };

    #[test]
    fn hyperparameters_survive_their_encoding_and_stay_within_limits() {
        let checked = Hyperparameters::new(NUMBERS).unwrap();
        assert_eq!(Hyperparameters::decode(checked.encode().as_bytes()), Ok(checked));
        for (name, wrong) in [
            ("blocks", Numbers { blocks: 0, ..NUMBERS }),
            ("blocks", Numbers { blocks: MAX_TRAIN_BLOCKS + 1, ..NUMBERS }),
            ("trees", Numbers { trees: 0, ..NUMBERS }),
            ("depth", Numbers { depth: 0, ..NUMBERS }),
            ("depth", Numbers { depth: MAX_TREE_DEPTH + 1, ..NUMBERS }),
            ("rate_micros", Numbers { rate_micros: ONE + 1, ..NUMBERS }),
            ("lambda", Numbers { lambda: u32::MAX, ..NUMBERS }),
            ("minimum_rows", Numbers { minimum_rows: 0, ..NUMBERS }),
            ("minimum_count", Numbers { minimum_count: 0, ..NUMBERS }),
        ] {
            let found = Hyperparameters::new(wrong);
            assert!(matches!(found, Err(ParametersError::Range { name: n, .. }) if n == name), "{found:?}");
            assert!(Hyperparameters::decode(Hyperparameters(wrong).encode().as_bytes()).is_err());
        }
    }

    #[test]
    fn leaves_round_halves_away_from_zero() {
        let half = Hyperparameters::new(Numbers { rate_micros: 500_000, lambda: 1, ..NUMBERS }).unwrap();
        let leaves = [-11, -10, -9, -5, 0, 4, 5, 9, 10, 11].map(|sum| half.leaf(Cell { sum, count: 4 }));
        assert_eq!(leaves, [-1, -1, -1, -1, 0, 0, 1, 1, 1, 1]);
        let none = Hyperparameters::new(NUMBERS).unwrap();
        assert_eq!(none.leaf(Cell { sum: 0, count: 0 }), 0);
        let most = Cell { sum: -(1 << 44), count: 1 << 24 };
        assert_eq!(none.score(most), 1 << 96);
        for (trees, largest) in [(1, MAX_CONTRIBUTION), (5, MAX_CONTRIBUTION / 5)] {
            let whole = Hyperparameters::new(Numbers { rate_micros: ONE, trees, ..NUMBERS }).unwrap();
            assert_eq!(whole.leaf(most), -largest);
            assert_eq!(whole.leaf(Cell { sum: i64::from(largest), count: 1 }), largest);
        }
    }
}
