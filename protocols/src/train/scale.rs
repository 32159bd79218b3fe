//! From contributions to the 8-bit parts of the joint score: one scale for all parties, so that parts add up.

use std::collections::BTreeMap;

use super::tree::{Decision, Tree};
use crate::limits::{MAX_BINS, MAX_BLOCK_TREES, MAX_RESIDUAL};
use crate::limits::{MAX_LONE_PARTS, MAX_SCORE_PROVIDERS, MAX_TRAIN_BLOCKS};

/// The largest part.
const MOST: u64 = u8::MAX as u64;

/// The largest distance of a contribution from 0: every tree of a training adds at most a residual.
const MAX_CONTRIBUTION: u64 = MAX_TRAIN_BLOCKS as u64 * MAX_BLOCK_TREES as u64 * MAX_RESIDUAL as u64;

/// Between which values the contributions of a party's trees lie. It holds 0, which is that of a row that the party
/// does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    minimum: i64,
    maximum: i64,
}

/// By what a contribution is divided to become a part: a 255th of the widest party's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scale {
    widest: u64,
}

/// How one party's contributions become its parts: what the label holder tells a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    scale: Scale,
    span: Span,
    values: Values,
}

/// Bytes of a [`Scaling`].
pub const SCALING_BYTES: usize = 25;

/// How many values a party's parts may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Values {
    /// All 256.
    Fine,
    /// [`MAX_LONE_PARTS`] at most, evenly over the party's own span: for parts that stand alone in a sum, so that the
    /// sum tells them.
    Coarse,
}

/// Why spans are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleError {
    /// A span that does not hold 0, or reaches farther than any trees do.
    #[error("a span holds 0 and reaches at most {MAX_CONTRIBUTION} from it, found {minimum} to {maximum}")]
    Span {
        /// The smallest contribution.
        minimum: i64,
        /// The largest.
        maximum: i64,
    },
    /// A scale that is narrower than a party's span, or wider than any span.
    #[error(
        "a scale is at least 1 wide, at least as wide as every span and no wider than any can be, found {found}"
    )]
    Widest {
        /// How wide it is.
        found: u64,
    },
    /// No party, or too many: the label holder and its providers.
    #[error("a model has the parts of 1 to {} parties, found {found}", MAX_SCORE_PROVIDERS + 1)]
    Parties {
        /// How many there are.
        found: usize,
    },
}

impl Span {
    /// A span that somebody announced.
    ///
    /// # Errors
    /// [`ScaleError::Span`].
    pub fn new(minimum: i64, maximum: i64) -> Result<Self, ScaleError> {
        let far = minimum.unsigned_abs().max(maximum.unsigned_abs()) > MAX_CONTRIBUTION;
        if far || minimum > 0 || maximum < 0 {
            return Err(ScaleError::Span { minimum, maximum });
        }
        Ok(Self { minimum, maximum })
    }

    /// The span of some contributions.
    ///
    /// # Errors
    /// [`ScaleError::Span`].
    pub fn of(contributions: impl IntoIterator<Item = i64>) -> Result<Self, ScaleError> {
        let wider = |(low, high): (i64, i64), value: i64| (low.min(value), high.max(value));
        let (minimum, maximum) = contributions.into_iter().fold((0, 0), wider);
        Self::new(minimum, maximum)
    }

    /// Between which values the contributions of some trees lie: trees that ask for one and the same feature are added
    /// up by its bins, which is exact where trees have one split; of all others the extremes count.
    ///
    /// # Errors
    /// [`ScaleError::Span`].
    pub fn of_trees(trees: &[Tree]) -> Result<Self, ScaleError> {
        let mut by_feature = BTreeMap::<u16, Vec<&Tree>>::new();
        let (mut minimum, mut maximum) = (0, 0);
        for tree in trees {
            match tree.nodes() {
                [Decision::Split(split), ..] if tree.nodes().len() == 3 => {
                    by_feature.entry(split.feature).or_default().push(tree);
                }
                _ => {
                    minimum += tree.leaves().map(i64::from).min().unwrap_or(0);
                    maximum += tree.leaves().map(i64::from).max().unwrap_or(0);
                }
            }
        }
        for trees in by_feature.values() {
            let at = |bin| trees.iter().map(|tree| i64::from(tree.apply(|_| Some(bin)))).sum::<i64>();
            let sums: Vec<_> = (0..MAX_BINS as u8).map(at).collect();
            minimum += sums.iter().min().copied().unwrap_or(0);
            maximum += sums.iter().max().copied().unwrap_or(0);
        }
        Self::new(minimum.min(0), maximum.max(0))
    }

    /// The smallest contribution, 0 or below: what a part of 0 stands for. The sum over all parties is the offset
    /// between a sum of parts and a prediction.
    pub const fn minimum(self) -> i64 {
        self.minimum
    }

