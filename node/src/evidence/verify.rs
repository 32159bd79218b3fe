//! The full check of a log's directory, for whoever does not trust its node: every file, every byte, and all
//! failures, not the first.
//!
//! Promised: any changed byte, any missing, added or reordered entry, and any file that does not belong there
//! is found, as long as the last checkpoint is believed; with an earlier checkpoint at hand, so is a log that
//! was rolled back or rewritten. Not promised: that entries mean something; what they say is checked on top of
//! this. However long the log is, one bundle of it and a hash of each are in memory at a time.
//!
//! A log that is being written may be read. While its writer holds the directory's lock, what was written and not yet
//! published is left out; without a writer it is found. A partial tile that is gone is the beginning of its full one. When
//! the checkpoint changes meanwhile and something does not fit nonetheless, the check begins again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use windvane_protocols::audit::checkpoint::{
    Checkpoint, CheckpointError, LogVerifier, MAX_CHECKPOINT_BYTES, SignedCheckpoint,
};
use windvane_protocols::audit::merkle::TreeHash;
use windvane_protocols::audit::tiles::{Tile, TileKind};

use super::files;
use super::tree::{CHECKPOINT, TEMPORARY};

mod content;

use content::Contents;

/// How often a log that changes meanwhile is read again.
const MAX_ATTEMPTS: usize = 3;

/// Stable codes of findings.
pub mod code {
    /// There is no checkpoint.
    pub const CHECKPOINT_MISSING: &str = "CHECKPOINT_MISSING";
    /// The checkpoint is not spelled as it must be.
    pub const CHECKPOINT_SYNTAX: &str = "CHECKPOINT_SYNTAX";
    /// The checkpoint is not signed by the log's key.
    pub const CHECKPOINT_SIGNATURE: &str = "CHECKPOINT_SIGNATURE";
    /// The checkpoint, or the earlier one, is another log's.
    pub const OTHER_LOG: &str = "OTHER_LOG";
    /// A file or a directory cannot be read.
    pub const UNREADABLE: &str = "UNREADABLE";
    /// A file does not belong to the layout; of a log that nobody writes, also what an interrupted publication left.
    pub const FOREIGN_FILE: &str = "FOREIGN_FILE";
    /// A tile or bundle that the checkpoint does not cover, of a log that nobody writes.
    pub const BEYOND_CHECKPOINT: &str = "BEYOND_CHECKPOINT";
    /// A tile or bundle that the checkpoint covers is not there.
    pub const TILE_MISSING: &str = "TILE_MISSING";
    /// A tile or bundle has not the length or the form that its name says.
    pub const TILE_FORM: &str = "TILE_FORM";
    /// A partial tile differs from the tile that it is a part of.
    pub const PARTIAL_DIFFERS: &str = "PARTIAL_DIFFERS";
    /// An entry's hash is not the one in its tile.
    pub const ENTRY_HASH: &str = "ENTRY_HASH";
    /// A hash is not that of the tile below.
    pub const TILE_HASH: &str = "TILE_HASH";
    /// The entries, or the tiles, give another root than the checkpoint.
    pub const ROOT: &str = "ROOT";
    /// The log has fewer entries than an earlier checkpoint.
    pub const ROLLED_BACK: &str = "ROLLED_BACK";
    /// The log's entries are not those of an earlier checkpoint.
    pub const HISTORY: &str = "HISTORY";
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of failure, stable over versions: see [`code`].
    pub code: &'static str,
    /// Where: a path below the log's directory, or an entry.
    pub location: String,
    /// In words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.code, self.location, self.text)
    }
}

/// What a check of a log's directory found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The checkpoint, when it can be read; it is signed when no finding says otherwise and a key was given.
    pub checkpoint: Option<Checkpoint>,
    /// How many entries could be read.
    pub entries: u64,
    /// All failures; none when the log is whole.
    pub findings: Vec<Finding>,
}

/// Checks a log's directory: the checkpoint's form and, with a `key`, its signature; that every bundle, every
/// tile and the root follow from one another; that nothing else is there; and, with earlier checkpoints in
/// `since` (which the caller trusts), that the log only grew after each.
pub fn verify_log(dir: &Path, key: Option<&LogVerifier>, since: &[Checkpoint]) -> LogReport {
    verify_entries(dir, key, since, |(): &mut (), _, _| {}).0
}

/// The same, and reads the entries in the same pass: `take` gets each that could be read, with its index, in order. What
/// it gathers begins anew where the check does.
pub fn verify_entries<T: Default>(
    dir: &Path,
    key: Option<&LogVerifier>,
    since: &[Checkpoint],
    mut take: impl FnMut(&mut T, u64, Vec<u8>),
) -> (LogReport, T) {
    let mut checked = (LogReport::default(), T::default());
    for _ in 0..MAX_ATTEMPTS {
        let before = read_checkpoint(dir);
        let mut gathered = T::default();
        let report =
            verify_once(dir, before.as_deref(), key, since, |index, entry| take(&mut gathered, index, entry));
        checked = (report, gathered);
        if checked.0.findings.is_empty() || read_checkpoint(dir) == before {
            break;
        }
    }
    checked
}

