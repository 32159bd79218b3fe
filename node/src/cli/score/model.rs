//! `windvane score model|activate|rollback|retire|fallback`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane::admin::{AddedModel, Admin, ModelFiles, ModelStatus};
use windvane::clock::rfc3339;
use windvane::score::activation::{ActiveState, Choice};
use windvane::score::registry::{Description, Metrics};
use windvane::score::stability::CHANGED;
use windvane_protocols::lookup::DataSet;

use crate::cli::Answer;
use crate::cli::failure::Failure;
use crate::cli::place::{Place, hand_over};
use crate::cli::progress::{Bar, Unit};
use crate::cli::terminal::table;

/// The life of models and epochs.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ModelCommand {
    /// Add, approve and show the versions of a group's model
    #[command(subcommand)]
    Model(VersionCommand),
    /// Score with an epoch and its approved model (the bank)
    Activate {
        /// The epoch, whose tables are fetched
        #[arg(long, value_name = "N")]
        epoch: u64,
        /// The model that stands in the epoch's terms
        #[arg(long, value_name = "NAME")]
        model: String,
        #[command(flatten)]
        act: Act,
    },
    /// Leave an epoch for the last one before it whose table is still whole; repeating it goes back no further (the bank)
    Rollback {
        /// The epoch to leave: the one that `score status` calls active
        #[arg(long, value_name = "N")]
        from: u64,
        #[command(flatten)]
        act: Act,
    },
    /// End an epoch for good: destroy its secret keys and remove its table
    Retire {
        /// The epoch
        #[arg(long, value_name = "N")]
        epoch: u64,
        #[command(flatten)]
        act: Act,
    },
    /// Stop using the score until the next activation or rollback (the bank)
    Fallback {
        /// Decide by the rules alone
        #[arg(long, required = true)]
        rules_only: bool,
        #[command(flatten)]
        act: Act,
    },
}

/// The versions of a model.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum VersionCommand {
    /// Add a version, which never changes afterwards
    Add(Box<AddArgs>),
    /// Approve a version that somebody else added
    Approve {
        /// The version
        name: String,
        #[command(flatten)]
        act: Act,
    },
    /// Write a version's card, which group files name: the same at all parties of a training
    Card {
        /// The version
        name: String,
        /// The scoring group
        #[arg(long, value_name = "NAME")]
        group: DataSet,
        /// Where to write the card; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// List a group's versions, oldest first; a warning names one whose files were altered
    List {
        #[command(flatten)]
        look: Look,
    },
    /// Show a version with its hash, its people, its metrics and its drift
    Show {
        /// The version
        name: String,
        #[command(flatten)]
        look: Look,
    },
}

/// Options of `score model add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddArgs {
    /// The model's card, TOML
    #[arg(long, value_name = "FILE")]
    card: PathBuf,
    /// The own parts: CSV or Parquet with the columns number and part
    #[arg(long, value_name = "FILE", requires = "default")]
    parts: Option<PathBuf>,
    /// The part of every number that the file does not have
    #[arg(long, value_name = "N", requires = "parts")]
    default: Option<u8>,
    /// What the model looks at: a file with one feature a line, or a list with commas
    #[arg(long, value_name = "FILE|TEXT")]
    features: Option<String>,
    /// Area under the ROC curve, 0 to 1
    #[arg(long, value_name = "X")]
    auc: Option<f64>,
    /// Kolmogorov-Smirnov distance, 0 to 1
    #[arg(long, value_name = "X")]
    ks: Option<f64>,
    /// Calibration error, 0 to 1
    #[arg(long, value_name = "X")]
    calibration_error: Option<f64>,
    /// Information value
    #[arg(long, value_name = "X")]
    information_value: Option<f64>,
    /// The receipt of the model's training, whose digest is kept
    #[arg(long, value_name = "FILE")]
    training_receipt: Option<PathBuf>,
    #[command(flatten)]
    act: Act,
}

/// Who changes what.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Act {
    /// Who does it; stands in the log
    #[arg(long, value_name = "NAME")]
    by: String,
    #[command(flatten)]
    look: Look,
}

