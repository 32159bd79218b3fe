//! Who is on the other side: mutual TLS 1.3 with our own acceptor, and the partners that are enrolled.
//!
//! A connection is accepted when its certificate is signed by the authority; a **call** is accepted when the
//! certificate's party is enrolled here with the very keys that the certificate binds. An unknown peer
//! reaches only the structured log.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use windvane_keys::enrolment::{Enrolment, Partner};
use windvane_protocols::party::PartyId;

use crate::error::{NodeError, Refusal};
use crate::store::Store;

mod accept;
mod dial;
mod handshakes;
mod tls;
pub mod transport;

pub use accept::{Incoming, PeerStream};
pub(crate) use dial::connect;
pub use dial::{channel, channel_over};

/// What a connection's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The party of the certificate's URI.
    pub party: PartyId,
    /// The digest of the keys that the certificate binds.
    pub keys_digest: [u8; 64],
}

/// The partners that are enrolled here.
#[derive(Debug, Default)]
pub struct Partners {
    by_party: RwLock<Arc<HashMap<PartyId, Arc<Partner>>>>,
}

impl Partners {
    /// Reads all enrolments again.
    ///
    /// # Errors
    /// [`NodeError`]; an enrolment that no longer holds is left out and logged.
    pub fn reload(&self, store: &Store, authority: &[u8], now_ms: u64) -> Result<(), NodeError> {
        let mut partners = HashMap::new();
        for pem in store.partners()? {
            match Enrolment::from_pem(&pem).and_then(|enrolment| enrolment.verify(authority, now_ms)) {
                Ok(partner) => drop(partners.insert(partner.party.clone(), Arc::new(partner))),
                Err(error) => tracing::warn!(code = error.code(), %error, "an enrolment does not hold"),
            }
        }
        *self.by_party.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(partners);
        Ok(())
    }

    /// A partner by name.
    pub fn find(&self, party: &PartyId) -> Option<Arc<Partner>> {
        self.by_party.read().unwrap_or_else(PoisonError::into_inner).get(party).cloned()
    }

    /// The partner behind a call.
    ///
    /// # Errors
    /// [`Refusal::PeerUnknown`], told to the structured log only.
    pub fn authenticate<T>(&self, request: &tonic::Request<T>) -> Result<Arc<Partner>, Refusal> {
        let identity = request.extensions().get::<PeerIdentity>();
        let known = identity.and_then(|identity| {
            self.find(&identity.party).filter(|partner| partner.keys_digest == identity.keys_digest)
        });
        known.ok_or_else(|| {
            let party = identity.map_or("", |identity| identity.party.as_str());
            tracing::warn!(code = "PEER_UNKNOWN", party, "refused a call of a peer that is not enrolled");
            Refusal::PeerUnknown
        })
    }
}
