//! The evidence log of one node: append-only, durable before it answers, verifiable by others' tools.
//!
//! **On disk.** The log's directory is a C2SP `tlog-tiles` tree and nothing else: `checkpoint`, `tile/…`,
//! `tile/entries/…`. A journal outside of it makes entries durable before they are in the tree: two files,
//! `<journal>.0` and `<journal>.1`, used in turn, so that appending never waits for publishing.
//!
//! **Promised.** When [`EvidenceLog::append`] returns, the entries are on stable storage, at the indices that
//! it names, and every later checkpoint covers them. A checkpoint is signed only over entries that are
//! durable, so that no crash makes the log sign two histories. Appends that wait together share one
//! `fdatasync` (group commit), with no delay unless [`LogConfig::gather`] asks for one. Full tiles are written
//! once. After any failed write or sync the log refuses everything: it never acknowledges what may be lost.
//! One process at a time: the directory and the journal are locked.
//!
//! **Not promised.** Partial tiles are kept until their full tile is published, as `tlog-tiles` asks, but
//! [`EvidenceLog::seal`] leaves only those of the last checkpoint. What entries say is not looked at here.
//! A fault in the journal itself ends its replay like a torn write does: acknowledged entries behind it are
//! refused as a gap when the other journal file continues after them, and otherwise are lost; the other
//! party's log still names them.

pub mod disk;
mod error;
mod files;
mod journal;
mod queue;
mod reader;
pub mod stage;
mod tree;
pub mod verify;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use windvane_protocols::audit::checkpoint::{Checkpoint, LogSigner, LogVerifier};

pub use self::error::LogError;
pub(crate) use self::files::is_locked as is_held;
pub use self::queue::{Appended, LogCondition, LogStats};
pub use self::reader::{Entries, LogReader};

use self::disk::{Disk, SystemDisk};
use self::journal::Journal;
use self::queue::{Queued, Shared};
use self::tree::Tree;
use self::writer::Threads;

/// Where a log is, what it is called, and how it trades latency for work.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The log's directory; created when missing. Only `tlog-tiles` files are ever in it.
    pub dir: PathBuf,
    /// Path of the journal, outside of `dir`; `.0` and `.1` are added to it.
    pub journal: PathBuf,
    /// The log's origin, for example `bank.example/windvane/log`.
    pub origin: String,
    /// How long an entry may be durable before a checkpoint covers it.
    pub checkpoint_interval: Duration,
    /// How long an append may wait for others to share its sync, beyond the sync that is under way.
    pub gather: Duration,
}

/// A handle to the log; clones share it. When the last handle goes without [`EvidenceLog::seal`], what is
/// queued becomes durable and the next [`EvidenceLog::open`] publishes it.
#[derive(Clone)]
pub struct EvidenceLog {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    verifier: LogVerifier,
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

impl EvidenceLog {
    /// Opens the log, or begins it: locks it, checks that the newest checkpoint is signed by `key` and that
    /// the tiles' right edge gives its root, replays the journal and publishes what it held.
    ///
    /// Blocks on files. A full check is an auditor's: [`verify::verify_log`].
    ///
    /// # Errors
    /// [`LogError::Locked`] when another process or handle has the log; any other [`LogError`] when the
    /// directory and the journal are not what this log left. Nothing is changed then.
    pub fn open(config: LogConfig, key: SigningKey) -> Result<Self, LogError> {
        Self::open_on(config, key, &(Arc::new(SystemDisk) as Arc<dyn Disk>))
    }

    /// [`EvidenceLog::open`] on another disk.
    ///
    /// # Errors
    /// As [`EvidenceLog::open`].
    pub fn open_on(config: LogConfig, key: SigningKey, disk: &Arc<dyn Disk>) -> Result<Self, LogError> {
        let signer = LogSigner::new(&config.origin, key)?;
        let verifier = signer.verifier().clone();
        if config.journal.starts_with(&config.dir) {
            return Err(LogError::JournalInside { dir: config.dir });
        }
        let mut tree = Tree::open(&config.dir, signer, disk.clone())?;
        let (mut journal, recovered) = Journal::open(&config.journal, &verifier, tree.size(), disk)?;
        let checkpoint = tree.publish(recovered)?;
        journal.reset()?;
        Self::start(config, verifier, tree, journal, checkpoint)
    }

