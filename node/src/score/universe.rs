//! The signed list of number segments as a document that its publisher hands over.
//!
//! Two PEM blocks: who publishes, with its key, and the signed list. The key counts for nothing until its fingerprint
//! was held against the pinned one.

use std::path::Path;

use ed25519_dalek::SigningKey;
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Identity, Pins};
use windvane_protocols::score::universe::{Segment, Universe, UniverseError};
use windvane_protocols::transcript::{Record as _, Signed, SignedError};

use crate::table::{TableError, TableOptions, TableReader};

const IDENTITY_LABEL: &str = "WINDVANE SCORE IDENTITY";
const UNIVERSE_LABEL: &str = "WINDVANE UNIVERSE";

/// Half a million segments of four bytes are 2 MB, and 2.8 MB as text.
pub(super) const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// Why a list of segments is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UniverseFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The table of segments cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A line is no segment.
    #[error("line {line}: {source}")]
    Segment {
        /// The line; the header is line 1.
        line: u64,
        /// What is wrong.
        source: UniverseError,
    },
    /// The segments are no universe.
    #[error(transparent)]
    Universe(#[from] UniverseError),
    /// The document is not one of ours.
    #[error("not a signed list of segments: {what}")]
    Form {
        /// What is wrong.
        what: String,
    },
    /// The publisher is not of the group.
    #[error("the list of segments is published by {party}, which is not of the group")]
    Stranger {
        /// The publisher.
        party: PartyId,
    },
    /// The publisher's key is not the pinned one.
    #[error(
        "the list of segments is signed by a key of {party} with the fingerprint {found}, and {pinned} is pinned"
    )]
    Fingerprint {
        /// The publisher.
        party: PartyId,
        /// Fingerprint of the key in the document.
        found: Fingerprint,
        /// The pinned one.
        pinned: Fingerprint,
    },
    /// The signature does not hold.
    #[error("the list of segments: {0}")]
    Signature(#[from] SignedError),
}

impl UniverseFileError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Segment { .. } | Self::Universe(_) => "SCORE_SEGMENTS_INVALID",
            Self::Form { .. } => "SCORE_UNIVERSE_INVALID",
            Self::Stranger { .. } | Self::Fingerprint { .. } => "SCORE_FINGERPRINT",
            Self::Signature(_) => "SIGNATURE_INVALID",
        }
    }
}

/// A list of segments with its publisher's signature and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedUniverse {
    publisher: Identity,
    signed: Signed<Universe>,
}

impl SignedUniverse {
    /// Signs a universe in its publisher's name.
    pub fn sign(universe: Universe, key: &SigningKey) -> Self {
        let publisher = Identity { party: universe.publisher().clone(), key: key.verifying_key() };
        Self { publisher, signed: Signed::sign(universe, key) }
    }

    /// Reads a document from a file. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`UniverseFileError::File`], [`UniverseFileError::Form`].
    pub fn load(path: &Path) -> Result<Self, UniverseFileError> {
        Self::from_pem(&read_public(path, MAX_DOCUMENT_BYTES)?)
    }

    /// Reads a document. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`UniverseFileError::Form`].
    pub fn from_pem(text: &[u8]) -> Result<Self, UniverseFileError> {
        let form = |what: String| UniverseFileError::Form { what };
        let blocks = pem::parse_many(text).map_err(|error| form(error.to_string()))?;
        let [identity, list] = &blocks[..] else {
            return Err(form(format!("it has {} blocks, not two", blocks.len())));
        };
        if (identity.tag(), list.tag()) != (IDENTITY_LABEL, UNIVERSE_LABEL) {
            return Err(form(format!("its blocks are not {IDENTITY_LABEL} and {UNIVERSE_LABEL}")));
        }
        let publisher = Identity::decode(identity.contents()).map_err(|error| form(error.to_string()))?;
        let signed = Signed::from_bytes_unverified(list.contents().to_vec());
        Ok(Self { publisher, signed: signed.map_err(|error| form(error.to_string()))? })
    }

    /// The document.
    pub fn to_pem(&self) -> String {
        let identity = pem::Pem::new(IDENTITY_LABEL, self.publisher.encode().into_bytes());
        let list = pem::Pem::new(UNIVERSE_LABEL, self.signed.as_bytes());
        pem::encode_many(&[identity, list])
    }

