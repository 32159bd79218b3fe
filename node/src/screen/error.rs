//! Why a screening ends early.

use std::io;
use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;
use windvane_protocols::party::SessionId;

use crate::error::NodeError;
use crate::http::Problem;
use crate::psi::PsiError;
use crate::risk::RuleError;
use crate::table::TableError;

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
    /// The plan does not parse, or breaks a rule.
    #[error("{what}")]
    Plan {
        /// The field and the rule.
        what: String,
    },
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The node's own files.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The rules of the decision.
    #[error(transparent)]
    Rules(#[from] RuleError),
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
    /// A customer has no number.
    #[error("{path}, line {line}: {column} is empty")]
    CustomerMissing {
        /// The file.
        path: PathBuf,
        /// The line; the header is line 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// A customer stands in the file twice.
    #[error("{path}, line {line}: {column} is that of line {first_line}; a customer is in the file once")]
    CustomerRepeated {
        /// The file.
        path: PathBuf,
        /// The line; the header is line 1.
        line: u64,
        /// The first line of the same customer.
        first_line: u64,
        /// The column.
        column: String,
    },
    /// A customer stands on a list with two rows of the customer file.
    #[error("a customer of {path} is on a list with two numbers; {column} must be in the file once")]
    HitRepeated {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A provider's list has a tag that the bank's words do not know.
    #[error(
        "{provider} sent a tag that the plan's [tags] does not name; add it, with the code that the rules use, and run \
         again to go on ([tags] has to name all words: those of the carrier sample hold only without it)"
    )]
    TagUnknown {
        /// The provider.
        provider: String,
    },
    /// An intersection did not come to its end.
    #[error("{list} of {provider}: {error}{}; {}", .job.map(|job| format!(" (job {job})")).unwrap_or_default(), again(.error))]
    Job {
        /// The provider.
        provider: String,
        /// Its list.
        list: String,
        /// The job, once it has a name.
        job: Option<SessionId>,
        /// What went wrong.
        error: Box<PsiError>,
    },
    /// The bank's own files, as far as jobs need them.
    #[error(transparent)]
    Psi(Box<PsiError>),
    /// The bank's node refused to look customers up.
    #[error("looking up new customers: {0}; run again to go on")]
    Lookup(Box<Problem>),
    /// The bank's node refused to score customers.
    #[error("scoring who stands on a list: {0}; run again to go on, or without the plan's [score]")]
    Scoring(Box<Problem>),
    /// A provider gave no verdict of a customer.
    #[error("{provider} gave no verdict of some new customers ({code}); run again to go on")]
    NoVerdict {
        /// The provider.
        provider: String,
        /// Its own code, or the bank's.
        code: String,
    },
    /// The plan asks for lookups that cannot be.
    #[error("new customers cannot be looked up at {provider}: {rule}")]
    RowsUnfit {
        /// The provider.
        provider: String,
        /// What is missing, and what to do.
        rule: &'static str,
    },
    /// Something is left of another screening.
    #[error(
        "{path} belongs to a screening with another {what}; finish that one, or remove the folder to start over"
    )]
    Other {
        /// The work folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A file is not as it was when the screening began.
    #[error("a file of customers or hits changed since the screening began; remove {path} to start over")]
    InputChanged {
        /// The work folder.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("another screening holds {path}; wait for it to end")]
    Busy {
        /// The work folder.
        path: PathBuf,
    },
    /// A crash came before the repeated rows were reported.
    #[error("a job has lost its report of repeated rows; run again, it begins anew")]
    DuplicatesMissing,
    /// A worker stopped.
    #[error("a worker stopped; run again to go on")]
    Stopped,
}

/// What another run does about a job.
fn again(error: &PsiError) -> &'static str {
    if error.must_begin_anew() { "run again, that begins a new job" } else { "run again to go on" }
}

impl ScreenError {
    /// Whether the job that ended so is of no use to another run.
    pub(super) fn must_begin_anew(&self) -> bool {
        match self {
            Self::Job { error, .. } => error.must_begin_anew(),
            other => matches!(other, Self::DuplicatesMissing),
        }
    }

    /// The stable code; of a job or a call, its own.
    pub fn code(&self) -> &str {
        match self {
            Self::Io { .. } => "FILE_IO",
            Self::Plan { .. } => "SCREEN_PLAN",
            Self::Table(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Rules(_) => "RULES_INVALID",
            Self::Row { .. } => "HITS_DAMAGED",
            Self::CustomerMissing { .. } => "CUSTOMER_MISSING",
            Self::CustomerRepeated { .. } | Self::HitRepeated { .. } => "CUSTOMER_REPEATED",
            Self::TagUnknown { .. } => "TAG_UNKNOWN",
            Self::Job { error, .. } => error.code(),
            Self::Psi(error) => error.code(),
            Self::Lookup(problem) | Self::Scoring(problem) => &problem.code,
            Self::NoVerdict { code, .. } => code,
            Self::RowsUnfit { .. } => "ROWS_UNFIT",
            Self::Other { .. } => "SCREEN_OTHER",
            Self::InputChanged { .. } => "INPUT_CHANGED",
            Self::Busy { .. } => "SCREEN_BUSY",
            Self::DuplicatesMissing => "DUPLICATES_MISSING",
            Self::Stopped => "INTERNAL",
        }
    }

    /// Adds the file to a system's error.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

impl From<FileError> for ScreenError {
    fn from(error: FileError) -> Self {
        Self::Node(error.into())
    }
}
