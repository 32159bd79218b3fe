//! The end of a node: documents are gathered, data destroyed, the log closed with the protocol and archived, the archive
//! checked, and only then keys and data directory destroyed.
//!
//! ```text
//! <data>/retired/…                  what is archived beside the log: enrolments, grants, public keys, setups of scores
//! <data>/retiring                   what was counted before anything was destroyed; with it the rest may go
//! <archive>/<time>/…                the same, and log/, with MANIFEST and SEAL
//! ```
//!
//! A command that was killed is run again and goes on: before `retiring` is there nothing was destroyed; afterwards the
//! documents are. Once the keys are gone, a whole archive whose log ends with the protocol lets it remove the rest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windvane_keys::files::{parent_of, read_private, write_private};
use windvane_keys::record::State;
use windvane_keys::store::KeyStore as _;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::transcript::{Record as _, Signed};

use super::stage::Stage;
use super::{Retired, nothing, retired};
use crate::audit::{self, AuditReport, VerifyOptions};
use crate::backup::{self, BackupReport, outside};
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::LogReader;
use crate::identity::{Layout, NodeKeys};
use crate::retention::destroy::{self, Inventory, still_there};
use crate::retention::{Retention, class};
use crate::score::folder::ScoreFolder;
use crate::snapshot::disk::{self, at};
use crate::store::Store;

/// The folder of documents.
const DOCUMENTS: &str = "retired";

/// What was counted.
const COUNTED: &str = "retiring";

/// What stays until the archive is whole.
const LAST: [&str; 4] = ["keys", "log", DOCUMENTS, COUNTED];

/// Three numbers.
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
    Stage::Archived.reached();
    wipe(&keys)?;
    Stage::Wiped.reached();
    drop(keys);
    remove_data(layout)?;
    Ok(Retired { archive: Some(made), ..Retired::new(&record, false, notes) })
}

/// Goes on where a command was killed after the keys were gone: what is left of the data directory goes too.
///
/// # Errors
/// [`NodeError`] when there is no retirement to go on with, or no whole archive of this node.
pub fn finish(config: &Config, archive: &Path) -> Result<PathBuf, NodeError> {
    let layout = Layout::new(config.node.data_dir.clone());
    if !layout.root().join(COUNTED).exists() {
        return Err(nothing(&format!("retirement of {} under way", config.node.party)));
    }
    let report = verify_archive(archive)?;
    if !report.ok || report.files.party != config.node.party {
        let text = format!("{} is no whole archive of {}", report.path.display(), config.node.party);
        return Err(NodeError::Given { code: "ARCHIVE_DAMAGED", message: text });
    }
    remove_data(&layout)?;
    Ok(report.path)
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
    let path = layout.root().join(COUNTED);
    if path.exists() {
        let counted: Option<Counted> = serde_json::from_slice(&read_private(&path, MAX_COUNTED_BYTES)?).ok();
        let digest = counted.as_ref().and_then(|counted| hex::decode(&counted.digest).ok()?.try_into().ok());
        let (Some(counted), Some(digest)) = (counted, digest) else {
            let message = format!("{} is damaged; remove it to count anew", path.display());
            return Err(NodeError::Given { code: "RETIRING_DAMAGED", message });
        };
        (record.items, record.bytes, record.digest) = (counted.items, counted.bytes, digest);
        return Ok(());
    }
    let documents = layout.root().join(DOCUMENTS);
    disk::remove_directory(&documents)?;
    gather(retention, layout, &documents)?;
    let counted = Counted { items: record.items, bytes: record.bytes, digest: hex::encode(record.digest) };
    let json = serde_json::to_vec(&counted).expect("numbers and text always serialise");
    Ok(write_private(&path, &json)?)
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

/// Overwrites every secret key.
fn wipe(keys: &NodeKeys) -> Result<(), NodeError> {
    for record in keys.store.records()?.into_iter().filter(|record| record.state != State::Destroyed) {
        keys.store.destroy(&record.id)?;
    }
    match keys.store.records()?.into_iter().find(|record| record.state != State::Destroyed) {
        Some(record) => Err(still_there(&format!("the key for {}", record.purpose))),
        None => Ok(()),
    }
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
