//! Certificate revocation lists: RFC 5280, whole lists only, read from an authority and issued by a trial's.
//!
//! **Promised**: a list that is taken holds a number, both dates and every serial that it revokes, and nothing that
//! this code does not understand; of two lists of one authority the later one is known by its number **and** its
//! date. **Not promised**: whose list it is, until [`RevocationList::is_signed_by`] says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use webpki::BorrowedCertRevocationList;
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::identity::{self, AuthorityCertificate, IdentityError};

/// Longest list: about twenty thousand certificates.
pub const MAX_LIST_BYTES: usize = 1 << 20;

/// Bytes of a list's number: RFC 5280 allows twenty.
const NUMBER_BYTES: usize = 20;

const LIST: &str = "X509 CRL";

/// Why a revocation list is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The list is longer than any that is read.
    #[error("the revocation list has {found} bytes, at most {MAX_LIST_BYTES} are read")]
    TooLarge {
        /// Its length.
        found: usize,
    },
    /// Neither DER nor one PEM block of a revocation list.
    #[error("expected one certificate revocation list, DER or a PEM block {LIST}")]
    Malformed,
    /// The list uses something that is not supported, for example only the changes since another.
    #[error("the revocation list cannot be used: {0}; ask for a complete list of version 2")]
    Unsupported(webpki::Error),
    /// The list speaks for a part of the authority's certificates only.
    #[error("the revocation list is for some of the authority's certificates only; ask for a complete one")]
    Partial,
    /// The list has no number, or no date of the next one.
    #[error("the revocation list has no {missing}; RFC 5280 demands it")]
    Missing {
        /// What is missing.
        missing: &'static str,
    },
    /// A date cannot be read.
    #[error("the revocation list's dates: {0}")]
    Date(#[from] IdentityError),
    /// The list is older than the one that is known.
    #[error("the list has number {found}, number {known} is here already; get the authority's newest one")]
    Older {
        /// The list's number, hexadecimal.
        found: String,
        /// The number of the one that is known.
        known: String,
    },
    /// Two different lists have one number, or the later number has the earlier date.
    #[error("list {found} contradicts list {known} of the same authority; tell the authority")]
    Contradiction {
        /// The list's number, hexadecimal.
        found: String,
        /// The number of the one that is known.
        known: String,
    },
}

impl RevocationError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "REVOCATION_LIST_TOO_LARGE",
            Self::Malformed | Self::Date(_) => "REVOCATION_LIST_MALFORMED",
            Self::Unsupported(_) => "REVOCATION_LIST_UNSUPPORTED",
            Self::Partial => "REVOCATION_LIST_PARTIAL",
            Self::Missing { .. } => "REVOCATION_LIST_INCOMPLETE",
            Self::Older { .. } => "REVOCATION_LIST_OLDER",
            Self::Contradiction { .. } => "REVOCATION_LIST_CONTRADICTION",
        }
    }
}

/// A list as an authority issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: Vec<u8>,
    issuer: Vec<u8>,
    number: [u8; NUMBER_BYTES],
    this_update_ms: u64,
    next_update_ms: u64,
    /// Serial numbers without leading zeros, and when they were revoked.
    revoked: BTreeMap<Vec<u8>, u64>,
}

