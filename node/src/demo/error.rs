//! Why a demonstration or a benchmark does not run.

use std::path::PathBuf;

use crate::error::NodeError;
use crate::fleet::FleetError;
use crate::http::Problem;

/// Why a demonstration or a benchmark does not run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The nodes.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A step on a node's files, or a call between nodes.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The bank's interface cannot be called.
    #[error(transparent)]
    Call(#[from] Problem),
    /// A file.
    #[error("{what}: {source}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the world is not as it must be.
    #[error("{path}: {rule}")]
    File {
        /// The file.
        path: PathBuf,
        /// The row, the column and what is expected there.
        rule: String,
    },
    /// The directory has an earlier fleet in it.
    #[error("{path} is not empty; name another directory, or empty this one")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A measurement would say nothing in this place, or of so little.
    #[error("{0}")]
    Unfit(String),
    /// A result is not as the truth says, or there is none; the files that may say why stay.
    #[error("{0}")]
    Wrong(String),
    /// A signal came before the end.
    #[error("interrupted; the nodes were stopped")]
    Interrupted,
}

impl DemoError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Fleet(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Call(problem) => &problem.code,
            Self::Io { .. } => "IO",
            Self::File { .. } => "WORLD_INVALID",
            Self::NotEmpty { .. } => "NOT_EMPTY",
            Self::Unfit(_) => "UNFIT",
            Self::Wrong(_) => "RESULT_WRONG",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
