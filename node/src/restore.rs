//! A new data directory from a backup, which goes on where the node was and never behind that.
//!
//! **The log is the truth.** A backup is old; what counts must not be. So a restore wants the newest log: `--log` names
//! the data directory that was lost, or what of it can still be read: `log/`, and beside it the journal with the last
//! moments. It must continue the backup's log, and every checkpoint that others saw (`--checkpoint`); then the state is
//! brought up to it, and the restored node refuses whatever the lost one had used:
//!
//! | monotone | how |
//! |---|---|
//! | quotas of grants and keys, runs | counted again from the receipts and acceptances in the log, at the first start |
//! | sessions | a start reads those of the last minutes from the log; a score's or a lookup's is answered once |
//! | grants, partners, callers | issued, ended, enrolled, retired, dismissed as the log says; admitted callers come anew |
//! | epochs and key states | every epoch in the log that the key store lacks becomes a destroyed key: its number is used up |
//! | publications | a table that is not, byte for byte, the last one that the log says was published is removed, and its keys destroyed: the next epoch serves |
//! | contexts of scores | epochs begun and tables published go into the ledger; a choice of model that was changed since is forgotten, and an epoch that ended since is taken out of it |
//! | jobs under way | their folders are not restored: what was sent of them cannot be known, so they are begun anew, under other sessions: those that the log says were accepted are not accepted again |
//! | what retention or `retire` destroyed | is destroyed again |
//!
//! **Where the newest log is gone** (`--log-lost`), what was used since the backup cannot be known, so nothing that
//! counts goes on: every grant that this node issued ends, every epoch's and score's keys are destroyed, published
//! tables are removed, callers are dismissed, and the numbers of epochs skip ahead by [`SAFE_STEP`]. A replayed
//! session finds no grant, a quota no grant to be spent from, a number no place below the step. New grants, epochs,
//! setups and callers are needed; the same identity and partners remain. Nor can be known whom the node distrusted since,
//! so that every partner is suspended until `partner resume`, and the notes say what to repeat before. The log says
//! `restored` with `lost`; an auditor with a checkpoint from after the backup finds that the log was rolled back, which is
//! true and stays so.
//!
//! **Promised.** A backup that is damaged, or another node's, is refused before anything is written; so is a directory
//! that is not empty. The data directory appears by one rename after everything was synced; what an interrupted restore
//! leaves is beside it under a name that begins with a dot, and the next one removes it. The log is locked meanwhile.
//!
//! **Not promised.** That the lost node is not started once more: two nodes of one identity break every promise about
//! quotas, so destroy the old directory or its keys. A copy of a log that lacks its last entries (no journal, a mirror)
//! is not the newest: give it with `--log-lost` as well. Revocation lists that came after the backup are never there: the
//! log has their digests, and one that is lost not even these; nor does a restore with `--log-lost` know of partners that
//! were ended, authorities that were bound or released and functions that were switched off since.

use std::path::{Path, PathBuf};

use rustix::fs::syncfs;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::Record as _;

use crate::backup::{
    BackupError, Seal, Watch, copy_dir, outside, read_seal, remove_leftover, resolve, verify,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::identity::{Layout, NodeKeys};
use crate::snapshot::disk::{self, DirectoryLock, at};
use crate::store::Store;

mod catch_up;
mod epochs;
mod jobs;
mod log;
mod lost;
mod stage;

pub use lost::SAFE_STEP;
pub use stage::Stage;

use catch_up::CatchUp;
use log::NewestLog;

/// One restore.
#[derive(Debug, Clone, Copy)]
pub struct Restore<'a> {
    /// The configuration that the node will have; its data directory is not looked at.
    pub config: &'a Config,
    /// The backup, or a repository, of which the newest is taken.
    pub from: &'a Path,
    /// The data directory to make.
    pub to: &'a Path,
    /// A directory with the newest log: a data directory, or the log itself.
    pub log: Option<&'a Path>,
    /// Whether entries after the backup, or after `log`, may be lost.
    pub log_lost: bool,
    /// Checkpoints of the log that others have seen.
    pub checkpoints: &'a [PathBuf],
}

/// A node that was restored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// The backup that was taken.
    pub backup: PathBuf,
    /// The new data directory.
    pub path: PathBuf,
    /// Entries of the log in the backup.
    pub backup_size: u64,
    /// Entries of the log that the node goes on from.
    pub log_size: u64,
    /// What the operator should know or do.
    pub notes: Vec<String>,
}

