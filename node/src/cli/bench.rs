//! `windvane bench`.

use std::path::PathBuf;

use windvane::bench::{BuildBench, VerifyBench};

use super::failure::Failure;
use super::{Answer, runtime};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    /// Latency and throughput of verifications: a bank and three carriers as processes, over mutual TLS
    Verify {
        /// How long each of the three measurements runs
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Subscribers of each carrier
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        subscribers: usize,
        /// An empty directory on a real disk for everything that is written
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Import an operator's file and build its encrypted table
    Build {
        /// Rows of the table: a subscriber has one in each of four families
        #[arg(long, value_name = "N", default_value_t = 400_000)]
        rows: usize,
        /// An empty directory on a real disk for everything that is written
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl BenchCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Verify { seconds, subscribers, dir, json } => {
                let bench = VerifyBench { seconds, subscribers, dir, json };
                runtime()?.block_on(bench.run()).map_err(Failure::demo)?;
            }
            Self::Build { rows, dir, json } => {
                BuildBench { rows, dir, json }.run().map_err(Failure::demo)?;
            }
        }
        Ok(Answer::text(""))
    }
}
