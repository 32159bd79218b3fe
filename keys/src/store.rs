//! Keys at rest, behind one small trait: files for a node, memory for tests and short-lived tools.
//!
//! Promised by every store: a key's state only goes on, from pending over active and retiring to destroyed; a
//! destroyed key leaves a record but no secret, and every other's is given out; a data set's oblivious PRF epoch only grows, whatever its key groups, and no group
//! gets a second key in it, not after destruction either; so it is with the epochs of a scoring group, which have one
//! key each, and whose destroyed keys leave no record once the group has a key of a later epoch; of every other purpose
//! there is at most one active key, and one pending. No store takes more than [`MAX_KEYS`].

use std::fmt;
use std::path::PathBuf;

use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::secret::Secret;

use crate::files::FileError;
use crate::record::{KeyId, KeyRecord, Purpose, State};

mod file;
mod memory;
#[cfg(test)]
mod tests;

pub use file::FileStore;
pub use memory::MemoryStore;

/// Longest secret: PKCS#8 keys need under 200 bytes.
pub const MAX_SECRET_BYTES: usize = 4_096;

/// Longest public half: certificates need under 1,000 bytes.
pub const MAX_PUBLIC_BYTES: usize = 4_096;

/// Most keys in a store, destroyed ones too; daily epochs of two keys for ten data sets fill it in 27 years.
pub const MAX_KEYS: usize = 200_000;

/// Where keys are kept.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Takes a new key, active or pending.
    ///
    /// # Errors
    /// [`StoreError`] when the identifier is there, when the purpose has a key in this state, when an epoch does not
    /// grow, and when the store is full.
    fn insert(&self, record: &KeyRecord, secret: &Secret<Vec<u8>>) -> Result<(), StoreError>;

    /// A key's secret, unless it was destroyed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Destroyed`], or when the store was altered.
    fn secret(&self, id: &KeyId) -> Result<Secret<Vec<u8>>, StoreError>;

    /// Moves a key on to active or retiring; one that is there already stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Backwards`], [`StoreError::AlreadyActive`], or when the store
    /// cannot be written.
    fn advance(&self, id: &KeyId, to: State) -> Result<(), StoreError>;

    /// Every key's record, destroyed ones too, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when any part of the store was altered.
    fn records(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// Removes a key's secret and keeps its record; a destroyed key stays destroyed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store cannot be written.
    fn destroy(&self, id: &KeyId) -> Result<(), StoreError>;

    /// The records of one purpose, destroyed ones too, oldest first.
    ///
    /// # Errors
    /// As [`Self::records`].
    fn find(&self, purpose: &Purpose) -> Result<Vec<KeyRecord>, StoreError> {
        let mut records = self.records()?;
        records.retain(|record| record.purpose == *purpose);
        Ok(records)
    }

    /// The active key of a purpose.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Destroyed`] or [`StoreError::NotActive`] when only others are
    /// left.
    fn active(&self, purpose: &Purpose) -> Result<(KeyRecord, Secret<Vec<u8>>), StoreError> {
        let records = self.find(purpose)?;
        let last = records.last().ok_or_else(|| StoreError::Missing { purpose: purpose.clone() })?;
        let none = match last.state {
            State::Destroyed => StoreError::Destroyed { id: last.id },
            _ => StoreError::NotActive { id: last.id },
        };
        let record = records.into_iter().find(|record| record.state == State::Active).ok_or(none)?;
        let secret = self.secret(&record.id)?;
        Ok((record, secret))
    }
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory cannot be used.
    #[error("key store: {0}")]
    File(#[from] FileError),
    /// The passphrase is not the one that this store was made with.
    #[error("WRONG_PASSPHRASE: the passphrase does not open the key store {path}")]
    WrongPassphrase {
        /// The store's directory.
        path: PathBuf,
    },
    /// A file is not as this store wrote it.
    #[error("{path} was altered or belongs to another key store; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is no store in the directory.
    #[error(
        "there is no key store in {path}; make a new node its own (keys init), or restore what was lost from a backup"
    )]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// There is a store in the directory already.
    #[error("there is a key store in {path} already")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The store has as many keys as it may.
    #[error(
        "the key store has {MAX_KEYS} keys, destroyed ones too, and takes no other; a node in this one's place begins with \
         an empty one"
    )]
    Full,
    /// The operating system has no randomness, or the key derivation no memory.
    #[error("no randomness, or not enough memory to derive the key-encryption key")]
    Resources,
    /// No key has this identifier.
    #[error("no key {id}")]
    NotFound {
        /// The identifier.
        id: KeyId,
    },
    /// The key was destroyed.
    #[error("key {id} was destroyed")]
    Destroyed {
        /// The identifier.
        id: KeyId,
    },
    /// Keys of the purpose are there, and none is active.
    #[error("key {id} is not active, nor is any other of its purpose")]
    NotActive {
        /// The identifier of the newest.
        id: KeyId,
    },
    /// A key's state only goes on.
    #[error("key {id} is {found} and does not go back to {to}")]
    Backwards {
        /// The identifier.
        id: KeyId,
        /// Its state.
        found: &'static str,
        /// The state that was asked for.
        to: &'static str,
    },
    /// No key has this purpose.
    #[error("no key for {purpose}; generate it first")]
    Missing {
        /// The purpose.
        purpose: Purpose,
    },
    /// The epoch has no keys, or others than it was made with.
    #[error(
        "epoch {epoch} of {data_set} has no keys, or not exactly those it was made with; create the next one"
    )]
    MissingEpoch {
        /// The data set.
        data_set: DataSet,
        /// The epoch.
        epoch: u64,
    },
    /// An epoch was to be made without keys.
    #[error("an epoch of {data_set} needs at least one key group")]
    NoGroups {
        /// The data set.
        data_set: DataSet,
    },
    /// A key with this identifier is there.
    #[error("key {id} is in the store already")]
    Duplicate {
        /// The identifier.
        id: KeyId,
    },
    /// The purpose has an active key, or a pending one.
    #[error("there is an active or pending key for {purpose} already; destroy it first")]
    AlreadyActive {
        /// The purpose.
        purpose: Purpose,
    },
    /// The epoch does not grow.
    #[error("epoch {found} of {data_set} is not above every one before; the next one is at least {expected}")]
    EpochReused {
        /// The data set.
        data_set: DataSet,
        /// The epoch that was asked for.
        found: u64,
        /// The smallest epoch that is free; 2^64 − 1 was the last when it equals `found`.
        expected: u64,
    },
    /// A key's record or secret does not have the form that its purpose needs.
    #[error("the key for {purpose} is not {expected}")]
    Form {
        /// The purpose.
        purpose: Purpose,
        /// What it should be.
        expected: &'static str,
    },
}

