//! The end of a node: trainings that are under way are given up, documents are gathered, data destroyed, the log closed
//! with the protocol and archived, the archive checked, and only then keys and data directory destroyed.
//!
//! ```text
//! <data>/retired/…                  what is archived beside the log: enrolments, grants, public keys, setups of scores
//! <data>/retiring                   what was counted before anything was destroyed, and later which archive is whole
//! <archive>/<time>/…                the same, and log/, with MANIFEST and SEAL
//! ```
//!
//! What the destroyed data cannot be asked about any more is looked at before: that the log's files are whole, and that
//! the archive's directory takes files. What entries say does not hold the end up, since a log cannot be mended: a dry run
//! tells what an auditor would find.
//!
//! A command that was killed is run again and goes on: before `retiring` is there nothing was destroyed; afterwards the
//! documents are, and are not gathered again. Once keys are gone, the archive that `retiring` names by its seal, whole and
//! of the log that is there, lets it overwrite and remove the rest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windvane_keys::files::{parent_of, read_private, write_private};
use windvane_keys::signing::log_origin;
use windvane_keys::store::{FileStore, KeyStore as _};
use windvane_protocols::audit::checkpoint::LogVerifier;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::train::record::TrainReceipt;
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::stage::Stage;
use super::{Retired, nothing, retired};
use crate::audit::{self, AuditReport, VerifyOptions, opening};
use crate::backup::{self, BackupReport, Repository, outside, read_seal};
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::verify::verify_log;
use crate::evidence::{LogError, LogReader};
use crate::identity::{Layout, NodeKeys};
use crate::retention::destroy::{self, Inventory, still_there};
use crate::retention::{Retention, class};
use crate::score::folder::ScoreFolder;
use crate::snapshot::disk::{self, at};
use crate::store::Store;
use crate::train::folder::Due;
use crate::train::lapse::Giving;

/// The folder of documents.
const DOCUMENTS: &str = "retired";

/// What was counted, and which archive is whole.
const COUNTED: &str = "retiring";

/// What stays until the archive is whole.
const LAST: [&str; 4] = ["keys", "log", DOCUMENTS, COUNTED];

/// Two numbers and two digests.
const MAX_COUNTED_BYTES: usize = 4 << 10;

/// Entries at the log's end among which the protocol is looked for.
const TAIL: u64 = 64;

const NO_PROTOCOL: &str = "the log has no protocol of the node's destruction at its end";

const METHOD: &str = "data unlinked and folders synced before this was signed; keys overwritten and the data directory \
    removed once the archive of this log was found whole";

/// What `retiring` says.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    items: u64,
    bytes: u64,
    digest: String,
    /// Digest of the seal of the archive that was found whole, hexadecimal.
    archive: Option<String>,
}

/// A check of an archive.
#[derive(Debug, Serialize)]
pub struct ArchiveReport {
    /// Whether the archive is whole, and nothing is wrong with what its log says.
    pub ok: bool,
    /// Whether files, seal and the log's files hold, and the log ends with the protocol.
    pub whole: bool,
    /// The archive.
    pub path: PathBuf,
    /// Files, seal and the log's files.
    pub files: BackupReport,
    /// What the log says.
    pub log: AuditReport,
    /// The protocol: what the node destroyed, or why there is none.
    pub protocol: String,
}

/// Checks an archive offline, with nothing but what is in it.
///
/// # Errors
/// [`NodeError`] when it cannot be read at all.
pub fn verify_archive(dir: &Path) -> Result<ArchiveReport, NodeError> {
    let Archived { path, files, protocol } = Archived::read(dir)?;
    let log = audit::verify(&path.join("log"), &VerifyOptions::default());
    let whole = files.is_ok() && protocol.is_some();
    let protocol = protocol.map_or_else(
        || NO_PROTOCOL.to_owned(),
        |signed| {
            let Destruction { items, bytes, method, .. } = signed.body();
            format!("{items} files and {bytes} bytes destroyed: {method}")
        },
    );
    Ok(ArchiveReport { ok: whole && log.is_ok(), whole, path, files, log, protocol })
}

/// An archive, and whether it is whole.
struct Archived {
    path: PathBuf,
    files: BackupReport,
    protocol: Option<Signed<Destruction>>,
}

impl Archived {
    fn read(dir: &Path) -> Result<Self, NodeError> {
        let path = backup::resolve(dir)?;
        let files = backup::verify(&path)?;
        let protocol = protocol_in(&path.join("log"))?;
        Ok(Self { path, files, protocol })
    }

