//! `windvane train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use windvane::clock::{SystemClock, rfc3339};
use windvane::config::Config;
use windvane::dataset::Progress;
use windvane::error::NodeError;
use windvane::train::run::{
    FeaturePoints, TrainFolder, TrainPlan, TrainProgress, TrainReport, TrainRunner, TrainState,
};
use windvane_protocols::party::SessionId;

use super::failure::Failure;
use super::place::{Place, hand_over};
use super::progress::{Bar, Unit};
use super::terminal::table;
use super::{Answer, runtime};

/// The node's configuration where nobody names one.
const NODE: &str = "windvane.toml";

/// Options of `train`, or what else to do with trainings.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct TrainArgs {
    #[command(subcommand)]
    command: Option<TrainCommand>,
    /// The training's plan, a TOML file; a training of the same plan that is not through goes on, with the plan's threads
    /// and idle_s
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Begin a new training, though one of the same plan is not through
    #[arg(long, conflicts_with = "resume")]
    anew: bool,
    /// Go on with this training
    #[arg(long, value_name = "TRAINING")]
    resume: Option<String>,
    /// The node's configuration file; what the plan says, or windvane.toml, when not given
    #[arg(long, value_name = "FILE", env = "WINDVANE_CONFIG")]
    node: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What else to do with trainings.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TrainCommand {
    /// Tell how far the bank's trainings are
    Status {
        /// The training; all when not given
        training: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the report of a training that is through as an HTML page with charts
    Report {
        /// The training
        training: String,
        /// Where to write the page; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Fit the bins of features on a table, and sign them, for carriers that train as one
    Schema(SchemaArgs),
}

/// Options of `train schema`.
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The table: CSV with a header, or Parquet
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The column of telephone numbers, which is no feature
    #[arg(long, value_name = "COLUMN", default_value = "number")]
    number: String,
    /// The columns of features; all others when not given
    #[arg(long, value_name = "COLUMN", num_args = 1.., value_delimiter = ',')]
    features: Vec<String>,
    /// Where to write the signed schema; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl TrainCommand {
    fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Status { training, place, json } => status(&place, training.as_deref(), json),
            Self::Report { training, out, place } => report(&place, &training, out.as_deref()),
            Self::Schema(args) => args.run(),
        }
    }
}

impl TrainArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        if let Some(command) = self.command {
            return command.run();
        }
        let plan = self.config.as_deref().map(TrainPlan::load).transpose();
        let plan = plan.map_err(|error| Failure::train(None)(error.into()))?;
        let node = self.node.or_else(|| plan.as_ref().and_then(|plan| plan.node.clone()));
        let node = node.unwrap_or_else(|| NODE.into());
        let config = Config::load(&node).map_err(NodeError::from)?;
        let resumed = self.resume.as_deref().map(training_id).transpose()?;
        execute(&config, plan.as_ref(), resumed, self.anew, self.json)
    }
}

pub(super) fn training_id(text: &str) -> Result<SessionId, Failure> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes =
        bytes.ok_or_else(|| Failure::given("TRAIN_INVALID", "a training's name has 32 hex digits"))?;
    Ok(SessionId::from_bytes(bytes))
}

fn execute(
    config: &Config,
    plan: Option<&TrainPlan>,
    resumed: Option<SessionId>,
    anew: bool,
    json: bool,
) -> Result<Answer, Failure> {
    let runner = TrainRunner::open(config, Arc::new(SystemClock)).map_err(Failure::train(resumed))?;
    let unfinished = |plan| if anew { Ok(None) } else { runner.unfinished(plan) };
    let known = match (resumed, plan) {
        (None, Some(plan)) => unfinished(plan).map_err(Failure::train(None))?,
        (resumed, _) => resumed,
    };
    let training = match (known, plan) {
        (Some(training), Some(plan)) => {
            runner.take_up(training, plan).map_err(Failure::train(Some(training)))?;
            training
        }
        (Some(training), None) => training,
        (None, Some(plan)) => runner.begin(plan).map_err(Failure::train(None))?,
        (None, None) => unreachable!("a training has a plan, or a name"),
    };
    let bars: Arc<dyn TrainProgress> = Arc::new(Bars::new());
    let report = runtime()?.block_on(async {
        let report = runner.run(training, &bars).await;
        let closed = runner.close().await;
        report.and_then(|report| closed.map(|()| report))
    });
    drop(bars);
    let report = report.map_err(Failure::train(Some(training)))?;
    Ok(Answer::either(json, &report, words))
}

fn words(report: &TrainReport) -> String {
    let of = if report.figures_of_held_out { "held-out rows" } else { "the rows that were trained on" };
    let (model, group) = (&report.model, &report.group);
    let figures = format!(
        "model {model} is added to the registry of {group}, and is not approved; a group file takes the card that\n\
         windvane score model card {model} --group {group} writes\n\
         trained on {} of {} listed rows, {} held out; decoy factor {}, minimum count {}\n\
         of {of}: AUC {:.4}, KS {:.4}, calibration error {:.4}, information value {:.3}\n\
         {} rounds, {} calls, {} bytes sent, {} received, {:.1} s\ntraining {}\nreceipts {}\n",
        report.rows,
        report.listed,
        report.held_out,
        report.decoy_factor,
        report.minimum_count,
        report.auc,
        report.ks,
        report.calibration_error,
        report.information_value,
        report.rounds,
        report.calls,
        report.bytes_sent,
        report.bytes_received,
        report.seconds,
        report.training,
        report.receipts,
    );
    figures + &points(&report.own)
}

