//! Numbers of epochs that are used up, whatever the key store of the backup knows of them.

use std::collections::{BTreeMap, BTreeSet};

use windvane_keys::record::{KeyId, KeyRecord, Purpose, State};
use windvane_keys::rotation::{destroy_epoch, epochs};
use windvane_keys::store::{FileStore, KeyStore as _, StoreError};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::secret::Secret;

use crate::error::NodeError;

/// An epoch's place: its data set and its number.
type Place = (DataSet, u64);

/// Keys that the log knows of.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    /// Public halves by epoch, with what each is for.
    oprf: BTreeMap<Place, BTreeMap<KeyGroup, Vec<u8>>>,
    /// The newest epoch of each scoring group with its public half: all numbers below it are used up by it.
    score: BTreeMap<DataSet, (u64, Vec<u8>)>,
    destroyed: BTreeSet<(String, Vec<u8>)>,
    others: BTreeSet<String>,
}

impl KnownKeys {
    /// Takes what an entry says of a key.
    pub(super) fn take(&mut self, purpose: &str, public: &[u8], state: &str) {
        if state == State::Destroyed.as_str() {
            self.destroyed.insert((purpose.to_owned(), public.to_vec()));
        }
        match purpose.parse() {
            Ok(Purpose::Oprf { data_set, epoch, group }) => {
                self.oprf.entry((data_set, epoch)).or_default().insert(group, public.to_vec());
            }
            Ok(Purpose::Score { group, epoch }) => {
                let newest = self.score.entry(group).or_default();
                if epoch >= newest.0 {
                    *newest = (epoch, public.to_vec());
                }
            }
            _ => drop(self.others.insert(purpose.to_owned())),
        }
    }

    /// Brings the key store up to the log; gives notes.
    pub(super) fn apply(self, store: &FileStore) -> Result<Vec<String>, NodeError> {
        for ((data_set, epoch), keys) in self.oprf {
            let purpose = |group| Purpose::Oprf { data_set: data_set.clone(), epoch, group };
            let records = keys.into_iter().map(|(group, public)| (purpose(group), public));
            use_up(store, records.collect())?;
        }
        for (group, (epoch, public)) in self.score {
            use_up(store, vec![(Purpose::Score { group, epoch }, public)])?;
        }
        for record in store.records()? {
            let ended = self.destroyed.contains(&(record.purpose.to_string(), record.public.clone()));
            if ended && record.state != State::Destroyed {
                store.destroy(&record.id)?;
            }
        }
        let note =
            |purpose| format!("a key for {purpose} was made or ended after the backup; see `keys list`");
        Ok(self.others.into_iter().map(note).collect())
    }
}

/// Leaves destroyed keys where the store lacks keys of an epoch, so that its number is never used again. One that stands
/// below what the store has seen is used up already.
fn use_up(store: &FileStore, keys: Vec<(Purpose, Vec<u8>)>) -> Result<(), NodeError> {
    let known: BTreeSet<_> = store.records()?.into_iter().map(|record| record.id).collect();
    let mut added = Vec::new();
    for (purpose, public) in keys {
        if known.contains(&KeyId::of_public(&purpose, &public)) {
            continue;
        }
        let record = KeyRecord::with_public(purpose, public, 0);
        // Nobody ever had this secret; a record needs one before it can be destroyed.
        let secret = Secret::new(rand::random::<[u8; 32]>().to_vec());
        match store.insert(&record, &secret) {
            Ok(()) => added.push(record.id),
            Err(StoreError::EpochReused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    added.iter().try_for_each(|id| store.destroy(id))?;
    Ok(())
}

/// Uses up the number of an epoch of a data set.
pub(super) fn use_up_number(store: &FileStore, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
    let group = KeyGroup::of(windvane_protocols::identity::Family::Phone);
    let purpose = Purpose::Oprf { data_set: data_set.clone(), epoch, group };
    use_up(store, vec![(purpose, rand::random::<[u8; 32]>().to_vec())])
}

/// Destroys every key of a data set that is alive; gives the log's entries.
pub(super) fn end_data_set(store: &FileStore, data_set: &DataSet) -> Result<Vec<Event>, NodeError> {
    let mut events = Vec::new();
    for status in epochs(store, data_set)? {
        if status.keys.iter().all(|record| record.state == State::Destroyed) {
            continue;
        }
        destroy_epoch(store, data_set, status.epoch)?;
        events.extend(status.keys.into_iter().map(destroyed));
    }
    Ok(events)
}

/// What the log is told of a key that is gone.
pub(super) fn destroyed(record: KeyRecord) -> Event {
    let state = State::Destroyed.as_str().to_owned();
    Event::Key { purpose: record.purpose.to_string(), public: record.public, state }
}

/// The data sets that the key store knows.
pub(super) fn data_sets(store: &FileStore) -> Result<BTreeSet<DataSet>, NodeError> {
    let name = |record: KeyRecord| match record.purpose {
        Purpose::Oprf { data_set, .. } => Some(data_set),
        _ => None,
    };
    Ok(store.records()?.into_iter().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use windvane_keys::passphrase::Passphrase;

    use super::*;

    #[test]
    fn one_record_uses_up_all_numbers_of_a_scoring_group() {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new(b"correct horse".to_vec()).unwrap();
        let store = FileStore::create(&dir.path().join("keys"), &passphrase).unwrap();
        let mut known = KnownKeys::default();
        for epoch in [1, 2, 4, 3] {
            for state in [State::Active, State::Destroyed] {
                known.take(&format!("score/joint-risk/{epoch}"), &[epoch; 32], state.as_str());
            }
        }
        known.apply(&store).unwrap();
        let left: Vec<_> =
            store.records().unwrap().into_iter().map(|r| (r.purpose.to_string(), r.state)).collect();
        assert_eq!(left, [("score/joint-risk/4".to_owned(), State::Destroyed)]);
        let purpose = Purpose::Score { group: "joint-risk".parse().unwrap(), epoch: 3 };
        let record = KeyRecord::with_public(purpose, vec![9; 32], 1);
        let refused = store.insert(&record, &Secret::new(vec![1; 32])).unwrap_err();
        assert_eq!(refused.code(), "EPOCH_REUSED");
    }
}
