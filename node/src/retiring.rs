//! The end of an epoch: after a publication the one before it still answers what was built against it, for the time
//! that the data set's configuration gives; then its keys are destroyed and its table is removed. The table of an epoch
//! that another overtook before it was published goes at once, with its keys.
//!
//! **Promised**: no moment between two epochs in which a bank with either of their snapshots is refused; an epoch
//! that is over by its time or by a command does not come back. A crash at any place leaves what the next
//! publication, the running node or the command ends; a publication that the log was not told of is not served, and
//! the next command finishes it. **Not promised**: that the time is kept while no node runs.

use std::path::Path;

use windvane_keys::record::{KeyRecord, State};
use windvane_keys::rotation::{EpochStatus, activate_epoch, destroy_epoch, epochs, retire_epoch};
use windvane_keys::store::FileStore;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::Record as _;

use crate::dataset::{EpochTables, built_epochs, published_epochs, published_manifest};
use crate::error::NodeError;
use crate::retention::still_there;
use crate::store::Store;

/// The published epochs of which the log was told, ascending. A publication that was killed before that is not among
/// them until it is finished: it is not served, and the epoch before it goes on.
pub(crate) fn told_epochs(store: &Store, root: &Path, data_set: &DataSet) -> Result<Vec<u64>, NodeError> {
    let mut told = published_epochs(root, data_set)?;
    let mut failed = None;
    told.retain(|epoch| {
        is_told(store, root, data_set, *epoch).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            false
        })
    });
    failed.map_or(Ok(told), Err)
}

/// Whether the log was told of a published epoch, or will be.
fn is_told(store: &Store, root: &Path, data_set: &DataSet, epoch: u64) -> Result<bool, NodeError> {
    let manifest = published_manifest(root, data_set, epoch)?;
    for publication in &manifest.body().publications {
        if store.publication(&publication.id)? != Some(manifest.digest()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the end of an epoch takes: a node's files, in its own hands or in an operator's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs<'a> {
    pub(crate) keys: &'a FileStore,
    pub(crate) store: &'a Store,
    pub(crate) root: &'a Path,
    pub(crate) now_ms: u64,
}

impl Epochs<'_> {
    /// Before another epoch is published: those that are published now may answer until then.
    pub(crate) fn announce(&self, data_set: &DataSet, until_ms: u64) -> Result<(), NodeError> {
        let published = self.told(data_set)?;
        Ok(self.store.announce_retiring(data_set.as_str(), &published, until_ms)?)
    }

    /// The published epochs of which the log was told, ascending.
    pub(crate) fn told(&self, data_set: &DataSet) -> Result<Vec<u64>, NodeError> {
        told_epochs(self.store, self.root, data_set)
    }

    /// The epoch published last, if its publication was killed before it was complete: the log was not told, or the
    /// keys are not in use.
    pub(crate) fn interrupted(&self, data_set: &DataSet) -> Result<Option<u64>, NodeError> {
        let Some(&last) = published_epochs(self.root, data_set)?.last() else { return Ok(None) };
        let pending = || {
            let is_pending = |key: &KeyRecord| key.state == State::Pending;
            Ok::<_, NodeError>(self.keys_of(data_set, last)?.iter().any(is_pending))
        };
        let whole = is_told(self.store, self.root, data_set, last)? && !pending()?;
        Ok((!whole).then_some(last))
    }

    /// After the epoch was published: it is active, those before it are retiring, and what was never published is
    /// gone. Gives the epochs that retire.
    pub(crate) fn succeed(&self, data_set: &DataSet, current: u64) -> Result<Vec<u64>, NodeError> {
        activate_epoch(self.keys, data_set, current)?;
        self.tell(data_set, current)?;
        let published = published_epochs(self.root, data_set)?;
        let mut retiring = Vec::new();
        for EpochStatus { epoch, .. } in self.unfinished(data_set, current)? {
            if published.contains(&epoch) {
                retire_epoch(self.keys, data_set, epoch)?;
                self.tell(data_set, epoch)?;
                retiring.push(epoch);
            } else {
                self.end(data_set, epoch)?;
            }
        }
        Ok(retiring)
    }

    /// Ends every epoch whose time is over, and whose successor is published.
    pub(crate) fn end_due(&self) -> Result<Vec<(DataSet, u64)>, NodeError> {
        let mut ended = Vec::new();
        for (name, epoch, until_ms) in self.store.retiring()? {
            let Ok(data_set) = name.parse::<DataSet>() else { continue };
            let succeeded = self.told(&data_set)?.last().is_some_and(|last| *last > epoch);
            if succeeded && self.now_ms > until_ms {
                self.end(&data_set, epoch)?;
                ended.push((data_set, epoch));
            }
        }
        Ok(ended)
    }

    /// Ends one epoch: the keys first, because they are what is secret, then its table, which was published or waits for
    /// that. The log is told of those that were alive.
    pub(crate) fn end(&self, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
        // Held before the keys go: a table whose keys are gone is of no use to anybody.
        let tables = EpochTables::hold(self.root, data_set, epoch)?;
        let is_alive = |key: &KeyRecord| key.state != State::Destroyed;
        let mut alive = self.keys_of(data_set, epoch)?;
        if !alive.is_empty() {
            // Also where all count as destroyed: one whose bytes an earlier call could not overwrite is an error.
            destroy_epoch(self.keys, data_set, epoch)?;
            alive.retain(is_alive);
            if self.keys_of(data_set, epoch)?.iter().any(is_alive) {
                return Err(still_there(&format!("a key of epoch {epoch} of {data_set}")));
            }
        }
        alive.into_iter().try_for_each(|key| self.tell_key(KeyRecord { state: State::Destroyed, ..key }))?;
        tables.remove()?;
        Ok(self.store.forget_retiring(data_set.as_str(), epoch)?)
    }

    /// Epochs before `current` of which any key is still there, or a table that waits for publication.
    fn unfinished(&self, data_set: &DataSet, current: u64) -> Result<Vec<EpochStatus>, NodeError> {
        let (mut known, built) = (epochs(self.keys, data_set)?, built_epochs(self.root, data_set)?);
        let left = |status: &EpochStatus| status.keys.iter().any(|key| key.state != State::Destroyed);
        known.retain(|status| status.epoch < current && (left(status) || built.contains(&status.epoch)));
        Ok(known)
    }

    /// Tells the log of an epoch's keys as they stand now.
    pub(crate) fn tell(&self, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
        self.keys_of(data_set, epoch)?.into_iter().try_for_each(|key| self.tell_key(key))
    }

    fn tell_key(&self, key: KeyRecord) -> Result<(), NodeError> {
        let (purpose, state) = (key.purpose.to_string(), key.state.as_str().to_owned());
        let event = Event::Key { purpose, public: key.public, state };
        Ok(self.store.queue_entry(&Entry::new(self.now_ms, event).encode().into_bytes())?)
    }

    fn keys_of(&self, data_set: &DataSet, epoch: u64) -> Result<Vec<KeyRecord>, NodeError> {
        let found = epochs(self.keys, data_set)?.into_iter().find(|known| known.epoch == epoch);
        Ok(found.map(|known| known.keys).unwrap_or_default())
    }
}
