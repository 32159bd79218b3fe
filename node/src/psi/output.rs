//! A job's result as a file: the matched rows of the receiver's table, with the sender's payload.

use std::path::Path;

use crate::table::{TableError, TableReader, TableWriter, copy_rows};

use super::partition::Duplicate;

/// Rows of a table, a bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    /// No row of a table with `rows` rows.
    pub fn new(rows: u64) -> Self {
        let words = usize::try_from(rows.div_ceil(64)).expect("a table has at most 2^30 rows");
        Self { words: vec![0; words] }
    }

    /// Adds a row; false when it was there.
    ///
    /// # Panics
    /// When the table has no such row.
    pub fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (&mut self.words[row as usize / 64], 1 << (row % 64));
        let added = *word & bit == 0;
        *word |= bit;
        added
    }

    /// How many rows are in it.
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether no row is in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(index as u64 * 64 + u64::from(bit))
            })
        })
    }
}

/// Cells that do not make a payload, or bytes that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
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
    let malformed = PayloadError::Malformed { expected: columns };
    let (mut cells, mut rest) = (Vec::with_capacity(columns), payload);
    while cells.len() < columns {
        let (length, after) = rest.split_first_chunk().ok_or(malformed)?;
        let length = u16::from_be_bytes(*length).into();
        let (cell, after) = after.split_at_checked(length).ok_or(malformed)?;
        std::str::from_utf8(cell).map_err(|_| PayloadError::Text)?;
        cells.push(cell);
        rest = after;
    }
    if rest.is_empty() { Ok(cells) } else { Err(malformed) }
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

    /// Adds a row's payload as the sender sent it.
    ///
    /// # Errors
    /// [`PayloadError::Malformed`] or [`PayloadError::Text`].
    pub fn push(&mut self, row: u32, payload: &[u8]) -> Result<(), PayloadError> {
        decode_payload(payload, self.columns)?;
        let length =
            u32::try_from(payload.len()).map_err(|_| PayloadError::Malformed { expected: self.columns })?;
        self.entries.push(Entry { row, length, from: self.bytes.len() as u64 });
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    /// Every row with its cells, ascending by row.
    pub fn sorted(&mut self) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
        self.entries.sort_unstable_by_key(|entry| entry.row);
        let bytes = &self.bytes;
        self.entries.iter().map(|entry| {
            let from = usize::try_from(entry.from).expect("it is a place in memory");
            let payload = &bytes[from..from + entry.length as usize];
            let cells = decode_payload(payload, self.columns).expect("it was decoded when it came");
            (entry.row.into(), cells)
        })
    }
}

/// Writes the chosen columns of the matched rows; gives how many there are.
///
/// # Errors
/// [`TableError`]; then nothing of the file is left.
pub fn write_matches(reader: &mut TableReader, rows: &RowSet, output: &Path) -> Result<u64, TableError> {
    let mut writer = TableWriter::create(output, &reader.chosen())?;
    let wanted = rows.iter().map(|row| Ok::<_, TableError>((row, [""; 0])));
    copy_rows(reader, wanted, &mut writer)?;
    writer.finish()
}

/// As [`write_matches`], with the payload's columns behind.
///
/// # Errors
/// [`TableError`], among them [`TableError::ColumnRepeated`] where a payload column has the name of a chosen
/// one; then nothing of the file is left.
pub fn write_matches_with_payload(
    reader: &mut TableReader,
    payloads: &mut RowPayloads,
    payload_columns: &[String],
    output: &Path,
) -> Result<u64, TableError> {
    let mut header: Vec<_> = reader.chosen().into_iter().map(str::to_owned).collect();
    header.extend_from_slice(payload_columns);
    let mut writer = TableWriter::create(output, &header)?;
    copy_rows(reader, payloads.sorted().map(Ok::<_, TableError>), &mut writer)?;
    writer.finish()
}

/// Writes the report of repeated rows: `row,first_row`, rows from 0.
///
/// # Errors
/// [`TableError`]; then nothing of the file is left.
pub fn write_duplicates(duplicates: &[Duplicate], output: &Path) -> Result<(), TableError> {
    let mut writer = TableWriter::create(output, &["row", "first_row"])?;
    for Duplicate { row, first } in duplicates {
        let cells = [row.to_string(), first.to_string()];
        writer.row(cells.iter().map(String::as_bytes))?;
    }
    writer.finish().map(|_| ())
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

    fn reader(dir: &Path, columns: &[&str]) -> TableReader {
        fs::write(dir.join("in.csv"), "phone,name\n1,a\n2,b\n3,c\n4,d\n").unwrap();
        TableReader::open(&dir.join("in.csv"), TableOptions::default()).unwrap().choose(columns).unwrap()
    }

    #[test]
    fn a_row_set_gives_its_rows_in_order_once() {
        let mut rows = RowSet::new(200);
        assert!(rows.is_empty());
        for row in [199, 0, 64, 63, 0, 128] {
            rows.insert(row);
        }
        assert!(!rows.insert(64) && rows.insert(1));
        assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 128, 199]);
        assert_eq!(rows.len(), 6);
    }

    #[test]
    fn a_payload_is_its_cells_or_refused() {
        let two = payload(&["", "号"]);
        assert_eq!(decode_payload(&two, 2).unwrap(), [b"".as_slice(), "号".as_bytes()]);
        for (bytes, columns) in [(&two[..], 1), (&two, 3), (&two[..two.len() - 1], 2), (&two[..1], 1)] {
            let error = decode_payload(bytes, columns).unwrap_err();
            assert_eq!(error, PayloadError::Malformed { expected: columns });
        }
        assert_eq!(decode_payload(&[0, 1, 0xFF], 1), Err(PayloadError::Text));
        let long = encode_payload([[0; 65_536].as_slice()], &mut Vec::new());
        assert_eq!(long, Err(PayloadError::CellTooLong { found: 65_536 }));
    }

    #[test]
    fn matched_rows_are_written_in_the_table_s_order_with_their_payloads() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.csv");
        let mut rows = RowSet::new(4);
        assert!(rows.insert(3) && rows.insert(0));
        assert_eq!(write_matches(&mut reader(dir.path(), &["name"]), &rows, &output).unwrap(), 2);
        assert_eq!(fs::read_to_string(&output).unwrap(), "name\na\nd\n");
        let mut payloads = RowPayloads::new(1);
        payloads.push(2, &payload(&["x,y"])).unwrap();
        payloads.push(1, &payload(&["z"])).unwrap();
        assert!(payloads.push(0, &[]).is_err());
        let mut table = reader(dir.path(), &["name", "phone"]);
        let columns = ["tag".to_owned()];
        assert_eq!(write_matches_with_payload(&mut table, &mut payloads, &columns, &output).unwrap(), 2);
        assert_eq!(fs::read_to_string(&output).unwrap(), "name,phone,tag\nb,2,z\nc,3,\"x,y\"\n");
        write_duplicates(&[Duplicate { row: 7, first: 2 }], &output).unwrap();
        assert_eq!(fs::read_to_string(&output).unwrap(), "row,first_row\n7,2\n");
    }
}
