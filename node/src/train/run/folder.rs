//! A training's folder at the bank, `train/<training>/` in the data directory: what survives a kill, and what an auditor
//! needs.
//!
//! ```text
//! plan.json                  what was ordered
//! secrets, listed            the seed and its salts; listed positions with labels: sealed
//! block-<n>                  trees of all parties and the decrypted contributions of a block: sealed
//! model                      card, scale and spans: written before any provider has them
//! <party>/request, acceptance, receipt   signed records, written whole or not at all
//! <party>/answers            what the provider answered, step by step, as it came
//! journal                    a line of JSON for every fact, each durable before the training goes on
//! report.json                what came of it
//! ```
//!
//! A last line or answer that a crash cut off is dropped; one that is whole and damaged is an error, and stays. Everything
//! stays: `windvane audit training` takes it, and changes nothing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use windvane_keys::files::{if_there, read_private, write_private};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::limits::MAX_TRAIN_RECEIPT_BYTES;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::transcript::{Record, Signed};
use zeroize::Zeroizing;

use super::error::{ANEW, TrainError};
use super::journal::{Fact, TrainState, read_journal};
use super::plan::TrainPlan;
use super::report::TrainReport;
use super::{PLAN, REPORT};
use crate::sealed;
use crate::snapshot::disk::create_directory;
use crate::train::appended::append_line;

/// Bytes of a sealed file: a block's contributions of all listed rows and its trees, or all positions.
const MAX_SEALED_BYTES: usize = 8 << 20;

/// Bytes of a file in clear text.
const MAX_JSON_BYTES: usize = 8 << 20;

/// A signed record of one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train) enum Document {
    Request,
    Acceptance,
    Receipt,
}

impl Document {
    const fn file(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Acceptance => "acceptance",
            Self::Receipt => "receipt",
        }
    }
}

/// A training's folder; one process at a time works in it.
#[derive(Debug)]
pub struct TrainFolder {
    training: SessionId,
    path: PathBuf,
    journal: File,
    /// Where the journal's last whole line ends.
    end: u64,
    state: TrainState,
}

impl TrainFolder {
    /// Where all trainings of a data directory are.
    pub fn all(root: &Path) -> PathBuf {
        root.join("train")
    }

    /// Where a training is.
    pub fn path_of(root: &Path, training: SessionId) -> PathBuf {
        Self::all(root).join(training.to_string())
    }