/// What is looked at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Look {
    /// The scoring group
    #[arg(long, value_name = "NAME")]
    group: DataSet,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ModelCommand {
    pub(in crate::cli) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Model(command) => command.run(),
            Self::Activate { epoch, model, act } => {
                act.change(|admin, group, by| Ok(admin.activate_score(group, epoch, &model, by)?))
            }
            Self::Rollback { from, act } => {
                act.change(|admin, group, by| Ok(admin.roll_back_score(group, from, by)?))
            }
            Self::Retire { epoch, act } => {
                act.change(|admin, group, by| Ok(admin.retire_score(group, epoch, by)?))
            }
            Self::Fallback { act, .. } => {
                act.change(|admin, group, by| Ok(admin.score_by_rules_only(group, by)?))
            }
        }
    }
}

impl VersionCommand {
    fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Add(args) => args.run(),
            Self::Approve { name, act: Act { by, look } } => {
                let status = look.place.admin()?.approve_model(&look.group, &name, &by)?;
                Ok(Answer::either(look.json, &status, |status| {
                    format!("Model {} is approved by {}.", status.record.name, by.trim())
                }))
            }
            Self::Card { name, group, out, place } => {
                hand_over(out.as_deref(), place.admin()?.model_card(&group, &name)?, "card of the model")
            }
            Self::List { look } => {
                let models = look.place.admin()?.models(&look.group)?;
                Ok(Answer::either(look.json, &models, |models| list_text(models)))
            }
            Self::Show { name, look } => {
                let status = look.place.admin()?.model(&look.group, &name)?;
                Ok(Answer::either(look.json, &status, show_text))
            }
        }
    }
}

impl AddArgs {
    fn run(self) -> Result<Answer, Failure> {
        let description = Description {
            by: self.act.by.clone(),
            features: self.features.as_deref().map(features).transpose()?.unwrap_or_default(),
            metrics: Metrics {
                auc: self.auc,
                ks: self.ks,
                calibration_error: self.calibration_error,
                information_value: self.information_value,
            },
            training_receipt: None,
        };
        let files = ModelFiles {
            card: &self.card,
            parts: self.parts.as_deref().zip(self.default),
            training_receipt: self.training_receipt.as_deref(),
        };
        let Look { group, place, json } = &self.act.look;
        let bar = Bar::new("reading parts", Unit::Bytes);
        let added = place.admin()?.add_model(group, &files, &description, &bar)?;
        Ok(Answer::either(*json, &added, |added| add_text(added, group)))
    }
}

impl Act {
    fn change(
        &self,
        change: impl FnOnce(&Admin, &DataSet, &str) -> Result<ActiveState, Failure>,
    ) -> Result<Answer, Failure> {
        let Look { group, place, json } = &self.look;
        let state = change(&place.admin()?, group, &self.by)?;
        let view = StateView { group: group.to_string(), state };
        Ok(Answer::either(*json, &view, StateView::text))
    }
}

/// What a group scores with.
#[derive(Debug, Serialize)]
struct StateView {
    group: String,
    #[serde(flatten)]
    state: ActiveState,
}

impl StateView {
    fn text(&self) -> String {
        let (group, state) = (&self.group, &self.state);
        let mut text = match &state.active {
            None => format!("{group}: no epoch is active here\n"),
            Some(Choice { epoch, model }) => format!("{group}: epoch {epoch} with model {model} is active\n"),
        };
        if state.rules_only {
            let back = |choice: &Choice| format!(" or `score rollback --from {}`", choice.epoch);
            let back = state.active.as_ref().map(back).unwrap_or_default();
            let _ =
                writeln!(text, "the score is not used: the rules alone decide until `score activate`{back}");
        }
        if let Some(left) = state.left {
            let _ = writeln!(text, "the last step back left epoch {left}");
        }
        for Choice { epoch, model } in state.previous.iter().rev() {
            let _ = writeln!(text, "standby: epoch {epoch} with model {model}");
        }
        text
    }
}

