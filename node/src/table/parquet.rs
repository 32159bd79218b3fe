//! Parquet as rows of text: chosen columns, a few thousand rows in memory at a time.
//!
//! Text stands as it is, whole numbers in decimal, decimals with their point, booleans as `true` and `false`,
//! dates as `2026-11-10`, times at midnight as their date and others as `2026-11-10T08:30:00`, with a `Z`
//! where the file says UTC; a null is empty. Floating point numbers are refused: an identity that a tool
//! stored as one may have lost digits. Nested columns are in the header, but cannot be chosen.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::reader::get_column_reader;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::digest::Digested;
use super::error::TableError;
use super::{Cells, Row};
use crate::snapshot::disk::at;

mod column;
mod kind;
mod pages;
mod source;
mod thrift;

pub(super) use column::TextColumn;
use column::{Column, Fault};
use kind::Kind;
pub use pages::MAX_PAGE_BYTES;
use source::Source;

/// Rows decoded at a time, at most.
const BATCH_ROWS: usize = 4096;

/// Bytes of a column's texts decoded at a time, at most, and of the pages in which they stand: so long as the largest
/// page may be, for a row may stand in a page of its own, and as many may name the one text of a dictionary's page.
const BATCH_BYTES: usize = MAX_PAGE_BYTES;

/// A Parquet file's rows.
pub(super) struct ParquetRows {
    path: PathBuf,
    source: Source,
    file: SerializedFileReader<Source>,
    header: Vec<String>,
    /// Every column's leaf, where it is not nested.
    leaves: Vec<Option<usize>>,
    columns: Vec<Column>,
    texts: Vec<TextColumn>,
    /// The next row group.
    group: usize,
    /// Rows of the row group that were not decoded, and how many are decoded at a time.
    left: usize,
    step: usize,
    /// Rows of the batch, and how many of them were given out.
    batch: usize,
    given: usize,
    rows: u64,
    /// Compressed bytes of the chosen columns: in finished groups, and in the one being read with its rows.
    done: u64,
    current: (u64, usize),
}

impl ParquetRows {
    pub(super) fn open(path: PathBuf, file: File) -> Result<Self, TableError> {
        let source = Source::new(file).map_err(at(&path))?;
        let file = guarded(&path, || {
            let opened =
                pages::check_footer(&source).and_then(|()| SerializedFileReader::new(source.clone()));
            opened.map_err(TableError::damaged(&path))
        })?;
        let schema = file.metadata().file_metadata().schema_descr();
        let header: Vec<_> =
            schema.root_schema().get_fields().iter().map(|f| f.name().trim().to_owned()).collect();
        let leaves = (0..header.len()).map(|root| leaf(schema, root)).collect();
        Ok(Self {
            path,
            source,
            file,
            header,
            leaves,
            columns: Vec::new(),
            texts: Vec::new(),
            group: 0,
            left: 0,
            step: 0,
            batch: 0,
            given: 0,
            rows: 0,
            done: 0,
            current: (0, 0),
        })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Chooses columns by their places in the header.
    pub(super) fn choose(&mut self, chosen: &[usize]) -> Result<(), TableError> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        (self.columns, self.texts) = (Vec::new(), Vec::new());
        for &index in chosen {
            let column = self.header[index].clone();
            let refuse = |found: String| TableError::ColumnType { path: self.path.clone(), column, found };
            let Some(leaf) = self.leaves[index] else { return Err(refuse("nested".to_owned())) };
            let kind = Kind::of(&schema.column(leaf)).map_err(refuse)?;
            self.columns.push(Column::new(leaf, kind));
            self.texts.push(TextColumn::default());
        }
        Ok(())
    }

    /// Compressed bytes of the chosen columns, read and in all.
    pub(super) fn progress(&self) -> (u64, u64) {
        let total = (0..self.file.num_row_groups()).map(|group| self.group_bytes(group)).sum();
        let (bytes, rows) = self.current;
        let read = (rows - self.left) as u128 * u128::from(bytes) / (rows.max(1) as u128);
        (self.done + u64::try_from(read).unwrap_or(bytes), total)
    }

    fn group_bytes(&self, group: usize) -> u64 {
        let group = self.file.metadata().row_group(group);
        let bytes = |column: &Column| group.column(column.leaf()).compressed_size();
        self.columns.iter().map(|column| u64::try_from(bytes(column)).unwrap_or(0)).sum()
    }

    /// Reads the next row; false behind the last.
    pub(super) fn advance(&mut self) -> Result<bool, TableError> {
        while self.given == self.batch {
            let path = self.path.clone();
            if !guarded(&path, || if self.left > 0 { self.decode() } else { self.next_group() })? {
                return Ok(false);
            }
        }
        self.given += 1;
        self.rows += 1;
        Ok(true)
    }

