//! A job's folder, `psi/<job>/` in the data directory, on either side: what survives a kill. At a provider a job is its
//! session; at the bank it keeps its name when a new request gives it another session.
//!
//! Signed records stand in files of their own, written whole or not at all. Everything that grows stands in
//! `journal`, a line of JSON for every fact, each durable before the job goes on; a line that a crash cut off
//! is dropped. The rows of a finished bucket stand in `matches/<bucket>` with what came with them, sealed under the
//! node's storage key and written before the journal says that the bucket is finished; they go with the job's end, or with
//! a job that was given up (`JobFolder::expire`).
//!
//! **A bucket that was under way when anything died is never sent again.** It begins anew, with fresh
//! randomness, under the number of the next connection. That is simpler than keeping messages to resend them
//! byte for byte, and two encodings under one correlation, whose difference would tell something, cannot come
//! to be. The number of connections is bounded, and each is an entry in both logs.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use windvane_keys::files::{FileError, if_there, kept_random, read_private, write_private};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::{Record, Signed};
use zeroize::Zeroizing;

use super::side::Outcome;
use super::{JobReport, PsiError};
use crate::sealed;
use crate::snapshot::disk::create_directory;

mod expiry;
mod journal;
mod outcome;

pub(super) use journal::Fact;
pub use journal::JobState;
use journal::read_journal;
use outcome::{decode, encode};

/// How often, and with which pause, a folder's lock is tried.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a bucket's matches that are read: rows with payloads.
const MAX_MATCHES_BYTES: usize = 1 << 30;

/// A signed record of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Request,
    Acceptance,
    Receipt,
    Release,
}

impl Document {
    const fn file(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Acceptance => "acceptance",
            Self::Receipt => "receipt",
            Self::Release => "release",
        }
    }
}

/// A job's folder; one process at a time works in it.
#[derive(Debug)]
pub struct JobFolder {
    job: SessionId,
    path: PathBuf,
    journal: File,
    /// Where the journal's last whole line ends, and its next one begins, whatever a note that failed left there.
    end: u64,
    state: JobState,
}

impl JobFolder {
    /// Where all jobs of a data directory are.
    pub fn all(root: &Path) -> PathBuf {
        root.join("psi")
    }

    /// Where a job is.
    pub fn path_of(root: &Path, job: SessionId) -> PathBuf {
        Self::all(root).join(job.to_string())
    }

    /// Opens a job's folder, or makes it, and locks it.
    ///
    /// # Errors
    /// [`PsiError::Folder`] when another process has it; errors of the system.
    pub fn open(root: &Path, job: SessionId) -> Result<Self, PsiError> {
        Self::open_within(root, job, LOCK_TRIES)
    }

    fn open_within(root: &Path, job: SessionId, tries: u32) -> Result<Self, PsiError> {
        let path = Self::path_of(root, job);
        create_directory(&path.join("matches")).map_err(file)?;
        let journal_path = path.join("journal");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let journal = options.open(&journal_path).map_err(PsiError::io(&journal_path))?;
        if !locked(&journal, tries) {
            let what = "another process works on this job".to_owned();
            return Err(PsiError::Folder { path: journal_path, what });
        }
        let mut folder = Self { job, path, journal, end: 0, state: JobState::default() };
        folder.load().map_err(PsiError::io(&journal_path))?;
        Ok(folder)
    }

