//! A certificate authority for a trial: one ECDSA P-256 key in a key store, one level deep.
//!
//! It signs what an [`EnrolmentRequest`] proves, nothing that the request's certificate request asks for
//! besides. Organisations with an authority of their own use that, with the same extension. What it revoked is told
//! by lists, each of which repeats all that stood in the one before it.

use std::fmt;
use std::time::Duration;

use rand::CryptoRng;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, RevokedCertParams, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use windvane_protocols::party::PartyId;
use windvane_protocols::secret::Secret;

use crate::enrolment::{Enrolment, EnrolmentError, EnrolmentRequest};
use crate::identity::{
    AuthorityCertificate, IdentityError, KEYS_EXTENSION, certificate_to_pem, key_pair, keys_extension_value,
};
use crate::record::{KeyRecord, Purpose};
use crate::revocation::{RevocationError, RevocationList, next_number, plain};
use crate::store::{KeyStore, StoreError};

/// Longest validity of any certificate, in days: ten years.
pub const MAX_VALIDITY_DAYS: u32 = 3_650;

/// Longest name of an authority; X.520 limits a common name to 64 characters.
pub const MAX_NAME_CHARACTERS: usize = 64;

/// Certificates begin five minutes early, for clocks that differ.
const BACKDATED_MS: u64 = 5 * 60 * 1_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The end of the year 9000; X.509 times end in 9999.
const MAX_TIME_MS: u64 = 221_876_927_999_000;

/// Why an authority cannot be made, opened or asked to sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The name is empty, too long, or has control characters.
    #[error("an authority's name has 1 to {MAX_NAME_CHARACTERS} printable characters")]
    Name,
    /// The validity is zero or too long.
    #[error("a certificate is valid for 1 to {MAX_VALIDITY_DAYS} days, found {found}")]
    Days {
        /// What was asked for.
        found: u32,
    },
    /// The clock shows a time that certificates cannot hold.
    #[error("the time {found} ms after 1970 is beyond what certificates hold")]
    Time {
        /// The time.
        found: u64,
    },
    /// The authority's own certificate is not valid now.
    #[error(
        "the authority's certificate is valid from {not_before_ms} to {not_after_ms} ms after 1970, now is {found}; make a new authority"
    )]
    NotValidNow {
        /// First instant of validity.
        not_before_ms: u64,
        /// Last instant of validity.
        not_after_ms: u64,
        /// Now.
        found: u64,
    },
    /// The authority's certificate or key is not what it must be.
    #[error("authority: {0}")]
    Identity(#[from] IdentityError),
    /// The key store.
    #[error("authority: {0}")]
    Store(#[from] StoreError),
    /// The certificate library refused.
    #[error("the certificate cannot be signed: {0}")]
    Signing(#[from] rcgen::Error),
    /// The list that is to be followed is another authority's.
    #[error("the revocation list that is to be followed is another authority's")]
    ForeignList,
    /// A certificate that is to be revoked is another authority's.
    #[error("the certificate of {party} is another authority's, which must revoke it")]
    ForeignCertificate {
        /// Whose certificate it is.
        party: PartyId,
    },
    /// The revocation list is not what it must be.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// What was signed does not hold together.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
}

impl AuthorityError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name => "AUTHORITY_NAME",
            Self::Days { .. } => "AUTHORITY_DAYS",
            Self::Time { .. } => "AUTHORITY_TIME",
            Self::NotValidNow { .. } => "AUTHORITY_NOT_VALID",
            Self::Identity(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Signing(_) => "AUTHORITY_SIGNING",
            Self::ForeignList => "REVOCATION_LIST_FOREIGN",
            Self::ForeignCertificate { .. } => "REVOCATION_FOREIGN",
            Self::Revocation(error) => error.code(),
            Self::Enrolment(error) => error.code(),
        }
    }
}

