//! Who a certificate speaks for: the node's TLS key, and what a party's certificate must say.
//!
//! A party's certificate names it in exactly one subject alternative name, the URI `windvane://party/<id>`,
//! and binds its other keys by the digest of its enrolment request in [`KEYS_EXTENSION`]. Everything else is
//! refused. Chains and times are not judged here: see [`crate::enrolment`] for partners and TLS for calls.

use std::fmt;
use std::path::Path;

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::party::{PartyId, PartyIdError};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::Hash;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use crate::files::{self, FileError};
use crate::record::{KeyId, KeyRecord, Purpose, State};
use crate::store::{KeyStore, StoreError};

/// The non-critical certificate extension that binds a party's other keys: a DER `OCTET STRING` of the
/// SHA-512 digest of its enrolment request.
///
/// It stands under 2.25, the arc of UUIDs (ITU-T X.667). Certificate libraries hold an arc in 64 bits, so it
/// is the lower half of the random UUID `fe37d1bc-1fb9-49c9-8697-057b1998ad78`.
pub const KEYS_EXTENSION: [u64; 3] = [2, 25, 0x8697_057b_1998_ad78];

/// Most certificates in a chain: a leaf, and an organisation's own intermediates.
pub const MAX_CHAIN_CERTIFICATES: usize = 4;

/// The DER tag and length of an `OCTET STRING` of 64 bytes.
const OCTET_STRING_64: [u8; 2] = [0x04, 0x40];

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";

/// Why a certificate or TLS key is not what it must be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not one X.509 version 3 certificate, or an extension stands there twice.
    #[error("not a well-formed X.509 version 3 certificate")]
    Der,
    /// A certificate authority's certificate where a party's is expected.
    #[error("the certificate is a certificate authority's, expected a party's")]
    IsAuthority,
    /// A certificate that may not issue others where an authority's is expected.
    #[error("the certificate may not issue others, expected a certificate authority's")]
    NotAuthority,
    /// The subject alternative names are not exactly one URI.
    #[error("the certificate must have exactly one alternative name, a URI; found {found} names")]
    Names {
        /// How many names there are.
        found: usize,
    },
    /// The URI is not a party's.
    #[error("the certificate's URI: {0}")]
    Party(#[from] PartyIdError),
    /// The extension that binds the party's keys is missing or not 64 bytes.
    #[error("the certificate does not bind the party's keys: extension 2.25.{} of 64 bytes expected", KEYS_EXTENSION[2])]
    KeysExtension,
    /// The certificate belongs to another private key.
    #[error("the certificate is not for this node's TLS key; import the enrolment that was signed for it")]
    OtherKey,
    /// The text is not one to [`MAX_CHAIN_CERTIFICATES`] PEM certificates.
    #[error("expected 1 to {MAX_CHAIN_CERTIFICATES} PEM certificates")]
    Chain,
    /// The TLS key was refused by the cryptographic library.
    #[error("the TLS key is not ECDSA P-256: {0}")]
    Key(rcgen::Error),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdentityError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Der => "CERTIFICATE_MALFORMED",
            Self::IsAuthority => "CERTIFICATE_IS_AUTHORITY",
            Self::NotAuthority => "CERTIFICATE_NOT_AUTHORITY",
            Self::Names { .. } => "CERTIFICATE_NAMES",
            Self::Party(_) => "CERTIFICATE_PARTY",
            Self::KeysExtension => "CERTIFICATE_KEYS_EXTENSION",
            Self::OtherKey => "CERTIFICATE_OTHER_KEY",
            Self::Chain => "CERTIFICATE_CHAIN_FILE",
            Self::Key(_) => "TLS_KEY",
            Self::File(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// What a party's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The party.
    pub party: PartyId,
    /// The digest of the enrolment request, which binds the party's receipt and log keys.
    pub keys_digest: Hash,
    /// SHA-256 over the certificate's DER.
    pub fingerprint_sha256: [u8; 32],
    /// `SubjectPublicKeyInfo` of the TLS key, DER.
    pub public_key: Vec<u8>,
    /// The serial number, as the bytes of its DER `INTEGER`.
    pub serial: Vec<u8>,
    /// First instant of validity, in milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// Last instant of validity, in milliseconds since the Unix epoch.
    pub not_after_ms: u64,
}

impl CertificateIdentity {
    /// Reads a party's certificate.
    ///
    /// # Errors
    /// [`IdentityError`] when it says less or more than a party's certificate should.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let certificate = parse(der)?;
        if certificate.is_ca() {
            return Err(IdentityError::IsAuthority);
        }
        Ok(Self {
            party: party_of(&certificate)?,
            keys_digest: keys_digest_of(&certificate)?,
            fingerprint_sha256: Sha256::digest(der).into(),
            public_key: certificate.public_key().raw.to_vec(),
            serial: certificate.raw_serial().to_vec(),
            not_before_ms: millis(certificate.validity().not_before)?,
            not_after_ms: millis(certificate.validity().not_after)?,
        })
    }
}

