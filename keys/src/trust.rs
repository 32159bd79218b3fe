//! Whom a node lets speak for whom: trust anchors by party, and what their authorities revoked.
//!
//! **The rule**: an anchor that names parties speaks for these and for nobody else; a party that an anchor names is
//! not believed under any other. For everybody else the node's own authority speaks, unless it is itself among the
//! anchors and so bound to the parties that are named there. So one organisation's authority never issues for
//! another's party.
//!
//! **Revocation**: each certificate of a path is looked up in the newest list of its issuer. An authority without a
//! list revokes nothing; a list whose successor is overdue still counts, and what else it means is
//! [`Trust::refuses_overdue`]'s choice.

use std::collections::BTreeMap;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use windvane_protocols::party::PartyId;

use crate::enrolment::{ALGORITHMS, Enrolment, EnrolmentError, Partner};
use crate::identity::{AuthorityCertificate, CertificateIdentity, IdentityError, MAX_CHAIN_CERTIFICATES};
use crate::revocation::RevocationList;

/// Why a certificate does not speak for a party.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The certificate does not say what a party's must, or there is none, or too many.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No path leads to an authority that may speak for the party.
    #[error("the certificate of {party} does not lead to an authority that may speak for it: {source}")]
    Path {
        /// The party.
        party: PartyId,
        /// Why the last path that was tried does not hold.
        source: webpki::Error,
    },
    /// A certificate of the path was revoked.
    #[error("the certificate of {party} was revoked by its authority")]
    Revoked {
        /// The party.
        party: PartyId,
    },
    /// The next list is overdue, and this node does not go on with the old one.
    #[error("the revocation list for {party} is overdue; import its authority's newest one")]
    Overdue {
        /// The party.
        party: PartyId,
    },
    /// The enrolment is of an authority that may not speak for the party.
    #[error("the enrolment of {party} is of an authority that may not speak for it here")]
    ForeignAuthority {
        /// The party.
        party: PartyId,
    },
    /// The enrolment does not hold.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
}

impl TrustError {
    /// Whether a certificate of the path has ended.
    pub const fn is_expired(&self) -> bool {
        matches!(self, Self::Path { source: webpki::Error::CertExpired { .. }, .. })
    }

    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Identity(error) => error.code(),
            Self::Path { .. } => "CERTIFICATE_PATH",
            Self::Revoked { .. } => "CERTIFICATE_REVOKED",
            Self::Overdue { .. } => "REVOCATION_LIST_OVERDUE",
            Self::ForeignAuthority { .. } => "FOREIGN_AUTHORITY",
            Self::Enrolment(error) => error.code(),
        }
    }
}

/// An authority and the parties that it may speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The authority.
    pub certificate: AuthorityCertificate,
    /// The parties.
    pub parties: Vec<PartyId>,
}

/// Which end of a connection a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The one that dials.
    Client,
    /// The one that accepts.
    Server,
}

/// Whom a node believes.
#[derive(Debug, Clone)]
pub struct Trust {
    own: AuthorityCertificate,
    anchors: Vec<Anchor>,
    /// The newest list of each issuer, under the SHA-256 of its `SubjectPublicKeyInfo`.
    lists: BTreeMap<[u8; 32], RevocationList>,
    refuses_overdue: bool,
}

impl Trust {
    /// The node's own authority, without lists or further anchors.
    pub const fn new(own: AuthorityCertificate) -> Self {
        Self { own, anchors: Vec::new(), lists: BTreeMap::new(), refuses_overdue: false }
    }

    /// The same with authorities that are bound to parties.
    #[must_use]
    pub fn with_anchors(self, anchors: Vec<Anchor>) -> Self {
        Self { anchors, ..self }
    }

    /// The same with the newest list of each issuer, under [`Self::issuer_id`].
    #[must_use]
    pub fn with_lists(self, lists: BTreeMap<[u8; 32], RevocationList>) -> Self {
        Self { lists, ..self }
    }

    /// The same, and certificates of issuers whose next list is overdue are refused.
    #[must_use]
    pub fn refusing_overdue(self, refuses_overdue: bool) -> Self {
        Self { refuses_overdue, ..self }
    }

    /// Whether certificates are refused whose issuer's next list is overdue.
    pub const fn refuses_overdue(&self) -> bool {
        self.refuses_overdue
    }

    /// What a list of an issuer is kept under.
    pub fn issuer_id(public_key: &[u8]) -> [u8; 32] {
        Sha256::digest(public_key).into()
    }

    /// The node's own authority.
    pub const fn own(&self) -> &AuthorityCertificate {
        &self.own
    }

