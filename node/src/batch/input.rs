//! The bank's file, opened twice: once for its digests, once for its rows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::BatchKind;
use super::columns::Columns;
use super::error::BatchError;
use super::lines::{FileEncoding, Line, Lines};

/// A file whose header is good.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    kind: BatchKind,
    columns: Columns,
    encoding: FileEncoding,
    lines: u64,
    digest: [u8; 32],
    /// SHA-256 of the file up to the end of every chunk.
    chunks: Vec<[u8; 32]>,
}

impl Input {
    /// Reads the header and the digests of the whole file and of its chunks.
    pub(super) fn open(path: &Path, kind: BatchKind, chunk_rows: usize) -> Result<Self, BatchError> {
        let (columns, mut lines) = started(path, kind)?;
        let mut chunks = Vec::new();
        while lines.chunk(chunk_rows, |_, _| ()).map_err(BatchError::io(path))? > 0 {
            chunks.push(lines.digest());
        }
        let (path, encoding) = (path.to_owned(), lines.encoding());
        Ok(Self { path, kind, columns, encoding, lines: lines.count(), digest: lines.digest(), chunks })
    }

    /// The lines after the header, from the start.
    pub(super) fn rows(&self) -> Result<Lines<File>, BatchError> {
        started(&self.path, self.kind).map(|(_, lines)| lines)
    }

    /// The output must not replace what it is made of.
    pub(super) fn refuse_output(&self, output: &Path) -> Result<(), BatchError> {
        let same = match (fs::canonicalize(&self.path), fs::canonicalize(output)) {
            (Ok(input), Ok(output)) => input == output,
            _ => false,
        };
        if same { Err(BatchError::OutputIsInput) } else { Ok(()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(super) fn encoding(&self) -> FileEncoding {
        self.encoding
    }

    /// Lines of the file, the header and blank ones included.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// SHA-256 of the file.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// SHA-256 of the file up to the end of a chunk; of the whole file behind the last one.
    pub(super) fn digest_to(&self, chunk: usize) -> [u8; 32] {
        self.chunks.get(chunk).copied().unwrap_or(self.digest)
    }
}

fn started(path: &Path, kind: BatchKind) -> Result<(Columns, Lines<File>), BatchError> {
    let file = File::open(path).map_err(BatchError::io(path))?;
    let opened = Lines::open(file).map_err(BatchError::io(path))?;
    match opened.ok_or(BatchError::NoHeader)? {
        (Line::Text(header), lines) => Ok((Columns::parse(&header, kind)?, lines)),
        (Line::TooLong, _) => Err(BatchError::NoHeader),
    }
}
