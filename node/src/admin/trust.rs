//! Renewing the node's own certificate, and whom the node believes: authorities by party, revocation lists, partners.

use sha2::{Digest as _, Sha256};
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::files::write_public;
use windvane_keys::identity::{AuthorityCertificate, TlsKey, certificates_from_pem};
use windvane_keys::record::{KeyRecord, State};
use windvane_keys::revocation::RevocationList;
use windvane_keys::store::KeyStore as _;
use windvane_keys::trust::{Anchor, Trust};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;

use super::{Admin, public_keys};
use crate::error::NodeError;
use crate::identity::Certificate;
use crate::peer::{Ending, endings, until};

/// A list's date may be so far ahead of this clock.
const CLOCK_TOLERANCE_MS: u64 = 5 * 60 * 1_000;

/// What an imported revocation list says.
#[derive(Debug, Clone)]
pub struct ImportedList {
    /// The list.
    pub list: RevocationList,
    /// Whether it was here already.
    pub known: bool,
}

impl Admin {
    /// The certificate that the node shows, and whom it believes.
    ///
    /// # Errors
    /// [`NodeError`]; `NOT_ENROLLED` when the node has none yet.
    pub fn certificate(&self) -> Result<Certificate, NodeError> {
        Certificate::load(&self.config, &self.keys, &self.store)
    }

