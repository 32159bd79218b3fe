//! A table that a provider offers for trainings, as its configuration says.

use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::schema::TrainSchema;
use windvane_protocols::transcript::{Signed, Transcript, commit};

use crate::config::TrainConfig;
use crate::error::Refusal;
use crate::identity::NodeKeys;
use crate::score::universe::SignedUniverse;
use crate::train::TrainRefusal;
use crate::train::features::{FeatureFile, Features};
use crate::train::schema::SignedSchema;

/// A table of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) config: &'a TrainConfig,
    pub(super) keys: &'a NodeKeys,
}

impl Table<'_> {
    /// The fingerprints of all whom this provider trains with, its own among them.
    pub(super) fn pins(&self) -> Pins {
        let own = Fingerprint::of(&self.keys.receipt.verifying_key());
        let pin = |peer: &crate::config::TrainPeer| {
            let checked = "checked when the configuration was read";
            (peer.party.parse().expect(checked), peer.identity.parse().expect(checked))
        };
        self.config.peers.iter().map(pin).chain([(self.keys.party.clone(), own)]).collect()
    }

    /// The list of segments.
    pub(super) fn universe(&self) -> Result<Universe, Refusal> {
        let read = || SignedUniverse::load(&self.config.universe)?.check(&self.pins());
        read().map(|signed| signed.body().clone()).map_err(|error| unusable(error.code(), &error))
    }

    /// The schema of several carriers, if there is one.
    pub(super) fn schema(&self) -> Result<Option<Signed<TrainSchema>>, Refusal> {
        let Some(path) = &self.config.schema else { return Ok(None) };
        let read = || SignedSchema::load(path)?.check(&self.pins());
        read().map(Some).map_err(|error| unusable(error.code(), &error))
    }

    /// The table itself: by its own edges, or by those of a schema.
    pub(super) fn features(
        &self,
        universe: &Universe,
        schema: Option<&TrainSchema>,
    ) -> Result<Features, Refusal> {
        let config = self.config;
        let file = FeatureFile::new(&config.file, &config.number, &config.features);
        let read = match schema {
            None => Features::fit(&file, universe, &()),
            Some(schema) => Features::with_schema(&file, universe, schema, &()),
        };
        read.map_err(|error| unusable(error.code(), &error))
    }

    /// The scoring group whose registry the model goes to.
    pub(super) fn group(&self) -> DataSet {
        let name = self.config.group.as_ref().unwrap_or(&self.config.name);
        name.parse().expect("checked when the configuration was read")
    }

    /// A commitment to a table that tells the bank nothing, and that this node finds again for the same table.
    pub(super) fn commitment(&self, grant: &GrantId, features: &Features) -> [u8; 32] {
        let salt = Transcript::new("windvane/train-input-salt/v1").bytes("grant", grant.as_bytes());
        let salt = commit(self.keys.lookup.secret().expose(), salt.as_bytes());
        let names: Vec<_> = features.names().collect();
        let item = Transcript::new("windvane/train-input/v1")
            .bytes("file", features.digest())
            .text("number", &self.config.number)
            .list("feature", names.iter());
        commit(&salt, item.as_bytes())
    }
}

/// Paths and lines are nobody else's business.
fn unusable(code: &'static str, error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(code, %error, "a table cannot be used for a training");
    TrainRefusal::Table.into()
}
