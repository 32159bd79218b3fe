//! `windvane bench psi`: a bank's job against a carrier's node, files to files.
//!
//! Two processes over loopback mutual TLS. The bank's is the command `psi run`, timed from its start to its end;
//! the carrier's node runs already, and reads its list when the job comes. Inputs are 11-digit numbers from a seed,
//! as many of them in common and repeated as asked for; the result file is compared with the true intersection,
//! row by row.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::command::{self, Measured};
use super::{filesystem, in_place, process};
use crate::demo::{DemoError, note, rounded};
use crate::fleet::PURPOSE;
use crate::fleet::pair::{CARRIER, LIST, Pair};

mod numbers;

pub use numbers::InCommon;
use numbers::Numbers;
pub(super) use numbers::{number, scattered};

/// How to measure.
#[derive(Debug, Clone)]
pub struct PsiBench {
    /// `vole` or `ecdh`.
    pub protocol: String,
    /// Rows of the bank's file.
    pub rows: u64,
    /// Rows of the carrier's list.
    pub list_rows: u64,
    /// Processors that both parties share; all when not given.
    pub threads: Option<usize>,
    /// Rows that a bucket is meant to hold; the usual number when not given.
    pub bucket_rows: Option<u64>,
    /// How much of the smaller file is in the larger one too.
    pub common: InCommon,
    /// Whether a tenth of either file's rows repeat another row's number.
    pub duplicates: bool,
    /// What the numbers and their order are drawn from.
    pub seed: u64,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PsiFigures {
    /// How the intersection was computed.
    pub protocol: String,
    /// Rows of the bank's file.
    pub rows: u64,
    /// Rows of the carrier's list.
    pub list_rows: u64,
    /// What the numbers and their order were drawn from.
    pub seed: u64,
    /// Seconds from the start of the bank's command to its end: file to file.
    pub wall_s: f64,
    /// Of these, seconds from the partitioned file to the last bucket.
    pub protocol_s: f64,
    /// User and system time of both processes, seconds.
    pub cpu_s: f64,
    /// Bytes over the loopback device meanwhile, both directions, with all headers.
    pub bytes_sent: u64,
    /// These over the rows of the larger file.
    pub bytes_per_item: f64,
    /// The peak of the bank's resident memory, MiB.
    pub bank_peak_rss_mb: f64,
    /// The peak of the carrier's, MiB.
    pub carrier_peak_rss_mb: f64,
    /// Matches found; all of them are in the result file, and nothing else is.
    pub matches: u64,
    /// Matches there are.
    pub expected: u64,
    /// The job fails with a probability of at most two to the minus this.
    pub failure_bits: u32,
    /// Buckets.
    pub buckets: u32,
    /// The type of the file system.
    pub filesystem: String,
}

/// What the bank's command prints.
#[derive(Debug, Deserialize)]
struct Report {
    matches: Option<u64>,
    buckets: u32,
    failure_bits: u32,
    protocol_seconds: f64,
    peak_rss_mb: f64,
}

impl PsiBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn run(&self) -> Result<PsiFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<PsiFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        if let Some(threads) = self.threads {
            process::keep_to(threads)?;
        }
        let (customers, list, output) =
            (dir.join("customers.csv"), dir.join("list.csv"), dir.join("matches.csv"));
        note(&format!("writing {} and {} numbers", self.rows, self.list_rows));
        let numbers = Numbers::new([self.rows, self.list_rows], self.common, self.duplicates, self.seed);
        numbers.write_bank(&customers)?;
        numbers.write_list(&list)?;
        let program = std::env::current_exe().map_err(DemoError::io("finding this program"))?;
        note("starting the carrier");
        let mut pair = Pair::start(dir, &list, &program).await?;
        note("running the job");
        let mut job = self.job(&program, &pair, &customers, &output);
        let Measured { printed: report, wall_s, cpu_s, bytes: bytes_sent } =
            command::measure::<Report>("the job", &mut job, &[pair.carrier_pid()]).await?;
        let carrier_peak_rss_mb = process::peak_mib_of(pair.carrier_pid())?;
        pair.stop()?;
        note("comparing the result with the truth");
        numbers.compare(&output)?;
        Ok(PsiFigures {
            protocol: self.protocol.clone(),
            rows: self.rows,
            list_rows: self.list_rows,
            seed: self.seed,
            wall_s: rounded(wall_s),
            protocol_s: rounded(report.protocol_seconds),
            cpu_s: rounded(cpu_s),
            bytes_sent,
            bytes_per_item: rounded(bytes_sent as f64 / self.rows.max(self.list_rows).max(1) as f64),
            bank_peak_rss_mb: report.peak_rss_mb.round(),
            carrier_peak_rss_mb: carrier_peak_rss_mb.round(),
            matches: report.matches.unwrap_or_default(),
            expected: numbers.common(),
            failure_bits: report.failure_bits,
            buckets: report.buckets,
            filesystem,
        })
    }

    fn job(&self, program: &Path, pair: &Pair, input: &Path, output: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(["psi", "run", "--json", "--provider", CARRIER, "--list", LIST, "--purpose", PURPOSE])
            .args(["--protocol", &self.protocol])
            .arg("--config")
            .arg(pair.bank_config())
            .arg("--input")
            .arg(input)
            .arg("--output")
            .arg(output);
        if let Some(rows) = self.bucket_rows {
            command.args(["--bucket-rows", &rows.to_string()]);
        }
        command
    }
}
