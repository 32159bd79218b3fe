//! Whether a backup is what was sealed.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use rayon::prelude::*;
use serde::Serialize;
use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::LogVerifier;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::{Record as _, Signed};

use super::BackupError;
use super::copy::digest;
use super::manifest::{MANIFEST, Manifest, SEAL, Seal, read_seal};
use crate::audit::opening;
use crate::clock::rfc3339;
use crate::error::NodeError;
use crate::evidence::verify::verify_entries;
use crate::snapshot::disk::at;

/// How many paths an error names.
const MAX_NAMED: usize = 10;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Whose backup it is.
    pub party: String,
    /// When it was made.
    pub created: String,
    /// Files that were checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries of its log.
    pub log_size: u64,
    /// The verifier key of its log, to be compared with the published one.
    pub log_key: String,
    /// Everything that is wrong; nothing when the backup is whole.
    pub findings: Vec<String>,
}

impl BackupReport {
    /// Whether the backup is whole.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { party, created, files, bytes, log_size, .. } = self;
        writeln!(
            f,
            "backup of {party} from {created}: {files} files, {bytes} bytes, {log_size} log entries"
        )?;
        writeln!(f, "log key {}", self.log_key)?;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        f.write_str(if self.is_ok() { "whole" } else { "DAMAGED" })
    }
}

/// Checks every file's digest, the seal, and the log. It needs no key: the seal is held against the keys that the log
/// in the backup names, so compare [`BackupReport::log_key`] with the published one.
///
/// Nothing is read where anything but files and folders stands in the backup: a link leads out of it or round in it, and
/// a device or a pipe never ends.
///
/// # Errors
/// [`BackupError::Irregular`] of that, or when manifest or seal cannot be read at all.
pub fn verify(dir: &Path) -> Result<BackupReport, NodeError> {
    let files = regular_files(dir)?;
    let seal = read_seal(dir)?;
    let (manifest, found) = Manifest::read(dir)?;
    let body = seal.body();
    let mut findings = Vec::new();
    if found != body.manifest {
        findings.push(format!("{MANIFEST} is not the one that was sealed"));
    }
    let checked: Vec<_> = manifest.0.par_iter().map(|(path, expected)| check(dir, path, expected)).collect();
    let bytes = checked.iter().filter_map(|file| file.as_ref().ok()).sum();
    findings.extend(checked.into_iter().filter_map(Result::err));
    findings.extend(foreign(&files, &manifest));
    let log_key = log(dir, &seal, &mut findings);
    Ok(BackupReport {
        party: body.party.to_string(),
        created: rfc3339(body.created_at_ms),
        files: manifest.0.len() as u64,
        bytes,
        log_size: body.log_size,
        log_key,
        findings,
    })
}

fn check(dir: &Path, path: &str, expected: &[u8; 64]) -> Result<u64, String> {
    match digest(&dir.join(path)) {
        Ok((found, len)) if found == *expected => Ok(len),
        Ok(_) => Err(format!("{path} was altered")),
        Err(error) => Err(error.to_string()),
    }
}

/// The files below a directory, by their paths in it. Links are not followed.
fn regular_files(dir: &Path) -> Result<Vec<String>, NodeError> {
    let (mut found, mut irregular, mut pending) = (Vec::new(), Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = pending.pop() {
        let path = dir.join(&folder);
        for entry in std::fs::read_dir(&path).map_err(at(&path))? {
            let entry = entry.map_err(at(&path))?;
            let name = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(at(&path))?;
            if kind.is_dir() {
                pending.push(name);
            } else if kind.is_file() {
                found.push(name.to_string_lossy().into_owned());
            } else {
                irregular.push(name.display().to_string());
            }
        }
    }
    irregular.sort_unstable();
    irregular.truncate(MAX_NAMED);
    match irregular.is_empty() {
        true => Ok(found),
        false => Err(BackupError::Irregular { path: dir.to_owned(), found: irregular.join(", ") }.into()),
    }
}

/// Files that the manifest does not name.
fn foreign(files: &[String], manifest: &Manifest) -> Vec<String> {
    let is_foreign = |name: &&String| !manifest.0.contains_key(*name) && *name != MANIFEST && *name != SEAL;
    files.iter().filter(is_foreign).map(|name| format!("{name} does not belong to the backup")).collect()
}

/// Checks the log, and the seal against the keys that it names; gives the log's key.
fn log(dir: &Path, seal: &Signed<Seal>, findings: &mut Vec<String>) -> String {
    let (dir, body) = (dir.join("log"), seal.body());
    let opening = opening(&dir).filter(|keys| keys.party == body.party);
    let key = opening.and_then(|keys| {
        let key = VerifyingKey::from_bytes(&keys.log).ok().filter(|key| !key.is_weak())?;
        LogVerifier::new(&log_origin(&keys.party), key).ok()
    });
    if key.is_none() {
        findings.push("the log does not open with its party's keys".to_owned());
    }
    let (report, is_signed) = verify_entries(&dir, key.as_ref(), &[], |is_signed: &mut bool, _, entry| {
        *is_signed = *is_signed || signs(&entry, seal);
    });
    findings.extend(report.findings.iter().map(|finding| format!("log: {finding}")));
    if report.checkpoint.is_none_or(|found| (found.size, found.root) != (body.log_size, body.log_root)) {
        findings.push("the log is not the one that was sealed".to_owned());
    }
    if !is_signed {
        findings.push(format!("{SEAL} is not signed by a key of {}", body.party));
    }
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// Whether an entry names a key of the seal's party, and that key signed the seal.
fn signs(entry: &[u8], seal: &Signed<Seal>) -> bool {
    let keys = match Entry::decode(entry).map(|entry| entry.event) {
        Ok(Event::Opened(keys) | Event::Enrolled { keys, .. }) => keys,
        _ => return false,
    };
    keys.party == seal.body().party
        && VerifyingKey::from_bytes(&keys.receipt).is_ok_and(|key| seal.verify(&key))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_backup_with_links_or_pipes_is_refused_before_anything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("log")).unwrap();
        mkfifoat(CWD, path(SEAL), Mode::from_raw_mode(0o600)).unwrap();
        symlink("/dev/zero", path(MANIFEST)).unwrap();
        ["log/left", "log/right"].iter().for_each(|link| symlink(".", path(link)).unwrap());
        let error = verify(dir.path()).unwrap_err();
        assert_eq!(error.code(), "BACKUP_IRREGULAR");
        assert!(error.to_string().contains("MANIFEST, SEAL, log/left, log/right: "), "{error}");
    }
}