impl StoreError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::WrongPassphrase { .. } => "WRONG_PASSPHRASE",
            Self::Damaged { .. } => "KEY_STORE_DAMAGED",
            Self::NoStore { .. } => "NO_KEY_STORE",
            Self::Exists { .. } => "KEY_STORE_EXISTS",
            Self::Full => "KEY_STORE_FULL",
            Self::Resources => "KEY_STORE_RESOURCES",
            Self::NotFound { .. } => "KEY_NOT_FOUND",
            Self::Destroyed { .. } => "KEY_DESTROYED",
            Self::NotActive { .. } => "KEY_NOT_ACTIVE",
            Self::Backwards { .. } => "KEY_STATE",
            Self::Missing { .. } | Self::MissingEpoch { .. } => "KEY_MISSING",
            Self::NoGroups { .. } => "EPOCH_WITHOUT_GROUPS",
            Self::Duplicate { .. } => "KEY_DUPLICATE",
            Self::AlreadyActive { .. } => "KEY_ALREADY_ACTIVE",
            Self::EpochReused { .. } => "EPOCH_REUSED",
            Self::Form { .. } => "KEY_FORM",
        }
    }
}

/// The rules of the module documentation, for a key that would join these.
fn admit(present: &[KeyRecord], new: &KeyRecord, secret: &Secret<Vec<u8>>) -> Result<(), StoreError> {
    check_form(new, secret)?;
    if present.len() >= MAX_KEYS {
        return Err(StoreError::Full);
    }
    if present.iter().any(|record| record.id == new.id) {
        return Err(StoreError::Duplicate { id: new.id });
    }
    if let Purpose::Oprf { data_set, epoch, group } = &new.purpose {
        return check_epoch(present, data_set, *epoch, *group);
    }
    if let Purpose::Score { group, epoch } = &new.purpose {
        return check_score_epoch(present, group, *epoch);
    }
    let taken = |record: &KeyRecord| record.purpose == new.purpose && record.state == new.state;
    if present.iter().any(taken) {
        return Err(StoreError::AlreadyActive { purpose: new.purpose.clone() });
    }
    Ok(())
}

