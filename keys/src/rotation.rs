//! Ristretto255 scalars: the oblivious PRF's epochs and the bank's subject tag.
//!
//! An epoch of a data set has two keys, one for each [`KeyGroup`]. Its number only grows and is never used
//! again, not after destruction either: the store's records remember. An epoch of which a crash left only one
//! key never opens; create the next.

use std::collections::BTreeMap;
use std::fmt;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand::CryptoRng;
use windvane_protocols::secret::Secret;

use crate::record::{KeyGroup, KeyId, KeyRecord, Purpose, State};
use crate::store::{KeyStore, StoreError};

/// A nonzero scalar k with its public key k·G.
#[derive(Clone)]
pub struct ScalarKey {
    id: KeyId,
    scalar: Secret<Scalar>,
    public: [u8; 32],
}

impl ScalarKey {
    fn generate(
        store: &(impl KeyStore + ?Sized),
        purpose: Purpose,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, StoreError> {
        let scalar = Secret::new(nonzero(rng));
        let public = RistrettoPoint::mul_base(scalar.expose()).compress().to_bytes();
        let record = KeyRecord::with_public(purpose, public.to_vec(), now_ms);
        store.insert(&record, &Secret::new(scalar.expose().as_bytes().to_vec()))?;
        Ok(Self { id: record.id, scalar, public })
    }

    fn load(store: &(impl KeyStore + ?Sized), purpose: &Purpose) -> Result<Self, StoreError> {
        let form = |expected| StoreError::Form { purpose: purpose.clone(), expected };
        let (record, secret) = store.active(purpose)?;
        let bytes = secret.expose().as_slice().try_into().map_err(|_| form("32 bytes"))?;
        let scalar = Option::from(Scalar::from_canonical_bytes(bytes)).ok_or_else(|| form("a scalar"))?;
        let public = RistrettoPoint::mul_base(&scalar).compress().to_bytes();
        if scalar == Scalar::ZERO || public.as_slice() != record.public {
            return Err(form("the secret of its public key"));
        }
        Ok(Self { id: record.id, scalar: Secret::new(scalar), public })
    }

    /// The key's identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The scalar, never zero.
    pub const fn scalar(&self) -> &Secret<Scalar> {
        &self.scalar
    }

    /// The public key k·G, compressed.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

impl fmt::Debug for ScalarKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn nonzero(rng: &mut (impl CryptoRng + ?Sized)) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// Generates the bank's subject-tag key into the store.
///
/// # Errors
/// [`StoreError::AlreadyActive`], or when the store cannot be written.
pub fn generate_subject_tag(
    store: &(impl KeyStore + ?Sized),
    now_ms: u64,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<ScalarKey, StoreError> {
    ScalarKey::generate(store, Purpose::SubjectTag, now_ms, rng)
}

/// Loads the bank's subject-tag key.
///
/// # Errors
/// [`StoreError::Missing`], or when the store cannot be read.
pub fn load_subject_tag(store: &(impl KeyStore + ?Sized)) -> Result<ScalarKey, StoreError> {
    ScalarKey::load(store, &Purpose::SubjectTag)
}

/// The keys of one epoch of one data set.
#[derive(Debug, Clone)]
pub struct OprfEpoch {
    data_set: String,
    epoch: u64,
    matching: ScalarKey,
    attribute: ScalarKey,
}

impl OprfEpoch {
    /// The data set.
    pub fn data_set(&self) -> &str {
        &self.data_set
    }

    /// The epoch's number.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key of a group of families.
    pub const fn key(&self, group: KeyGroup) -> &ScalarKey {
        match group {
            KeyGroup::Match => &self.matching,
            KeyGroup::Attribute => &self.attribute,
        }
    }
}

/// Generates an epoch's keys into the store.
///
/// # Errors
/// [`StoreError::EpochReused`] unless the number is larger than every one before, destroyed ones included.
pub fn create_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &str,
    epoch: u64,
    now_ms: u64,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<OprfEpoch, StoreError> {
    let mut generate = |group| ScalarKey::generate(store, purpose(data_set, epoch, group), now_ms, rng);
    let (matching, attribute) = (generate(KeyGroup::Match)?, generate(KeyGroup::Attribute)?);
    Ok(OprfEpoch { data_set: data_set.to_owned(), epoch, matching, attribute })
}

/// Loads an active epoch's keys.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Destroyed`], or when the store cannot be read.
pub fn load_epoch(
    store: &(impl KeyStore + ?Sized),
    data_set: &str,
    epoch: u64,
) -> Result<OprfEpoch, StoreError> {
    let load = |group| ScalarKey::load(store, &purpose(data_set, epoch, group));
    let (matching, attribute) = (load(KeyGroup::Match)?, load(KeyGroup::Attribute)?);
    Ok(OprfEpoch { data_set: data_set.to_owned(), epoch, matching, attribute })
}

/// What the store knows of an epoch, also when its keys are destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStatus {
    /// The epoch's number.
    pub epoch: u64,
    /// Active when both keys are.
    pub state: State,
    /// When its first key was made.
    pub created_at_ms: u64,
    /// The records of its keys; one only after a crash in between.
    pub keys: Vec<KeyRecord>,
}

/// Every epoch of a data set, destroyed ones too, by number.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub fn epochs(store: &(impl KeyStore + ?Sized), data_set: &str) -> Result<Vec<EpochStatus>, StoreError> {
    let mut found: BTreeMap<u64, Vec<KeyRecord>> = BTreeMap::new();
    for record in store.records()? {
        if let Purpose::Oprf { data_set: name, epoch, .. } = &record.purpose
            && name == data_set
        {
            found.entry(*epoch).or_default().push(record);
        }
    }
    Ok(found.into_iter().map(|(epoch, keys)| status(epoch, keys)).collect())
}

fn status(epoch: u64, keys: Vec<KeyRecord>) -> EpochStatus {
    let active = keys.iter().filter(|record| record.state == State::Active).count();
    let state = if active == KeyGroup::ALL.len() { State::Active } else { State::Destroyed };
    let created_at_ms = keys.iter().map(|record| record.created_at_ms).min().unwrap_or_default();
    EpochStatus { epoch, state, created_at_ms, keys }
}

/// Destroys an epoch's keys; a destroyed epoch stays destroyed.
///
/// # Errors
/// [`StoreError::Missing`], or when the store cannot be written.
pub fn destroy_epoch(store: &(impl KeyStore + ?Sized), data_set: &str, epoch: u64) -> Result<(), StoreError> {
    let all = epochs(store, data_set)?;
    let missing = || StoreError::Missing { purpose: purpose(data_set, epoch, KeyGroup::Match) };
    let found = all.iter().find(|status| status.epoch == epoch).ok_or_else(missing)?;
    found.keys.iter().try_for_each(|record| store.destroy(&record.id))
}

fn purpose(data_set: &str, epoch: u64, group: KeyGroup) -> Purpose {
    Purpose::Oprf { data_set: data_set.to_owned(), epoch, group }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::testing;

    #[test]
    fn an_epoch_is_loaded_as_it_was_created() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let created = create_epoch(&store, "subscribers", 3, 1, &mut rng).unwrap();
        let loaded = load_epoch(&store, "subscribers", 3).unwrap();
        for group in KeyGroup::ALL {
            assert_eq!(loaded.key(group).public(), created.key(group).public());
            let public = RistrettoPoint::mul_base(loaded.key(group).scalar().expose()).compress();
            assert_eq!(public.as_bytes(), created.key(group).public());
        }
        assert_ne!(created.key(KeyGroup::Match).public(), created.key(KeyGroup::Attribute).public());
    }