    /// The largest contribution, 0 or above.
    pub const fn maximum(self) -> i64 {
        self.maximum
    }

    const fn width(self) -> u64 {
        self.maximum.abs_diff(self.minimum)
    }
}

impl Scale {
    /// The scale of a model, from the spans of all its parties.
    ///
    /// # Errors
    /// [`ScaleError::Parties`].
    pub fn new(spans: &[Span]) -> Result<Self, ScaleError> {
        match spans.iter().map(|span| span.width()).max() {
            Some(widest) if spans.len() <= MAX_SCORE_PROVIDERS + 1 => Ok(Self { widest: widest.max(1) }),
            _ => Err(ScaleError::Parties { found: spans.len() }),
        }
    }

    /// The width of the widest span; a part is a 255th of it.
    pub const fn widest(self) -> u64 {
        self.widest
    }

    /// A contribution's part: (contribution − minimum) · 255 / widest, rounded to the nearest integer, halves up.
    /// Contributions outside of the span, of rows that it was not taken from, have the part of its end.
    ///
    /// Coarse, the contribution first becomes one of the fifteenths of its own span, by the same rounding.
    pub fn part(self, span: Span, values: Values, contribution: i64) -> u8 {
        let above = contribution.clamp(span.minimum, span.maximum).abs_diff(span.minimum);
        let above = match values {
            Values::Fine => above,
            Values::Coarse => rounded(step(above, span) * span.width(), MAX_LONE_PARTS as u64 - 1),
        };
        let part = rounded(above * MOST, self.widest).min(MOST);
        u8::try_from(part).expect("a part is at most 255")
    }

    /// What a sum of parts stands for, less the parties' minima: sum · widest / 255, rounded down.
    pub const fn contribution(self, sum: u16) -> u64 {
        sum as u64 * self.widest / MOST
    }
}

impl Scaling {
    /// A scale that somebody announced for a party with this span.
    ///
    /// # Errors
    /// [`ScaleError::Widest`].
    pub fn new(widest: u64, span: Span, values: Values) -> Result<Self, ScaleError> {
        if widest < span.width().max(1) || widest > 2 * MAX_CONTRIBUTION {
            return Err(ScaleError::Widest { found: widest });
        }
        Ok(Self { scale: Scale { widest }, span, values })
    }

    /// The common scale.
    pub const fn scale(self) -> Scale {
        self.scale
    }

    /// The party's span.
    pub const fn span(self) -> Span {
        self.span
    }

    /// How many values its parts may have.
    pub const fn values(self) -> Values {
        self.values
    }

    /// The same with few values.
    pub const fn coarse(self) -> Self {
        Self { values: Values::Coarse, ..self }
    }

    /// A contribution's part.
    pub fn part(self, contribution: i64) -> u8 {
        self.scale.part(self.span, self.values, contribution)
    }

    /// widest(8) ‖ minimum(8) ‖ maximum(8) ‖ 1 for few values.
    pub fn to_bytes(self) -> [u8; SCALING_BYTES] {
        let mut bytes = [0; SCALING_BYTES];
        bytes[..8].copy_from_slice(&self.scale.widest.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.span.minimum.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.span.maximum.to_be_bytes());
        bytes[24] = u8::from(self.values == Values::Coarse);
        bytes
    }

    /// The same back; `None` for bytes that no scaling has.
    pub fn from_bytes(bytes: [u8; SCALING_BYTES]) -> Option<Self> {
        let (numbers, [values]) = bytes.as_chunks::<8>() else { return None };
        let values = match values {
            0 => Values::Fine,
            1 => Values::Coarse,
            _ => return None,
        };
        let span = Span::new(i64::from_be_bytes(numbers[1]), i64::from_be_bytes(numbers[2])).ok()?;
        Self::new(u64::from_be_bytes(numbers[0]), span, values).ok()
    }
}

/// Which of the steps of a coarse span is nearest.
fn step(above: u64, span: Span) -> u64 {
    rounded(above * (MAX_LONE_PARTS as u64 - 1), span.width().max(1))
}

