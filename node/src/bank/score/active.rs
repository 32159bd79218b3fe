//! What the bank scores with now: read again when a command or the monitor changed it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windvane_protocols::lookup::DataSet;

use super::Scoring;
use crate::config::{Fallback, ScoreConfig};
use crate::error::NodeError;
use crate::provider::Shared;
use crate::score::activation::{ActiveState, Choice, Lifecycle};
use crate::score::folder::{GroupFolder, ScoreFolder};
use crate::score::monitor::{Monitor, Observation, Outcome, Verdict};
use crate::score::plan::GroupPlan;
use crate::score::reaction::apply;
use crate::score::registry::Registry;
use crate::score::table::SummedTable;
use crate::verification::{Colour, ScoreReport};

/// What is scored with, and what keeps the bank from it.
#[derive(Debug, Default)]
pub(in crate::bank) struct Active {
    pub(in crate::bank) scoring: Option<Arc<Scoring>>,
    /// What is active and cannot be used, as every customer's report.
    pub(in crate::bank) failure: Option<ScoreReport>,
}

/// A group, the choice that is in use there, and who watches it.
#[derive(Debug)]
pub(super) struct Watch {
    folder: GroupFolder,
    choice: Choice,
    monitor: Mutex<Monitor>,
    fallback: Fallback,
}

impl Active {
    /// Reads the first group with something in use. What is unchanged stays, its table too, and its monitor goes on.
    /// What cannot be used is no error, but its report.
    ///
    /// # Errors
    /// The folder of groups cannot be read.
    pub(in crate::bank) fn load(
        shared: &Shared,
        config: &ScoreConfig,
        before: &Self,
    ) -> Result<Self, NodeError> {
        let folders = ScoreFolder::new(&shared.layout);
        let groups = folders.groups()?;
        for group in &groups {
            tell_what_is_left(shared, &folders.group(group));
        }
        for group in groups {
            let folder = folders.group(&group);
            let choice = match ActiveState::load(&folder) {
                Ok(state) => state.in_use().cloned(),
                Err(error) => return Ok(Self::failed(&group, None, &error.into())),
            };
            let Some(choice) = choice else { continue };
            let same = |scoring: &&Arc<Scoring>| {
                scoring.watch.is_of(&folder, &choice) && !scoring.table.is_replaced()
            };
            if let Some(scoring) = before.scoring.as_ref().filter(same) {
                return Ok(Self { scoring: Some(scoring.clone()), failure: None });
            }
            return Ok(match open(shared, config, folder, choice.clone()) {
                Ok(scoring) => Self { scoring: Some(Arc::new(scoring)), failure: None },
                Err(error) => Self::failed(&group, Some(&choice), &error),
            });
        }
        Ok(Self::default())
    }

    /// Whether what is active is in use, with the table that stands there.
    pub(in crate::bank) fn is_whole(&self) -> bool {
        self.failure.is_none() && self.scoring.as_ref().is_none_or(|scoring| !scoring.table.is_replaced())
    }

    fn failed(group: &DataSet, choice: Option<&Choice>, error: &NodeError) -> Self {
        tracing::error!(code = error.code(), %group, %error, "the active scoring epoch cannot be used");
        let (epoch, model) = choice.map_or((0, ""), |choice| (choice.epoch, choice.model.as_str()));
        let report = ScoreReport::unavailable(group, epoch, model, error.code());
        Self { scoring: None, failure: Some(report) }
    }
}

/// What it queues is taken into the log by the next reload.
fn tell_what_is_left(shared: &Shared, folder: &GroupFolder) {
    if let Err(error) = life(shared, folder).tell_what_is_left() {
        let (code, group) = (error.code(), folder.group());
        tracing::error!(code, %group, %error, "an interrupted change of the score is not in the log yet");
    }
}

fn life<'a>(shared: &'a Shared, folder: &'a GroupFolder) -> Lifecycle<'a> {
    Lifecycle { folder, party: &shared.keys.party, store: &shared.store, clock: &*shared.clock }
}

fn open(
    shared: &Shared,
    config: &ScoreConfig,
    folder: GroupFolder,
    choice: Choice,
) -> Result<Scoring, NodeError> {
    let plan = GroupPlan::open_for(&folder, choice.epoch)?;
    let dir = folder.epoch(choice.epoch);
    let epoch = dir.evidence(&plan.pins())?;
    let table = SummedTable::open(&dir, &epoch)?;
    let model = Registry::new(folder.clone()).approved(&choice.model)?;
    let has_parts = model.record().parts.is_some();
    let own = has_parts.then(|| model.parts(&shared.keys.storage, &plan.universe)).transpose()?;
    let monitor = Mutex::new(Monitor::new(model.card(), config));
    let watch = Watch { folder, choice, monitor, fallback: config.fallback };
    Ok(Scoring { epoch, universe: plan.universe, card: model.card().clone(), table, own, watch })
}

impl Watch {
    fn is_of(&self, folder: &GroupFolder, choice: &Choice) -> bool {
        self.folder.group() == folder.group() && self.choice == *choice
    }

    fn monitor(&self) -> MutexGuard<'_, Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scoring {
    /// Counts the calls of a run about applicants; a verdict is carried out on a thread of its own. What it changes
    /// reaches the bank as a command's changes do.
    pub(in crate::bank) fn observe(
        self: &Arc<Self>,
        shared: &Shared,
        calls: impl Iterator<Item = (Outcome, Colour)>,
    ) {
        let mut monitor = self.watch.monitor();
        let observations = calls.map(|(outcome, colour)| Observation { outcome, colour: Some(colour) });
        let judged = observations.filter_map(|observation| monitor.observe(&observation));
        let verdicts: Vec<_> = judged.filter(|verdict| *verdict != Verdict::Fine).collect();
        if !verdicts.is_empty() {
            let (scoring, shared) = (self.clone(), shared.clone());
            tokio::task::spawn_blocking(move || verdicts.iter().for_each(|v| scoring.react(&shared, v)));
        }
    }

    fn react(&self, shared: &Shared, verdict: &Verdict) {
        let Watch { folder, choice, fallback, .. } = &self.watch;
        if let Err(error) = apply(verdict, choice, &life(shared, folder), *fallback) {
            self.watch.monitor().untold();
            tracing::error!(code = error.code(), %error, "what the score's monitor found was not carried out");
        }
    }
}
