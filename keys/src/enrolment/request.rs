//! A party's request: its public keys, signed by all of them.

use ed25519_dalek::VerifyingKey;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::oprf::{PrivateKey, PublicKey};
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{
    Hash, Reader, SignatureBytes, Transcript, TranscriptError, digest, sign, verify,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::{EnrolmentError, REQUEST, blocks};
use crate::identity::{self, IdentityError, TlsKey};
use crate::signing::{LogKey, ReceiptKey};

pub(super) const DOMAIN: &str = "windvane/enrolment-request/v1";

/// Both signatures follow the encoding.
const SIGNATURES_BYTES: usize = 128;

/// A party's request to be enrolled. Whoever holds this type holds verified signatures of all three keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRequest {
    party: PartyId,
    receipt_key: VerifyingKey,
    log_key: VerifyingKey,
    subject_tag_key: Option<PublicKey>,
    certificate_request: Vec<u8>,
    tls_public_key: Vec<u8>,
    created_at_ms: u64,
    /// Encoding and signatures, as they travel.
    pub(super) document: Vec<u8>,
}

impl EnrolmentRequest {
    /// Makes and signs a node's request. The TLS key's signature is randomised, so every request has another
    /// digest: export once, and compare the digest of that export.
    ///
    /// # Errors
    /// [`EnrolmentError`] when the certificate library refuses, or the keys do not differ.
    pub fn create(
        party: &PartyId,
        receipt: &ReceiptKey,
        log: &LogKey,
        subject_tag: Option<&PrivateKey>,
        tls: &TlsKey,
        now_ms: u64,
    ) -> Result<Self, EnrolmentError> {
        let encoding = Transcript::new(DOMAIN)
            .text("party", party.as_str())
            .bytes("receipt_key", receipt.verifying_key().as_bytes())
            .bytes("log_key", log.verifying_key().as_bytes())
            .bytes(
                "subject_tag_key",
                subject_tag.map(|key| key.public().as_bytes().as_slice()).unwrap_or_default(),
            )
            .bytes("certificate_request", &certificate_request(party, tls)?)
            .u64("created_at_ms", now_ms)
            .into_bytes();
        let signatures = [sign(receipt.signing_key(), &encoding), sign(log.signing_key(), &encoding)];
        Self::from_document([encoding.as_slice(), signatures.as_flattened()].concat())
    }

    /// Reads a request, and checks its three proofs of possession.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn from_pem(text: &str) -> Result<Self, EnrolmentError> {
        let (document, _) = blocks(text, 0..=0, REQUEST)?;
        Self::from_document(document)
    }

    pub(super) fn from_document(document: Vec<u8>) -> Result<Self, EnrolmentError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(EnrolmentError::TooLarge { found: document.len() });
        }
        let mut reader = Reader::new(encoding_of(&document), DOMAIN)?;
        let party = reader.parse("party")?;
        let receipt_key = verifying_key(&mut reader, "receipt_key")?;
        let log_key = verifying_key(&mut reader, "log_key")?;
        let subject_tag_key = subject_tag_key(reader.bytes("subject_tag_key")?)?;
        let certificate_request = reader.bytes("certificate_request")?.to_vec();
        let tls_public_key = requested_key(&certificate_request, &party)?;
        let created_at_ms = reader.u64("created_at_ms")?;
        reader.finish()?;
        check_signatures(&document, &receipt_key, &log_key)?;
        Ok(Self {
            party,
            receipt_key,
            log_key,
            subject_tag_key,
            certificate_request,
            tls_public_key,
            created_at_ms,
            document,
        })
    }

    /// The request as text, to send.
    pub fn to_pem(&self) -> String {
        identity::to_pem(REQUEST, &self.document)
    }

    /// The digest that the certificate binds, and that people compare.
    pub fn digest(&self) -> Hash {
        digest(encoding_of(&self.document))
    }

    /// The party.
    pub const fn party(&self) -> &PartyId {
        &self.party
    }

    /// The key that verifies receipts and grants.
    pub const fn receipt_key(&self) -> &VerifyingKey {
        &self.receipt_key
    }

    /// The key that verifies the log's checkpoints; its origin is [`crate::signing::log_origin`].
    pub const fn log_key(&self) -> &VerifyingKey {
        &self.log_key
    }

    /// The public subject-tag key, when the party is a bank.
    pub const fn subject_tag_key(&self) -> Option<&PublicKey> {
        self.subject_tag_key.as_ref()
    }

    /// The PKCS#10 request as PEM, for an authority that does not know enrolment requests.
    pub fn certificate_request_pem(&self) -> String {
        identity::to_pem("CERTIFICATE REQUEST", &self.certificate_request)
    }

    /// `SubjectPublicKeyInfo` of the TLS key, DER.
    pub fn tls_public_key(&self) -> &[u8] {
        &self.tls_public_key
    }

    /// When the request was made, in milliseconds since the Unix epoch, by the sender's clock.
    pub const fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }
}

