//! Why a table cannot be read or written: the file, the row, the column and the rule, never a value.

use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;

use super::csv::MAX_ROW_BYTES;

/// Why a table cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A file cannot be read, written or renamed.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is not even a header.
    #[error("{path} is empty, expected a header")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The header lacks a column.
    #[error("the header of {path} has no column {column}; name the file's own column in the configuration")]
    ColumnMissing {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// The header has a column more than once.
    #[error("the header of {path} has column {column} {found} times; rename all but one")]
    ColumnRepeated {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// How often.
        found: usize,
    },
    /// A column's type has no one text.
    #[error("column {column} of {path} is {found}, expected text, whole numbers, dates or booleans")]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
    },
    /// Bytes that are not of the encoding.
    #[error(
        "line {line} of {path} is not valid {expected}; set the encoding in the configuration or export again"
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The line; the header is line 1.
        line: u64,
        /// `utf-8` or `gb18030`.
        expected: &'static str,
    },
    /// A row with fewer or more fields than the header.
    #[error("row {row} of {path}, in line {line}, has {found} fields, expected {expected}")]
    RowLength {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// Its first line; the header is line 1.
        line: u64,
        /// Its fields.
        found: usize,
        /// The header's fields.
        expected: usize,
    },
    /// A row that does not end, mostly because of an open quotation mark; in Parquet, one with a text that is as long.
    #[error(
        "the row that begins in line {line} of {path} is longer than {MAX_ROW_BYTES} bytes; look for an open quotation mark, or shorten the text"
    )]
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// Its first line.
        line: u64,
    },
    /// A Parquet file that does not hold what it declares.
    #[error("{path} is damaged or no Parquet file: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// A row that is asked for is not in the file.
    #[error("{path} has no row {row}; it changed since it was read before")]
    RowMissing {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
    },
}

impl TableError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Empty { .. } => "TABLE_EMPTY",
            Self::ColumnMissing { .. } => "COLUMN_MISSING",
            Self::ColumnRepeated { .. } => "COLUMN_REPEATED",
            Self::ColumnType { .. } => "COLUMN_TYPE",
            Self::Encoding { .. } => "ENCODING_INVALID",
            Self::RowLength { .. } => "ROW_LENGTH",
            Self::RowTooLong { .. } => "ROW_TOO_LONG",
            Self::Damaged { .. } => "TABLE_DAMAGED",
            Self::RowMissing { .. } => "ROW_MISSING",
        }
    }

    /// What the Parquet library found.
    pub(super) fn damaged(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |error| Self::Damaged { path, reason: error.to_string() }
    }
}
