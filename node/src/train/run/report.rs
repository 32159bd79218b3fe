//! What a finished training tells.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windvane_protocols::score::calibration::Calibration;

use super::block::Standing;
use super::connect::Joint;
use super::explain::{FeaturePoints, points};
use super::finish::Finished;
use super::job::Job;
use super::model::{own_trees, unit_trees};
use super::unit::JointUnit;
use crate::train::metrics::{Operating, Ranking, Reliability, ScoreClass};

/// Groups of rows whose promised probability is held against what was observed.
const GROUPS: u64 = 10;

/// Classes of scores in a distribution.
const CLASSES: u32 = 30;

/// What a finished training tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The training.
    pub training: String,
    /// The model's name.
    pub model: String,
    /// In which scoring group's registry it is.
    pub group: String,
    /// `scorecard` or `boosted`.
    pub kind: String,
    /// Digest of the model's card.
    pub card: String,
    /// Rows that were trained on.
    pub rows: usize,
    /// Rows that were held out.
    pub held_out: usize,
    /// Listed rows, decoys among them.
    pub listed: usize,
    /// Decoys for every row, as every receipt has it.
    pub decoy_factor: u64,
    /// Listed rows whose sum was shown, at least, as every receipt has it.
    pub minimum_count: u32,
    /// Blocks.
    pub blocks: u16,
    /// Trees of each unit in a block.
    pub trees: u16,
    /// Depth of the trees.
    pub depth: u8,
    /// Whether the figures below are of held-out rows; of the trained ones otherwise.
    pub figures_of_held_out: bool,
    /// Area under the curve of sums of parts, as they are served.
    pub auc: f64,
    /// The same of contributions as they are, before they become parts.
    pub auc_of_contributions: f64,
    /// The same after each block, of held-out rows.
    pub auc_by_block: Vec<Option<f64>>,
    /// Kolmogorov and Smirnov's distance.
    pub ks: f64,
    /// Mean distance of promised from observed probabilities, of the rows that the calibration was fitted on.
    pub calibration_error: f64,
    /// Information value.
    pub information_value: f64,
    /// What is drawn of the rows that the figures are of.
    pub charts: Charts,
    /// The width of the widest party's contributions, in units of 1/1024: 255 parts.
    pub widest: u64,
    /// The bank's own points.
    pub own: Vec<FeaturePoints>,
    /// The providers.
    pub providers: Vec<ProviderReport>,
    /// Digest of the receipts, as the registry names it.
    pub receipts: String,
    /// Bytes of content that were sent, in this run.
    pub bytes_sent: u64,
    /// Bytes of content that were received, in this run.
    pub bytes_received: u64,
    /// Calls to all providers, in this run.
    pub calls: u64,
    /// Questions that wait for one another, in the whole training: levels, uploads and contributions.
    pub rounds: u64,
    /// Seconds from the first call to the registry, in this run.
    pub seconds: f64,
}

/// What is drawn of a model: of rows together. A class of scores may have few of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Charts {
    /// The receiver operating characteristic.
    pub curve: Vec<Operating>,
    /// Promised and observed probabilities of ten groups.
    pub reliability: Vec<Reliability>,
    /// Scores, as they are served.
    pub distribution: Vec<ScoreClass>,
}

impl Charts {
    /// Of a model's scores and its calibration.
    pub(in crate::train) fn new(ranking: &Ranking, calibration: &Calibration) -> Self {
        Self {
            curve: ranking.coarse_curve(),
            reliability: ranking.reliability(calibration, GROUPS),
            distribution: ranking.distribution(CLASSES),
        }
    }
}

/// What is known of a provider's side, or of that of several carriers of one schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderReport {
    /// Who.
    pub parties: Vec<String>,
    /// How many features.
    pub features: usize,
    /// Digests of their receipts.
    pub receipts: Vec<String>,
    /// What their features add, by numbers, or by names where the grant permits to tell them.
    pub points: Vec<FeaturePoints>,
}

