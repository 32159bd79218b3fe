//! What a provider's parts may be.
//!
//! Where only one provider knows a number, the sum is its part, whatever the cryptography. Such a provider says
//! so, and its parts then have few values: they are bands that its grant permits to be seen.

use crate::limits::MAX_LONE_PARTS;
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// Who else holds parts for the numbers for which a provider does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coverage {
    /// For some numbers, nobody: there the sum is this provider's part.
    Alone,
    /// For every number, at least one other provider.
    Overlapped,
}

/// What a table's parts are like, as its manifest declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartTerms {
    /// The part of numbers of which the provider knows nothing.
    pub default: u8,
    /// How many values parts have, the default among them.
    pub distinct: u16,
    /// Who else holds parts.
    pub coverage: Coverage,
    /// Of 1,000 numbers for which the provider holds a part other than the default, how many another one does
    /// too; as the parties estimate it.
    pub overlap_permille: u16,
}

/// Why parts must not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// Too many values where the sum can be the part.
    #[error("parts that nobody else overlaps have at most {MAX_LONE_PARTS} values, found {found}")]
    Values {
        /// How many values there are.
        found: usize,
    },
    /// The overlap contradicts the coverage, or is no share of 1,000.
    #[error("an overlap of {found} in 1,000 does not suit the declared coverage")]
    Overlap {
        /// What is declared.
        found: u16,
    },
    /// No value, or more than a byte has.
    #[error("parts have 1 to 256 values, found {found}")]
    Count {
        /// How many values are declared.
        found: u16,
    },
}

/// Counts the values of parts while a table is made.
#[derive(Clone)]
pub struct PartTally {
    default: u8,
    seen: [bool; 256],
}

impl PartTally {
    /// Before the first part. The default counts as seen.
    pub fn new(default: u8) -> Self {
        let mut seen = [false; 256];
        seen[usize::from(default)] = true;
        Self { default, seen }
    }

    /// Takes in some parts.
    pub fn observe(&mut self, parts: &[u8]) {
        parts.iter().for_each(|part| self.seen[usize::from(*part)] = true);
    }

    /// How many values there are.
    pub fn distinct(&self) -> usize {
        self.seen.iter().filter(|seen| **seen).count()
    }

    /// What the manifest declares.
    ///
    /// # Errors
    /// [`PartsError`] when these parts must not be published.
    pub fn declare(&self, coverage: Coverage, overlap_permille: u16) -> Result<PartTerms, PartsError> {
        let distinct = self.distinct() as u16;
        PartTerms { default: self.default, distinct, coverage, overlap_permille }.check()
    }
}

impl std::fmt::Debug for PartTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PartTally({} values)", self.distinct())
    }
}

impl PartTerms {
    /// Whether such parts may be published.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn check(self) -> Result<Self, PartsError> {
        let (distinct, overlap) = (usize::from(self.distinct), self.overlap_permille);
        if !(1..=256).contains(&distinct) {
            return Err(PartsError::Count { found: self.distinct });
        }
        if overlap > 1_000 || (self.coverage == Coverage::Overlapped && overlap < 1_000) {
            return Err(PartsError::Overlap { found: overlap });
        }
        if self.coverage == Coverage::Alone && distinct > MAX_LONE_PARTS {
            return Err(PartsError::Values { found: distinct });
        }
        Ok(self)
    }
}

impl Record for PartTerms {
    const DOMAIN: &'static str = "windvane/score-parts/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let alone = u64::from(self.coverage == Coverage::Alone);
        t.u64("default", self.default.into())
            .u64("distinct", self.distinct.into())
            .u64("alone", alone)
            .u64("overlap", self.overlap_permille.into())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |label, expected| TranscriptError::Form { label, expected };
        let (default, distinct) = (r.number("default")?, r.number("distinct")?);
        let coverage = match r.u64("alone")? {
            0 => Coverage::Overlapped,
            1 => Coverage::Alone,
            _ => return Err(form("alone", "0 or 1")),
        };
        let terms = Self { default, distinct, coverage, overlap_permille: r.number("overlap")? };
        terms.check().map_err(|_| form("overlap", "parts that may be published"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_provider_has_at_most_sixteen_values_the_default_included() {
        let mut tally = PartTally::new(0);
        tally.observe(&(1..=15).collect::<Vec<_>>());
        assert_eq!(tally.declare(Coverage::Alone, 300).map(|terms| terms.distinct), Ok(16));
        tally.observe(&[15, 200]);
        assert_eq!(tally.declare(Coverage::Alone, 300), Err(PartsError::Values { found: 17 }));
        tally.observe(&(0..=255).collect::<Vec<_>>());
        assert_eq!(tally.declare(Coverage::Overlapped, 1_000).map(|terms| terms.distinct), Ok(256));
    }

    #[test]
    fn a_gap_in_the_overlap_is_not_called_overlapped() {
        let tally = PartTally::new(9);
        assert_eq!(tally.declare(Coverage::Overlapped, 999), Err(PartsError::Overlap { found: 999 }));
        assert_eq!(tally.declare(Coverage::Alone, 1_001), Err(PartsError::Overlap { found: 1_001 }));
        let terms = tally.declare(Coverage::Alone, 0).unwrap();
        assert_eq!(PartTerms::decode(terms.encode().as_bytes()), Ok(terms));
    }
}
