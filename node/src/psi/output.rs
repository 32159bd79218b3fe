//! A job's result as a file: the matched rows of the receiver's table, with the sender's payload.

use std::path::Path;

use crate::table::{TableError, TableReader, TableWriter, copy_rows};

use super::partition::Duplicate;
use super::payload::RowPayloads;

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

/// Writes the chosen columns of the matched rows. The file appears with [`TableWriter::finish`].
///
/// # Errors
/// [`TableError`]; then nothing of the file is left.
pub fn write_matches(
    reader: &mut TableReader,
    rows: &RowSet,
    output: &Path,
) -> Result<TableWriter, TableError> {
    let mut writer = TableWriter::create(output, &reader.chosen())?;
    let wanted = rows.iter().map(|row| Ok::<_, TableError>((row, [""; 0])));
    copy_rows(reader, wanted, &mut writer)?;
    Ok(writer)
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
) -> Result<TableWriter, TableError> {
    let mut header: Vec<_> = reader.chosen().into_iter().map(str::to_owned).collect();
    header.extend_from_slice(payload_columns);
    let mut writer = TableWriter::create(output, &header)?;
    copy_rows(reader, payloads.sorted().map(Ok::<_, TableError>), &mut writer)?;
    Ok(writer)
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

    use super::super::payload::encode_payload;
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
    fn matched_rows_are_written_in_the_table_s_order_with_their_payloads() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.csv");
        let mut rows = RowSet::new(4);
        assert!(rows.insert(3) && rows.insert(0));
        let writer = write_matches(&mut reader(dir.path(), &["name"]), &rows, &output).unwrap();
        assert!(!output.exists());
        assert_eq!(writer.finish().unwrap(), 2);
        assert_eq!(fs::read_to_string(&output).unwrap(), "name\na\nd\n");
        let mut payloads = RowPayloads::new(1);
        payloads.push(2, &payload(&["x,y"])).unwrap();
        payloads.push(1, &payload(&["z"])).unwrap();
        assert!(payloads.push(0, &[]).is_err());
        let mut table = reader(dir.path(), &["name", "phone"]);
        let columns = ["tag".to_owned()];
        let writer = write_matches_with_payload(&mut table, &mut payloads, &columns, &output).unwrap();
        assert_eq!(writer.finish().unwrap(), 2);
        assert_eq!(fs::read_to_string(&output).unwrap(), "name,phone,tag\nb,2,z\nc,3,\"x,y\"\n");
        write_duplicates(&[Duplicate { row: 7, first: 2 }], &output).unwrap();
        assert_eq!(fs::read_to_string(&output).unwrap(), "row,first_row\n7,2\n");
    }
}
