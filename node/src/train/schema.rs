//! The schema of several carriers as a signed document.

use windvane_protocols::party::PartyId;
use windvane_protocols::train::schema::TrainSchema;

use crate::document::{Document, Kind, Published};

/// A schema with its publisher's signature and key.
pub type SignedSchema = Document<TrainSchema>;

impl Published for TrainSchema {
    const KIND: &'static Kind = &Kind {
        what: "schema of a training",
        label: "WINDVANE TRAIN SCHEMA",
        invalid: "TRAIN_SCHEMA_INVALID",
        fingerprint: "TRAIN_SCHEMA_FINGERPRINT",
    };
    /// A thousand features with 31 edges each, as text.
    const MAX_BYTES: usize = 2 << 20;

    fn publisher(&self) -> &PartyId {
        self.publisher()
    }
}