    fn start(
        config: LogConfig,
        verifier: LogVerifier,
        tree: Tree,
        journal: Journal,
        checkpoint: Checkpoint,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::new(checkpoint, &config));
        let threads = Threads::start(&shared, tree, journal)?;
        let inner = Inner { dir: config.dir, verifier, shared, threads: Mutex::new(Some(threads)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends entries, one after another, and returns when they are durable. A caller that stops waiting
    /// does not undo its append. When the log is idle, a small append is written and synced in the caller's thread.
    ///
    /// # Errors
    /// [`LogError`] when an entry is empty or too long, the queue is full, or the log failed or is closed; the
    /// entries are then not in the log, except that after [`LogError::Failed`] they may be.
    pub async fn append(&self, entries: Vec<Vec<u8>>) -> Result<Appended, LogError> {
        reply(self.enqueue(entries)?.await)
    }

    /// [`EvidenceLog::append`] for threads outside of the asynchronous runtime; panics on one of its own.
    ///
    /// # Errors
    /// As [`EvidenceLog::append`].
    pub fn append_blocking(&self, entries: Vec<Vec<u8>>) -> Result<Appended, LogError> {
        reply(self.enqueue(entries)?.blocking_recv())
    }

    fn enqueue(&self, entries: Vec<Vec<u8>>) -> Result<Queued, LogError> {
        let (queued, commit) = self.inner.shared.enqueue(entries)?;
        if let Some(commit) = commit {
            writer::make_durable(&self.inner.shared, commit);
        }
        Ok(queued)
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.inner.shared.size()
    }

    /// The last published checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        self.inner.shared.checkpoint()
    }

    /// The key under which checkpoints verify; its text form is what auditors are given.
    pub fn verifier(&self) -> &LogVerifier {
        &self.inner.verifier
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Counts and sync times since the log was opened.
    pub fn stats(&self) -> LogStats {
        self.inner.shared.stats()
    }

    /// How the log stands now.
    pub fn condition(&self) -> LogCondition {
        self.inner.shared.condition()
    }

    /// Counts of sync times since the log was opened; what is given goes on counting.
    pub fn sync_seconds(&self) -> Histogram {
        self.inner.shared.sync_seconds()
    }

    /// Publishes all entries that are durable now, and returns the checkpoint over them.
    ///
    /// # Errors
    /// [`LogError`] when the log failed or is closed.
    pub async fn publish(&self) -> Result<Checkpoint, LogError> {
        reply(self.inner.shared.request_checkpoint()?.await)
    }

    /// [`EvidenceLog::publish`] for threads outside of the asynchronous runtime; panics on one of its own.
    ///
    /// # Errors
    /// As [`EvidenceLog::publish`].
    pub fn publish_blocking(&self) -> Result<Checkpoint, LogError> {
        reply(self.inner.shared.request_checkpoint()?.blocking_recv())
    }

    /// Ends the log for this process: what is queued becomes durable, everything is published, the journal
    /// is removed and the locks are released. Other handles are refused from now on.
    ///
    /// # Errors
    /// [`LogError`] when the log failed, or was sealed before.
    pub async fn seal(self) -> Result<Checkpoint, LogError> {
        let sealed = tokio::task::spawn_blocking(move || self.seal_blocking()).await;
        sealed.unwrap_or(Err(LogError::Closed))
    }

    /// [`EvidenceLog::seal`] for threads outside of the asynchronous runtime; panics on one of its own.
    ///
    /// # Errors
    /// As [`EvidenceLog::seal`].
    pub fn seal_blocking(self) -> Result<Checkpoint, LogError> {
        let published = reply(self.inner.shared.close()?.blocking_recv());
        let threads = self.inner.take_threads().ok_or(LogError::Closed)?;
        let (tree, journal) = threads.stop(&self.inner.shared);
        let checkpoint = published?;
        let (Some(tree), Some(journal)) = (tree, journal) else { return Err(LogError::Closed) };
        tree.remove_superseded()?;
        journal::remove(&journal)?;
        Ok(checkpoint)
    }

    /// The published entries from this index on, for a node that rebuilds its state at start: every entry
    /// that was durable when the log was opened is published. Entries appended since are covered after
    /// [`EvidenceLog::publish`].
    ///
    /// # Errors
    /// [`LogError`] when the checkpoint cannot be read.
    pub fn entries_from(&self, index: u64) -> Result<Entries, LogError> {
        Ok(LogReader::open(&self.inner.dir)?.entries(index))
    }
}

/// How many entries are durable as far as a journal knows, published or not; the log may be another process's.
///
/// # Errors
/// [`LogError`] when the journal is another log's, or cannot be read.
pub fn durable_size(journal: &Path, log: &LogVerifier) -> Result<u64, LogError> {
    journal::durable(journal, log)
}

/// A thread that ends without an answer has failed.
fn reply<T>(answer: Result<Result<T, LogError>, oneshot::error::RecvError>) -> Result<T, LogError> {
    answer.unwrap_or_else(|_| Err(LogError::Failed { reason: "the log's writer has ended".into() }))
}

impl Inner {
    fn take_threads(&self) -> Option<Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(threads) = self.take_threads() {
            threads.stop(&self.shared);
        }
    }
}

impl fmt::Debug for EvidenceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceLog").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
