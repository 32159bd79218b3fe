//! A provider's parts: one byte for every number of the universe, from a file of numbers and parts.
//!
//! **Promised**: memory is one byte and one bit a number of the universe; parts are wiped when they are dropped
//! and reach the disk sealed only; every refused line stands in a reject file with its line, field and rule,
//! never its value; a file that contradicts itself gives nothing. **Not promised**: that the table reader's
//! buffers are wiped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane_keys::files::FileError;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::{IdentityError, Phone};
use windvane_protocols::score::table::parts::PartTally;
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Universe};
use windvane_protocols::transcript::Hash;
use zeroize::Zeroizing;

use crate::dataset::rejects::{Reject, RejectFile};
use crate::dataset::{Position, Progress};
use crate::table::{Row, TableError, TableOptions, TableReader};

mod sealed;

/// The rule of a line that gives a number another part than a line before it.
const CONFLICT: &str = "PART_CONFLICT";

/// The rule of a line whose number is in no segment of the universe.
const OUTSIDE: &str = "OUTSIDE_UNIVERSE";

/// Lines between two reports of progress.
const REPORT_ROWS: u64 = 1 << 16;

/// A file of numbers and parts, CSV or Parquet.
#[derive(Debug, Clone, Copy)]
pub struct PartsFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// The column of telephone numbers.
    pub number_column: &'a str,
    /// The column of parts, whole numbers from 0 to 255.
    pub part_column: &'a str,
    /// The part of every number that the file does not have.
    pub default: u8,
    /// Where refused lines are listed; a file that stands there is replaced.
    pub rejects: &'a Path,
}

impl PartsFile<'_> {
    /// The column of numbers unless another is named.
    pub const NUMBER_COLUMN: &'static str = "number";

    /// The column of parts unless another is named.
    pub const PART_COLUMN: &'static str = "part";
}

/// Parts of every position of a universe. They are wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct DenseParts {
    universe: Hash,
    default: u8,
    parts: Zeroizing<Vec<u8>>,
}

/// What a file of parts had; nothing of it tells a number or a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartsReport {
    /// Lines below the header.
    pub rows: u64,
    /// Numbers that have their part from the file.
    pub used: u64,
    /// Lines that say the same as one before.
    pub duplicate: u64,
    /// Lines whose number is in no segment of the universe.
    pub outside: u64,
    /// Lines that were refused for another reason.
    pub rejected: u64,
    /// Refused lines by rule.
    pub rejected_by_rule: BTreeMap<&'static str, u64>,
    /// How many values parts have, the default among them.
    pub distinct: usize,
}

/// Why there are no parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of parts cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Lines give one number different parts.
    #[error(
        "{found} lines give a number another part than a line before; read {rejects}",
        rejects = rejects.display()
    )]
    Conflict {
        /// Such lines.
        found: u64,
        /// The reject file.
        rejects: PathBuf,
    },
    /// No line could be used.
    #[error("none of {found} lines could be used; read {rejects}", rejects = rejects.display())]
    NoRows {
        /// Lines of the file.
        found: u64,
        /// The reject file.
        rejects: PathBuf,
    },
    /// The parts are of another universe.
    #[error(
        "{path} has parts of {found} numbers, expected {expected}; import them for this group's universe"
    )]
    Universe {
        /// The file.
        path: PathBuf,
        /// Numbers that it has parts of.
        found: u64,
        /// Numbers of the universe.
        expected: u64,
    },
    /// The parts were sealed under another storage key.
    #[error("{path} was sealed under another storage key; import the parts again")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The sealed parts were changed, damaged or cut off.
    #[error("{path} is damaged in {place}; import the parts again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        place: String,
    },
}

impl PartsError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Conflict { .. } => CONFLICT,
            Self::NoRows { .. } => "NO_ROWS",
            Self::Universe { .. } => "PARTS_UNIVERSE",
            Self::Key { .. } => "PARTS_KEY",
            Self::Damaged { .. } => "PARTS_DAMAGED",
        }
    }
}

impl DenseParts {
    /// The default everywhere.
    pub fn uniform(universe: &Universe, default: u8) -> Self {
        let parts = Zeroizing::new(vec![default; universe.segments().len() * NUMBERS_PER_SEGMENT]);
        Self { universe: *universe.digest(), default, parts }
    }

    /// Parts of some positions, and the default everywhere else; positions beyond the universe are left out.
    pub fn of(universe: &Universe, default: u8, parts: impl IntoIterator<Item = (u64, u8)>) -> Self {
        let mut dense = Self::uniform(universe, default);
        for (position, part) in parts {
            if let Some(place) = dense.parts.get_mut(position as usize) {
                *place = part;
            }
        }
        dense
    }

