//! A session's folder, `train-sessions/<session>/` in a provider's data directory: what survives a kill.
//!
//! ```text
//! acceptance, receipt     signed records, written whole or not at all
//! lapse                   what was answered until the session was given up, signed
//! mask                    the secret of the session's masks, sealed
//! list                    the listed positions, sealed
//! indicator, held-out     ciphertexts as they came
//! residuals-<n>           ciphertexts as they came; those of the block under way alone
//! salt                    of the commitment to the trees
//! journal                 a line of JSON for every fact, each durable before the session goes on
//! ```
//!
//! A line that a crash cut off is dropped. When a session is through, or was given up, positions, ciphertexts and the
//! mask's secret go; what the evidence needs stays.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use windvane_keys::files::{FileError, if_there, kept_random, read_private, write_private};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::limits::{MAX_TRAIN_RECEIPT_BYTES, MAX_TRAINING_ROWS};
use windvane_protocols::party::SessionId;
use windvane_protocols::train::charter::POSITION_BYTES;
use windvane_protocols::train::elgamal::CIPHERTEXT_BYTES;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt};
use windvane_protocols::transcript::{Record, Signed};
use zeroize::Zeroizing;

use super::appended::append_line;
use crate::error::NodeError;
use crate::sealed;
use crate::snapshot::disk::{at, create_directory, remove_file};

mod journal;

pub(super) use journal::Fact;
use journal::read_journal;
pub use journal::{KeptStep, SessionState, Upload};

/// A signed record of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Acceptance,
    Receipt,
    Lapse,
}

/// A sealed file of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    Mask,
    List,
}

impl Document {
    const fn file(self) -> &'static str {
        match self {
            Self::Acceptance => "acceptance",
            Self::Receipt => "receipt",
            Self::Lapse => "lapse",
        }
    }
}

impl Secret {
    const fn file(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::List => "list",
        }
    }

    const fn max_bytes(self) -> usize {
        match self {
            Self::Mask => 32,
            Self::List => MAX_TRAINING_ROWS * POSITION_BYTES,
        }
    }
}

/// A session's folder; one process at a time works in it.
#[derive(Debug)]
pub struct SessionFolder {
    session: SessionId,
    path: PathBuf,
    journal: File,
    /// Where the journal's last whole line ends.
    end: u64,
    state: SessionState,
}

/// A session that is through.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: SessionState,
    pub(super) receipt: Signed<TrainReceipt>,
}

impl SessionFolder {
    /// Where all sessions of a data directory are; the trainings of a bank have a folder of their own.
    pub fn all(root: &Path) -> PathBuf {
        root.join("train-sessions")
    }

    /// Where a session is.
    pub fn path_of(root: &Path, session: SessionId) -> PathBuf {
        Self::all(root).join(session.to_string())
    }

    /// Opens a session's folder, or makes it, and locks it.
    ///
    /// # Errors
    /// Errors of the system; `TRAIN_FOLDER` when another process has it.
    pub fn open(root: &Path, session: SessionId) -> Result<Self, NodeError> {
        let path = Self::path_of(root, session);
        create_directory(&path)?;
        let journal_path = path.join("journal");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let journal = options.open(&journal_path).map_err(at(&journal_path))?;
        if flock(&journal, FlockOperation::NonBlockingLockExclusive).is_err() {
            let message = format!("another process works on the training in {}", path.display());
            return Err(NodeError::Given { code: "TRAIN_FOLDER", message });
        }
        let (state, end) = read_journal(&journal).map_err(at(&journal_path))?;
        Ok(Self { session, path, journal, end, state })
    }

    /// What the journal says of a session that is through, and its receipt, without working on it; `None` for any
    /// other.
    pub(super) fn ended(root: &Path, session: SessionId) -> Result<Option<Ended>, NodeError> {
        let Some(folder) = Self::peeked(root, session)? else { return Ok(None) };
        if folder.state.completed_at_ms.is_none() {
            return Ok(None);
        }
        let receipt = folder.read(Document::Receipt)?;
        Ok(receipt.map(|receipt| Ended { state: folder.state, receipt }))
    }

