//! What is known of a key without its secret: identifier, purpose, state, age and public half.

use std::fmt;
use std::str::FromStr;

use rand::CryptoRng;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::transcript::{Reader, Transcript, TranscriptError};

const KEY_ID_DOMAIN: &str = "windvane/key-id/v1";
const HEADER_DOMAIN: &str = "windvane/key-header/v1";

/// Names one key, in the store, in receipts and on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The identifier of a public key: the first 16 bytes of SHA-512 over the transcript
    /// `windvane/key-id/v1` of `purpose` (text) and `public`.
    pub fn of_public(purpose: &Purpose, public: &[u8]) -> Self {
        let digest = Transcript::new(KEY_ID_DOMAIN)
            .text("purpose", &purpose.to_string())
            .bytes("public", public)
            .digest();
        Self(*digest.first_chunk().expect("a SHA-512 digest has 64 bytes"))
    }

    /// A fresh identifier for a key without a public half.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes as received or stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to send or store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a key may be used for. Its text form is part of the key's identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The node's TLS key, ECDSA P-256 as PKCS#8.
    Tls,
    /// Ed25519 over receipts and grants.
    Receipt,
    /// Ed25519 over the log's checkpoints.
    Log,
    /// A ristretto255 scalar that tags a person's calls in the bank's own log.
    SubjectTag,
    /// Symmetric: seals identities in the database and in staging files.
    Storage,
    /// Symmetric: the keyed index by which sealed identities are found.
    Lookup,
    /// A trial certificate authority's key, ECDSA P-256 as PKCS#8; its public part is its certificate.
    Authority,
    /// A ristretto255 scalar of the oblivious PRF.
    Oprf {
        /// The data set.
        data_set: DataSet,
        /// The epoch, which only grows.
        epoch: u64,
        /// The families that this key evaluates; a group that [`KeyGroup::of`] gives.
        group: KeyGroup,
    },
    /// A provider's secrets of a scoring group's epoch: its share of the group's key, and its own table's key.
    Score {
        /// The scoring group.
        group: DataSet,
        /// The epoch, which only grows.
        epoch: u64,
    },
}

/// A text that names no purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key's purpose: expected a known word, oprf/DATA-SET/EPOCH/GROUP, or score/GROUP/EPOCH")]
pub struct PurposeError;

impl Purpose {
    /// Checks what a text form cannot carry: families that never stand alone have no group of their own.
    pub(crate) fn check(&self) -> Result<(), PurposeError> {
        match self {
            Self::Oprf { group, .. } if KeyGroup::from_name(group.name()) != Some(*group) => {
                Err(PurposeError)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("tls"),
            Self::Receipt => f.write_str("receipt"),
            Self::Log => f.write_str("log"),
            Self::SubjectTag => f.write_str("subject-tag"),
            Self::Storage => f.write_str("storage"),
            Self::Lookup => f.write_str("lookup"),
            Self::Authority => f.write_str("authority"),
            Self::Oprf { data_set, epoch, group } => write!(f, "oprf/{data_set}/{epoch}/{}", group.name()),
            Self::Score { group, epoch } => write!(f, "score/{group}/{epoch}"),
        }
    }
}

impl FromStr for Purpose {
    type Err = PurposeError;

    fn from_str(text: &str) -> Result<Self, PurposeError> {
        let purpose = match text {
            "tls" => Self::Tls,
            "receipt" => Self::Receipt,
            "log" => Self::Log,
            "subject-tag" => Self::SubjectTag,
            "storage" => Self::Storage,
            "lookup" => Self::Lookup,
            "authority" => Self::Authority,
            _ => epoch_from_str(text)?,
        };
        // One purpose, one text: `+7` and `007` parse as numbers but are not what we write.
        if purpose.to_string() == text { Ok(purpose) } else { Err(PurposeError) }
    }
}

fn epoch_from_str(text: &str) -> Result<Purpose, PurposeError> {
    let parts: Vec<_> = text.splitn(4, '/').collect();
    let name = |text: &str| text.parse().map_err(|_| PurposeError);
    let number = |text: &str| text.parse().map_err(|_| PurposeError);
    match parts[..] {
        ["oprf", data_set, epoch, group] => Ok(Purpose::Oprf {
            data_set: name(data_set)?,
            epoch: number(epoch)?,
            group: KeyGroup::from_name(group).ok_or(PurposeError)?,
        }),
        ["score", group, epoch] => Ok(Purpose::Score { group: name(group)?, epoch: number(epoch)? }),
        _ => Err(PurposeError),
    }
}

/// Where a key stands in its life, which only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// Made, and not in use yet: nobody outside relies on it.
    Pending,
    /// In use.
    Active,
    /// Still used for what was begun under it; nothing new is.
    Retiring,
    /// The secret is gone; the record stays, so that nothing is issued twice and old evidence can be read.
    Destroyed,
}

impl State {
    /// The state's name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Destroyed => "destroyed",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retiring, Self::Destroyed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// Everything about a key but its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's identifier.
    pub id: KeyId,
    /// What it may be used for.
    pub purpose: Purpose,
    /// Where it stands in its life.
    pub state: State,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The public half: 32 bytes for Ed25519 and ristretto255, `SubjectPublicKeyInfo` for TLS, the
    /// certificate for an authority, empty for symmetric keys.
    pub public: Vec<u8>,
}

