//! The blocks of a training: own trees, residuals, everybody else's trees, contributions.

use std::sync::Arc;

use windvane_proto::convert::TrainUploaded;
use windvane_protocols::limits::{MAX_BLOCK_TREES, MAX_SCORE_PROVIDERS, MAX_TRAINING_ROWS};
use windvane_protocols::train::boosting::{Row, TrainingError, base, bound, subtract};
use windvane_protocols::train::elgamal::Statistic;
use windvane_protocols::train::growth::Bound;
use windvane_protocols::train::step::Step;
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

use super::cells::decrypt;
use super::error::{Fault, TrainError};
use super::growing::Trees;
use super::job::{Job, blocking};
use super::journal::Fact;
use super::unit::{JointUnit, each};
use super::{BankStage, TrainProgress};
use crate::clock::Clock;
use crate::train::metrics::{Ranking, Scored};
use crate::train::sample::Kind;

/// What a block left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct BlockRecord {
    /// Digest of the residuals as they were uploaded.
    pub(in crate::train) residuals: Hash,
    /// The residuals themselves, by listed row, for an auditor.
    pub(in crate::train) sent: Vec<i32>,
    /// The bank's own trees.
    pub(in crate::train) own: Vec<Tree>,
    /// Those of every unit.
    pub(in crate::train) units: Vec<Vec<Tree>>,
    /// What these add to every listed row, all units together.
    pub(in crate::train) contributions: Vec<i32>,
}

impl BlockRecord {
    pub(in crate::train) fn name(block: u16) -> String {
        format!("block-{block}")
    }
}

impl Record for BlockRecord {
    const DOMAIN: &'static str = "windvane/train-block/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let trees = |trees: &Vec<Tree>| {
            let trees = trees.iter().map(|tree| tree.encode().into_bytes());
            Transcript::new("windvane/train-trees/v1").list("tree", trees).into_bytes()
        };
        let integers =
            |values: &[i32]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<_>>();
        t.bytes("residuals", &self.residuals)
            .bytes("sent", &integers(&self.sent))
            .bytes("own", &trees(&self.own))
            .list("unit", self.units.iter().map(trees))
            .bytes("contributions", &integers(&self.contributions))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let residuals = r.array("residuals")?;
        let sent = integers("sent", r.bytes("sent")?)?;
        let own = trees(r.bytes("own")?)?;
        let units = r.list("unit", MAX_SCORE_PROVIDERS)?.into_iter().map(trees).collect::<Result<_, _>>()?;
        let contributions = integers("contributions", r.bytes("contributions")?)?;
        Ok(Self { residuals, sent, own, units, contributions })
    }
}

fn integers(label: &'static str, bytes: &[u8]) -> Result<Vec<i32>, TranscriptError> {
    match bytes.as_chunks() {
        (values, []) if values.len() <= MAX_TRAINING_ROWS => {
            Ok(values.iter().map(|bytes| i32::from_be_bytes(*bytes)).collect())
        }
        _ => Err(TranscriptError::Form { label, expected: "of four bytes for each row" }),
    }
}

/// Trees of a block, as a record of their own.
struct TreeList(Vec<Tree>);

impl Record for TreeList {
    const DOMAIN: &'static str = "windvane/train-trees/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.list("tree", self.0.iter().map(|tree| tree.encode().into_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let trees = r.list("tree", MAX_BLOCK_TREES.into())?.into_iter().map(Tree::decode);
        Ok(Self(trees.collect::<Result<_, _>>()?))
    }
}

fn trees(bytes: &[u8]) -> Result<Vec<Tree>, TranscriptError> {
    TreeList::decode(bytes).map(|list| list.0)
}

/// Where the blocks stand: residuals, and what everybody's trees add so far.
#[derive(Debug, Clone)]
pub(in crate::train) struct Standing {
    pub(in crate::train) rows: Vec<Row>,
    /// What the bank's own trees add, by listed row; nothing for decoys.
    pub(in crate::train) own: Vec<i64>,
    /// What all others' add; for rows of the sample alone.
    pub(in crate::train) joint: Vec<i64>,
    pub(in crate::train) blocks: Vec<BlockRecord>,
}

