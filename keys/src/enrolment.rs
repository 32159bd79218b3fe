//! How a partner's keys come to be trusted: it exports a request, an authority signs, the other side imports.
//!
//! A request is a transcript that its receipt key and its log key both sign, with a PKCS#10 request signed by
//! its TLS key and naming the party: proof that the sender holds all three. The certificate binds the digest
//! of the request, so a connection under that certificate speaks for exactly those receipt and log keys.
//!
//! **Not promised**: that the party is who it says. Whoever signs compares the request's digest with the
//! partner by another way (telephone, letter) first. The subject-tag key comes without a proof; it serves
//! only statements about its owner's own log.

use ed25519_dalek::VerifyingKey;
use rustls_pki_types::CertificateDer;
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::oprf::PublicKey;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Hash, TranscriptError};

use crate::identity::{
    self, AuthorityCertificate, CERTIFICATE, CertificateIdentity, IdentityError, MAX_CHAIN_CERTIFICATES,
    TlsKey,
};
use crate::signing::{LogKey, ReceiptKey};

mod chain;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use chain::ALGORITHMS;
pub use request::EnrolmentRequest;

const REQUEST: &str = "WINDVANE ENROLMENT REQUEST";

/// Why a request or an enrolment is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The text is longer than any request or enrolment.
    #[error("the document has {found} bytes, at most {MAX_DOCUMENT_BYTES} are read")]
    TooLarge {
        /// Its length.
        found: usize,
    },
    /// The text does not hold the PEM blocks that it should.
    #[error("expected the PEM blocks {expected}")]
    Armour {
        /// The blocks, in order.
        expected: &'static str,
    },
    /// The request is not in its encoding.
    #[error("enrolment request: {0}")]
    Encoding(#[from] TranscriptError),
    /// A public key is not a usable point.
    #[error("the request's item {label} is not a usable public key")]
    PublicKey {
        /// The item.
        label: &'static str,
    },
    /// Receipt key and log key are the same.
    #[error("receipt key and log key must differ")]
    SameKey,
    /// The sender did not prove that it holds the receipt key.
    #[error("the request's signature under its receipt key does not verify")]
    ReceiptSignature,
    /// The sender did not prove that it holds the log key.
    #[error("the request's signature under its log key does not verify")]
    LogSignature,
    /// The PKCS#10 request is malformed, not for an ECDSA P-256 key, or not for this party's URI.
    #[error("the certificate request is not a PKCS#10 request for an ECDSA P-256 key and this party's URI")]
    CertificateRequest,
    /// The sender did not prove that it holds the TLS key.
    #[error("the certificate request's own signature does not verify")]
    CertificateRequestSignature,
    /// A certificate does not say what it must.
    #[error("enrolment: {0}")]
    Certificate(#[from] IdentityError),
    /// The certificate names another party.
    #[error("the certificate is for {found}, the request for {expected}")]
    Party {
        /// The certificate's party.
        found: PartyId,
        /// The request's party.
        expected: PartyId,
    },
    /// The certificate binds other receipt and log keys.
    #[error("the certificate binds another request than the one beside it")]
    KeysDigest,
    /// The certificate is for another TLS key.
    #[error("the certificate is for another TLS key than the request's")]
    TlsKey,
    /// The certificates do not lead to the authority beside them, each signed by the next.
    #[error("the certificates do not lead to the authority beside them: each must be signed by the next one")]
    Chain,
    /// The authority is not the one that is trusted.
    #[error("the enrolment is of another authority than the trusted one")]
    ForeignAuthority,
    /// The authority's certificate is not valid now.
    #[error(
        "the authority's certificate is valid from {not_before_ms} to {not_after_ms} ms after 1970, now is {found}"
    )]
    AuthorityNotValid {
        /// First instant of validity.
        not_before_ms: u64,
        /// Last instant of validity.
        not_after_ms: u64,
        /// Now.
        found: u64,
    },
    /// The party's certificate has expired.
    #[error(
        "the certificate of {party} expired at {not_after_ms} ms after 1970, now is {found}; it needs a new enrolment"
    )]
    Expired {
        /// Whose it is.
        party: PartyId,
        /// Last instant of validity.
        not_after_ms: u64,
        /// Now.
        found: u64,
    },
    /// The party's certificate is not valid yet.
    #[error(
        "the certificate of {party} begins at {not_before_ms} ms after 1970, now is {found}; compare the clocks"
    )]
    NotYetValid {
        /// Whose it is.
        party: PartyId,
        /// First instant of validity.
        not_before_ms: u64,
        /// Now.
        found: u64,
    },
    /// The certificate must serve as client and as server.
    #[error("the certificate does not verify as a TLS client's and server's: {0}")]
    Usage(webpki::Error),
    /// The enrolment is for other keys than this node's.
    #[error("the enrolment is not for this node's {which} key; export a new request and have it signed")]
    NotOurs {
        /// Which key differs.
        which: &'static str,
    },
}

