//! Countersignatures, in batches, off the hot path.

use tonic::Request;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::MAX_RECEIPTS_PER_COUNTERSIGNATURE;
use windvane_protocols::transcript::{Record as _, Signed};

use super::Contract;
use crate::error::PeerError;
use crate::provider::Shared;

/// How long a provider may take to acknowledge.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Countersigns everything that waits for one provider; what fails waits for the next round.
pub(super) async fn all(shared: &Shared, contract: &Contract) {
    if contract.partner().is_none() {
        return;
    }
    while let Ok(true) = one(shared, contract).await.inspect_err(|error| {
        tracing::warn!(code = error.code, provider = %contract.party(), "receipts wait for a countersignature");
    }) {}
}

/// Countersigns one batch; whether there may be more.
async fn one(shared: &Shared, contract: &Contract) -> Result<bool, PeerError> {
    let ours = |code: &str, message: String| PeerError { code: code.into(), message, retry_after_ms: None };
    let provider = contract.party().as_str();
    let pending = shared
        .store
        .uncountersigned(provider, MAX_RECEIPTS_PER_COUNTERSIGNATURE)
        .map_err(|error| ours(error.code(), error.to_string()))?;
    let Some(last) = pending.last() else { return Ok(false) };
    let body = Countersignature {
        requester: shared.keys.party.clone(),
        provider: contract.party().clone(),
        receipts: pending.iter().map(|receipt| receipt.receipt).collect(),
        signed_at_ms: shared.clock.now_ms(),
    };
    let signed = Signed::sign(body, shared.keys.signing_key());
    let mut request = Request::new(CountersignRequest::from(&signed));
    request.set_timeout(TIMEOUT);
    AuditClient::new(contract.channel()).countersign(request).await.map_err(|s| PeerError::from(&s))?;
    let entry = Entry::new(shared.clock.now_ms(), Event::Countersigned(signed));
    let logged = shared.log.append(vec![entry.encode().into_bytes()]).await;
    logged.map_err(|error| ours("LOG_UNAVAILABLE", error.to_string()))?;
    shared.store.countersigned(provider, last.id).map_err(|error| ours(error.code(), error.to_string()))?;
    Ok(pending.len() == MAX_RECEIPTS_PER_COUNTERSIGNATURE)
}
