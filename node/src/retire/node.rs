//! The end of a node: trainings that are under way are given up, documents are gathered, data destroyed, the log closed
//! with the protocol and archived, the archive checked, and only then keys and data directory destroyed.
//!
//! ```text
//! <data>/retired/…                  what is archived beside the log: enrolments, grants, public keys, setups of scores
//! <data>/retiring                   what was counted before anything was destroyed, and later which archive is whole
//! <archive>/<time>/…                the same, and log/, with MANIFEST and SEAL
//! ```
//!
//! A command that was killed is run again and goes on: before `retiring` is there nothing was destroyed; afterwards the
//! documents are, and are not gathered again. Once keys are gone, the archive that `retiring` names by its seal, whole and
//! of the log that is there, lets it overwrite and remove the rest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windvane_keys::files::{parent_of, read_private, write_private};
use windvane_keys::store::{FileStore, KeyStore as _};
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::train::record::TrainReceipt;
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::stage::Stage;
use super::{Retired, nothing, retired};
use crate::audit::{self, AuditReport, VerifyOptions};
use crate::backup::{self, BackupReport, outside, read_seal};
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::LogReader;
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
    /// Whether files, seal and log hold, and the log ends with the protocol.
    pub ok: bool,
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
    let path = backup::resolve(dir)?;
    let files = backup::verify(&path)?;
    let log = audit::verify(&path.join("log"), &VerifyOptions::default());
    let found = protocol_in(&path.join("log"))?;
    let protocol = found.as_ref().map_or_else(
        || "the log has no protocol of the node's destruction at its end".to_owned(),
        |signed| {
            let Destruction { items, bytes, method, .. } = signed.body();
            format!("{items} files and {bytes} bytes destroyed: {method}")
        },
    );
    let ok = files.is_ok() && log.is_ok() && found.is_some();
    Ok(ArchiveReport { ok, path, files, log, protocol })
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
    let retention = Retention { config: &config.retention, keys: &keys, store: &store, layout, now_ms };
    let (details, _) = store.verifications_before(u64::MAX)?;
    let mut notes = Vec::new();
    if details > 0 {
        notes.push(format!("details of {details} verifications go as well; the log keeps their commitments"));
    }
    if !dry_run {
        lapse(config, &keys, layout, now_ms)?;
    }
    let before = inventory(layout)?;
    let mut record = retired(&retention, class::NODE, METHOD, &before);
    if dry_run {
        return Ok(Retired::new(&record, true, notes));
    }
    count(&retention, layout, &mut record)?;
    Stage::Counted.reached();
    drop(store);
    for path in top(layout)?.into_iter().filter(|path| !is_last(path)) {
        destroy::remove(&path)?;
    }
    Stage::Destroyed.reached();
    tell(config, &keys, layout, &record)?;
    Stage::Told.reached();
    let made = backup::archive(&keys, layout, &layout.root().join(DOCUMENTS), archive, now_ms)?;
    let report = verify_archive(&made)?;
    if !report.ok {
        let text = format!(
            "the archive {} does not hold, so the keys stay; see `windvane audit archive`",
            made.display()
        );
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
    let report = verify_archive(archive)?;
    if !report.ok || seal_of(&report.path)? != named || !is_archived(&layout, &report.path)? {
        let text = format!(
            "{} is not, as a whole, the archive of this retirement of {party}; name the archive that it made itself, \
             and verify it with `windvane audit archive`",
            report.path.display()
        );
        return Err(NodeError::Given { code: "ARCHIVE_DAMAGED", message: text });
    }
    wipe(&layout)?;
    remove_data(&layout)?;
    Ok(report.path)
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

    #[test]
    fn a_damaged_note_keeps_the_documents_also_once_it_was_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
        fs::write(dir.path().join("windvane.toml"), text).unwrap();
        let config = Config::load(&dir.path().join("windvane.toml")).unwrap();
        drop(Admin::init(&config, Arc::new(SystemClock)).unwrap());
        let (data, archive) = (config.node.data_dir.clone(), dir.path().join("archive"));
        let document = data.join(DOCUMENTS).join("partners/0.pem");
        fs::create_dir_all(document.parent().unwrap()).unwrap();
        fs::write(&document, "of a partner that the state no longer has").unwrap();
        let retire = || Admin::open(&config, Arc::new(SystemClock)).unwrap().retire_node(&archive, false);

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