impl Standing {
    fn begin(job: &Job) -> Result<Self, TrainError> {
        let rows = job.listed.begin(base(&job.listed.labels())?);
        let zeros = vec![0; rows.len()];
        Ok(Self { rows, own: zeros.clone(), joint: zeros, blocks: Vec::new() })
    }

    /// Takes the blocks that are through.
    fn resume(job: &Job) -> Result<Self, TrainError> {
        let mut standing = Self::begin(job)?;
        let through = job.folder().state().blocks.len();
        for block in 0..through as u16 {
            let name = BlockRecord::name(block);
            let record: Option<BlockRecord> = job.folder().unseal_record(&name, job.storage())?;
            let path = job.folder().path().join(&name);
            let missing = |what: &str| TrainError::Folder { path: path.clone(), what: what.to_owned() };
            let record = record.ok_or_else(|| missing("it is not there, though the block is through"))?;
            if record.contributions.len() != standing.rows.len() {
                return Err(missing("it is of other rows"));
            }
            let (own, contributions) = job.own.block(&job.checked.hyperparameters, &mut standing.rows)?;
            if own != record.own {
                return Err(missing("its own trees are not those that grow from the sample"));
            }
            standing.add_own(&contributions);
            standing.take(record)?;
        }
        Ok(standing)
    }

    fn add_own(&mut self, contributions: &[i32]) {
        self.own.iter_mut().zip(contributions).for_each(|(sum, value)| *sum += i64::from(*value));
    }

    /// A block is through.
    fn take(&mut self, record: BlockRecord) -> Result<(), TrainError> {
        subtract(&mut self.rows, &record.contributions).map_err(TrainingError::from)?;
        self.joint.iter_mut().zip(&record.contributions).for_each(|(sum, value)| *sum += i64::from(*value));
        self.blocks.push(record);
        Ok(())
    }

    /// How the model ranks what is held out so far.
    fn auc(&self, kinds: &[Kind]) -> Option<f64> {
        let scores = self.own.iter().zip(&self.joint).map(|(own, joint)| own + joint);
        let rows = kinds.iter().zip(scores).filter_map(|(kind, score)| match kind {
            Kind::HeldOut(label) => Some(Scored { score, label: *label }),
            _ => None,
        });
        Ranking::new(&rows.collect::<Vec<_>>()).map(|ranking| ranking.auc())
    }
}

/// Takes the training through all blocks that are left.
pub(super) async fn run(
    job: &Arc<Job>,
    units: &[Arc<JointUnit>],
    clock: &dyn Clock,
    progress: &Arc<dyn TrainProgress>,
) -> Result<Standing, TrainError> {
    let mut standing = blocking(job, Standing::resume).await?;
    let total = job.checked.hyperparameters.blocks;
    let first = standing.blocks.len() as u16;
    progress.block(first, total, job.folder().state().blocks.last().copied().flatten());
    for block in first..total {
        let (mut next, trees, bound) = own_trees(job, standing).await?;
        BankStage::OwnTrees.reached();
        let sent: Vec<_> = next.rows.iter().map(|row| row.residual).collect();
        #[cfg(feature = "faults")]
        let sent = job.crafted_residuals(block, sent);
        let residuals = upload(job, units, block, &sent).await?;
        BankStage::Residuals.reached();
        let grown = grow(job, units, block, bound, progress).await?;
        BankStage::Trees.reached();
        let contributions = contributions(job, units, block, &grown).await?;
        let units = grown.into_iter().map(|unit| unit.trees).collect();
        let record = BlockRecord { residuals, sent, own: trees, units, contributions };
        job.folder().seal_record(&BlockRecord::name(block), &record, job.storage())?;
        next.take(record)?;
        let auc = next.auc(job.listed.kinds());
        job.folder().note(&Fact::Block { number: block, auc, at_ms: clock.now_ms() })?;
        BankStage::Block.reached();
        progress.block(block + 1, total, auc);
        standing = next;
    }
    Ok(standing)
}

/// The bank's own turn.
async fn own_trees(
    job: &Arc<Job>,
    mut standing: Standing,
) -> Result<(Standing, Vec<Tree>, Bound), TrainError> {
    blocking(job, move |job| {
        let (trees, contributions) = job.own.block(&job.checked.hyperparameters, &mut standing.rows)?;
        standing.add_own(&contributions);
        let bound = bound(&standing.rows).map_err(TrainingError::from)?;
        Ok((standing, trees, bound))
    })
    .await
}

