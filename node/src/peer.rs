//! Who is on the other side: mutual TLS 1.3 with our own acceptor, and the partners that are enrolled.
//!
//! A connection is accepted when its certificate leads to an authority that may speak for its party, and was not
//! revoked; a **call** is accepted when the certificate's party is enrolled here with the very keys that the
//! certificate binds. An unknown peer reaches only the structured log. All of it changes while the node runs
//! ([`Tls`]): calls that run are not disturbed, and a peer that is no longer believed is refused on new and on open
//! connections.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use windvane_keys::enrolment::{Enrolment, Partner};
use windvane_keys::trust::Trust;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Hash;

use crate::error::{NodeError, Refusal};
use crate::store::Store;

mod accept;
mod accepted;
mod dial;
mod expiry;
mod handshakes;
mod live;
mod open;
pub(crate) mod renew;
mod tls;
pub mod transport;

pub use accept::{Incoming, PeerStream};
pub(crate) use accepted::Accepted;
pub(crate) use dial::connect;
pub use dial::{channel, channel_over, live_channel};
pub use expiry::{CERTIFICATE_REVOKED, Ending, endings};
pub use live::Tls;
pub use open::Connections;

pub(crate) use expiry::warn;

use open::Connection;

/// What a connection's certificate says.
#[derive(Debug, Clone)]
pub struct PeerIdentity {
    /// The party of the certificate's URI.
    pub party: PartyId,
    /// The digest of the keys that the certificate binds.
    pub keys_digest: Hash,
    connection: Arc<Connection>,
}

/// Until when an enrolment runs.
pub(crate) fn until(enrolment: &Enrolment) -> Until {
    (enrolment.request().party().clone(), enrolment.certificate().not_after_ms)
}

/// The enrolments of one party that hold, the newest first.
type Enrolled = Vec<Arc<Partner>>;

/// Until when a party's newest enrolment runs.
pub type Until = (PartyId, u64);

/// The partners that are enrolled here.
#[derive(Debug, Default)]
pub struct Partners {
    by_party: RwLock<Arc<HashMap<PartyId, Enrolled>>>,
    ends: RwLock<Arc<Vec<Until>>>,
}

impl Partners {
    /// Reads all enrolments again.
    ///
    /// # Errors
    /// [`NodeError`]; an enrolment that no longer holds is left out and logged.
    pub fn reload(&self, store: &Store, trust: &Trust, now_ms: u64) -> Result<(), NodeError> {
        let (mut partners, mut ends) = (HashMap::<_, Enrolled>::new(), Vec::new());
        let held = |pem: &str| trust.partner(&Enrolment::from_pem(pem)?, now_ms);
        for pem in store.partners()? {
            ends.extend(Enrolment::from_pem(&pem).map(|enrolment| until(&enrolment)));
            match held(&pem) {
                Ok(partner) => {
                    partners.entry(partner.party.clone()).or_default().push(Arc::new(partner));
                }
                Err(error) => tracing::warn!(code = error.code(), %error, "an enrolment does not hold"),
            }
        }
        // That the one before a renewal has ended or was revoked is what renewals are for.
        for partner in store.partners_before()?.iter().filter_map(|pem| held(pem).ok()) {
            partners.entry(partner.party.clone()).or_default().push(Arc::new(partner));
        }
        *self.by_party.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(partners);
        *self.ends.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ends);
        Ok(())
    }

    /// A partner by name.
    pub fn find(&self, party: &PartyId) -> Option<Arc<Partner>> {
        self.all().get(party)?.first().cloned()
    }

    /// A partner by name and by the keys that its certificate binds: those of its newest enrolment, or of the one
    /// before.
    pub fn enrolled(&self, party: &PartyId, keys_digest: &Hash) -> Option<Arc<Partner>> {
        self.all().get(party)?.iter().find(|partner| partner.keys_digest == *keys_digest).cloned()
    }

    /// Until when every partner's newest enrolment runs; also of those that no longer hold.
    pub fn ends(&self) -> Arc<Vec<Until>> {
        self.ends.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(&self) -> Arc<HashMap<PartyId, Enrolled>> {
        self.by_party.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The partner behind a call.
    ///
    /// # Errors
    /// [`Refusal::PeerUnknown`], [`Refusal::PeerRevoked`], told to the structured log only.
    pub fn authenticate<T>(&self, request: &tonic::Request<T>) -> Result<Arc<Partner>, Refusal> {
        let identity = request.extensions().get::<PeerIdentity>();
        let party = identity.map_or("", |identity| identity.party.as_str());
        if identity.is_some_and(|identity| identity.connection.is_refused()) {
            tracing::warn!(
                code = "PEER_REVOKED",
                party,
                "refused a call on a connection that is being closed"
            );
            return Err(Refusal::PeerRevoked);
        }
        let known = identity.and_then(|identity| {
            let partner = self.enrolled(&identity.party, &identity.keys_digest)?;
            identity.connection.know();
            Some(partner)
        });
        known.ok_or_else(|| {
            tracing::warn!(code = "PEER_UNKNOWN", party, "refused a call of a peer that is not enrolled");
            Refusal::PeerUnknown
        })
    }
}
