//! Countersignatures, in batches, off the hot path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::Request;
use tonic::transport::Channel;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::MAX_RECEIPTS_PER_COUNTERSIGNATURE;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Record as _, Signed};

use super::Contract;
use super::ask::late;
use crate::clock::Clock;
use crate::error::{PeerError, Refusal};
use crate::identity::NodeKeys;
use crate::provider::Shared;
use crate::store::{PendingReceipt, Store};

/// How long a provider may take to acknowledge.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a turn goes on with new batches of one provider: the next turn of the others begins after this and what one
/// batch takes at most, which is two acknowledgements.
const TURN: Duration = Duration::from_secs(10);

/// Receipts of one provider that wait, and what it takes to countersign them: the node's, or a job's where no node
/// runs.
pub(crate) struct Round<'a> {
    pub(crate) store: &'a Store,
    pub(crate) keys: &'a NodeKeys,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) channel: Channel,
    pub(crate) provider: &'a PartyId,
}

/// Countersigns what waits for every provider, all beside each other: one that is silent or slow keeps nobody from the
/// others' countersignatures. What fails, and what a turn has no time for, waits for the next turn.
pub(super) async fn turn(shared: &Shared, contracts: &[Arc<Contract>]) {
    // The contracts with one provider share what waits for it.
    let mut providers = BTreeMap::<&PartyId, Vec<Arc<Contract>>>::new();
    for contract in contracts {
        providers.entry(contract.party()).or_default().push(contract.clone());
    }
    let mut turns = JoinSet::new();
    for contracts in providers.into_values() {
        let shared = shared.clone();
        turns.spawn(async move {
            let end = Instant::now() + TURN;
            for contract in contracts {
                until(end, &shared, &contract).await;
            }
        });
    }
    while turns.join_next().await.is_some() {}
}

/// Countersigns what waits for one provider; no batch begins after `end`.
async fn until(end: Instant, shared: &Shared, contract: &Contract) {
    if contract.partner().is_none() {
        return;
    }
    let round = Round {
        store: &shared.store,
        keys: &shared.keys,
        clock: &*shared.clock,
        channel: contract.channel(),
        provider: contract.party(),
    };
    let mut more = true;
    while more && Instant::now() < end {
        more = one(shared, &round).await.unwrap_or_else(|error| {
            tracing::warn!(code = error.code, provider = %contract.party(), "receipts wait for a countersignature");
            false
        });
    }
}

/// Countersigns one batch; whether there may be more.
async fn one(shared: &Shared, round: &Round<'_>) -> Result<bool, PeerError> {
    let Some(batch) = round.send().await? else { return Ok(false) };
    let entry = Entry::new(shared.clock.now_ms(), batch.event()).encode().into_bytes();
    shared.log.append(vec![entry]).await.map_err(|error| ours("LOG_UNAVAILABLE", &error))?;
    round.settle(&batch)
}

/// A batch that the provider has; it is settled when its event is durable.
pub(crate) struct Batch {
    signed: Signed<Countersignature>,
    receipts: Vec<PendingReceipt>,
    /// Others may wait behind it.
    more: bool,
}

impl Batch {
    /// What the log is told.
    pub(crate) fn event(&self) -> Event {
        Event::Countersigned(self.signed.clone())
    }
}

impl Round<'_> {
    /// Signs and sends the oldest batch, if any receipt waits. Where a part of it is open at the provider, and another has
    /// been settled there and forgotten, that is the oldest receipt alone.
    pub(crate) async fn send(&self) -> Result<Option<Batch>, PeerError> {
        let mut receipts = self
            .store
            .uncountersigned(self.provider.as_str(), MAX_RECEIPTS_PER_COUNTERSIGNATURE)
            .map_err(|error| ours(error.code(), &error))?;
        if receipts.is_empty() {
            return Ok(None);
        }
        let mut more = receipts.len() == MAX_RECEIPTS_PER_COUNTERSIGNATURE;
        let signed = match self.countersign(&receipts).await {
            Err(error) if receipts.len() > 1 && error.code == Refusal::CountersignatureMixed.code() => {
                receipts.truncate(1);
                more = true;
                self.countersign(&receipts).await?
            }
            sent => sent?,
        };
        Ok(Some(Batch { signed, receipts, more }))
    }

    /// A countersignature that the provider has acknowledged.
    async fn countersign(&self, receipts: &[PendingReceipt]) -> Result<Signed<Countersignature>, PeerError> {
        // Each once, should one ever wait twice.
        let receipts: BTreeSet<_> = receipts.iter().map(|receipt| receipt.receipt).collect();
        let body = Countersignature {
            requester: self.keys.party.clone(),
            provider: self.provider.clone(),
            receipts: receipts.into_iter().collect(),
            signed_at_ms: self.clock.now_ms(),
        };
        let signed = Signed::sign(body, self.keys.signing_key());
        let mut request = Request::new(CountersignRequest::from(&signed));
        request.set_timeout(TIMEOUT);
        let mut client = AuditClient::new(self.channel.clone());
        // The request's own timeout ends with the answer's headers.
        let answer = timeout(TIMEOUT, client.countersign(request)).await.unwrap_or_else(|_| Err(late()));
        answer.map_err(|status| PeerError::from(&status))?;
        Ok(signed)
    }

    /// Forgets a batch whose event is durable, and nothing that came meanwhile, also where another round has forgotten the
    /// same batch before; whether there may be more.
    pub(crate) fn settle(&self, batch: &Batch) -> Result<bool, PeerError> {
        self.store.countersigned(&batch.receipts).map_err(|error| ours(error.code(), &error))?;
        Ok(batch.more)
    }
}

fn ours(code: &str, error: &dyn std::error::Error) -> PeerError {
    PeerError { code: code.into(), message: error.to_string(), retry_after_ms: None }
}