/// Encrypts the residuals and uploads them to everybody; gives their digest.
async fn upload(
    job: &Arc<Job>,
    units: &[Arc<JointUnit>],
    block: u16,
    residuals: &[i32],
) -> Result<Hash, TrainError> {
    let statistic = Statistic::Residual { block };
    let values: Vec<_> = residuals.iter().map(|residual| i64::from(*residual)).collect();
    let (bytes, digest) = blocking(job, move |job| job.encrypted(statistic, &values)).await?;
    let uploads = units.iter().flat_map(|unit| &unit.links).map(|link| {
        let (link, bytes) = (link.clone(), bytes.clone());
        async move {
            let uploaded = TrainUploaded::Statistic(statistic);
            link.upload(uploaded, &bytes, &digest, "uploading residuals").await
        }
    });
    each(uploads).await?;
    Ok(digest)
}

/// All units grow their trees at a time.
async fn grow(
    job: &Arc<Job>,
    units: &[Arc<JointUnit>],
    block: u16,
    bound: Bound,
    progress: &Arc<dyn TrainProgress>,
) -> Result<Vec<Trees>, TrainError> {
    let total = u64::from(job.checked.hyperparameters.trees) * units.len() as u64;
    let done = Arc::new(std::sync::atomic::AtomicU64::new(0));
    progress.trees(0, total);
    let grown = units.iter().map(|unit| {
        let (unit, job, progress, done) = (unit.clone(), job.clone(), progress.clone(), done.clone());
        async move {
            let grown = || {
                let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                progress.trees(done, total);
            };
            unit.block(&job, block, bound, &grown).await
        }
    });
    each(grown).await
}

/// What all units' trees of a block add, row by row; only the sum over all providers can be decrypted.
async fn contributions(
    job: &Arc<Job>,
    units: &[Arc<JointUnit>],
    block: u16,
    grown: &[Trees],
) -> Result<Vec<i32>, TrainError> {
    let rows = job.listed.rows();
    let asked = units.iter().zip(grown).flat_map(|(unit, grown)| {
        let step = Step::Contributions { block, decisions: grown.last.clone() };
        #[cfg(feature = "faults")]
        let step = unit.crafted_step(job, step);
        unit.links.iter().map(move |link| (link.clone(), step.clone()))
    });
    let answers = each(asked.map(|(link, step)| async move { link.step(&step, rows).await })).await?;
    let sent: Vec<_> = answers.into_iter().map(|answer| answer.ciphertexts).collect();
    let providers = units.iter().map(|unit| unit.parties()).collect::<Vec<_>>().join(", ");
    let can_be = reach(units, grown);
    let wrong =
        move |fault| TrainError::Provider { providers: providers.clone(), stage: "contributions", fault };
    blocking(job, move |job| {
        let values = decrypt(&job.key, &job.decoder, &sent, rows, job.threads());
        let values = values.map_err(|error| wrong(error.into()))?;
        let mut known = values.iter().zip(job.listed.kinds());
        let sound = |(value, kind): (&i64, &Kind)| match kind {
            Kind::Decoy => *value == 0,
            _ => can_be.contains(value),
        };
        if !known.all(sound) {
            return Err(wrong(Fault::Contribution));
        }
        values.into_iter().map(|value| i32::try_from(value).map_err(|_| wrong(Fault::Contribution))).collect()
    })
    .await
}

/// What the trees of a block can add to a row. Carriers of a unit may all hold it.
fn reach(units: &[Arc<JointUnit>], grown: &[Trees]) -> std::ops::RangeInclusive<i64> {
    let most = |pick: fn(i64, i64) -> i64| -> i64 {
        let of = |(unit, grown): (&Arc<JointUnit>, &Trees)| {
            let tree = |tree: &Tree| tree.leaves().map(i64::from).fold(0, pick);
            unit.links.len() as i64 * grown.trees.iter().map(tree).sum::<i64>()
        };
        units.iter().zip(grown).map(of).sum()
    };
    most(i64::min)..=most(i64::max)
}