/// The bank's own points.
fn points(features: &[FeaturePoints]) -> String {
    let rows = features.iter().flat_map(|feature| {
        let row = |values: String, points: String| [feature.feature.clone(), values, points];
        let none = feature.bins.is_empty().then(|| row(format!("{} splits", feature.splits), String::new()));
        let bins = feature.bins.iter().map(move |bin| row(bin.values(), format!("{:+.1}", bin.points)));
        none.into_iter().chain(bins)
    });
    table(["OWN FEATURE", "VALUES", "POINTS"], rows)
}

/// Progress on the terminal.
struct Bars {
    reading: Bar,
    blocks: Bar,
    trees: Bar,
}

impl Bars {
    fn new() -> Self {
        Self {
            reading: Bar::new("reading", Unit::Bytes),
            blocks: Bar::new("blocks", Unit::Things),
            trees: Bar::new("trees of the block", Unit::Things),
        }
    }
}

impl TrainProgress for Bars {
    fn block(&self, done: u16, total: u16, auc: Option<f64>) {
        if let Some(auc) = auc {
            self.blocks.rename(&format!("blocks, AUC {auc:.4}"));
        }
        self.blocks.reach(done.into(), total.into());
    }

    fn trees(&self, done: u64, total: u64) {
        self.trees.reach(done, total);
    }

    fn reading(&self) -> &dyn Progress {
        &self.reading
    }
}

/// A training in a listing.
#[derive(Debug, Serialize)]
struct View {
    training: String,
    state: &'static str,
    code: Option<String>,
    blocks: usize,
    auc: Option<f64>,
    model: Option<String>,
    completed_at: Option<String>,
}

impl View {
    fn of(training: SessionId, state: &TrainState, plan: Option<TrainPlan>) -> Self {
        let name = match () {
            () if state.completed_at_ms.is_some() => "completed",
            () if state.ended.is_some() => "ended",
            () => "open",
        };
        Self {
            training: training.to_string(),
            state: name,
            code: state.ended.clone(),
            blocks: state.blocks.len(),
            auc: state.blocks.last().copied().flatten(),
            model: plan.map(|plan| plan.name),
            completed_at: state.completed_at_ms.map(rfc3339),
        }
    }

    fn unreadable(training: SessionId, code: &str) -> Self {
        Self {
            training: training.to_string(),
            state: "unreadable",
            code: Some(code.to_owned()),
            blocks: 0,
            auc: None,
            model: None,
            completed_at: None,
        }
    }

    fn row(&self) -> [String; 6] {
        [
            self.training.clone(),
            self.model.clone().unwrap_or_default(),
            self.state.to_owned(),
            self.code.clone().unwrap_or_default(),
            self.blocks.to_string(),
            self.auc.map(|auc| format!("{auc:.4}")).unwrap_or_default(),
        ]
    }
}

fn status(place: &Place, training: Option<&str>, json: bool) -> Result<Answer, Failure> {
    let root = place.load()?.node.data_dir;
    let trainings = match training {
        Some(training) => vec![training_id(training)?],
        None => TrainFolder::list(&root).map_err(Failure::train(None))?,
    };
    let mut views = Vec::new();
    for id in trainings {
        let view = TrainFolder::peek(&root, id)
            .and_then(|state| Ok((state, TrainFolder::plan(&root, id)?)))
            .map(|(state, plan)| state.map(|state| View::of(id, &state, plan)));
        match view {
            Ok(Some(view)) => views.push(view),
            Ok(None) => {
                return Err(Failure::given("TRAIN_UNKNOWN", format!("there is no training {id} here")));
            }
            // One that cannot be read keeps no other out of the list.
            Err(error) if training.is_none() => views.push(View::unreadable(id, error.code())),
            Err(error) => return Err(Failure::train(Some(id))(error)),
        }
    }
    Ok(Answer::either(json, &views, |views| {
        if views.is_empty() {
            return "no trainings".to_owned();
        }
        table(["TRAINING", "MODEL", "STATE", "CODE", "BLOCKS", "AUC"], views.iter().map(View::row))
    }))
}

fn report(place: &Place, training: &str, out: Option<&Path>) -> Result<Answer, Failure> {
    let (root, training) = (place.load()?.node.data_dir, training_id(training)?);
    let report = TrainFolder::report(&root, training).map_err(Failure::train(Some(training)))?;
    let text = format!("training {training} is not through, or not here; see `windvane train status`");
    let report = report.ok_or_else(|| Failure::given("TRAIN_UNKNOWN", text))?;
    hand_over(out, report.page(), "report of a training")
}

impl SchemaArgs {
    fn run(self) -> Result<Answer, Failure> {
        let text = self.place.admin()?.sign_train_schema(&self.from, &self.number, &self.features)?;
        hand_over(self.out.as_deref(), text, "schema of a training")
    }
}
