//! The end of an epoch: after a publication the one before it still answers what was built against it, for the time
//! that the data set's configuration gives; then its keys are destroyed and its table is removed. The table of an epoch
//! that another overtook before it was published goes at once, with its keys.
//!
//! **Promised**: no moment between two epochs in which a bank with either of their snapshots is refused; an epoch
//! that is over by its time or by a command does not come back. The log is told of every key that was destroyed,
//! because a restore destroys by its entries the keys that the backup still has: the state notes that an epoch's end was
//! begun before the first key goes, and forgets it together with the entries. A crash at any place leaves what the next
//! publication, the running node or the command ends; a publication that the log was not told of is not served, and
//! the next command finishes it. One epoch that cannot be ended keeps no other from its end. **Not promised**: that the
//! time is kept while no node runs, or while something is imported, built or published in the data set; that the log is
//! told once only of a key after a crash.

use std::path::Path;

use windvane_keys::record::{KeyRecord, State};
use windvane_keys::rotation::{activate_epoch, destroy_epoch, epochs, retire_epoch};
use windvane_keys::store::{FileStore, StoreError};
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::Record as _;

use crate::dataset::{EpochTables, PublishError, built_epochs, published_epochs, published_manifest};
use crate::error::NodeError;
use crate::retention::still_there;
use crate::store::{ENDING, Store};

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
    /// Before another epoch is told of: those that are published now may answer until then.
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

    /// After the epoch was published: those before it are retiring, those that it overtook before they were published
    /// are to end, and it is active. That comes last, so that [`Self::interrupted`] finds what was not done. Gives the
    /// epochs that retire.
    pub(crate) fn succeed(&self, data_set: &DataSet, current: u64) -> Result<Vec<u64>, NodeError> {
        let (mut retiring, mut useless) = self.before(data_set, current)?;
        for epoch in std::mem::take(&mut retiring) {
            match self.advance(data_set, epoch, State::Retiring) {
                Ok(()) => retiring.push(epoch),
                // Its time was over, and a running node ended it.
                Err(NodeError::Keys(StoreError::Destroyed { .. })) => useless.push(epoch),
                Err(error) => return Err(error),
            }
        }
        self.begin_end(data_set, &useless)?;
        self.advance(data_set, current, State::Active)?;
        Ok(retiring)
    }

    /// Has epochs be over, whatever their time is: [`Self::end_due`] ends them.
    pub(crate) fn begin_end(&self, data_set: &DataSet, epochs: &[u64]) -> Result<(), NodeError> {
        Ok(self.store.begin_end(data_set.as_str(), epochs)?)
    }

    /// Ends every epoch, of one data set or of all, whose time is over while its successor is published, or whose end was
    /// begun. One that cannot be ended keeps no other from its end, and where something is imported, built or published
    /// it waits for the next time. `ended` is told of each.
    ///
    /// # Errors
    /// The first [`NodeError`], when everything else is done.
    pub(crate) fn end_due(
        &self,
        of: Option<&DataSet>,
        mut ended: impl FnMut(DataSet, u64),
    ) -> Result<(), NodeError> {
        let mut done = Ok(());
        for (name, epoch, until_ms) in self.store.retiring()? {
            let Ok(data_set) = name.parse::<DataSet>() else { continue };
            if of.is_some_and(|of| *of != data_set) {
                continue;
            }
            match self.end_if_due(&data_set, epoch, until_ms) {
                Ok(true) => ended(data_set, epoch),
                Ok(false) | Err(NodeError::Publish(PublishError::Busy)) => {}
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }

    fn end_if_due(&self, data_set: &DataSet, epoch: u64, until_ms: u64) -> Result<bool, NodeError> {
        let is_due = until_ms == ENDING || self.now_ms > until_ms && self.has_successor(data_set, epoch)?;
        if is_due {
            self.end(data_set, epoch)?;
        }
        Ok(is_due)
    }

    /// Whether a later epoch is published and told of. What stands there of the epoch itself does not matter.
    fn has_successor(&self, data_set: &DataSet, epoch: u64) -> Result<bool, NodeError> {
        let published = published_epochs(self.root, data_set)?;
        let mut none = Ok(false);
        for later in published.into_iter().rev().take_while(|later| *later > epoch) {
            match is_told(self.store, self.root, data_set, later) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // One that is damaged says nothing of those before it.
                Err(error) => none = none.and(Err(error)),
            }
        }
        none
    }

    /// Ends one epoch: the keys first, because they are what is secret, then its table, which was published or waits for
    /// that. The log is told of all its keys, also of those that an end destroyed which was interrupted.
    pub(crate) fn end(&self, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
        // Held before the keys go: a table whose keys are gone is of no use to anybody.
        let tables = EpochTables::hold(self.root, data_set, epoch)?;
        let known = self.keys_of(data_set, epoch)?;
        if known.iter().all(is_gone) && !self.is_noted(data_set, epoch)? {
            // The log was told.
            return Ok(tables.remove()?);
        }
        self.begin_end(data_set, &[epoch])?;
        if !known.is_empty() {
            // Also where all count as destroyed: one whose bytes an earlier end could not overwrite is an error.
            destroy_epoch(self.keys, data_set, epoch)?;
        }
        let keys = self.keys_of(data_set, epoch)?;
        if !keys.iter().all(is_gone) {
            return Err(still_there(&format!("a key of epoch {epoch} of {data_set}")));
        }
        let entries = self.entries(keys, State::Destroyed);
        if let Err(error) = tables.remove() {
            // The keys are gone now, whenever their table is.
            if !known.iter().all(is_gone) {
                self.store.queue_entries(&entries)?;
            }
            return Err(error.into());
        }
        Ok(self.store.complete_end(data_set.as_str(), epoch, &entries)?)
    }

    /// Whether the state says when the epoch ends, or that it is ending.
    fn is_noted(&self, data_set: &DataSet, epoch: u64) -> Result<bool, NodeError> {
        let is_it = |(name, noted, _): &(String, u64, u64)| name == data_set.as_str() && *noted == epoch;
        Ok(self.store.retiring()?.iter().any(is_it))
    }

    /// Epochs before `current` of which any key is still there, or a table that waits for publication: those that retire,
    /// and those that nobody can use, because they were never published or a key is gone.
    fn before(&self, data_set: &DataSet, current: u64) -> Result<(Vec<u64>, Vec<u64>), NodeError> {
        let published = published_epochs(self.root, data_set)?;
        let built = built_epochs(self.root, data_set)?;
        let (mut retiring, mut useless) = (Vec::new(), Vec::new());
        for known in epochs(self.keys, data_set)?.into_iter().filter(|known| known.epoch < current) {
            let gone = known.keys.iter().filter(|key| is_gone(key)).count();
            if gone == 0 && published.contains(&known.epoch) {
                retiring.push(known.epoch);
            } else if gone < known.keys.len() || built.contains(&known.epoch) {
                useless.push(known.epoch);
            }
        }
        Ok((retiring, useless))
    }

    /// Has an epoch's keys reach a state. The log is told first: after a crash in between, it is told again.
    fn advance(&self, data_set: &DataSet, epoch: u64, to: State) -> Result<(), NodeError> {
        let mut keys = self.keys_of(data_set, epoch)?;
        keys.retain(|key| key.state < to);
        self.store.queue_entries(&self.entries(keys, to))?;
        Ok(match to {
            State::Active => activate_epoch(self.keys, data_set, epoch),
            _ => retire_epoch(self.keys, data_set, epoch),
        }?)
    }

    /// Tells the log of the keys that were made for an epoch.
    pub(crate) fn tell_made(&self, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
        let keys = self.keys_of(data_set, epoch)?;
        Ok(self.store.queue_entries(&self.entries(keys, State::Pending))?)
    }

    /// What the log is told of keys that are in a state, or are about to be.
    fn entries(&self, keys: Vec<KeyRecord>, state: State) -> Vec<Vec<u8>> {
        let entry = |key: KeyRecord| {
            let (purpose, state) = (key.purpose.to_string(), state.as_str().to_owned());
            let event = Event::Key { purpose, public: key.public, state };
            Entry::new(self.now_ms, event).encode().into_bytes()
        };
        keys.into_iter().map(entry).collect()
    }

    fn keys_of(&self, data_set: &DataSet, epoch: u64) -> Result<Vec<KeyRecord>, NodeError> {
        let found = epochs(self.keys, data_set)?.into_iter().find(|known| known.epoch == epoch);
        Ok(found.map(|known| known.keys).unwrap_or_default())
    }
}

