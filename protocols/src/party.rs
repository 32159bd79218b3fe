//! Who takes part: parties, sessions and roles.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;

use crate::limits::MAX_PARTY_ID_BYTES;

/// Prefix of the URI subject alternative name that carries a party's identity in its certificate.
pub const SAN_PREFIX: &str = "windvane://party/";

/// The name of an organisation's node: 1 to 64 characters of `a-z`, `0-9` and `-`, not beginning or ending
/// with a hyphen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyId(String);

/// Why a text is not a party's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartyIdError {
    /// The text is empty or longer than [`MAX_PARTY_ID_BYTES`].
    #[error("a party id has 1 to {MAX_PARTY_ID_BYTES} characters, found {found}")]
    Length {
        /// Length in bytes.
        found: usize,
    },
    /// A character outside `a-z`, `0-9`, `-`, or a hyphen at an end.
    #[error("a party id consists of a-z, 0-9 and inner hyphens")]
    Character,
    /// The URI does not begin with [`SAN_PREFIX`].
    #[error("a party's URI begins with {SAN_PREFIX}")]
    Scheme,
}

impl PartyId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI subject alternative name: `windvane://party/<id>`.
    pub fn to_uri(&self) -> String {
        format!("{SAN_PREFIX}{}", self.0)
    }

    /// Reads the URI subject alternative name.
    ///
    /// # Errors
    /// [`PartyIdError`] when the scheme or the name is not ours.
    pub fn from_uri(uri: &str) -> Result<Self, PartyIdError> {
        uri.strip_prefix(SAN_PREFIX).ok_or(PartyIdError::Scheme)?.parse()
    }
}

impl FromStr for PartyId {
    type Err = PartyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_PARTY_ID_BYTES {
            return Err(PartyIdError::Length { found: text.len() });
        }
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain || text.starts_with('-') || text.ends_with('-') {
            return Err(PartyIdError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartyId({})", self.0)
    }
}

/// One run of a protocol between two parties: 16 bytes, fresh for every provider.
///
/// They are random but for lookups, whose sessions begin with the date of their request, so that a provider needs to
/// remember them for as long only as it accepts requests of their date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A fresh session.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// A fresh session of a request that is made at this time, milliseconds of Unix time: six bytes of it, and ten
    /// random ones.
    pub fn dated(at_ms: u64, rng: &mut impl CryptoRng) -> Self {
        let mut session = Self::random(rng);
        session.0[..6].copy_from_slice(&at_ms.to_be_bytes()[2..]);
        session
    }

    /// Whether the session is one of a request that was made at this time.
    pub fn is_dated(&self, at_ms: u64) -> bool {
        self.0[..6] == at_ms.to_be_bytes()[2..]
    }

    /// The date of a dated session.
    pub fn date_ms(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[..6]);
        u64::from_be_bytes(bytes)
    }

    /// The bytes as received.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to send.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A party's part in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Asks: the bank.
    Requester,
    /// Answers: a carrier, a police list, an anti-fraud centre.
    Provider,
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn a_party_survives_its_uri() {
        let party: PartyId = "carrier-a".parse().unwrap();
        assert_eq!(party.to_uri(), "windvane://party/carrier-a");
        assert_eq!(PartyId::from_uri(&party.to_uri()), Ok(party));
    }

    #[test]
    fn a_dated_session_has_its_date_and_no_other() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (session, other) = (SessionId::dated(1_764_000_000_123, &mut rng), SessionId::dated(7, &mut rng));
        assert_eq!((session.date_ms(), other.date_ms()), (1_764_000_000_123, 7));
        assert!(session.is_dated(1_764_000_000_123) && !session.is_dated(1_764_000_000_124));
        assert!(other < session, "sessions are in the order of their dates");
        assert_ne!(SessionId::dated(7, &mut rng), other);
    }

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        for text in ["", "Bank", "a_b", "-a", "a-", "a/b", "银行"] {
            assert!(text.parse::<PartyId>().is_err(), "{text}");
        }
        assert!("a".repeat(65).parse::<PartyId>().is_err());
        assert_eq!(PartyId::from_uri("https://party/bank"), Err(PartyIdError::Scheme));
    }
}