fn read_checkpoint(dir: &Path) -> Option<Vec<u8>> {
    files::read(&dir.join(CHECKPOINT), MAX_CHECKPOINT_BYTES).ok().flatten()
}

fn verify_once(
    dir: &Path,
    note: Option<&[u8]>,
    key: Option<&LogVerifier>,
    since: &[Checkpoint],
    take: impl FnMut(u64, Vec<u8>),
) -> LogReport {
    let mut check = Check { dir, findings: Vec::new(), tiles: BTreeSet::new(), is_publishing: false };
    let checkpoint = check.checkpoint(note, key);
    check.walk();
    let size = checkpoint.as_ref().map_or_else(|| check.inferred_size(), |checkpoint| checkpoint.size);
    check.unpublished(size);
    let Contents { entries, root, tiles, past } = check.contents(size, since, take);
    if let Some(checkpoint) = &checkpoint {
        check.root("the tiles", tiles, checkpoint);
        check.root("the entries", root, checkpoint);
    }
    for (since, past) in since.iter().zip(past) {
        check.history(since, checkpoint.as_ref(), past, size);
    }
    LogReport { checkpoint, entries, findings: check.findings }
}

/// A check under way.
struct Check<'a> {
    dir: &'a Path,
    findings: Vec<Finding>,
    /// The tiles that are there, by name.
    tiles: BTreeSet<Tile>,
    /// Whether a file of a publication is there that has no name of its own yet.
    is_publishing: bool,
}

impl Check<'_> {
    fn find(&mut self, code: &'static str, location: impl fmt::Display, text: impl fmt::Display) {
        self.findings.push(Finding { code, location: location.to_string(), text: text.to_string() });
    }

    fn checkpoint(&mut self, note: Option<&[u8]>, key: Option<&LogVerifier>) -> Option<Checkpoint> {
        let Some(note) = note else {
            self.find(code::CHECKPOINT_MISSING, CHECKPOINT, "there is no checkpoint that can be read");
            return None;
        };
        let signed = match SignedCheckpoint::parse(note) {
            Ok(signed) => signed,
            Err(error) => {
                self.find(code::CHECKPOINT_SYNTAX, CHECKPOINT, error);
                return None;
            }
        };
        if let Some(Err(error)) = key.map(|key| signed.verify(key)) {
            let other = matches!(error, CheckpointError::OtherLog { .. });
            let code = if other { code::OTHER_LOG } else { code::CHECKPOINT_SIGNATURE };
            self.find(code, CHECKPOINT, error);
        }
        Some(signed.unverified().clone())
    }

    /// Collects the tiles' names, and finds what is not one.
    fn walk(&mut self) {
        let mut pending = vec![String::new()];
        while let Some(relative) = pending.pop() {
            if let Err(error) = self.walk_dir(&relative, &mut pending) {
                // A directory of partial tiles goes when their full tile is published.
                if error.kind() == ErrorKind::NotFound && !relative.is_empty() {
                    continue;
                }
                self.find(code::UNREADABLE, if relative.is_empty() { "." } else { &relative }, error);
            }
        }
    }

    fn walk_dir(&mut self, relative: &str, pending: &mut Vec<String>) -> std::io::Result<()> {
        for found in fs::read_dir(self.dir.join(relative))? {
            let found = found?;
            let name = found.file_name();
            let name = name.to_string_lossy();
            let path = if relative.is_empty() { name.into_owned() } else { format!("{relative}/{name}") };
            let kind = found.file_type()?;
            if kind.is_dir() {
                pending.push(path);
            } else if let (true, Ok(tile)) = (kind.is_file(), path.parse()) {
                self.tiles.insert(tile);
            } else if kind.is_file() && path == TEMPORARY {
                self.is_publishing = true;
            } else if !kind.is_file() || path != CHECKPOINT {
                self.find(code::FOREIGN_FILE, path, "this does not belong to a log");
            }
        }
        Ok(())
    }

    /// Without a checkpoint, the log is as long as its bundles say.
    fn inferred_size(&self) -> u64 {
        let bundles = self.tiles.iter().filter(|tile| tile.kind() == TileKind::Entries);
        bundles.map(|tile| tile.first() + u64::from(tile.width())).max().unwrap_or(0)
    }

    fn root(&mut self, what: &str, root: Option<TreeHash>, checkpoint: &Checkpoint) {
        if root.is_some_and(|root| root != checkpoint.root) {
            let text =
                format!("{what} give another root than the checkpoint over {} entries", checkpoint.size);
            self.find(code::ROOT, CHECKPOINT, text);
        }
    }

    fn history(
        &mut self,
        since: &Checkpoint,
        checkpoint: Option<&Checkpoint>,
        past: Option<TreeHash>,
        size: u64,
    ) {
        if checkpoint.is_some_and(|checkpoint| checkpoint.origin != since.origin) {
            self.find(code::OTHER_LOG, CHECKPOINT, "the earlier checkpoint is of another log");
        } else if size < since.size {
            let text = format!("the log has {size} entries, and had {}", since.size);
            self.find(code::ROLLED_BACK, CHECKPOINT, text);
        } else if past != Some(since.root) {
            let text = format!("the first {} entries are not those of the earlier checkpoint", since.size);
            self.find(code::HISTORY, CHECKPOINT, text);
        }
    }
}

#[cfg(test)]
mod tests;