/// What a certificate authority's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Its subject, the DER of the name.
    pub subject: Vec<u8>,
    /// Whether it may sign revocation lists.
    pub may_revoke: bool,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// First instant of validity, in milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// Last instant of validity, in milliseconds since the Unix epoch.
    pub not_after_ms: u64,
}

impl AuthorityCertificate {
    /// Reads an authority's certificate: basic constraints and key usage must allow it to issue.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let certificate = parse(der)?;
        let usage = certificate.key_usage().map_err(|_| IdentityError::Der)?;
        let usage = usage.map(|usage| usage.value);
        if !certificate.is_ca() || !usage.is_some_and(|usage| usage.key_cert_sign()) {
            return Err(IdentityError::NotAuthority);
        }
        Ok(Self {
            der: der.to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
            may_revoke: usage.is_some_and(|usage| usage.crl_sign()),
            public_key: certificate.public_key().raw.to_vec(),
            not_before_ms: millis(certificate.validity().not_before)?,
            not_after_ms: millis(certificate.validity().not_after)?,
        })
    }
}

/// Reads one certificate and nothing after it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| IdentityError::Der)?;
    let unique = certificate.extensions_map().is_ok();
    if rest.is_empty() && unique && certificate.version() == X509Version::V3 {
        Ok(certificate)
    } else {
        Err(IdentityError::Der)
    }
}

fn party_of(certificate: &X509Certificate<'_>) -> Result<PartyId, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Der)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    match names {
        [GeneralName::URI(uri)] => Ok(PartyId::from_uri(uri)?),
        _ => Err(IdentityError::Names { found: names.len() }),
    }
}

fn keys_digest_of(certificate: &X509Certificate<'_>) -> Result<Hash, IdentityError> {
    let oid = Oid::from(&KEYS_EXTENSION).expect("the constant is a valid object identifier");
    let extension = certificate.get_extension_unique(&oid).map_err(|_| IdentityError::Der)?;
    let value = extension.ok_or(IdentityError::KeysExtension)?.value;
    let digest = value.strip_prefix(&OCTET_STRING_64).ok_or(IdentityError::KeysExtension)?;
    digest.try_into().map_err(|_| IdentityError::KeysExtension)
}

/// The value of [`KEYS_EXTENSION`] for a digest.
pub(crate) fn keys_extension_value(digest: &Hash) -> Vec<u8> {
    [OCTET_STRING_64.as_slice(), digest].concat()
}

pub(crate) fn millis(time: ASN1Time) -> Result<u64, IdentityError> {
    let seconds = u64::try_from(time.timestamp()).map_err(|_| IdentityError::Der)?;
    seconds.checked_mul(1_000).ok_or(IdentityError::Der)
}

/// The node's TLS key, ECDSA P-256.
#[derive(Clone)]
pub struct TlsKey {
    id: KeyId,
    pkcs8: Secret<Vec<u8>>,
    public_key: Vec<u8>,
}

impl TlsKey {
    /// Generates the key into the store, with the operating system's randomness.
    ///
    /// # Errors
    /// [`StoreError::AlreadyActive`], or when the store cannot be written.
    pub fn generate(store: &(impl KeyStore + ?Sized), now_ms: u64) -> Result<Self, IdentityError> {
        Self::insert(store, |public| KeyRecord::with_public(Purpose::Tls, public, now_ms))
    }

    /// The key that is to follow the active one: the pending one, generated where there is none.
    ///
    /// # Errors
    /// As [`Self::generate`] and [`Self::load`].
    pub fn next(store: &(impl KeyStore + ?Sized), now_ms: u64) -> Result<Self, IdentityError> {
        let known = store.find(&Purpose::Tls)?;
        match known.into_iter().find(|record| record.state == State::Pending) {
            Some(record) => Self::open(&record, &store.secret(&record.id)?),
            None => {
                Self::insert(store, |public| KeyRecord::with_public(Purpose::Tls, public, now_ms).pending())
            }
        }
    }

