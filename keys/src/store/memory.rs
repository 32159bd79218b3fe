//! Keys in memory, for tests and tools that keep nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windvane_protocols::secret::Secret;

use super::{KeyStore, StoreError, admit, next_state, oldest_first, outlived};
use crate::record::{KeyId, KeyRecord, State};

/// Records, with their secrets until they are destroyed.
type Keys = BTreeMap<KeyId, (KeyRecord, Option<Secret<Vec<u8>>>)>;

/// A store that ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    keys: Mutex<Keys>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // Every change is a single insertion, so a panic elsewhere cannot leave half of one.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryStore {
    fn insert(&self, record: &KeyRecord, secret: &Secret<Vec<u8>>) -> Result<(), StoreError> {
        let mut keys = self.keys();
        let present: Vec<_> = keys.values().map(|(record, _)| record.clone()).collect();
        admit(&present, record, secret)?;
        keys.insert(record.id, (record.clone(), Some(secret.clone())));
        for id in outlived(&present, record) {
            keys.remove(&id);
        }
        Ok(())
    }

    fn secret(&self, id: &KeyId) -> Result<Secret<Vec<u8>>, StoreError> {
        match self.keys().get(id) {
            None => Err(StoreError::NotFound { id: *id }),
            Some((_, None)) => Err(StoreError::Destroyed { id: *id }),
            Some((_, Some(secret))) => Ok(secret.clone()),
        }
    }

    fn advance(&self, id: &KeyId, to: State) -> Result<(), StoreError> {
        if to == State::Destroyed {
            return self.destroy(id);
        }
        let mut keys = self.keys();
        let present: Vec<_> = keys.values().map(|(record, _)| record.clone()).collect();
        if let Some(advanced) = next_state(&present, id, to)?
            && let Some((record, _)) = keys.get_mut(id)
        {
            *record = advanced;
        }
        Ok(())
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut records: Vec<_> = self.keys().values().map(|(record, _)| record.clone()).collect();
        oldest_first(&mut records);
        Ok(records)
    }

    fn destroy(&self, id: &KeyId) -> Result<(), StoreError> {
        let mut keys = self.keys();
        let (record, secret) = keys.get_mut(id).ok_or(StoreError::NotFound { id: *id })?;
        record.state = State::Destroyed;
        *secret = None;
        Ok(())
    }
}
