//! Ed25519 keys: one signs receipts and grants, another the log's checkpoints.

use std::fmt;
use std::marker::PhantomData;

use ed25519_dalek::{SigningKey, VerifyingKey};
use rand::CryptoRng;
use windvane_protocols::party::PartyId;
use windvane_protocols::secret::Secret;

use crate::record::{KeyId, KeyRecord, Purpose};
use crate::store::{KeyStore, StoreError};

/// What an [`Ed25519Key`] is for; [`Receipt`] and [`Log`] are all there is.
pub trait SigningPurpose: sealed::Sealed {
    /// The purpose under which the store keeps it.
    const PURPOSE: Purpose;
}

/// Signs receipts and grants.
#[derive(Debug)]
pub enum Receipt {}

/// Signs the log's checkpoints.
#[derive(Debug)]
pub enum Log {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Receipt {}
    impl Sealed for super::Log {}
}

impl SigningPurpose for Receipt {
    const PURPOSE: Purpose = Purpose::Receipt;
}

impl SigningPurpose for Log {
    const PURPOSE: Purpose = Purpose::Log;
}

/// The key that signs receipts and grants.
pub type ReceiptKey = Ed25519Key<Receipt>;

/// The key that signs the log's checkpoints.
pub type LogKey = Ed25519Key<Log>;

/// The origin line of a party's log, also the name of its verifier key.
pub fn log_origin(party: &PartyId) -> String {
    format!("windvane/{party}/log")
}

/// An Ed25519 key with one purpose.
#[derive(Clone)]
pub struct Ed25519Key<P> {
    id: KeyId,
    key: SigningKey,
    purpose: PhantomData<fn() -> P>,
}

impl<P: SigningPurpose> Ed25519Key<P> {
    /// Generates the key into the store.
    ///
    /// # Errors
    /// [`StoreError::AlreadyActive`], or when the store cannot be written.
    pub fn generate(
        store: &(impl KeyStore + ?Sized),
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, StoreError> {
        let key = SigningKey::generate(rng);
        let record = KeyRecord::with_public(P::PURPOSE, key.verifying_key().as_bytes().to_vec(), now_ms);
        store.insert(&record, &Secret::new(key.as_bytes().to_vec()))?;
        Ok(Self { id: record.id, key, purpose: PhantomData })
    }

    /// Loads the active key.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Form`] when the secret does not belong to the public key.
    pub fn load(store: &(impl KeyStore + ?Sized)) -> Result<Self, StoreError> {
        let form = |expected| StoreError::Form { purpose: P::PURPOSE, expected };
        let (record, secret) = store.active(&P::PURPOSE)?;
        let seed = secret.expose().as_slice().try_into().map_err(|_| form("32 bytes"))?;
        let key = SigningKey::from_bytes(seed);
        if key.verifying_key().as_bytes().as_slice() != record.public {
            return Err(form("the secret of its public key"));
        }
        Ok(Self { id: record.id, key, purpose: PhantomData })
    }

    /// The key's identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The public key.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The identifier that a partner's public key has under this purpose.
    pub fn id_of(public: &VerifyingKey) -> KeyId {
        KeyId::of_public(&P::PURPOSE, public.as_bytes())
    }
}

impl<P> fmt::Debug for Ed25519Key<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Key").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use windvane_protocols::transcript::{sign, verify};

    use super::*;
    use crate::store::MemoryStore;
    use crate::testing;

    #[test]
    fn a_loaded_key_signs_for_the_public_key_that_was_generated() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let receipt = ReceiptKey::generate(&store, 1, &mut rng).unwrap();
        let log = LogKey::generate(&store, 1, &mut rng).unwrap();
        let loaded = ReceiptKey::load(&store).unwrap();
        let signature = sign(loaded.signing_key(), b"record");
        assert!(verify(&receipt.verifying_key(), b"record", &signature));
        assert!(!verify(&log.verifying_key(), b"record", &signature));
        assert_eq!(loaded.id(), ReceiptKey::id_of(&receipt.verifying_key()));
    }

    #[test]
    fn a_second_key_waits_until_the_first_is_destroyed() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let first = LogKey::generate(&store, 1, &mut rng).unwrap();
        assert_eq!(LogKey::generate(&store, 2, &mut rng).unwrap_err().code(), "KEY_ALREADY_ACTIVE");
        store.destroy(&first.id()).unwrap();
        assert_eq!(LogKey::load(&store).unwrap_err().code(), "KEY_DESTROYED");
        let second = LogKey::generate(&store, 2, &mut rng).unwrap();
        assert_eq!(LogKey::load(&store).unwrap().id(), second.id());
    }

    #[test]
    fn a_secret_of_another_public_key_is_refused() {
        let store = MemoryStore::new();
        let record = KeyRecord::with_public(Purpose::Receipt, vec![1; 32], 1);
        store.insert(&record, &Secret::new(vec![2; 32])).unwrap();
        assert_eq!(ReceiptKey::load(&store).unwrap_err().code(), "KEY_FORM");
    }

    #[test]
    fn printing_a_key_shows_its_id_only() {
        let key = LogKey::generate(&MemoryStore::new(), 1, &mut testing::rng()).unwrap();
        assert_eq!(format!("{key:?}"), format!("Ed25519Key {{ id: {:?}, .. }}", key.id()));
    }
}
