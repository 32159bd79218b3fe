//! A job's folder, `psi/<job>/` in the data directory, on either side: what survives a kill.
//!
//! Signed records stand in files of their own, written whole or not at all. Everything that grows stands in
//! `journal`, a line of JSON for every fact, each durable before the job goes on; a line that a crash cut off
//! is dropped. The rows of a finished bucket stand in `matches/<bucket>`, written before the journal says that
//! it is finished.
//!
//! **A bucket that was under way when anything died is never sent again.** It begins anew, with fresh
//! randomness, under the number of the next connection. That is simpler than keeping messages to resend them
//! byte for byte, and two encodings under one correlation, whose difference would tell something, cannot come
//! to be. The number of connections is bounded, and each is an entry in both logs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use windvane_keys::files::{FileError, read_private, write_private};
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::{Record, Signed};

use super::side::Outcome;
use super::{JobReport, PsiError};
use crate::snapshot::disk::create_directory;

/// A line of the journal is short.
const MAX_LINE_BYTES: u64 = 4 << 10;

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
    Countersignature,
}

impl Document {
    const fn file(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Acceptance => "acceptance",
            Self::Receipt => "receipt",
            Self::Release => "release",
            Self::Countersignature => "countersignature",
        }
    }
}

/// A fact of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fact {
    /// A connection began.
    Attempt { number: u64, at_ms: u64 },
    /// At the provider: a bucket's last message is about to leave.
    Sent { bucket: u32, hash: String },
    /// A bucket's result is kept, here or at the requester.
    Finished { bucket: u32, hash: String },
    /// The job ended early.
    Ended { code: String, at_ms: u64 },
    /// Everything is done.
    Completed { matches: Option<u64>, at_ms: u64 },
}

/// What the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobState {
    /// Connections so far.
    pub attempts: u64,
    /// Buckets whose last message left, at a provider, with their hashes.
    pub sent: BTreeMap<u32, [u8; 32]>,
    /// Finished buckets with their hashes.
    pub finished: BTreeMap<u32, [u8; 32]>,
    /// The code of the last early end, unless a connection began after it.
    pub ended: Option<String>,
    /// Whether everything is done, and since when.
    pub completed_at_ms: Option<u64>,
    /// Matches, where the result tells them.
    pub matches: Option<u64>,
}

/// A job's folder; one process at a time works in it.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    journal: File,
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
        let path = Self::path_of(root, job);
        create_directory(&path.join("matches")).map_err(file)?;
        let journal_path = path.join("journal");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let journal = options.open(&journal_path).map_err(PsiError::io(&journal_path))?;
        if !locked(&journal) {
            let what = "another process works on this job".to_owned();
            return Err(PsiError::Folder { path: journal_path, what });
        }
        let mut folder = Self { path, journal, state: JobState::default() };
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
        let written = self.journal.write_all(&line).and_then(|()| self.journal.sync_data());
        written.map_err(PsiError::io(&self.path.join("journal")))?;
        self.state.take(fact);
        Ok(())
    }

    /// Keeps a signed record.
    pub(super) fn keep<T: Record>(&self, document: Document, signed: &Signed<T>) -> Result<(), PsiError> {
        write_private(&self.path.join(document.file()), signed.as_bytes()).map_err(file)
    }

    /// A signed record that was kept; its signature was checked then.
    pub(super) fn read<T: Record>(&self, document: Document) -> Result<Option<Signed<T>>, PsiError> {
        let path = self.path.join(document.file());
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_private(&path, MAX_DOCUMENT_BYTES).map_err(file)?;
        Ok(Some(Signed::from_bytes_unverified(bytes)?))
    }

    /// Keeps what opens a commitment.
    pub(super) fn keep_secret(&self, name: &str, secret: &[u8; 32]) -> Result<(), PsiError> {
        write_private(&self.path.join(name), secret).map_err(file)
    }

    /// The secret that was kept under this name, or a fresh one that is kept now.
    pub(super) fn secret(&self, name: &str) -> Result<[u8; 32], PsiError> {
        let path = self.path.join(name);
        if let Ok(known) = read_private(&path, 32).map_err(file).and_then(|bytes| {
            <[u8; 32]>::try_from(bytes).map_err(|_| PsiError::Folder { path, what: "not 32 bytes".into() })
        }) {
            return Ok(known);
        }
        let fresh = rand::random();
        self.keep_secret(name, &fresh)?;
        Ok(fresh)
    }

    /// Keeps what a bucket gave, and then that it is finished.
    pub(super) fn finish(&mut self, bucket: u32, hash: [u8; 32], outcome: &Outcome) -> Result<(), PsiError> {
        write_private(&self.matches(bucket), &encode(outcome)).map_err(file)?;
        self.note(&Fact::Finished { bucket, hash: hex::encode(hash) })
    }

    /// What a finished bucket gave.
    pub(super) fn outcome(&self, bucket: u32) -> Result<Outcome, PsiError> {
        let path = self.matches(bucket);
        let bytes = read_private(&path, MAX_MATCHES_BYTES).map_err(file)?;
        decode(&bytes).ok_or_else(|| PsiError::Folder { path, what: "not the matches of a bucket".into() })
    }

    /// Keeps the report of a job that is through, and forgets which rows matched: they are in the output.
    pub(super) fn conclude(&mut self, report: &JobReport, at_ms: u64) -> Result<(), PsiError> {
        let json = serde_json::to_vec_pretty(report).expect("a report is plain data");
        write_private(&self.path.join("report.json"), &json).map_err(file)?;
        self.note(&Fact::Completed { matches: report.matches, at_ms })?;
        let matches = self.path.join("matches");
        std::fs::remove_dir_all(&matches).map_err(PsiError::io(&matches))
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

    fn matches(&self, bucket: u32) -> PathBuf {
        self.path.join("matches").join(bucket.to_string())
    }

    fn load(&mut self) -> std::io::Result<()> {
        let (state, end) = read_journal(&self.journal)?;
        self.state = state;
        // What a crash left behind the last whole line.
        self.journal.set_len(end)?;
        self.journal.seek(SeekFrom::Start(end)).map(drop)
    }
}

