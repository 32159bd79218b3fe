//! The bank's log, as a command reaches it.
//!
//! A log has one writer. When the bank's node runs it has the log, and a command hands its entries over through
//! the outbox in the state file and waits until the node has taken them: they are durable in the log then, as
//! if the command had written them itself. Otherwise the command opens the log, and does what a node does: what waits in
//! the outbox, from before and from commands beside it, comes into the log before its own entries do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::{Hash, Record as _};

use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::{EvidenceLog, LogError};
use crate::identity::{NodeKeys, system_disk};
use crate::outbox;
use crate::store::Store;

/// How often the outbox is looked at; a bank's node empties it forty times a second.
const POLL: Duration = Duration::from_millis(5);

/// A running node takes entries over long before this.
const WITHIN: Duration = Duration::from_secs(30);

/// Where entries go.
#[derive(Debug)]
pub(crate) enum JobLog {
    /// Into the log, which this process has.
    Own(Arc<OwnLog>),
    /// To the running node.
    Node(Arc<Store>),
}

/// The log of a process that stands in for the node.
#[derive(Debug)]
pub(crate) struct OwnLog {
    log: EvidenceLog,
    store: Arc<Store>,
    /// What is in the log, and could not be taken out of the outbox yet.
    logged: Mutex<HashSet<Hash>>,
}

impl OwnLog {
    /// Writes what waits in the outbox, and these entries behind it. Goes on when its caller no longer waits: what was
    /// appended has to be taken out of the outbox, or noted, before anything else is.
    async fn append(self: &Arc<Self>, entries: Vec<Vec<u8>>) -> Result<(), NodeError> {
        let this = self.clone();
        let appended = tokio::spawn(async move {
            let mut logged = this.logged.lock().await;
            outbox::drain(&this.store, &this.log, &mut logged).await?;
            Ok(this.log.append(entries).await.map(drop)?)
        });
        appended.await.unwrap_or_else(|_| Err(LogError::Closed.into()))
    }

    async fn close(&self) -> Result<(), NodeError> {
        let drained = outbox::drain(&self.store, &self.log, &mut *self.logged.lock().await).await;
        let sealed = self.log.clone().seal().await;
        drained?;
        Ok(self.store.put_sealed(sealed?.size)?)
    }
}

impl JobLog {
    /// Opens the log, or finds that a running node has it. Blocks on files.
    pub(crate) fn open(
        keys: &NodeKeys,
        config: &Config,
        store: &Arc<Store>,
        now_ms: u64,
    ) -> Result<Self, NodeError> {
        match keys.open_log_in_service(config, &system_disk(), store, now_ms) {
            Ok(log) => {
                outbox::forget_logged(store, &log)?;
                let (store, logged) = (store.clone(), Mutex::default());
                Ok(Self::Own(Arc::new(OwnLog { log, store, logged })))
            }
            Err(NodeError::Log(LogError::Locked { .. })) => Ok(Self::Node(store.clone())),
            Err(error) => Err(error),
        }
    }

    /// Another handle.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Own(log) => Self::Own(log.clone()),
            Self::Node(store) => Self::Node(store.clone()),
        }
    }

    /// Makes events durable in the log.
    pub(crate) async fn append(&self, at_ms: u64, events: Vec<Event>) -> Result<(), NodeError> {
        let entries = events.into_iter().map(|event| Entry::new(at_ms, event).encode().into_bytes());
        match self {
            Self::Own(log) => log.append(entries.collect()).await,
            Self::Node(store) => {
                for entry in entries {
                    store.queue_entry(&entry)?;
                }
                taken_over(store).await
            }
        }
    }

    /// Publishes what was written; the log is free for a node afterwards.
    pub(crate) async fn close(self) -> Result<(), NodeError> {
        match self {
            Self::Own(log) => log.close().await,
            Self::Node(_) => Ok(()),
        }
    }
}

async fn taken_over(store: &Store) -> Result<(), NodeError> {
    let last = store.outbox()?.last().map(|(id, _)| *id);
    let begun = Instant::now();
    while begun.elapsed() < WITHIN {
        let first = store.outbox()?.first().map(|(id, _)| *id);
        if first.is_none_or(|first| last.is_none_or(|last| first > last)) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    let message =
        "another process has the log and does not take entries over; is it this party's node?".to_owned();
    Err(NodeError::Given { code: "LOG_IN_USE", message })
}
