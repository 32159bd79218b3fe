//! `windvane bench train`: joint trainings on real data, fold by fold, files to files.
//!
//! Separate processes over loopback mutual TLS: providers' nodes that run already, and the bank's command `train`, timed
//! from its start to its end. In every fold the model is trained on the other four, beside decoys: fresh numbers whose
//! feature rows are drawn by a seed from the whole file. All numbers of the universe have such a row, so every decoy
//! that the bank draws has one. The fold itself is scored with the parties' contributions added up, from the trees in
//! the bank's folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::parameters::{Hyperparameters, Numbers};

use super::command::{self, Measured};
use super::{filesystem, in_place};
use crate::config::Config;
use crate::demo::{DemoError, note, rounded};
use crate::fleet::training::Training;
use crate::train::run::{BandPlan, ModelKind, ModelPlan, TrainPlan, TrainedTrees};

mod clear;
mod data;
mod files;

use data::Data;
use files::FoldFiles;

/// The minimum count of all trainings here.
const MINIMUM_COUNT: u32 = 50;

/// Decoys for every row.
const DECOYS: u64 = 2;

/// How to measure.
#[derive(Debug, Clone)]
pub struct TrainBench {
    /// The folder of the real data.
    pub data: PathBuf,
    /// Which data.
    pub dataset: TrainSet,
    /// What is trained.
    pub model: ModelKind,
    /// Which folds are tested.
    pub folds: Vec<u8>,
    /// Carriers among whom all providers' features are divided, row by row; with one, providers have features of their
    /// own.
    pub carriers: usize,
    /// What numbers and decoys' rows are drawn from.
    pub seed: u64,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// Real data with labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainSet {
    /// Telecom fraud: billing at the bank, voice at one provider, messages and data at another.
    Sichuan,
    /// Credit card defaults: the guest's file at the bank, the host's at a provider.
    DefaultCredit,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainFigures {
    /// Which data.
    pub dataset: TrainSet,
    /// What was trained.
    pub model: ModelKind,
    /// Mean area under the curve of the tested folds.
    pub auc_mean: f64,
    /// The same of each fold.
    pub auc_folds: Vec<f64>,
    /// Mean of the same engine with all features in one place, in the clear, and as many trees.
    pub auc_pooled: f64,
    /// Mean of the label holder's own features alone, with as many trees.
    pub auc_label_holder_alone: f64,
    /// Seconds of one fold's training, from the start of the bank's command to its end; mean.
    pub seconds: f64,
    /// User and system time of all parties, seconds; mean.
    pub cpu_seconds: f64,
    /// Bytes over the loopback device in one training, with all headers; mean.
    pub bytes: u64,
    /// Questions of one training that wait for one another; mean.
    pub rounds: u64,
    /// Decoys for every row, the least of all receipts.
    pub decoy_factor: u64,
    /// Listed rows whose sum was shown, the least of all receipts.
    pub minimum_count: u32,
    /// Rows that were trained on in one fold; mean.
    pub rows: usize,
    /// Listed rows in one fold, decoys among them; mean.
    pub listed: usize,
}

/// What the bank's command prints.
#[derive(Debug, Clone, Deserialize)]
struct Report {
    training: String,
    rounds: u64,
    decoy_factor: u64,
    minimum_count: u32,
    rows: usize,
    listed: usize,
}

/// One fold.
struct Fold {
    auc: f64,
    pooled: f64,
    alone: f64,
    measured: Measured<Report>,
}

impl TrainBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn run(&self) -> Result<TrainFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<TrainFigures, DemoError> {
        filesystem::durable(dir)?;
        let data = Data::read(&self.data, self.dataset)?;
        let mut folds = Vec::with_capacity(self.folds.len());
        for fold in &self.folds {
            let folder = dir.join(format!("fold-{fold}"));
            folds.push(self.fold(&data, *fold, &folder).await?);
        }
        let mean = |of: fn(&Fold) -> f64| folds.iter().map(of).sum::<f64>() / folds.len() as f64;
        let report = |of: fn(&Report) -> u64| folds.iter().map(move |fold| of(&fold.measured.printed));
        Ok(TrainFigures {
            dataset: self.dataset,
            model: self.model,
            auc_mean: precise(mean(|fold| fold.auc)),
            auc_folds: folds.iter().map(|fold| precise(fold.auc)).collect(),
            auc_pooled: precise(mean(|fold| fold.pooled)),
            auc_label_holder_alone: precise(mean(|fold| fold.alone)),
            seconds: rounded(mean(|fold| fold.measured.wall_s)),
            cpu_seconds: rounded(mean(|fold| fold.measured.cpu_s)),
            bytes: mean(|fold| fold.measured.bytes as f64) as u64,
            rounds: mean(|fold| fold.measured.printed.rounds as f64) as u64,
            decoy_factor: report(|report| report.decoy_factor).min().unwrap_or(0),
            minimum_count: report(|report| report.minimum_count.into()).min().unwrap_or(0) as u32,
            rows: mean(|fold| fold.measured.printed.rows as f64) as usize,
            listed: mean(|fold| fold.measured.printed.listed as f64) as usize,
        })
    }