impl EnrolmentError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "ENROLMENT_TOO_LARGE",
            Self::Armour { .. } => "ENROLMENT_ARMOUR",
            Self::Encoding(_) => "ENROLMENT_ENCODING",
            Self::PublicKey { .. } => "ENROLMENT_PUBLIC_KEY",
            Self::SameKey => "ENROLMENT_SAME_KEY",
            Self::ReceiptSignature => "ENROLMENT_RECEIPT_SIGNATURE",
            Self::LogSignature => "ENROLMENT_LOG_SIGNATURE",
            Self::CertificateRequest => "ENROLMENT_CERTIFICATE_REQUEST",
            Self::CertificateRequestSignature => "ENROLMENT_CERTIFICATE_REQUEST_SIGNATURE",
            Self::Certificate(error) => error.code(),
            Self::Party { .. } => "ENROLMENT_PARTY",
            Self::KeysDigest => "ENROLMENT_KEYS_DIGEST",
            Self::TlsKey => "ENROLMENT_TLS_KEY",
            Self::Chain => "ENROLMENT_CHAIN",
            Self::ForeignAuthority => "FOREIGN_AUTHORITY",
            Self::AuthorityNotValid { .. } => "AUTHORITY_NOT_VALID",
            Self::Expired { .. } => "CERTIFICATE_EXPIRED",
            Self::NotYetValid { .. } => "CERTIFICATE_NOT_YET_VALID",
            Self::Usage(_) => "CERTIFICATE_USAGE",
            Self::NotOurs { .. } => "ENROLMENT_NOT_OURS",
        }
    }
}

/// A request's PEM block and `certificates` blocks of certificates after it, without headers.
fn blocks(
    text: &str,
    certificates: std::ops::RangeInclusive<usize>,
    expected: &'static str,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), EnrolmentError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(EnrolmentError::TooLarge { found: text.len() });
    }
    let armour = || EnrolmentError::Armour { expected };
    let mut blocks = pem::parse_many(text).map_err(|_| armour())?.into_iter();
    let plain = |block: &pem::Pem| block.headers().iter().next().is_none();
    let request = blocks.next().filter(|block| plain(block) && block.tag() == REQUEST).ok_or_else(armour)?;
    let rest: Vec<_> = blocks.collect();
    let fits = rest.iter().all(|block| plain(block) && block.tag() == CERTIFICATE);
    if !fits || !certificates.contains(&rest.len()) {
        return Err(armour());
    }
    Ok((request.into_contents(), rest.into_iter().map(pem::Pem::into_contents).collect()))
}

/// A signed request: request, certificates and authority, which agree with each other. Whether the authority is
/// to be trusted, and the time, is [`Self::verify`]'s question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    request: EnrolmentRequest,
    /// The party's certificate, and then those of intermediate authorities, each signed by the next.
    chain: Vec<Vec<u8>>,
    certificate: CertificateIdentity,
    authority: AuthorityCertificate,
}

impl Enrolment {
    /// Joins a request and the certificate that an authority issued for it.
    ///
    /// # Errors
    /// [`EnrolmentError`] when party, bound keys, TLS key or the authority's signature do not agree.
    pub fn new(
        request: EnrolmentRequest,
        certificate_der: Vec<u8>,
        authority_der: &[u8],
    ) -> Result<Self, EnrolmentError> {
        Self::with_chain(request, vec![certificate_der], authority_der)
    }

    /// Joins a request, the certificate that was issued for it with those of intermediate authorities, and the
    /// authority that they lead to.
    ///
    /// # Errors
    /// As [`Self::new`]; [`IdentityError::Chain`] for none or too many.
    pub fn with_chain(
        request: EnrolmentRequest,
        chain: Vec<Vec<u8>>,
        authority_der: &[u8],
    ) -> Result<Self, EnrolmentError> {
        let first = chain.first().filter(|_| chain.len() <= MAX_CHAIN_CERTIFICATES);
        let certificate = CertificateIdentity::from_der(first.ok_or(IdentityError::Chain)?)?;
        let authority = AuthorityCertificate::from_der(authority_der)?;
        let enrolment = Self { request, chain, certificate, authority };
        enrolment.check_agreement()?;
        Ok(enrolment)
    }

    fn check_agreement(&self) -> Result<(), EnrolmentError> {
        let (request, certificate) = (&self.request, &self.certificate);
        if certificate.party != *request.party() {
            return Err(EnrolmentError::Party {
                found: certificate.party.clone(),
                expected: request.party().clone(),
            });
        }
        match () {
            () if certificate.keys_digest != request.digest() => Err(EnrolmentError::KeysDigest),
            () if certificate.public_key != request.tls_public_key() => Err(EnrolmentError::TlsKey),
            () => chain::check_signatures(&self.chain, &self.authority),
        }
    }

