//! A table that a provider offers for trainings, as its configuration says.

use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::schema::TrainSchema;
use windvane_protocols::transcript::{Hash, Signed, Transcript, commit};

use crate::config::TrainConfig;
use crate::error::{NodeError, Refusal};
use crate::identity::NodeKeys;
use crate::score::universe::SignedUniverse;
use crate::train::TrainRefusal;
use crate::train::features::{FeatureFile, Features};
use crate::train::schema::SignedSchema;

/// What a table holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) universe: Universe,
    pub(super) schema: Option<Signed<TrainSchema>>,
    pub(super) features: Features,
}

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
    pub(super) fn universe(&self) -> Result<Universe, NodeError> {
        Ok(SignedUniverse::load(&self.config.universe)?.check(&self.pins())?.body().clone())
    }

    /// The schema of several carriers, if there is one.
    fn schema(&self) -> Result<Option<Signed<TrainSchema>>, NodeError> {
        let Some(path) = &self.config.schema else { return Ok(None) };
        Ok(Some(SignedSchema::load(path)?.check(&self.pins())?))
    }

    /// The table itself: by its own edges, or by those of a schema.
    fn features(&self, universe: &Universe, schema: Option<&TrainSchema>) -> Result<Features, NodeError> {
        let config = self.config;
        let file = FeatureFile::new(&config.file, &config.number, &config.features);
        let features = match schema {
            None => Features::fit(&file, universe, &())?,
            Some(schema) => Features::with_schema(&file, universe, schema, &())?,
        };
        Ok(features.check_bins(&file)?)
    }

    /// Everything of it, for a provider that is alone in its unit or one of several.
    pub(super) fn read(&self, alone: bool) -> Result<Contents, NodeError> {
        self.contents(self.universe()?, alone)
    }

    /// What a table holds beside its list of segments.
    pub(super) fn contents(&self, universe: Universe, alone: bool) -> Result<Contents, NodeError> {
        let schema = if alone { None } else { self.schema()? };
        let features = self.features(&universe, schema.as_ref().map(Signed::body))?;
        Ok(Contents { universe, schema, features })
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

impl Contents {
    /// The schema as an announcement names it.
    pub(super) fn schema_digest(&self) -> Hash {
        self.schema.as_ref().map_or([0; 64], Signed::digest)
    }
}

/// Whether a table of a configuration can be used, alone and, where it has a schema, as one of several.
///
/// # Errors
/// [`NodeError`] with the file, the line, the column and the rule.
pub fn check_table(config: &TrainConfig, keys: &NodeKeys) -> Result<(), NodeError> {
    let table = Table { config, keys };
    table.read(true)?;
    if config.schema.is_some() {
        table.read(false)?;
    }
    Ok(())
}

/// Paths and lines are nobody else's business.
pub(super) fn unusable(error: &NodeError) -> Refusal {
    tracing::error!(code = error.code(), %error, "a table cannot be used for a training");
    TrainRefusal::Table.into()
}