    /// Reads a file of numbers and parts. The reject file is written in any case.
    ///
    /// A file with a header only gives the default everywhere; one whose lines are all refused gives an error,
    /// because its columns are hardly what they should be.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn import(
        file: &PartsFile<'_>,
        universe: &Universe,
        progress: &dyn Progress,
    ) -> Result<(Self, PartsReport), PartsError> {
        let options = TableOptions { ragged: true, ..TableOptions::default() };
        let columns = [file.number_column, file.part_column];
        let mut reader = TableReader::open(file.path, options)?.choose(&columns)?;
        let mut filler = Filler::begin(file, universe)?;
        while reader.advance()? {
            filler.take(&reader.row())?;
            if filler.report.rows.is_multiple_of(REPORT_ROWS) {
                let (done, total) = reader.progress();
                progress.at(Position { rows: filler.report.rows, done, total });
            }
        }
        filler.finish(file)
    }

    /// Digest of the universe whose positions these are.
    pub const fn universe(&self) -> &Hash {
        &self.universe
    }

    /// The part of numbers of which the provider knows nothing.
    pub const fn default_part(&self) -> u8 {
        self.default
    }

    /// How many positions there are.
    pub fn rows(&self) -> u64 {
        self.parts.len() as u64
    }

    /// A part for every position.
    pub fn as_slice(&self) -> &[u8] {
        &self.parts
    }

    /// Which values there are.
    pub fn tally(&self) -> PartTally {
        let mut tally = PartTally::new(self.default);
        tally.observe(&self.parts);
        tally
    }

    /// Writes the parts sealed, whole or not at all; a file that stands there is replaced.
    ///
    /// # Errors
    /// [`PartsError::File`].
    pub fn store(&self, path: &Path, key: &StorageKey) -> Result<(), PartsError> {
        Ok(sealed::write(self, path, key, &mut rand::rng())?)
    }

    /// Reads what [`Self::store`] wrote, of a universe with so many `rows`.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn open(path: &Path, key: &StorageKey, rows: u64) -> Result<Self, PartsError> {
        sealed::read(path, key, rows)
    }
}

impl fmt::Debug for DenseParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DenseParts({} rows)", self.parts.len())
    }
}

/// Parts on their way from a file.
struct Filler<'a> {
    universe: &'a Universe,
    parts: DenseParts,
    /// A bit for every position that a line had.
    seen: Zeroizing<Vec<u64>>,
    rejects: RejectFile,
    report: PartsReport,
}

/// The field and the rule by which a line is refused.
type Refused = (&'static str, &'static str);

impl<'a> Filler<'a> {
    fn begin(file: &PartsFile<'_>, universe: &'a Universe) -> Result<Self, FileError> {
        let parts = DenseParts::uniform(universe, file.default);
        let report = PartsReport {
            rows: 0,
            used: 0,
            duplicate: 0,
            outside: 0,
            rejected: 0,
            rejected_by_rule: BTreeMap::new(),
            distinct: 1,
        };
        let seen = Zeroizing::new(vec![0; parts.parts.len().div_ceil(64)]);
        Ok(Self { universe, parts, seen, rejects: RejectFile::create(file.rejects)?, report })
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), FileError> {
        self.report.rows += 1;
        match self.place(row) {
            Ok(()) => Ok(()),
            Err((field, rule)) => {
                match rule {
                    OUTSIDE => self.report.outside += 1,
                    _ => self.report.rejected += 1,
                }
                *self.report.rejected_by_rule.entry(rule).or_default() += 1;
                self.rejects.add(&Reject { line: row.line(), field: field.to_owned(), rule })
            }
        }
    }

    fn place(&mut self, row: &Row<'_>) -> Result<(), Refused> {
        if row.width() != 2 {
            return Err(("row", "ROW_LENGTH"));
        }
        let phone =
            Phone::parse(row.text(0)).map_err(|error: IdentityError| (error.field(), error.rule()))?;
        let part = part(row.text(1))?;
        let position = self.universe.position(&phone).ok_or(("phone", OUTSIDE))? as usize;
        let (word, bit) = (position / 64, 1 << (position % 64));
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.parts.parts[position] = part;
            self.report.used += 1;
        } else if self.parts.parts[position] == part {
            self.report.duplicate += 1;
        } else {
            return Err(("part", CONFLICT));
        }
        Ok(())
    }

    fn finish(mut self, file: &PartsFile<'_>) -> Result<(DenseParts, PartsReport), PartsError> {
        self.rejects.finish()?;
        let rejects = file.rejects.to_owned();
        if let Some(&found) = self.report.rejected_by_rule.get(CONFLICT) {
            return Err(PartsError::Conflict { found, rejects });
        }
        if self.report.rows > 0 && self.report.used == 0 {
            return Err(PartsError::NoRows { found: self.report.rows, rejects });
        }
        self.report.distinct = self.parts.tally().distinct();
        Ok((self.parts, self.report))
    }
}

fn part(text: &str) -> Result<u8, Refused> {
    let text = text.trim();
    if text.is_empty() {
        return Err(("part", "PART_EMPTY"));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(("part", "PART_INVALID"));
    }
    text.parse().map_err(|_| ("part", "PART_RANGE"))
}

#[cfg(test)]
mod tests;
