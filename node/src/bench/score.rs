//! `windvane bench score`.
//!
//! A bank and three carriers, all of whom answer every score. Every carrier holds a part for every number of the
//! segments, so that each sum has three parts in it; parts come from a formula, and every sum is compared. The score
//! is switched on and off between short runs of the same load, so that whatever else the machine does counts alike.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::block_in_place;
use windvane_world::{Applicant, World};

use super::load::Load;
use super::{filesystem, in_place, process};
use crate::batch::{self, BatchKind, BatchOptions};
use crate::demo::{
    Case, DemoError, ExpectedScore, note, percentile, read_cases, rounded, simulate, world_config,
};
use crate::fleet::scoring::{GROUP, Published};
use crate::fleet::{Fleet, PURPOSE, Plan};
use crate::http::Client;

mod numbers;

use numbers::{BAND, Numbers, sum};

/// Different applicants that are asked about.
const APPLICANTS: usize = 4_000;

/// Runs with a score, and as many without.
const RUNS: u32 = 8;

/// Calls at a time while everything warms up.
const WARM_UP: usize = 4;

/// How long the bank may take to follow a switch.
const SWITCH_LIMIT: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Debug, Clone)]
pub struct ScoreBench {
    /// How long verifications with a score, and as long those without one, are measured.
    pub seconds: u64,
    /// Customers of the file.
    pub customers: u64,
    /// Subscribers of each carrier.
    pub subscribers: usize,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreFigures {
    /// The median of a verification with a score, milliseconds, one call in flight.
    pub p50_ms_with: f64,
    /// The median of the same verification without one.
    pub p50_ms_without: f64,
    /// Customers of a file that are scored a second, from the file to the results.
    pub batch_per_s: f64,
    /// CPU time of all processes, the caller's too, for each of these customers, microseconds.
    pub cpu_us_per_customer: f64,
    /// Bytes of a provider's table for every number.
    pub table_bytes_per_number: f64,
    /// Rows of its table that a provider makes a second on one core, from its sealed parts to the published table.
    pub table_rows_per_s: f64,
}

impl ScoreBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`]; nodes that run are stopped, and a temporary directory stays for a look at it.
    pub async fn run(&self) -> Result<ScoreFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<ScoreFigures, DemoError> {
        filesystem::durable(dir)?;
        let files = block_in_place(|| simulate(&dir.join("world"), self.subscribers, APPLICANTS))?;
        let world = World::generate(&world_config(self.subscribers, APPLICANTS));
        let numbers = Numbers::of(&world);
        let plain = read_cases(&files.applications, &files.truth)?;
        let scored = scored(&plain, &world);
        let mut plan = Plan::new(dir.to_owned(), files.carriers)?;
        plan.scoring = Some(block_in_place(|| numbers.write(&dir.join("world"), &plan.carriers))?);
        let mut fleet = Fleet::start(&plan, &note).await?;
        let client = Client::new(fleet.bank_url(), fleet.token())?;
        let with = Load::new(client.clone(), scored);
        let without = with.about(plain);
        let (with, without) = self.alternate(&fleet, &with, &without).await?;
        let batch = self.batch(dir, &fleet, &client, &numbers).await?;
        let tables = fleet.scored().map_or(&[][..], |scored| &scored.tables);
        let table_rows_per_s = fastest(tables);
        let table_bytes_per_number = table_bytes(dir, &plan)? as f64 / (numbers.count() * 3) as f64;
        block_in_place(|| fleet.stop())?;
        Ok(ScoreFigures {
            p50_ms_with: percentile(&with, 0.5),
            p50_ms_without: percentile(&without, 0.5),
            batch_per_s: rounded(self.customers as f64 / batch.wall_s),
            cpu_us_per_customer: rounded(batch.cpu_ms * 1_000.0 / self.customers as f64),
            table_bytes_per_number: rounded(table_bytes_per_number),
            table_rows_per_s: table_rows_per_s.round(),
        })
    }

    /// Latencies with a score and without one, ascending.
    async fn alternate(
        &self,
        fleet: &Fleet,
        with: &Load,
        without: &Load,
    ) -> Result<(Vec<Duration>, Vec<Duration>), DemoError> {
        let time = Duration::from_secs(self.seconds.max(1)) / RUNS;
        note("warming up");
        with.closed(WARM_UP, Duration::from_secs(1)).await?;
        note(&format!("one call at a time, {} s with a score and {} s without", self.seconds, self.seconds));
        let mut latencies = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            for (load, on) in [(with, true), (without, false)] {
                switch(fleet, load, on).await?;
                latencies[usize::from(on)].extend(load.closed(1, time).await?.latencies);
            }
        }
        switch(fleet, with, true).await?;
        latencies.iter_mut().for_each(|latencies| latencies.sort_unstable());
        let [without, with] = latencies;
        Ok((with, without))
    }

    /// A file of customers, as `windvane score FILE` has it answered.
    async fn batch(
        &self,
        dir: &Path,
        fleet: &Fleet,
        client: &Client,
        numbers: &Numbers,
    ) -> Result<Batch, DemoError> {
        let (input, output) = (dir.join("customers.csv"), dir.join("scores.csv"));
        numbers
            .write_customers(self.customers, &input)
            .map_err(DemoError::io(input.display().to_string()))?;
        let options = BatchOptions {
            kind: BatchKind::Score,
            input,
            output: output.clone(),
            purpose: PURPOSE.to_owned(),
            operator: "bench".to_owned(),
            outlet: None,
            branch: None,
            encoding: None,
            chunk_rows: batch::DEFAULT_CHUNK_ROWS,
        };
        note(&format!("scoring a file of {} customers", self.customers));
        let mut processes: Vec<_> = fleet.processes().into_iter().map(|(_, pid)| pid).collect();
        processes.push(std::process::id());
        let (before, begun) = (process::cpu_ms(&processes)?, Instant::now());
        let ran = batch::run(client, &options, &ProgressBar::hidden()).await;
        let (wall_s, cpu_ms) = (begun.elapsed().as_secs_f64(), process::cpu_ms(&processes)? - before);
        ran.map_err(|error| DemoError::Wrong(format!("the file was not scored: {error}")))?;
        note("comparing the scores with the truth");
        numbers.compare(self.customers, &output)?;
        Ok(Batch { wall_s, cpu_ms })
    }
}

/// What a file took.
struct Batch {
    wall_s: f64,
    cpu_ms: f64,
}

/// Switches the score and waits until the bank has followed.
async fn switch(fleet: &Fleet, load: &Load, on: bool) -> Result<(), DemoError> {
    block_in_place(|| fleet.use_score(on))?;
    let begun = Instant::now();
    while load.is_scored().await? != on {
        if begun.elapsed() > SWITCH_LIMIT {
            return Err(DemoError::Wrong("the bank did not follow a switch of the score".into()));
        }
    }
    Ok(())
}

/// Rows a second of the fastest table: the others had more company.
fn fastest(tables: &[Published]) -> f64 {
    let rates = tables.iter().map(|table| table.rows as f64 / table.took.as_secs_f64());
    rates.fold(0.0, f64::max)
}

/// Bytes of all carriers' tables.
fn table_bytes(dir: &Path, plan: &Plan) -> Result<u64, DemoError> {
    let group = format!("data/score/{}/epochs/1/table", GROUP);
    let bytes = plan.carriers.iter().map(|(party, _)| {
        let path = dir.join(party).join(&group);
        Ok(std::fs::metadata(&path).map_err(DemoError::io(path.display().to_string()))?.len())
    });
    bytes.sum()
}

/// The applicants with the scores that they must have.
fn scored(cases: &[Case], world: &World) -> Vec<Case> {
    let with = |(case, applicant): (&Case, &Applicant)| {
        let number = applicant.truth.phone.parse().expect("a number is 11 digits");
        let mut case = case.clone();
        case.expected.score = Some(ExpectedScore { sum: sum(number), band: BAND.to_owned() });
        case
    };
    cases.iter().zip(&world.applicants).map(with).collect()
}
