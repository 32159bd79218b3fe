//! Why a screening ends early.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no risk list. No variant holds anything of a customer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// A file cannot be read, written or renamed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A row of hits is not as this program writes it.
    #[error("{path}, row {row}: {rule}; run the full screening again")]
    Row {
        /// The file.
        path: PathBuf,
        /// The data row, from 1.
        row: u64,
        /// What it breaks.
        rule: &'static str,
    },
    /// A provider's list has a tag that the bank's words do not know.
    #[error(
        "{provider} sent a tag that [screening.tags] does not name; add it, with the code that the rules use"
    )]
    TagUnknown {
        /// The provider.
        provider: String,
    },
}

impl ScreenError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "FILE_IO",
            Self::Row { .. } => "HITS_DAMAGED",
            Self::TagUnknown { .. } => "TAG_UNKNOWN",
        }
    }

    /// Adds the file to a system's error.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