/// A certificate authority for a trial.
pub struct CertificateAuthority {
    certificate: AuthorityCertificate,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("not_after_ms", &self.certificate.not_after_ms)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes an authority whose key and certificate live in the store; use a store of its own.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`StoreError::AlreadyActive`] when the store holds an authority.
    pub fn create(
        store: &(impl KeyStore + ?Sized),
        name: &str,
        days: u32,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, AuthorityError> {
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARACTERS || name.contains(char::is_control) {
            return Err(AuthorityError::Name);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = authority_params(name, validity(now_ms, days)?, rng);
        let certificate = params.self_signed(&key)?.der().to_vec();
        let record = KeyRecord::with_public(Purpose::Authority, certificate.clone(), now_ms);
        store.insert(&record, &Secret::new(key.serialize_der()))?;
        Self::new(certificate, key)
    }

    /// Opens the authority in the store.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`StoreError::Missing`] when the store holds none.
    pub fn open(store: &(impl KeyStore + ?Sized)) -> Result<Self, AuthorityError> {
        let (record, secret) = store.active(&Purpose::Authority)?;
        Self::new(record.public, key_pair(&secret)?)
    }

    fn new(der: Vec<u8>, key: KeyPair) -> Result<Self, AuthorityError> {
        let certificate = AuthorityCertificate::from_der(&der)?;
        if certificate.public_key != key.subject_public_key_info() {
            let expected = "the secret of its certificate";
            return Err(StoreError::Form { purpose: Purpose::Authority, expected }.into());
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(der), key)?;
        Ok(Self { certificate, issuer })
    }

    /// The authority's certificate.
    pub const fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// The authority's certificate as PEM, to hand to every party.
    pub fn certificate_pem(&self) -> String {
        certificate_to_pem(&self.certificate.der)
    }

    /// Signs a request. The certificate begins five minutes before now and ends after `days`, or with the
    /// authority's own.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn sign(
        &self,
        request: &EnrolmentRequest,
        days: u32,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Enrolment, AuthorityError> {
        let AuthorityCertificate { not_before_ms, not_after_ms, .. } = self.certificate;
        if now_ms < not_before_ms || now_ms > not_after_ms {
            return Err(AuthorityError::NotValidNow { not_before_ms, not_after_ms, found: now_ms });
        }
        let (begin, end) = validity(now_ms, days)?;
        let params = leaf_params(request, (begin, end.min(not_after_ms)), rng)?;
        let certificate = self.issue(&params, request.tls_public_key())?;
        Ok(Enrolment::new(request.clone(), certificate, &self.certificate.der)?)
    }

    /// Issues the revocation list that follows `before`: what is revoked there, and the certificates with these
    /// serial numbers ([`crate::identity::CertificateIdentity::serial`]).
    ///
    /// # Errors
    /// [`AuthorityError`]; [`AuthorityError::ForeignList`] when `before` is not this authority's.
    pub fn revoke(
        &self,
        before: Option<&RevocationList>,
        serials: &[&[u8]],
        days: u32,
        now_ms: u64,
    ) -> Result<RevocationList, AuthorityError> {
        if before.is_some_and(|list| !list.is_signed_by(&self.certificate)) {
            return Err(AuthorityError::ForeignList);
        }
        let (_, next_update) = validity(now_ms, days)?;
        let number = before.map_or([0; 20], |list| *list.number_bytes());
        let mut revoked = before.map(|list| list.entries().clone()).unwrap_or_default();
        for serial in serials {
            revoked.entry(plain(serial).to_vec()).or_insert(now_ms);
        }
        let at = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(ms / 1_000);
        let entry = |(serial, at_ms): (&Vec<u8>, &u64)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(*at_ms),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: at(now_ms.max(before.map_or(0, RevocationList::this_update_ms))),
            next_update: at(next_update),
            crl_number: SerialNumber::from_slice(&next_number(&number)),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(RevocationList::from_der(list.signed_by(&self.issuer)?.der())?)
    }

    pub(crate) fn issue(&self, params: &CertificateParams, key: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let key = SubjectPublicKeyInfo::from_der(key)?;
        Ok(params.signed_by(&key, &self.issuer)?.der().to_vec())
    }
}

/// First and last instant of a certificate made now, in milliseconds.
fn validity(now_ms: u64, days: u32) -> Result<(u64, u64), AuthorityError> {
    match () {
        () if days == 0 || days > MAX_VALIDITY_DAYS => Err(AuthorityError::Days { found: days }),
        () if now_ms > MAX_TIME_MS => Err(AuthorityError::Time { found: now_ms }),
        () => Ok((now_ms.saturating_sub(BACKDATED_MS), now_ms + u64::from(days) * DAY_MS)),
    }
}

fn base_params(
    name: &str,
    (begin, end): (u64, u64),
    rng: &mut (impl CryptoRng + ?Sized),
) -> CertificateParams {
    // Whole seconds: X.509 holds no finer time.
    let at = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(ms / 1_000);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (at(begin), at(end));
    params.serial_number = Some(serial(rng));
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority_params(
    name: &str,
    validity: (u64, u64),
    rng: &mut (impl CryptoRng + ?Sized),
) -> CertificateParams {
    let mut params = base_params(name, validity, rng);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn leaf_params(
    request: &EnrolmentRequest,
    validity: (u64, u64),
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<CertificateParams, AuthorityError> {
    let mut params = base_params(request.party().as_str(), validity, rng);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(request.party().to_uri().try_into()?)];
    let value = keys_extension_value(&request.digest());
    params.custom_extensions = vec![CustomExtension::from_oid_content(&KEYS_EXTENSION, value)];
    Ok(params)
}

/// 126 random bits; the first byte is neither zero nor negative, so that DER keeps all 16.
fn serial(rng: &mut (impl CryptoRng + ?Sized)) -> SerialNumber {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::testing::{self, NOW_MS, Party};

    #[test]
    fn an_authority_is_opened_as_it_was_created() {
        let (store, mut rng) = (MemoryStore::new(), testing::rng());
        let created = CertificateAuthority::create(&store, "Trial", 30, NOW_MS, &mut rng).unwrap();
        let opened = CertificateAuthority::open(&store).unwrap();
        assert_eq!(opened.certificate(), created.certificate());
        let enrolment = opened.sign(&Party::new("bank").request(), 7, NOW_MS, &mut rng).unwrap();
        enrolment.verify(&created.certificate().der, NOW_MS).unwrap();
        let again = CertificateAuthority::create(&store, "Trial", 30, NOW_MS, &mut rng);
        assert_eq!(again.unwrap_err().code(), "KEY_ALREADY_ACTIVE");
    }

    #[test]
    fn the_authority_may_issue_leaves_only_and_has_the_right_usages() {
        let authority = testing::authority();
        let (_, x509) = x509_parser::parse_x509_certificate(&authority.certificate().der).unwrap();
        let constraints = x509.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = x509.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        x509.verify_signature(None).unwrap();
    }

    #[test]
    fn a_leaf_says_what_the_request_proves_and_ends_with_its_authority() {
        let (authority, mut rng) = (testing::authority(), testing::rng());
        let request = Party::new("bank").request();
        let enrolment = authority.sign(&request, 3_650, NOW_MS, &mut rng).unwrap();
        let said = enrolment.certificate();
        assert_eq!(said.party.as_str(), "bank");
        assert_eq!(said.keys_digest, request.digest());
        assert_eq!(said.not_before_ms, NOW_MS - BACKDATED_MS);
        assert_eq!(said.not_after_ms, authority.certificate().not_after_ms);
        let (_, x509) = x509_parser::parse_x509_certificate(enrolment.certificate_der()).unwrap();
        let usage = x509.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && usage.server_auth);
        assert_eq!(x509.raw_serial().len(), 16);
        let other = authority.sign(&request, 1, NOW_MS, &mut rng).unwrap();
        assert_ne!(other.certificate().fingerprint_sha256, said.fingerprint_sha256);
    }

    #[test]
    fn an_authority_does_not_sign_outside_its_own_validity() {
        let (authority, request) = (testing::authority(), Party::new("bank").request());
        for now_ms in [0, authority.certificate().not_after_ms + 1] {
            let error = authority.sign(&request, 1, now_ms, &mut testing::rng()).unwrap_err();
            assert_eq!(error.code(), "AUTHORITY_NOT_VALID");
        }
    }

    #[test]
    fn names_days_and_times_outside_their_limits_are_refused() {
        let create = |name: &str, days, now_ms| {
            CertificateAuthority::create(&MemoryStore::new(), name, days, now_ms, &mut testing::rng())
                .unwrap_err()
                .code()
        };
        for name in [String::new(), "x".repeat(65), "a\0b".to_owned()] {
            assert_eq!(create(&name, 1, NOW_MS), "AUTHORITY_NAME");
        }
        assert_eq!(create("Trial", 0, NOW_MS), "AUTHORITY_DAYS");
        assert_eq!(create("Trial", MAX_VALIDITY_DAYS + 1, NOW_MS), "AUTHORITY_DAYS");
        assert_eq!(create("Trial", 1, u64::MAX), "AUTHORITY_TIME");
    }
}