impl Restore<'_> {
    /// Restores.
    ///
    /// # Errors
    /// [`NodeError`]: nothing stands at the new place.
    pub fn run(&self, clock: &dyn Clock, watch: Watch<'_>) -> Result<Restored, NodeError> {
        if self.log.is_none() && !self.log_lost {
            return Err(BackupError::LogNotNamed.into());
        }
        let backup = resolve(self.from)?;
        self.check(&backup)?;
        self.check_empty()?;
        let newest = self.log.map(NewestLog::hold).transpose()?;
        let temporary = Temporary::make(self.to)?;
        copy_dir(&backup, &temporary.path, |path| newest.is_none() || !path.starts_with("log/"), watch)?;
        let layout = Layout::new(temporary.path.clone());
        newest.as_ref().map_or(Ok(()), |newest| newest.copy_to(&layout))?;
        Stage::Copied.reached();
        let mut config = self.config.clone();
        config.node.data_dir.clone_from(&temporary.path);
        let keys = NodeKeys::open(&config)?;
        let seal = read_seal(&backup)?;
        if !seal.verify(&keys.receipt.verifying_key()) {
            let finding = "its seal is not signed by the receipt key in it".to_owned();
            return Err(BackupError::Damaged { path: backup, finding }.into());
        }
        let size = log::check(&keys, &config, seal.body(), self.checkpoints)?;
        Stage::Log.reached();
        let (mut events, notes) = self.catch_up(&keys, &layout, seal.body(), clock)?;
        Stage::CaughtUp.reached();
        events.push(Event::Restored {
            backup: seal.digest(),
            size: seal.body().log_size,
            log: if self.log_lost { "lost" } else { "complete" }.to_owned(),
        });
        tell(&keys, &config, events, clock.now_ms())?;
        drop(keys);
        Stage::Ready.reached();
        temporary.place(self.to)?;
        Stage::Placed.reached();
        let (path, backup_size) = (self.to.to_owned(), seal.body().log_size);
        Ok(Restored { backup, path, backup_size, log_size: size, notes })
    }

    /// Whether the backup is whole, and this node's.
    fn check(&self, backup: &Path) -> Result<(), NodeError> {
        let report = verify(backup)?;
        if let Some(finding) = report.findings.first() {
            let finding = finding.clone();
            return Err(BackupError::Damaged { path: backup.to_owned(), finding }.into());
        }
        let expected = self.config.node.party.clone();
        if report.party == expected {
            return Ok(());
        }
        Err(BackupError::Foreign { found: report.party, expected }.into())
    }

    fn check_empty(&self) -> Result<(), NodeError> {
        let not_empty = || BackupError::NotEmpty { path: self.to.to_owned() };
        match std::fs::read_dir(self.to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(_) => Err(not_empty().into()),
            Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(not_empty().into())),
        }
    }

    /// Brings the state up to the log; gives the events that this makes, and what the operator should know.
    fn catch_up(
        &self,
        keys: &NodeKeys,
        layout: &Layout,
        seal: &Seal,
        clock: &dyn Clock,
    ) -> Result<(Vec<Event>, Vec<String>), NodeError> {
        let store = Store::open(&layout.state())?;
        let mut catching = CatchUp::new(keys, &store, layout);
        catching.read(seal.before)?;
        let (mut events, mut notes) = catching.finish()?;
        notes.extend(jobs::drop_unfinished(layout)?);
        if self.log_lost {
            let times = (seal.created_at_ms, clock.now_ms());
            let (ended, told) = lost::end_everything(keys, &store, layout, times)?;
            events.extend(ended);
            notes.extend(told);
        }
        Ok((events, notes))
    }
}

/// Writes the events into the log, which is closed then.
fn tell(keys: &NodeKeys, config: &Config, events: Vec<Event>, now_ms: u64) -> Result<(), NodeError> {
    let encode = |event| Entry::new(now_ms, event).encode().into_bytes();
    outside(|| {
        let log = keys.open_log(config)?;
        log.append_blocking(events.into_iter().map(encode).collect())?;
        log.seal_blocking()?;
        Ok(())
    })
}

/// The folder that will become the data directory; dropping it before removes it.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    _lock: DirectoryLock,
    placed: bool,
}

impl Temporary {
    /// Beside its later place, so that a rename is enough.
    fn make(to: &Path) -> Result<Self, NodeError> {
        let unnamed = || NodeError::Given {
            code: "RESTORE_TARGET",
            message: format!("{} is no directory's name", to.display()),
        };
        let name = to.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
        let path = to.with_file_name(format!(".restoring-{name}"));
        remove_leftover(&path)?;
        let made = disk::create_directory(&path);
        made.map_err(|error| match error {
            windvane_keys::files::FileError::Io { path, source } => {
                NodeError::from(BackupError::Target { path, source })
            }
            other => other.into(),
        })?;
        let busy = || BackupError::Busy { path: path.clone() };
        let lock = DirectoryLock::try_acquire(&path)?.ok_or_else(busy)?;
        Ok(Self { path, _lock: lock, placed: false })
    }

    fn place(mut self, to: &Path) -> Result<(), NodeError> {
        let directory = std::fs::File::open(&self.path).map_err(at(&self.path))?;
        syncfs(&directory).map_err(|error| BackupError::target(&self.path)(error.into()))?;
        disk::put_in_place(&self.path, to)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now goes with the next restore.
            let _ = disk::remove_directory(&self.path);
        }
    }
}
