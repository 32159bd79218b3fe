//! An authority's signature, validity at a time, and the usages that TLS needs.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, ring};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::EnrolmentError;
use crate::identity::{self, AuthorityCertificate, CertificateIdentity, IdentityError};

/// What an authority may sign with; a trial's signs with the first, an organisation's own perhaps not.
pub(crate) const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
];

/// Whether each certificate is signed by the next one, and the last one by the authority.
pub(super) fn check_signatures(
    chain: &[Vec<u8>],
    authority: &AuthorityCertificate,
) -> Result<(), EnrolmentError> {
    for (i, der) in chain.iter().enumerate() {
        match chain.get(i + 1) {
            Some(next) => check_signature(der, &AuthorityCertificate::from_der(next)?)?,
            None => check_signature(der, authority)?,
        }
    }
    Ok(())
}

fn check_signature(der: &[u8], authority: &AuthorityCertificate) -> Result<(), EnrolmentError> {
    let certificate = identity::parse(der)?;
    let (_, key) = SubjectPublicKeyInfo::from_der(&authority.public_key).map_err(|_| IdentityError::Der)?;
    certificate.verify_signature(Some(&key)).map_err(|_| EnrolmentError::Chain)
}

/// Whether certificate and authority are valid now.
pub(super) fn check_validity(
    certificate: &CertificateIdentity,
    authority: &AuthorityCertificate,
    now_ms: u64,
) -> Result<(), EnrolmentError> {
    let AuthorityCertificate { not_before_ms, not_after_ms, .. } = *authority;
    if now_ms < not_before_ms || now_ms > not_after_ms {
        return Err(EnrolmentError::AuthorityNotValid { not_before_ms, not_after_ms, found: now_ms });
    }
    let CertificateIdentity { not_before_ms, not_after_ms, .. } = *certificate;
    let (party, found) = (certificate.party.clone(), now_ms);
    match () {
        () if now_ms > not_after_ms => Err(EnrolmentError::Expired { party, not_after_ms, found }),
        () if now_ms < not_before_ms => Err(EnrolmentError::NotYetValid { party, not_before_ms, found }),
        () => Ok(()),
    }
}

/// Whether TLS would accept the certificates from this authority, as a client's and as a server's.
pub(super) fn check_usage(
    chain: &[CertificateDer<'_>],
    authority_der: &[u8],
    now_ms: u64,
) -> Result<(), EnrolmentError> {
    let (leaf, intermediates) = chain.split_first().ok_or(IdentityError::Chain)?;
    let authority = CertificateDer::from(authority_der);
    let anchor = webpki::anchor_from_trusted_cert(&authority).map_err(EnrolmentError::Usage)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(EnrolmentError::Usage)?;
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
    [KeyUsage::client_auth(), KeyUsage::server_auth()].into_iter().try_for_each(|usage| {
        leaf.verify_for_usage(
            ALGORITHMS,
            std::slice::from_ref(&anchor),
            intermediates,
            time,
            usage,
            None,
            None,
        )
        .map(|_| ())
        .map_err(EnrolmentError::Usage)
    })
}