    /// The authorities that are bound to parties.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The revocation lists.
    pub fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.values()
    }

    /// The authorities that may speak for a party.
    pub fn authorities_of(&self, party: &PartyId) -> Vec<&AuthorityCertificate> {
        let bound = self.anchors.iter().any(|anchor| anchor.parties.contains(party));
        let free = !bound && !self.anchors.iter().any(|anchor| anchor.certificate == self.own);
        let named = self.anchors.iter().filter(|anchor| anchor.parties.contains(party));
        named.map(|anchor| &anchor.certificate).chain(free.then_some(&self.own)).collect()
    }

    /// Whom a chain of certificates speaks for, the party's own certificate first.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn check(
        &self,
        chain: &[CertificateDer<'_>],
        end: End,
        now_ms: u64,
    ) -> Result<CertificateIdentity, TrustError> {
        self.check_under(|party| self.authorities_of(party), chain, end, now_ms)
    }

    /// Whether the node's own chain was revoked: its own authority speaks for it, whomever that is bound to here.
    pub fn own_is_revoked(&self, chain: &[CertificateDer<'_>], now_ms: u64) -> bool {
        let checked = || self.check_under(|_| vec![&self.own], chain, End::Client, now_ms);
        !self.lists.is_empty() && matches!(checked(), Err(TrustError::Revoked { .. }))
    }

    fn check_under<'a>(
        &self,
        authorities_of: impl FnOnce(&PartyId) -> Vec<&'a AuthorityCertificate>,
        chain: &[CertificateDer<'_>],
        end: End,
        now_ms: u64,
    ) -> Result<CertificateIdentity, TrustError> {
        let (first, intermediates) = chain.split_first().ok_or(IdentityError::Chain)?;
        if chain.len() > MAX_CHAIN_CERTIFICATES {
            return Err(IdentityError::Chain.into());
        }
        let identity = CertificateIdentity::from_der(first)?;
        let party = &identity.party;
        let path = |source| TrustError::Path { party: party.clone(), source };
        let leaf = EndEntityCert::try_from(first).map_err(path)?;
        let usage = || match end {
            End::Client => KeyUsage::client_auth(),
            End::Server => KeyUsage::server_auth(),
        };
        let time = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
        let mut failed = webpki::Error::UnknownIssuer;
        for authority in authorities_of(party) {
            let der = CertificateDer::from(authority.der.as_slice());
            let anchor: TrustAnchor<'_> = webpki::anchor_from_trusted_cert(&der).map_err(path)?;
            let anchors = std::slice::from_ref(&anchor);
            match leaf.verify_for_usage(ALGORITHMS, anchors, intermediates, time, usage(), None, None) {
                Ok(found) => {
                    self.check_revocation(party, &found, authority, now_ms)?;
                    return Ok(identity);
                }
                Err(error) => failed = error,
            }
        }
        Err(path(failed))
    }

    fn check_revocation(
        &self,
        party: &PartyId,
        path: &VerifiedPath<'_>,
        anchor: &AuthorityCertificate,
        now_ms: u64,
    ) -> Result<(), TrustError> {
        let mut serial = path.end_entity().serial().to_vec();
        for issuer in path.intermediate_certificates() {
            self.check_serial(party, &serial, issuer.subject_public_key_info().as_ref(), now_ms)?;
            serial = issuer.serial().to_vec();
        }
        self.check_serial(party, &serial, &anchor.public_key, now_ms)
    }

    fn check_serial(
        &self,
        party: &PartyId,
        serial: &[u8],
        issuer: &[u8],
        now_ms: u64,
    ) -> Result<(), TrustError> {
        let Some(list) = self.lists.get(&Self::issuer_id(issuer)) else { return Ok(()) };
        match () {
            () if list.revokes(serial) => Err(TrustError::Revoked { party: party.clone() }),
            () if self.refuses_overdue && now_ms > list.next_update_ms() => {
                Err(TrustError::Overdue { party: party.clone() })
            }
            () => Ok(()),
        }
    }

    /// The partner of an enrolment whose authority may speak for it, and whose certificates hold now.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn partner(&self, enrolment: &Enrolment, now_ms: u64) -> Result<Partner, TrustError> {
        let party = enrolment.request().party();
        if !self.authorities_of(party).contains(&enrolment.authority()) {
            return Err(TrustError::ForeignAuthority { party: party.clone() });
        }
        let partner = enrolment.verify(&enrolment.authority().der, now_ms)?;
        self.check(&enrolment.chain(), End::Server, now_ms)?;
        Ok(partner)
    }
}

#[cfg(test)]
mod tests;
