//! What ends soon: certificates, authorities, revocation lists; and that the node's own certificate was revoked. Told by
//! the log at a start and daily, and by whoever asks for a node's health.

use serde::Serialize;
use windvane_protocols::party::PartyId;

use super::Until;
use crate::clock::rfc3339;
use crate::identity::Certificate;

const DAY_MS: u64 = 86_400_000;

/// The code of a certificate of the node's own that stands in a revocation list: no partner with that list believes it.
pub const CERTIFICATE_REVOKED: &str = "CERTIFICATE_REVOKED";

/// Something that ends soon, or has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// The stable code: `CERTIFICATE_ENDS`, `CERTIFICATE_EXPIRED`, the same with `PARTNER_` and `AUTHORITY_` before
    /// them, [`CERTIFICATE_REVOKED`], or `REVOCATION_LIST_OVERDUE`.
    pub code: &'static str,
    /// Whose certificate it is; none of an authority.
    pub party: Option<String>,
    /// What ends, and when.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
    /// Whether it is over and this node cannot go on without it. A partner's end, or that of an authority of its own,
    /// stops that partner alone, whenever it chooses.
    pub stops_node: bool,
}

/// Codes of one kind of certificate, before its end and after, and what to do about both.
struct Kind {
    ends: &'static str,
    expired: &'static str,
    advice: &'static str,
}

impl Kind {
    /// The code of a certificate that ends within so many days, and whether it is over.
    fn due(&self, at_ms: u64, now_ms: u64, warn_days: u32) -> Option<(&'static str, bool)> {
        let from_ms = now_ms.saturating_add(u64::from(warn_days) * DAY_MS);
        match () {
            () if at_ms < now_ms => Some((self.expired, true)),
            () if at_ms < from_ms => Some((self.ends, false)),
            () => None,
        }
    }
}

const OWN: Kind = Kind {
    ends: "CERTIFICATE_ENDS",
    expired: "CERTIFICATE_EXPIRED",
    advice: "run windvane keys renew, and let the partners import the new enrolment",
};
const PARTNER: Kind = Kind {
    ends: "PARTNER_CERTIFICATE_ENDS",
    expired: "PARTNER_CERTIFICATE_EXPIRED",
    advice: "ask it for its new enrolment, then windvane partner import",
};
const AUTHORITY: Kind = Kind {
    ends: "AUTHORITY_CERTIFICATE_ENDS",
    expired: "AUTHORITY_CERTIFICATE_EXPIRED",
    advice: "ask the authority for its next certificate",
};

/// What ends within `warn_days` or has ended, of a node's own and of its partners', and whether its own was revoked.
pub fn endings(certificate: &Certificate, partners: &[Until], now_ms: u64, warn_days: u32) -> Vec<Ending> {
    let mut found = Vec::new();
    let mut add = |kind: Kind, party: Option<&PartyId>, at_ms: u64, is_needed: bool| {
        let of = |(code, is_over)| Ending {
            code,
            party: party.map(PartyId::to_string),
            what: format!("the certificate's end is {}", rfc3339(at_ms)),
            advice: kind.advice,
            stops_node: is_needed && is_over,
        };
        found.extend(kind.due(at_ms, now_ms, warn_days).map(of));
    };
    let own = certificate.tls.certificate();
    add(OWN, Some(&own.party), own.not_after_ms, true);
    for (party, until_ms) in partners {
        add(PARTNER, Some(party), *until_ms, false);
    }
    add(AUTHORITY, None, certificate.trust.own().not_after_ms, true);
    for anchor in certificate.trust.anchors() {
        add(AUTHORITY, None, anchor.certificate.not_after_ms, false);
    }
    if certificate.trust.own_is_revoked(certificate.tls.chain(), now_ms) {
        found.push(Ending {
            code: CERTIFICATE_REVOKED,
            party: Some(own.party.to_string()),
            what: "the certificate was revoked by its authority".to_owned(),
            advice: OWN.advice,
            stops_node: true,
        });
    }
    let overdue = certificate.trust.lists().filter(|list| list.next_update_ms() < now_ms);
    found.extend(overdue.map(|list| Ending {
        code: "REVOCATION_LIST_OVERDUE",
        party: None,
        what: format!(
            "the list after number {} was due at {}",
            list.number(),
            rfc3339(list.next_update_ms())
        ),
        advice: "ask the authority for its next revocation list, then windvane partner revocations",
        stops_node: false,
    }));
    found
}

/// Tells the structured log.
pub(crate) fn warn(endings: &[Ending]) {
    for Ending { code, party, what, advice, .. } in endings {
        tracing::warn!(code, party = party.as_deref(), advice, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_end_is_told_before_and_after_it_comes() {
        let now_ms = 1_000 * DAY_MS;
        let due = |at_ms| OWN.due(at_ms, now_ms, 30);
        assert_eq!(due(now_ms - 1), Some(("CERTIFICATE_EXPIRED", true)));
        assert_eq!(due(now_ms + 29 * DAY_MS), Some(("CERTIFICATE_ENDS", false)));
        assert_eq!(due(now_ms + 31 * DAY_MS), None);
    }
}
