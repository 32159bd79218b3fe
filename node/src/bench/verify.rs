//! `windvane bench verify`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use super::echo::echo;
use super::load::{Load, Run};
use super::{filesystem, in_place, process};
use crate::demo::{DemoError, note, percentile, read_cases, rounded, simulate};
use crate::fleet::{Fleet, Plan};
use crate::http::Client;
use crate::server::LOG_STATS;

/// Different applicants that are asked about.
const APPLICANTS: usize = 4_000;

/// Numbers of calls at a time among which the best is sought.
const IN_FLIGHT: [usize; 3] = [16, 32, 64];

/// Calls at a time while everything warms up.
const WARM_UP: usize = 8;

const ECHOES: usize = 1_000;

/// How to measure.
#[derive(Debug, Clone)]
pub struct VerifyBench {
    /// How long each of the three measurements runs.
    pub seconds: u64,
    /// Subscribers of each carrier.
    pub subscribers: usize,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

impl Default for VerifyBench {
    fn default() -> Self {
        Self { seconds: 10, subscribers: 20_000, dir: None, json: false }
    }
}

/// What was measured. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyFigures {
    /// The median, one call in flight.
    pub p50_ms: f64,
    /// 99 of 100 are no longer, one call in flight.
    pub p99_ms: f64,
    /// Verifications a second, with `in_flight` calls at a time.
    pub per_second: f64,
    /// 99 of 100 are no longer at half of `per_second`, from when a call is due.
    pub p99_ms_half_load: f64,
    /// The median of an empty call to a carrier over the same kind of channel.
    pub echo_p50_ms: f64,
    /// CPU time of all four nodes for a verification, while `per_second` was measured.
    pub cpu_ms_per_call: f64,
    /// Syncs of the bank's log, in the whole run.
    pub fsyncs: u64,
    /// The median of the last thousand of them, with their writes.
    pub fsync_p50_ms: f64,
    /// The type of the file system.
    pub filesystem: String,
    /// CPU time of the caller, this process, for a verification.
    pub driver_cpu_ms_per_call: f64,
    /// Calls at a time while `per_second` was measured: the best of several numbers.
    pub in_flight: usize,
    /// Verifications in the whole run, all of them answered as the truth says.
    pub verifications: usize,
}

/// What a node's log says of its evidence log when it stops.
#[derive(Debug, Default, Deserialize)]
struct LogStats {
    code: String,
    fsyncs: u64,
    fsync_p50_us: u64,
}

#[derive(Deserialize)]
struct LogLine {
    fields: LogStats,
}

impl VerifyBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`]; nodes that run are stopped, and a temporary directory stays for a look at it.
    pub async fn run(&self) -> Result<VerifyFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<VerifyFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        let files = block_in_place(|| simulate(&dir.join("world"), self.subscribers, APPLICANTS))?;
        let cases = read_cases(&files.applications, &files.truth)?;
        let mut fleet = Fleet::start(&Plan::new(dir.to_owned(), files.carriers)?, &note).await?;
        let load = Load::new(Client::new(fleet.bank_url(), fleet.token())?, cases);
        let loads = self.loads(&fleet, &load).await?;
        block_in_place(|| fleet.stop())?;
        let stats = log_stats(&fleet)?;
        Ok(VerifyFigures {
            p50_ms: percentile(&loads.single.latencies, 0.5),
            p99_ms: percentile(&loads.single.latencies, 0.99),
            per_second: rounded(loads.full.per_second()),
            p99_ms_half_load: percentile(&loads.half.latencies, 0.99),
            echo_p50_ms: percentile(&loads.echo, 0.5),
            cpu_ms_per_call: rounded(loads.nodes_cpu_ms / loads.full.latencies.len() as f64),
            fsyncs: stats.fsyncs,
            fsync_p50_ms: rounded(stats.fsync_p50_us as f64 / 1_000.0),
            filesystem,
            driver_cpu_ms_per_call: rounded(loads.driver_cpu_ms / loads.full.latencies.len() as f64),
            in_flight: loads.in_flight,
            verifications: load.calls(),
        })
    }

    async fn loads(&self, fleet: &Fleet, load: &Load) -> Result<Loads, DemoError> {
        let time = Duration::from_secs(self.seconds.max(1));
        note("warming up");
        load.closed(WARM_UP, time / 4).await?;
        note(&format!("one call at a time, {} s", time.as_secs()));
        let single = load.closed(1, time).await?;
        let carriers = fleet.carriers();
        let carrier = carriers.first().ok_or_else(|| DemoError::Unfit("there is no carrier".into()))?;
        let echo = echo(&fleet.bank_config()?, carrier, ECHOES).await?;
        let in_flight = best_in_flight(load, time / 4).await?;
        note(&format!("{in_flight} calls at a time, {} s", time.as_secs()));
        let nodes: Vec<_> = fleet.processes().into_iter().map(|(_, pid)| pid).collect();
        let driver = [std::process::id()];
        let before = (process::cpu_ms(&nodes)?, process::cpu_ms(&driver)?);
        let full = load.closed(in_flight, time).await?;
        let after = (process::cpu_ms(&nodes)?, process::cpu_ms(&driver)?);
        let pace = full.per_second() / 2.0;
        note(&format!("{pace:.0} calls a second, {} s", time.as_secs()));
        let half = load.paced(pace, time).await?;
        let (nodes_cpu_ms, driver_cpu_ms) = (after.0 - before.0, after.1 - before.1);
        Ok(Loads { single, echo, in_flight, full, half, nodes_cpu_ms, driver_cpu_ms })
    }
}

struct Loads {
    single: Run,
    echo: Vec<Duration>,
    in_flight: usize,
    full: Run,
    half: Run,
    nodes_cpu_ms: f64,
    driver_cpu_ms: f64,
}

async fn best_in_flight(load: &Load, time: Duration) -> Result<usize, DemoError> {
    let mut best = (0.0, IN_FLIGHT[0]);
    for in_flight in IN_FLIGHT {
        let per_second = load.closed(in_flight, time).await?.per_second();
        note(&format!("{in_flight} calls at a time: {per_second:.0} a second"));
        if per_second > best.0 {
            best = (per_second, in_flight);
        }
    }
    Ok(best.1)
}

/// What the bank said of its log when it stopped.
fn log_stats(fleet: &Fleet) -> Result<LogStats, DemoError> {
    let logs = fleet.node_logs()?;
    let bank = logs.first().map_or("", |(_, text)| text);
    let lines = bank.lines().rev().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    let found = lines.map(|line| line.fields).find(|fields| fields.code == LOG_STATS);
    found.ok_or_else(|| DemoError::Unfit(format!("the bank's node.log has no {LOG_STATS}")))
}