    /// What the journal says, without working on the session; `None` when there is none.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn peek(root: &Path, session: SessionId) -> Result<Option<SessionState>, NodeError> {
        Ok(Self::peeked(root, session)?.map(|folder| folder.state))
    }

    fn peeked(root: &Path, session: SessionId) -> Result<Option<Self>, NodeError> {
        let path = Self::path_of(root, session);
        let journal_path = path.join("journal");
        if !journal_path.exists() {
            return Ok(None);
        }
        let journal = File::open(&journal_path).map_err(at(&journal_path))?;
        let (state, end) = read_journal(&journal).map_err(at(&journal_path))?;
        Ok(Some(Self { session, path, journal, end, state }))
    }

    /// The session.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// What the journal says.
    pub const fn state(&self) -> &SessionState {
        &self.state
    }

    /// Adds a fact; it is durable when this returns.
    pub(super) fn note(&mut self, fact: &Fact) -> Result<(), NodeError> {
        let line = serde_json::to_vec(fact).expect("facts are plain data");
        let written = append_line(&mut self.journal, self.end, line);
        self.end = written.map_err(at(&self.path.join("journal")))?;
        self.state.take(fact);
        Ok(())
    }

    /// Keeps a signed record.
    pub(super) fn keep<T: Record>(&self, document: Document, signed: &Signed<T>) -> Result<(), NodeError> {
        Ok(write_private(&self.path.join(document.file()), signed.as_bytes())?)
    }

    /// A signed record that was kept; its signature was checked then.
    pub(super) fn read<T: Record>(&self, document: Document) -> Result<Option<Signed<T>>, NodeError> {
        let bytes = if_there(read_private(&self.path.join(document.file()), MAX_TRAIN_RECEIPT_BYTES))?;
        Ok(bytes.map(Signed::from_bytes_unverified).transpose()?)
    }

    /// Keeps a secret, sealed.
    pub(super) fn seal(&self, secret: Secret, body: &[u8], key: &StorageKey) -> Result<(), NodeError> {
        let name = secret.file();
        Ok(sealed::write(&self.path.join(name), self.session, name, body, key)?)
    }

    /// A secret that was kept; `None` where there is none.
    pub(super) fn unseal(
        &self,
        secret: Secret,
        key: &StorageKey,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, NodeError> {
        let (name, max) = (secret.file(), secret.max_bytes());
        let path = self.path.join(name);
        let damaged = || NodeError::Given {
            code: "TRAIN_FOLDER",
            message: format!("{} is damaged, or sealed under another storage key", path.display()),
        };
        let opened = if_there(sealed::read(&path, self.session, name, max, key))?;
        opened.map(|opened| opened.ok_or_else(damaged)).transpose()
    }

    /// Keeps ciphertexts as they came.
    pub(super) fn keep_upload(&self, upload: Upload, bytes: &[u8]) -> Result<(), NodeError> {
        Ok(write_private(&self.path.join(upload.file()), bytes)?)
    }

    /// Ciphertexts that were kept.
    pub(super) fn upload(&self, upload: Upload) -> Result<Vec<u8>, NodeError> {
        Ok(read_private(&self.path.join(upload.file()), MAX_TRAINING_ROWS * CIPHERTEXT_BYTES)?)
    }

    /// Forgets the residuals of a block that is through.
    pub(super) fn forget_residuals(&self, block: u16) -> Result<(), NodeError> {
        Ok(remove_file(&self.path.join(Upload::Residuals(block).file()))?)
    }

    /// The salt of the commitment to the trees: the one that was kept, or a fresh one that is kept now.
    pub(super) fn salt(&self) -> Result<[u8; 32], NodeError> {
        Ok(kept_random(&self.path.join("salt"))?)
    }

    /// Notes that the session is through and its receipt logged, and forgets what is not needed any more.
    pub(super) fn complete(&mut self, at_ms: u64) -> Result<(), NodeError> {
        self.note(&Fact::Completed { at_ms })?;
        self.forget()
    }

    /// Forgets who was listed, all ciphertexts, and the secret of the masks.
    pub(super) fn forget(&self) -> Result<(), NodeError> {
        let names = [Secret::Mask.file(), Secret::List.file()].map(str::to_owned);
        let uploads = std::fs::read_dir(&self.path).map_err(at(&self.path))?;
        let residuals = uploads.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let residuals = residuals.filter(|name| {
            name.starts_with("residuals-") || ["indicator", "held-out"].contains(&name.as_str())
        });
        let removed: Result<Vec<()>, FileError> =
            names.into_iter().chain(residuals).map(|name| remove_file(&self.path.join(name))).collect();
        Ok(removed.map(drop)?)
    }

    /// The sessions of a data directory that are not over, and began before `before_ms` or were given up already; those
    /// that are over forget what a kill left there. One damaged folder does not keep others from it.
    ///
    /// # Errors
    /// Errors of the system, for the folder of all sessions.
    pub(super) fn due(root: &Path, before_ms: u64) -> Result<Due, NodeError> {
        let all = Self::all(root);
        let mut due = Due::default();
        if !all.exists() {
            return Ok(due);
        }
        for entry in std::fs::read_dir(&all).map_err(at(&all))?.flatten() {
            let Some(session) = entry.file_name().to_str().and_then(parse) else { continue };
            match Self::peeked(root, session)
                .and_then(|folder| folder.map_or(Ok(false), |it| it.is_due(before_ms)))
            {
                Ok(true) => due.sessions.push(session),
                Ok(false) => {}
                Err(error) => due.damaged.push((session, error)),
            }
        }
        due.sessions.sort_unstable();
        Ok(due)
    }

    fn is_due(&self, before_ms: u64) -> Result<bool, NodeError> {
        if self.state.is_over() {
            return self.forget().map(|()| false);
        }
        // One that was accepted and never opened is as old as its acceptance; without one nobody was told anything.
        let Some(acceptance) = self.read::<TrainAcceptance>(Document::Acceptance)? else { return Ok(false) };
        let begun_at_ms = self.state.begun_at_ms.unwrap_or(acceptance.body().accepted_at_ms);
        Ok(self.state.expired_at_ms.is_some() || begun_at_ms < before_ms)
    }
}

