//! The auditor's offline checks, for a compliance officer who did not run the node and trusts nothing of it.
//!
//! [`verify`] checks one log: its files and checkpoint (see [`crate::evidence::verify`]), and then what its
//! entries say. The log carries everything that this needs: the keys of its party and, in enrolments with
//! their certificates, those of its partners. Every signed record is checked against the keys that the log
//! had named **before** it; sessions, receipts, grants, quotas, countersignatures and decisions against one
//! another. [`reconcile()`] then holds the logs of both sides of every call against each other.
//!
//! **Promised.** All failures are named, each with a stable [`code`], not the first. Without any help a single
//! log shows any change by somebody who lacks its log key, and any record that its signer did not make. With
//! the other side's log, it also shows what a party changed, removed or added in its own log and signed
//! anew, as far as it concerns a session, a receipt, a grant, a manifest, a table or a key that both have.
//!
//! **Not promised.** That the keys are the right ones: compare the log keys and the authorities' fingerprints,
//! which every report names, with what the parties published, or give the key. What a party says in its own
//! log alone (starts, users, its own failures, epochs' keys, the content of decisions) can be believed only
//! as far as an earlier checkpoint, kept elsewhere, covers it. Rates per second are not checked: a log's times
//! are too coarse for that. A log that is being written may be verified; to be reconciled, logs should be at
//! rest, because a session under way stands in one of them first.

use std::path::{Path, PathBuf};

use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::{Checkpoint, LogVerifier};
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::transcript::Record as _;

use crate::clock::rfc3339;
use crate::evidence::LogReader;
use crate::evidence::verify::verify_entries;

pub mod code;
mod content;
mod decisions;
mod grants;
mod jobs;
mod keyring;
mod reconcile;
mod report;
mod sessions;
#[cfg(test)]
mod tests;

pub use reconcile::reconcile;
pub use report::{AuditReport, Difference, Finding, GrantUse, PairReport, Place, ReconcileReport};

use content::Content;
use keyring::usable;
use report::{Fault, counted};

/// What the auditor knows from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The log's key, as its party published it. Without it, the key is taken from the log's first entry.
    pub vkey: Option<LogVerifier>,
    /// An earlier checkpoint of the log, which the log must continue.
    pub since: Option<Checkpoint>,
}

/// Checks one log, files and content, and names all failures.
pub fn verify(dir: &Path, options: &VerifyOptions) -> AuditReport {
    examine(dir, options).0
}

/// The report on a log, and what it says.
fn examine(dir: &Path, options: &VerifyOptions) -> (AuditReport, Content) {
    let own = opening(dir).and_then(|keys| verifier_of(&keys).ok());
    let key = options.vkey.as_ref().or(own.as_ref());
    let (log, content) = verify_entries(dir, key, options.since.as_slice(), Content::take);
    let size = log.checkpoint.as_ref().map_or(log.entries, |checkpoint| checkpoint.size);
    let mut content = content.read();
    let mut findings: Vec<Finding> = log.findings.into_iter().map(Finding::from).collect();
    findings.extend(check_keys(content.keyring.own(), log.checkpoint.as_ref(), key));
    findings.append(&mut content.findings);
    let report = AuditReport {
        party: content.keyring.party().map(ToString::to_string),
        log_key: key.map(ToString::to_string),
        size,
        root: log.checkpoint.map(|checkpoint| hex::encode(checkpoint.root)).unwrap_or_default(),
        from: content.span_ms.map(|(first, _)| rfc3339(first)),
        to: content.span_ms.map(|(_, last)| rfc3339(last)),
        counts: content.counts.clone(),
        grants: content.grants.usage(),
        findings,
        notes: notes(&content, options),
        uncountersigned: uncountersigned(&content),
    };
    (report, content)
}

/// The directory of a log: this one, or the one in a data directory or in an archive.
pub fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("log");
    if !dir.join("checkpoint").exists() && inner.join("checkpoint").exists() { inner } else { dir.to_owned() }
}

/// The keys in the log's first entry, before anything is checked; `None` when they cannot be read.
pub(crate) fn opening(dir: &Path) -> Option<Keys> {
    let (_, bytes) = LogReader::open(dir).ok()?.entries(0).next()?.ok()?;
    match Entry::decode(&bytes).ok()?.event {
        Event::Opened(keys) => Some(keys),
        _ => None,
    }
}

fn verifier_of(keys: &Keys) -> Result<LogVerifier, Fault> {
    let key = usable(&keys.log)?;
    LogVerifier::new(&log_origin(&keys.party), key).map_err(|error| Fault::new(code::KEY_INVALID, error))
}

/// Whether the log is named after its party, and the key that it names is the one that signs.
fn check_keys(own: Option<&Keys>, log: Option<&Checkpoint>, key: Option<&LogVerifier>) -> Vec<Finding> {
    let Some(own) = own else { return Vec::new() };
    let mut faults: Vec<_> = verifier_of(own).err().into_iter().collect();
    if key.is_some_and(|key| *key.key().as_bytes() != own.log) {
        let text = "the log opens with another checkpoint key than the one that was given";
        faults.push(Fault::new(code::LOG_KEY_DIFFERS, text));
    }
    let origin = log_origin(&own.party);
    if let Some(log) = log.filter(|log| log.origin != origin) {
        let text = format!("the checkpoint is of {}, the log's own party would be {origin}", log.origin);
        faults.push(Fault::new(code::ORIGIN_DIFFERS, text));
    }
    faults.into_iter().map(|fault| fault.at(0)).collect()
}

fn uncountersigned(content: &Content) -> u64 {
    let open = |(_, session): &(_, &sessions::Session)| {
        session.answered.is_some() && session.countersigned.is_none()
    };
    content.sessions.iter().filter(open).count() as u64 + content.jobs.uncountersigned()
}

fn notes(content: &Content, options: &VerifyOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if options.vkey.is_none() {
        notes.push(
            "the log's key was taken from the log itself; compare it with the published one".to_owned(),
        );
    }
    notes.extend(content.keyring.notes());
    notes.extend(content.life.iter().cloned());
    let mut unanswered = std::collections::BTreeMap::<&str, u64>::new();
    for (id, session) in content.sessions.iter() {
        if session.requested.is_some() && session.answered.is_none() {
            let reason = content.sessions.failure(id).map_or("no reason logged", |(_, code)| code.as_str());
            *unanswered.entry(reason).or_default() += 1;
        }
    }
    notes.extend(
        unanswered
            .iter()
            .map(|(reason, count)| format!("{} without a receipt: {reason}", counted(*count, "request"))),
    );
    if content.undecided > 0 {
        let customers = counted(content.undecided, "answered customer");
        notes.push(format!("{customers} without a decision at the log's end, which may be under way"));
    }
    notes
}
