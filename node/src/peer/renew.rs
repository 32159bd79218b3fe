//! Takes over what commands changed of certificates, authorities, revocation lists and partners.

use crate::error::NodeError;
use crate::provider::Shared;

/// Reads what changed, uses it for new handshakes, and refuses open connections that it ends. Gives whether this
/// node's own channels should be made anew, and the first [`NodeError`]: what cannot be read stays as it is, and the rest
/// is taken over all the same. Blocks on files.
pub(crate) fn renew(shared: &Shared) -> (bool, Result<(), NodeError>) {
    let replaced = replace(shared);
    let trust = shared.tls.certificate().trust;
    let partners = shared.partners.reload(&shared.store, &trust, shared.clock.now_ms());
    let dialled = shared.tls.sweep(true);
    (dialled || matches!(replaced, Ok(true)), replaced.map(drop).and(partners))
}

fn replace(shared: &Shared) -> Result<bool, NodeError> {
    let present = shared.tls.certificate();
    let Some(renewed) = present.renewed(&shared.layout, &shared.keys, &shared.store)? else {
        return Ok(false);
    };
    shared.tls.replace(renewed)?;
    tracing::info!(code = "TLS_RENEWED", "new connections use what changed of certificates and trust");
    Ok(true)
}