    /// The row that [`Self::advance`] read. Its line is the one that it would have behind a header.
    pub(super) fn row(&self) -> Row<'_> {
        let cells = Cells::Columns { texts: &self.texts, at: self.given - 1 };
        Row { number: self.rows - 1, line: self.rows + 1, cells }
    }

    /// Begins the next row group; false behind the last.
    fn next_group(&mut self) -> Result<bool, TableError> {
        if self.group == self.file.num_row_groups() {
            return Ok(false);
        }
        self.done += self.current.0;
        let group = self.file.get_row_group(self.group).map_err(TableError::damaged(&self.path))?;
        let mut largest = 1;
        for column in &mut self.columns {
            let (start, length) = group.metadata().column(column.leaf()).byte_range();
            let page = pages::check_pages(&self.source, start, length);
            largest = largest.max(page.map_err(TableError::damaged(&self.path))?);
            let pages =
                group.get_column_page_reader(column.leaf()).map_err(TableError::damaged(&self.path))?;
            let described = group.metadata().column(column.leaf()).column_descr_ptr();
            column.begin(get_column_reader(described, pages));
        }
        self.left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        self.step = (BATCH_BYTES / largest).clamp(1, BATCH_ROWS);
        self.current = (self.group_bytes(self.group), self.left);
        self.group += 1;
        Ok(true)
    }

    /// Decodes the next rows of the row group.
    fn decode(&mut self) -> Result<bool, TableError> {
        let rows = self.left.min(self.step);
        for (column, text) in self.columns.iter_mut().zip(&mut self.texts) {
            column.decode(rows, text).map_err(|fault| fault.at(&self.path, self.rows))?;
        }
        (self.left, self.batch, self.given) = (self.left - rows, rows, 0);
        Ok(true)
    }
}

impl Fault {
    fn at(self, path: &Path, rows: u64) -> TableError {
        match self {
            Self::Library(error) => TableError::damaged(path)(error),
            Self::TooFew { found, expected } => {
                let reason = format!("a column ends {} rows early, behind row {rows}", expected - found);
                TableError::Damaged { path: path.to_owned(), reason }
            }
            Self::TooLong { row } => {
                TableError::RowTooLong { path: path.to_owned(), line: rows + row as u64 + 2 }
            }
            Self::Text { row } => {
                TableError::Encoding { path: path.to_owned(), line: rows + row as u64 + 2, expected: "utf-8" }
            }
        }
    }
}

/// The library panics at some damage, such as a negative offset; that is the file's fault, not ours.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    // Whatever the panic left half done is not used again: an error ends the reader.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let reason = "the reader gave up on what its metadata or pages declare".to_owned();
        Err(TableError::Damaged { path: path.to_owned(), reason })
    })
}

/// The one leaf of a column that is neither nested nor repeated.
fn leaf(schema: &SchemaDescriptor, root: usize) -> Option<usize> {
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)?;
    let column = schema.column(leaf);
    (column.path().parts().len() == 1 && column.max_rep_level() == 0).then_some(leaf)
}

/// SHA-256 of the whole file: its pages are not read in its order.
pub(super) fn digest(path: &Path) -> Result<[u8; 32], TableError> {
    let file = File::open(path).map_err(at(path))?;
    let mut digested = Digested::new(file, true);
    let mut buffer = vec![0; 1 << 18];
    while digested.read(&mut buffer).map_err(at(path))? > 0 {}
    Ok(digested.digest().expect("it was asked for"))
}

/// Whether a file begins as Parquet does.
pub(super) fn begins(file: &mut File) -> io::Result<bool> {
    let mut first = Vec::with_capacity(pages::MAGIC.len());
    io::Read::by_ref(file).take(pages::MAGIC.len() as u64).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(first == pages::MAGIC)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// A file of so many rows in one group, all with this text, which a dictionary has once.
    fn repeated(path: &Path, text: &str, rows: usize) {
        let schema = Arc::new(parse_message_type("message m { required binary a (UTF8); }").unwrap());
        let properties = Arc::new(WriterProperties::new());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = vec![ByteArray::from(text.as_bytes().to_vec()); rows];
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn rows_that_name_one_long_text_are_decoded_a_few_at_a_time() {
        const ROWS: usize = 300;
        let (dir, text) = (tempfile::tempdir().unwrap(), "x".repeat(1 << 19));
        let path = dir.path().join("a.parquet");
        repeated(&path, &text, ROWS);
        let mut rows = ParquetRows::open(path.clone(), File::open(&path).unwrap()).unwrap();
        rows.choose(&[0]).unwrap();
        let mut found = 0;
        while rows.advance().unwrap() {
            assert_eq!(rows.row().cell(0).len(), text.len());
            assert!(rows.batch * text.len() <= BATCH_BYTES, "{}", rows.batch);
            found += 1;
        }
        assert_eq!(found, ROWS);
    }
}
