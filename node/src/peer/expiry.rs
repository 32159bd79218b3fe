//! What ends soon: certificates, authorities, revocation lists. Told by the log at a start and daily, and by whoever
//! asks for a node's health.

use std::sync::Arc;

use serde::Serialize;
use windvane_keys::enrolment::Partner;

use crate::clock::rfc3339;
use crate::identity::Certificate;

const DAY_MS: u64 = 86_400_000;

/// Something that ends soon, or has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// The stable code: `CERTIFICATE_ENDS`, `CERTIFICATE_EXPIRED`, the same with `PARTNER_` and `AUTHORITY_` before
    /// them, or `REVOCATION_LIST_OVERDUE`.
    pub code: &'static str,
    /// What ends, and what to do.
    pub message: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What ends within `warn_days` or has ended, of a node's own and of its partners'.
pub fn endings(
    certificate: &Certificate,
    partners: &[Arc<Partner>],
    now_ms: u64,
    warn_days: u32,
) -> Vec<Ending> {
    let from_ms = now_ms.saturating_add(u64::from(warn_days) * DAY_MS);
    let pick = |at_ms: u64, ends: &'static str, over: &'static str| match () {
        () if at_ms < now_ms => Some(over),
        () if at_ms < from_ms => Some(ends),
        () => None,
    };
    let mut found = Vec::new();
    let mut add = |code: Option<&'static str>, at_ms: u64, what: String| {
        let end = rfc3339(at_ms);
        found.extend(code.map(|code| Ending { code, message: format!("{what} (end: {end})"), at_ms }));
    };
    let own = certificate.tls.certificate().not_after_ms;
    let renew =
        "this node's certificate; run windvane keys renew and let the partners import the new enrolment";
    add(pick(own, "CERTIFICATE_ENDS", "CERTIFICATE_EXPIRED"), own, renew.to_owned());
    for partner in partners {
        let at_ms = partner.valid_until_ms;
        let code = pick(at_ms, "PARTNER_CERTIFICATE_ENDS", "PARTNER_CERTIFICATE_EXPIRED");
        add(code, at_ms, format!("the certificate of {}; ask it for its new enrolment", partner.party));
    }
    let anchors = certificate.trust.anchors().iter().map(|anchor| &anchor.certificate);
    for authority in std::iter::once(certificate.trust.own()).chain(anchors) {
        let at_ms = authority.not_after_ms;
        let code = pick(at_ms, "AUTHORITY_CERTIFICATE_ENDS", "AUTHORITY_CERTIFICATE_EXPIRED");
        add(code, at_ms, "an authority's certificate; ask it for its next one".to_owned());
    }
    for list in certificate.trust.lists() {
        let at_ms = list.next_update_ms();
        let code = (at_ms < now_ms).then_some("REVOCATION_LIST_OVERDUE");
        let what = format!("the next revocation list after number {}; import it", list.number());
        add(code, at_ms, what);
    }
    found
}

/// Tells the structured log.
pub(crate) fn warn(endings: &[Ending]) {
    for Ending { code, message, .. } in endings {
        tracing::warn!(code, "{message}");
    }
}
