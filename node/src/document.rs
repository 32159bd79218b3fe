//! A signed record as a document that its publisher hands over.
//!
//! Two PEM blocks: who publishes, with its key, and the signed record. The key counts for nothing until its fingerprint
//! was held against the pinned one.

use std::path::Path;

use ed25519_dalek::SigningKey;
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Identity, Pins};
use windvane_protocols::transcript::{Record, Signed, SignedError};

const IDENTITY_LABEL: &str = "WINDVANE SCORE IDENTITY";

/// A record that is handed over as a document.
pub trait Published: Record + Clone {
    /// What it is.
    const KIND: &'static Kind;
    /// Bytes of a document, at most.
    const MAX_BYTES: usize;

    /// Who publishes and signs it.
    fn publisher(&self) -> &PartyId;
}

/// A kind of documents.
#[derive(Debug)]
pub struct Kind {
    /// What it is, in a sentence.
    pub what: &'static str,
    /// The label of its PEM block.
    pub label: &'static str,
    /// The code of what is no such document.
    pub invalid: &'static str,
    /// The code of another publisher's document.
    pub fingerprint: &'static str,
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not one of ours.
    #[error("not a signed {}: {what}", kind.what)]
    Form {
        /// What it should be.
        kind: &'static Kind,
        /// What is wrong.
        what: String,
    },
    /// The publisher is not pinned.
    #[error("the {} is published by {party}, whose identity is not pinned in the group's file or in [[train.peers]]", kind.what)]
    Stranger {
        /// What it is.
        kind: &'static Kind,
        /// The publisher.
        party: PartyId,
    },
    /// The publisher's key is not the pinned one.
    #[error(
        "the {} is signed by a key of {} with the fingerprint {}, and {} is pinned",
        .0.kind.what, .0.party, .0.found, .0.pinned
    )]
    Fingerprint(Box<OtherKey>),
    /// The signature does not hold.
    #[error("the {}: {source}", kind.what)]
    Signature {
        /// What it is.
        kind: &'static Kind,
        /// What is wrong.
        source: SignedError,
    },
}

/// A publisher's key that is not the pinned one.
#[derive(Debug)]
pub struct OtherKey {
    kind: &'static Kind,
    party: PartyId,
    found: Fingerprint,
    pinned: Fingerprint,
}

impl DocumentError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Form { kind, .. } => kind.invalid,
            Self::Stranger { kind, .. } => kind.fingerprint,
            Self::Fingerprint(other) => other.kind.fingerprint,
            Self::Signature { .. } => "SIGNATURE_INVALID",
        }
    }
}

/// A record with its publisher's signature and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<T> {
    publisher: Identity,
    signed: Signed<T>,
}

impl<T: Published> Document<T> {
    /// Signs a record in its publisher's name.
    pub fn sign(record: T, key: &SigningKey) -> Self {
        let publisher = Identity { party: record.publisher().clone(), key: key.verifying_key() };
        Self { publisher, signed: Signed::sign(record, key) }
    }

    /// Reads a document from a file. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`DocumentError::File`], [`DocumentError::Form`].
    pub fn load(path: &Path) -> Result<Self, DocumentError> {
        Self::from_pem(&read_public(path, T::MAX_BYTES)?)
    }

    /// Reads a document. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`DocumentError::Form`].
    pub fn from_pem(text: &[u8]) -> Result<Self, DocumentError> {
        let form = |what| DocumentError::Form { kind: T::KIND, what };
        let blocks = pem::parse_many(text).map_err(|error| form(error.to_string()))?;
        let [identity, record] = &blocks[..] else {
            return Err(form(format!("it has {} blocks, not two", blocks.len())));
        };
        if (identity.tag(), record.tag()) != (IDENTITY_LABEL, T::KIND.label) {
            return Err(form(format!("its blocks are not {IDENTITY_LABEL} and {}", T::KIND.label)));
        }
        let publisher = Identity::decode(identity.contents()).map_err(|error| form(error.to_string()))?;
        let signed = Signed::from_bytes_unverified(record.contents().to_vec());
        Ok(Self { publisher, signed: signed.map_err(|error| form(error.to_string()))? })
    }

    /// The document.
    pub fn to_pem(&self) -> String {
        let identity = pem::Pem::new(IDENTITY_LABEL, self.publisher.encode().into_bytes());
        let record = pem::Pem::new(T::KIND.label, self.signed.as_bytes());
        pem::encode_many(&[identity, record])
    }

    /// Holds publisher, key and signature against pins; gives the record.
    ///
    /// # Errors
    /// [`DocumentError::Stranger`], [`DocumentError::Fingerprint`], [`DocumentError::Signature`].
    pub fn check(&self, pins: &Pins) -> Result<Signed<T>, DocumentError> {
        let (kind, party) = (T::KIND, self.publisher.party.clone());
        let found = self.publisher.fingerprint();
        match pins.get(&party) {
            None => return Err(DocumentError::Stranger { kind, party }),
            Some(&pinned) if pinned != found => {
                return Err(DocumentError::Fingerprint(Box::new(OtherKey { kind, party, found, pinned })));
            }
            Some(_) => {}
        }
        let named = *self.signed.body().publisher() == party;
        if named && self.signed.verify(&self.publisher.key) {
            Ok(self.signed.clone())
        } else {
            Err(DocumentError::Signature { kind, source: SignedError::Signature })
        }
    }
}

#[cfg(test)]
mod tests {
    use windvane_protocols::score::universe::Universe;

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
        let document = Document::sign(universe(), &key(1));
        let read = Document::from_pem(document.to_pem().as_bytes()).unwrap();
        assert_eq!(read, document);
        assert_eq!(*read.check(&pins("bank", 1)).unwrap().body(), universe());
        assert_eq!(read.check(&pins("bank", 2)).unwrap_err().code(), "SCORE_FINGERPRINT");
        assert_eq!(read.check(&pins("carrier-a", 1)).unwrap_err().code(), "SCORE_FINGERPRINT");
    }

    #[test]
    fn a_record_that_another_signed_or_published_does_not_hold() {
        let mut document = Document::sign(universe(), &key(2));
        document.publisher.key = key(1).verifying_key();
        assert_eq!(document.check(&pins("bank", 1)).unwrap_err().code(), "SIGNATURE_INVALID");
        let mut document = Document::sign(universe(), &key(1));
        document.publisher.party = "carrier-a".parse().unwrap();
        assert_eq!(document.check(&pins("carrier-a", 1)).unwrap_err().code(), "SIGNATURE_INVALID");
    }

    #[test]
    fn other_documents_are_refused() {
        let pem = Document::sign(universe(), &key(1)).to_pem();
        let half = &pem[..pem.find("-----BEGIN WINDVANE UNIVERSE").unwrap()];
        let twice = format!("{half}{half}");
        for text in ["", half, &twice, &pem.replace("WINDVANE UNIVERSE", "WINDVANE TRAIN SCHEMA")] {
            let error = Document::<Universe>::from_pem(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "SCORE_UNIVERSE_INVALID");
        }
    }
}