fn encoding_of(document: &[u8]) -> &[u8] {
    &document[..document.len().saturating_sub(SIGNATURES_BYTES)]
}

fn check_signatures(
    document: &[u8],
    receipt_key: &VerifyingKey,
    log_key: &VerifyingKey,
) -> Result<(), EnrolmentError> {
    let encoding = encoding_of(document);
    let (signatures, _) = document[encoding.len()..].as_chunks::<64>();
    let [receipt, log]: [SignatureBytes; 2] =
        signatures.try_into().map_err(|_| TranscriptError::Truncated { label: "signatures" })?;
    match () {
        () if receipt_key == log_key => Err(EnrolmentError::SameKey),
        () if !verify(receipt_key, encoding, &receipt) => Err(EnrolmentError::ReceiptSignature),
        () if !verify(log_key, encoding, &log) => Err(EnrolmentError::LogSignature),
        () => Ok(()),
    }
}

fn verifying_key(reader: &mut Reader<'_>, label: &'static str) -> Result<VerifyingKey, EnrolmentError> {
    let key = VerifyingKey::from_bytes(&reader.array(label)?).ok().filter(|key| !key.is_weak());
    key.ok_or(EnrolmentError::PublicKey { label })
}

fn subject_tag_key(item: &[u8]) -> Result<Option<PublicKey>, EnrolmentError> {
    if item.is_empty() {
        return Ok(None);
    }
    let key = item.try_into().ok().and_then(|bytes| PublicKey::from_bytes(bytes).ok());
    key.map(Some).ok_or(EnrolmentError::PublicKey { label: "subject_tag_key" })
}

/// The PKCS#10 request; it asks for the party's URI, so that nobody can put it into another's request.
pub(super) fn certificate_request(party: &PartyId, tls: &TlsKey) -> Result<Vec<u8>, EnrolmentError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, party.as_str());
    let uri = party.to_uri().try_into().map_err(IdentityError::Key)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let request = params.serialize_request(&tls.pair()?).map_err(IdentityError::Key)?;
    Ok(request.der().to_vec())
}

/// The key of a PKCS#10 request that asks for this party's URI and whose own signature verifies. Nothing else
/// that it asks for counts.
fn requested_key(der: &[u8], party: &PartyId) -> Result<Vec<u8>, EnrolmentError> {
    let malformed = || EnrolmentError::CertificateRequest;
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| malformed())?;
    let key = request.certification_request_info.subject_pki.raw;
    let info = rcgen::SubjectPublicKeyInfo::from_der(key).map_err(|_| malformed())?;
    if !rest.is_empty() || *info.algorithm() != PKCS_ECDSA_P256_SHA256 || !asks_for(&request, party) {
        return Err(malformed());
    }
    request.verify_signature().map_err(|_| EnrolmentError::CertificateRequestSignature)?;
    Ok(key.to_vec())
}

fn asks_for(request: &X509CertificationRequest<'_>, party: &PartyId) -> bool {
    let names = request.requested_extensions().into_iter().flatten().find_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(names.general_names.as_slice()),
        _ => None,
    });
    matches!(names, Some([GeneralName::URI(uri)]) if *uri == party.to_uri())
}
