//! Backups of a node, taken while it runs, and what each holds.
//!
//! A repository is a directory with one folder for each backup, named by its time, or where the clock went back by the
//! moment after the last one: the newest backup has the last name. A backup mirrors the data directory, so that
//! `windvane audit verify` reads the log in it as it reads a node's:
//!
//! ```text
//! <repository>/<time>/MANIFEST      a line for each file, SHA-512 and path, as `sha512sum -c` reads it
//! <repository>/<time>/SEAL          digest of MANIFEST, size and root of the log, signed by the node's receipt key
//! <repository>/<time>/state.db      SQLite's own online copy
//! <repository>/<time>/log/          the log up to one checkpoint
//! <repository>/<time>/…             every other file by content; keys and details stay sealed as they are
//! <repository>/.making-*            a backup that is being made, or was interrupted
//! ```
//!
//! **Promised.** The state is copied first and the log last, and the checkpoint covers every entry that was durable when
//! the state was copied: so the log of a backup is never behind its state, and a restore brings the state up to the
//! log ([`crate::restore`]). A backup appears under its name by one rename, after everything was synced; one that was
//! interrupted has no name that anything takes for a backup, and the next one removes it. A file that did not change
//! since the last backup of the repository (length and time of change) is a hard link to that one's copy.
//!
//! **Not promised.** A backup does not hold what is being made: unfinished builds, downloads and imports; a job's folder
//! is copied as a kill would leave it. It holds keys that were alive when it was made, also after the node destroyed
//! them: whoever destroys keys removes the backups from before as well (`--keep`, or by hand). The passphrase and the
//! configuration are not in it. A copy that the medium altered is found by [`verify()`], not by the next backup that
//! links to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint};
use windvane_protocols::audit::tiles::tiles_of;
use windvane_protocols::transcript::Signed;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::{LogError, LogReader, durable_size};
use crate::identity::{Layout, NodeKeys, system_disk};
use crate::snapshot::disk::{self, DirectoryLock};
use crate::store::Store;

mod copy;
mod error;
mod manifest;
mod repository;
mod stage;
mod verify;

pub use error::BackupError;
pub(crate) use manifest::read_seal;
pub use manifest::{MANIFEST, SEAL, Seal};
pub(crate) use repository::Repository;
pub use repository::resolve;
pub use stage::Stage;
pub use verify::{BackupReport, verify};

pub(crate) use copy::copy_dir;

use copy::Copier;

/// How often the published log is looked at while entries are durable that it does not cover yet.
const POLL: Duration = Duration::from_millis(20);

/// How long beyond ten intervals between checkpoints a node may take to publish what is durable.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);

/// How often the copy of the log begins again because a tile was completed meanwhile.
const LOG_ATTEMPTS: usize = 20;

/// How often what changed meanwhile is copied again.
const ROUNDS: usize = 5;

/// Who watches: bytes done, bytes in all.
pub type Watch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// One backup to make.
#[derive(Debug, Clone, Copy)]
pub struct Backup<'a> {
    /// The node's configuration.
    pub config: &'a Config,
    /// The node's keys; the receipt key signs.
    pub keys: &'a NodeKeys,
    /// The node's state.
    pub store: &'a Store,
    /// The repository; made when it is missing.
    pub to: &'a Path,
    /// How many backups the repository keeps, this one included; all when `None`.
    pub keep: Option<usize>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// Its folder.
    pub path: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of these that are links to the backup before.
    pub linked_bytes: u64,
    /// Entries of the log.
    pub log_size: u64,
    /// Folders of older backups that were removed.
    pub removed: Vec<PathBuf>,
}

