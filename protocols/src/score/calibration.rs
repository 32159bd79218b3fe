//! From a sum of parts to a probability, and to bands: integers only, so that both sides compute the same.

use crate::limits::{MAX_CALIBRATION_KNOTS, MAX_PURPOSE_BYTES, MAX_SCORE_BANDS};
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// Probabilities are in millionths.
pub const ONE: u32 = 1_000_000;

/// A published, monotone mapping from sums to probabilities: linear between knots, flat outside of them.
///
/// A logistic or isotonic fit is published as its values at the knots, so that nobody evaluates an exponential
/// function and rounds it in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    knots: Vec<Knot>,
}

/// A sum and its probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knot {
    /// The sum of all parts, the bank's own included.
    pub sum: u16,
    /// The probability, in millionths.
    pub probability: u32,
}

/// Bands of a score, in ascending order: what a grant permits the bank to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bands(Vec<Band>);

/// One band: from a sum on, up to the next band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// Its name, a short code such as `high`.
    pub name: String,
    /// The smallest sum in it.
    pub from: u16,
}

/// Why a calibration or bands are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// No knot, or too many.
    #[error("a calibration has 1 to {MAX_CALIBRATION_KNOTS} knots, found {found}")]
    Knots {
        /// How many there are.
        found: usize,
    },
    /// Sums do not ascend, probabilities descend, or one is above 1.
    #[error("knot {index} of the calibration is not above the one before, or not a probability")]
    Order {
        /// The knot's index.
        index: usize,
    },
    /// No band, or too many.
    #[error("a score has 1 to {MAX_SCORE_BANDS} bands, found {found}")]
    Bands {
        /// How many there are.
        found: usize,
    },
    /// The first band does not begin at 0, sums do not ascend, or a name is empty, too long or there twice.
    #[error("band {index} does not follow the one before, or has no name of its own")]
    Band {
        /// The band's index.
        index: usize,
    },
}

impl Calibration {
    /// A calibration through some knots.
    ///
    /// # Errors
    /// [`CalibrationError::Knots`], [`CalibrationError::Order`].
    pub fn new(knots: Vec<Knot>) -> Result<Self, CalibrationError> {
        if !(1..=MAX_CALIBRATION_KNOTS).contains(&knots.len()) {
            return Err(CalibrationError::Knots { found: knots.len() });
        }
        let follows = |pair: &[Knot]| pair[0].sum < pair[1].sum && pair[0].probability <= pair[1].probability;
        let wrong = |i: &usize| knots[*i].probability > ONE || (*i > 0 && !follows(&knots[i - 1..=*i]));
        match (0..knots.len()).find(wrong) {
            Some(index) => Err(CalibrationError::Order { index }),
            None => Ok(Self { knots }),
        }
    }

    /// The knots, ascending.
    pub fn knots(&self) -> &[Knot] {
        &self.knots
    }

    /// The probability of a sum, in millionths, rounded down.
    pub fn probability(&self, sum: u16) -> u32 {
        let after = self.knots.partition_point(|knot| knot.sum <= sum);
        let Some(low) = after.checked_sub(1).map(|i| self.knots[i]) else { return self.knots[0].probability };
        let Some(high) = self.knots.get(after) else { return low.probability };
        let (run, along) = (u64::from(high.sum - low.sum), u64::from(sum - low.sum));
        let rise = u64::from(high.probability - low.probability);
        low.probability + (rise * along / run) as u32
    }

    /// What a model's record names.
    pub fn digest(&self) -> Hash {
        self.encode().digest()
    }
}

impl Bands {
    /// Bands in ascending order, the first from 0.
    ///
    /// # Errors
    /// [`CalibrationError::Bands`], [`CalibrationError::Band`].
    pub fn new(bands: Vec<Band>) -> Result<Self, CalibrationError> {
        if !(1..=MAX_SCORE_BANDS).contains(&bands.len()) {
            return Err(CalibrationError::Bands { found: bands.len() });
        }
        let wrong = |i: &usize| {
            let (band, earlier) = (&bands[*i], &bands[..*i]);
            let follows = earlier.last().map_or(band.from == 0, |last| last.from < band.from);
            let named = (1..=MAX_PURPOSE_BYTES).contains(&band.name.len());
            !follows || !named || earlier.iter().any(|other| other.name == band.name)
        };
        match (0..bands.len()).find(wrong) {
            Some(index) => Err(CalibrationError::Band { index }),
            None => Ok(Self(bands)),
        }
    }

    /// The bands, ascending.
    pub fn as_slice(&self) -> &[Band] {
        &self.0
    }

