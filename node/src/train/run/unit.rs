//! One unit of a training: its members, and the way to their answers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use windvane_protocols::train::growth::Bound;
use windvane_protocols::train::step::Step;

use super::answers::Answer;
use super::cells::RootCounts;
use super::error::{Fault, TrainError};
use super::growing::{Growing, Trees};
use super::job::{Job, blocking};
use super::link::Link;

/// What is being done while trees grow.
const STAGE: &str = "growing trees";

/// A provider, or several carriers that grow trees as one.
#[derive(Debug)]
pub(super) struct JointUnit {
    pub(super) links: Vec<Arc<Link>>,
    /// How many bins each of its features has.
    pub(super) bins: Vec<u8>,
    /// Its features' names, where the grant permits to tell them.
    pub(super) names: Vec<String>,
    counts: Mutex<Option<RootCounts>>,
}

impl JointUnit {
    pub(super) fn new(links: Vec<Arc<Link>>, bins: Vec<u8>, names: Vec<String>) -> Self {
        Self { links, bins, names, counts: Mutex::default() }
    }

    /// Its members' names, for errors and reports.
    pub(super) fn parties(&self) -> String {
        self.links.iter().map(|link| link.party().as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What a member, or all of them together, did wrong.
    fn wrong<F: Into<Fault>>(&self) -> impl Fn(F) -> TrainError + use<F> {
        let providers = self.parties();
        move |fault| TrainError::Provider { providers: providers.clone(), stage: STAGE, fault: fault.into() }
    }

    /// Grows the trees of a block; `grown` hears of each.
    pub(super) async fn block(
        &self,
        job: &Arc<Job>,
        block: u16,
        bound: Bound,
        grown: &(dyn Fn() + Sync),
    ) -> Result<Trees, TrainError> {
        let (numbers, rows) = (&job.checked.hyperparameters, job.listed.rows());
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let begun = Growing::new(numbers, &self.bins, block, bound, counts);
        let mut growing = begun.map_err(self.wrong())?;
        while let Some(step) = growing.step() {
            #[cfg(feature = "faults")]
            let step = self.crafted_step(job, step);
            let answers = all(&self.links, &step, rows).await?;
            let (before, wrong) = (growing.grown(), self.wrong());
            let decide = blocking(job, move |job| {
                growing.on_answers(job.decryption(), answers).map_err(wrong)?;
                Ok(growing)
            });
            growing = decide.await?;
            if growing.grown() > before {
                grown();
            }
        }
        let trees = growing.finish();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&trees.counts);
        Ok(trees)
    }
}

/// The answers of several providers to one step, in their order.
async fn all(links: &[Arc<Link>], step: &Step, rows: usize) -> Result<Vec<Answer>, TrainError> {
    let asked = links.iter().map(|link| (link.clone(), step.clone()));
    each(asked.map(|(link, step)| async move { link.step(&step, rows).await })).await
}

/// Carries out all at a time; the results are in their order, and the first error ends the others.
pub(super) async fn each<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T, TrainError>> + Send + 'static>,
) -> Result<Vec<T>, TrainError> {
    let mut tasks = JoinSet::new();
    for (index, work) in work.into_iter().enumerate() {
        tasks.spawn(async move { work.await.map(|done| (index, done)) });
    }
    let mut done = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        done.push(ended.map_err(|_| TrainError::given("INTERNAL", "a worker stopped"))??);
    }
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}
