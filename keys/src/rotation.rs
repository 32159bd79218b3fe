//! Oblivious PRF keys: a data set's epochs and the bank's subject tag.
//!
//! An epoch has one key for each [`KeyGroup`] that it was made for. Its number starts at 1, only grows and is
//! never used again, not after destruction either: the store's records remember. Every key is sealed together
//! with the codes of all the epoch's groups, so an epoch of which a crash left only some keys never opens;
//! create the next. They are pending until [`activate_epoch`], when the epoch is published; retiring, while calls
//! that were built against it are still answered, from [`retire_epoch`] on; and then destroyed.

use std::collections::{BTreeMap, BTreeSet};

use rand::CryptoRng;
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::oprf::PrivateKey;
use windvane_protocols::secret::Secret;

use crate::record::{KeyRecord, Purpose, State};
use crate::store::{KeyStore, StoreError};

/// Generates the bank's subject-tag key into the store.
///
/// # Errors
/// [`StoreError::AlreadyActive`], or when the store cannot be written.
pub fn generate_subject_tag(
    store: &(impl KeyStore + ?Sized),
    now_ms: u64,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<PrivateKey, StoreError> {
    let (record, key) = make(Purpose::SubjectTag, now_ms, rng);
    insert(store, &record, &key, &[])?;
    Ok(key)
}

/// Loads the bank's subject-tag key.
///
/// # Errors
/// [`StoreError::Missing`], or when the store cannot be read.
pub fn load_subject_tag(store: &(impl KeyStore + ?Sized)) -> Result<PrivateKey, StoreError> {
    let (record, secret) = store.active(&Purpose::SubjectTag)?;
    let (key, rest) = open(&record, &secret)?;
    if rest.is_empty() { Ok(key) } else { Err(form(&record, "32 bytes")) }
}

/// Generates an epoch's pending keys into the store, one for each group; groups named twice count once.
///
/// # Errors
/// [`StoreError::EpochReused`] unless the number is larger than 0 and than every one before, destroyed ones
/// included; [`StoreError::NoGroups`]; or when the store cannot be written.
pub fn create_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
    groups: &[KeyGroup],
    now_ms: u64,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<EpochKeys, StoreError> {
    let groups: BTreeSet<_> = groups.iter().copied().collect();
    if groups.is_empty() {
        return Err(StoreError::NoGroups { data_set: data_set.clone() });
    }
    let last = last_epoch(store, data_set)?;
    if epoch <= last {
        let expected = last.saturating_add(1);
        return Err(StoreError::EpochReused { data_set: data_set.clone(), found: epoch, expected });
    }
    let codes: Vec<_> = groups.iter().map(|group| group.code()).collect();
    let mut generate = |group| {
        let (record, key) = make(purpose(data_set, epoch, group), now_ms, rng);
        insert(store, &record.pending(), &key, &codes)?;
        Ok((group, key))
    };
    groups.into_iter().map(&mut generate).collect()
}

/// Loads an epoch's keys, unless they were destroyed.
///
/// # Errors
/// [`StoreError::MissingEpoch`], also when a key that the epoch was made with is not there;
/// [`StoreError::Destroyed`]; or when the store cannot be read.
pub fn load_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
) -> Result<EpochKeys, StoreError> {
    open_epoch(store, data_set, epoch, &records_of(store, data_set, epoch)?)
}

/// The number for a data set's next epoch: one more than any that the store has seen, destroyed ones
/// included; 1 for the first. After 2^64 − 1 there is no other, and [`create_epoch`] refuses.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub fn next_epoch(store: &(impl KeyStore + ?Sized), data_set: &DataSet) -> Result<u64, StoreError> {
    Ok(last_epoch(store, data_set)?.saturating_add(1))
}

/// What the store knows of an epoch, also when its keys are destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStatus {
    /// The epoch's number.
    pub epoch: u64,
    /// The state of the key that is furthest in its life; destroyed where a key is missing.
    pub state: State,
    /// When its first key was made.
    pub created_at_ms: u64,
    /// The records of its keys; not all of them after a crash in between.
    pub keys: Vec<KeyRecord>,
}

/// Every epoch of a data set, destroyed ones too, by number.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub fn epochs(store: &(impl KeyStore + ?Sized), data_set: &DataSet) -> Result<Vec<EpochStatus>, StoreError> {
    let all = by_epoch(store, data_set)?;
    all.into_iter().map(|(epoch, keys)| status(store, data_set, epoch, keys)).collect()
}

/// Takes an epoch's keys into use.
///
/// # Errors
/// [`StoreError::MissingEpoch`], [`StoreError::Backwards`], or when the store cannot be written.
pub fn activate_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
) -> Result<(), StoreError> {
    advance(store, data_set, epoch, State::Active)
}

/// Keeps an epoch's keys for calls that were built against it, and for nothing new.
///
/// # Errors
/// [`StoreError::MissingEpoch`], or when the store cannot be written.
pub fn retire_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
) -> Result<(), StoreError> {
    advance(store, data_set, epoch, State::Retiring)
}

