//! Identities, number segments, joining, and the setup of epochs.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane::score::plan::GroupPlan;
use windvane::score::setup::{Round, SetupProgress, SetupReport};
use windvane::score::status::GroupStatus;
use windvane::score::universe::read_segments;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use crate::cli::failure::Failure;
use crate::cli::place::{Place, hand_over};
use crate::cli::progress::{Bar, Unit};
use crate::cli::terminal::table;
use crate::cli::{Answer, runtime};

/// What to do before there are tables.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum SetupCommand {
    /// Print this node's name and fingerprint, for other members of a group to pin
    Identity {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign a list of number segments, the first seven digits each; members of a group name it in their group files
    #[command(disable_version_flag = true)]
    Universe {
        /// The segments: CSV with a header, or Parquet
        segments: PathBuf,
        /// The column of the segments
        #[arg(long, value_name = "NAME", default_value = "segment")]
        column: String,
        /// Which version of the list it is
        #[arg(long, value_name = "N")]
        version: u64,
        /// Where to write the signed list; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Join a group as one of its providers
    Join {
        /// The group file
        #[arg(long, value_name = "FILE")]
        group: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Set up an epoch of a group as its bank, or go on with one that is not finished
    Setup {
        /// The group file
        #[arg(long, value_name = "FILE")]
        group: PathBuf,
        /// The epoch; the one after the last when not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        epoch: Option<u64>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell groups, members and epochs, on either side
    Status {
        /// The group's name; all when not given
        #[arg(long, value_name = "NAME")]
        group: Option<DataSet>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl SetupCommand {
    pub(in crate::cli) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Identity { place, json } => identity(&place, json),
            Self::Universe { segments, column, version, out, place } => {
                let segments = read_segments(&segments, &column)?;
                let what = format!("version {version} of {} segments", segments.len());
                hand_over(out.as_deref(), place.admin()?.score_universe(segments, version)?, &what)
            }
            Self::Join { group, place } => join(&place, &group),
            Self::Setup { group, epoch, place, json } => setup(&place, &group, epoch, json),
            Self::Status { group, place, json } => status(&place, group.as_ref(), json),
        }
    }
}

/// What others pin.
#[derive(Debug, Serialize)]
struct IdentityView {
    party: String,
    fingerprint: String,
}

fn identity(place: &Place, json: bool) -> Result<Answer, Failure> {
    let identity = place.admin()?.score_identity();
    let (party, fingerprint) = (identity.party.to_string(), identity.fingerprint().to_string());
    let view = IdentityView { party, fingerprint };
    Ok(Answer::either(json, &view, |view| format!("{} {}", view.party, view.fingerprint)))
}

fn join(place: &Place, group: &Path) -> Result<Answer, Failure> {
    let plan = GroupPlan::load(group)?;
    place.admin()?.score_join(&plan)?;
    let (group, digest) = (&plan.group, hex::encode(plan.digest()));
    Ok(Answer::text(format!("joined {group}; digest of the plan, equal at all members:\n{digest}")))
}

/// Progress on the terminal.
struct Rounds(Bar);

impl SetupProgress for Rounds {
    fn round(&self, epoch: u64, round: Round, done: usize, total: usize) {
        self.0.rename(&format!("epoch {epoch}, {}, providers", round.name()));
        self.0.reach(done as u64, total as u64);
    }

    fn lost(&self, epoch: u64, provider: &PartyId, code: &str) {
        tracing::warn!(code, epoch, %provider, "a provider cannot go on with the epoch; the next one begins");
    }
}

fn setup(place: &Place, group: &Path, epoch: Option<u64>, json: bool) -> Result<Answer, Failure> {
    let plan = GroupPlan::load(group)?;
    let admin = place.admin()?;
    let rounds = Rounds(Bar::new("setting up", Unit::Things));
    let report = runtime()?.block_on(admin.score_setup(&plan, epoch, &rounds));
    drop(rounds);
    Ok(Answer::either(json, &report?, words))
}

fn words(report: &SetupReport) -> String {
    let lost = report
        .lost
        .iter()
        .map(|lost| format!("epoch {} was given up: {} says {}\n", lost.epoch, lost.provider, lost.code));
    let lost: String = lost.collect();
    format!(
        "{lost}{} epoch {}: {} of {} providers answer a call ({})\ncontext    {}\ntranscript {}",
        report.group,
        report.epoch,
        report.threshold,
        report.providers.len(),
        report.providers.join(", "),
        report.context,
        report.transcript,
    )
}

fn status(place: &Place, group: Option<&DataSet>, json: bool) -> Result<Answer, Failure> {
    let groups = place.admin()?.score_status(group)?;
    Ok(Answer::either(json, &groups, |groups| {
        let texts: Vec<_> = groups.iter().map(group_words).collect();
        if texts.is_empty() { "no scoring groups".to_owned() } else { texts.join("\n") }
    }))
}

fn group_words(group: &GroupStatus) -> String {
    let active = group.active_epoch.map_or("none".to_owned(), |epoch| epoch.to_string());
    let head = format!(
        "{} ({}): threshold {}, model {}, active epoch {active}\nuniverse {}\nplan {}\n",
        group.group, group.role, group.threshold, group.model, group.universe, group.plan
    );
    let members = group.members.iter().map(|member| {
        let own = if member.own { "this node" } else { "" };
        [member.party.clone(), member.fingerprint.clone(), own.to_owned()]
    });
    let short = |hex: &Option<String>| hex.as_ref().map(|hex| hex[..16].to_owned()).unwrap_or_default();
    let epochs = group.epochs.iter().map(|epoch| {
        let state = epoch.state.to_owned();
        let digests = [&epoch.context, &epoch.transcript, &epoch.table_root].map(short);
        let [context, transcript, root] = digests;
        [epoch.epoch.to_string(), state, context, transcript, root]
    });
    let members = table(["MEMBER", "FINGERPRINT", ""], members);
    head + &members + &table(["EPOCH", "STATE", "CONTEXT", "TRANSCRIPT", "TABLE ROOT"], epochs)
}