/// Waits a moment: a connection that just ended may still be writing its last line.
fn locked(journal: &File) -> bool {
    (0..LOCK_TRIES).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        flock(journal, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn file(error: FileError) -> PsiError {
    crate::error::NodeError::from(error).into()
}

/// The journal's state, and where its last whole line ends.
fn read_journal(file: &File) -> std::io::Result<(JobState, u64)> {
    let (mut state, mut end) = (JobState::default(), 0);
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    loop {
        let mut line = Vec::new();
        std::io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        let fact = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        let Some(fact) = fact else { return Ok((state, end)) };
        state.take(&fact);
        end += line.len() as u64;
    }
}

impl JobState {
    fn take(&mut self, fact: &Fact) {
        let hash = |text: &str| {
            let mut hash = [0; 32];
            // A hash that does not parse agrees with nothing, which the end of the job finds.
            let _ = hex::decode_to_slice(text, &mut hash);
            hash
        };
        match fact {
            Fact::Attempt { number, .. } => {
                self.attempts = self.attempts.max(*number);
                self.ended = None;
            }
            Fact::Sent { bucket, hash: text } => drop(self.sent.insert(*bucket, hash(text))),
            Fact::Finished { bucket, hash: text } => drop(self.finished.insert(*bucket, hash(text))),
            Fact::Ended { code, .. } => self.ended = Some(code.clone()),
            Fact::Completed { matches, at_ms } => {
                self.completed_at_ms = Some(*at_ms);
                self.matches = *matches;
            }
        }
    }
}

/// Kind, number, then rows with their payloads: integers big-endian.
fn encode(outcome: &Outcome) -> Vec<u8> {
    let head = |kind: u8, count: u64| [[kind].as_slice(), &count.to_be_bytes()].concat();
    match outcome {
        Outcome::Count(count) => head(1, *count),
        Outcome::Below(count) => head(2, *count),
        Outcome::Matches(rows) => {
            let mut bytes = head(0, rows.len() as u64);
            for (row, payload) in rows {
                bytes.extend_from_slice(&row.to_be_bytes());
                bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
                bytes.extend_from_slice(payload);
            }
            bytes
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Outcome> {
    let (kind, rest) = bytes.split_first()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let count = u64::from_be_bytes(*count);
    match kind {
        1 => rest.is_empty().then_some(Outcome::Count(count)),
        2 => rest.is_empty().then_some(Outcome::Below(count)),
        0 => {
            let mut rows = Vec::new();
            for _ in 0..count {
                let (row, after) = rest.split_first_chunk()?;
                let (length, after) = after.split_first_chunk()?;
                let (payload, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                rows.push((u64::from_be_bytes(*row), payload.to_vec()));
                rest = after;
            }
            rest.is_empty().then_some(Outcome::Matches(rows))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: SessionId = SessionId::from_bytes([7; 16]);

    #[test]
    fn what_was_noted_is_there_after_reopening_and_a_cut_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = JobFolder::open(dir.path(), JOB).unwrap();
        folder.note(&Fact::Attempt { number: 1, at_ms: 5 }).unwrap();
        let rows = Outcome::Matches(vec![(3, b"tag".to_vec()), (9, vec![])]);
        folder.finish(2, [4; 32], &rows).unwrap();
        folder.note(&Fact::Ended { code: "PEER_CLOSED".into(), at_ms: 6 }).unwrap();
        let state = folder.state().clone();
        assert_eq!((state.attempts, state.finished.get(&2)), (1, Some(&[4; 32])));
        folder.journal.write_all(b"{\"finished\":{\"buck").unwrap();
        drop(folder);
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap(), Some(state.clone()));
        let mut again = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(*again.state(), state);
        assert_eq!(again.outcome(2).unwrap(), rows);
        again.note(&Fact::Attempt { number: 2, at_ms: 7 }).unwrap();
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap().unwrap().ended, None);
    }

    #[test]
    fn one_process_works_on_a_job() {
        let dir = tempfile::tempdir().unwrap();
        let _folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(JobFolder::open(dir.path(), JOB).unwrap_err().code(), "JOB_FOLDER");
    }

    #[test]
    fn outcomes_survive_and_damaged_ones_are_refused() {
        for outcome in [
            Outcome::Count(7),
            Outcome::Below(1),
            Outcome::Matches(vec![]),
            Outcome::Matches(vec![(1, vec![1, 2]), (2, vec![])]),
        ] {
            let bytes = encode(&outcome);
            assert_eq!(decode(&bytes), Some(outcome));
            assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_none()));
        }
    }
}
