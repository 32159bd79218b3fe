//! The end of what leaves service: an epoch, a data set, a partner, or the node itself.
//!
//! What must be kept of an epoch, a data set or a partner is in the log already: signed manifests, grants, enrolments,
//! receipts, public keys. So the rest is destroyed, and a signed protocol of the destruction ([`Destruction`]) goes into
//! the log: what, how, when, how much of it, with a digest over names and lengths. `windvane audit verify` checks its
//! signature and tells of it.
//!
//! A node ends with an archive ([`node`]): its log, complete with that protocol, and the documents beside it, sealed as
//! a backup is, which `windvane audit archive` verifies offline. Only when the archive was found whole (files, seal, the
//! log's tree, the protocol) are the keys overwritten and the data directory removed.
//!
//! **Promised.** Grants go first, then tables, then keys, so that a node can start whenever the command was killed;
//! everything is looked for before the protocol says that it is gone, also what a kill left half removed. What was counted
//! is remembered before anything is destroyed, until the transaction that queues the protocol: a command that was
//! interrupted is run again, and its protocol tells of all that the first one found. What came between the two goes too, and
//! is not counted.
//!
//! **Not promised.** Backups from before hold what was destroyed: destroy them too. A partner's own copies (a bank's
//! snapshots of a data set) are the partner's to destroy; without the keys nobody reads them.

use std::path::PathBuf;

use serde::Serialize;
use windvane_keys::record::State;
use windvane_keys::rotation::epochs;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, GrantId};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Signed;

use crate::clock::rfc3339;
use crate::error::NodeError;
use crate::retention::destroy::{self, Inventory};
use crate::retention::{Retention, class};
use crate::snapshot::disk::{self, DirectoryLock};

pub mod node;
pub mod stage;

/// What leaves service while the node goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An epoch of a data set.
    Epoch(DataSet, u64),
    /// A data set with all its epochs, and the grants for it alone.
    DataSet(DataSet),
    /// A partner: its enrolment, its snapshots, and all grants between it and this node.
    Partner(PartyId),
}

/// What was destroyed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Whether nothing was touched.
    pub dry_run: bool,
    /// The class.
    pub class: String,
    /// Which one.
    pub subject: String,
    /// Files, keys, grants and enrolments.
    pub items: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Digest over names and lengths, as in the protocol.
    pub digest: String,
    /// When, RFC 3339.
    pub at: String,
    /// Where the archive is, of a node.
    pub archive: Option<PathBuf>,
    /// What the operator should know or do.
    pub notes: Vec<String>,
}

/// Something on its way out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retire<'a> {
    pub(crate) retention: Retention<'a>,
    pub(crate) dry_run: bool,
}

/// What is to go.
#[derive(Debug, Default)]
struct Scope {
    /// Of the data set: nothing is imported, built or published in it until it is gone.
    _lock: Option<DirectoryLock>,
    paths: Vec<PathBuf>,
    epochs: Vec<(DataSet, u64)>,
    grants: Vec<GrantId>,
    inventory: Inventory,
    notes: Vec<String>,
}

