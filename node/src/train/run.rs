//! A bank's training, from its plan to the model in its registry.
//!
//! **Promised.** What a training needs is in its folder before anything is sent, and every answer is there before the
//! next question: a bank that was killed anywhere goes on to the same model, byte for byte. All providers are asked at
//! a time. Every message is held against what it must be, and an error names the provider and what was being done.
//! Labels, positions and the seed are on the disk sealed only, and in no log and no error.
//!
//! **Not promised.** That a training goes on without one of its providers: masks cancel over all of them. What providers
//! see and the bank learns stands in `windvane_protocols::train`.

use std::sync::Arc;

use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::train::boosting::Unit;
use windvane_protocols::train::record::TrainRequest;
use windvane_protocols::transcript::Hash;

use super::sample::{Listed, Sample, SampleFile};
use crate::clock::Clock;
use crate::config::Config;
use crate::dataset::Progress;
use crate::error::NodeError;
use crate::functions::Function;
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::peer::{Accepted, Partners};
use crate::psi::evidence::JobLog;
use crate::score::folder::ScoreFolder;
use crate::score::registry::Registry;
use crate::store::Store;

pub(super) mod answers;
pub(super) mod block;
pub(super) mod cells;
mod connect;
#[cfg(feature = "faults")]
mod craft;
mod error;
mod explain;
mod finish;
mod folder;
pub(super) mod growing;
pub(super) mod inputs;
pub(super) mod job;
mod journal;
mod link;
pub(super) mod model;
pub(super) mod parts;
pub(super) mod plan;
mod report;
mod stage;
mod trees;
mod unit;

#[cfg(feature = "faults")]
pub use craft::Craft;
pub use error::{Fault, TrainError};
pub use explain::{BinPoints, FeaturePoints};
pub(super) use folder::Document;
pub use folder::TrainFolder;
pub use journal::TrainState;
pub use plan::{BandPlan, MemberPlan, ModelKind, ModelPlan, PlanError, SAMPLE, TrainPlan, UnitPlan};
pub use report::{Charts, ProviderReport, TrainReport};
pub use stage::BankStage;
pub use trees::{TrainedTrees, training_seed};

use error::ANEW;
use inputs::Inputs;
use job::{Job, Secrets};
use journal::Fact;
use plan::Checked;

/// The plan as it was ordered, in the training's folder.
pub(super) const PLAN: &str = "plan.json";
/// The listed rows.
pub(super) const LISTED: &str = "listed";
/// What came of it.
const REPORT: &str = "report.json";

/// Under which code the log tells of a session whose training ended early for what another provider said or did.
const STOPPED: &str = "TRAIN_STOPPED";

/// How far a training is, for whoever watches.
pub trait TrainProgress: Send + Sync {
    /// So many blocks of so many are through; the area under the curve of what is held out, where anything is.
    fn block(&self, done: u16, total: u16, auc: Option<f64>);

    /// So many trees of so many have grown in this block, at all units.
    fn trees(&self, done: u64, total: u64);

    /// Where a table's reading is.
    fn reading(&self) -> &dyn Progress;
}

impl TrainProgress for () {
    fn block(&self, _done: u16, _total: u16, _auc: Option<f64>) {}

    fn trees(&self, _done: u64, _total: u64) {}

    fn reading(&self) -> &dyn Progress {
        &()
    }
}

/// What runs a bank's trainings.
#[derive(Debug)]
pub struct TrainRunner {
    config: Config,
    keys: Arc<NodeKeys>,
    store: Arc<Store>,
    layout: Layout,
    clock: Arc<dyn Clock>,
    certificate: Certificate,
    partners: Partners,
    log: JobLog,
    software: Hash,
    configuration: Hash,
    #[cfg(feature = "faults")]
    craft: Option<Craft>,
}

