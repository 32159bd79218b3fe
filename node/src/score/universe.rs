//! The list of number segments: a signed document, and the table from which it is made.

use std::path::Path;

use windvane_protocols::party::PartyId;
use windvane_protocols::score::universe::{Segment, Universe, UniverseError};

use crate::document::{Document, Kind, Published};
use crate::table::{TableError, TableOptions, TableReader};

/// The list with its publisher's signature and key.
pub type SignedUniverse = Document<Universe>;

impl Published for Universe {
    const KIND: &'static Kind = &Kind {
        what: "list of segments",
        label: "WINDVANE UNIVERSE",
        invalid: "SCORE_UNIVERSE_INVALID",
        fingerprint: "SCORE_FINGERPRINT",
    };
    /// Half a million segments of four bytes are 2 MB, and 2.8 MB as text.
    const MAX_BYTES: usize = 4 << 20;

    fn publisher(&self) -> &PartyId {
        self.publisher()
    }
}

/// Why a table is no list of segments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentsError {
    /// The table of segments cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A line is no segment.
    #[error("line {line}: {source}")]
    Segment {
        /// The line; the header is line 1.
        line: u64,
        /// What is wrong.
        source: UniverseError,
    },
    /// The segments are no universe.
    #[error(transparent)]
    Universe(#[from] UniverseError),
}

impl SegmentsError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::Segment { .. } | Self::Universe(_) => "SCORE_SEGMENTS_INVALID",
        }
    }
}

/// Reads the segments of one column of a table, CSV or Parquet, in any order; one that is there twice counts once.
///
/// # Errors
/// [`SegmentsError`], naming the line.
pub fn read_segments(path: &Path, column: &str) -> Result<Vec<Segment>, SegmentsError> {
    let mut table = TableReader::open(path, TableOptions::default())?.choose(&[column])?;
    let mut segments = Vec::new();
    while let Some(row) = table.next_row()? {
        let line = row.line();
        let segment = row.text(0).trim().parse();
        segments.push(segment.map_err(|source| SegmentsError::Segment { line, source })?);
    }
    segments.sort_unstable();
    segments.dedup();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_in_any_order_and_a_wrong_one_is_named_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments.csv");
        std::fs::write(&path, "segment,province\n1391234,51\n1380013,51\n1391234,51\n").unwrap();
        assert_eq!(
            read_segments(&path, "segment").unwrap(),
            ["1380013", "1391234"].map(|text| text.parse::<Segment>().unwrap())
        );
        std::fs::write(&path, "segment\n1391234\n139123\n").unwrap();
        let error = read_segments(&path, "segment").unwrap_err();
        assert!(error.to_string().starts_with("line 3: "), "{error}");
        assert_eq!(error.code(), "SCORE_SEGMENTS_INVALID");
    }
}
