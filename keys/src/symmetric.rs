//! Symmetric keys for the node's own state: sealing identities and finding them again.

use std::fmt;
use std::marker::PhantomData;

use rand::CryptoRng;
use windvane_protocols::secret::Secret;

use crate::record::{KeyId, KeyRecord, Purpose};
use crate::store::{KeyStore, StoreError};

/// What a [`SymmetricKey`] is for; [`Storage`] and [`Lookup`] are all there is.
pub trait SymmetricPurpose: sealed::Sealed {
    /// The purpose under which the store keeps it.
    const PURPOSE: Purpose;
}

/// Seals identities in the database and in staging files.
#[derive(Debug)]
pub enum Storage {}

/// Keys the index by which sealed identities are found.
#[derive(Debug)]
pub enum Lookup {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Storage {}
    impl Sealed for super::Lookup {}
}

impl SymmetricPurpose for Storage {
    const PURPOSE: Purpose = Purpose::Storage;
}

impl SymmetricPurpose for Lookup {
    const PURPOSE: Purpose = Purpose::Lookup;
}

/// The key that seals identities at rest.
pub type StorageKey = SymmetricKey<Storage>;

/// The key of the identities' index.
pub type LookupKey = SymmetricKey<Lookup>;

/// 32 random bytes with one purpose.
#[derive(Clone)]
pub struct SymmetricKey<P> {
    id: KeyId,
    bytes: Secret<[u8; 32]>,
    purpose: PhantomData<fn() -> P>,
}

impl<P: SymmetricPurpose> SymmetricKey<P> {
    /// Generates the key into the store.
    ///
    /// # Errors
    /// [`StoreError::AlreadyActive`], or when the store cannot be written.
    pub fn generate(
        store: &(impl KeyStore + ?Sized),
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, StoreError> {
        let mut secret = vec![0; 32];
        rng.fill_bytes(&mut secret);
        let record = KeyRecord::symmetric(P::PURPOSE, now_ms, rng);
        let secret = Secret::new(secret);
        store.insert(&record, &secret)?;
        Self::from_secret(record.id, &secret)
    }

    /// Loads the active key.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or when the store cannot be read.
    pub fn load(store: &(impl KeyStore + ?Sized)) -> Result<Self, StoreError> {
        let (record, secret) = store.active(&P::PURPOSE)?;
        Self::from_secret(record.id, &secret)
    }

    fn from_secret(id: KeyId, secret: &Secret<Vec<u8>>) -> Result<Self, StoreError> {
        let bytes = secret.expose().as_slice().try_into();
        let bytes = bytes.map_err(|_| StoreError::Form { purpose: P::PURPOSE, expected: "32 bytes" })?;
        Ok(Self { id, bytes: Secret::new(bytes), purpose: PhantomData })
    }

    /// The key's identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself.
    pub const fn secret(&self) -> &Secret<[u8; 32]> {
        &self.bytes
    }
}

impl<P> fmt::Debug for SymmetricKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymmetricKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::testing;

    #[test]
    fn a_key_is_loaded_as_it_was_generated_and_purposes_stay_apart() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let storage = StorageKey::generate(&store, 1, &mut rng).unwrap();
        assert_eq!(LookupKey::load(&store).unwrap_err().code(), "KEY_MISSING");
        let lookup = LookupKey::generate(&store, 2, &mut rng).unwrap();
        assert_eq!(StorageKey::load(&store).unwrap().secret(), storage.secret());
        assert_ne!(lookup.secret(), storage.secret());
        assert_eq!(StorageKey::generate(&store, 3, &mut rng).unwrap_err().code(), "KEY_ALREADY_ACTIVE");
    }

    #[test]
    fn printing_a_key_shows_its_id_only() {
        let key = StorageKey::generate(&MemoryStore::new(), 1, &mut testing::rng()).unwrap();
        assert_eq!(format!("{key:?}"), format!("SymmetricKey {{ id: {:?}, .. }}", key.id()));
    }
}