    /// The trainings that a bank began, whether they are through or not.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn list(root: &Path) -> Result<Vec<SessionId>, TrainError> {
        let all = Self::all(root);
        if !all.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&all).map_err(TrainError::io(&all))? {
            let entry = entry.map_err(TrainError::io(&all))?;
            let name = entry.file_name();
            let bytes = name.to_str().and_then(|name| hex::decode(name).ok()?.try_into().ok());
            found.extend(bytes.map(SessionId::from_bytes).filter(|_| entry.path().join(PLAN).exists()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Opens a training's folder, or makes it, and locks it.
    ///
    /// # Errors
    /// [`TrainError::Folder`] when another process has it; errors of the system.
    pub fn open(root: &Path, training: SessionId) -> Result<Self, TrainError> {
        create_directory(&Self::path_of(root, training))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self::locked(root, training, &options, FlockOperation::NonBlockingLockExclusive)
    }

    /// Opens a training's folder to read what is kept; nobody works on it meanwhile, and nothing in it changes.
    ///
    /// # Errors
    /// As of [`Self::open`]; there is no such training.
    pub(in crate::train) fn open_kept(root: &Path, training: SessionId) -> Result<Self, TrainError> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::locked(root, training, &options, FlockOperation::NonBlockingLockShared)
    }

    fn locked(
        root: &Path,
        training: SessionId,
        options: &OpenOptions,
        lock: FlockOperation,
    ) -> Result<Self, TrainError> {
        let path = Self::path_of(root, training);
        let journal_path = path.join("journal");
        let journal = options.open(&journal_path).map_err(TrainError::io(&journal_path))?;
        if flock(&journal, lock).is_err() {
            let what = "another process works on this training".to_owned();
            return Err(TrainError::Folder { path: journal_path, what });
        }
        let (state, end) = read_journal(&journal).map_err(TrainError::io(&journal_path))?;
        Ok(Self { training, path, journal, end, state })
    }

    /// What the journal says, without working on the training; `None` when there is none.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn peek(root: &Path, training: SessionId) -> Result<Option<TrainState>, TrainError> {
        let path = Self::path_of(root, training).join("journal");
        if !path.exists() {
            return Ok(None);
        }
        let file = File::open(&path).map_err(TrainError::io(&path))?;
        Ok(Some(read_journal(&file).map_err(TrainError::io(&path))?.0))
    }

    /// What came of a training that is through; `None` before, and where there is none.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn report(root: &Path, training: SessionId) -> Result<Option<TrainReport>, TrainError> {
        let through = Self::peek(root, training)?.is_some_and(|state| state.completed_at_ms.is_some());
        if through { read_json(&Self::path_of(root, training).join(REPORT)) } else { Ok(None) }
    }

    /// The plan of a training, if there is one.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn plan(root: &Path, training: SessionId) -> Result<Option<TrainPlan>, TrainError> {
        read_json(&Self::path_of(root, training).join(PLAN))
    }

    /// The training.
    pub const fn training(&self) -> SessionId {
        self.training
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the journal says.
    pub const fn state(&self) -> &TrainState {
        &self.state
    }

    /// Adds a fact; it is durable when this returns.
    pub(super) fn note(&mut self, fact: &Fact) -> Result<(), TrainError> {
        let line = serde_json::to_vec(fact).expect("facts are plain data");
        let written = append_line(&mut self.journal, self.end, line);
        self.end = written.map_err(TrainError::io(&self.path.join("journal")))?;
        self.state.take(fact);
        Ok(())
    }

    /// A provider's folder.
    pub(in crate::train) fn of(&self, party: &PartyId) -> PathBuf {
        self.path.join(party.as_str())
    }

    /// Keeps a provider's signed record.
    pub(super) fn keep<T: Record>(
        &self,
        party: &PartyId,
        document: Document,
        signed: &Signed<T>,
    ) -> Result<(), TrainError> {
        create_directory(&self.of(party))?;
        Ok(write_private(&self.of(party).join(document.file()), signed.as_bytes())?)
    }

    /// A provider's signed record that was kept; its signature was checked then.
    pub(in crate::train) fn read<T: Record>(
        &self,
        party: &PartyId,
        document: Document,
    ) -> Result<Option<Signed<T>>, TrainError> {
        let path = self.of(party).join(document.file());
        let Some(bytes) = if_there(read_private(&path, MAX_TRAIN_RECEIPT_BYTES))? else { return Ok(None) };
        let signed = Signed::from_bytes_unverified(bytes);
        signed.map(Some).map_err(|error| TrainError::Folder { path, what: error.to_string() })
    }

    /// Seals a file.
    pub(super) fn seal(&self, name: &str, body: &[u8], key: &StorageKey) -> Result<(), TrainError> {
        Ok(sealed::write(&self.path.join(name), self.training, name, body, key)?)
    }

    /// Opens a sealed file, if it is there.
    pub(super) fn unseal(
        &self,
        name: &str,
        key: &StorageKey,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, TrainError> {
        let path = self.path.join(name);
        let read = sealed::read(&path, self.training, name, MAX_SEALED_BYTES, key);
        let Some(opened) = if_there(read)? else { return Ok(None) };
        let what = "it was changed, or sealed under another key".to_owned();
        opened.map(Some).ok_or(TrainError::Folder { path, what })
    }

    /// Seals a record.
    pub(super) fn seal_record<T: Record>(
        &self,
        name: &str,
        record: &T,
        key: &StorageKey,
    ) -> Result<(), TrainError> {
        let body = Zeroizing::new(record.encode().into_bytes());
        self.seal(name, &body, key)
    }

    /// A sealed record, if it is there.
    pub(in crate::train) fn unseal_record<T: Record>(
        &self,
        name: &str,
        key: &StorageKey,
    ) -> Result<Option<T>, TrainError> {
        let Some(body) = self.unseal(name, key)? else { return Ok(None) };
        let damaged = |error: windvane_protocols::transcript::TranscriptError| TrainError::Folder {
            path: self.path.join(name),
            what: format!("{error}; {ANEW}"),
        };
        T::decode(&body).map(Some).map_err(damaged)
    }

    /// Keeps something as JSON.
    pub(super) fn keep_json(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        let json = serde_json::to_vec_pretty(value).expect("plain data always serialises");
        Ok(write_private(&self.path.join(name), &json)?)
    }

    /// What was kept as JSON, if it is there.
    pub(in crate::train) fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, TrainError> {
        read_json(&self.path.join(name))
    }
}

/// What stands in a file as JSON, if it is there.
pub(in crate::train) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TrainError> {
    let Some(bytes) = if_there(read_private(path, MAX_JSON_BYTES))? else { return Ok(None) };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| TrainError::Folder { path: path.to_owned(), what: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use windvane_keys::store::MemoryStore;

    use super::*;

    const TRAINING: SessionId = SessionId::from_bytes([7; 16]);

    #[test]
    fn what_was_noted_is_there_after_reopening_and_a_cut_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = TrainFolder::open(dir.path(), TRAINING).unwrap();
        folder.note(&Fact::Attempt { provider: "carrier-a".into(), number: 1, at_ms: 5 }).unwrap();
        folder.note(&Fact::Block { number: 0, auc: Some(0.75), at_ms: 6 }).unwrap();
        let state = folder.state().clone();
        assert_eq!((state.attempts("carrier-a"), state.blocks.len()), (1, 1));
        folder.journal.write_all(b"{\"block\":{\"num").unwrap();
        drop(folder);
        assert_eq!(TrainFolder::peek(dir.path(), TRAINING).unwrap(), Some(state.clone()));
        let mut again = TrainFolder::open(dir.path(), TRAINING).unwrap();
        assert_eq!(*again.state(), state);
        again.note(&Fact::Ended { code: "PEER_IDLE".into(), at_ms: 9 }).unwrap();
        assert_eq!(again.state().ended.as_deref(), Some("PEER_IDLE"));
        assert_eq!(TrainFolder::open(dir.path(), TRAINING).unwrap_err().code(), "TRAIN_FOLDER");
    }

    #[test]
    fn a_damaged_line_is_an_error_and_nothing_behind_it_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = TrainFolder::open(dir.path(), TRAINING).unwrap();
        folder.note(&Fact::Ended { code: "PEER_IDLE".into(), at_ms: 5 }).unwrap();
        folder.note(&Fact::Encrypted { statistic: 1, digest: "00".into() }).unwrap();
        drop(folder);
        let path = TrainFolder::path_of(dir.path(), TRAINING).join("journal");
        let mut damaged = std::fs::read(&path).unwrap();
        damaged[0] = b'x';
        std::fs::write(&path, &damaged).unwrap();
        for opened in [TrainFolder::open, TrainFolder::open_kept] {
            let error = opened(dir.path(), TRAINING).unwrap_err();
            assert!(error.to_string().contains("line 1 is damaged"), "{error}");
        }
        assert!(TrainFolder::peek(dir.path(), TRAINING).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }

    #[test]
    fn a_folder_that_is_read_stays_as_it_is_and_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        assert!(TrainFolder::open_kept(dir.path(), TRAINING).is_err());
        assert!(!TrainFolder::path_of(dir.path(), TRAINING).exists());
        let mut folder = TrainFolder::open(dir.path(), TRAINING).unwrap();
        folder.note(&Fact::Completed { at_ms: 5 }).unwrap();
        folder.journal.write_all(b"{\"block\":{\"num").unwrap();
        drop(folder);
        let path = TrainFolder::path_of(dir.path(), TRAINING).join("journal");
        let before = std::fs::read(&path).unwrap();
        let kept = TrainFolder::open_kept(dir.path(), TRAINING).unwrap();
        assert_eq!(kept.state().completed_at_ms, Some(5));
        assert_eq!(TrainFolder::open(dir.path(), TRAINING).unwrap_err().code(), "TRAIN_FOLDER");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_sealed_file_opens_as_it_was_written_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = StorageKey::generate(&MemoryStore::new(), 1, &mut rand::rng()).unwrap();
        let folder = TrainFolder::open(dir.path(), TRAINING).unwrap();
        assert!(folder.unseal("secrets", &key).unwrap().is_none());
        folder.seal("secrets", b"seed", &key).unwrap();
        assert_eq!(folder.unseal("secrets", &key).unwrap().unwrap().as_slice(), b"seed");
        let path = folder.path().join("secrets");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[17] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(folder.unseal("secrets", &key).unwrap_err().code(), "TRAIN_FOLDER");
    }
}