    /// What the journal of a job says, without working on it; `None` when there is no such job.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn peek(root: &Path, job: SessionId) -> Result<Option<JobState>, PsiError> {
        let path = Self::path_of(root, job).join("journal");
        if !path.exists() {
            return Ok(None);
        }
        let file = File::open(&path).map_err(PsiError::io(&path))?;
        Ok(Some(read_journal(&file).map_err(PsiError::io(&path))?.0))
    }

    /// Whether the provider has accepted the job, so that there is something to go on from.
    pub fn was_accepted(root: &Path, job: SessionId) -> bool {
        Self::path_of(root, job).join(Document::Acceptance.file()).exists()
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the journal says.
    pub const fn state(&self) -> &JobState {
        &self.state
    }

    /// Adds a fact; it is durable when this returns.
    pub(super) fn note(&mut self, fact: &Fact) -> Result<(), PsiError> {
        let mut line = serde_json::to_vec(fact).expect("facts are plain data");
        line.push(b'\n');
        let written = self.journal.write_all_at(&line, self.end).and_then(|()| self.journal.sync_data());
        written.map_err(PsiError::io(&self.path.join("journal")))?;
        self.end += line.len() as u64;
        self.state.take(fact);
        Ok(())
    }

    /// Keeps a signed record.
    pub(super) fn keep<T: Record>(&self, document: Document, signed: &Signed<T>) -> Result<(), PsiError> {
        write_private(&self.path.join(document.file()), signed.as_bytes()).map_err(file)
    }

    /// A signed record that was kept; its signature was checked then.
    pub(super) fn read<T: Record>(&self, document: Document) -> Result<Option<Signed<T>>, PsiError> {
        let read = read_private(&self.path.join(document.file()), MAX_DOCUMENT_BYTES);
        let bytes = if_there(read).map_err(file)?;
        Ok(bytes.map(Signed::from_bytes_unverified).transpose()?)
    }

    /// What opens the commitment of this name: what was kept, or a fresh secret that is kept now.
    pub(super) fn secret(&self, name: &str) -> Result<[u8; 32], PsiError> {
        kept_random(&self.path.join(name)).map_err(file)
    }

    /// Keeps what a bucket gave, sealed, and then that it is finished.
    pub(super) fn finish(
        &mut self,
        bucket: u32,
        hash: [u8; 32],
        outcome: &Outcome,
        key: &StorageKey,
    ) -> Result<(), PsiError> {
        let (name, body) = (matches_of(bucket), Zeroizing::new(encode(outcome)));
        sealed::write(&self.path.join(&name), self.job, &name, &body, key).map_err(file)?;
        self.note(&Fact::Finished { bucket, hash: hex::encode(hash) })
    }

    /// What a finished bucket gave.
    pub(super) fn outcome(&self, bucket: u32, key: &StorageKey) -> Result<Outcome, PsiError> {
        let name = matches_of(bucket);
        let path = self.path.join(&name);
        let body = sealed::read(&path, self.job, &name, MAX_MATCHES_BYTES, key).map_err(file)?;
        let damaged = || {
            let what = "it was changed, or sealed under another storage key; begin a new job".to_owned();
            PsiError::Folder { path, what }
        };
        body.and_then(|body| decode(&body)).ok_or_else(damaged)
    }

    /// Keeps the report of a job that is through, and forgets which rows matched: they are in the output.
    pub(super) fn conclude(&mut self, report: &JobReport, at_ms: u64) -> Result<(), PsiError> {
        let json = serde_json::to_vec_pretty(report).expect("a report is plain data");
        write_private(&self.path.join("report.json"), &json).map_err(file)?;
        self.note(&Fact::Completed { matches: report.matches, at_ms })?;
        self.forget_matches()
    }

    fn forget_matches(&self) -> Result<(), PsiError> {
        let matches = self.path.join("matches");
        std::fs::remove_dir_all(&matches).map_err(PsiError::io(&matches))
    }

    /// At a provider whose job is through: the report of the list's rows that are no items, which is the same for
    /// every job, goes where the list's newest one is.
    pub(super) fn hand_over_rejects(&self, to: &Path) -> Result<(), PsiError> {
        create_directory(to.parent().unwrap_or(to)).map_err(file)?;
        match std::fs::rename(self.path.join("rejects.csv"), to) {
            // The job was through before this connection, which then read no list.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            renamed => renamed.map_err(PsiError::io(to)),
        }
    }

    /// The report of a job that is through.
    pub(super) fn report(&self) -> Result<Option<JobReport>, PsiError> {
        if self.state.completed_at_ms.is_none() {
            return Ok(None);
        }
        let path = self.path.join("report.json");
        let bytes = read_private(&path, MAX_DOCUMENT_BYTES).map_err(file)?;
        let report = serde_json::from_slice(&bytes);
        report.map(Some).map_err(|error| PsiError::Folder { path, what: error.to_string() })
    }

    /// Whether the operator asked for the job's end.
    pub fn cancelled(&self) -> bool {
        Self::cancel_path(&self.path).exists()
    }

    /// Asks for a job's end; whoever works on it sees it within a moment.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn cancel(root: &Path, job: SessionId) -> Result<(), PsiError> {
        write_private(&Self::cancel_path(&Self::path_of(root, job)), b"").map_err(file)
    }

    /// Where the request for the end of the job in `folder` stands.
    pub(super) fn cancel_path(folder: &Path) -> PathBuf {
        folder.join("cancel")
    }

    fn load(&mut self) -> std::io::Result<()> {
        let (state, end) = read_journal(&self.journal)?;
        self.state = state;
        // What a crash left behind the last whole line.
        self.journal.set_len(end)?;
        self.end = end;
        Ok(())
    }
}

