//! Tables: CSV and Parquet files as rows of bytes, read in one pass and written whole or not at all.
//!
//! [`TableReader`] visits the chosen columns of every row in file order; [`copy_rows`] makes a second pass and
//! copies wanted rows to a [`TableWriter`]. Both formats look the same to the caller: a cell is text in UTF-8,
//! rows are numbered from 0, and the first row stands in line 2.
//!
//! **Promised**: memory is bounded whatever the file holds: a row of text of [`MAX_ROW_BYTES`], and in Parquet for each
//! chosen column twice [`MAX_PAGE_BYTES`], for a batch of texts and the pages in which they stand, and the two pages that
//! are being read; nothing is allocated per row of CSV; errors name the file, the line or row, and the column, never a
//! value; a file being written has another name until it is complete and on the disk. **Not promised**: that a page of
//! a hostile Parquet file is small, because the file says how large it becomes; that floating point numbers and nested
//! columns can be read.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::snapshot::disk::at;

mod copy;
mod csv;
mod digest;
mod error;
mod parquet;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use csv::{CsvRows, Span};
use digest::Digested;
pub use parquet::MAX_PAGE_BYTES;
use parquet::{ParquetRows, TextColumn};

pub use copy::copy_rows;
pub use csv::MAX_ROW_BYTES;
pub use error::TableError;
pub use text::Encoding;
pub use writer::TableWriter;

/// How rows become a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text with commas, RFC 4180.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that a file's name asks for: Parquet with the extension `parquet`, else CSV.
    pub fn of_name(path: &Path) -> Self {
        let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        if is_parquet { Self::Parquet } else { Self::Csv }
    }

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableOptions {
    /// How a CSV file's bytes are text; Parquet is always UTF-8.
    pub encoding: Encoding,
    /// Whether the file's SHA-256 is computed on the way.
    pub digest: bool,
    /// Whether a row with fewer or more fields than the header is given, without cells, instead of an error.
    pub ragged: bool,
}

/// A row; its cells are the chosen columns in the order of choice.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    number: u64,
    line: u64,
    cells: Cells<'a>,
}

/// Where a row's cells are.
#[derive(Debug, Clone, Copy)]
enum Cells<'a> {
    /// All fields of a line.
    Spans { bytes: &'a [u8], spans: &'a [Span], chosen: &'a [usize] },
    /// A place in every chosen column.
    Columns { texts: &'a [TextColumn], at: usize },
}

impl<'a> Row<'a> {
    /// The row's number, from 0; the header has none.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The row's first line; the header is line 1. In Parquet, the line that the row would have as CSV.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// How many cells there are: the chosen columns, or none in a ragged row.
    #[inline]
    pub const fn width(&self) -> usize {
        match self.cells {
            Cells::Spans { chosen, .. } => chosen.len(),
            Cells::Columns { texts, .. } => texts.len(),
        }
    }

    /// The bytes of the chosen column `index`: UTF-8.
    ///
    /// # Panics
    /// When `index` is not below [`Self::width`].
    #[inline]
    pub fn cell(&self, index: usize) -> &'a [u8] {
        match self.cells {
            Cells::Spans { bytes, spans, chosen } => {
                let (from, to) = spans[chosen[index]];
                &bytes[from as usize..to as usize]
            }
            Cells::Columns { texts, at } => texts[index].text(at),
        }
    }

    /// The text of the chosen column `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Self::width`].
    pub fn text(&self, index: usize) -> &'a str {
        std::str::from_utf8(self.cell(index)).expect("text was decoded as UTF-8 and cut at ASCII characters")
    }

    /// All cells.
    pub fn cells(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.width()).map(move |index| self.cell(index))
    }
}

/// A file's rows, from the first to the last.
pub struct TableReader {
    path: PathBuf,
    size: u64,
    digest: bool,
    ragged: bool,
    header: Vec<String>,
    chosen: Vec<usize>,
    rows: Rows,
}

enum Rows {
    Csv(Box<CsvRows>),
    Parquet(Box<ParquetRows>),
}

impl std::fmt::Debug for TableReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableReader")
            .field("path", &self.path)
            .field("columns", &self.header.len())
            .finish_non_exhaustive()
    }
}

impl TableReader {
    /// Opens a file and reads its header; no column is chosen yet. A file is Parquet if it begins as Parquet
    /// does or has its extension, and CSV otherwise.
    ///
    /// # Errors
    /// [`TableError::Empty`], [`TableError::Damaged`], [`TableError::Encoding`] or [`TableError::File`].
    pub fn open(path: &Path, options: TableOptions) -> Result<Self, TableError> {
        let mut file = File::open(path).map_err(at(path))?;
        let size = file.metadata().map_err(at(path))?.len();
        if size == 0 {
            return Err(TableError::Empty { path: path.to_owned() });
        }
        let is_parquet =
            parquet::begins(&mut file).map_err(at(path))? || Format::of_name(path) == Format::Parquet;
        let (header, rows) = if is_parquet {
            let rows = ParquetRows::open(path.to_owned(), file)?;
            (rows.header().to_vec(), Rows::Parquet(Box::new(rows)))
        } else {
            let file = Digested::new(file, options.digest);
            let mut rows = CsvRows::open(path.to_owned(), file, options.encoding)?;
            (csv_header(path, &mut rows)?, Rows::Csv(Box::new(rows)))
        };
        let TableOptions { digest, ragged, .. } = options;
        Ok(Self { path: path.to_owned(), size, digest, ragged, header, chosen: Vec::new(), rows })
    }