    /// Holds publisher, key and signature against pins; gives the list.
    ///
    /// # Errors
    /// [`UniverseFileError::Stranger`], [`UniverseFileError::Fingerprint`], [`UniverseFileError::Signature`].
    pub fn check(&self, pins: &Pins) -> Result<Signed<Universe>, UniverseFileError> {
        let party = self.publisher.party.clone();
        let found = self.publisher.fingerprint();
        match pins.get(&party) {
            None => return Err(UniverseFileError::Stranger { party }),
            Some(&pinned) if pinned != found => {
                return Err(UniverseFileError::Fingerprint { party, found, pinned });
            }
            Some(_) => {}
        }
        let named = *self.signed.body().publisher() == party;
        if named && self.signed.verify(&self.publisher.key) {
            Ok(self.signed.clone())
        } else {
            Err(SignedError::Signature.into())
        }
    }
}

/// Reads the segments of one column of a table, CSV or Parquet, in any order; one that is there twice counts once.
///
/// # Errors
/// [`UniverseFileError`], naming the line.
pub fn read_segments(path: &Path, column: &str) -> Result<Vec<Segment>, UniverseFileError> {
    let mut table = TableReader::open(path, TableOptions::default())?.choose(&[column])?;
    let mut segments = Vec::new();
    while let Some(row) = table.next_row()? {
        let line = row.line();
        let segment = row.text(0).trim().parse();
        segments.push(segment.map_err(|source| UniverseFileError::Segment { line, source })?);
    }
    segments.sort_unstable();
    segments.dedup();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn universe() -> Universe {
        let segments = ["1380013", "1391234"].map(|text| text.parse().unwrap()).to_vec();
        Universe::new("bank".parse().unwrap(), 3, segments).unwrap()
    }

    fn pins(party: &str, seed: u8) -> Pins {
        Pins::from([(party.parse().unwrap(), Fingerprint::of(&key(seed).verifying_key()))])
    }

    #[test]
    fn a_document_is_read_back_and_holds_under_the_pinned_key_alone() {
        let document = SignedUniverse::sign(universe(), &key(1));
        let read = SignedUniverse::from_pem(document.to_pem().as_bytes()).unwrap();
        assert_eq!(read, document);
        assert_eq!(*read.check(&pins("bank", 1)).unwrap().body(), universe());
        assert_eq!(read.check(&pins("bank", 2)).unwrap_err().code(), "SCORE_FINGERPRINT");
        assert_eq!(read.check(&pins("carrier-a", 1)).unwrap_err().code(), "SCORE_FINGERPRINT");
    }

    #[test]
    fn a_list_that_another_signed_or_published_does_not_hold() {
        let mut document = SignedUniverse::sign(universe(), &key(2));
        document.publisher.key = key(1).verifying_key();
        assert_eq!(document.check(&pins("bank", 1)).unwrap_err().code(), "SIGNATURE_INVALID");
        let mut document = SignedUniverse::sign(universe(), &key(1));
        document.publisher.party = "carrier-a".parse().unwrap();
        assert_eq!(document.check(&pins("carrier-a", 1)).unwrap_err().code(), "SIGNATURE_INVALID");
    }

    #[test]
    fn other_documents_are_refused() {
        let pem = SignedUniverse::sign(universe(), &key(1)).to_pem();
        let half = &pem[..pem.find("-----BEGIN WINDVANE UNIVERSE").unwrap()];
        let twice = format!("{half}{half}");
        for text in ["", half, &twice, &pem.replace("WINDVANE UNIVERSE", "WINDVANE GRANT")] {
            let error = SignedUniverse::from_pem(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "SCORE_UNIVERSE_INVALID");
        }
    }

    #[test]
    fn segments_come_in_any_order_and_a_wrong_one_is_named_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments.csv");
        std::fs::write(&path, "segment,province\n1391234,51\n1380013,51\n1391234,51\n").unwrap();
        assert_eq!(read_segments(&path, "segment").unwrap(), universe().segments());
        std::fs::write(&path, "segment\n1391234\n139123\n").unwrap();
        let error = read_segments(&path, "segment").unwrap_err();
        assert!(error.to_string().starts_with("line 3: "), "{error}");
        assert_eq!(error.code(), "SCORE_SEGMENTS_INVALID");
    }
}
