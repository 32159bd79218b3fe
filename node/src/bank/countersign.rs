//! Countersignatures, in batches, off the hot path.

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
use crate::clock::Clock;
use crate::error::PeerError;
use crate::identity::NodeKeys;
use crate::provider::Shared;
use crate::store::{PendingReceipt, Store};

/// How long a provider may take to acknowledge.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Receipts of one provider that wait, and what it takes to countersign them: the node's, or a job's where no node
/// runs.
pub(crate) struct Round<'a> {
    pub(crate) store: &'a Store,
    pub(crate) keys: &'a NodeKeys,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) channel: Channel,
    pub(crate) provider: &'a PartyId,
}

/// Countersigns everything that waits for one provider; what fails waits for the next round.
pub(super) async fn all(shared: &Shared, contract: &Contract) {
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
    while let Ok(true) = one(shared, &round).await.inspect_err(|error| {
        tracing::warn!(code = error.code, provider = %contract.party(), "receipts wait for a countersignature");
    }) {}
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
}

impl Batch {
    /// What the log is told.
    pub(crate) fn event(&self) -> Event {
        Event::Countersigned(self.signed.clone())
    }
}

impl Round<'_> {
    /// Signs and sends the oldest batch, if any receipt waits.
    pub(crate) async fn send(&self) -> Result<Option<Batch>, PeerError> {
        let receipts = self
            .store
            .uncountersigned(self.provider.as_str(), MAX_RECEIPTS_PER_COUNTERSIGNATURE)
            .map_err(|error| ours(error.code(), &error))?;
        if receipts.is_empty() {
            return Ok(None);
        }
        let body = Countersignature {
            requester: self.keys.party.clone(),
            provider: self.provider.clone(),
            receipts: receipts.iter().map(|receipt| receipt.receipt).collect(),
            signed_at_ms: self.clock.now_ms(),
        };
        let signed = Signed::sign(body, self.keys.signing_key());
        let mut request = Request::new(CountersignRequest::from(&signed));
        request.set_timeout(TIMEOUT);
        let mut client = AuditClient::new(self.channel.clone());
        client.countersign(request).await.map_err(|status| PeerError::from(&status))?;
        Ok(Some(Batch { signed, receipts }))
    }

    /// Forgets a batch whose event is durable, and nothing that came meanwhile, also where another round has forgotten the
    /// same batch before; whether there may be more.
    pub(crate) fn settle(&self, batch: &Batch) -> Result<bool, PeerError> {
        self.store.countersigned(&batch.receipts).map_err(|error| ours(error.code(), &error))?;
        Ok(batch.receipts.len() == MAX_RECEIPTS_PER_COUNTERSIGNATURE)
    }
}

fn ours(code: &str, error: &dyn std::error::Error) -> PeerError {
    PeerError { code: code.into(), message: error.to_string(), retry_after_ms: None }
}
