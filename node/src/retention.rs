//! How long a node keeps what, and the end of it.
//!
//! | class | what | kept |
//! |---|---|---|
//! | (the log) | receipts, decisions, grants, public keys, all entries | at least 15 years; nothing in the node removes any |
//! | `verifications` | sealed details of persons at the bank | `verification_days`, at most 5 years |
//! | `trainings` | the bank's folders of trainings that are over | `training_days`, at most 5 years |
//! | `working data` | rows that jobs refused or found twice; leftovers of downloads and builds | `working_days`, at most 30 |
//! | `rejects` | reports of refused rows of imports, builds and lists | `reject_days`, at most 30 |
//! | `epochs` | a provider's epochs past their end: tables and secret keys | `epoch_days`, at most 30 |
//! | `snapshots` | a bank's tables that newer ones replaced | `snapshot_days` from the next one's arrival, at most 30 |
//!
//! Answers that are kept for retries are in memory alone and go with the process. What else stands in a job's folder
//! (signed records and salts, some KiB) opens commitments in the log and stays as long as that. Files that a command
//! wrote where its operator said (results of batches, of intersections, of screenings) are the operator's.
//!
//! **Promised.** What is due is destroyed, and found to be gone, before the log says so: files are unlinked and their
//! folders synced; keys are replaced by a record without a secret and their bytes overwritten, before their epoch's table
//! goes; rows are overwritten in the state file (SQLite's `secure_delete`), which has no free page with them left, nor its
//! write-ahead log. Each class has one signed entry with counts, never an identity ([`Destruction`]), also of what went
//! before an error. A class that cannot be destroyed is an error of its own and keeps no other from it; it is tried again
//! at the next run. What a kill left half removed goes as working data.
//!
//! **Not promised.** What a disk or a file system keeps of blocks that it reused; what backups from before hold; what a
//! process that has a file open still reads until it closes it. After a kill between the removal of files and their entry,
//! or when the state file cannot take the entry, the log is not told of these files. Details of verifications are told of
//! in any case: what the entry says waits in the state file from the deletion on.

use std::path::PathBuf;

use serde::Serialize;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::{Record as _, Signed};

use crate::config::RetentionConfig;
use crate::error::NodeError;
use crate::identity::{Layout, NodeKeys};
use crate::retiring::Epochs;
use crate::store::Store;

pub mod class;
pub(crate) mod destroy;
mod plan;

pub use class::Class;
pub use plan::Due;

pub(crate) use destroy::still_there;

use destroy::Inventory;
use plan::Found;

/// One look at what is due.
#[derive(Debug, Clone, Copy)]
pub struct Retention<'a> {
    /// How long what is kept.
    pub config: &'a RetentionConfig,
    /// The node's keys.
    pub keys: &'a NodeKeys,
    /// The node's state.
    pub store: &'a Store,
    /// Where its files are.
    pub layout: &'a Layout,
    /// Milliseconds of Unix time.
    pub now_ms: u64,
}

/// What became of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The class.
    pub class: &'static str,
    /// Everything from before this time, milliseconds of Unix time.
    pub before_ms: u64,
    /// How many are gone, of which the log is told.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why not all that was due is gone: code and text.
    pub error: Option<String>,
}

impl Retention<'_> {
    /// What is due now, by class; nothing is touched.
    ///
    /// # Errors
    /// [`NodeError`] when something cannot be looked at.
    pub fn plan(&self) -> Result<Vec<Due>, NodeError> {
        Class::ALL.into_iter().map(|class| self.due(class)).collect()
    }

    /// Destroys what is due, and queues a signed entry for each class of which something was.
    pub fn run(&self) -> Vec<Outcome> {
        Class::ALL.into_iter().map(|class| self.run_class(class)).collect()
    }

    fn run_class(&self, class: Class) -> Outcome {
        let before_ms = self.before_ms(class);
        let mut gone = Inventory::default();
        let done = self.due(class).and_then(|due| self.destroy(&due, &mut gone));
        let error = done.err().map(|error| {
            tracing::error!(code = error.code(), class = class.name(), %error, "what is due was not destroyed");
            format!("{}: {error}", error.code())
        });
        Outcome { class: class.name(), before_ms, items: gone.items, bytes: gone.bytes, error }
    }

    fn destroy(&self, due: &Due, gone: &mut Inventory) -> Result<(), NodeError> {
        if due.class == Class::Verifications {
            *gone = self.verifications(due)?;
            return Ok(());
        }
        let mut done = Ok(());
        for found in &due.found {
            let with = gone.and(self.layout.root(), &found.path);
            match with.and_then(|with| self.remove(found).map(|()| with)) {
                Ok(with) => *gone = with,
                // One that stays keeps no other.
                Err(error) => done = done.and(Err(error)),
            }
        }
        if gone.items > 0 {
            self.tell(&self.record(due, gone, done.is_ok()))?;
        }
        done
    }

    /// Tells of all that was destroyed since the last entry, also by a run that was killed.
    fn verifications(&self, due: &Due) -> Result<Inventory, NodeError> {
        let gone = destroy::verifications(self.store, due.before_ms)?;
        if gone.items > 0 {
            let entry = self.destroyed(&self.record(due, &gone, true));
            if self.store.tell_verifications(&gone, &entry)? {
                return Ok(gone);
            }
        }
        // Nothing was due, or another process told of it.
        Ok(Inventory::default())
    }

    fn remove(&self, found: &Found) -> Result<(), NodeError> {
        match &found.epoch {
            // Keys before the table: by what stands there of the table, a run after a kill finds the epoch again.
            Some((data_set, epoch)) => {
                self.end_epoch(data_set, *epoch)?;
                destroy::is_gone(&found.path)
            }
            None => destroy::remove(&found.path),
        }
    }

    /// Ends an epoch as a publication ends those before it.
    pub(crate) fn end_epoch(&self, data_set: &DataSet, epoch: u64) -> Result<(), NodeError> {
        let (root, now_ms) = (self.layout.root(), self.now_ms);
        Epochs { keys: &self.keys.store, store: self.store, root, now_ms }.end(data_set, epoch)
    }

    fn record(&self, due: &Due, gone: &Inventory, is_all: bool) -> Destruction {
        let rest = if is_all { "" } else { "; not everything that was due, the rest is tried again" };
        Destruction {
            party: self.keys.party.clone(),
            class: due.class.name().to_owned(),
            subject: String::new(),
            cause: class::RETENTION.to_owned(),
            method: format!("{}{rest}", due.class.method()),
            before_ms: due.before_ms,
            items: gone.items,
            bytes: gone.bytes,
            digest: gone.digest,
            destroyed_at_ms: self.now_ms,
        }
    }

    /// Signs a protocol of destruction and queues it for the log.
    fn tell(&self, record: &Destruction) -> Result<(), NodeError> {
        Ok(self.store.queue_entry(&self.destroyed(record))?)
    }

    /// The entry with a signed protocol of destruction.
    pub(crate) fn destroyed(&self, record: &Destruction) -> Vec<u8> {
        self.entry(Event::Destroyed(Signed::sign(record.clone(), self.keys.signing_key())))
    }

    pub(crate) fn entry(&self, event: Event) -> Vec<u8> {
        Entry::new(self.now_ms, event).encode().into_bytes()
    }

    fn root(&self, name: &str) -> PathBuf {
        self.layout.root().join(name)
    }
}
