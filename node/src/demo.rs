//! `windvane demo`: a simulated world, real nodes, and every answer compared with the truth.
//!
//! The truth is written before any node starts and is read back from its file, by the application's number;
//! nothing of it reaches a node. A verification counts as correct when result, mismatching elements,
//! colour, tags, the carrier that knows the number, and sum and band of the joint score are all as the truth says.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::fleet::scoring::Scoring;
use crate::fleet::{Fleet, Plan};
use crate::http::Client;

mod case;
mod error;
mod figures;
mod logs;
mod outcome;
mod place;
mod signals;
mod table;
mod trial;
mod world;

pub use case::{Case, Difference, Expected, ExpectedScore, differences, expect_scores, read_cases};
pub use error::DemoError;
pub use figures::{LatencyFigures, percentile};
pub use logs::verify_logs;
pub use outcome::{Colours, Outcome};
pub use trial::{Checked, Trial, verify_all};
pub use world::{WorldFiles, simulate, simulate_scored};

pub(crate) use place::Place;
pub(crate) use signals::Signals;
pub(crate) use world::config as world_config;

/// Verifications under way at once.
const IN_FLIGHT: usize = 4;

/// What to show.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Subscribers of each carrier.
    pub subscribers: usize,
    /// Applicants of the bank.
    pub applicants: usize,
    /// Let the carriers and an authority score every applicant jointly; a table row for every number of the
    /// carriers' segments at each of them takes its time.
    pub score: bool,
    /// One JSON object on standard output instead of tables.
    pub json: bool,
    /// Keep the nodes running after the verifications, until a signal.
    pub serve: bool,
    /// Where everything is written and stays; without it a temporary directory.
    pub dir: Option<PathBuf>,
    /// A directory of files as [`simulate`] writes them, instead of a fresh world.
    pub world: Option<PathBuf>,
    /// The `windvane` program whose nodes are started; without it this one.
    pub program: Option<PathBuf>,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            subscribers: 20_000,
            applicants: 400,
            score: true,
            json: false,
            serve: false,
            dir: None,
            world: None,
            program: None,
        }
    }
}

/// Runs the demonstration and prints it; progress goes to standard error. Needs a runtime of several
/// threads.
///
/// # Errors
/// [`DemoError`]; nodes that run are stopped, and a temporary directory stays for a look at it. Wrong
/// answers are no error, see [`Outcome::is_good`].
pub async fn run(demo: &Demo) -> Result<Outcome, DemoError> {
    let mut signals = Signals::new()?;
    let place = Place::new(demo.dir.as_deref(), &std::env::temp_dir())?;
    let outcome = run_in(demo, &place, &mut signals).await;
    match &outcome {
        Ok(outcome) if outcome.is_good() => place.remove(),
        Err(DemoError::Interrupted) => place.remove(),
        _ => note(&format!("what the nodes wrote is in {}", place.path().display())),
    }
    outcome
}

async fn run_in(demo: &Demo, place: &Place, signals: &mut Signals) -> Result<Outcome, DemoError> {
    let begun = Instant::now();
    let (mut fleet, trial) = tokio::select! {
        ran = verify(demo, place) => ran?,
        () = signals.next() => return Err(DemoError::Interrupted),
    };
    let verified = begun.elapsed();
    if !demo.json {
        print(&table::overview(&trial))?;
    }
    if demo.serve {
        serve(demo, &fleet, &trial, signals).await?;
    }
    let begun = Instant::now();
    note("stopping the nodes and verifying their logs");
    block_in_place(|| fleet.stop())?;
    let findings = block_in_place(|| verify_logs(&fleet));
    let outcome = Outcome::new(&fleet, &trial, findings.is_empty(), verified + begun.elapsed());
    print(&if demo.json { outcome.to_json() } else { table::closing(&outcome, &findings) })?;
    Ok(outcome)
}

async fn verify(demo: &Demo, place: &Place) -> Result<(Fleet, Trial), DemoError> {
    let files = match &demo.world {
        Some(dir) => WorldFiles::find(dir)?,
        None => {
            note(&format!("writing a world of {} subscribers a carrier", demo.subscribers));
            let make = if demo.score { simulate_scored } else { simulate };
            block_in_place(|| make(&place.path().join("world"), demo.subscribers, demo.applicants))?
        }
    };
    let mut cases = read_cases(&files.applications, &files.truth)?;
    let mut plan = Plan::new(place.path().to_owned(), files.carriers)?;
    if let Some(scoring) = files.scoring.filter(|_| demo.score) {
        expect_scores(&mut cases, &scoring.applications)?;
        plan.scoring = Some(Scoring::overlapped(scoring.segments, scoring.model, scoring.parts));
    }
    if let Some(program) = &demo.program {
        plan.program.clone_from(program);
    }
    let fleet = Fleet::start(&plan, &note).await?;
    note(&format!("verifying {} applicants, {IN_FLIGHT} at a time", cases.len()));
    let client = Client::new(fleet.bank_url(), fleet.token())?;
    let trial = verify_all(&client, cases, IN_FLIGHT).await;
    Ok((fleet, trial))
}

async fn serve(demo: &Demo, fleet: &Fleet, trial: &Trial, signals: &mut Signals) -> Result<(), DemoError> {
    let text = table::serving(fleet, trial);
    if demo.json {
        note(&text);
    } else {
        print(&text)?;
    }
    signals.next().await;
    Ok(())
}

/// Prints on standard output.
pub(crate) fn print(text: &str) -> Result<(), DemoError> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(DemoError::io("standard output"))
}

/// Tells on standard error what is being done.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Seconds for people and JSON: milliseconds are enough.
pub(crate) fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

/// Three decimals.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
