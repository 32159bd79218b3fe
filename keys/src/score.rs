//! A provider's secrets of a scoring group's epochs: its share of the group's key, and the key of its own table.
//!
//! One key an epoch, whose public half is the provider's share of the group's public key. An epoch's number only
//! grows and is never used again, not after destruction either: the record of the group's newest key stays.

use windvane_protocols::lookup::DataSet;
use windvane_protocols::oprf::PrivateKey;
use windvane_protocols::score::epoch::MemberKeys;
use windvane_protocols::secret::Secret;

use crate::record::{KeyRecord, Purpose};
use crate::store::{KeyStore, StoreError};

/// Seals a provider's secrets of an epoch into the store; gives their record.
///
/// # Errors
/// [`StoreError::EpochReused`] unless the number is larger than every one before in this group, destroyed ones
/// included; or when the store cannot be written.
pub fn store_member_keys(
    store: &(impl KeyStore + ?Sized),
    group: &DataSet,
    epoch: u64,
    keys: &MemberKeys,
    now_ms: u64,
) -> Result<KeyRecord, StoreError> {
    let (purpose, secret) = (purpose(group, epoch), keys.to_bytes());
    let public = public_of(&purpose, &secret)?;
    let record = KeyRecord::with_public(purpose, public, now_ms);
    store.insert(&record, &secret)?;
    Ok(record)
}

/// Loads a provider's secrets of an epoch.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Destroyed`], or when the store cannot be read.
pub fn load_member_keys(
    store: &(impl KeyStore + ?Sized),
    group: &DataSet,
    epoch: u64,
) -> Result<MemberKeys, StoreError> {
    let (record, secret) = store.active(&purpose(group, epoch))?;
    let form = |expected| StoreError::Form { purpose: record.purpose.clone(), expected };
    if public_of(&record.purpose, &secret)? != record.public {
        return Err(form("the secret of its public key"));
    }
    MemberKeys::from_bytes(&secret).ok_or_else(|| form("one or two scalars"))
}

/// Destroys a provider's secrets of an epoch, for good; gives their records as they are then. A party that has none,
/// such as the bank, has nothing to destroy.
///
/// # Errors
/// [`StoreError`], when the store cannot be read or written.
pub fn destroy_member_keys(
    store: &(impl KeyStore + ?Sized),
    group: &DataSet,
    epoch: u64,
) -> Result<Vec<KeyRecord>, StoreError> {
    let purpose = purpose(group, epoch);
    store.find(&purpose)?.iter().try_for_each(|record| store.destroy(&record.id))?;
    store.find(&purpose)
}

/// The public half of the share, with which the secret begins.
fn public_of(purpose: &Purpose, secret: &Secret<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
    let form = || StoreError::Form { purpose: purpose.clone(), expected: "a nonzero scalar first" };
    let share = secret.expose().first_chunk().ok_or_else(form)?;
    let key = PrivateKey::from_bytes(share).map_err(|_| form())?;
    Ok(key.public().as_bytes().to_vec())
}

fn purpose(group: &DataSet, epoch: u64) -> Purpose {
    Purpose::Score { group: group.clone(), epoch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::State;
    use crate::store::MemoryStore;
    use crate::testing;

    fn group(name: &str) -> DataSet {
        name.parse().unwrap()
    }

    /// A share and a table key.
    fn keys() -> MemberKeys {
        let mut rng = testing::rng();
        let scalars = [(); 2].map(|()| PrivateKey::random(&mut rng).to_bytes().expose().to_vec());
        MemberKeys::from_bytes(&Secret::new(scalars.concat())).unwrap()
    }

    #[test]
    fn keys_are_loaded_as_they_were_stored_until_they_are_destroyed() {
        let (store, name, keys) = (MemoryStore::new(), group("joint-risk"), keys());
        assert_eq!(load_member_keys(&store, &name, 1).unwrap_err().code(), "KEY_MISSING");
        let record = store_member_keys(&store, &name, 1, &keys, 7).unwrap();
        assert_eq!((record.purpose.to_string().as_str(), record.public.len()), ("score/joint-risk/1", 32));
        assert_eq!(load_member_keys(&store, &name, 1).unwrap().to_bytes(), keys.to_bytes());
        let destroyed = destroy_member_keys(&store, &name, 1).unwrap();
        assert_eq!(destroyed, [KeyRecord { state: State::Destroyed, ..record }]);
        assert_eq!(load_member_keys(&store, &name, 1).unwrap_err().code(), "KEY_DESTROYED");
        assert_eq!(destroy_member_keys(&store, &name, 2).unwrap(), []);
    }

    #[test]
    fn a_groups_epochs_only_grow_and_groups_stay_apart() {
        let (store, name, keys) = (MemoryStore::new(), group("joint-risk"), keys());
        store_member_keys(&store, &name, 5, &keys, 1).unwrap();
        destroy_member_keys(&store, &name, 5).unwrap();
        for epoch in [4, 5] {
            let error = store_member_keys(&store, &name, epoch, &keys, 2).unwrap_err();
            assert!(["EPOCH_REUSED", "KEY_DUPLICATE"].contains(&error.code()), "{error}");
        }
        store_member_keys(&store, &name, 6, &keys, 2).unwrap();
        store_member_keys(&store, &group("other"), 1, &keys, 2).unwrap();
        assert_eq!(load_member_keys(&store, &group("other"), 2).unwrap_err().code(), "KEY_MISSING");
    }

    #[test]
    fn a_secret_of_another_public_key_is_refused() {
        let (store, name) = (MemoryStore::new(), group("joint-risk"));
        let record = KeyRecord::with_public(purpose(&name, 1), vec![1; 32], 1);
        store.insert(&record, &keys().to_bytes()).unwrap();
        assert_eq!(load_member_keys(&store, &name, 1).unwrap_err().code(), "KEY_FORM");
    }
}
