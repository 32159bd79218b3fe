//! `windvane bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use windvane::bench::hostile::{self, Attack};
use windvane::bench::{
    BuildBench, HostileBench, InCommon, KernelsBench, PsiBench, ReloadBench, ScoreBench, ScreenBench,
    TrainBench, TrainSet, VerifyBench,
};
use windvane::train::run::ModelKind;
use windvane_protocols::party::PartyId;

use super::failure::Failure;
use super::{Answer, runtime};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    /// Measure verifications of a bank that asks three carriers, all on this machine
    Verify {
        /// How long each of the three measurements runs
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Subscribers of each carrier
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Measure a set intersection of a bank's file with a carrier's list, files to files
    Psi {
        /// How the intersection is computed
        #[arg(long, value_parser = ["vole", "ecdh"], default_value = "vole")]
        protocol: String,
        /// Both files have two to the power of this many rows
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=28))]
        log_n: u32,
        /// Rows of the bank's file, in place of the power of two; the list's too when not given apart
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=500_000_000))]
        rows: Option<u64>,
        /// Rows of the carrier's list
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=500_000_000))]
        list_rows: Option<u64>,
        /// Processors that both parties share; all when not given
        #[arg(long, value_name = "T")]
        threads: Option<usize>,
        /// Rows that a bucket is meant to hold
        #[arg(long, value_name = "N")]
        bucket_rows: Option<u64>,
        /// How much of the smaller file is in the larger one too: all, half or none
        #[arg(long, value_name = "PART", default_value = "half")]
        common: InCommon,
        /// Let a tenth of either file's rows repeat another row's number
        #[arg(long)]
        duplicates: bool,
        /// What the numbers and their order are drawn from
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Change certificates, revocation list, epochs and snapshots under load, each twice, and revoke a peer
    Reload {
        /// How long the load lasts; when the changes take longer, the figures are not good and the command fails
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3_600))]
        seconds: u64,
        /// Verifications a second
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Subscribers of each carrier
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Measure joint scores: a verification with one and without, a file of customers, and the making of a table
    Score {
        /// How long verifications with a score, and as long those without one, are measured
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Customers of the file
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        customers: u32,
        /// Subscribers of each carrier; they decide how many numbers a table has
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Measure a full screening of a bank's customers and the daily one after it, beside its running node
    Screen {
        /// Customers of the bank
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        customers: u64,
        /// Rows of the carrier's list
        #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=40_000_000))]
        list: u64,
        /// Changes of the list
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
        changes: u64,
        /// New customers; as many as changes when not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
        new: Option<u64>,
        /// How new customers meet the list
        #[arg(long, value_parser = ["auto", "rows", "psi"], default_value = "auto")]
        new_by: String,
        #[command(flatten)]
        place: Place,
    },
    /// Measure a joint training on real data, of a bank with its providers, all on this machine
    Train {
        /// The folder of the real data, with sichuan/ and default_credit/
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Which data: sichuan or default_credit
        #[arg(long, value_name = "NAME", value_parser = data_set)]
        dataset: TrainSet,
        /// What is trained: scorecard or boosted
        #[arg(long, value_name = "KIND", value_parser = model_kind)]
        model: ModelKind,
        /// Which of the five folds are tested; all when not given
        #[arg(long, value_name = "N", num_args = 1.., value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..5))]
        folds: Vec<u8>,
        /// Carriers of one schema among whom all providers' features are divided, row by row
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
        carriers: u8,
        /// What numbers and decoys are drawn from
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Measure a carrier's node, and an honest bank's verifications, none of which may fail, while a partner attacks
    Hostile {
        /// How long each attack runs, and the quiet load before it
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Honest verifications a second
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        per_second: u32,
        /// Subscribers of each carrier
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        /// Which attacks; all when not given
        #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
        attacks: Vec<Attack>,
        #[command(flatten)]
        place: Place,
    },
    /// Attack a provider's node of a trial, as a partner of its
    #[command(hide = true)]
    Attacker {
        #[command(flatten)]
        own: super::place::Place,
        /// The provider's name
        #[arg(long)]
        provider: PartyId,
        /// Where it listens
        #[arg(long)]
        address: SocketAddr,
        /// What to do
        #[arg(long)]
        attack: Attack,
        /// For how long
        #[arg(long)]
        seconds: u64,
    },
    /// Measure the import and the build of a data set
    Build {
        /// Row-families to build: subscribers times the four families of a carrier
        #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(1..))]
        rows: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Measure ristretto255 in eight lanes beside curve25519-dalek, on one thread
    Kernels {
        /// Elements that every operation works on
        #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
        elements: u32,
        /// Rounds, of which the fastest counts: neighbours of a shared machine disturb most of them
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        rounds: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Where to measure, and how to print.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// An empty directory on the disk to measure, which stays; a temporary one below /var/tmp when not given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn data_set(text: &str) -> Result<TrainSet, String> {
    serde_json::from_value(text.into()).map_err(|_| "is sichuan or default_credit".to_owned())
}

fn model_kind(text: &str) -> Result<ModelKind, String> {
    serde_json::from_value(text.into()).map_err(|_| "is scorecard or boosted".to_owned())
}

impl BenchCommand {
    /// The library prints the figures.
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let ran = match self {
            Self::Verify { seconds, subscribers, place: Place { dir, json } } => {
                let bench = VerifyBench { seconds, subscribers: subscribers as usize, dir, json };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Psi {
                protocol,
                log_n,
                rows,
                list_rows,
                threads,
                bucket_rows,
                common,
                duplicates,
                seed,
                place: Place { dir, json },
            } => {
                let rows = rows.unwrap_or(1 << log_n);
                let list_rows = list_rows.unwrap_or(rows);
                let bench = PsiBench {
                    protocol,
                    rows,
                    list_rows,
                    threads,
                    bucket_rows,
                    common,
                    duplicates,
                    seed,
                    dir,
                    json,
                };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Reload { seconds, rate, subscribers, place: Place { dir, json } } => {
                let bench = ReloadBench { seconds, rate, subscribers: subscribers as usize, dir, json };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Score { seconds, customers, subscribers, place: Place { dir, json } } => {
                let (customers, subscribers) = (u64::from(customers), subscribers as usize);
                runtime()?.block_on(ScoreBench { seconds, customers, subscribers, dir, json }.run()).map(drop)
            }
            Self::Screen { customers, list, changes, new, new_by, place: Place { dir, json } } => {
                let new = new.unwrap_or(changes);
                let bench = ScreenBench { customers, list, changes, new, new_by, dir, json };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Train { data, dataset, model, folds, carriers, seed, place: Place { dir, json } } => {
                let folds = if folds.is_empty() { (0..5).collect() } else { folds };
                let carriers = carriers.into();
                let bench = TrainBench { data, dataset, model, folds, carriers, seed, dir, json };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Hostile { seconds, per_second, subscribers, attacks, place: Place { dir, json } } => {
                let (per_second, subscribers) = (per_second.into(), subscribers as usize);
                let bench = HostileBench { seconds, per_second, subscribers, attacks, dir, json };
                runtime()?.block_on(bench.run()).map(drop)
            }
            Self::Attacker { own, provider, address, attack, seconds } => {
                hostile::give_way();
                let (config, time) = (own.load()?, Duration::from_secs(seconds));
                let told = runtime()?.block_on(hostile::attack(&config, &provider, address, attack, time))?;
                return Ok(Answer::json(&told));
            }
            Self::Build { rows, place: Place { dir, json } } => {
                let bench = BuildBench { rows: rows as usize, dir, json };
                bench.run().map(drop)
            }
            Self::Kernels { elements, rounds, json } => {
                let bench = KernelsBench { elements: elements as usize, rounds: rounds as usize, json };
                bench.run().map(drop)
            }
        };
        ran.map_err(Failure::demo)?;
        Ok(Answer::text(""))
    }
}