fn advance(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
    to: State,
) -> Result<(), StoreError> {
    let records = records_of(store, data_set, epoch)?;
    records.iter().try_for_each(|record| store.advance(&record.id, to))
}

/// Destroys an epoch's keys; a destroyed epoch stays destroyed.
///
/// # Errors
/// [`StoreError::MissingEpoch`], or when the store cannot be written.
pub fn destroy_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
) -> Result<(), StoreError> {
    let records = records_of(store, data_set, epoch)?;
    records.iter().try_for_each(|record| store.destroy(&record.id))
}

fn make(purpose: Purpose, now_ms: u64, mut rng: &mut (impl CryptoRng + ?Sized)) -> (KeyRecord, PrivateKey) {
    let key = PrivateKey::random(&mut rng);
    (KeyRecord::with_public(purpose, key.public().as_bytes().to_vec(), now_ms), key)
}

/// Seals a key's scalar followed by `rest`.
fn insert(
    store: &(impl KeyStore + ?Sized),
    record: &KeyRecord,
    key: &PrivateKey,
    rest: &[u8],
) -> Result<(), StoreError> {
    let secret = Secret::new([key.to_bytes().expose().as_slice(), rest].concat());
    store.insert(record, &secret)
}

/// The key of a record, and what follows its scalar in the secret.
fn open<'a>(record: &KeyRecord, secret: &'a Secret<Vec<u8>>) -> Result<(PrivateKey, &'a [u8]), StoreError> {
    let split = secret.expose().split_first_chunk();
    let (scalar, rest) = split.ok_or_else(|| form(record, "32 bytes"))?;
    let key = PrivateKey::from_bytes(scalar).map_err(|_| form(record, "a nonzero scalar"))?;
    if key.public().as_bytes().as_slice() != record.public {
        return Err(form(record, "the secret of its public key"));
    }
    Ok((key, rest))
}

fn form(record: &KeyRecord, expected: &'static str) -> StoreError {
    StoreError::Form { purpose: record.purpose.clone(), expected }
}

/// Opens every key, and checks that each was made with exactly these groups.
fn open_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
    records: &[KeyRecord],
) -> Result<EpochKeys, StoreError> {
    let mut codes: Vec<_> = records.iter().filter_map(group_of).map(KeyGroup::code).collect();
    codes.sort_unstable();
    let mut keys = EpochKeys::new();
    for record in records {
        let secret = store.secret(&record.id)?;
        let (key, made_with) = open(record, &secret)?;
        if made_with != codes {
            return Err(StoreError::MissingEpoch { data_set: data_set.clone(), epoch });
        }
        keys.extend(group_of(record).map(|group| (group, key)));
    }
    Ok(keys)
}

const fn group_of(record: &KeyRecord) -> Option<KeyGroup> {
    match record.purpose {
        Purpose::Oprf { group, .. } => Some(group),
        _ => None,
    }
}

fn status(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
    keys: Vec<KeyRecord>,
) -> Result<EpochStatus, StoreError> {
    let furthest = keys.iter().map(|record| record.state).max();
    let state = match open_epoch(store, data_set, epoch, &keys) {
        Ok(_) => furthest.unwrap_or(State::Destroyed),
        Err(StoreError::Destroyed { .. } | StoreError::MissingEpoch { .. }) => State::Destroyed,
        Err(error) => return Err(error),
    };
    let created_at_ms = keys.iter().map(|record| record.created_at_ms).min().unwrap_or_default();
    Ok(EpochStatus { epoch, state, created_at_ms, keys })
}

/// A data set's records by epoch, destroyed ones too.
fn by_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
) -> Result<BTreeMap<u64, Vec<KeyRecord>>, StoreError> {
    let mut found: BTreeMap<u64, Vec<KeyRecord>> = BTreeMap::new();
    for record in store.records()? {
        if let Purpose::Oprf { data_set: name, epoch, .. } = &record.purpose
            && name == data_set
        {
            found.entry(*epoch).or_default().push(record);
        }
    }
    Ok(found)
}

/// An epoch's records, at least one.
fn records_of(
    store: &(impl KeyStore + ?Sized),
    data_set: &DataSet,
    epoch: u64,
) -> Result<Vec<KeyRecord>, StoreError> {
    let records = by_epoch(store, data_set)?.remove(&epoch);
    records.ok_or_else(|| StoreError::MissingEpoch { data_set: data_set.clone(), epoch })
}

/// The largest epoch that the store has seen, 0 before the first.
fn last_epoch(store: &(impl KeyStore + ?Sized), data_set: &DataSet) -> Result<u64, StoreError> {
    Ok(by_epoch(store, data_set)?.last_key_value().map_or(0, |(epoch, _)| *epoch))
}

fn purpose(data_set: &DataSet, epoch: u64, group: KeyGroup) -> Purpose {
    Purpose::Oprf { data_set: data_set.clone(), epoch, group }
}

#[cfg(test)]
mod tests;
