//! Whether a backup is what was sealed.

use std::fmt;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use rayon::prelude::*;
use serde::Serialize;
use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::LogVerifier;
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::transcript::{Record as _, Signed};

use super::copy::digest;
use super::manifest::{MANIFEST, Manifest, SEAL, Seal, read_seal};
use crate::clock::rfc3339;
use crate::error::NodeError;
use crate::evidence::verify::verify_log;

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
/// # Errors
/// [`NodeError`] when manifest or seal cannot be read at all.
pub fn verify(dir: &Path) -> Result<BackupReport, NodeError> {
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
    findings.extend(foreign(dir, &manifest)?);
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

/// Files that the manifest does not name.
fn foreign(dir: &Path, manifest: &Manifest) -> Result<Vec<String>, NodeError> {
    let (mut found, mut pending) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = pending.pop() {
        let path = dir.join(&folder);
        for entry in std::fs::read_dir(&path).map_err(NodeError::io(path.display().to_string()))? {
            let entry = entry.map_err(NodeError::io(path.display().to_string()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.path().is_dir() {
                pending.push(name);
            } else if !manifest.0.contains_key(&name) && name != MANIFEST && name != SEAL {
                found.push(format!("{name} does not belong to the backup"));
            }
        }
    }
    Ok(found)
}

/// Checks the log, and the seal against the keys that it names; gives the log's key.
fn log(dir: &Path, seal: &Signed<Seal>, findings: &mut Vec<String>) -> String {
    let body = seal.body();
    let mut report = verify_log(&dir.join("log"), None, None);
    let named = keys(seal, &report.entries);
    let key = named.first().and_then(|keys| {
        let key = VerifyingKey::from_bytes(&keys.log).ok().filter(|key| !key.is_weak())?;
        LogVerifier::new(&log_origin(&keys.party), key).ok()
    });
    if key.is_some() {
        report = verify_log(&dir.join("log"), key.as_ref(), None);
    } else {
        findings.push("the log does not open with its party's keys".to_owned());
    }
    findings.extend(report.findings.iter().map(|finding| format!("log: {finding}")));
    if report.checkpoint.is_none_or(|found| (found.size, found.root) != (body.log_size, body.log_root)) {
        findings.push("the log is not the one that was sealed".to_owned());
    }
    let signed = |keys: &Keys| VerifyingKey::from_bytes(&keys.receipt).is_ok_and(|key| seal.verify(&key));
    if !named.iter().any(signed) {
        findings.push(format!("{SEAL} is not signed by a key of {}", body.party));
    }
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// The keys that the party of the seal had, by its log.
fn keys(seal: &Signed<Seal>, entries: &[(u64, Vec<u8>)]) -> Vec<Keys> {
    let party = &seal.body().party;
    let named = entries.iter().filter_map(|(_, bytes)| match Entry::decode(bytes).ok()?.event {
        Event::Opened(keys) | Event::Enrolled { keys, .. } => Some(keys),
        _ => None,
    });
    named.filter(|keys| keys.party == *party).collect()
}
