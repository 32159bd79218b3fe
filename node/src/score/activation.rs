//! Which epoch and model a bank scores with: activation, rollback, and the end of epochs on either side.
//!
//! **Promised**: what becomes active has passed every check of [`installed`]; a rollback goes to a table that is
//! there byte for byte; the choice changes in one file's rename, and what the log is to have of it stands in the same
//! file until it is queued. So a change that was interrupted is told, once the next command, the monitor's next
//! fallback, or the node's next reload or start finds it. A rollback says which epoch it leaves, and the state says
//! which one the last step back left, so that one that is repeated, after a kill or by two people at once, does not go
//! back a second time, whoever told of the first. What is told late has the time at which it is told, because a log's times do not go back.
//! A kill after the entries were queued, and before they were taken out of the file, queues them again: the log then
//! says twice that the same person made the same choice, as after a command that was repeated, and `audit verify`
//! accepts it. **Not here**: the running node, which reads [`ActiveState`] when it is told that files changed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{FileError, write_private};
use windvane_keys::store::StoreError;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::transcript::{Hash, Record as _};

use super::evidence::EvidenceFileError;
use super::folder::{EpochFolder, FolderError, GroupFolder, read_if_there};
use super::plan::PlanError;
use super::registry::{ModelVersion, Registry, RegistryError, person};
use super::table::ScoreTableError;
use crate::clock::Clock;
use crate::snapshot::disk::{DirectoryLock, at, remove_file};
use crate::store::Store;

pub mod installed;
mod pending;
mod stage;

pub use stage::ChoiceStage;

/// The state, with the choices of many years.
const MAX_STATE_BYTES: usize = 1 << 20;

/// Who acts where no person does.
pub const MONITOR: &str = "monitor";

/// Why nothing is activated, rolled back or retired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// The group's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The keys of an epoch could not be destroyed.
    #[error(transparent)]
    Keys(#[from] StoreError),
    /// The log's entries could not be queued.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The state does not parse.
    #[error("{path} is damaged: {message}")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Only the bank chooses.
    #[error(
        "the bank of group {group} chooses what it scores with; a provider serves every epoch until it retires it"
    )]
    NotBank {
        /// The group.
        group: DataSet,
    },
    /// The table of the epoch.
    #[error(transparent)]
    Table(#[from] ScoreTableError),
    /// The epoch's setup is not finished here, or does not hold.
    #[error(transparent)]
    Evidence(#[from] EvidenceFileError),
    /// What the epoch was set up under.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The evidence is that of another epoch or group.
    #[error(
        "the evidence of epoch {epoch} is that of another epoch or group; run `score setup` for a new epoch"
    )]
    Foreign {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch was set up for another model.
    #[error(
        "epoch {epoch} was set up for another model than {model}; activate the model that stands in its terms, or set up a new epoch for this one"
    )]
    Model {
        /// The epoch.
        epoch: u64,
        /// The model that was named.
        model: String,
    },
    /// The epoch has ended.
    #[error("epoch {epoch} is retired, which has no way back; set up a new epoch")]
    Retired {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch is in use.
    #[error(
        "epoch {epoch} is active; first activate another with `score activate`, go back with `score rollback --from {epoch}`, or stop scoring with `score fallback --rules-only`"
    )]
    Active {
        /// The epoch.
        epoch: u64,
    },
    /// Nothing is active.
    #[error("no model of group {group} is active; `score activate` makes one so")]
    NothingActive {
        /// The group.
        group: DataSet,
    },
    /// A rollback from an epoch that is not in use.
    #[error(
        "epoch {from} of group {group} is not active, epoch {active} is; `windvane score rollback --group {group} --from {active} --by NAME` goes back from that one"
    )]
    NotActive {
        /// The group.
        group: DataSet,
        /// The epoch that was to be left.
        from: u64,
        /// The active one.
        active: u64,
    },
    /// No earlier choice is whole.
    #[error(
        "no earlier epoch of group {group} is left whose table is whole. Publish the old model{} in a new epoch: here `windvane score setup --group FILE` with the group's file, which names the model, at every provider `windvane score publish --group {group} --model {}`, then here `windvane score fetch --group {group}` and `windvane score activate --group {group} --epoch N --model {}`. Until then: `windvane score fallback --rules-only --group {group}`",
        .model.as_ref().map(|model| format!(" {model}")).unwrap_or_default(),
        .model.as_deref().unwrap_or("NAME"),
        .model.as_deref().unwrap_or("NAME")
    )]
    NoStandby {
        /// The group.
        group: DataSet,
        /// The model that was active before, where there was one.
        model: Option<String>,
    },
}

