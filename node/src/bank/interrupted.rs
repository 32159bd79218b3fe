//! Sessions that an earlier run of the node began and did not bring to an end.
//!
//! A request is durable before it leaves, its end when it came. A node that is killed in between leaves a request without
//! an end; what became of it nobody can tell here, and the log says so, so that an auditor need not ask. One that is killed
//! when the log has a receipt, and the state does not have it yet, leaves it uncountersigned: it is countersigned now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::transcript::{Hash, Record as _};

use crate::error::NodeError;
use crate::evidence::EvidenceLog;
use crate::provider::Shared;

/// Calls that run, by a size that the log had before their requests were in it.
///
/// A call that fails or is given up after its requests were logged stays here until the node ends, so that the next
/// start looks from there on.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<BTreeMap<u64, usize>>);

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Begun(u64);

impl Running {
    /// A call is about to log its requests.
    pub(super) fn begin(&self, log: &EvidenceLog) -> Begun {
        let mut running = self.lock();
        let size = log.size();
        *running.entry(size).or_default() += 1;
        Begun(size)
    }

    /// The ends of a call's sessions are durable.
    pub(super) fn end(&self, Begun(size): Begun) {
        let mut running = self.lock();
        if let Some(calls) = running.get_mut(&size) {
            *calls -= 1;
            if *calls == 0 {
                running.remove(&size);
            }
        }
    }

    /// Log entries among which every request has its end.
    pub(super) fn ended(&self, log: &EvidenceLog) -> u64 {
        let running = self.lock();
        running.keys().next().copied().unwrap_or_else(|| log.size())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code under which the log tells of what a kill left without an end.
pub(crate) const INTERRUPTED: &str = "INTERRUPTED";

/// Tells the log of all that are open, and leaves their receipts to the next countersignature. Blocks.
///
/// # Errors
/// [`NodeError`].
pub(super) fn explain(shared: &Shared) -> Result<(), NodeError> {
    let from = shared.store.explained()?;
    let size = shared.log.size();
    let mut open = BTreeMap::<SessionId, PartyId>::new();
    let mut uncountersigned = BTreeMap::<Hash, PartyId>::new();
    for entry in shared.log.entries_from(from)? {
        let (_, bytes) = entry?;
        match Entry::decode(&bytes).map(|entry| entry.event) {
            Ok(Event::Requested(request)) => {
                let request = request.body();
                open.insert(request.session, request.provider.clone());
            }
            // Where the node answers too, the log has receipts of which others are the requester.
            Ok(Event::Answered(receipt)) if receipt.body().request.body().requester == shared.keys.party => {
                let request = receipt.body().request.body();
                open.remove(&request.session);
                uncountersigned.insert(receipt.digest(), request.provider.clone());
            }
            Ok(Event::PsiCompleted(receipt)) if receipt.body().request().requester == shared.keys.party => {
                uncountersigned.insert(receipt.digest(), receipt.body().request().provider.clone());
            }
            Ok(Event::Countersigned(signed)) => {
                for receipt in &signed.body().receipts {
                    uncountersigned.remove(receipt);
                }
            }
            Ok(Event::Failed { session: Some(session), .. }) => drop(open.remove(&session)),
            _ => {}
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
            "the last run left sessions without an end"
        );
        shared.log.append_blocking(entries)?;
    }
    Ok(shared.store.put_explained(size)?)
}