impl TrainRunner {
    /// Opens a bank's files. Blocks on them.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, TrainError> {
        let keys = Arc::new(NodeKeys::open(config)?);
        let layout = Layout::new(config.node.data_dir.clone());
        let store = Arc::new(Store::open(&layout.state())?);
        let certificate = Certificate::load(config, &keys, &store)?;
        let partners = Partners::default();
        partners.reload(&store, &certificate.trust, clock.now_ms())?;
        let log = JobLog::open(&keys, config, &store, clock.now_ms())?;
        let (software, configuration) = crate::server::digests(config)?;
        Ok(Self {
            config: config.clone(),
            keys,
            store,
            layout,
            clock,
            certificate,
            partners,
            log,
            software,
            configuration,
            #[cfg(feature = "faults")]
            craft: None,
        })
    }

    /// Begins a training: gives its name, under which [`Self::run`] runs it, as often as it takes.
    ///
    /// # Errors
    /// [`TrainError`]: the plan does not hold, or its model's name is taken in the bank's registry.
    pub fn begin(&self, plan: &TrainPlan) -> Result<SessionId, TrainError> {
        let Checked { group, .. } = plan.check()?;
        // At the end nothing could be changed any more: every provider would have the model under this name.
        let registry = Registry::new(ScoreFolder::new(&self.layout).group(&group));
        if registry.names().map_err(NodeError::from)?.contains(&plan.name) {
            let name = &plan.name;
            let message = format!("the registry of {group} has a model {name}; give the plan another name");
            return Err(TrainError::given("TRAIN_MODEL_EXISTS", message));
        }
        let training = SessionId::from_bytes(rand::random());
        TrainFolder::open(self.layout.root(), training)?.keep_json(PLAN, plan)?;
        Ok(training)
    }

    /// The newest training of this plan that is not through; where the node is configured, threads and how long a provider
    /// may be silent make no other plan. One whose plan cannot be read is passed over, with a warning.
    ///
    /// # Errors
    /// [`TrainError`]; one of this plan cannot be read.
    pub fn unfinished(&self, plan: &TrainPlan) -> Result<Option<SessionId>, TrainError> {
        let root = self.layout.root();
        let mut newest = None;
        for training in TrainFolder::list(root)? {
            let known = TrainFolder::plan(root, training).unwrap_or_else(|error| {
                tracing::warn!(code = error.code(), %training, %error, "a training's plan cannot be read");
                None
            });
            if !known.is_some_and(|known| known.orders_as(plan)) {
                continue;
            }
            let state = TrainFolder::peek(root, training)?.unwrap_or_default();
            if state.completed_at_ms.is_none() {
                newest = newest.max(Some((state.last_ms, training)));
            }
        }
        Ok(newest.map(|(_, training)| training))
    }

    /// Has a training go on with the threads and the patience of this plan, which orders the same.
    ///
    /// # Errors
    /// [`TrainError`]: there is no such training, or the plan orders another one.
    pub fn take_up(&self, training: SessionId, plan: &TrainPlan) -> Result<(), TrainError> {
        let root = self.layout.root();
        let known = TrainFolder::plan(root, training)?;
        let known = known.ok_or_else(|| TrainError::Unknown { training: training.to_string() })?;
        if !known.orders_as(plan) {
            let path = TrainFolder::path_of(root, training).join(PLAN);
            let what = "the plan that is given orders another training than this; leave --config away, or begin a new \
                        training with it alone"
                .to_owned();
            return Err(TrainError::Folder { path, what });
        }
        TrainFolder::open(root, training)?.keep_json(PLAN, &known.working_as(plan))
    }

    /// Runs a training from where it is to its end.
    ///
    /// # Errors
    /// [`TrainError`]; unless the error says otherwise, the training can be run again.
    pub async fn run(
        &self,
        training: SessionId,
        progress: &Arc<dyn TrainProgress>,
    ) -> Result<TrainReport, TrainError> {
        let plan = TrainFolder::plan(self.layout.root(), training)?;
        let plan = plan.ok_or_else(|| TrainError::Unknown { training: training.to_string() })?;
        let checked = plan.check()?;
        let folder = TrainFolder::open(self.layout.root(), training)?;
        if let Some(report) = folder.read_json(REPORT)?.filter(|_| folder.state().completed_at_ms.is_some()) {
            return Ok(report);
        }
        let job = tokio::task::block_in_place(|| self.load(checked, folder, progress.reading()))?;
        #[cfg(feature = "faults")]
        let job = job.crafted(self.craft);
        let job = Arc::new(job);
        let ran = self.while_accepted(&job, progress).await;
        if let Err(error) = &ran {
            self.failed(&job, error).await;
        }
        ran
    }

    /// Publishes the log and lets go of it.
    ///
    /// # Errors
    /// [`TrainError`].
    pub async fn close(self) -> Result<(), TrainError> {
        Ok(self.log.close().await?)
    }

    /// The bank's name.
    pub fn party(&self) -> &PartyId {
        &self.keys.party
    }

    async fn while_accepted(
        &self,
        job: &Arc<Job>,
        progress: &Arc<dyn TrainProgress>,
    ) -> Result<TrainReport, TrainError> {
        let members = job.checked.members().map(|member| self.partner(&member.party));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let accepted = Accepted {
            config: &self.config,
            certificate: &self.certificate,
            layout: &self.layout,
            keys: &self.keys,
            store: &self.store,
            clock: &*self.clock,
            function: Function::Training,
        };
        accepted.during(&members, self.go_on(job, progress)).await
    }

    async fn go_on(
        &self,
        job: &Arc<Job>,
        progress: &Arc<dyn TrainProgress>,
    ) -> Result<TrainReport, TrainError> {
        let begun = std::time::Instant::now();
        let joint = self.connect(job).await?;
        let standing = block::run(job, &joint.units, &*self.clock, progress).await?;
        let finished = self.finish(job, &joint, &standing).await?;
        let report = TrainReport::new(job, &joint, &standing, &finished, begun.elapsed().as_secs_f64());
        let mut folder = job.folder();
        folder.keep_json(REPORT, &report)?;
        folder.note(&Fact::Completed { at_ms: self.clock.now_ms() })?;
        Ok(report)
    }

    /// Notes an early end in folder and log; the error itself goes to the caller. A session whose receipt is logged has its
    /// end, and one whose provider has nothing to do with the error is not told under its code.
    async fn failed(&self, job: &Job, error: &TrainError) {
        let (code, at_ms) = (error.code().to_owned(), self.clock.now_ms());
        let noted = job.folder().note(&Fact::Ended { code: code.clone(), at_ms });
        let open =
            job.checked.members().filter(|member| !job.folder().state().has_receipt(member.party.as_str()));
        let events = open.map(|member| {
            let asked = job.folder().read::<TrainRequest>(&member.party, Document::Request).ok().flatten();
            let session = asked.map(|request| request.body().session);
            let code: &str = if error.is_about(&member.party) { &code } else { STOPPED };
            Event::Failed { session, peer: member.party.clone(), code: code.to_owned() }
        });
        let logged = self.log.append(at_ms, events.collect()).await.map_err(TrainError::from);
        if let Err(error) = noted.and(logged) {
            tracing::error!(code = error.code(), %error, "a training's early end could not be noted");
        }
    }

    /// Reads what a training works on; the first time, draws its secrets and its list, and keeps them.
    fn load(
        &self,
        checked: Checked,
        folder: TrainFolder,
        progress: &dyn Progress,
    ) -> Result<Job, TrainError> {
        let storage = &self.keys.storage;
        let universe = inputs::universe(&self.keys, &checked)?;
        let features = inputs::features(&checked, &universe, progress)?;
        let secrets = match Secrets::read(&folder, storage)? {
            Some(secrets) => secrets,
            None => {
                let fresh = Secrets::fresh();
                folder.seal(Secrets::NAME, &fresh.to_bytes(), storage)?;
                fresh
            }
        };
        let known = folder.unseal_record::<Listed>(LISTED, storage)?;
        let inputs = Inputs::of(&universe, &features);
        let listed = match known {
            Some(listed) => {
                inputs.check(&folder, &checked)?;
                listed
            }
            None if !folder.state().is_new() => {
                let path = folder.path().join(LISTED);
                let what = format!("it is gone, and providers were asked with it; {ANEW}");
                return Err(TrainError::Folder { path, what });
            }
            None => {
                let plan = &checked.plan;
                let file = SampleFile { path: &plan.sample, number: &plan.number, label: &plan.label };
                let sample = Sample::read(&file, &universe, progress)?;
                let (factor, held_out) = (plan.decoy_factor, plan.held_out);
                let seed = secrets.lists();
                #[cfg(feature = "faults")]
                let seed = self.list_seed(seed);
                let listed = Listed::draw(&sample, universe.rows(), factor, held_out, seed)?;
                folder.keep_json(Inputs::NAME, &inputs)?;
                folder.seal_record(LISTED, &listed, storage)?;
                listed
            }
        };
        BankStage::Listed.reached();
        let own = Unit::label_holder(listed.own(&features)?, &checked.hyperparameters);
        Job::new(checked, universe, listed, features, own, secrets, self.keys.clone(), folder)
    }

    /// The scoring group into whose registry the model goes.
    fn group_of(job: &Job) -> &DataSet {
        &job.checked.group
    }
}
