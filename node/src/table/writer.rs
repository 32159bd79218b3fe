//! Tables written whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windvane_keys::files::{FileError, parent_of};

use super::{Format, TableError};
use crate::snapshot::disk::{at, create_file, sync_directory};

mod csv;
mod parquet;

use self::csv::CsvWriter;
use self::parquet::ParquetWriter;

/// What a file is named until it is complete: its name and this.
const TEMPORARY: &str = ".tmp";

/// A table being written, under a temporary name in the folder of its final one; dropped unfinished, it
/// disappears. What a killed run left is replaced by the next. Only the owner may read the file.
pub struct TableWriter {
    path: PathBuf,
    temporary: PathBuf,
    width: usize,
    rows: u64,
    sink: Sink,
}

enum Sink {
    Csv(CsvWriter),
    Parquet(Box<ParquetWriter>),
    /// While the file is handed to the disk.
    Finished,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl TableWriter {
    /// Begins a table of text columns in the format that its name asks for.
    ///
    /// # Errors
    /// [`TableError::File`], or [`TableError::ColumnRepeated`] when two columns share a name.
    pub fn create<S: AsRef<str>>(path: &Path, header: &[S]) -> Result<Self, TableError> {
        Self::check_header(path, header)?;
        let names: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        let temporary = PathBuf::from(temporary);
        let file = create_file(&temporary)?;
        let mut writer =
            Self { path: path.to_owned(), temporary, width: names.len(), rows: 0, sink: Sink::Finished };
        writer.sink = match Format::of_name(path) {
            Format::Csv => Sink::Csv(CsvWriter::begin(file, &names).map_err(writer.at())?),
            Format::Parquet => {
                Sink::Parquet(Box::new(ParquetWriter::begin(file, &names).map_err(writer.at())?))
            }
        };
        Ok(writer)
    }

    /// Whether a table may have this header.
    ///
    /// # Errors
    /// [`TableError::ColumnRepeated`] when two columns share a name.
    pub fn check_header<S: AsRef<str>>(path: &Path, header: &[S]) -> Result<(), TableError> {
        for name in header.iter().map(AsRef::as_ref) {
            let found = header.iter().filter(|other| other.as_ref() == name).count();
            if found > 1 {
                return Err(TableError::ColumnRepeated {
                    path: path.to_owned(),
                    column: name.to_owned(),
                    found,
                });
            }
        }
        Ok(())
    }

    /// Adds a row of UTF-8 cells, one for every column.
    ///
    /// # Errors
    /// [`TableError::File`], or [`TableError::RowLength`]; then the writer is to be dropped.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a [u8]>) -> Result<(), TableError> {
        let written = match &mut self.sink {
            Sink::Csv(csv) => csv.row(cells),
            Sink::Parquet(parquet) => parquet.row(cells),
            Sink::Finished => unreachable!("a writer that is finished is gone"),
        };
        let found = written.map_err(self.at())?;
        if found != self.width {
            let (path, row) = (self.path.clone(), self.rows);
            return Err(TableError::RowLength { path, row, line: row + 2, found, expected: self.width });
        }
        self.rows += 1;
        Ok(())
    }

    /// Rows so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Waits until everything is on the disk and gives the file its name; one that stands there is replaced.
    /// Gives how many rows it has.
    ///
    /// # Errors
    /// [`TableError::File`].
    pub fn finish(mut self) -> Result<u64, TableError> {
        let written = match std::mem::replace(&mut self.sink, Sink::Finished) {
            Sink::Csv(csv) => csv.finish(),
            Sink::Parquet(parquet) => parquet.finish(),
            Sink::Finished => unreachable!("a writer is finished once, because that consumes it"),
        };
        written.and_then(|file| file.sync_all()).map_err(self.at())?;
        fs::rename(&self.temporary, &self.path).map_err(at(&self.path))?;
        sync_directory(parent_of(&self.path))?;
        Ok(self.rows)
    }

    fn at(&self) -> impl FnOnce(io::Error) -> FileError + use<> {
        let path = self.temporary.clone();
        move |source| FileError::Io { path, source }
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        // Gone already when the file was finished.
        let _ = fs::remove_file(&self.temporary);
    }
}