/// A file with one feature a line, or the list itself.
fn features(given: &str) -> Result<Vec<String>, Failure> {
    let path = Path::new(given);
    let (text, separator) = match path.is_file() {
        true => (fs::read_to_string(path).map_err(|error| Failure::io(given, error))?, '\n'),
        false => (given.to_owned(), ','),
    };
    let names = text.split(separator).map(str::trim).filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

fn add_text(added: &AddedModel, group: &DataSet) -> String {
    let mut text = show_text(&added.status);
    if let (Some(report), Some(rejects)) = (&added.report, &added.rejects) {
        let _ = writeln!(
            text,
            "file of parts  {} lines: {} used, {} repeated, {} outside of the universe, {} refused; refused lines: {}",
            report.rows,
            report.used,
            report.duplicate,
            report.outside,
            report.rejected,
            rejects.display()
        );
    }
    let name = &added.status.record.name;
    if added.status.record.approval.is_none() {
        let _ = write!(
            text,
            "\nAdded. Somebody else than {} approves it: windvane score model approve {name} --group {group} --by NAME",
            added.status.record.added_by
        );
    }
    text
}

fn list_text(models: &[ModelStatus]) -> String {
    if models.is_empty() {
        return "no model yet; run windvane score model add".to_owned();
    }
    let row = |status: &ModelStatus| {
        let record = &status.record;
        [
            record.name.clone(),
            state_word(status),
            record.added_by.clone(),
            rfc3339(record.added_at_ms),
            record.approval.as_ref().map_or_else(|| "-".to_owned(), |approval| approval.by.clone()),
            record.hash[..16].to_owned(),
        ]
    };
    table(["MODEL", "STATE", "ADDED BY", "ADDED", "APPROVED BY", "HASH"], models.iter().map(row))
}

fn state_word(status: &ModelStatus) -> String {
    match (status.active_epoch, status.standby_epochs.last()) {
        (Some(epoch), _) => format!("active in epoch {epoch}"),
        (None, Some(epoch)) => format!("standby in epoch {epoch}"),
        (None, None) if status.record.approval.is_some() => "approved".to_owned(),
        (None, None) => "added".to_owned(),
    }
}

fn show_text(status: &ModelStatus) -> String {
    let record = &status.record;
    let mut text = format!(
        "model          {}\nstate          {}\nhash           {}\ncard           {}\nadded          {} by {}\n",
        record.name,
        state_word(status),
        record.hash,
        record.card,
        rfc3339(record.added_at_ms),
        record.added_by
    );
    if let Some(approval) = &record.approval {
        let _ = writeln!(text, "approved       {} by {}", rfc3339(approval.at_ms), approval.by);
    }
    for activation in &record.activations {
        let (at, by) = (rfc3339(activation.at_ms), &activation.by);
        let _ = writeln!(text, "activated      {at} by {by} in epoch {}", activation.epoch);
    }
    if !record.features.is_empty() {
        let _ = writeln!(text, "features       {}", record.features.join(", "));
    }
    for (name, value) in record.metrics.named() {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<14} {value}");
        }
    }
    if let Some(receipt) = &record.training_receipt {
        let _ = writeln!(text, "training       receipt with SHA-512 {receipt}");
    }
    if let Some(parts) = &record.parts {
        let summary = &parts.summary;
        let known = summary.rows - summary.defaults;
        let _ = writeln!(
            text,
            "parts          {} numbers, {known} of them other than the default {}; {} values",
            summary.rows, summary.default, summary.distinct
        );
    }
    text.push_str(&drift_text(status));
    text
}

fn drift_text(status: &ModelStatus) -> String {
    let Some(drift) = &status.drift else { return String::new() };
    let index = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.4}"));
    let mut text = format!(
        "drift          stability index against {}: {} over all numbers, {} without the default\n",
        drift.against,
        index(drift.with_default),
        index(drift.without_default)
    );
    if drift.largest() > CHANGED {
        let _ = writeln!(
            text,
            "WARNING        the parts are distributed otherwise than those of {}: an index above {CHANGED} is taken \
             for another population; check data and model before it is approved",
            drift.against
        );
    }
    text
}
