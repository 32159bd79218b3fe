//! How much of a provider's node one peer can take: nothing that belongs to the others.
//!
//! **Promised**: every connection, stream, message, byte and call of a peer counts against limits of its own before
//! work is done for it; what waits, waits in a bounded queue and peers take turns; what does not fit is refused at once
//! with a stable code and a time to wait; every call ends, with its caller's deadline or the node's own; a peer that
//! does not read, or sends nothing, loses its connection. **Not here**: grants and their quotas ([`crate::policy`]),
//! and what the messages mean.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use windvane_protocols::party::PartyId;

use crate::config::LimitsConfig;
use crate::error::Refusal;

mod admission;
mod answered;
mod bucket;
mod burst;
mod call;
mod connection;
mod deadline;
mod method;
mod received;
mod serve;

pub(crate) use bucket::{Bucket, Pace};
pub(crate) use serve::serve;

use admission::{Admission, Place};
use method::Class;

/// Memory is counted in these.
const KIB: usize = 1 << 10;

/// Seconds' worth of faults that a peer may make at once: a misconfigured one learns what is wrong.
const FAULT_BURST_S: u64 = 5;

/// What a connection counts as that broke the protocol: no library does so by mistake, and each costs a handshake and
/// thousands of frames.
const FAULTS_OF_A_FLOOD: usize = 10;

/// All peers' accounts.
#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    calls: Admission,
    transfers: Admission,
    places: Arc<Semaphore>,
    accounts: Mutex<HashMap<PartyId, Arc<Account>>>,
}

/// What one peer takes.
#[derive(Debug)]
struct Account {
    party: PartyId,
    connections: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    pace: Mutex<Paces>,
}

#[derive(Debug)]
struct Paces {
    calls: Pace,
    faults: Pace,
    shed: u64,
    /// How many of those the log was told of, and when.
    told: u64,
    told_at: Option<Instant>,
}

/// What the node does for its peers at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsSnapshot {
    /// Open connections of all peers.
    pub connections: usize,
    /// Calls that are worked on.
    pub calls: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Downloads, set intersections and trainings under way.
    pub transfers: usize,
    /// Peer by peer.
    pub peers: Vec<PeerSnapshot>,
}

/// What one peer takes at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// The peer.
    pub party: PartyId,
    /// Its open connections.
    pub connections: usize,
    /// Its calls that are worked on.
    pub calls: usize,
    /// Its calls that wait.
    pub waiting: usize,
    /// KiB of its messages in memory.
    pub memory_kib: usize,
    /// Its calls that were refused for want of room or for its faults, since the start.
    pub shed: u64,
}

/// A connection's places; free again when dropped.
#[derive(Debug)]
struct Seat {
    _of_all: OwnedSemaphorePermit,
    _of_peer: OwnedSemaphorePermit,
}

impl Limits {
    /// Empty accounts. All peers together may have `max_connections`.
    pub fn new(config: LimitsConfig, max_connections: usize) -> Self {
        Self {
            calls: Admission::new(config.calls, config.calls_per_peer, config.waiting_per_peer),
            transfers: Admission::new(config.transfers, config.transfers_per_peer, 0),
            places: Arc::new(Semaphore::new(max_connections)),
            accounts: Mutex::default(),
            config,
        }
    }

    /// What is under way, for health and metrics.
    pub fn snapshot(&self) -> LimitsSnapshot {
        let accounts: Vec<_> = self.lock().values().cloned().collect();
        let peer = |account: &Arc<Account>| {
            let (calls, waiting) = self.calls.of(&account.party);
            PeerSnapshot {
                party: account.party.clone(),
                connections: self.config.connections_per_peer - account.connections.available_permits(),
                calls,
                waiting,
                memory_kib: self.memory_kib() - account.memory.available_permits(),
                shed: account.paces().shed,
            }
        };
        let mut peers: Vec<_> = accounts.iter().map(peer).collect();
        peers.sort_unstable_by(|a, b| a.party.cmp(&b.party));
        LimitsSnapshot {
            connections: peers.iter().map(|peer| peer.connections).sum(),
            calls: self.calls.running(),
            waiting: peers.iter().map(|peer| peer.waiting).sum(),
            transfers: self.transfers.running(),
            peers,
        }
    }

    /// Certificates name parties, so that there are as many accounts as the authority signed for.
    fn account(&self, party: &PartyId) -> Arc<Account> {
        let new = || {
            let faults = self.config.faults_per_s;
            Arc::new(Account {
                party: party.clone(),
                connections: Arc::new(Semaphore::new(self.config.connections_per_peer)),
                memory: Arc::new(Semaphore::new(self.memory_kib())),
                pace: Mutex::new(Paces {
                    calls: Pace::new(self.config.calls_per_s, self.config.calls_per_s),
                    faults: Pace::new(faults, faults.saturating_mul(FAULT_BURST_S)),
                    shed: 0,
                    told: 0,
                    told_at: None,
                }),
            })
        };
        self.lock().entry(party.clone()).or_insert_with(new).clone()
    }

    /// A connection's places, if both the peer and the node have one left.
    fn seat(&self, account: &Account) -> Option<Seat> {
        let of_peer = account.connections.clone().try_acquire_owned().ok()?;
        let of_all = self.places.clone().try_acquire_owned().ok()?;
        Some(Seat { _of_all: of_all, _of_peer: of_peer })
    }

    /// A call's place among those that are worked on, once it is its turn.
    async fn enter(&self, account: &Account, class: Class) -> Result<Place, Refusal> {
        let admission = if class == Class::Call { &self.calls } else { &self.transfers };
        admission.enter(&account.party).await
    }

    fn deadline(&self, class: Class) -> Duration {
        Duration::from_millis(match class {
            Class::Call => self.config.call_deadline_ms,
            Class::Transfer => self.config.transfer_deadline_ms,
        })
    }

    const fn memory_kib(&self) -> usize {
        self.config.memory_per_peer_mb * KIB
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PartyId, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Whether another call may begin now.
    fn check_pace(&self, now: Instant) -> Result<(), Refusal> {
        let mut paces = self.paces();
        if let Some(wait) = paces.faults.wait(now) {
            return Err(Refusal::PeerFaults { retry_after_ms: wait });
        }
        match paces.calls.take(now) {
            Some(wait) => Err(Refusal::Overloaded { what: "calls a second", retry_after_ms: wait }),
            None => Ok(()),
        }
    }

    /// Whether the peer's faults are too many.
    fn is_faulty(&self, now: Instant) -> bool {
        self.paces().faults.wait(now).is_some()
    }

    /// Counts a call that was refused for the peer's own fault.
    fn note_fault(&self, now: Instant) {
        let _ = self.paces().faults.take(now);
    }

    /// Counts a connection that was ended for the peer's own fault.
    fn note_flood(&self, now: Instant) {
        let mut paces = self.paces();
        for _ in 0..FAULTS_OF_A_FLOOD {
            let _ = paces.faults.take(now);
        }
    }

    /// Counts a call that was refused before a service saw it; gives how many there were since this was last told, at most
    /// once a second, so that a flood of them does not flood the log.
    fn note_shed(&self, now: Instant) -> Option<u64> {
        let mut paces = self.paces();
        paces.shed += 1;
        if paces.told_at.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return None;
        }
        paces.told_at = Some(now);
        let untold = paces.shed - paces.told;
        paces.told = paces.shed;
        Some(untold)
    }

    fn paces(&self) -> std::sync::MutexGuard<'_, Paces> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