impl KeyRecord {
    /// A new, active key with a public half, under the identifier of that half.
    pub fn with_public(purpose: Purpose, public: Vec<u8>, created_at_ms: u64) -> Self {
        let id = KeyId::of_public(&purpose, &public);
        Self { id, purpose, state: State::Active, created_at_ms, public }
    }

    /// The same key before it is in use.
    #[must_use]
    pub fn pending(self) -> Self {
        Self { state: State::Pending, ..self }
    }

    /// A new, active symmetric key under a random identifier.
    pub fn symmetric(purpose: Purpose, created_at_ms: u64, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self { id: KeyId::random(rng), purpose, state: State::Active, created_at_ms, public: Vec::new() }
    }

    /// The header that stands in clear before the sealed secret, and that the seal covers.
    pub(crate) fn encode(&self) -> Vec<u8> {
        Transcript::new(HEADER_DOMAIN)
            .bytes("id", self.id.as_bytes())
            .text("purpose", &self.purpose.to_string())
            .text("state", self.state.as_str())
            .u64("created_at_ms", self.created_at_ms)
            .bytes("public", &self.public)
            .into_bytes()
    }

    pub(crate) fn decode(header: &[u8]) -> Result<Self, TranscriptError> {
        let mut reader = Reader::new(header, HEADER_DOMAIN)?;
        let record = Self {
            id: KeyId(reader.array("id")?),
            purpose: reader.parse("purpose")?,
            state: State::from_text(reader.text("state")?)
                .ok_or(TranscriptError::Form { label: "state", expected: "a known state" })?,
            created_at_ms: reader.u64("created_at_ms")?,
            public: reader.bytes("public")?.to_vec(),
        };
        reader.finish()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use windvane_protocols::identity::Family;

    use super::*;

    fn oprf(data_set: &str, epoch: u64, group: KeyGroup) -> Purpose {
        Purpose::Oprf { data_set: data_set.parse().unwrap(), epoch, group }
    }

    #[test]
    fn every_purpose_survives_its_text() {
        let all = [
            Purpose::Tls,
            Purpose::Receipt,
            Purpose::Log,
            Purpose::SubjectTag,
            Purpose::Storage,
            Purpose::Lookup,
            Purpose::Authority,
            oprf("subscribers", 0, KeyGroup::Match),
            Purpose::Score { group: "joint-risk".parse().unwrap(), epoch: u64::MAX },
        ];
        let epochs = Family::ALL.map(|family| oprf("a-b", u64::MAX, KeyGroup::of(family)));
        for purpose in all.into_iter().chain(epochs) {
            assert_eq!(purpose.check(), Ok(()));
            assert_eq!(purpose.to_string().parse(), Ok(purpose));
        }
        assert_eq!(oprf("tags", 7, KeyGroup::Match).to_string(), "oprf/tags/7/match");
    }

    #[test]
    fn texts_that_we_would_not_write_are_refused() {
        let others = ["", "TLS", "oprf", "oprf/x/1", "oprf/x/1/", "oprf/x/1/both", "oprf/x/x/match"];
        let numbers = ["oprf/x/+1/match", "oprf/x/01/match", "oprf/x/18446744073709551616/match"];
        let scores =
            ["score", "score/x", "score/x/", "score/x/01", "score/x/1/", "score/X/1", "score/x/1/match"];
        let longer = ["oprf/x/1/match/", "oprf/x/1/match/2"];
        for text in others.into_iter().chain(numbers).chain(scores).chain(longer) {
            assert_eq!(text.parse::<Purpose>(), Err(PurposeError), "{text}");
        }
    }

    #[test]
    fn a_data_set_name_beyond_its_limit_is_refused() {
        let text = |name: &str| format!("oprf/{name}/1/match");
        assert!(text(&"x".repeat(64)).parse::<Purpose>().is_ok());
        for name in [String::new(), "x".repeat(65), "a\nb".to_owned(), "a/b".to_owned()] {
            assert_eq!(text(&name).parse::<Purpose>(), Err(PurposeError), "{name}");
        }
    }

    #[test]
    fn a_header_survives_its_encoding() {
        let record = KeyRecord::with_public(oprf("subscribers", 7, KeyGroup::Match), vec![9; 32], 1_234);
        assert_eq!(KeyRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn one_public_key_has_another_id_under_another_purpose() {
        let public = [7; 32];
        assert_ne!(KeyId::of_public(&Purpose::Receipt, &public), KeyId::of_public(&Purpose::Log, &public));
    }

    #[test]
    fn a_key_id_is_the_documented_digest() {
        use sha2::{Digest as _, Sha512};
        let bytes = b"\x00\x06domain\x00\x00\x00\x12windvane/key-id/v1\
            \x00\x07purpose\x00\x00\x00\x03log\x00\x06public\x00\x00\x00\x02\x01\x02";
        assert_eq!(KeyId::of_public(&Purpose::Log, &[1, 2]).as_bytes(), &Sha512::digest(bytes)[..16]);
    }
}