    async fn fold(&self, data: &Data, fold: u8, dir: &Path) -> Result<Fold, DemoError> {
        note(&format!("fold {fold}: writing files"));
        std::fs::create_dir_all(dir).map_err(DemoError::io(dir.display().to_string()))?;
        let files = FoldFiles::write(data, fold, self.carriers, DECOYS, self.seed, dir)?;
        let program = std::env::current_exe().map_err(DemoError::io("finding this program"))?;
        note(&format!("fold {fold}: starting the providers"));
        let mut fleet = Training::start(dir, &program, files.segments.clone(), &files.units).await?;
        let plan = fleet.write_plan(&self.plan(&files))?;
        note(&format!("fold {fold}: training"));
        let mut train = Command::new(&program);
        train.args(["train", "--json", "--config"]).arg(&plan);
        let measured = command::measure::<Report>("the training", &mut train, fleet.pids()).await?;
        let config = fleet.bank_config();
        fleet.stop()?;
        note(&format!("fold {fold}: scoring, and training in the clear"));
        let work = || {
            let trees = trees(&config, &measured.printed.training)?;
            let auc = files.auc(data, &trees)?;
            let numbers = self.clear_numbers(data);
            let (pooled, alone) = clear::train(data, fold, &numbers)?;
            Ok::<_, DemoError>((auc, pooled, alone))
        };
        let (auc, pooled, alone) = tokio::task::block_in_place(work)?;
        note(&format!("fold {fold}: {auc:.4}, pooled {pooled:.4}, {:.1} s", measured.wall_s));
        Ok(Fold { auc, pooled, alone, measured })
    }

    fn plan(&self, files: &FoldFiles) -> TrainPlan {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(2);
        TrainPlan {
            name: format!("bench-{}", self.model.name()),
            group: String::new(),
            by: "bench".to_owned(),
            purpose: String::new(),
            node: None,
            universe: PathBuf::new(),
            sample: files.sample.clone(),
            number: crate::fleet::training::NUMBER.to_owned(),
            label: files::LABEL.to_owned(),
            features: Some(files.features.clone()),
            columns: Vec::new(),
            decoy_factor: DECOYS,
            minimum_count: MINIMUM_COUNT,
            // The fold is held out already.
            held_out: 0,
            threads,
            idle_s: 600,
            model: ModelPlan::usual(self.model),
            bands: vec![BandPlan { name: "all".to_owned(), share: 100 }],
            units: Vec::new(),
        }
    }

    /// As many trees as the bank and all units have, in one place.
    fn clear_numbers(&self, data: &Data) -> Hyperparameters {
        let usual = self.model.numbers(MINIMUM_COUNT);
        let parties = if self.carriers > 1 { 2 } else { data.parties.len() };
        let trees = usual.trees * parties as u16;
        Hyperparameters::new(Numbers { trees, ..usual })
            .expect("a few times the usual trees are within the limit")
    }
}

fn trees(config: &Path, training: &str) -> Result<TrainedTrees, DemoError> {
    let wrong =
        |what: &dyn std::fmt::Display| DemoError::Wrong(format!("the bank's folder cannot be read: {what}"));
    let bytes = hex::decode(training).ok().and_then(|bytes| bytes.try_into().ok());
    let training = SessionId::from_bytes(bytes.ok_or_else(|| wrong(&"a training's name has 32 hex digits"))?);
    let config = Config::load(config).map_err(|error| wrong(&error))?;
    TrainedTrees::read(&config, training).map_err(|error| wrong(&error))
}

/// Areas are told to four digits and a half.
fn precise(value: f64) -> f64 {
    (value * 100_000.0).round() / 100_000.0
}