    /// Chooses columns by their names in the header, before the first row is read.
    ///
    /// # Errors
    /// [`TableError::ColumnMissing`], [`TableError::ColumnRepeated`], or [`TableError::ColumnType`] in Parquet.
    pub fn choose<S: AsRef<str>>(mut self, columns: &[S]) -> Result<Self, TableError> {
        self.chosen = columns.iter().map(|name| self.find(name.as_ref())).collect::<Result<_, _>>()?;
        if let Rows::Parquet(rows) = &mut self.rows {
            rows.choose(&self.chosen)?;
        }
        Ok(self)
    }

    fn find(&self, column: &str) -> Result<usize, TableError> {
        let (path, column) = (self.path.clone(), column.to_owned());
        let mut places = (0..self.header.len()).filter(|place| self.header[*place] == column);
        match (places.next(), places.count()) {
            (Some(place), 0) => Ok(place),
            (None, _) => Err(TableError::ColumnMissing { path, column }),
            (Some(_), more) => Err(TableError::ColumnRepeated { path, column, found: more + 1 }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header: every column's name, without white space around it.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The names of the chosen columns.
    pub fn chosen(&self) -> Vec<&str> {
        self.chosen.iter().map(|place| self.header[*place].as_str()).collect()
    }

    /// The file's format.
    pub const fn format(&self) -> Format {
        match self.rows {
            Rows::Csv(_) => Format::Csv,
            Rows::Parquet(_) => Format::Parquet,
        }
    }

    /// `utf-8` or `gb18030`.
    pub fn encoding(&self) -> &'static str {
        match &self.rows {
            Rows::Csv(rows) => rows.encoding(),
            Rows::Parquet(_) => "utf-8",
        }
    }

    /// The file's size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Work done and work in all, in bytes: of the file in CSV, of the chosen columns in Parquet.
    pub fn progress(&self) -> (u64, u64) {
        match &self.rows {
            Rows::Csv(rows) => (rows.done(), self.size),
            Rows::Parquet(rows) => rows.progress(),
        }
    }

    /// Reads the next row; `None` behind the last.
    ///
    /// # Errors
    /// [`TableError`]; the reader is of no use behind an error other than [`TableError::RowLength`].
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, TableError> {
        Ok(if self.advance()? { Some(self.row()) } else { None })
    }

    /// As [`Self::next_row`], for [`Self::row`] to look at; false behind the last. In a hot loop the two are a
    /// third faster than an optional row, which the compiler passes through memory.
    ///
    /// # Errors
    /// As [`Self::next_row`].
    #[inline]
    pub fn advance(&mut self) -> Result<bool, TableError> {
        match &mut self.rows {
            Rows::Csv(rows) => {
                let found = rows.advance()?;
                if found && rows.width() != self.header.len() && !self.ragged {
                    return Err(self.row_length());
                }
                Ok(found)
            }
            Rows::Parquet(rows) => rows.advance(),
        }
    }

    /// The row that was read last.
    ///
    /// # Panics
    /// Before the first row was read.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        match &self.rows {
            Rows::Csv(rows) => rows.row(if rows.width() == self.header.len() { &self.chosen } else { &[] }),
            Rows::Parquet(rows) => rows.row(),
        }
    }

    #[cold]
    fn row_length(&self) -> TableError {
        let (row, found) = match &self.rows {
            Rows::Csv(rows) => (rows.row(&[]), rows.width()),
            Rows::Parquet(rows) => (rows.row(), self.header.len()),
        };
        let (path, expected) = (self.path.clone(), self.header.len());
        TableError::RowLength { path, row: row.number, line: row.line, found, expected }
    }

    /// The file's SHA-256, if it was asked for and the last row was read.
    ///
    /// # Errors
    /// [`TableError::File`]: a Parquet file is read again.
    pub fn digest(&self) -> Result<Option<[u8; 32]>, TableError> {
        match &self.rows {
            Rows::Csv(rows) => Ok(rows.digest()),
            Rows::Parquet(_) if self.digest => parquet::digest(&self.path).map(Some),
            Rows::Parquet(_) => Ok(None),
        }
    }
}

fn csv_header(path: &Path, rows: &mut CsvRows) -> Result<Vec<String>, TableError> {
    if !rows.advance()? {
        return Err(TableError::Empty { path: path.to_owned() });
    }
    let all: Vec<usize> = (0..rows.width()).collect();
    let row = rows.row(&all);
    Ok((0..all.len()).map(|index| row.text(index).trim().to_owned()).collect())
}
