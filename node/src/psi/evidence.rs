//! The bank's log, as a command reaches it.
//!
//! A log has one writer. When the bank's node runs it has the log, and a command hands its entries over through
//! the outbox in the state file and waits until the node has taken them: they are durable in the log then, as
//! if the command had written them itself. Otherwise the command opens the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::Record as _;

use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::{EvidenceLog, LogError};
use crate::identity::NodeKeys;
use crate::store::Store;

/// How often the outbox is looked at; a bank's node empties it forty times a second.
const POLL: Duration = Duration::from_millis(5);

/// A running node takes entries over long before this.
const WITHIN: Duration = Duration::from_secs(30);

/// Where entries go.
#[derive(Debug)]
pub(crate) enum JobLog {
    /// Into the log, which this process has.
    Own(EvidenceLog),
    /// To the running node.
    Node(Arc<Store>),
}

impl JobLog {
    /// Opens the log, or finds that a running node has it. Blocks on files.
    pub(crate) fn open(keys: &NodeKeys, config: &Config, store: &Arc<Store>) -> Result<Self, NodeError> {
        match keys.open_log(config) {
            Ok(log) => Ok(Self::Own(log)),
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
            Self::Own(log) => Ok(log.append(entries.collect()).await.map(drop)?),
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
            Self::Own(log) => Ok(log.seal().await.map(drop)?),
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