/// Sessions that are to be given up.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// In order.
    pub(crate) sessions: Vec<SessionId>,
    /// Those of which nobody can say whether they are, and why not.
    pub(crate) damaged: Vec<(SessionId, NodeError)>,
}

fn parse(name: &str) -> Option<SessionId> {
    let bytes: [u8; 16] = hex::decode(name).ok()?.try_into().ok()?;
    Some(SessionId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use windvane_protocols::train::step::{Place, Step};

    use super::*;

    const SESSION: SessionId = SessionId::from_bytes([7; 16]);

    fn step(tree: u16) -> Step {
        Step::Grow { place: Place { block: 0, tree, level: 0 }, decisions: Vec::new() }
    }

    #[test]
    fn what_was_noted_is_there_after_reopening_and_a_cut_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = SessionFolder::open(dir.path(), SESSION).unwrap();
        folder.note(&Fact::opened(1, 5)).unwrap();
        folder.note(&Fact::uploaded(Upload::Residuals(3), &[4; 64])).unwrap();
        folder.note(&Fact::asked(&step(0))).unwrap();
        folder.note(&Fact::answered(&[9; 64])).unwrap();
        folder.note(&Fact::asked(&step(1))).unwrap();
        let state = folder.state().clone();
        folder.journal.write_all(b"{\"answered\":{\"ret").unwrap();
        drop(folder);
        let mut again = SessionFolder::open(dir.path(), SESSION).unwrap();
        assert_eq!(*again.state(), state);
        let steps = [(step(0), Some([9; 64])), (step(1), None)];
        assert!(again.state().steps.iter().map(|kept| (kept.step.clone(), kept.returned)).eq(steps));
        assert_eq!(again.state().uploads.get(&Upload::Residuals(3)), Some(&[4; 64]));
        again.note(&Fact::answered(&[8; 64])).unwrap();
        again.note(&Fact::answered(&[7; 64])).unwrap();
        assert_eq!(again.state().steps[1].returned, Some([7; 64]));
    }

    #[test]
    fn one_process_works_on_a_session() {
        let dir = tempfile::tempdir().unwrap();
        let _folder = SessionFolder::open(dir.path(), SESSION).unwrap();
        assert_eq!(SessionFolder::open(dir.path(), SESSION).unwrap_err().code(), "TRAIN_FOLDER");
    }
}