    /// What is wrong with it; nothing when it is whole.
    fn fault(&self) -> Option<&str> {
        let no_protocol = self.protocol.is_none().then_some(NO_PROTOCOL);
        self.files.findings.first().map(String::as_str).or(no_protocol)
    }
}

/// Ends a node, which must not be running; nothing of its data directory is left.
pub(crate) fn retire_node(
    config: &Config,
    keys: NodeKeys,
    store: Store,
    layout: &Layout,
    archive: &Path,
    (now_ms, dry_run): (u64, bool),
) -> Result<Retired, NodeError> {
    // A running node has the log, and is found here.
    outside(|| Ok(keys.open_log(config)?.seal_blocking()?))?;
    check_log(&keys, layout)?;
    let retention = Retention { config: &config.retention, keys: &keys, store: &store, layout, now_ms };
    let (details, _) = store.verifications_before(u64::MAX)?;
    let mut notes = Vec::new();
    if details > 0 {
        notes.push(format!("details of {details} verifications go as well; the log keeps their commitments"));
    }
    if dry_run {
        notes.extend(audited(layout));
        let record = retired(&retention, class::NODE, METHOD, &inventory(layout)?);
        return Ok(Retired::new(&record, true, notes));
    }
    let repository = Repository::open(archive, layout.root())?;
    lapse(config, &keys, layout, now_ms)?;
    let mut record = retired(&retention, class::NODE, METHOD, &inventory(layout)?);
    count(&retention, layout, &mut record)?;
    Stage::Counted.reached();
    drop(store);
    for path in top(layout)?.into_iter().filter(|path| !is_last(path)) {
        destroy::remove(&path)?;
    }
    Stage::Destroyed.reached();
    tell(config, &keys, layout, &record)?;
    Stage::Told.reached();
    let made = backup::archive(&keys, layout, &layout.root().join(DOCUMENTS), &repository, now_ms)?;
    if let Some(fault) = Archived::read(&made)?.fault() {
        let text = format!("the archive {} is not whole, so the keys stay: {fault}", made.display());
        return Err(NodeError::Given { code: "ARCHIVE_DAMAGED", message: text });
    }
    note(layout, &record, Some(seal_of(&made)?))?;
    Stage::Archived.reached();
    wipe(layout)?;
    Stage::Wiped.reached();
    drop(keys);
    remove_data(layout)?;
    Ok(Retired { archive: Some(made), ..Retired::new(&record, false, notes) })
}

/// Whether the log's files are whole, without which no archive of it is.
fn check_log(keys: &NodeKeys, layout: &Layout) -> Result<(), NodeError> {
    let origin = log_origin(&keys.party);
    let verifier = LogVerifier::new(&origin, keys.log.verifying_key()).map_err(LogError::from)?;
    let opened = opening(&layout.log()).is_some_and(|opened| opened.party == keys.party);
    let fault = match verify_log(&layout.log(), Some(&verifier), &[]).findings.first() {
        None if opened => return Ok(()),
        None => "it does not open with its party's keys".to_owned(),
        Some(finding) => finding.to_string(),
    };
    let message = format!(
        "the log is damaged, so that no archive of it would be whole, and nothing was destroyed: {fault}. Put its files \
         back from a backup, or restore the node, and run this again; `windvane audit verify` shows everything"
    );
    Err(NodeError::Given { code: "LOG_DAMAGED", message })
}

/// What an auditor will find in the log's entries.
fn audited(layout: &Layout) -> Vec<String> {
    let findings = audit::verify(&layout.log(), &VerifyOptions::default()).findings;
    findings.iter().map(|finding| format!("the audit of the archive will find this: {finding}")).collect()
}