    /// What ends soon or has ended: own and partners' certificates, authorities, revocation lists.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn endings(&self) -> Result<Vec<Ending>, NodeError> {
        let ends: Vec<_> = self.enrolled()?.iter().map(|enrolled| until(&enrolled.enrolment)).collect();
        let (certificate, warn_days) = (self.certificate()?, self.config.certificates.warn_days);
        Ok(endings(&certificate, &ends, self.clock.now_ms(), warn_days))
    }

    /// A request for the node's next certificate, with a TLS key that is pending until the answer is imported. Called
    /// again, it asks for the same key.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn renewal_request(&self) -> Result<String, NodeError> {
        let now_ms = self.clock.now_ms();
        let before = self.keys.store.records()?.len();
        let tls = TlsKey::next(&self.keys.store, now_ms)?;
        let records = self.keys.store.records()?;
        if records.len() > before {
            let made = records.into_iter().filter(|record| record.id == tls.id());
            self.tell_keys(made)?;
            self.flush()?;
        }
        self.request_with(&tls)
    }

    pub(super) fn request_with(&self, tls: &TlsKey) -> Result<String, NodeError> {
        let (keys, now_ms) = (&self.keys, self.clock.now_ms());
        let tag = Some(&keys.subject_tag);
        Ok(EnrolmentRequest::create(&keys.party, &keys.receipt, &keys.log, tag, tls, now_ms)?.to_pem())
    }

    /// Takes over an enrolment: the node's own, or a partner's. A running node uses it within moments, and no call
    /// fails when every partner has the node's new enrolment before the node itself. A partner's enrolment before it
    /// counts beside it until its certificate ends.
    ///
    /// # Errors
    /// [`NodeError`]; a partner's enrolment needs the node's own first, because by it the node knows its authority.
    pub fn import_enrolment(&self, pem: &str) -> Result<PartyId, NodeError> {
        let enrolment = Enrolment::from_pem(pem)?;
        let party = enrolment.request().party().clone();
        let entry =
            self.entry(Event::Enrolled { keys: public_keys(&enrolment), enrolment: pem.as_bytes().to_vec() });
        if party == self.keys.party {
            self.import_own(pem, &enrolment, &entry)?;
        } else {
            self.import_partner(pem, &enrolment, &entry)?;
        }
        self.flush()?;
        Ok(party)
    }

    fn import_own(&self, pem: &str, enrolment: &Enrolment, entry: &[u8]) -> Result<(), NodeError> {
        let tls = TlsKey::load_for(&self.keys.store, enrolment.request().tls_public_key());
        // The key of a request that was never made here, or of a certificate from before the last renewal.
        let tls = tls.or_else(|_| TlsKey::load(&self.keys.store))?;
        enrolment.check_ours(&self.keys.receipt, &self.keys.log, &tls)?;
        enrolment.verify(&enrolment.authority().der, self.clock.now_ms())?;
        write_public(&self.layout.enrolment(), pem.as_bytes())?;
        self.store.queue_entry(entry)?;
        let changed = tls.activate(&self.keys.store)?;
        self.tell_keys(changed)
    }

    fn import_partner(&self, pem: &str, enrolment: &Enrolment, entry: &[u8]) -> Result<(), NodeError> {
        let now_ms = self.clock.now_ms();
        self.certificate()?.trust.partner(enrolment, now_ms)?;
        let party = enrolment.request().party();
        let enrolled = self.store.how_enrolled(enrolment)?;
        Ok(self.store.put_partner(party.as_str(), pem, enrolled, now_ms, entry)?)
    }

    /// Ends a partner's enrolment: its calls are refused and its connections closed within moments.
    ///
    /// # Errors
    /// [`NodeError`]; `NOT_FOUND` when it is not enrolled.
    pub fn end_partner(&self, party: &PartyId) -> Result<(), NodeError> {
        let entry = self.trust_entry("partner ended", party.to_string(), Vec::new());
        self.store.remove_partner(party.as_str(), &entry)?;
        self.flush()
    }

    /// Binds an authority to the parties that it may speak for. From now on it speaks for nobody else, and these
    /// parties are believed under no authority that is not bound to them.
    ///
    /// # Errors
    /// [`NodeError`]; `AUTHORITY_INVALID` when the text is not one authority's certificate, or no party is named.
    pub fn bind_authority(&self, pem: &str, parties: &[PartyId]) -> Result<Anchor, NodeError> {
        let certificates = certificates_from_pem(pem.as_bytes())?;
        let [certificate] = certificates.as_slice() else {
            return Err(given("AUTHORITY_INVALID", "expected one certificate, the authority's own".into()));
        };
        let certificate = AuthorityCertificate::from_der(certificate)?;
        if parties.is_empty() {
            return Err(given("AUTHORITY_INVALID", "an authority speaks for at least one party".into()));
        }
        let (mut parties, now_ms) = (parties.to_vec(), self.clock.now_ms());
        parties.sort_unstable();
        parties.dedup();
        if now_ms > certificate.not_after_ms {
            return Err(given("AUTHORITY_NOT_VALID", "the authority's certificate has ended".into()));
        }
        let names = parties.iter().map(PartyId::as_str).collect::<Vec<_>>().join(" ");
        let entry = self.trust_entry("authority bound", names.clone(), certificate.der.clone());
        let stored = (certificate.der.clone(), names);
        self.store.put_authority(&Sha256::digest(&certificate.der).into(), &stored, &entry)?;
        self.flush()?;
        Ok(Anchor { certificate, parties })
    }

    /// Releases an authority by the SHA-256 of its certificate: it speaks for nobody any more.
    ///
    /// # Errors
    /// [`NodeError`]; `NOT_FOUND` when none is bound under this digest.
    pub fn release_authority(&self, sha256: &str) -> Result<(), NodeError> {
        let digest = hex::decode(sha256).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let digest = digest
            .ok_or_else(|| given("AUTHORITY_INVALID", "a SHA-256 has 64 hexadecimal digits".to_owned()))?;
        let known = self.store.authorities()?.into_iter().find(|(der, _)| Sha256::digest(der)[..] == digest);
        let (der, parties) = known.unwrap_or_default();
        let entry = self.trust_entry("authority released", parties, der);
        self.store.remove_authority(&digest, &entry)?;
        self.flush()
    }

    /// Takes over a revocation list of an authority that this node knows: one that issued its own or a partner's
    /// certificate, or that is bound to parties.
    ///
    /// # Errors
    /// [`NodeError`]; `REVOCATION_LIST_FOREIGN` when no such authority signed it, `REVOCATION_LIST_OLDER` when a
    /// later one is here.
    pub fn import_revocations(&self, bytes: &[u8]) -> Result<ImportedList, NodeError> {
        let (list, now_ms) = (RevocationList::read(bytes)?, self.clock.now_ms());
        let issuer = self.issuers()?.into_iter().find(|issuer| list.is_signed_by(issuer));
        let issuer = issuer.ok_or_else(|| {
            let text = "no authority that this node knows has signed the list; bind the authority first";
            given("REVOCATION_LIST_FOREIGN", text.to_owned())
        })?;
        if list.this_update_ms() > now_ms.saturating_add(CLOCK_TOLERANCE_MS) {
            let text = "the list's date is in the future; compare the clocks";
            return Err(given("REVOCATION_LIST_EARLY", text.to_owned()));
        }
        let id = Trust::issuer_id(&issuer.public_key);
        let known = self.store.revocation_lists()?.into_iter().find(|(issuer, _)| *issuer == id);
        if let Some((_, known)) = known
            && !list.follows(&RevocationList::from_der(&known)?)?
        {
            return Ok(ImportedList { list, known: true });
        }
        let digest = Sha256::digest(list.der()).to_vec();
        let entry = self.trust_entry("revocation list", list.number(), digest);
        self.store.put_revocation_list(&id, list.der(), now_ms, &entry)?;
        self.flush()?;
        Ok(ImportedList { list, known: false })
    }

    /// Everybody whose lists count here.
    fn issuers(&self) -> Result<Vec<AuthorityCertificate>, NodeError> {
        let trust = self.certificate()?.trust;
        let mut issuers = vec![trust.own().clone()];
        issuers.extend(trust.anchors().iter().map(|anchor| anchor.certificate.clone()));
        let own = super::read_text(&self.layout.enrolment())?;
        let partners = self.store.partners()?.into_iter().chain(self.store.partners_before()?);
        for pem in partners.chain([own]) {
            issuers.extend(Enrolment::from_pem(&pem)?.intermediates()?);
        }
        Ok(issuers)
    }

    /// Tells the log of keys as they stand now.
    fn tell_keys(&self, records: impl IntoIterator<Item = KeyRecord>) -> Result<(), NodeError> {
        for KeyRecord { purpose, public, state, .. } in records {
            let (purpose, state) = (purpose.to_string(), State::as_str(state).to_owned());
            self.store.queue_entry(&self.entry(Event::Key { purpose, public, state }))?;
        }
        Ok(())
    }

    fn trust_entry(&self, action: &str, subject: String, document: Vec<u8>) -> Vec<u8> {
        self.entry(Event::Trust { action: action.to_owned(), subject, document })
    }
}

fn given(code: &'static str, message: String) -> NodeError {
    NodeError::Given { code, message }
}