    #[test]
    fn an_epoch_only_grows_and_a_destroyed_one_is_never_used_again() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        create_epoch(&store, "subscribers", 5, 1, &mut rng).unwrap();
        destroy_epoch(&store, "subscribers", 5).unwrap();
        for epoch in [0, 4, 5] {
            let error = create_epoch(&store, "subscribers", epoch, 2, &mut rng).unwrap_err();
            assert_eq!(error.code(), "EPOCH_REUSED");
        }
        create_epoch(&store, "subscribers", 9, 2, &mut rng).unwrap();
        create_epoch(&store, "tags", 1, 2, &mut rng).unwrap();
        assert_eq!(load_epoch(&store, "subscribers", 5).unwrap_err().code(), "KEY_DESTROYED");
        assert_eq!(load_epoch(&store, "subscribers", 6).unwrap_err().code(), "KEY_MISSING");
        assert_eq!(destroy_epoch(&store, "subscribers", 6).unwrap_err().code(), "KEY_MISSING");
    }

    #[test]
    fn epochs_are_listed_by_number_with_their_state_and_public_keys() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let first = create_epoch(&store, "subscribers", 1, 10, &mut rng).unwrap();
        create_epoch(&store, "subscribers", 2, 20, &mut rng).unwrap();
        create_epoch(&store, "tags", 7, 30, &mut rng).unwrap();
        destroy_epoch(&store, "subscribers", 1).unwrap();
        let listed = epochs(&store, "subscribers").unwrap();
        let summary: Vec<_> = listed.iter().map(|s| (s.epoch, s.state, s.created_at_ms)).collect();
        assert_eq!(summary, [(1, State::Destroyed, 10), (2, State::Active, 20)]);
        assert!(listed[0].keys.iter().any(|r| r.public == first.key(KeyGroup::Match).public()));
    }

    #[test]
    fn an_epoch_with_one_key_does_not_open_and_is_not_completed() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        ScalarKey::generate(&store, purpose("subscribers", 1, KeyGroup::Match), 1, &mut rng).unwrap();
        assert_eq!(load_epoch(&store, "subscribers", 1).unwrap_err().code(), "KEY_MISSING");
        let error = create_epoch(&store, "subscribers", 1, 2, &mut rng).unwrap_err();
        assert_eq!(error.code(), "EPOCH_REUSED");
        assert_eq!(epochs(&store, "subscribers").unwrap()[0].state, State::Destroyed);
        create_epoch(&store, "subscribers", 2, 3, &mut rng).unwrap();
    }

    #[test]
    fn a_data_set_name_beyond_its_limit_is_refused() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        for name in [String::new(), "x".repeat(65), "a\nb".to_owned()] {
            let error = create_epoch(&store, &name, 1, 1, &mut rng).unwrap_err();
            assert_eq!(error.code(), "KEY_FORM");
        }
    }

    #[test]
    fn zero_and_unreduced_scalars_are_refused() {
        for bytes in [[0; 32], [0xff; 32]] {
            let store = MemoryStore::new();
            let record = KeyRecord::with_public(Purpose::SubjectTag, vec![0; 32], 1);
            store.insert(&record, &Secret::new(bytes.to_vec())).unwrap();
            assert_eq!(load_subject_tag(&store).unwrap_err().code(), "KEY_FORM");
        }
    }

    #[test]
    fn the_subject_tag_key_is_loaded_as_it_was_generated() {
        let store = MemoryStore::new();
        let key = generate_subject_tag(&store, 1, &mut testing::rng()).unwrap();
        assert_eq!(load_subject_tag(&store).unwrap().scalar().expose(), key.scalar().expose());
        assert_eq!(format!("{key:?}"), format!("ScalarKey {{ id: {:?}, .. }}", key.id()));
    }
}
