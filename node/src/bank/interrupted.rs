//! Sessions that were begun and not brought to an end, by a kill or by a call that failed.
//!
//! A request is durable before it leaves, its end when it came. A node that is killed in between leaves a request without
//! an end; what became of it nobody can tell here, and the log says so, so that an auditor need not ask. One that is killed
//! when the log has a receipt, and the state does not have it yet, leaves it uncountersigned: it is countersigned now. A
//! call that fails in between, while the state cannot be written for example, leaves the same; the node explains it itself
//! as soon as it can.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::transcript::{Hash, Record as _};

use crate::error::NodeError;
use crate::evidence::EvidenceLog;
use crate::provider::Shared;

/// Calls that run, and calls that failed and are not explained yet.
///
/// A call that is given up on the way stays here until the node ends, so that the next start looks from there on.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    /// By a size that the log had before their requests were in it; the failed ones too.
    begun: BTreeMap<u64, usize>,
    failed: Vec<Begun>,
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    size: u64,
    sessions: Vec<SessionId>,
}

impl Running {
    /// A call is about to log the requests of these sessions.
    pub(super) fn begin(&self, log: &EvidenceLog, sessions: Vec<SessionId>) -> Begun {
        let mut calls = self.lock();
        let size = log.size();
        *calls.begun.entry(size).or_default() += 1;
        Begun { size, sessions }
    }

    /// The ends of a call's sessions are durable.
    pub(super) fn end(&self, Begun { size, .. }: &Begun) {
        let mut calls = self.lock();
        if let Some(running) = calls.begun.get_mut(size) {
            *running -= 1;
            if *running == 0 {
                calls.begun.remove(size);
            }
        }
    }

    /// A call failed, and what the log and the state have of its sessions is unknown.
    pub(super) fn fail(&self, call: Begun) {
        self.lock().failed.push(call);
    }

    /// Log entries among which every request has its end.
    pub(super) fn ended(&self, log: &EvidenceLog) -> u64 {
        let calls = self.lock();
        calls.begun.keys().next().copied().unwrap_or_else(|| log.size())
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code under which the log tells of what a kill or a failure left without an end.
pub(crate) const INTERRUPTED: &str = "INTERRUPTED";

/// Explains all that earlier runs of the node left. Blocks.
///
/// # Errors
/// [`NodeError`].
pub(super) fn explain(shared: &Shared) -> Result<(), NodeError> {
    let size = shared.log.size();
    explain_from(shared, shared.store.explained()?, |_| true)?;
    Ok(shared.store.put_explained(size)?)
}

/// Explains the calls that failed since the node started. Blocks.
///
/// # Errors
/// [`NodeError`]; they are explained the next time.
pub(super) fn explain_failed(shared: &Shared, running: &Running) -> Result<(), NodeError> {
    let failed = std::mem::take(&mut running.lock().failed);
    let Some(from) = failed.iter().map(|call| call.size).min() else { return Ok(()) };
    let sessions: HashSet<_> = failed.iter().flat_map(|call| &call.sessions).copied().collect();
    // What is durable is read once it is published.
    let published = shared.log.publish_blocking().map_err(NodeError::from);
    let explained = published.and_then(|_| explain_from(shared, from, |session| sessions.contains(session)));
    match explained {
        Ok(()) => failed.iter().for_each(|call| running.end(call)),
        Err(_) => running.lock().failed.extend(failed),
    }
    explained
}

/// Tells the log of those sessions that have no end, and leaves the receipts of the others to the next countersignature.
fn explain_from(shared: &Shared, from: u64, concerns: impl Fn(&SessionId) -> bool) -> Result<(), NodeError> {
    let mut open = BTreeMap::<SessionId, PartyId>::new();
    let mut uncountersigned = BTreeMap::<Hash, PartyId>::new();
    for entry in shared.log.entries_from(from)? {
        let (_, bytes) = entry?;
        match Entry::decode(&bytes).map(|entry| entry.event) {
            Ok(Event::Requested(request)) if concerns(&request.body().session) => {
                let request = request.body();
                open.insert(request.session, request.provider.clone());
            }
            Ok(Event::Countersigned(signed)) => {
                for receipt in &signed.body().receipts {
                    uncountersigned.remove(receipt);
                }
            }
            Ok(Event::Failed { session: Some(session), .. }) => drop(open.remove(&session)),
            Ok(event) => {
                // Where the node answers too, the log has receipts of which others are the requester.
                let ours = event.receipt().filter(|receipt| *receipt.requester == shared.keys.party);
                let Some(receipt) = ours else { continue };
                if let Event::Answered(answered) = &event {
                    let session = answered.body().request.body().session;
                    if !concerns(&session) {
                        continue;
                    }
                    open.remove(&session);
                }
                uncountersigned.insert(receipt.digest, receipt.provider.clone());
            }
            Err(_) => {}
        }
    }
    for (receipt, provider) in uncountersigned {
        shared.store.queue_receipt(provider.as_str(), &receipt)?;
    }
    let now_ms = shared.clock.now_ms();
    let event =
        |(session, peer)| Event::Failed { session: Some(session), peer, code: INTERRUPTED.to_owned() };
    let entries: Vec<_> =
        open.into_iter().map(|open| Entry::new(now_ms, event(open)).encode().into_bytes()).collect();
    if !entries.is_empty() {
        tracing::warn!(
            code = INTERRUPTED,
            sessions = entries.len(),
            "a kill or a failure left sessions without an end"
        );
        shared.log.append_blocking(entries)?;
    }
    Ok(())
}