impl ActivationError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::State { .. } => "SCORE_STATE_DAMAGED",
            Self::NotBank { .. } => "SCORE_NOT_BANK",
            Self::Table(error) => error.code(),
            Self::Evidence(error) => error.code(),
            Self::Plan(error) => error.code(),
            Self::Foreign { .. } => "SCORE_EVIDENCE_INVALID",
            Self::Model { .. } => "SCORE_MODEL_MISMATCH",
            Self::Retired { .. } => "SCORE_EPOCH_RETIRED",
            Self::Active { .. } => "SCORE_EPOCH_ACTIVE",
            Self::NothingActive { .. } => "SCORE_NOT_ACTIVE",
            Self::NotActive { .. } => "SCORE_EPOCH_NOT_ACTIVE",
            Self::NoStandby { .. } => "SCORE_NO_STANDBY",
        }
    }
}

/// An epoch, and the model whose parts its table carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The epoch.
    pub epoch: u64,
    /// The model's name.
    pub model: String,
}

/// `state`: what a bank scores with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveState {
    /// What is active.
    pub active: Option<Choice>,
    /// What was active before, oldest first: standby epochs that a rollback can go to.
    pub previous: Vec<Choice>,
    /// Whether no score is used at present.
    pub rules_only: bool,
    /// The epoch that was left for an earlier one, by a person or the monitor, unless something was activated since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// What the log is to have of the last change and nobody has queued yet; a handful, since each change queues first
    /// what it finds.
    #[serde(default, with = "pending", skip_serializing_if = "Vec::is_empty")]
    pending: Vec<Entry>,
}

impl ActiveState {
    /// Reads a group's state; the empty one where there is none yet.
    ///
    /// # Errors
    /// [`ActivationError::File`], [`ActivationError::State`].
    pub fn load(folder: &GroupFolder) -> Result<Self, ActivationError> {
        let path = folder.join("state");
        let Some(bytes) = read_if_there(&path, MAX_STATE_BYTES)? else { return Ok(Self::default()) };
        let damaged = |error: serde_json::Error| ActivationError::State { path, message: error.to_string() };
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    fn store(&self, folder: &GroupFolder) -> Result<(), ActivationError> {
        let json = serde_json::to_vec_pretty(self).expect("texts, numbers and lists always serialise");
        Ok(write_private(&folder.join("state"), &json)?)
    }

    /// What is scored with at present.
    pub fn in_use(&self) -> Option<&Choice> {
        self.active.as_ref().filter(|_| !self.rules_only)
    }

    /// Forgets an epoch that ends.
    pub(crate) fn forget(&mut self, epoch: u64, folder: &GroupFolder) -> Result<(), ActivationError> {
        let before = self.clone();
        self.active.take_if(|choice| choice.epoch == epoch);
        self.previous.retain(|choice| choice.epoch != epoch);
        if *self == before { Ok(()) } else { self.store(folder) }
    }

    /// The same choice, now active, with what was active before it among the previous ones.
    fn with(&self, choice: Choice) -> Self {
        let earlier = self.previous.iter().chain(&self.active).filter(|other| **other != choice);
        Self { previous: earlier.cloned().collect(), active: Some(choice), ..Self::default() }
    }
}

/// A group's epochs and models in one party's hands, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle<'a> {
    /// The group's folder.
    pub folder: &'a GroupFolder,
    /// Who this is.
    pub party: &'a PartyId,
    /// Where entries wait for the log.
    pub store: &'a Store,
    /// Read when something is told: checks of whole tables take minutes.
    pub clock: &'a dyn Clock,
}

