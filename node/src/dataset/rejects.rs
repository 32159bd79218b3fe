//! Reject files: line, field and rule of every refused row, never its value.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;

use crate::snapshot::disk::{at, create_file};

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    /// The row's first line in the file; the header is line 1.
    pub(crate) line: u64,
    /// The field, in the schema's or the identity rules' words.
    pub(crate) field: String,
    /// The rule's stable code.
    pub(crate) rule: &'static str,
}

/// A reject file being written.
#[derive(Debug)]
pub(crate) struct RejectFile {
    path: PathBuf,
    csv: csv::Writer<BufWriter<File>>,
}

impl RejectFile {
    /// Begins a file with its header; one that stands there is replaced.
    pub(crate) fn create(path: &Path) -> Result<Self, FileError> {
        let csv = csv::Writer::from_writer(BufWriter::new(create_file(path)?));
        let mut file = Self { path: path.to_owned(), csv };
        file.record(["line", "field", "rule"])?;
        Ok(file)
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, reject: &Reject) -> Result<(), FileError> {
        self.record([reject.line.to_string().as_str(), &reject.field, reject.rule])
    }

    /// Writes everything out.
    pub(crate) fn finish(mut self) -> Result<(), FileError> {
        self.csv.flush().map_err(at(&self.path))
    }

    fn record(&mut self, cells: [&str; 3]) -> Result<(), FileError> {
        self.csv.write_record(cells).map_err(|error| at(&self.path)(error.into()))
    }
}
