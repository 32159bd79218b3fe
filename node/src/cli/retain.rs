//! `windvane retain`: the end of what was kept long enough.

use serde::Serialize;
use windvane::clock::rfc3339;
use windvane::evidence::LogReader;
use windvane::identity::Layout;
use windvane::retention::class;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::Record as _;

use super::Answer;
use super::failure::Failure;
use super::place::Place;
use super::terminal::table;

/// What to do about retention.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RetainCommand {
    /// Show what is due; nothing is touched
    Plan(Options),
    /// Destroy what is due, check that it is gone, and tell the log
    Run(Options),
    /// Show what the log says was destroyed, by class
    Status(Options),
}

/// Options of all three.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was destroyed of a class by now.
#[derive(Debug, Serialize)]
struct Destroyed {
    class: &'static str,
    runs: u64,
    items: u64,
    bytes: u64,
    last: Option<String>,
}

impl RetainCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Plan(options) => plan(&options),
            Self::Run(options) => run(&options),
            Self::Status(options) => status(&options),
        }
    }
}

fn plan(options: &Options) -> Result<Answer, Failure> {
    let plan = options.place.admin()?.retention_plan()?;
    Ok(Answer::either(options.json, &plan, |plan| {
        let row = |due: &windvane::retention::Due| {
            let kept = format!("{} days", due.days);
            let name = due.class.name().to_owned();
            [name, kept, rfc3339(due.before_ms), due.items.to_string(), due.bytes.to_string()]
        };
        table(["CLASS", "KEPT", "DUE BEFORE", "ITEMS", "BYTES"], plan.iter().map(row))
    }))
}

fn run(options: &Options) -> Result<Answer, Failure> {
    let outcomes = options.place.admin()?.retain()?;
    let sound = outcomes.iter().all(|outcome| outcome.error.is_none());
    let answer = Answer::either(options.json, &outcomes, |outcomes| {
        let row = |outcome: &windvane::retention::Outcome| {
            let state = outcome.error.clone().unwrap_or_else(|| "gone".to_owned());
            [outcome.class.to_owned(), outcome.items.to_string(), outcome.bytes.to_string(), state]
        };
        table(["CLASS", "ITEMS", "BYTES", "STATE"], outcomes.iter().map(row))
    });
    Ok(answer.sound(sound))
}

fn status(options: &Options) -> Result<Answer, Failure> {
    let config = options.place.load()?;
    let log = Layout::new(config.node.data_dir).log();
    let none = |class: windvane::retention::Class| Destroyed {
        class: class.name(),
        runs: 0,
        items: 0,
        bytes: 0,
        last: None,
    };
    let mut classes: Vec<_> = windvane::retention::Class::ALL.into_iter().map(none).collect();
    for entry in LogReader::open(&log).map_err(windvane::error::NodeError::from)?.entries(0) {
        let (_, bytes) = entry.map_err(windvane::error::NodeError::from)?;
        let Ok(Event::Destroyed(signed)) = Entry::decode(&bytes).map(|entry| entry.event) else { continue };
        let body = signed.body();
        let found = classes.iter_mut().find(|class| class.class == body.class);
        if let Some(class) = found.filter(|_| body.cause == class::RETENTION) {
            class.runs += 1;
            class.items += body.items;
            class.bytes += body.bytes;
            class.last = Some(rfc3339(body.destroyed_at_ms));
        }
    }
    Ok(Answer::either(options.json, &classes, |classes| {
        let row = |class: &Destroyed| {
            let last = class.last.clone().unwrap_or_else(|| "-".to_owned());
            [class.class.to_owned(), class.runs.to_string(), class.items.to_string(), last]
        };
        table(["CLASS", "RUNS", "ITEMS", "LAST"], classes.iter().map(row))
    }))
}