impl Lifecycle<'_> {
    /// Makes an epoch and its model active at the bank, and ends a fallback to rules.
    ///
    /// # Errors
    /// [`ActivationError`]: nothing changed, or with [`ActivationError::Store`] what changed is not told yet.
    pub fn activate(&self, epoch: u64, model: &str, by: &str) -> Result<ActiveState, ActivationError> {
        let by = person(by)?;
        let _held = self.folder.lock()?;
        self.settle()?;
        self.choose(Choice { epoch, model: model.to_owned() }, "activated", &by, ActiveState::with)?;
        self.settle()
    }

    /// Leaves the active epoch `from` for the newest previous choice that still passes every check of an activation.
    /// Where the last step back left it already, only what is not told of that yet is told.
    ///
    /// # Errors
    /// [`ActivationError::NoStandby`], [`ActivationError::NotActive`] and others, as of [`Self::activate`].
    pub fn rollback(&self, from: u64, by: &str) -> Result<ActiveState, ActivationError> {
        let by = person(by)?;
        let _held = self.folder.lock()?;
        let state = self.settle()?;
        let group = || self.folder.group().clone();
        match state.active.as_ref().map(|choice| choice.epoch) {
            Some(active) if active == from => {}
            _ if state.left == Some(from) => return Ok(state),
            Some(active) => return Err(ActivationError::NotActive { group: group(), from, active }),
            None => return Err(ActivationError::NothingActive { group: group() }),
        }
        self.step_back("rolled back", &by)?;
        self.settle()
    }

    /// Decides by the rules alone until the next activation or rollback.
    ///
    /// # Errors
    /// [`ActivationError::NothingActive`] and others, as of [`Self::activate`].
    pub fn rules_only(&self, by: &str) -> Result<ActiveState, ActivationError> {
        let by = person(by)?;
        let _held = self.folder.lock()?;
        self.settle()?;
        self.stop_scoring(&by)?;
        self.settle()
    }

    /// Queues what an interrupted change left for the log. Where another command holds the group, it is left to that
    /// one or the next.
    ///
    /// # Errors
    /// [`ActivationError`]: it is still to be told.
    pub fn tell_what_is_left(&self) -> Result<(), ActivationError> {
        if ActiveState::load(self.folder)?.pending.is_empty() {
            return Ok(());
        }
        match self.folder.lock() {
            Ok(_held) => self.settle().map(drop),
            Err(FolderError::Busy { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends an epoch for good: marks it, lets `destroy` destroy its secret keys, and removes its table. What others
    /// signed stays. Nothing is done twice when it is repeated.
    ///
    /// # Errors
    /// [`ActivationError::Active`] and others; `SCORE_BUSY` while the epoch's table is built or fetched.
    pub fn retire(
        &self,
        epoch: u64,
        by: &str,
        destroy: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<ActiveState, ActivationError> {
        let by = person(by)?;
        let _held = self.folder.lock()?;
        let mut state = self.settle()?;
        if state.in_use().is_some_and(|choice| choice.epoch == epoch) {
            return Err(ActivationError::Active { epoch });
        }
        let folder = self.folder.epoch(epoch);
        let ended = installed::evidence(self.folder, epoch)?;
        let busy = || FolderError::Busy { path: folder.path().to_owned() };
        // A table that is built or fetched meanwhile would come after the end.
        let _unused = DirectoryLock::try_acquire(folder.path())?.ok_or_else(busy)?;
        state.forget(epoch, self.folder)?;
        // From the marker on nothing loads the epoch again, so its keys cannot come back into use.
        folder.retire(&by, self.clock.now_ms())?;
        destroy()?;
        remove_tables(&folder)?;
        // Nothing waits in the state for it: all of this is repeated, and told, where it is interrupted.
        self.tell([
            self.model_event(ended.charter().terms().model, "retired", &by),
            self.epoch_event(epoch, "retired", *ended.context()),
        ])?;
        Ok(state)
    }

    /// Queues what the last change left for the log, all of it or nothing, and gives the state without it. The caller
    /// holds the group's folder, and does this before a change and after it.
    pub(super) fn settle(&self) -> Result<ActiveState, ActivationError> {
        let mut state = ActiveState::load(self.folder)?;
        if !state.pending.is_empty() {
            self.tell(state.pending.drain(..).map(|entry| entry.event))?;
            ChoiceStage::Told.reached();
            state.store(self.folder)?;
        }
        Ok(state)
    }

    /// Queues what goes with no change of the state, all of it or nothing.
    pub(super) fn tell(&self, events: impl IntoIterator<Item = Event>) -> Result<(), ActivationError> {
        let entries: Vec<_> =
            self.entries(events).into_iter().map(|entry| entry.encode().into_bytes()).collect();
        Ok(self.store.queue_entries(&entries)?)
    }

    fn entries(&self, events: impl IntoIterator<Item = Event>) -> Vec<Entry> {
        events.into_iter().map(|event| Entry::new(self.clock.now_ms(), event)).collect()
    }

    /// The caller holds the group's folder, and settles.
    pub(super) fn stop_scoring(&self, by: &str) -> Result<(), ActivationError> {
        let mut state = ActiveState::load(self.folder)?;
        let model = self.active_model(&state)?;
        state.rules_only = true;
        state.pending.extend(self.entries([self.model_event(model, "fallback", by)]));
        state.store(self.folder)?;
        ChoiceStage::Chosen.reached();
        Ok(())
    }

    /// Passes over a choice that does not pass its checks. That one which does could not be stored, on a full disk perhaps,
    /// says nothing against it, and nothing is stepped over for it. The caller holds the group's folder, and settles.
    pub(super) fn step_back(&self, action: &str, by: &str) -> Result<(), ActivationError> {
        let state = ActiveState::load(self.folder)?;
        for (index, choice) in state.previous.iter().enumerate().rev() {
            let earlier = state.previous[..index].to_vec();
            let back = |before: &ActiveState, choice| ActiveState {
                active: Some(choice),
                previous: earlier,
                left: before.active.as_ref().map(|choice| choice.epoch),
                ..ActiveState::default()
            };
            match self.check(choice) {
                Ok(checked) => return self.store(checked, choice.clone(), action, by, back),
                Err(error) => {
                    let Choice { epoch, model } = choice;
                    tracing::warn!(code = error.code(), %error, epoch, %model, "no way back to this epoch");
                }
            }
        }
        let model = state.previous.last().or(state.active.as_ref()).map(|choice| choice.model.clone());
        Err(ActivationError::NoStandby { group: self.folder.group().clone(), model })
    }

    /// Digest of the card of the active model, in use or not. A damaged version must not keep anybody from stopping
    /// its use, so the epoch's terms name it.
    pub(super) fn active_model(&self, state: &ActiveState) -> Result<Hash, ActivationError> {
        let nothing = || ActivationError::NothingActive { group: self.folder.group().clone() };
        let choice = state.active.as_ref().ok_or_else(nothing)?;
        let epoch = installed::evidence(self.folder, choice.epoch);
        let by_name = |_| Registry::new(self.folder.clone()).open(&choice.model).map(|model| model.digest());
        Ok(epoch.map(|epoch| epoch.charter().terms().model).or_else(by_name)?)
    }

    pub(super) fn model_event(&self, model: Hash, action: &str, by: &str) -> Event {
        let group = self.folder.group().clone();
        Event::ScoreModel { group, model, action: action.to_owned(), by: by.to_owned() }
    }

    fn epoch_event(&self, epoch: u64, state: &str, digest: Hash) -> Event {
        Event::ScoreEpoch { group: self.folder.group().clone(), epoch, state: state.to_owned(), digest }
    }

    fn choose(
        &self,
        choice: Choice,
        action: &str,
        by: &str,
        change: impl FnOnce(&ActiveState, Choice) -> ActiveState,
    ) -> Result<(), ActivationError> {
        let checked = self.check(&choice)?;
        self.store(checked, choice, action, by, change)
    }

    /// Whether an epoch and its model may be used: both, where they may.
    fn check(&self, choice: &Choice) -> Result<(Epoch, ModelVersion), ActivationError> {
        let epoch = installed::check(self.folder, choice.epoch, self.party)?;
        let model = Registry::new(self.folder.clone()).approved(&choice.model)?;
        if model.digest() == epoch.charter().terms().model {
            Ok((epoch, model))
        } else {
            Err(ActivationError::Model { epoch: choice.epoch, model: choice.model.clone() })
        }
    }

    /// Makes a choice that passed its checks. What the log is to have stands beside it, behind what it still had to have.
    fn store(
        &self,
        (epoch, mut model): (Epoch, ModelVersion),
        choice: Choice,
        action: &str,
        by: &str,
        change: impl FnOnce(&ActiveState, Choice) -> ActiveState,
    ) -> Result<(), ActivationError> {
        let before = ActiveState::load(self.folder)?;
        let mut events = vec![
            self.model_event(model.digest(), action, by),
            self.epoch_event(choice.epoch, "active", *epoch.context()),
        ];
        if let Some(old) = before.active.as_ref().filter(|old| old.epoch != choice.epoch) {
            // One whose evidence no longer holds has no context to tell of.
            let old_epoch = installed::evidence(self.folder, old.epoch);
            events.extend(old_epoch.ok().map(|it| self.epoch_event(old.epoch, "standby", *it.context())));
        }
        model.note_activation(choice.epoch, by, self.clock.now_ms())?;
        let pending = before.pending.iter().cloned().chain(self.entries(events)).collect();
        let state = ActiveState { pending, ..change(&before, choice) };
        state.store(self.folder)?;
        ChoiceStage::Chosen.reached();
        Ok(())
    }
}

/// Removes the table of an epoch and what is left of unfinished ones.
fn remove_tables(folder: &EpochFolder) -> Result<(), ActivationError> {
    for entry in std::fs::read_dir(folder.path()).map_err(at(folder.path()))? {
        let entry = entry.map_err(at(folder.path()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.path().is_file() && (name.starts_with("table") || name.starts_with("sum.")) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
