//! One chosen column: from the library's typed values to text.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;

use super::kind::Kind;
use crate::table::MAX_ROW_BYTES;

/// Texts of one column, one after another.
#[derive(Debug, Default)]
pub(in crate::table) struct TextColumn {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TextColumn {
    /// The text of a row.
    #[inline]
    pub(in crate::table) fn text(&self, row: usize) -> &[u8] {
        let from = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[from..self.ends[row]]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// Why a column's rows do not become text.
pub(super) enum Fault {
    /// The library found the file damaged.
    Library(ParquetError),
    /// Fewer rows than the row group declares.
    TooFew { found: usize, expected: usize },
    /// The row, of those decoded, has a longer text than a row may be.
    TooLong { row: usize },
    /// The row, of those decoded, is no UTF-8.
    Text { row: usize },
}

/// A chosen column.
pub(super) struct Column {
    leaf: usize,
    kind: Kind,
    reader: Option<ColumnReader>,
    levels: Vec<i16>,
    texts: Vec<ByteArray>,
    booleans: Vec<bool>,
    narrow: Vec<i32>,
    wide: Vec<i64>,
}

impl Column {
    pub(super) fn new(leaf: usize, kind: Kind) -> Self {
        let (levels, texts, booleans) = (Vec::new(), Vec::new(), Vec::new());
        Self { leaf, kind, reader: None, levels, texts, booleans, narrow: Vec::new(), wide: Vec::new() }
    }

    /// Its place among the file's leaves.
    pub(super) const fn leaf(&self) -> usize {
        self.leaf
    }

    /// Goes on with the next row group.
    pub(super) fn begin(&mut self, reader: ColumnReader) {
        self.reader = Some(reader);
    }

    /// Decodes the next `rows` rows into `texts`.
    pub(super) fn decode(&mut self, rows: usize, texts: &mut TextColumn) -> Result<(), Fault> {
        texts.clear();
        self.levels.clear();
        let (kind, levels) = (self.kind, &mut self.levels);
        match &mut self.reader {
            Some(ColumnReader::ByteArrayColumnReader(reader)) => {
                read(reader, rows, levels, &mut self.texts)?;
                write(rows, levels, &self.texts, texts, |value, bytes| {
                    bytes.extend_from_slice(value.data());
                    std::str::from_utf8(value.data()).is_ok()
                })
            }
            Some(ColumnReader::BoolColumnReader(reader)) => {
                read(reader, rows, levels, &mut self.booleans)?;
                write(rows, levels, &self.booleans, texts, |value, bytes| {
                    bytes.extend_from_slice(if *value { b"true" } else { b"false" });
                    true
                })
            }
            Some(ColumnReader::Int32ColumnReader(reader)) => {
                read(reader, rows, levels, &mut self.narrow)?;
                write(rows, levels, &self.narrow, texts, |value, bytes| {
                    let unsigned = || i64::from(value.cast_unsigned());
                    kind.write(if kind == Kind::Unsigned { unsigned() } else { (*value).into() }, bytes);
                    true
                })
            }
            Some(ColumnReader::Int64ColumnReader(reader)) => {
                read(reader, rows, levels, &mut self.wide)?;
                write(rows, levels, &self.wide, texts, |value, bytes| {
                    kind.write(*value, bytes);
                    true
                })
            }
            _ => Err(Fault::TooFew { found: 0, expected: rows }),
        }
    }
}

/// Reads exactly `rows` rows: their values that are not null, and where the column may have nulls, a level for
/// every row.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<(), Fault> {
    values.clear();
    let (found, ..) = reader.read_records(rows, Some(levels), None, values).map_err(Fault::Library)?;
    if found == rows { Ok(()) } else { Err(Fault::TooFew { found, expected: rows }) }
}

/// Writes the texts of `rows` rows; an optional column that is not nested has level 1 where there is a value.
fn write<T>(
    rows: usize,
    levels: &[i16],
    values: &[T],
    texts: &mut TextColumn,
    mut append: impl FnMut(&T, &mut Vec<u8>) -> bool,
) -> Result<(), Fault> {
    let mut values = values.iter();
    for row in 0..rows {
        if levels.get(row) != Some(&0) {
            let value = values.next().ok_or(Fault::TooFew { found: row, expected: rows })?;
            let before = texts.bytes.len();
            if !append(value, &mut texts.bytes) {
                return Err(Fault::Text { row });
            }
            if texts.bytes.len() - before > MAX_ROW_BYTES {
                return Err(Fault::TooLong { row });
            }
        }
        texts.end();
    }
    Ok(())
}
