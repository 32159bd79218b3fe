//! The life of a group's models and epochs: adding, approving, activating, rolling back, retiring.
//!
//! Files change first and the log's entry is queued after. So a command that adds, approves or retires and was
//! interrupted in between is repeated: it then changes nothing more and queues the entry. What changes the choice keeps
//! its entries beside it until they are queued: see [`crate::score::activation`].

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha512};
use windvane_keys::files::read_public;
use windvane_keys::record::KeyRecord;
use windvane_keys::score::destroy_member_keys;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::Hash;

use super::super::Admin;
use crate::dataset::Progress;
use crate::error::NodeError;
use crate::score::activation::{ActiveState, Lifecycle};
use crate::score::card;
use crate::score::folder::{FolderError, GroupFolder, ScoreFolder};
use crate::score::parts::{DenseParts, PartsFile, PartsReport};
use crate::score::plan::GroupPlan;
use crate::score::registry::{Description, Drift, ModelVersion, Registry, RegistryError, VersionRecord};

/// The receipt of a training, of which only the digest is kept.
const MAX_TRAINING_RECEIPT_BYTES: usize = 64 << 20;

/// The files of a new version.
#[derive(Debug, Clone, Copy)]
pub struct ModelFiles<'a> {
    /// The card, TOML.
    pub card: &'a Path,
    /// Numbers and their parts, and the part of all other numbers.
    pub parts: Option<(&'a Path, u8)>,
    /// The receipt of the model's training.
    pub training_receipt: Option<&'a Path>,
}

/// What adding a version found.
#[derive(Debug, Clone, Serialize)]
pub struct AddedModel {
    /// The version.
    #[serde(flatten)]
    pub status: ModelStatus,
    /// What its file of parts had.
    pub report: Option<PartsReport>,
    /// Where the file's refused lines are listed.
    pub rejects: Option<PathBuf>,
}

/// A version, and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ModelStatus {
    /// What is recorded of it.
    #[serde(flatten)]
    pub record: VersionRecord,
    /// In which epoch it is active.
    pub active_epoch: Option<u64>,
    /// In which epochs a rollback can go to it.
    pub standby_epochs: Vec<u64>,
    /// How far its parts are from the version before it.
    pub drift: Option<Drift>,
}

