//! `windvane bench psi`: a bank's job against a carrier's node, files to files.
//!
//! Two processes over loopback mutual TLS. The bank's is the command `psi run`, timed from its start to its end;
//! the carrier's node runs already, and reads its list when the job comes. Inputs are 11-digit numbers, half of
//! them in common; the result file is compared with the true intersection, row by row.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{BASE, filesystem, process, show};
use crate::demo::{DemoError, Place, note, rounded};
use crate::fleet::PURPOSE;
use crate::fleet::pair::{CARRIER, LIST, Pair};

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
        let place = Place::new(self.dir.as_deref(), Path::new(BASE))?;
        let figures = self.measure(place.path()).await;
        place.remove();
        let figures = figures?;
        show(&figures, self.json)?;
        Ok(figures)
    }

    async fn measure(&self, dir: &Path) -> Result<PsiFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        if let Some(threads) = self.threads {
            process::keep_to(threads)?;
        }
        let (customers, list, output) =
            (dir.join("customers.csv"), dir.join("list.csv"), dir.join("matches.csv"));
        note(&format!("writing {} and {} numbers", self.rows, self.list_rows));
        let common = self.rows.min(self.list_rows) / 2;
        write_numbers(&customers, 0, self.rows)?;
        write_numbers(&list, self.rows - common, self.list_rows)?;
        let program = std::env::current_exe().map_err(DemoError::io("finding this program"))?;
        note("starting the carrier");
        let mut pair = Pair::start(dir, &list, &program).await?;
        note("running the job");
        let carrier = [pair.carrier_pid()];
        let (cpu_ms, bytes) = (process::cpu_ms(&carrier)?, loopback_bytes());
        let children_ms = process::children_cpu_ms();
        let begun = Instant::now();
        let report = self.job(&program, &pair, &customers, &output)?;
        let wall_s = begun.elapsed().as_secs_f64();
        let bytes_sent = loopback_bytes() - bytes;
        let cpu_s =
            (process::cpu_ms(&carrier)? - cpu_ms + process::children_cpu_ms() - children_ms) / 1_000.0;
        let carrier_peak_rss_mb = process::peak_mib_of(pair.carrier_pid())?;
        pair.stop()?;
        note("comparing the result with the truth");
        compare(&output, self.rows - common..self.rows)?;
        Ok(PsiFigures {
            protocol: self.protocol.clone(),
            rows: self.rows,
            list_rows: self.list_rows,
            wall_s: rounded(wall_s),
            protocol_s: rounded(report.protocol_seconds),
            cpu_s: rounded(cpu_s),
            bytes_sent,
            bytes_per_item: rounded(bytes_sent as f64 / self.rows.max(self.list_rows).max(1) as f64),
            bank_peak_rss_mb: report.peak_rss_mb.round(),
            carrier_peak_rss_mb: carrier_peak_rss_mb.round(),
            matches: report.matches.unwrap_or_default(),
            expected: common,
            failure_bits: report.failure_bits,
            buckets: report.buckets,
            filesystem,
        })
    }

    fn job(&self, program: &Path, pair: &Pair, input: &Path, output: &Path) -> Result<Report, DemoError> {
        let mut command = Command::new(program);
        command
            .args(["psi", "run", "--json", "--provider", CARRIER, "--list", LIST, "--purpose", PURPOSE])
            .args(["--protocol", &self.protocol])
            .arg("--config")
            .arg(pair.bank_config())
            .arg("--input")
            .arg(input)
            .arg("--output")
            .arg(output)
            .stderr(Stdio::inherit());
        if let Some(rows) = self.bucket_rows {
            command.args(["--bucket-rows", &rows.to_string()]);
        }
        let ended = command.output().map_err(DemoError::io("running the job"))?;
        if !ended.status.success() {
            let how =
                ended.status.signal().map_or("an error".to_owned(), |signal| format!("signal {signal}"));
            return Err(DemoError::Unfit(format!("the job ended with {how}; it said why above")));
        }
        serde_json::from_slice(&ended.stdout)
            .map_err(|error| DemoError::Unfit(format!("the job's report cannot be read: {error}")))
    }
}

/// A mainland number for every index below 10^9: a one-to-one map that mixes.
pub(super) fn number(index: u64) -> u64 {
    // 10^9 has only the prime factors 2 and 5, and this factor neither.
    13_000_000_000 + index * 618_033_989 % 1_000_000_000
}

/// Writes numbers of consecutive indices in an order of the file's own.
fn write_numbers(path: &Path, first: u64, count: u64) -> Result<(), DemoError> {
    let write = || {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(b"phone\n")?;
        for at in scattered(count) {
            writeln!(file, "{}", number(first + at))?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(DemoError::io(path.display().to_string()))
}

/// Every number below `count` once, in an order of its own.
pub(super) fn scattered(count: u64) -> impl Iterator<Item = u64> {
    // A stride that shares no factor with the count visits every place once.
    let stride = (1..).map(|i| count / 3 * 2 + i).find(|stride| coprime(*stride, count.max(1))).unwrap_or(1);
    (0..count).scan(0, move |at, _| {
        let here = *at;
        *at = (*at + stride) % count;
        Some(here)
    })
}

const fn coprime(mut a: u64, mut b: u64) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Holds the result file against the numbers of these indices.
fn compare(path: &Path, expected: std::ops::Range<u64>) -> Result<(), DemoError> {
    let failed = || DemoError::io(path.display().to_string());
    let mut found = Vec::new();
    for line in BufReader::new(File::open(path).map_err(failed())?).lines().skip(1) {
        found.push(line.map_err(failed())?.parse::<u64>().unwrap_or_default());
    }
    found.sort_unstable();
    let mut expected: Vec<_> = expected.map(number).collect();
    expected.sort_unstable();
    if found == expected {
        return Ok(());
    }
    let text = format!("{} rows are in the result, {} expected, or others", found.len(), expected.len());
    Err(DemoError::Unfit(text))
}

/// Bytes that the loopback device has received, `proc_net_dev`.
pub(super) fn loopback_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:").map(str::to_owned));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_mainland_ones_and_all_different() {
        let mut numbers: Vec<_> = (0..100_000).map(number).collect();
        assert!(numbers.iter().all(|n| (13_000_000_000..14_000_000_000).contains(n)));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 100_000);
    }

    #[test]
    fn a_file_has_every_number_once_and_a_wrong_result_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 2, 10, 999, 1_024] {
            let path = dir.path().join("numbers.csv");
            write_numbers(&path, 5, count).unwrap();
            compare(&path, 5..5 + count).unwrap();
            assert!(compare(&path, 5..6 + count).is_err());
            assert!(count == 0 || compare(&path, 6..6 + count).is_err());
        }
    }
}