    /// The band of a sum.
    pub fn of(&self, sum: u16) -> &Band {
        let after = self.0.partition_point(|band| band.from <= sum);
        &self.0[after - 1]
    }
}

impl Record for Calibration {
    const DOMAIN: &'static str = "windvane/score-calibration/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let knot = |knot: &Knot| {
            let mut item = knot.sum.to_be_bytes().to_vec();
            item.extend_from_slice(&knot.probability.to_be_bytes());
            item
        };
        t.list("knot", self.knots.iter().map(knot))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "knot", expected: "ascending sums and probabilities" };
        let knot = |item: &[u8]| {
            let (sum, probability) = item.split_first_chunk()?;
            let probability = u32::from_be_bytes(probability.try_into().ok()?);
            Some(Knot { sum: u16::from_be_bytes(*sum), probability })
        };
        let knots: Option<_> = r.list("knot", MAX_CALIBRATION_KNOTS)?.into_iter().map(knot).collect();
        knots.and_then(|knots| Self::new(knots).ok()).ok_or(form)
    }
}

impl Record for Bands {
    const DOMAIN: &'static str = "windvane/score-bands/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let band = |band: &Band| [&band.from.to_be_bytes(), band.name.as_bytes()].concat();
        t.list("band", self.0.iter().map(band))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "band", expected: "ascending, named bands" };
        let band = |item: &[u8]| {
            let (from, name) = item.split_first_chunk()?;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            Some(Band { name, from: u16::from_be_bytes(*from) })
        };
        let bands: Option<_> = r.list("band", MAX_SCORE_BANDS)?.into_iter().map(band).collect();
        bands.and_then(|bands| Self::new(bands).ok()).ok_or(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knots(knots: &[(u16, u32)]) -> Result<Calibration, CalibrationError> {
        Calibration::new(knots.iter().map(|&(sum, probability)| Knot { sum, probability }).collect())
    }

    fn bands(bands: &[(&str, u16)]) -> Result<Bands, CalibrationError> {
        Bands::new(bands.iter().map(|&(name, from)| Band { name: name.to_owned(), from }).collect())
    }

    #[test]
    fn probabilities_are_linear_between_knots_flat_outside_and_rounded_down() {
        let calibration = knots(&[(10, 1_000), (13, 2_000), (100, ONE)]).unwrap();
        let found = [0, 10, 11, 12, 13, 100, 4_335].map(|sum| calibration.probability(sum));
        assert_eq!(found, [1_000, 1_000, 1_333, 1_666, 2_000, ONE, ONE]);
        let all: Vec<_> = (0..u16::MAX).map(|sum| calibration.probability(sum)).collect();
        assert!(all.is_sorted());
        assert_eq!(Calibration::decode(calibration.encode().as_bytes()), Ok(calibration));
    }

    #[test]
    fn knots_that_descend_repeat_or_exceed_one_are_refused() {
        assert_eq!(knots(&[]), Err(CalibrationError::Knots { found: 0 }));
        for wrong in [[(1, 5), (1, 6)], [(1, 5), (2, 4)], [(1, 5), (2, ONE + 1)]] {
            assert_eq!(knots(&wrong), Err(CalibrationError::Order { index: 1 }));
        }
    }

    #[test]
    fn a_sum_falls_into_the_last_band_that_begins_at_or_below_it() {
        let bands = bands(&[("low", 0), ("medium", 40), ("high", 90)]).unwrap();
        let names = [0, 39, 40, 89, 90, 4_095].map(|sum| bands.of(sum).name.as_str());
        assert_eq!(names, ["low", "low", "medium", "medium", "high", "high"]);
        assert_eq!(Bands::decode(bands.encode().as_bytes()), Ok(bands));
    }

    #[test]
    fn bands_are_few_named_once_and_begin_at_zero() {
        let many: Vec<_> = (0..17).map(|i| ("abcdefghijklmnopq".split_at(i).1, i as u16)).collect();
        assert_eq!(bands(&many), Err(CalibrationError::Bands { found: 17 }));
        assert!(bands(&many[..16]).is_ok());
        assert_eq!(bands(&[("low", 1)]), Err(CalibrationError::Band { index: 0 }));
        assert_eq!(bands(&[("low", 0), ("low", 5)]), Err(CalibrationError::Band { index: 1 }));
        assert_eq!(bands(&[("low", 0), ("high", 0)]), Err(CalibrationError::Band { index: 1 }));
        assert_eq!(bands(&[("", 0)]), Err(CalibrationError::Band { index: 0 }));
    }
}
