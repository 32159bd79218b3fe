//! Change files: what a carrier delivers between full files, kept beside the staging file.
//!
//! A change file has the columns of the full file and one more, which says of every row `insert`, `change` or
//! `delete` (`[changes]` in the data set's configuration). A row concerns all records of its **subject**: the
//! phone number, or the document where the data set has no phones. An insertion or a change gives the subject the
//! one record of the row; a deletion reads nothing but the subject. Rows count in the order of the file, so the
//! last row of a subject wins. What does not fit (an insertion of a subject that is there, a change or deletion of
//! one that is not) is done all the same, counted, and refused as a whole beyond a limit: then a day's file is
//! missing, or came twice.
//!
//! **Promised**: a file is taken whole or not at all, by one rename; every refused row stands in a reject file
//! with its line, field and rule, never its value; cost and memory grow with the file, not with the data set, once
//! the staging file has its index; what a table is built from later is the full file with all changes in it.
//! **Not promised**: that the indices are proof against who may write into the directory: they are not sealed.
//!
//! ```text
//! <data>/datasets/<name>/staging-index         where in the staging file each subject's records are
//! <data>/datasets/<name>/changes/<n>/sealed    sealed records of a change file: what was, and what is
//! <data>/datasets/<name>/changes/<n>/index     where in it each subject is
//! <data>/datasets/<name>/change-rejects.csv    refused rows of the last change file
//! ```

use std::path::PathBuf;

use windvane_keys::files::FileError;
use windvane_protocols::identity::Family;

use super::config::DataSetConfig;
use super::quality::GateFailure;
use super::staging::StagingError;
use crate::spill::SpillError;
use crate::table::TableError;

mod content;
mod current;
mod import;
mod index;
mod journal;
mod subject;

pub use import::{ChangeImport, change, index_staging};
pub use journal::ChangeReport;

pub(super) use content::{Content, ContentChunk, Mark};
pub(super) use journal::{ChangeEntry, Journal, unchecked};
pub(super) use subject::Print;

use journal::MAX_BEFORE;

/// Rows of one change file.
pub const MAX_CHANGE_ROWS: usize = 1 << 22;

/// Change files between two full files: two months of days.
pub const MAX_CHANGE_FILES: usize = 64;

/// Why a change file is not taken, or those that were cannot be used. What was there before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangesError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What does not fit in memory cannot be put away or read back.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The operator's file cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The staging file or a change file cannot be used.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The data set's configuration does not describe change files.
    #[error("the data set's configuration has no [changes] section; add one, as the sample shows")]
    NotDescribed,
    /// A family's keys do not name the subject, so that two subjects could share a key.
    #[error(
        "change files need the {subject} in every family, and family {family} is without it; import full files"
    )]
    Families {
        /// The family's number.
        family: u8,
        /// What identifies a subject.
        subject: &'static str,
    },
    /// Another import, build or publication of the data set is running.
    #[error("another import, build or publication of this data set is running; wait for it to end")]
    Busy,
    /// The full file was imported under another schema, other families or other identity rules.
    #[error("the {what} changed since the full file was imported; import the full file again")]
    ConfigurationChanged {
        /// What changed.
        what: &'static str,
    },
    /// More rows than are taken as changes.
    #[error("the change file has more than {MAX_CHANGE_ROWS} rows; import the full file instead")]
    TooManyRows,
    /// A subject was listed too often to be changed or deleted by a change file.
    #[error(
        "a subject of the change file has more than {MAX_BEFORE} records, the most that a change may replace; import \
         the full file instead"
    )]
    TooManyRecords,
    /// As many change files as may follow one full file.
    #[error(
        "{MAX_CHANGE_FILES} change files were imported since the full file, the most there may be; import the full file"
    )]
    TooManyFiles,
    /// The file has a header only, or every row was refused.
    #[error("no row of the change file was accepted; read {rejects}", rejects = rejects.display())]
    NoRows {
        /// The reject file.
        rejects: PathBuf,
    },
    /// The file is not good enough.
    #[error("the change file fails its quality gates ({}); read {rejects}", list(failures), rejects = rejects.display())]
    QualityGate {
        /// The gates it fails.
        failures: Vec<GateFailure>,
        /// The reject file.
        rejects: PathBuf,
        /// Everything that was counted.
        report: Box<ChangeReport>,
    },
    /// A change file is missing, or does not follow the one before it.
    #[error("change file {number} is missing, or of another series; import the full file again")]
    Series {
        /// Its number.
        number: u64,
    },
    /// An index tells another place than its file has.
    #[error("{path} is damaged; import the full file again", path = path.display())]
    Index {
        /// The index.
        path: PathBuf,
    },
}

impl ChangesError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Spill(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Staging(error) => error.code(),
            Self::NotDescribed => "CHANGES_NOT_DESCRIBED",
            Self::Families { .. } => "CHANGES_FAMILIES",
            Self::Busy => "DATASET_BUSY",
            Self::ConfigurationChanged { .. } => "CONFIGURATION_CHANGED",
            Self::TooManyRows => "CHANGE_ROWS_LIMIT",
            Self::TooManyRecords => "CHANGE_RECORDS_LIMIT",
            Self::TooManyFiles => "CHANGE_FILES_LIMIT",
            Self::NoRows { .. } => "NO_ROWS",
            Self::QualityGate { .. } => "QUALITY_GATE",
            Self::Series { .. } => "CHANGES_SERIES",
            Self::Index { .. } => "CHANGES_INDEX",
        }
    }
}

fn list(failures: &[GateFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether every family's keys name the subject: only then are one subject's changes nobody else's.
pub(super) fn check_families(config: &DataSetConfig) -> Result<(), ChangesError> {
    use Family::{Id, IdName, Phone, PhoneId, PhoneIdName, PhoneName, SocialCredit};
    let by_phone = config.recipe().columns.phone.is_some();
    let names = |family: &&Family| match family {
        Phone | PhoneId | PhoneName | PhoneIdName => by_phone,
        Id | IdName | SocialCredit => !by_phone,
        _ => false,
    };
    let subject = if by_phone { "phone number" } else { "document" };
    match config.families().iter().find(|family| !names(family)) {
        Some(family) => Err(ChangesError::Families { family: family.code(), subject }),
        None => Ok(()),
    }
}
