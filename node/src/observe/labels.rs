//! Labels of metrics. Every value is one of the node's own names, an enrolled party, or bounded in number.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use windvane_protocols::party::PartyId;

use crate::peer::Partners;

/// Different codes that one peer's answers may have in metrics; more count as [`OTHER`].
const MAX_PEER_CODES: usize = 32;

/// Stands for whatever has no name of its own.
pub(super) const OTHER: &str = "OTHER";

/// A party that is not enrolled here.
pub(super) const UNKNOWN: &str = "unknown";

/// A party's name where it is enrolled here: whoever has a certificate of the authority can call, and only partners
/// have a name.
pub(super) fn name_of<'a>(party: &'a PartyId, partners: &Partners) -> &'a str {
    if partners.find(party).is_some() { party.as_str() } else { UNKNOWN }
}

/// A call that a peer made here.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct CallLabels {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    pub(super) peer: String,
    pub(super) code: String,
}

/// A method, whoever called it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct MethodLabels {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
}

/// A service.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ServiceLabels {
    pub(super) service: &'static str,
}

/// A peer and what came of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PeerCodeLabels {
    pub(super) peer: String,
    pub(super) code: String,
}

/// A party.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PartyLabels {
    pub(super) party: String,
}

/// A peer.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PeerLabels {
    pub(super) peer: String,
}

/// A failing check.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FindingLabels {
    pub(super) code: String,
    pub(super) severity: &'static str,
    pub(super) subject: String,
}

/// A kind of calls or of work.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: &'static str,
}

/// What came of verifications.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

/// A decision.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ColourLabels {
    pub(super) colour: &'static str,
}

/// A call of the organisation's own systems.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct HttpLabels {
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

/// A route.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) route: String,
}

/// A job of set intersection or training, and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct JobLabels {
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
}

/// A table of a provider.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct TableLabels {
    pub(super) provider: String,
    pub(super) data_set: String,
}

/// A quota of a grant.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct QuotaLabels {
    pub(super) peer: String,
    pub(super) purpose: String,
    pub(super) group: &'static str,
    pub(super) window: &'static str,
}

/// What runs.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct BuildLabels {
    pub(super) version: &'static str,
    pub(super) party: String,
}

/// Which codes peers gave. A peer may put anything into a code, so each has a few and no more.
#[derive(Debug, Default)]
pub(super) struct PeerCodes(Mutex<HashMap<String, HashSet<String>>>);

impl PeerCodes {
    /// The code, or [`OTHER`] where the peer gave many different ones. `peer` is a party of this node's contracts.
    pub(super) fn of(&self, peer: &str, code: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let codes = known.entry(peer.to_owned()).or_default();
        if codes.contains(code) {
            return code.to_owned();
        }
        if codes.len() >= MAX_PEER_CODES {
            return OTHER.to_owned();
        }
        codes.insert(code.to_owned());
        code.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_invents_codes_fills_its_own_few_places_and_nobody_elses() {
        let codes = PeerCodes::default();
        assert_eq!(codes.of("carrier-a", "OK"), "OK");
        for i in 0..1_000 {
            codes.of("carrier-a", &format!("INVENTED_{i}"));
        }
        assert_eq!(codes.of("carrier-a", "GRANT_EXPIRED"), OTHER);
        assert_eq!(codes.of("carrier-a", "OK"), "OK");
        assert_eq!(codes.of("carrier-b", "GRANT_EXPIRED"), "GRANT_EXPIRED");
        let kept: usize = codes.0.lock().unwrap().values().map(HashSet::len).sum();
        assert_eq!(kept, MAX_PEER_CODES + 1);
    }
}