impl RevocationList {
    /// Reads a list, DER or PEM.
    ///
    /// # Errors
    /// [`RevocationError`].
    pub fn read(bytes: &[u8]) -> Result<Self, RevocationError> {
        if bytes.len() > 2 * MAX_LIST_BYTES {
            return Err(RevocationError::TooLarge { found: bytes.len() });
        }
        if !bytes.starts_with(b"-----BEGIN") {
            return Self::from_der(bytes);
        }
        let block = pem::parse(bytes).map_err(|_| RevocationError::Malformed)?;
        if block.tag() != LIST {
            return Err(RevocationError::Malformed);
        }
        Self::from_der(block.contents())
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`RevocationError`].
    pub fn from_der(der: &[u8]) -> Result<Self, RevocationError> {
        if der.len() > MAX_LIST_BYTES {
            return Err(RevocationError::TooLarge { found: der.len() });
        }
        // This one knows what may not stand in a list that is complete; the other tells what stands there.
        BorrowedCertRevocationList::from_der(der).map_err(RevocationError::Unsupported)?;
        let (rest, list) =
            CertificateRevocationList::from_der(der).map_err(|_| RevocationError::Malformed)?;
        if !rest.is_empty() || list.tbs_cert_list.extensions_map().is_err() {
            return Err(RevocationError::Malformed);
        }
        if list.tbs_cert_list.find_extension(&OID_X509_EXT_ISSUER_DISTRIBUTION_POINT).is_some() {
            return Err(RevocationError::Partial);
        }
        let missing = |missing| RevocationError::Missing { missing };
        let revoked = list.iter_revoked_certificates().map(|revoked| {
            Ok((plain(revoked.raw_serial()).to_vec(), identity::millis(revoked.revocation_date)?))
        });
        Ok(Self {
            issuer: list.issuer().as_raw().to_vec(),
            number: padded(&list.crl_number().ok_or(missing("number"))?.to_bytes_be())?,
            this_update_ms: identity::millis(list.last_update())?,
            next_update_ms: identity::millis(list.next_update().ok_or(missing("date of the next one"))?)?,
            revoked: revoked.collect::<Result<_, IdentityError>>()?,
            der: der.to_vec(),
        })
    }

    /// The list, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The list as PEM.
    pub fn to_pem(&self) -> String {
        identity::to_pem(LIST, &self.der)
    }

    /// The list's number, hexadecimal without leading zeros.
    pub fn number(&self) -> String {
        plain(&self.number).iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// When the list was issued, in milliseconds since the Unix epoch.
    pub const fn this_update_ms(&self) -> u64 {
        self.this_update_ms
    }

    /// By when the next one is due, in milliseconds since the Unix epoch.
    pub const fn next_update_ms(&self) -> u64 {
        self.next_update_ms
    }

    /// Certificates that are revoked.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// Serial numbers and the times of their revocation.
    pub(crate) const fn entries(&self) -> &BTreeMap<Vec<u8>, u64> {
        &self.revoked
    }

    /// The number as twenty bytes.
    pub(crate) const fn number_bytes(&self) -> &[u8; NUMBER_BYTES] {
        &self.number
    }

    /// Whether the certificate with this serial number, the bytes of its DER `INTEGER`, is revoked.
    pub fn revokes(&self, serial: &[u8]) -> bool {
        self.revoked.contains_key(plain(serial))
    }

    /// Whether this authority issued the list: name, right to sign lists, and signature.
    pub fn is_signed_by(&self, authority: &AuthorityCertificate) -> bool {
        let signed = || {
            let (_, list) = CertificateRevocationList::from_der(&self.der).ok()?;
            let (_, key) = SubjectPublicKeyInfo::from_der(&authority.public_key).ok()?;
            list.verify_signature(&key).ok()
        };
        authority.may_revoke && authority.subject == self.issuer && signed().is_some()
    }

    /// Whether the list may take the place of `known`, of the same authority: `false` when it is that very list.
    ///
    /// # Errors
    /// [`RevocationError::Older`], [`RevocationError::Contradiction`].
    pub fn follows(&self, known: &Self) -> Result<bool, RevocationError> {
        let (found, before) = (self.number(), known.number());
        match self.number.cmp(&known.number) {
            std::cmp::Ordering::Less => Err(RevocationError::Older { found, known: before }),
            std::cmp::Ordering::Equal if self.der == known.der => Ok(false),
            std::cmp::Ordering::Greater if self.this_update_ms >= known.this_update_ms => Ok(true),
            _ => Err(RevocationError::Contradiction { found, known: before }),
        }
    }
}

/// An unsigned number without the zeros before it.
pub(crate) fn plain(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn padded(number: &[u8]) -> Result<[u8; NUMBER_BYTES], RevocationError> {
    let number = plain(number);
    let start = NUMBER_BYTES.checked_sub(number.len()).ok_or(RevocationError::Malformed)?;
    let mut bytes = [0; NUMBER_BYTES];
    bytes[start..].copy_from_slice(number);
    Ok(bytes)
}

/// The number after this one.
pub(crate) fn next_number(number: &[u8; NUMBER_BYTES]) -> [u8; NUMBER_BYTES] {
    let mut next = *number;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
}

#[cfg(test)]
mod tests;
