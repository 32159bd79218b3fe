//! The signed schema of several carriers as a document that its publisher hands over.
//!
//! Two PEM blocks: who publishes, with its key, and the signed features and edges. The key counts for nothing until its
//! fingerprint was held against the pinned one.

use std::path::Path;

use ed25519_dalek::SigningKey;
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Identity, Pins};
use windvane_protocols::train::schema::TrainSchema;
use windvane_protocols::transcript::{Record as _, Signed, SignedError};

const IDENTITY_LABEL: &str = "WINDVANE SCORE IDENTITY";
const SCHEMA_LABEL: &str = "WINDVANE TRAIN SCHEMA";

/// A thousand features with 31 edges each, as text.
const MAX_DOCUMENT_BYTES: usize = 2 << 20;

/// Why a schema is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The document is not one of ours.
    #[error("not a signed schema of a training: {what}")]
    Form {
        /// What is wrong.
        what: String,
    },
    /// The publisher is not pinned.
    #[error("the schema is published by {party}, which is not pinned; name it in [[train.peers]]")]
    Stranger {
        /// The publisher.
        party: PartyId,
    },
    /// The publisher's key is not the pinned one.
    #[error("the schema is signed by a key of {party} with the fingerprint {found}, and {pinned} is pinned")]
    Fingerprint {
        /// The publisher.
        party: PartyId,
        /// Fingerprint of the key in the document.
        found: Fingerprint,
        /// The pinned one.
        pinned: Fingerprint,
    },
    /// The signature does not hold.
    #[error("the schema of a training: {0}")]
    Signature(#[from] SignedError),
}

impl SchemaFileError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Form { .. } => "TRAIN_SCHEMA_INVALID",
            Self::Stranger { .. } | Self::Fingerprint { .. } => "TRAIN_SCHEMA_FINGERPRINT",
            Self::Signature(_) => "SIGNATURE_INVALID",
        }
    }
}

/// A schema with its publisher's signature and key.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedSchema {
    publisher: Identity,
    signed: Signed<TrainSchema>,
}

impl SignedSchema {
    /// Signs a schema in its publisher's name.
    pub fn sign(schema: TrainSchema, key: &SigningKey) -> Self {
        let publisher = Identity { party: schema.publisher().clone(), key: key.verifying_key() };
        Self { publisher, signed: Signed::sign(schema, key) }
    }

    /// Reads a document from a file. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`SchemaFileError::File`], [`SchemaFileError::Form`].
    pub fn load(path: &Path) -> Result<Self, SchemaFileError> {
        Self::from_pem(&read_public(path, MAX_DOCUMENT_BYTES)?)
    }

    /// Reads a document. Nothing of it is trusted yet: [`Self::check`] comes next.
    ///
    /// # Errors
    /// [`SchemaFileError::Form`].
    pub fn from_pem(text: &[u8]) -> Result<Self, SchemaFileError> {
        let form = |what: String| SchemaFileError::Form { what };
        let blocks = pem::parse_many(text).map_err(|error| form(error.to_string()))?;
        let [identity, schema] = &blocks[..] else {
            return Err(form(format!("it has {} blocks, not two", blocks.len())));
        };
        if (identity.tag(), schema.tag()) != (IDENTITY_LABEL, SCHEMA_LABEL) {
            return Err(form(format!("its blocks are not {IDENTITY_LABEL} and {SCHEMA_LABEL}")));
        }
        let publisher = Identity::decode(identity.contents()).map_err(|error| form(error.to_string()))?;
        let signed = Signed::from_bytes_unverified(schema.contents().to_vec());
        Ok(Self { publisher, signed: signed.map_err(|error| form(error.to_string()))? })
    }

    /// The document.
    pub fn to_pem(&self) -> String {
        let identity = pem::Pem::new(IDENTITY_LABEL, self.publisher.encode().into_bytes());
        let schema = pem::Pem::new(SCHEMA_LABEL, self.signed.as_bytes());
        pem::encode_many(&[identity, schema])
    }

    /// Holds publisher, key and signature against pins; gives the schema.
    ///
    /// # Errors
    /// [`SchemaFileError::Stranger`], [`SchemaFileError::Fingerprint`], [`SchemaFileError::Signature`].
    pub fn check(&self, pins: &Pins) -> Result<Signed<TrainSchema>, SchemaFileError> {
        let party = self.publisher.party.clone();
        let found = self.publisher.fingerprint();
        match pins.get(&party) {
            None => return Err(SchemaFileError::Stranger { party }),
            Some(&pinned) if pinned != found => {
                return Err(SchemaFileError::Fingerprint { party, found, pinned });
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

#[cfg(test)]
mod tests {
    use windvane_protocols::train::binning::Edges;
    use windvane_protocols::train::schema::SchemaFeature;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn schema() -> TrainSchema {
        let edges = Edges::new(vec![1.0, 2.0]).unwrap();
        let feature = SchemaFeature { name: "calls".into(), edges };
        TrainSchema::new("carrier-a".parse().unwrap(), vec![feature]).unwrap()
    }

    fn pins(party: &str, seed: u8) -> Pins {
        Pins::from([(party.parse().unwrap(), Fingerprint::of(&key(seed).verifying_key()))])
    }

    #[test]
    fn a_document_is_read_back_and_holds_under_the_pinned_key_alone() {
        let document = SignedSchema::sign(schema(), &key(1));
        let read = SignedSchema::from_pem(document.to_pem().as_bytes()).unwrap();
        assert_eq!(read, document);
        assert_eq!(*read.check(&pins("carrier-a", 1)).unwrap().body(), schema());
        for pins in [pins("carrier-a", 2), pins("carrier-b", 1)] {
            assert_eq!(read.check(&pins).unwrap_err().code(), "TRAIN_SCHEMA_FINGERPRINT");
        }
    }

    #[test]
    fn a_schema_that_another_signed_does_not_hold_and_other_documents_are_refused() {
        let mut document = SignedSchema::sign(schema(), &key(2));
        document.publisher.key = key(1).verifying_key();
        assert_eq!(document.check(&pins("carrier-a", 1)).unwrap_err().code(), "SIGNATURE_INVALID");
        let pem = document.to_pem();
        for text in ["", &pem.replace("TRAIN SCHEMA", "UNIVERSE"), &pem[..pem.len() / 2]] {
            assert_eq!(SignedSchema::from_pem(text.as_bytes()).unwrap_err().code(), "TRAIN_SCHEMA_INVALID");
        }
    }
}
