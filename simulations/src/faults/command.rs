//! `windvane-simulations faults`: many seeds, with progress, and a table of what they had and held.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::SimulationError;
use super::net::{Counts, Rates};
use super::report::Report;
use super::run::{Plan, run};
use super::template::Template;

/// Operations of one seed, unless told otherwise: enough for every accident to happen, few enough to replay.
const OPERATIONS_PER_SEED: u64 = 5_000;

/// What is to be simulated.
#[derive(Debug, Clone, Args)]
pub struct FaultsArgs {
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations in all.
    #[arg(long, default_value_t = 20_000)]
    operations: u64,
    /// Seeds that share them; without it one for every 5,000 operations.
    #[arg(long)]
    seeds: Option<u64>,
    /// A network that only delays, and machines to which nothing happens.
    #[arg(long)]
    calm: bool,
    /// A deliberate bug of the carriers' nodes, which must be found.
    #[cfg(feature = "bugs")]
    #[arg(long)]
    bug: Option<windvane::faults::Bug>,
    /// The table as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the seeds until one has a violation.
///
/// # Errors
/// [`SimulationError`]: the simulation itself failed.
pub fn simulate(
    plans: impl Iterator<Item = Plan>,
    heard: &mut dyn FnMut(&Report),
) -> Result<Report, SimulationError> {
    let begun = Instant::now();
    let template = Template::make()?;
    let counts = Arc::<Counts>::default();
    let mut report = Report::default();
    for plan in plans {
        report.add(run(&template, &plan, &counts)?);
        report.take_stock(&counts, begun.elapsed());
        heard(&report);
        if !report.violations.is_empty() {
            break;
        }
    }
    Ok(report)
}

/// Carries out the command.
pub fn faults(args: &FaultsArgs) -> ExitCode {
    windvane::telemetry::start("off");
    let seeds = args.seeds.unwrap_or(args.operations.div_ceil(OPERATIONS_PER_SEED)).max(1);
    let plan = |i| Plan {
        seed: args.seed + i,
        operations: args.operations / seeds + u64::from(i < args.operations % seeds),
        rates: if args.calm { Rates::default() } else { Rates::ROUGH },
        accidents: !args.calm,
        #[cfg(feature = "bugs")]
        bug: args.bug,
    };
    let mut progress = |report: &Report| {
        // Progress that nobody can read is none; everywhere below, too.
        let _ = writeln!(io::stderr(), "{}", report.progress(seeds));
    };
    let report = match simulate((0..seeds).map(plan), &mut progress) {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return ExitCode::from(2);
        }
    };
    let text = if args.json { report.json() } else { report.to_string() };
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::from(u8::from(!report.violations.is_empty()))
}