/// The file of what a finished bucket gave, within the folder.
fn matches_of(bucket: u32) -> String {
    format!("matches/{bucket}")
}

/// Waits a moment: a connection that just ended may still be writing its last line.
fn locked(journal: &File, tries: u32) -> bool {
    (0..tries).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        flock(journal, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn file(error: FileError) -> PsiError {
    crate::error::NodeError::from(error).into()
}

#[cfg(test)]
mod tests {
    use windvane_keys::store::MemoryStore;

    use super::*;

    const JOB: SessionId = SessionId::from_bytes([7; 16]);

    fn key() -> StorageKey {
        StorageKey::generate(&MemoryStore::new(), 1, &mut rand::rng()).unwrap()
    }

    #[test]
    fn what_was_noted_is_there_after_reopening_and_a_cut_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, key) = (JobFolder::open(dir.path(), JOB).unwrap(), key());
        folder.note(&Fact::Attempt { number: 1, at_ms: 5 }).unwrap();
        let rows = Outcome::Matches(vec![(3, b"tag".to_vec()), (9, vec![])]);
        folder.finish(2, [4; 32], &rows, &key).unwrap();
        folder.note(&Fact::Ended { code: "PEER_CLOSED".into(), at_ms: 6 }).unwrap();
        let state = folder.state().clone();
        assert_eq!((state.attempts, state.finished.get(&2)), (1, Some(&[4; 32])));
        folder.journal.write_all_at(b"{\"finished\":{\"buck", folder.end).unwrap();
        drop(folder);
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap(), Some(state.clone()));
        let mut again = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(*again.state(), state);
        assert_eq!(again.outcome(2, &key).unwrap(), rows);
        again.note(&Fact::Attempt { number: 2, at_ms: 7 }).unwrap();
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap().unwrap().ended, None);
    }

    #[test]
    fn a_note_that_failed_half_way_takes_no_later_one_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = JobFolder::open(dir.path(), JOB).unwrap();
        let fact = |bucket: u32, hash: &[u8]| Fact::Sent { bucket, hash: hex::encode(hash) };
        folder.note(&fact(0, &[1; 32])).unwrap();
        // As much of a line as there was room for, and one that was written and then could not be synced.
        let whole = serde_json::to_vec(&fact(7, &[7; 200])).unwrap();
        for left in [&whole[..40], [&whole[..], b"\n"].concat().as_slice()] {
            folder.journal.write_all_at(left, folder.end).unwrap();
            folder.note(&fact(1, &[2; 32])).unwrap();
        }
        let state = folder.state().clone();
        drop(folder);
        let mut again = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(*again.state(), state);
        again.note(&fact(2, &[3; 32])).unwrap();
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap().as_ref(), Some(again.state()));
    }

    #[test]
    fn what_a_bucket_gave_is_sealed_for_its_job_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, key) = (JobFolder::open(dir.path(), JOB).unwrap(), key());
        let rows = Outcome::Matches(vec![(3, "欧阳澄观".into())]);
        folder.finish(0, [4; 32], &rows, &key).unwrap();
        let (kept, other) = (folder.path.join("matches/0"), folder.path.join("matches/1"));
        let bytes = std::fs::read(&kept).unwrap();
        assert!(!bytes.windows(12).any(|window| window == "欧阳澄观".as_bytes()));
        std::fs::copy(&kept, other).unwrap();
        let refused = [folder.outcome(1, &key), folder.outcome(0, &self::key())];
        assert!(refused.into_iter().all(|outcome| outcome.unwrap_err().code() == "JOB_FOLDER"));
        assert_eq!(folder.outcome(0, &key).unwrap(), rows);
    }

    #[test]
    fn one_process_works_on_a_job() {
        let dir = tempfile::tempdir().unwrap();
        let _folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(JobFolder::open(dir.path(), JOB).unwrap_err().code(), "JOB_FOLDER");
    }
}
