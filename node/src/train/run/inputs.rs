//! What a training reads every time: the list of segments and the bank's own features.

use serde::{Deserialize, Serialize};
use windvane_protocols::score::group::Fingerprint;
use windvane_protocols::score::universe::Universe;

use super::error::TrainError;
use super::folder::TrainFolder;
use super::plan::Checked;
use crate::dataset::Progress;
use crate::error::NodeError;
use crate::identity::NodeKeys;
use crate::score::universe::SignedUniverse;
use crate::table::{TableOptions, TableReader};
use crate::train::features::{FeatureError, FeatureFile, Features};

/// Digests of what a training reads every time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::train) struct Inputs {
    universe: String,
    features: String,
}

impl Inputs {
    pub(super) const NAME: &'static str = "inputs.json";

    pub(in crate::train) fn of(universe: &Universe, features: &Features) -> Self {
        Self { universe: hex::encode(universe.digest()), features: hex::encode(features.digest()) }
    }

    /// Holds them against those that the training began with.
    pub(in crate::train) fn check(&self, folder: &TrainFolder, checked: &Checked) -> Result<(), TrainError> {
        let before: Option<Self> = folder.read_json(Self::NAME)?;
        let path = match before {
            Some(before) if before == *self => return Ok(()),
            Some(before) if before.universe != self.universe => checked.plan.universe.clone(),
            _ => checked.plan.features_path().to_owned(),
        };
        Err(TrainError::InputChanged { path })
    }
}

/// The signed list of segments, under the pins of the plan.
pub(in crate::train) fn universe(keys: &NodeKeys, checked: &Checked) -> Result<Universe, TrainError> {
    let own = (keys.party.clone(), Fingerprint::of(&keys.receipt.verifying_key()));
    let signed = SignedUniverse::load(&checked.plan.universe).and_then(|doc| doc.check(&checked.pins(own)));
    Ok(signed.map_err(NodeError::from)?.body().clone())
}

/// The bank's own features: the named columns, or all but number and label.
pub(in crate::train) fn features(
    checked: &Checked,
    universe: &Universe,
    progress: &dyn Progress,
) -> Result<Features, TrainError> {
    let (plan, path) = (&checked.plan, checked.plan.features_path());
    let mut columns = plan.columns.clone();
    if columns.is_empty() {
        let reader = TableReader::open(path, TableOptions::default()).map_err(FeatureError::from)?;
        let other = |name: &&String| **name != plan.number && **name != plan.label;
        columns = reader.header().iter().filter(other).cloned().collect();
    }
    Ok(Features::fit(&FeatureFile::new(path, &plan.number, &columns), universe, progress)?)
}
