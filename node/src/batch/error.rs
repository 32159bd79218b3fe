//! Why a batch ends early.

use std::io;
use std::path::{Path, PathBuf};

use crate::http::Problem;

/// Why a batch ends without its output. No variant holds anything of a customer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A file cannot be read, written, renamed or removed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is empty.
    #[error("the file is empty, expected a header")]
    NoHeader,
    /// A required column is not in the header.
    #[error("the header has no column {column}")]
    ColumnMissing {
        /// The column.
        column: &'static str,
    },
    /// A column stands in the header twice.
    #[error("the header has column {column} more than once")]
    ColumnRepeated {
        /// The column.
        column: &'static str,
    },
    /// The output would replace the input.
    #[error("the output is the input; name another file")]
    OutputIsInput,
    /// The chunk size is none that a call can have.
    #[error("{found} rows a chunk, expected 1 to 4096")]
    ChunkRows {
        /// The size asked for.
        found: usize,
    },
    /// Another run writes the same output.
    #[error("another run holds {path}; wait for it to end")]
    Busy {
        /// The file of finished chunks.
        path: PathBuf,
    },
    /// Finished chunks are of another input or other options.
    #[error(
        "{path} belongs to a run with another {field}; finish that run, or remove the file to start over"
    )]
    PartialMismatch {
        /// The file of finished chunks.
        path: PathBuf,
        /// What differs.
        field: &'static str,
    },
    /// The file of finished chunks is damaged.
    #[error("{path} is damaged; remove it to start over")]
    PartialDamaged {
        /// The file of finished chunks.
        path: PathBuf,
    },
    /// The input changed while it was read.
    #[error(
        "the file changed while it was read; finished chunks of the old content are in {partial}: \
         put that content back and run again, or remove the file to start over"
    )]
    InputChanged {
        /// The file of finished chunks.
        partial: PathBuf,
    },
    /// The node refused a chunk as a whole.
    #[error("lines {first} to {last}: {problem}; run again to continue")]
    Refused {
        /// The chunk's first line in the file.
        first: u64,
        /// The chunk's last line.
        last: u64,
        /// The node's reason.
        problem: Box<Problem>,
    },
    /// A call stopped without an answer.
    #[error("a call stopped without an answer; run again to continue")]
    Stopped,
}

impl BatchError {
    /// The stable code; for a refusal, the node's.
    pub fn code(&self) -> &str {
        match self {
            Self::Io { .. } => "FILE_IO",
            Self::NoHeader => "HEADER_MISSING",
            Self::ColumnMissing { .. } => "COLUMN_MISSING",
            Self::ColumnRepeated { .. } => "COLUMN_REPEATED",
            Self::OutputIsInput => "OUTPUT_IS_INPUT",
            Self::ChunkRows { .. } => "CHUNK_ROWS",
            Self::Busy { .. } => "BATCH_BUSY",
            Self::PartialMismatch { .. } => "PARTIAL_MISMATCH",
            Self::PartialDamaged { .. } => "PARTIAL_DAMAGED",
            Self::InputChanged { .. } => "INPUT_CHANGED",
            Self::Refused { problem, .. } => &problem.code,
            Self::Stopped => "CALL_STOPPED",
        }
    }

    /// Adds the file to a system's error.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
