//! Brings the state and the files of a backup up to the log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sha2::{Digest as _, Sha256};
use windvane_keys::enrolment::Enrolment;
use windvane_keys::files::write_public;
use windvane_keys::identity::TlsKey;
use windvane_keys::score::destroy_member_keys;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Hash, Record as _, Signed, digest};

use super::epochs::{self, KnownKeys};
use crate::dataset::{published_dir, published_epochs};
use crate::error::NodeError;
use crate::evidence::LogReader;
use crate::identity::{Layout, NodeKeys};
use crate::retention::class;
use crate::score::activation::ActiveState;
use crate::score::folder::ScoreFolder;
use crate::snapshot::{MANIFEST, disk};
use crate::store::{Enrolled, Store};

/// Entries before the state's own time that are looked at for what the state still means to tell the log.
const OVERLAP: u64 = 4_096;

/// A state that is older than its log.
#[derive(Debug)]
pub(super) struct CatchUp<'a> {
    keys: &'a NodeKeys,
    store: &'a Store,
    layout: &'a Layout,
    logged: HashSet<Hash>,
    known_keys: KnownKeys,
    /// The newest own publication of each data set.
    published: BTreeMap<DataSet, Signed<Manifest>>,
    /// Providers' receipts without a countersignature of this node.
    uncountersigned: HashMap<Hash, PartyId>,
    details_lost: u64,
    notes: BTreeSet<String>,
}

impl<'a> CatchUp<'a> {
    pub(super) fn new(keys: &'a NodeKeys, store: &'a Store, layout: &'a Layout) -> Self {
        Self {
            keys,
            store,
            layout,
            logged: HashSet::new(),
            known_keys: KnownKeys::default(),
            published: BTreeMap::new(),
            uncountersigned: HashMap::new(),
            details_lost: 0,
            notes: BTreeSet::new(),
        }
    }

