//! The universe: the public, dense list of numbers that a table has rows for.
//!
//! It is a list of number segments, each the first seven digits of 10,000 mainland mobile numbers. A number's
//! row is its position, so that a table's length and order tell nothing of who is whose customer.

use std::fmt;
use std::str::FromStr;

use crate::identity::Phone;
use crate::limits::MAX_SEGMENTS;
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// Numbers of a segment: four digits.
pub const NUMBERS_PER_SEGMENT: usize = 10_000;

const SEGMENT_DIGITS: usize = 7;

/// The first seven digits of a mainland mobile number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(u32);

/// Why segments are no universe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UniverseError {
    /// Not seven digits beginning with 1.
    #[error("a number segment has {SEGMENT_DIGITS} digits and begins with 1")]
    Segment,
    /// No segment, or too many.
    #[error("a universe has 1 to {MAX_SEGMENTS} segments, found {found}")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A segment is not larger than the one before.
    #[error("segment {index} of the universe is not larger than the one before")]
    Order {
        /// Its index.
        index: usize,
    },
}

/// The numbers that every table of a scoring group has a row for. Clones are deep; share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Universe {
    publisher: PartyId,
    version: u64,
    segments: Vec<Segment>,
    /// Every call compares it; it is hashed once.
    digest: Hash,
}

impl Universe {
    /// The universe of some segments, which must ascend.
    ///
    /// # Errors
    /// [`UniverseError`].
    pub fn new(publisher: PartyId, version: u64, segments: Vec<Segment>) -> Result<Self, UniverseError> {
        if !(1..=MAX_SEGMENTS).contains(&segments.len()) {
            return Err(UniverseError::Length { found: segments.len() });
        }
        if let Some(index) = segments.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(UniverseError::Order { index: index + 1 });
        }
        let mut universe = Self { publisher, version, segments, digest: [0; 64] };
        universe.digest = universe.encode().digest();
        Ok(universe)
    }

    /// Who publishes and signs the list.
    pub const fn publisher(&self) -> &PartyId {
        &self.publisher
    }

    /// The publisher's version of the list.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The segments, ascending.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Rows of a table.
    pub fn rows(&self) -> u64 {
        (self.segments.len() * NUMBERS_PER_SEGMENT) as u64
    }

    /// A number's row; `None` when it is in none of the segments.
    pub fn position(&self, phone: &Phone) -> Option<u64> {
        let (segment, rest) = phone.as_str().strip_prefix("+86")?.split_at_checked(SEGMENT_DIGITS)?;
        let index = self.segments.binary_search(&segment.parse().ok()?).ok()?;
        let within: usize = rest.parse().ok().filter(|within| *within < NUMBERS_PER_SEGMENT)?;
        Some((index * NUMBERS_PER_SEGMENT + within) as u64)
    }

    /// Digest of the encoding, without any signature: what a setup binds.
    pub const fn digest(&self) -> &Hash {
        &self.digest
    }
}

impl fmt::Debug for Universe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Universe({} version {}, {} segments)", self.publisher, self.version, self.segments.len())
    }
}

impl Record for Universe {
    const DOMAIN: &'static str = "windvane/score-universe/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let segments: Vec<_> = self.segments.iter().map(|segment| segment.0.to_be_bytes()).collect();
        t.text("publisher", self.publisher.as_str())
            .u64("version", self.version)
            .bytes("segments", segments.as_flattened())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "segments", expected: "ascending number segments" };
        let (publisher, version) = (r.parse("publisher")?, r.u64("version")?);
        let (segments, []) = r.bytes("segments")?.as_chunks() else { return Err(form) };
        if segments.len() > MAX_SEGMENTS {
            return Err(form);
        }
        let segment = |bytes: &[u8; 4]| Segment::try_from(u32::from_be_bytes(*bytes));
        let segments = segments.iter().map(segment).collect::<Result<_, _>>();
        segments.and_then(|segments| Self::new(publisher, version, segments)).map_err(|_| form)
    }
}

impl TryFrom<u32> for Segment {
    type Error = UniverseError;

    fn try_from(digits: u32) -> Result<Self, UniverseError> {
        if (1_000_000..2_000_000).contains(&digits) { Ok(Self(digits)) } else { Err(UniverseError::Segment) }
    }
}

impl FromStr for Segment {
    type Err = UniverseError;

    fn from_str(text: &str) -> Result<Self, UniverseError> {
        if text.len() != SEGMENT_DIGITS || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UniverseError::Segment);
        }
        text.parse::<u32>().map_err(|_| UniverseError::Segment)?.try_into()
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:07}", self.0)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn universe(segments: &[&str]) -> Result<Universe, UniverseError> {
        let segments = segments.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Universe::new("bank".parse().unwrap(), 3, segments)
    }

    #[test]
    fn a_numbers_row_is_its_segments_index_and_its_last_four_digits() {
        let universe = universe(&["1380013", "1391234", "1990000"]).unwrap();
        let position = |number: &str| universe.position(&Phone::parse(number).unwrap());
        assert_eq!(position("138 0013 8000"), Some(8_000));
        assert_eq!(position("13912340000"), Some(10_000));
        assert_eq!(position("19900009999"), Some(29_999));
        assert_eq!(position("13800148000"), None);
        assert_eq!(position("+852 2345 6789"), None);
        assert_eq!(universe.rows(), 30_000);
    }

    #[test]
    fn segments_ascend_and_are_seven_digits() {
        assert_eq!(universe(&[]).err(), Some(UniverseError::Length { found: 0 }));
        assert_eq!(universe(&["1380013", "1380012"]).err(), Some(UniverseError::Order { index: 1 }));
        assert_eq!(universe(&["1380013", "1380013"]).err(), Some(UniverseError::Order { index: 1 }));
        for text in ["138001", "13800133", "2380013", "138001x", "+380013", ""] {
            assert_eq!(text.parse::<Segment>(), Err(UniverseError::Segment), "{text}");
        }
    }

    #[test]
    fn a_universe_survives_its_encoding_and_another_has_another_digest() {
        let (one, two) = (universe(&["1380013"]).unwrap(), universe(&["1380013", "1380014"]).unwrap());
        assert_eq!(Universe::decode(one.encode().as_bytes()), Ok(one.clone()));
        assert_ne!(one.digest(), two.digest());
        let mut unsorted = two.encode().into_bytes();
        let last = unsorted.len() - 4;
        unsorted[last..].copy_from_slice(&1_380_013_u32.to_be_bytes());
        assert!(Universe::decode(&unsorted).is_err());
    }
}