impl Backup<'_> {
    /// Makes the backup; the node may be running.
    ///
    /// # Errors
    /// [`NodeError`]: nothing that looks like a backup was left.
    pub fn make(&self, clock: &dyn Clock, watch: Watch<'_>) -> Result<Made, NodeError> {
        let data = Layout::new(self.config.node.data_dir.clone());
        let repository = Repository::open(self.to, data.root())?;
        let verifier = verifier(self.keys)?;
        let at_rest = self.publish(clock.now_ms())?;
        let before = published(&data)?.size;
        let name = repository.name(clock.now_ms())?;
        let mut copier = Copier::new(&repository, &name, &self.keys.receipt.verifying_key(), watch)?;
        self.store.copy_to(&copier.target("state.db")?).map_err(BackupError::from)?;
        copier.take("state.db")?;
        Stage::State.reached();
        // Entries of the state are among these, in the journal or published.
        let durable = durable_size(&data.journal(), &verifier)?;
        copier.files(data.root(), ROUNDS)?;
        Stage::Files.reached();
        let limit = Duration::from_millis(self.config.log.checkpoint_interval_ms) * 10 + PUBLISH_LIMIT;
        wait_for(&data, durable, if at_rest { Duration::ZERO } else { limit })?;
        let checkpoint = copy_log(&data, &verifier, &mut copier)?;
        Stage::Log.reached();
        let seal = copier.seal(Seal {
            party: self.keys.party.clone(),
            created_at_ms: clock.now_ms(),
            before,
            log_size: checkpoint.size,
            log_root: checkpoint.root,
            files: 0,
            bytes: 0,
            manifest: [0; 64],
        });
        let linked_bytes = copier.linked_bytes();
        let seal = Signed::sign(seal, self.keys.signing_key());
        let path = copier.place(&seal)?;
        let removed = self.keep.map_or(Ok(Vec::new()), |keep| repository.keep(keep))?;
        let (files, bytes) = (seal.body().files, seal.body().bytes);
        Ok(Made { path, files, bytes, linked_bytes, log_size: checkpoint.size, removed })
    }

    /// Publishes what a node that is not running left in its journal: whether there is none that runs.
    fn publish(&self, now_ms: u64) -> Result<bool, NodeError> {
        let open = || self.keys.open_log_in_service(self.config, &system_disk(), self.store, now_ms);
        match outside(|| Ok(open()?.seal_blocking()?)) {
            Ok(_) => Ok(true),
            Err(NodeError::Log(LogError::Locked { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Archives a log that is at rest, with documents beside it, as a backup is made: sealed, under its time, by one rename.
pub(crate) fn archive(
    keys: &NodeKeys,
    data: &Layout,
    documents: &Path,
    repository: &Repository,
    now_ms: u64,
) -> Result<PathBuf, NodeError> {
    let name = repository.name(now_ms)?;
    let mut copier = Copier::new(repository, &name, &keys.receipt.verifying_key(), &|_, _| ())?;
    copier.files(documents, ROUNDS)?;
    let checkpoint = copy_log(data, &verifier(keys)?, &mut copier)?;
    let seal = copier.seal(Seal {
        party: keys.party.clone(),
        created_at_ms: now_ms,
        before: checkpoint.size,
        log_size: checkpoint.size,
        log_root: checkpoint.root,
        files: 0,
        bytes: 0,
        manifest: [0; 64],
    });
    copier.place(&Signed::sign(seal, keys.signing_key()))
}

fn verifier(keys: &NodeKeys) -> Result<LogVerifier, NodeError> {
    let verifier = LogVerifier::new(&log_origin(&keys.party), keys.log.verifying_key());
    Ok(verifier.map_err(LogError::from)?)
}

/// Runs work on the log on a thread of its own, because the caller's may drive asynchronous work.
pub(crate) fn outside<T: Send>(work: impl FnOnce() -> Result<T, NodeError> + Send) -> Result<T, NodeError> {
    let stopped = |_| NodeError::Given { code: "INTERNAL", message: "a worker stopped".into() };
    std::thread::scope(|scope| scope.spawn(work).join().map_err(stopped)?)
}

fn published(data: &Layout) -> Result<Checkpoint, NodeError> {
    Ok(LogReader::open(&data.log())?.checkpoint().unverified().clone())
}

/// Waits until the published log covers what is durable.
fn wait_for(data: &Layout, durable: u64, limit: Duration) -> Result<(), NodeError> {
    let begun = Instant::now();
    loop {
        let found = published(data)?.size;
        if found >= durable {
            return Ok(());
        }
        if begun.elapsed() >= limit {
            return Err(BackupError::Unpublished { found, expected: durable }.into());
        }
        std::thread::sleep(POLL);
    }
}

/// Copies the log up to its newest checkpoint. A tile's parts go once it is complete: then a newer checkpoint is there,
/// and what was copied so far is part of its tree too.
fn copy_log(data: &Layout, verifier: &LogVerifier, copier: &mut Copier<'_>) -> Result<Checkpoint, NodeError> {
    for _ in 0..LOG_ATTEMPTS {
        let reader = LogReader::open(&data.log())?;
        let size = reader.checkpoint().unverified().size;
        for tile in tiles_of(size).filter(|tile| tile.is_full()) {
            copier.tile(data.root(), &format!("log/{tile}"))?;
        }
        if let Some(note) = copy_edge(data, copier)? {
            let checkpoint = verifier.verify(note.to_string().as_bytes()).map_err(LogError::from)?;
            copier.write("log/checkpoint", note.to_string().as_bytes())?;
            return Ok(checkpoint);
        }
    }
    Err(BackupError::Unstable { path: data.log() }.into())
}

/// Copies what is not complete in the tree of the checkpoint that stands now; `None` when a part was gone.
fn copy_edge(data: &Layout, copier: &mut Copier<'_>) -> Result<Option<SignedCheckpoint>, NodeError> {
    let reader = LogReader::open(&data.log())?;
    let note = reader.checkpoint().clone();
    let mut parts = Vec::new();
    for tile in tiles_of(note.unverified().size) {
        let path = format!("log/{tile}");
        if !copier.tile_if_there(data.root(), &path)? {
            parts.iter().try_for_each(|part: &String| copier.forget(part))?;
            return Ok(None);
        }
        if !tile.is_full() {
            parts.push(path);
        }
    }
    Ok(Some(note))
}

/// Removes what an interrupted command left of a directory, if nobody is at it.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), NodeError> {
    if path.exists() && DirectoryLock::try_acquire(path)?.is_some() {
        disk::remove_directory(path)?;
    }
    Ok(())
}