impl TrainReport {
    pub(super) fn new(
        job: &Job,
        joint: &Joint,
        standing: &Standing,
        finished: &Finished,
        seconds: f64,
    ) -> Self {
        let (numbers, widest) = (job.checked.hyperparameters, finished.model.scales.widest());
        let names: Vec<_> = job.features.names().map(str::to_owned).collect();
        let own = points(
            &own_trees(standing),
            job.features.bins(),
            |feature| names[feature].clone(),
            |feature| Some(job.features.edges(feature)),
            widest,
        );
        let charter = &finished.receipts[0].body().request().charter;
        let (bytes_sent, bytes_received, calls) = joint.traffic.figures();
        let figures = finished.metrics;
        let mut receipts = finished.receipts.iter().map(|receipt| hex::encode(receipt.digest()));
        let provider = |(index, unit): (usize, &Arc<JointUnit>)| ProviderReport {
            parties: unit.links.iter().map(|link| link.party().to_string()).collect(),
            features: unit.bins.len(),
            receipts: receipts.by_ref().take(unit.links.len()).collect(),
            points: points(
                &unit_trees(standing, index),
                &unit.bins,
                |feature| unit.names.get(feature).cloned().unwrap_or_else(|| feature.to_string()),
                |_| None,
                widest,
            ),
        };
        let (training, auc_by_block) = {
            let folder = job.folder();
            (folder.training().to_string(), folder.state().blocks.clone())
        };
        Self {
            training,
            model: finished.model.card.name().to_owned(),
            group: job.checked.group.to_string(),
            kind: job.checked.plan.model.kind.name().to_owned(),
            card: hex::encode(finished.model.card.digest()),
            rows: job.listed.real(),
            held_out: job.listed.held_out(),
            listed: job.listed.rows(),
            decoy_factor: charter.decoy_factor,
            minimum_count: charter.hyperparameters.minimum_count,
            blocks: numbers.blocks,
            trees: numbers.trees,
            depth: numbers.depth,
            figures_of_held_out: finished.judged.held_out,
            auc: figures.auc.unwrap_or_default(),
            auc_of_contributions: finished.judged.contributions.auc(),
            auc_by_block,
            ks: figures.ks.unwrap_or_default(),
            calibration_error: figures.calibration_error.unwrap_or_default(),
            information_value: figures.information_value.unwrap_or_default(),
            charts: Charts::new(&finished.judged.parts, finished.model.card.calibration()),
            widest,
            own,
            providers: joint.units.iter().enumerate().map(provider).collect(),
            receipts: hex::encode(finished.digest),
            bytes_sent,
            bytes_received,
            calls,
            rounds: rounds(joint, standing),
            seconds,
        }
    }
}

/// Questions that wait for one another: opening, announcements, the list and two statistics, in each block residuals,
/// levels (two questions each where carriers agree first) and contributions, and then parts and the end. Units are asked
/// at a time, so the one with the most levels counts.
fn rounds(joint: &Joint, standing: &Standing) -> u64 {
    let once = 7;
    let block = |block: &super::block::BlockRecord| {
        let levels = block.units.iter().zip(&joint.units).map(|(trees, unit)| {
            let levels: u64 = trees.iter().map(levels).sum();
            levels * if unit.links.len() > 1 { 2 } else { 1 }
        });
        2 + levels.max().unwrap_or(0)
    };
    once + standing.blocks.iter().map(block).sum::<u64>()
}

/// Levels of a tree whose sums were asked for.
fn levels(tree: &windvane_protocols::train::tree::Tree) -> u64 {
    use windvane_protocols::train::tree::Decision;
    let (mut width, mut at, mut levels) = (1, 0, 0);
    while at < tree.nodes().len() {
        let level = &tree.nodes()[at..at + width];
        let splits = level.iter().filter(|node| matches!(node, Decision::Split(_))).count();
        // The leaves of the deepest level follow from the one above it; a root is asked for always.
        levels += u64::from(splits > 0 || at == 0);
        (at, width) = (at + width, 2 * splits);
    }
    levels
}
