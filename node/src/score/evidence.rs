//! The signed messages of a setup on the disk: of one that is under way, and of one that is finished.

use windvane_keys::files::write_private;
use windvane_protocols::limits::MAX_SETUP_BYTES;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::group::Pins;
use windvane_protocols::score::shares::{Evidence, EvidenceError};
use windvane_protocols::transcript::Record as _;

use super::folder::{EpochFolder, FolderError, read_record, stands};
use super::plan::PLAN;
use crate::snapshot::disk::{at, create_directory, remove_directory, remove_file};

const EVIDENCE: &str = "evidence";
const SETUP: &str = "setup";
const RETIRED: &str = "retired";

/// Why an epoch's evidence is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceFileError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The setup is not finished here.
    #[error("the setup of epoch {epoch} is not finished here")]
    Unfinished {
        /// The epoch.
        epoch: u64,
    },
    /// It does not hold.
    #[error("the evidence of epoch {epoch} does not hold: {source}")]
    Invalid {
        /// The epoch.
        epoch: u64,
        /// What is wrong.
        source: EvidenceError,
    },
}

impl EvidenceFileError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::Unfinished { .. } => "SCORE_EPOCH_UNFINISHED",
            Self::Invalid { .. } => "SCORE_EVIDENCE_INVALID",
        }
    }
}

impl EpochFolder {
    /// The epoch, from its evidence, all of which is checked again.
    ///
    /// # Errors
    /// [`EvidenceFileError`].
    pub fn evidence(&self, pins: &Pins) -> Result<Epoch, EvidenceFileError> {
        let epoch = self.epoch();
        let evidence = self.read_evidence()?.ok_or(EvidenceFileError::Unfinished { epoch })?;
        evidence.check(pins).map_err(|source| EvidenceFileError::Invalid { epoch, source })
    }

    /// Whether the setup is finished here. It counts as finished too where that cannot be told: who reads the evidence
    /// then hears why.
    pub fn is_finished(&self) -> bool {
        stands(&self.join(EVIDENCE)).unwrap_or(true)
    }

    /// Whether the epoch is retired: its keys are destroyed. It counts as retired too where that cannot be told.
    pub fn is_retired(&self) -> bool {
        stands(&self.join(RETIRED)).unwrap_or(true)
    }

    /// Marks the epoch as retired, once; nothing serves it or loads its keys from then on.
    pub(crate) fn retire(&self, by: &str, now_ms: u64) -> Result<(), FolderError> {
        if stands(&self.join(RETIRED))? {
            return Ok(());
        }
        let marker = serde_json::json!({ "by": by, "at_ms": now_ms }).to_string();
        Ok(write_private(&self.join(RETIRED), marker.as_bytes())?)
    }

    /// The messages of a finished setup, as they are stored.
    pub(super) fn read_evidence(&self) -> Result<Option<Evidence>, FolderError> {
        read_record(&self.join(EVIDENCE), MAX_SETUP_BYTES)
    }

    /// The messages so far of a setup that is not finished here.
    pub(super) fn read_setup(&self) -> Result<Option<Evidence>, FolderError> {
        read_record(&self.join(SETUP), MAX_SETUP_BYTES)
    }

    /// Keeps the messages so far.
    pub(super) fn keep_setup(&self, messages: &Evidence) -> Result<(), FolderError> {
        self.keep(SETUP, messages)
    }

    /// Keeps the messages of a finished setup.
    pub(super) fn keep_evidence(&self, messages: &Evidence) -> Result<(), FolderError> {
        self.keep(EVIDENCE, messages)
    }

    /// Forgets the messages of a setup that is finished.
    pub(super) fn remove_setup(&self) -> Result<(), FolderError> {
        Ok(remove_file(&self.join(SETUP))?)
    }

    /// Removes what a setup that is given up left, also what an earlier removal did: the messages first, and then the folder
    /// where nothing but the plan is in it.
    pub(super) fn give_up(&self) -> Result<(), FolderError> {
        self.remove_setup()?;
        if !stands(self.path())? {
            return Ok(());
        }
        for entry in std::fs::read_dir(self.path()).map_err(at(self.path()))? {
            let name = entry.map_err(at(self.path()))?.file_name();
            if name.to_str().is_none_or(|name| ![PLAN, SETUP].contains(&name.trim_end_matches(".tmp"))) {
                return Ok(());
            }
        }
        Ok(remove_directory(self.path())?)
    }

    fn keep(&self, name: &str, messages: &Evidence) -> Result<(), FolderError> {
        create_directory(self.path())?;
        Ok(write_private(&self.join(name), messages.encode().as_bytes())?)
    }
}