    fn insert(
        store: &(impl KeyStore + ?Sized),
        record: impl FnOnce(Vec<u8>) -> KeyRecord,
    ) -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
        let (pkcs8, public_key) = (Secret::new(pair.serialize_der()), pair.subject_public_key_info());
        let record = record(public_key.clone());
        store.insert(&record, &pkcs8)?;
        Ok(Self { id: record.id, pkcs8, public_key })
    }

    /// Loads the active key.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`IdentityError::Key`], or when the store cannot be read.
    pub fn load(store: &(impl KeyStore + ?Sized)) -> Result<Self, IdentityError> {
        let (record, pkcs8) = store.active(&Purpose::Tls)?;
        Self::open(&record, &pkcs8)
    }

    /// Loads the key that a certificate is for, whether it is in use already or not.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`] when the store has no such key, or it was destroyed; otherwise as
    /// [`Self::load`].
    pub fn load_for(store: &(impl KeyStore + ?Sized), public_key: &[u8]) -> Result<Self, IdentityError> {
        let fits = |record: &KeyRecord| record.public == public_key && record.state != State::Destroyed;
        let record = store.find(&Purpose::Tls)?.into_iter().find(fits).ok_or(IdentityError::OtherKey)?;
        let pkcs8 = store.secret(&record.id)?;
        Self::open(&record, &pkcs8)
    }

    /// Takes the key into use and destroys the one before it; gives the records of both that changed. What was
    /// taken up under the old key goes on: TLS 1.3 needs it for the handshake alone.
    ///
    /// # Errors
    /// [`StoreError`], when the store cannot be written; call it again then.
    pub fn activate(&self, store: &(impl KeyStore + ?Sized)) -> Result<Vec<KeyRecord>, IdentityError> {
        let mut changed = Vec::new();
        let mut known = store.find(&Purpose::Tls)?;
        // The old one first: of a purpose there is one active key. Who comes in between finds the new one by its
        // certificate.
        known.sort_by_key(|record| record.id == self.id);
        for mut record in known {
            let to = if record.id == self.id { State::Active } else { State::Destroyed };
            // A pending one that is for a later certificate stays.
            let ends = to == State::Active || matches!(record.state, State::Active | State::Retiring);
            if ends && record.state != to {
                store.advance(&record.id, to)?;
                record.state = to;
                changed.push(record);
            }
        }
        Ok(changed)
    }

    fn open(record: &KeyRecord, pkcs8: &Secret<Vec<u8>>) -> Result<Self, IdentityError> {
        let public_key = key_pair(pkcs8)?.subject_public_key_info();
        if public_key != record.public {
            let expected = "the secret of its public key";
            return Err(StoreError::Form { purpose: Purpose::Tls, expected }.into());
        }
        Ok(Self { id: record.id, pkcs8: pkcs8.clone(), public_key })
    }

    /// The key's identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// `SubjectPublicKeyInfo`, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The private key for rustls.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.expose().clone()).into()
    }

    pub(crate) fn pair(&self) -> Result<KeyPair, IdentityError> {
        key_pair(&self.pkcs8)
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKey").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(crate) fn key_pair(pkcs8: &Secret<Vec<u8>>) -> Result<KeyPair, IdentityError> {
    let der = PrivatePkcs8KeyDer::from(pkcs8.expose().as_slice());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)
}

/// What the node shows in TLS: its key and the certificates for it, which belong together.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    key: TlsKey,
    chain: Vec<CertificateDer<'static>>,
    certificate: CertificateIdentity,
}

impl TlsIdentity {
    /// Joins a key and its chain, the node's certificate first.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`] when the certificate is for another key, or what is wrong with it.
    pub fn new(key: TlsKey, chain: Vec<CertificateDer<'static>>) -> Result<Self, IdentityError> {
        let certificate = CertificateIdentity::from_der(chain.first().ok_or(IdentityError::Chain)?)?;
        if certificate.public_key == key.public_key {
            Ok(Self { key, chain, certificate })
        } else {
            Err(IdentityError::OtherKey)
        }
    }

    /// Loads the active key and its chain file.
    ///
    /// # Errors
    /// As [`Self::new`], or when store or file cannot be read.
    pub fn load(store: &(impl KeyStore + ?Sized), chain: &Path) -> Result<Self, IdentityError> {
        Self::new(TlsKey::load(store)?, read_certificates(chain)?)
    }

    /// The key.
    pub const fn key(&self) -> &TlsKey {
        &self.key
    }

    /// The certificates to send, the node's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What the node's certificate says.
    pub const fn certificate(&self) -> &CertificateIdentity {
        &self.certificate
    }
}

/// Reads a file of 1 to [`MAX_CHAIN_CERTIFICATES`] PEM certificates.
///
/// # Errors
/// [`IdentityError::Chain`] or [`IdentityError::File`].
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    certificates_from_pem(&files::read_public(path, MAX_DOCUMENT_BYTES)?)
}

/// Reads 1 to [`MAX_CHAIN_CERTIFICATES`] PEM certificates.
///
/// # Errors
/// [`IdentityError::Chain`].
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(IdentityError::Chain);
    }
    let blocks = pem::parse_many(text).map_err(|_| IdentityError::Chain)?;
    let known = blocks.iter().all(|block| block.tag() == CERTIFICATE);
    if known && (1..=MAX_CHAIN_CERTIFICATES).contains(&blocks.len()) {
        Ok(blocks.into_iter().map(|block| block.into_contents().into()).collect())
    } else {
        Err(IdentityError::Chain)
    }
}

/// One PEM block, lines ending in a line feed.
pub(crate) fn to_pem(tag: &str, contents: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, contents), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// A certificate as PEM.
pub fn certificate_to_pem(der: &[u8]) -> String {
    to_pem(CERTIFICATE, der)
}

#[cfg(test)]
mod tests;
