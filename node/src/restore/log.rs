//! The newest log: found, held, copied, and held against what others have seen.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use windvane_keys::files::{parent_of, read_public};
use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::{
    Checkpoint, LogVerifier, MAX_CHECKPOINT_BYTES, SignedCheckpoint,
};

use crate::backup::{BackupError, Seal, outside};
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::LogError;
use crate::evidence::verify::{code, verify_log};
use crate::identity::{Layout, NodeKeys};
use crate::snapshot::disk::{self, at};

/// What others call the journal's files.
const JOURNAL: [&str; 2] = ["journal.0", "journal.1"];

/// A log that is not in use, and stays so.
#[derive(Debug)]
pub(super) struct NewestLog {
    log: PathBuf,
    journal: Vec<PathBuf>,
    _lock: File,
}

impl NewestLog {
    /// Takes a data directory, or the log in it.
    pub(super) fn hold(dir: &Path) -> Result<Self, NodeError> {
        let inner = dir.join("log");
        let is_log = dir.join("checkpoint").exists() || !inner.exists();
        let log = if is_log { dir.to_owned() } else { inner };
        let lock = File::open(&log).map_err(at(&log))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path: log }.into()),
            Err(TryLockError::Error(source)) => return Err(at(&log)(source).into()),
            Ok(()) => {}
        }
        let beside = match (is_log, log.file_name()) {
            (false, _) => dir.to_owned(),
            (true, Some(_)) => parent_of(&log).to_owned(),
            // Its own folder without a name, as `.`.
            (true, None) => log.join(".."),
        };
        let journal = JOURNAL.iter().map(|name| beside.join(name)).filter(|path| path.exists()).collect();
        Ok(Self { log, journal, _lock: lock })
    }

    /// Copies log and journal to where a node looks for them.
    pub(super) fn copy_to(&self, layout: &Layout) -> Result<(), NodeError> {
        copy_tree(&self.log, &layout.log())?;
        for path in &self.journal {
            let name = path.file_name().unwrap_or_default();
            copy(path, &layout.root().join(name))?;
        }
        Ok(())
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), NodeError> {
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = pending.pop() {
        disk::create_directory(&to)?;
        for entry in fs::read_dir(&from).map_err(at(&from))? {
            let entry = entry.map_err(at(&from))?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if from.is_dir() {
                pending.push((from, to));
            } else {
                copy(&from, &to)?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), NodeError> {
    fs::copy(from, to).map(drop).map_err(|error| BackupError::target(to)(error).into())
}

/// Publishes what the journal has, and checks that the log is whole, goes on from the backup's, and is not behind what
/// others have seen; gives its size.
pub(super) fn check(
    keys: &NodeKeys,
    config: &Config,
    seal: &Seal,
    seen: &[PathBuf],
) -> Result<u64, NodeError> {
    let size = outside(|| Ok(keys.open_log(config)?.seal_blocking()?))?.size;
    let origin = log_origin(&keys.party);
    let verifier = LogVerifier::new(&origin, keys.log.verifying_key()).map_err(LogError::from)?;
    let dir = Layout::new(config.node.data_dir.clone()).log();
    let backup = Checkpoint { origin, size: seal.log_size, root: seal.log_root };
    let others = seen.iter().map(|path| read_checkpoint(path, &verifier));
    let earlier = std::iter::once(Ok(backup)).chain(others).collect::<Result<Vec<_>, NodeError>>()?;
    if let Some(finding) = verify_log(&dir, Some(&verifier), &earlier).findings.first() {
        let behind = [code::ROLLED_BACK, code::HISTORY, code::OTHER_LOG].contains(&finding.code);
        let finding = finding.to_string();
        return Err(match behind {
            true => BackupError::LogBehind { finding },
            false => BackupError::Damaged { path: dir, finding },
        }
        .into());
    }
    Ok(size)
}

/// A checkpoint that others have seen; only this log's own is of any meaning.
fn read_checkpoint(path: &Path, verifier: &LogVerifier) -> Result<Checkpoint, NodeError> {
    let note = read_public(path, MAX_CHECKPOINT_BYTES)?;
    let checked = SignedCheckpoint::parse(&note).and_then(|signed| signed.verify(verifier).cloned());
    checked.map_err(|error| NodeError::Given {
        code: "CHECKPOINT_INVALID",
        message: format!("{} is no checkpoint of this node's log: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_found_beside_a_log_however_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("log/tile")).unwrap();
        fs::write(path("log/checkpoint"), b"x").unwrap();
        fs::write(path("journal.0"), b"x").unwrap();
        for name in ["", "log", "log/.", "log/tile/.."] {
            assert_eq!(NewestLog::hold(&path(name)).unwrap().journal.len(), 1, "{name}");
        }
    }
}