/// Goes on where a command was killed after its archive was found whole, without the keys, which may be gone in part: what
/// is left of the data directory goes too.
///
/// # Errors
/// [`NodeError`]; `NOTHING_TO_RETIRE` when no retirement got that far, `ARCHIVE_DAMAGED` when this is not its archive.
pub fn finish(config: &Config, archive: &Path) -> Result<PathBuf, NodeError> {
    let layout = Layout::new(config.node.data_dir.clone());
    let party = &config.node.party;
    let named = counted(&layout)?.and_then(|(counted, _)| counted.archive);
    let named = named.ok_or_else(|| nothing(&format!("retirement of {party} with a whole archive")))?;
    let found = Archived::read(archive)?;
    let path = &found.path;
    if found.fault().is_some() || seal_of(path)? != named || !is_archived(&layout, path)? {
        let text = format!(
            "{} is not, as a whole, the archive of this retirement of {party}; name the archive that it made itself, \
             and verify it with `windvane audit archive`",
            path.display()
        );
        return Err(NodeError::Given { code: "ARCHIVE_DAMAGED", message: text });
    }
    wipe(&layout)?;
    remove_data(&layout)?;
    Ok(found.path)
}

/// By what an archive is known.
fn seal_of(archive: &Path) -> Result<String, NodeError> {
    Ok(hex::encode(read_seal(archive)?.digest()))
}

/// Whether the log that is still there, if any, is the archive's to its last entry.
fn is_archived(layout: &Layout, archive: &Path) -> Result<bool, NodeError> {
    if !layout.log().exists() {
        return Ok(true);
    }
    let [log, archived] = [layout.log(), archive.join("log")].map(|dir| LogReader::open(&dir));
    Ok(log?.checkpoint().unverified() == archived?.checkpoint().unverified())
}

fn top(layout: &Layout) -> Result<Vec<PathBuf>, NodeError> {
    let root = layout.root();
    let entries = fs::read_dir(root).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(at(root))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

fn is_last(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| LAST.contains(&name))
}

/// Gives up the trainings that are under way, so that the log has what was answered in them.
fn lapse(config: &Config, keys: &NodeKeys, layout: &Layout, now_ms: u64) -> Result<(), NodeError> {
    let (software, configuration) = crate::server::digests(config)?;
    let giving = Giving { layout, keys, software, configuration, now_ms };
    let mut given = Vec::new();
    let Due { sessions, damaged } = giving.due(u64::MAX)?;
    if let Some((session, error)) = damaged.into_iter().next() {
        let message = format!(
            "training {session} cannot be given up, and what was answered in it would be in no log: {error}. Put its folder \
             back from a backup, or move it out of the data directory and keep it"
        );
        return Err(NodeError::Given { code: "TRAIN_FOLDER", message });
    }
    for session in sessions {
        given.extend(giving.give_up(session, |receipt| is_logged(layout, receipt))?);
    }
    if given.is_empty() {
        return Ok(());
    }
    let events = given.iter().flat_map(|given| given.end().events());
    let entries = events.map(|event| Entry::new(now_ms, event).encode().into_bytes());
    outside(|| {
        let log = keys.open_log(config)?;
        log.append_blocking(entries.collect())?;
        log.seal_blocking()?;
        Ok(())
    })?;
    given.into_iter().try_for_each(|given| given.logged(now_ms))
}