    /// Reads an enrolment: the request, then the party's certificate and those of intermediates, then the
    /// authority's.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn from_pem(text: &str) -> Result<Self, EnrolmentError> {
        let expected = "WINDVANE ENROLMENT REQUEST, CERTIFICATE (the party's, then up to 3 intermediates'), \
             CERTIFICATE (the authority's)";
        let (request, mut chain) = blocks(text, 2..=MAX_CHAIN_CERTIFICATES + 1, expected)?;
        let authority = chain.pop().ok_or(EnrolmentError::Armour { expected })?;
        Self::with_chain(EnrolmentRequest::from_document(request)?, chain, &authority)
    }

    /// The enrolment as text, to send.
    pub fn to_pem(&self) -> String {
        let certificates = self.chain.iter().chain([&self.authority.der]);
        let certificates = certificates.map(|der| identity::certificate_to_pem(der));
        self.request.to_pem() + &certificates.collect::<String>()
    }

    /// The request that was signed.
    pub const fn request(&self) -> &EnrolmentRequest {
        &self.request
    }

    /// What the party's certificate says.
    pub const fn certificate(&self) -> &CertificateIdentity {
        &self.certificate
    }

    /// The party's certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The certificates that the party shows in TLS: its own, and those of intermediate authorities.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect()
    }

    /// The intermediate authorities.
    ///
    /// # Errors
    /// None at present; they were read when the enrolment was.
    pub fn intermediates(&self) -> Result<Vec<AuthorityCertificate>, IdentityError> {
        self.chain[1..].iter().map(|der| AuthorityCertificate::from_der(der)).collect()
    }

    /// The party's certificate as PEM: the node's chain file.
    pub fn certificate_pem(&self) -> String {
        identity::certificate_to_pem(&self.chain[0])
    }

    /// The certificate of the authority that signed.
    pub const fn authority(&self) -> &AuthorityCertificate {
        &self.authority
    }

    /// Checks that this is the node's own enrolment, before its certificate is installed.
    ///
    /// # Errors
    /// [`EnrolmentError::NotOurs`].
    pub fn check_ours(&self, receipt: &ReceiptKey, log: &LogKey, tls: &TlsKey) -> Result<(), EnrolmentError> {
        match () {
            () if *self.request.receipt_key() != receipt.verifying_key() => not_ours("receipt"),
            () if *self.request.log_key() != log.verifying_key() => not_ours("log"),
            () if self.request.tls_public_key() != tls.public_key() => not_ours("TLS"),
            () => Ok(()),
        }
    }

    /// Accepts a partner whose authority is the trusted one and whose certificate is valid now.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn verify(&self, trusted_authority_der: &[u8], now_ms: u64) -> Result<Partner, EnrolmentError> {
        if self.authority.der != trusted_authority_der {
            return Err(EnrolmentError::ForeignAuthority);
        }
        chain::check_validity(&self.certificate, &self.authority, now_ms)?;
        chain::check_usage(&self.chain(), &self.authority.der, now_ms)?;
        Ok(Partner {
            party: self.request.party().clone(),
            receipt_key: *self.request.receipt_key(),
            log_key: *self.request.log_key(),
            subject_tag_key: self.request.subject_tag_key().cloned(),
            keys_digest: self.certificate.keys_digest,
            certificate_fingerprint_sha256: self.certificate.fingerprint_sha256,
            authority_der: self.authority.der.clone(),
            valid_until_ms: self.certificate.not_after_ms,
        })
    }
}

fn not_ours(which: &'static str) -> Result<(), EnrolmentError> {
    Err(EnrolmentError::NotOurs { which })
}

/// A partner whose enrolment was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// The party.
    pub party: PartyId,
    /// Verifies its receipts and grants.
    pub receipt_key: VerifyingKey,
    /// Verifies its log's checkpoints; the origin is [`crate::signing::log_origin`].
    pub log_key: VerifyingKey,
    /// Its public subject-tag key, when it is a bank.
    pub subject_tag_key: Option<PublicKey>,
    /// The digest that its TLS certificate must bind: compare on every connection with
    /// [`CertificateIdentity::keys_digest`].
    pub keys_digest: Hash,
    /// SHA-256 over the certificate's DER.
    pub certificate_fingerprint_sha256: [u8; 32],
    /// The authority that its TLS certificate must chain to, DER.
    pub authority_der: Vec<u8>,
    /// Last instant of the certificate's validity, in milliseconds since the Unix epoch.
    pub valid_until_ms: u64,
}