    /// Takes over what the log says from an entry on.
    pub(super) fn read(&mut self, from: u64) -> Result<(), NodeError> {
        for entry in LogReader::open(&self.layout.log())?.entries(from.saturating_sub(OVERLAP)) {
            let (index, bytes) = entry?;
            self.logged.insert(digest(&bytes));
            if index >= from
                && let Ok(entry) = Entry::decode(&bytes)
            {
                self.take(entry.at_ms, entry.event)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at_ms: u64, event: Event) -> Result<(), NodeError> {
        let own = &self.keys.party;
        if let Some(receipt) = event.receipt().filter(|receipt| receipt.provider != own) {
            self.uncountersigned.insert(receipt.digest, receipt.provider.clone());
        }
        match event {
            Event::Enrolled { keys, enrolment } => self.enrolled(&keys, &enrolment, at_ms)?,
            Event::Granted(signed) => {
                let issued = signed.body().provider == *own;
                self.store.replay_grant(signed.body().id.as_bytes(), issued, signed.as_bytes())?;
            }
            Event::Trust { action, subject, document } => self.trust(&action, &subject, &document)?,
            Event::GrantEnded(id) => self.store.replay_grant_end(id.as_bytes(), at_ms)?,
            Event::User { name, action } => self.user(&name, &action)?,
            Event::Switched { subject, action } => {
                let off = matches!(action.as_str(), "off" | "suspended");
                self.store.replay_switch(&subject, off, at_ms)?;
            }
            Event::Key { purpose, public, state } => self.known_keys.take(&purpose, &public, &state),
            Event::Published(signed) => self.published(signed)?,
            Event::DeltaPublished(signed) => self.delta_published(&signed)?,
            Event::Countersigned(signed) => {
                for receipt in &signed.body().receipts {
                    self.uncountersigned.remove(receipt);
                }
            }
            Event::Decided(decided) => {
                self.details_lost += u64::from(!self.store.has_verification(&decided.verification)?);
            }
            Event::Destroyed(signed) => self.destroyed(signed.body())?,
            event => self.score(at_ms, &event)?,
        }
        Ok(())
    }

    fn enrolled(&mut self, keys: &Keys, enrolment: &[u8], at_ms: u64) -> Result<(), NodeError> {
        let Ok(text) = std::str::from_utf8(enrolment) else { return Ok(()) };
        if keys.party != self.keys.party {
            let read = Enrolment::from_pem(text).ok();
            let enrolled = read.map_or(Ok(Enrolled::Anew), |read| self.store.how_enrolled(&read))?;
            return Ok(self.store.replay_partner(keys.party.as_str(), text, enrolled, at_ms)?);
        }
        match self.own_key(text) {
            Some(tls) => {
                write_public(&self.layout.enrolment(), enrolment)?;
                tls.activate(&self.keys.store)?;
            }
            None => {
                let note = "this node was enrolled anew after the backup, with a key that is not in it: run `windvane \
                            keys renew`, have the request signed, and import the enrolment before the node starts";
                self.notes.insert(note.to_owned());
            }
        }
        Ok(())
    }

    /// The TLS key of an enrolment of this node's own, if the backup has it; it may wait there for its certificate.
    fn own_key(&self, enrolment: &str) -> Option<TlsKey> {
        let enrolment = Enrolment::from_pem(enrolment).ok()?;
        let tls = TlsKey::load_for(&self.keys.store, enrolment.request().tls_public_key()).ok()?;
        enrolment.check_ours(&self.keys.receipt, &self.keys.log, &tls).ok().map(|()| tls)
    }

    /// Whom the node believes. The log has a revocation list's digest only.
    fn trust(&mut self, action: &str, subject: &str, document: &[u8]) -> Result<(), NodeError> {
        let sha256 = || Sha256::digest(document).into();
        match action {
            "partner ended" => self.store.replay_departure(subject)?,
            "authority bound" => self.store.replay_authority(&sha256(), document, Some(subject))?,
            "authority released" => self.store.replay_authority(&sha256(), document, None)?,
            "revocation list" if !self.store.has_revocation_list(document)? => {
                self.notes.insert(format!(
                    "revocation list {subject} was imported after the backup: import it, or a later one, again \
                     before the node runs, because it believes whom that list revokes"
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn user(&mut self, name: &str, action: &str) -> Result<(), NodeError> {
        if action == "dismissed" {
            return Ok(self.store.replay_dismissal(name)?);
        }
        if !self.store.has_caller(name)? {
            self.notes.insert(format!("caller {name} was admitted after the backup; admit it again"));
        }
        Ok(())
    }

    fn published(&mut self, signed: Signed<Manifest>) -> Result<(), NodeError> {
        let body = signed.body();
        for publication in &body.publications {
            self.store.replay_publication(&publication.id, &signed.digest())?;
        }
        if body.provider == self.keys.party {
            self.published.insert(body.data_set.clone(), signed);
        } else {
            let (provider, data_set) = (&body.provider, &body.data_set);
            self.notes.insert(format!("fetch the snapshot of {data_set} from {provider} again"));
        }
        Ok(())
    }

    fn delta_published(&mut self, signed: &Signed<Delta>) -> Result<(), NodeError> {
        let Delta { provider, data_set, index, epoch, publication, .. } = signed.body();
        self.store.replay_publication(&publication.id, &signed.digest())?;
        self.notes.insert(if *provider == self.keys.party {
            format!(
                "delta {index} of epoch {epoch} of {data_set} was published after the backup: import the change \
                 files since then again, build and publish the next epoch"
            )
        } else {
            format!("fetch the snapshot of {data_set} from {provider} again")
        });
        Ok(())
    }

    /// A folder that the backup still has is destroyed again; keys are, by their own entries. What the backup was still to
    /// tell of is told.
    fn destroyed(&mut self, gone: &Destruction) -> Result<(), NodeError> {
        if gone.cause != class::RETIRED {
            return Ok(self.store.replay_destruction(&gone.digest)?);
        }
        self.store.replay_retirement(&gone.class, &gone.subject)?;
        let root = self.layout.root();
        match gone.class.as_str() {
            class::DATA_SET => disk::remove_directory(&root.join("datasets").join(&gone.subject))?,
            class::EPOCH => {
                if let Some((data_set, epoch)) = gone.subject.split_once('/') {
                    let folder = root.join("datasets").join(data_set);
                    disk::remove_directory(&folder.join("epochs").join(epoch))?;
                    disk::remove_directory(&folder.join("built").join(epoch))?;
                }
            }
            class::PARTNER => {
                self.store.replay_departure(&gone.subject)?;
                disk::remove_directory(&root.join("snapshots").join(&gone.subject))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Epochs begun and ended, tables published, and choices of models.
    fn score(&mut self, at_ms: u64, event: &Event) -> Result<(), NodeError> {
        let folder = ScoreFolder::new(self.layout);
        match event {
            Event::ScoreEpoch { group, epoch, state, .. } => {
                let mut ledger = folder.ledger()?;
                if *epoch > ledger.ledger().last_epoch(group).unwrap_or(0) {
                    ledger.begin(group, *epoch)?;
                }
                if state == "retired" {
                    // Its key's own entry may be missing, where a kill came before it.
                    destroy_member_keys(&self.keys.store, group, *epoch)?;
                }
                let (group, epoch) = (folder.group(group), folder.group(group).epoch(*epoch));
                if state == "retired" && epoch.path().exists() {
                    // Of a damaged one, whoever uses it tells.
                    if let Ok(mut choices) = ActiveState::load(&group) {
                        choices.forget(epoch.epoch(), &group)?;
                    }
                    epoch.retire("restore", at_ms)?;
                }
            }
            Event::ScorePublished(signed) if signed.body().provider == self.keys.party => {
                folder.ledger()?.publish(&signed.body().context, &signed.body().root)?;
            }
            Event::ScoreModel { group, action, .. }
                // An epoch that ended is told of by an entry of its own.
                if !["added", "approved", "alert", "retired"].contains(&action.as_str()) =>
            {
                disk::remove_file(&folder.group(group).join("state"))?;
                let note = format!(
                    "the choice of model in {group} changed after the backup; until one is made again, nobody is \
                     scored: `windvane score activate --group {group} --epoch N --model NAME --by NAME`"
                );
                self.notes.insert(note);
            }
            _ => {}
        }
        Ok(())
    }

    /// Does what needs all entries; gives the events that it makes, and what the operator should know.
    pub(super) fn finish(mut self) -> Result<(Vec<Event>, Vec<String>), NodeError> {
        self.store.forget_logged(&self.logged)?;
        for (receipt, provider) in &self.uncountersigned {
            self.store.queue_receipt(provider.as_str(), receipt)?;
        }
        let known_keys = std::mem::take(&mut self.known_keys);
        self.notes.extend(known_keys.apply(&self.keys.store)?);
        let mut events = Vec::new();
        for (data_set, manifest) in std::mem::take(&mut self.published) {
            events.extend(self.publication(&data_set, &manifest)?);
        }
        if self.details_lost > 0 {
            let lost = self.details_lost;
            self.notes
                .insert(format!("{lost} decisions since the backup are in the log without their details"));
        }
        Ok((events, self.notes.into_iter().collect()))
    }

    /// Removes tables that are not the last one that was published: a publication, or an epoch, is not made twice.
    fn publication(&mut self, data_set: &DataSet, last: &Signed<Manifest>) -> Result<Vec<Event>, NodeError> {
        let (root, epoch) = (self.layout.root(), last.body().epoch);
        let folder = root.join("datasets").join(data_set.as_str());
        for built in disk::numbered(&folder.join("built"))?.into_iter().filter(|built| *built <= epoch) {
            disk::remove_directory(&folder.join("built").join(built.to_string()))?;
        }
        let manifest = published_dir(root, data_set, epoch).join(MANIFEST);
        if std::fs::read(manifest).is_ok_and(|bytes| bytes == last.as_bytes()) {
            return Ok(Vec::new());
        }
        for published in published_epochs(root, data_set)? {
            disk::remove_directory(&published_dir(root, data_set, published))?;
        }
        let note =
            format!("epoch {epoch} of {data_set} was published after the backup: build and publish the next");
        self.notes.insert(note);
        epochs::end_data_set(&self.keys.store, data_set)
    }
}