fn is_logged(layout: &Layout, receipt: &Signed<TrainReceipt>) -> Result<bool, NodeError> {
    for entry in LogReader::open(&layout.log())?.entries(0) {
        match Entry::decode(&entry?.1).map(|entry| entry.event) {
            Ok(Event::TrainCompleted(known)) if *known == *receipt => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// All files but the log's.
fn inventory(layout: &Layout) -> Result<Inventory, NodeError> {
    let mut all = Inventory::default();
    let kept = [layout.log(), layout.root().join(DOCUMENTS), layout.root().join(COUNTED)];
    for path in top(layout)?.into_iter().filter(|path| !kept.contains(path)) {
        all.add(layout.root(), &path)?;
    }
    Ok(all)
}

/// Gathers the documents and remembers what was counted, or takes what an earlier command counted.
fn count(retention: &Retention<'_>, layout: &Layout, record: &mut Destruction) -> Result<(), NodeError> {
    if let Some((counted, digest)) = counted(layout)? {
        (record.items, record.bytes, record.digest) = (counted.items, counted.bytes, digest);
        return Ok(());
    }
    // One without content was emptied, as the error about a damaged one says: the documents are there.
    if !layout.root().join(COUNTED).exists() {
        let documents = layout.root().join(DOCUMENTS);
        disk::remove_directory(&documents)?;
        gather(retention, layout, &documents)?;
    }
    note(layout, record, None)
}

/// What an earlier command counted, and its digest; `None` where there is no note, or one without content.
fn counted(layout: &Layout) -> Result<Option<(Counted, Hash)>, NodeError> {
    let path = layout.root().join(COUNTED);
    if !path.exists() {
        return Ok(None);
    }
    let json = read_private(&path, MAX_COUNTED_BYTES)?;
    if json.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let counted: Counted = serde_json::from_slice(&json).ok()?;
        let digest: Hash = hex::decode(&counted.digest).ok()?.try_into().ok()?;
        Some(Some((counted, digest)))
    };
    let damaged = || {
        let path = path.display();
        let message = format!(
            "{path} is damaged; do not remove it, or documents that may be destroyed by now are gathered anew. Put it \
             back as it was, or empty it (`truncate -s 0 {path}`): then what is left is counted"
        );
        NodeError::Given { code: "RETIRING_DAMAGED", message }
    };
    parse().ok_or_else(damaged)
}

/// Writes the note.
fn note(layout: &Layout, record: &Destruction, archive: Option<String>) -> Result<(), NodeError> {
    let counted =
        Counted { items: record.items, bytes: record.bytes, digest: hex::encode(record.digest), archive };
    let json = serde_json::to_vec(&counted).expect("numbers and text always serialise");
    Ok(write_private(&layout.root().join(COUNTED), &json)?)
}

/// Copies what must be kept beside the log, all of it public or signed.
fn gather(retention: &Retention<'_>, layout: &Layout, to: &Path) -> Result<(), NodeError> {
    let Retention { keys, store, .. } = retention;
    for folder in ["partners", "grants"] {
        disk::create_directory(&to.join(folder))?;
    }
    if layout.enrolment().exists() {
        fs::copy(layout.enrolment(), to.join("enrolment.pem")).map_err(at(to))?;
    }
    for (at, enrolment) in store.partners()?.into_iter().enumerate() {
        write_private(&to.join(format!("partners/{at}.pem")), enrolment.as_bytes())?;
    }
    for grant in store.grants()? {
        let signed = Signed::<Grant>::from_bytes_unverified(grant.signed)?;
        write_private(&to.join(format!("grants/{}", signed.body().id)), signed.as_bytes())?;
    }
    let records = keys.store.records()?.into_iter().map(|record| {
        serde_json::json!({
            "id": record.id.to_string(),
            "purpose": record.purpose.to_string(),
            "state": record.state.as_str(),
            "created_at_ms": record.created_at_ms,
            "public": hex::encode(record.public),
        })
    });
    let records = serde_json::Value::Array(records.collect()).to_string();
    write_private(&to.join("keys.json"), records.as_bytes())?;
    gather_scores(layout, to)
}

/// What the parties of scoring groups signed.
fn gather_scores(layout: &Layout, to: &Path) -> Result<(), NodeError> {
    let scores = ScoreFolder::new(layout);
    for group in scores.groups()? {
        let folder = scores.group(&group);
        for epoch in folder.epochs()? {
            for name in ["evidence", "plan"] {
                let from = folder.epoch(epoch).join(name);
                if from.exists() {
                    let to = to.join(format!("score/{group}/{epoch}"));
                    disk::create_directory(&to)?;
                    fs::copy(&from, to.join(name)).map_err(at(&from))?;
                }
            }
        }
    }
    Ok(())
}

/// Writes the protocol as the log's last word, once.
fn tell(config: &Config, keys: &NodeKeys, layout: &Layout, record: &Destruction) -> Result<(), NodeError> {
    if protocol_in(&layout.log())?.is_some() {
        return Ok(());
    }
    let signed = Signed::sign(record.clone(), keys.signing_key());
    let entry = Entry::new(record.destroyed_at_ms, Event::Destroyed(signed)).encode().into_bytes();
    outside(|| {
        let log = keys.open_log(config)?;
        log.append_blocking(vec![entry])?;
        log.seal_blocking()?;
        Ok(())
    })
}

/// The protocol of a node's destruction at the end of a log.
fn protocol_in(log: &Path) -> Result<Option<Signed<Destruction>>, NodeError> {
    let reader = LogReader::open(log)?;
    let from = reader.checkpoint().unverified().size.saturating_sub(TAIL);
    let mut found = None;
    for entry in reader.entries(from) {
        match Entry::decode(&entry?.1).map(|entry| entry.event) {
            Ok(Event::Destroyed(signed)) if signed.body().class == class::NODE => found = Some(signed),
            _ => {}
        }
    }
    Ok(found)
}

/// Overwrites every key.
fn wipe(layout: &Layout) -> Result<(), NodeError> {
    let keys = layout.keys();
    if keys.exists() { Ok(FileStore::erase(&keys)?) } else { Ok(()) }
}

/// Removes what is left; the note that the node was on its way out goes last.
fn remove_data(layout: &Layout) -> Result<(), NodeError> {
    let counted = layout.root().join(COUNTED);
    for path in top(layout)?.into_iter().filter(|path| *path != counted) {
        destroy::remove(&path)?;
    }
    let root = layout.root();
    disk::remove_directory(root)?;
    disk::sync_directory(parent_of(root))?;
    if root.exists() { Err(still_there(&root.display().to_string())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::Admin;
    use crate::clock::SystemClock;
    use crate::config::SAMPLES;

    /// A node that was never enrolled.
    fn node(dir: &Path) -> Config {
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
        fs::write(dir.join("windvane.toml"), text).unwrap();
        let config = Config::load(&dir.join("windvane.toml")).unwrap();
        drop(Admin::init(&config, Arc::new(SystemClock)).unwrap());
        config
    }

    fn retire(config: &Config, archive: &Path, dry_run: bool) -> Result<Retired, NodeError> {
        Admin::open(config, Arc::new(SystemClock)).unwrap().retire_node(archive, dry_run)
    }

    #[test]
    fn what_an_audit_finds_in_the_entries_is_told_before_and_does_not_hold_the_end_up() {
        let dir = tempfile::tempdir().unwrap();
        let (config, archive) = (node(dir.path()), dir.path().join("archive"));
        // As of a clock that was an hour ahead, and was put right.
        let now_ms = crate::clock::Clock::now_ms(&SystemClock) + 3_600_000;
        let event = Event::Failed { session: None, peer: config.party(), code: "X".into() };
        let entry = Entry::new(now_ms, event).encode().into_bytes();
        let keys = NodeKeys::open(&config).unwrap();
        let log = keys.open_log(&config).unwrap();
        log.append_blocking(vec![entry]).unwrap();
        log.seal_blocking().unwrap();
        drop(keys);
        let admin = Admin::open(&config, Arc::new(SystemClock)).unwrap();
        admin.admit_caller("desk").unwrap();
        drop(admin);

        let shown = retire(&config, &archive, true).unwrap();
        assert!(shown.notes.iter().any(|note| note.contains("TIME_BACKWARDS")), "{shown:?}");
        let made = retire(&config, &archive, false).unwrap().archive.unwrap();
        assert!(!config.node.data_dir.exists());
        let report = verify_archive(&made).unwrap();
        assert!(report.whole && !report.ok, "{report:?}");
    }

    #[test]
    fn a_damaged_log_and_an_archive_that_cannot_be_written_are_found_before_anything_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let (config, archive) = (node(dir.path()), dir.path().join("archive"));
        let data = config.node.data_dir.clone();
        let kept = data.join("datasets/subscribers/rows");
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(&kept, "rows").unwrap();
        assert_eq!(retire(&config, &data.join("archive"), false).unwrap_err().code(), "BACKUP_INSIDE");
        let foreign = data.join("log/foreign");
        fs::write(&foreign, "x").unwrap();
        assert_eq!(retire(&config, &archive, false).unwrap_err().code(), "LOG_DAMAGED");
        assert!(kept.exists() && !data.join(COUNTED).exists());
        fs::remove_file(foreign).unwrap();
        retire(&config, &archive, false).unwrap();
        assert!(!data.exists());
    }

    #[test]
    fn a_damaged_note_keeps_the_documents_also_once_it_was_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let config = node(dir.path());
        let (data, archive) = (config.node.data_dir.clone(), dir.path().join("archive"));
        let document = data.join(DOCUMENTS).join("partners/0.pem");
        fs::create_dir_all(document.parent().unwrap()).unwrap();
        fs::write(&document, "of a partner that the state no longer has").unwrap();
        let retire = || retire(&config, &archive, false);

        write_private(&data.join(COUNTED), b"not what was counted").unwrap();
        let error = retire().unwrap_err();
        assert_eq!(error.code(), "RETIRING_DAMAGED");
        assert!(error.to_string().contains("truncate -s 0"), "{error}");
        assert!(document.exists());
        write_private(&data.join(COUNTED), b"").unwrap();
        let made = retire().unwrap().archive.unwrap();
        assert!(made.join("partners/0.pem").exists());
        assert!(!data.exists());
    }
}