fn is_gone(key: &KeyRecord) -> bool {
    key.state == State::Destroyed
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use rusqlite::Connection;
    use tempfile::TempDir;
    use windvane_keys::rotation::create_epoch;
    use windvane_keys::store::KeyStore as _;
    use windvane_protocols::lookup::KeyGroup;

    use super::*;
    use crate::admin::Admin;
    use crate::clock::SystemClock;
    use crate::config::{Config, SAMPLES};
    use crate::dataset::published_dir;
    use crate::snapshot::disk::DirectoryLock;

    /// A carrier's files.
    struct Bench {
        _dir: TempDir,
        admin: Admin,
        root: PathBuf,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("windvane.toml");
            let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
            std::fs::write(&path, text).unwrap();
            let config = Config::load(&path).unwrap();
            let admin = Admin::init(&config, Arc::new(SystemClock)).unwrap();
            Self { _dir: dir, admin, root: config.node.data_dir }
        }

        fn epochs(&self) -> Epochs<'_> {
            Epochs { keys: self.keys(), store: self.admin.store(), root: &self.root, now_ms: 1_000 }
        }

        fn keys(&self) -> &FileStore {
            &self.admin.keys().store
        }

        /// An epoch with two keys.
        fn make(&self, data_set: &DataSet, epoch: u64) {
            let groups = [KeyGroup::Attribute, KeyGroup::Match];
            create_epoch(self.keys(), data_set, epoch, &groups, 0, &mut rand::rng()).unwrap();
        }

        fn states(&self, data_set: &DataSet, epoch: u64) -> Vec<State> {
            self.epochs().keys_of(data_set, epoch).unwrap().iter().map(|key| key.state).collect()
        }

        /// Purposes and states of keys of which the log is to be told, in order.
        fn told(&self) -> Vec<String> {
            let told = |(_, entry): (i64, Vec<u8>)| match Entry::decode(&entry).unwrap().event {
                Event::Key { purpose, state, .. } => Some(format!("{purpose} {state}")),
                _ => None,
            };
            self.admin.store().outbox().unwrap().into_iter().filter_map(told).collect()
        }

        /// From now on, or no longer, the state takes no entry.
        fn refuse_entries(&self, refuse: bool) {
            let sql = match refuse {
                true => "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END",
                false => "DROP TRIGGER full",
            };
            Connection::open(self.root.join("state.db")).unwrap().execute_batch(sql).unwrap();
        }

        /// Ends what is due; gives what that was, and an error's code.
        fn end_due(&self) -> (Vec<(String, u64)>, Option<String>) {
            let mut ended = Vec::new();
            let done =
                self.epochs().end_due(None, |data_set, epoch| ended.push((data_set.to_string(), epoch)));
            (ended, done.err().map(|error| error.code().to_owned()))
        }
    }

    fn name(text: &str) -> DataSet {
        text.parse().unwrap()
    }

    /// What is told of both keys of an epoch.
    fn both(epoch: u64, state: &str) -> [String; 2] {
        ["attribute", "match"].map(|group| format!("oprf/subscribers/{epoch}/{group} {state}"))
    }

    fn sorted(mut told: Vec<String>) -> Vec<String> {
        told.sort();
        told
    }

    #[test]
    fn the_log_is_told_of_every_key_that_an_interrupted_end_destroyed() {
        let (bench, subscribers) = (Bench::new(), name("subscribers"));
        bench.make(&subscribers, 1);
        bench.refuse_entries(true);
        assert!(bench.epochs().end(&subscribers, 1).is_err());
        assert_eq!(bench.states(&subscribers, 1), [State::Destroyed; 2]);
        bench.refuse_entries(false);
        assert_eq!(bench.end_due(), (vec![("subscribers".to_owned(), 1)], None));
        assert_eq!(sorted(bench.told()), both(1, "destroyed"));
        bench.epochs().end(&subscribers, 1).unwrap();
        assert_eq!((bench.told().len(), bench.end_due()), (2, (vec![], None)));

        // As a kill between the two keys leaves it.
        bench.make(&subscribers, 2);
        bench.epochs().begin_end(&subscribers, &[2]).unwrap();
        let first = bench.epochs().keys_of(&subscribers, 2).unwrap().remove(0);
        bench.keys().destroy(&first.id).unwrap();
        bench.epochs().end(&subscribers, 2).unwrap();
        assert_eq!(sorted(bench.told()[2..].to_vec()), both(2, "destroyed"));
    }

    #[test]
    fn keys_come_into_use_once_the_log_is_told_of_it() {
        let (bench, subscribers) = (Bench::new(), name("subscribers"));
        bench.make(&subscribers, 1);
        bench.refuse_entries(true);
        assert!(bench.epochs().succeed(&subscribers, 1).is_err());
        assert_eq!(
            bench.states(&subscribers, 1),
            [State::Pending; 2],
            "the publication is found interrupted"
        );
        bench.refuse_entries(false);
        assert_eq!(bench.epochs().succeed(&subscribers, 1).unwrap(), [] as [u64; 0]);
        assert_eq!(bench.states(&subscribers, 1), [State::Active; 2]);
        assert_eq!(sorted(bench.told()), both(1, "active"));

        // The one before retires, and one that was overtaken ends.
        std::fs::create_dir_all(published_dir(&bench.root, &subscribers, 1)).unwrap();
        (2..=3).for_each(|epoch| bench.make(&subscribers, epoch));
        assert_eq!(bench.epochs().succeed(&subscribers, 3).unwrap(), [1]);
        assert_eq!(bench.end_due(), (vec![("subscribers".to_owned(), 2)], None));
        let expected = [both(1, "retiring"), both(2, "destroyed"), both(3, "active")];
        assert_eq!(sorted(bench.told()[2..].to_vec()), expected.concat());
    }

    #[test]
    fn an_epoch_that_cannot_be_ended_keeps_no_other_from_its_end() {
        let bench = Bench::new();
        let [busy, damaged, other] = ["busy", "damaged", "other"].map(name);
        for data_set in [&busy, &damaged, &other] {
            bench.make(data_set, 1);
        }
        let folder = bench.root.join("datasets/busy");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = DirectoryLock::try_acquire(&folder).unwrap();
        let successor = published_dir(&bench.root, &damaged, 2);
        std::fs::create_dir_all(&successor).unwrap();
        std::fs::write(successor.join("manifest"), "damaged").unwrap();
        for data_set in [&busy, &other] {
            bench.epochs().begin_end(data_set, &[1]).unwrap();
        }
        bench.admin.store().announce_retiring("damaged", &[1], 999).unwrap();

        let code = Some("EPOCH_DAMAGED".to_owned());
        assert_eq!(bench.end_due(), (vec![("other".to_owned(), 1)], code.clone()));
        assert_eq!(bench.states(&busy, 1), [State::Pending; 2]);
        drop(lock);
        assert_eq!(bench.end_due(), (vec![("busy".to_owned(), 1)], code));
        assert_eq!(bench.states(&damaged, 1), [State::Pending; 2]);
    }

    #[test]
    fn an_end_that_was_begun_is_not_put_off_by_another_publication() {
        let bench = Bench::new();
        let (subscribers, store) = (name("subscribers"), bench.admin.store());
        bench.epochs().begin_end(&subscribers, &[2]).unwrap();
        store.announce_retiring("subscribers", &[1, 2], 5_000).unwrap();
        store.announce_retiring("subscribers", &[1, 3], 6_000).unwrap();
        let expected = [(1, 5_000), (2, ENDING), (3, 6_000)];
        assert_eq!(
            store.retiring().unwrap(),
            expected.map(|(epoch, ms)| ("subscribers".to_owned(), epoch, ms))
        );
    }
}