impl Retire<'_> {
    /// Ends it; the entries are queued for the log.
    pub(crate) fn run(&self, what: &What) -> Result<Retired, NodeError> {
        let scope = match what {
            What::Epoch(data_set, epoch) => self.epoch(data_set, *epoch)?,
            What::DataSet(data_set) => self.data_set(data_set)?,
            What::Partner(party) => self.partner(party)?,
        };
        let record = self.record(what, &scope)?;
        if !self.dry_run {
            self.begin(&record)?;
            self.destroy(&scope)?;
            self.tell(&record)?;
        }
        Ok(Retired::new(&record, self.dry_run, scope.notes))
    }

    /// Remembers what was counted.
    fn begin(&self, record: &Destruction) -> Result<(), NodeError> {
        let Destruction { class, subject, items, bytes, digest, .. } = record;
        let counted = Inventory { items: *items, bytes: *bytes, digest: *digest };
        Ok(self.retention.store.begin_retirement(class, subject, &counted)?)
    }

    /// Queues the protocol; nothing is to be remembered then.
    fn tell(&self, record: &Destruction) -> Result<(), NodeError> {
        let entry = self.retention.destroyed(record);
        Ok(self.retention.store.end_retirement(&record.class, &record.subject, &entry)?)
    }

    fn destroy(&self, scope: &Scope) -> Result<(), NodeError> {
        let Retention { store, now_ms, .. } = self.retention;
        for id in &scope.grants {
            let entry = self.retention.entry(Event::GrantEnded(*id));
            store.end_grant(id.as_bytes(), now_ms, &entry)?;
        }
        for path in &scope.paths {
            // Tables before the folder: a node that starts in between finds none that it cannot open.
            Some(path.join("epochs"))
                .filter(|tables| tables.exists())
                .map_or(Ok(()), |path| destroy::remove(&path))?;
            destroy::remove(path)?;
        }
        for (data_set, epoch) in &scope.epochs {
            self.retention.end_epoch(data_set, *epoch)?;
        }
        Ok(())
    }

    fn epoch(&self, data_set: &DataSet, epoch: u64) -> Result<Scope, NodeError> {
        // The end of its keys holds the data set; where that cannot be, nothing is touched.
        drop(self.hold(data_set)?);
        let folder = self.folder(data_set);
        let mut scope = Scope::default();
        for kind in ["epochs", "built"] {
            scope.take(folder.join(kind).join(epoch.to_string()));
        }
        scope.epochs.push((data_set.clone(), epoch));
        self.count(&mut scope)?;
        scope
            .notes
            .push(format!("build and publish another epoch of {data_set} if it is to be answered again"));
        Ok(scope)
    }

    fn data_set(&self, data_set: &DataSet) -> Result<Scope, NodeError> {
        let mut scope = Scope { _lock: self.hold(data_set)?, ..Scope::default() };
        scope.take(self.folder(data_set));
        let known = epochs(&self.retention.keys.store, data_set)?;
        scope.epochs.extend(known.into_iter().map(|status| (data_set.clone(), status.epoch)));
        scope.grants = self.grants(|grant| {
            grant.provider == self.retention.keys.party && grant.data_sets == [data_set.clone()]
        })?;
        self.count(&mut scope)?;
        scope.notes.push(format!("banks keep their snapshots of {data_set}; ask them to retire these"));
        Ok(scope)
    }

    /// Holds a data set, where there is one: nothing is imported, built or published in it.
    fn hold(&self, data_set: &DataSet) -> Result<Option<DirectoryLock>, NodeError> {
        let folder = self.folder(data_set);
        if !folder.exists() {
            return Ok(None);
        }
        let busy = || NodeError::Given {
            code: "DATASET_BUSY",
            message: format!("an import, build or publication of {data_set} is running; wait for it to end"),
        };
        DirectoryLock::try_acquire(&folder)?.ok_or_else(busy).map(Some)
    }

    fn partner(&self, party: &PartyId) -> Result<Scope, NodeError> {
        let mut scope = Scope::default();
        let enrolled = self.retention.store.has_partner(party.as_str())?;
        let begun = || self.retention.store.retirement(class::PARTNER, party.as_str());
        if *party == self.retention.keys.party || !(enrolled || begun()?.is_some()) {
            return Ok(scope);
        }
        scope.take(self.retention.layout.root().join("snapshots").join(party.as_str()));
        scope.grants = self.grants(|grant| grant.provider == *party || grant.requester == *party)?;
        self.count(&mut scope)?;
        scope.inventory.take(party.as_str().as_bytes(), 0);
        scope.notes.push(format!("remove the sections that name {party} from the configuration"));
        Ok(scope)
    }

    /// Takes files, living keys and running grants of a scope.
    fn count(&self, scope: &mut Scope) -> Result<(), NodeError> {
        for path in &scope.paths {
            scope.inventory.add(self.retention.layout.root(), path)?;
        }
        for (data_set, epoch) in &scope.epochs {
            let known = epochs(&self.retention.keys.store, data_set)?;
            let keys =
                known.into_iter().filter(|status| status.epoch == *epoch).flat_map(|status| status.keys);
            for key in keys.filter(|key| key.state != State::Destroyed) {
                scope.inventory.take(key.purpose.to_string().as_bytes(), 0);
            }
        }
        for id in &scope.grants {
            scope.inventory.take(id.as_bytes(), 0);
        }
        Ok(())
    }

    /// The running grants that are meant.
    fn grants(&self, meant: impl Fn(&Grant) -> bool) -> Result<Vec<GrantId>, NodeError> {
        let mut found = Vec::new();
        for stored in self.retention.store.grants()?.into_iter().filter(|grant| grant.ended_at_ms.is_none()) {
            let signed = Signed::<Grant>::from_bytes_unverified(stored.signed)?;
            found.extend(Some(signed.body()).filter(|grant| meant(grant)).map(|grant| grant.id));
        }
        Ok(found)
    }

    fn folder(&self, data_set: &DataSet) -> PathBuf {
        self.retention.layout.root().join("datasets").join(data_set.as_str())
    }

    /// The protocol: of what an interrupted command counted, or of what is there now.
    fn record(&self, what: &What, scope: &Scope) -> Result<Destruction, NodeError> {
        let (class, subject, missing) = match what {
            What::Epoch(data_set, epoch) => {
                let missing = format!("table or secret key of epoch {epoch} of {data_set}");
                (class::EPOCH, format!("{data_set}/{epoch}"), missing)
            }
            What::DataSet(data_set) => {
                (class::DATA_SET, data_set.to_string(), format!("data set {data_set}"))
            }
            What::Partner(party) => (class::PARTNER, party.to_string(), format!("partner {party}")),
        };
        let counted = self.retention.store.retirement(class, &subject)?;
        let found = Some(scope.inventory).filter(|found| found.items > 0);
        let counted = counted.or(found).ok_or_else(|| nothing(&missing))?;
        let method = "grants ended, files unlinked, folders synced, keys overwritten; none found afterwards";
        Ok(Destruction { subject, ..retired(&self.retention, class, method, &counted) })
    }
}

