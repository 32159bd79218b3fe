//! What travels with a matched row: cells of the sender's table.

use crate::table::{TableError, TableReader};

/// Cells that do not make a payload, or bytes that are none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A cell is longer than its length can say.
    #[error("a payload cell has {found} bytes, expected at most 65535")]
    CellTooLong {
        /// Its bytes.
        found: usize,
    },
    /// The bytes do not hold as many cells as there are payload columns, and nothing else.
    #[error("a payload does not hold {expected} cells")]
    Malformed {
        /// The payload columns.
        expected: usize,
    },
    /// A cell is no UTF-8.
    #[error("a payload cell is no UTF-8")]
    Text,
}

impl PayloadError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::CellTooLong { .. } => "PAYLOAD_TOO_LONG",
            Self::Malformed { .. } => "PAYLOAD_MALFORMED",
            Self::Text => "PAYLOAD_ENCODING",
        }
    }
}

/// Appends cells as a payload: each behind its length in 16 bits, big-endian.
///
/// # Errors
/// [`PayloadError::CellTooLong`].
pub fn encode_payload<'a>(
    cells: impl IntoIterator<Item = &'a [u8]>,
    into: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    for cell in cells {
        let found = cell.len();
        let length = u16::try_from(found).map_err(|_| PayloadError::CellTooLong { found })?;
        into.extend_from_slice(&length.to_be_bytes());
        into.extend_from_slice(cell);
    }
    Ok(())
}

/// The cells of a payload that a peer sent.
///
/// # Errors
/// [`PayloadError::Malformed`] or [`PayloadError::Text`].
pub fn decode_payload(payload: &[u8], columns: usize) -> Result<Vec<&[u8]>, PayloadError> {
    let malformed = || PayloadError::Malformed { expected: columns };
    let (mut cells, mut rest) = (Vec::with_capacity(columns), payload);
    while cells.len() < columns {
        let (length, after) = rest.split_first_chunk().ok_or_else(malformed)?;
        let length = u16::from_be_bytes(*length).into();
        let (cell, after) = after.split_at_checked(length).ok_or_else(malformed)?;
        std::str::from_utf8(cell).map_err(|_| PayloadError::Text)?;
        cells.push(cell);
        rest = after;
    }
    if rest.is_empty() { Ok(cells) } else { Err(malformed()) }
}

/// Payloads by row, in memory: 16 bytes a row and the payload's own.
#[derive(Clone)]
pub struct RowPayloads {
    columns: usize,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A row's payload in `bytes`.
#[derive(Clone, Copy)]
struct Entry {
    row: u32,
    length: u32,
    from: u64,
}

impl std::fmt::Debug for RowPayloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowPayloads").field("rows", &self.entries.len()).finish_non_exhaustive()
    }
}

impl RowPayloads {
    /// None yet, of `columns` cells each.
    pub const fn new(columns: usize) -> Self {
        Self { columns, bytes: Vec::new(), entries: Vec::new() }
    }

    /// The chosen columns of every row of a table, to its end; a ragged row has no payload.
    ///
    /// # Errors
    /// [`PayloadError::CellTooLong`], or [`PayloadError::Table`] where the table cannot be read.
    pub fn read(reader: &mut TableReader) -> Result<Self, PayloadError> {
        let mut payloads = Self::new(reader.chosen().len());
        while reader.advance()? {
            let (row, from) = (reader.row(), payloads.bytes.len());
            if row.width() == payloads.columns {
                encode_payload(row.cells(), &mut payloads.bytes)?;
                payloads.enter(row.number() as u32, from);
            }
        }
        Ok(payloads)
    }

    /// Adds a row's payload as the sender sent it.
    ///
    /// # Errors
    /// [`PayloadError::Malformed`] or [`PayloadError::Text`].
    pub fn push(&mut self, row: u32, payload: &[u8]) -> Result<(), PayloadError> {
        decode_payload(payload, self.columns)?;
        let from = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.enter(row, from);
        Ok(())
    }

    /// Enters what stands behind `from` as a row's payload.
    fn enter(&mut self, row: u32, from: usize) {
        let length = u32::try_from(self.bytes.len() - from).expect("payloads are far below 4 GiB");
        self.entries.push(Entry { row, length, from: from as u64 });
    }

    /// The longest payload in bytes.
    pub fn longest(&self) -> usize {
        self.entries.iter().map(|entry| entry.length as usize).max().unwrap_or(0)
    }

    /// A row's payload; rows must have been added in ascending order.
    pub fn payload(&self, row: u32) -> Option<&[u8]> {
        // Its own place, unless rows before it have none.
        let near = self.entries.get(row as usize).filter(|entry| entry.row == row);
        let search = || {
            let place = self.entries.binary_search_by_key(&row, |entry| entry.row).ok()?;
            self.entries.get(place)
        };
        near.or_else(search).map(|entry| self.bytes_of(entry))
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        let from = usize::try_from(entry.from).expect("it is a place in memory");
        &self.bytes[from..from + entry.length as usize]
    }

    /// Every row with its cells, ascending by row.
    pub fn sorted(&mut self) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
        self.entries.sort_unstable_by_key(|entry| entry.row);
        let all = &*self;
        all.entries.iter().map(|entry| {
            let cells = decode_payload(all.bytes_of(entry), all.columns);
            (entry.row.into(), cells.expect("it was decoded or encoded when it came"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::table::TableOptions;

    fn payload(cells: &[&str]) -> Vec<u8> {
        let mut payload = Vec::new();
        encode_payload(cells.iter().map(|cell| cell.as_bytes()), &mut payload).unwrap();
        payload
    }

    #[test]
    fn a_payload_is_its_cells_or_refused() {
        let two = payload(&["", "号"]);
        assert_eq!(decode_payload(&two, 2).unwrap(), [b"".as_slice(), "号".as_bytes()]);
        for (bytes, columns) in [(&two[..], 1), (&two, 3), (&two[..two.len() - 1], 2), (&two[..1], 1)] {
            let error = decode_payload(bytes, columns).unwrap_err();
            assert!(matches!(error, PayloadError::Malformed { expected } if expected == columns), "{error}");
        }
        assert!(matches!(decode_payload(&[0, 1, 0xFF], 1), Err(PayloadError::Text)));
        let long = encode_payload([[0; 65_536].as_slice()], &mut Vec::new());
        assert!(matches!(long, Err(PayloadError::CellTooLong { found: 65_536 })));
    }

    #[test]
    fn the_payload_of_every_row_that_has_one_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.csv");
        fs::write(&path, "a,b,c\n1,x,y\n2\n3,,号\n4,z,z\n").unwrap();
        let options = TableOptions { ragged: true, ..TableOptions::default() };
        let mut reader = TableReader::open(&path, options).unwrap().choose(&["c", "b"]).unwrap();
        let payloads = RowPayloads::read(&mut reader).unwrap();
        let expected =
            [Some(payload(&["y", "x"])), None, Some(payload(&["号", ""])), Some(payload(&["z", "z"])), None];
        for (row, expected) in (0..).zip(expected) {
            assert_eq!(payloads.payload(row), expected.as_deref(), "{row}");
        }
        assert_eq!(payloads.longest(), 2 + 3 + 2);
    }
}