/// The nearest integer of a quotient, halves up. Dividends stay below 2^42.
fn rounded(dividend: u64, divisor: u64) -> u64 {
    (2 * dividend + divisor) / (2 * divisor)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tree::Split;
    use super::*;

    #[test]
    fn the_widest_party_fills_eight_bits_and_others_keep_the_scale() {
        let (wide, narrow) = (Span::of([-100, 300, 410]).unwrap(), Span::of([-51, 51]).unwrap());
        let scale = Scale::new(&[narrow, wide]).unwrap();
        assert_eq!(scale.widest(), 510);
        let parts = [-200, -100, -99, 0, 410, 500].map(|value| scale.part(wide, Values::Fine, value));
        assert_eq!(parts, [0, 0, 1, 50, 255, 255]);
        assert_eq!([-51, 0, 51].map(|value| scale.part(narrow, Values::Fine, value)), [0, 26, 51]);
        // A sum of parts is the sum of contributions, but for half a part for each party.
        for (a, b) in [(-100, -51), (7, 20), (410, 51)] {
            let sum =
                u16::from(scale.part(wide, Values::Fine, a)) + u16::from(scale.part(narrow, Values::Fine, b));
            let back = scale.contribution(sum) as i64 + wide.minimum() + narrow.minimum();
            assert!((back - a - b).abs() <= 2, "{back} for {}", a + b);
        }
    }

    #[test]
    fn coarse_parts_have_sixteen_values_at_most_and_keep_their_order() {
        let (span, wide) = (Span::new(-1_000, 3_000).unwrap(), Span::new(0, 9_000).unwrap());
        let scale = Scale::new(&[span, wide]).unwrap();
        let parts: Vec<_> = (-1_100..3_100).map(|value| scale.part(span, Values::Coarse, value)).collect();
        assert!(parts.is_sorted());
        assert_eq!(parts.iter().collect::<BTreeSet<_>>().len(), MAX_LONE_PARTS);
        assert_eq!((parts[0], parts[parts.len() - 1]), (0, scale.part(span, Values::Fine, 3_000)));
    }

    #[test]
    fn a_scaling_survives_its_bytes_and_one_that_cannot_be_is_none() {
        let span = Span::new(-51, 459).unwrap();
        for values in [Values::Fine, Values::Coarse] {
            let scaling = Scaling::new(510, span, values).unwrap();
            assert_eq!(Scaling::from_bytes(scaling.to_bytes()), Some(scaling));
            assert_eq!(scaling.part(459), 255);
            assert_eq!(scaling.coarse(), Scaling::new(510, span, Values::Coarse).unwrap());
        }
        for found in [0, 509, 2 * MAX_CONTRIBUTION + 1, u64::MAX] {
            assert_eq!(Scaling::new(found, span, Values::Fine), Err(ScaleError::Widest { found }));
        }
        let good = Scaling::new(510, span, Values::Fine).unwrap().to_bytes();
        for (at, byte) in [(24, 2), (7, 0), (8, 0), (16, 0x80)] {
            let mut wrong = good;
            wrong[at] = byte;
            assert_eq!(Scaling::from_bytes(wrong), None, "byte {at}");
        }
    }

    fn stump(feature: u16, bin: u8, left: i32, right: i32) -> Tree {
        let split = Decision::Split(Split { feature, bin });
        Tree::new(vec![split, Decision::Leaf(left), Decision::Leaf(right)]).unwrap()
    }

    #[test]
    fn a_scorecards_span_is_exact_and_of_other_trees_the_extremes_count() {
        // Of feature 0: bins 0 to 2 have -5 + 1, bins 3 and 4 have 7 + 1, bins above 7 - 4.
        let trees = [stump(0, 2, -5, 7), stump(0, 4, 1, -4), stump(3, 1, -2, 10)];
        assert_eq!(Span::of_trees(&trees), Span::new(-4 - 2, 8 + 10));
        let leaf = Tree::new(vec![Decision::Leaf(9)]).unwrap();
        assert_eq!(Span::of_trees(&[leaf]), Span::new(0, 9));
        assert_eq!(Span::of_trees(&[]), Span::new(0, 0));
    }

    #[test]
    fn a_party_without_trees_has_the_part_zero() {
        let none = Span::of([]).unwrap();
        let scale = Scale::new(&[none]).unwrap();
        assert_eq!([Values::Fine, Values::Coarse].map(|values| scale.part(none, values, 0)), [0, 0]);
    }

    #[test]
    fn spans_without_zero_too_wide_or_of_too_many_parties_are_refused() {
        let far = MAX_CONTRIBUTION as i64;
        for (minimum, maximum) in [(1, 2), (-2, -1), (-far - 1, 0), (0, i64::MAX), (i64::MIN, 0)] {
            assert_eq!(Span::new(minimum, maximum), Err(ScaleError::Span { minimum, maximum }));
        }
        let widest = Span::new(-far, far).unwrap();
        let scale = Scale::new(&[widest]).unwrap();
        assert_eq!([Values::Fine, Values::Coarse].map(|values| scale.part(widest, values, far)), [255, 255]);
        assert_eq!(Scale::new(&[]), Err(ScaleError::Parties { found: 0 }));
        assert_eq!(Scale::new(&[widest; 18]), Err(ScaleError::Parties { found: 18 }));
    }
}