fn check_form(new: &KeyRecord, secret: &Secret<Vec<u8>>) -> Result<(), StoreError> {
    let form = |expected| Err(StoreError::Form { purpose: new.purpose.clone(), expected });
    match () {
        () if new.purpose.check().is_err() => form("for a group of families that share a key"),
        () if new.state > State::Active => form("active or pending"),
        () if secret.expose().is_empty() || secret.expose().len() > MAX_SECRET_BYTES => {
            form("a secret of 1 to 4,096 bytes")
        }
        () if new.public.len() > MAX_PUBLIC_BYTES => form("a public half of at most 4,096 bytes"),
        () => Ok(()),
    }
}

fn check_epoch(present: &[KeyRecord], name: &DataSet, new: u64, of: KeyGroup) -> Result<(), StoreError> {
    let mut last = 0;
    let mut reused = false;
    for record in present {
        if let Purpose::Oprf { data_set, epoch, group } = &record.purpose
            && data_set == name
        {
            last = last.max(*epoch);
            // An epoch's keys come one by one, so the last epoch still takes another group's, until it ends.
            reused |= *epoch == new && (*group == of || record.state > State::Active);
        }
    }
    if new >= last && !reused {
        return Ok(());
    }
    Err(StoreError::EpochReused { data_set: name.clone(), found: new, expected: last.saturating_add(1) })
}

fn check_score_epoch(present: &[KeyRecord], name: &DataSet, new: u64) -> Result<(), StoreError> {
    let epoch = |record: &KeyRecord| match &record.purpose {
        Purpose::Score { group, epoch } if group == name => Some(*epoch),
        _ => None,
    };
    match present.iter().filter_map(epoch).max() {
        Some(last) if new <= last => Err(StoreError::EpochReused {
            data_set: name.clone(),
            found: new,
            expected: last.saturating_add(1),
        }),
        _ => Ok(()),
    }
}

/// The destroyed keys among these whose records a new one makes needless: those of its scoring group, which it is above.
fn outlived(present: &[KeyRecord], new: &KeyRecord) -> Vec<KeyId> {
    let Purpose::Score { group: name, .. } = &new.purpose else { return Vec::new() };
    let is_of_group =
        |record: &&KeyRecord| matches!(&record.purpose, Purpose::Score { group, .. } if group == name);
    let destroyed = present.iter().filter(|record| record.state == State::Destroyed);
    destroyed.filter(is_of_group).map(|record| record.id).collect()
}

/// Whether a key may be moved on: `None` when it is there already.
fn next_state(present: &[KeyRecord], id: &KeyId, to: State) -> Result<Option<KeyRecord>, StoreError> {
    let record = present.iter().find(|record| record.id == *id).ok_or(StoreError::NotFound { id: *id })?;
    let single = !matches!(record.purpose, Purpose::Oprf { .. } | Purpose::Score { .. });
    let other = |r: &KeyRecord| r.id != *id && r.purpose == record.purpose && r.state == State::Active;
    match record.state {
        State::Destroyed => Err(StoreError::Destroyed { id: *id }),
        found if found == to => Ok(None),
        found if found > to => Err(StoreError::Backwards { id: *id, found: found.as_str(), to: to.as_str() }),
        _ if single && to == State::Active && present.iter().any(other) => {
            Err(StoreError::AlreadyActive { purpose: record.purpose.clone() })
        }
        _ => Ok(Some(KeyRecord { state: to, ..record.clone() })),
    }
}

fn oldest_first(records: &mut [KeyRecord]) {
    records.sort_by_key(|record| (record.created_at_ms, record.id));
}