impl Scope {
    /// Takes a file or folder, and what a kill left of its removal.
    fn take(&mut self, path: PathBuf) {
        let left = disk::aside(&path);
        self.paths.extend([path, left].into_iter().filter(|path| path.exists()));
    }
}

/// A protocol of something that left service.
fn retired(retention: &Retention<'_>, class: &str, method: &str, gone: &Inventory) -> Destruction {
    Destruction {
        party: retention.keys.party.clone(),
        class: class.to_owned(),
        subject: String::new(),
        cause: class::RETIRED.to_owned(),
        method: method.to_owned(),
        before_ms: 0,
        items: gone.items,
        bytes: gone.bytes,
        digest: gone.digest,
        destroyed_at_ms: retention.now_ms,
    }
}

impl Retired {
    fn new(record: &Destruction, dry_run: bool, notes: Vec<String>) -> Self {
        Self {
            dry_run,
            class: record.class.clone(),
            subject: record.subject.clone(),
            items: record.items,
            bytes: record.bytes,
            digest: hex::encode(record.digest),
            at: rfc3339(record.destroyed_at_ms),
            archive: None,
            notes,
        }
    }
}

fn nothing(what: &str) -> NodeError {
    NodeError::Given { code: "NOTHING_TO_RETIRE", message: format!("there is no {what} here") }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use windvane_keys::rotation::create_epoch;
    use windvane_protocols::audit::entry::Entry;
    use windvane_protocols::lookup::KeyGroup;
    use windvane_protocols::transcript::Record as _;

    use super::*;
    use crate::admin::Admin;
    use crate::clock::SystemClock;
    use crate::config::{Config, SAMPLES};

    fn admin(dir: &Path) -> Admin {
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
        fs::write(dir.join("windvane.toml"), text).unwrap();
        let config = Config::load(&dir.join("windvane.toml")).unwrap();
        Admin::init(&config, Arc::new(SystemClock)).unwrap()
    }

    /// A data set with an epoch and a file.
    fn data_set(retire: &Retire<'_>) -> DataSet {
        let data_set: DataSet = "subscribers".parse().unwrap();
        let group = KeyGroup::of(windvane_protocols::identity::Family::Phone);
        let keys = &retire.retention.keys.store;
        create_epoch(keys, &data_set, 1, &[group], 0, &mut rand::rng()).unwrap();
        let folder = retire.folder(&data_set);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("staging"), "rows").unwrap();
        data_set
    }

    #[test]
    fn a_data_set_on_its_way_out_is_held_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let admin = admin(dir.path());
        let retire = Retire { retention: admin.retention(), dry_run: false };
        let data_set = data_set(&retire);
        let folder = retire.folder(&data_set);

        let scope = retire.data_set(&data_set).unwrap();
        assert!(DirectoryLock::try_acquire(&folder).unwrap().is_none());
        assert_eq!(retire.data_set(&data_set).unwrap_err().code(), "DATASET_BUSY");
        drop(scope);
        retire.run(&What::DataSet(data_set)).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_an_interrupted_retirement_left_half_removed_is_counted_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let admin = admin(dir.path());
        let retire = Retire { retention: admin.retention(), dry_run: false };
        let data_set = data_set(&retire);
        let (folder, left) = (retire.folder(&data_set), disk::aside(&retire.folder(&data_set)));
        fs::rename(&folder, &left).unwrap();
        let gone = retire.run(&What::DataSet(data_set)).unwrap();
        assert_eq!((gone.items, gone.bytes), (2, 4));
        assert!(!folder.exists() && !left.exists());
    }

    #[test]
    fn a_retirement_that_ended_before_its_protocol_is_told_by_the_next_as_the_first_counted_it() {
        let dir = tempfile::tempdir().unwrap();
        let admin = admin(dir.path());
        let retire = Retire { retention: admin.retention(), dry_run: false };
        let what = What::DataSet(data_set(&retire));
        let shown = Retire { dry_run: true, ..retire }.run(&what).unwrap();
        let What::DataSet(data_set) = &what else { unreachable!() };
        let scope = retire.data_set(data_set).unwrap();
        retire.begin(&retire.record(&what, &scope).unwrap()).unwrap();
        retire.destroy(&scope).unwrap();
        drop(scope);
        let told = || {
            let entries = admin.store().outbox().unwrap();
            let told =
                |(_, entry): &(i64, Vec<u8>)| Entry::decode(entry).unwrap().event.kind() == "destroyed";
            entries.iter().filter(|entry| told(entry)).count()
        };
        assert_eq!(told(), 0);

        let again = retire.run(&what).unwrap();
        assert_eq!((again.items, again.bytes, again.digest), (shown.items, shown.bytes, shown.digest));
        assert_eq!(told(), 1);
        assert_eq!(retire.run(&what).unwrap_err().code(), "NOTHING_TO_RETIRE");
    }

    #[test]
    fn the_retirement_of_a_partner_who_was_ended_meanwhile_leaves_nothing_either() {
        let dir = tempfile::tempdir().unwrap();
        let admin = admin(dir.path());
        let retire = Retire { retention: admin.retention(), dry_run: false };
        let what = What::Partner("bank".parse().unwrap());
        let folder = retire.retention.layout.root().join("snapshots/bank");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("table"), "rows").unwrap();
        assert_eq!(retire.run(&what).unwrap_err().code(), "NOTHING_TO_RETIRE");
        let counted = Inventory { items: 3, bytes: 8, digest: [1; 64] };
        admin.store().begin_retirement(class::PARTNER, "bank", &counted).unwrap();
        let gone = retire.run(&what).unwrap();
        assert_eq!((gone.items, gone.bytes), (3, 8));
        assert!(!folder.exists());
    }
}