impl Admin {
    /// Adds a version of a model to a group's registry; the same content again is no change.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn add_model(
        &self,
        group: &DataSet,
        files: &ModelFiles<'_>,
        description: &Description,
        progress: &dyn Progress,
    ) -> Result<AddedModel, NodeError> {
        let (folder, plan) = self.score_group(group)?;
        let card = card::load(files.card)?;
        let mut description = description.clone();
        description.training_receipt = files.training_receipt.map(file_digest).transpose()?;
        let _held = folder.lock()?;
        let rejects = folder.join("parts-rejects.csv");
        let import = |(path, default)| {
            let file = PartsFile {
                path,
                number_column: PartsFile::NUMBER_COLUMN,
                part_column: PartsFile::PART_COLUMN,
                default,
                rejects: &rejects,
            };
            DenseParts::import(&file, &plan.universe, progress)
        };
        let imported = files.parts.map(import).transpose()?;
        if imported.is_none() && plan.requester.party != self.keys.party {
            return Err(RegistryError::PartsMissing.into());
        }
        let (parts, report) = imported.unzip();
        let registry = Registry::new(folder.clone());
        let now_ms = self.clock.now_ms();
        let version = registry.add(&card, parts.as_ref(), &description, &self.keys.storage, now_ms)?;
        let by = version.record().added_by.clone();
        self.tell([model_event(group, version.digest(), "added", &by)])?;
        let rejects = report.is_some().then_some(rejects);
        Ok(AddedModel { status: status(&registry, &ActiveState::load(&folder)?, &version)?, report, rejects })
    }

    /// Approves a version in a second person's name.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn approve_model(&self, group: &DataSet, name: &str, by: &str) -> Result<ModelStatus, NodeError> {
        let (folder, _) = self.score_group(group)?;
        let _held = folder.lock()?;
        let registry = Registry::new(folder.clone());
        let version = registry.approve(name, by, self.clock.now_ms())?;
        self.tell([model_event(group, version.digest(), "approved", by.trim())])?;
        status(&registry, &ActiveState::load(&folder)?, &version)
    }

    /// All versions of a group, oldest first; one whose files were altered is left out with a warning.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn models(&self, group: &DataSet) -> Result<Vec<ModelStatus>, NodeError> {
        let (folder, _) = self.score_group(group)?;
        let (registry, state) = (Registry::new(folder.clone()), ActiveState::load(&folder)?);
        registry.list()?.iter().map(|version| status(&registry, &state, version)).collect()
    }

    /// One version.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn model(&self, group: &DataSet, name: &str) -> Result<ModelStatus, NodeError> {
        let (folder, _) = self.score_group(group)?;
        let registry = Registry::new(folder.clone());
        status(&registry, &ActiveState::load(&folder)?, &registry.open(name)?)
    }

    /// A version's card as a file, for the group file of an epoch: what a training added has none. Nobody needs to have
    /// joined the group yet.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn model_card(&self, group: &DataSet, name: &str) -> Result<String, NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(group);
        Ok(card::to_toml(Registry::new(folder).open(name)?.card()))
    }

    /// The parts of a version that may be published: approved, byte for byte what was approved, and the model that
    /// `plan`, an epoch's, names. What `score publish` takes.
    ///
    /// # Errors
    /// [`NodeError`]; `MODEL_NOT_APPROVED`, `MODEL_CHANGED`, and `SCORE_MODEL_DIFFERS` when the epoch was set up for
    /// another model.
    pub fn approved_parts(&self, plan: &GroupPlan, name: &str) -> Result<DenseParts, NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(&plan.group);
        let model = Registry::new(folder).approved(name)?;
        if model.digest() != plan.model.digest() {
            let message = format!(
                "the epoch of {} was set up for the model {}, and not for this {name}; set up a new epoch for it",
                plan.group,
                plan.model.name()
            );
            return Err(NodeError::Given { code: "SCORE_MODEL_DIFFERS", message });
        }
        Ok(model.parts(&self.keys.storage, &plan.universe)?)
    }

    /// Makes an epoch and its model active at the bank.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn activate_score(
        &self,
        group: &DataSet,
        epoch: u64,
        model: &str,
        by: &str,
    ) -> Result<ActiveState, NodeError> {
        self.change_score(group, |life| Ok(life.activate(epoch, model, by)?))
    }

    /// Leaves an epoch for the newest earlier one whose table is whole; repeated, it changes nothing more.
    ///
    /// # Errors
    /// [`NodeError`]; `SCORE_EPOCH_NOT_ACTIVE` where another epoch is active, which the last step back did not reach
    /// from this one.
    pub fn roll_back_score(&self, group: &DataSet, from: u64, by: &str) -> Result<ActiveState, NodeError> {
        self.change_score(group, |life| Ok(life.rollback(from, by)?))
    }

    /// Lets the rules alone decide until the next activation or rollback.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn score_by_rules_only(&self, group: &DataSet, by: &str) -> Result<ActiveState, NodeError> {
        self.change_score(group, |life| Ok(life.rules_only(by)?))
    }

    /// Ends an epoch for good, on either side: its secret keys are destroyed and its table is removed.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn retire_score(&self, group: &DataSet, epoch: u64, by: &str) -> Result<ActiveState, NodeError> {
        let mut destroyed = Vec::new();
        let state = self.change_score(group, |life| {
            Ok(life.retire(epoch, by, || {
                destroyed = destroy_member_keys(&self.keys.store, group, epoch)?;
                Ok(())
            })?)
        })?;
        let told = |record: KeyRecord| {
            let (purpose, state) = (record.purpose.to_string(), "destroyed".to_owned());
            Event::Key { purpose, public: record.public, state }
        };
        self.tell(destroyed.into_iter().map(told))?;
        Ok(state)
    }

    fn change_score(
        &self,
        group: &DataSet,
        change: impl FnOnce(&Lifecycle<'_>) -> Result<ActiveState, NodeError>,
    ) -> Result<ActiveState, NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(group);
        if GroupPlan::kept_digest(&folder)?.is_none() {
            return Err(FolderError::NoGroup { group: group.clone() }.into());
        }
        let (party, clock) = (&self.keys.party, &*self.clock);
        let state = change(&Lifecycle { folder: &folder, party, store: &self.store, clock })?;
        self.flush()?;
        Ok(state)
    }

    fn score_group(&self, group: &DataSet) -> Result<(GroupFolder, GroupPlan), NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(group);
        let plan = GroupPlan::open(&folder)?;
        Ok((folder, plan))
    }
}

fn model_event(group: &DataSet, model: Hash, action: &str, by: &str) -> Event {
    Event::ScoreModel { group: group.clone(), model, action: action.to_owned(), by: by.to_owned() }
}

fn status(
    registry: &Registry,
    state: &ActiveState,
    version: &ModelVersion,
) -> Result<ModelStatus, NodeError> {
    let name = version.name();
    let active = state.active.as_ref();
    let drift = registry.drift(name, active.map(|choice| choice.model.as_str()))?;
    let standby = state.previous.iter().filter(|choice| choice.model == name);
    Ok(ModelStatus {
        record: version.record().clone(),
        active_epoch: active.filter(|choice| choice.model == name).map(|choice| choice.epoch),
        standby_epochs: standby.map(|choice| choice.epoch).collect(),
        drift,
    })
}

fn file_digest(path: &Path) -> Result<[u8; 64], NodeError> {
    Ok(Sha512::digest(read_public(path, MAX_TRAINING_RECEIPT_BYTES)?).into())
}

#[cfg(test)]
mod tests;
