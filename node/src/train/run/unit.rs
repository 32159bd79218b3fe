//! The trees of one unit in one block: levels asked for, sums decrypted, decisions made.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use windvane_protocols::train::growth::{Bound, Growth, Step as Grown};
use windvane_protocols::train::histogram::NodeCells;
use windvane_protocols::train::partition::{Proposal, agree};
use windvane_protocols::train::step::{Place, Step};
use windvane_protocols::train::tree::{Decision, Tree};

use super::answers::Answer;
use super::cells::{RootCounts, cells_of, decrypt, with_counts};
use super::error::{Fault, TrainError};
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

/// A unit's trees of a block, and the decisions that the end of the block brings.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) trees: Vec<Tree>,
    pub(super) last: Vec<Decision>,
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
        mut bound: Bound,
        grown: &(dyn Fn() + Sync),
    ) -> Result<Trees, TrainError> {
        let numbers = job.checked.hyperparameters;
        let (mut trees, mut last) = (Vec::with_capacity(numbers.trees.into()), Vec::new());
        for tree in 0..numbers.trees {
            let tree = self.tree(job, Place { block, tree, level: 0 }, bound, &mut last).await?;
            bound = bound.after(&tree).map_err(self.wrong())?;
            trees.push(tree);
            grown();
        }
        Ok(Trees { trees, last })
    }

    /// Grows a tree. `last` has the decisions that its root's step brings, and those of its own last level afterwards.
    async fn tree(
        &self,
        job: &Arc<Job>,
        mut place: Place,
        bound: Bound,
        last: &mut Vec<Decision>,
    ) -> Result<Tree, TrainError> {
        let numbers = &job.checked.hyperparameters;
        let mut growth = Growth::new(numbers, &self.bins, bound).map_err(self.wrong())?;
        loop {
            let cells = self.level(job, place, std::mem::take(last)).await?;
            match growth.on_cells(cells).map_err(self.wrong())? {
                Grown::Deeper { growth: next, decisions } => {
                    (growth, *last) = (next, decisions);
                    place.level += 1;
                }
                Grown::Grown { tree, decisions } => {
                    *last = decisions;
                    return Ok(tree);
                }
            }
        }
    }

    /// The cells of a level.
    async fn level(
        &self,
        job: &Arc<Job>,
        place: Place,
        decisions: Vec<Decision>,
    ) -> Result<Vec<NodeCells>, TrainError> {
        let (shown, values) = self.shown(job, place, decisions).await?;
        let negative =
            || self.wrong()(Fault::Unexpected { found: "other counts", expected: "counts of rows" });
        if place.has_counts() {
            if place.level == 0 {
                self.set_counts(RootCounts::of(&shown, &values));
            }
            return with_counts(&shown, &values).ok_or_else(negative);
        }
        if self.counts().is_none() {
            // Another process asked for them; the answer is kept.
            let (shown, values) = self.shown(job, Place::first(0), Vec::new()).await?;
            self.set_counts(RootCounts::of(&shown, &values));
        }
        let counts = self.counts().ok_or_else(negative)?;
        counts.join(&shown, &values).ok_or_else(negative)
    }

    fn counts(&self) -> Option<RootCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_counts(&self, counts: RootCounts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }

    /// What a level shows, and its decrypted sums.
    async fn shown(
        &self,
        job: &Arc<Job>,
        place: Place,
        decisions: Vec<Decision>,
    ) -> Result<(Vec<Proposal>, Vec<i64>), TrainError> {
        let rows = job.listed.rows();
        let mut answers = all(&self.links, &Step::Grow { place, decisions }, rows).await?;
        let shown = match &mut answers[..] {
            [alone] => std::mem::take(&mut alone.proposals),
            several => {
                let proposals: Vec<_> = several.iter().map(|answer| answer.proposals.as_slice()).collect();
                let agreed = agree(&proposals).map_err(self.wrong())?;
                answers = all(&self.links, &Step::Sum { place, agreed: agreed.clone() }, rows).await?;
                agreed
            }
        };
        let sent: Vec<_> = answers.into_iter().map(|answer| answer.ciphertexts).collect();
        let expected = cells_of(&shown, place.has_counts());
        let wrong = self.wrong();
        let values = blocking(job, move |job| {
            decrypt(&job.key, &job.decoder, &sent, expected, job.threads()).map_err(wrong)
        });
        Ok((shown, values.await?))
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
