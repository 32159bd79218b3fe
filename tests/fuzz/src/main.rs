//! Runs fuzz targets for a time, or collects their seeds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_fuzz::mutate::mutate;
use windvane_fuzz::{TARGETS, Target, limit, seeds};

/// Longest input.
const MAX_INPUT: usize = 64 << 10;

/// Inputs that are kept for further mutation.
const POOL: usize = 4_096;

#[derive(Debug, Parser)]
#[command(about = "Runs every parser on mutations of its seeds")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run targets on mutations of their seeds
    Run {
        /// Which; all of them without
        targets: Vec<String>,
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Seed of the mutations
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the input at hand is kept, to be found after a crash
        #[arg(long, default_value = "fuzz-input")]
        keep: PathBuf,
    },
    /// List the targets
    List,
    /// Take seeds from the directory of a demonstration (`windvane demo --dir`)
    Collect {
        /// The demonstration's directory
        from: PathBuf,
        /// The folder of seeds
        #[arg(long, default_value = "tests/fuzz/seeds")]
        into: PathBuf,
    },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are what this program prints")]
fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::List => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        Command::Collect { from, into } => {
            seeds::collect(&from, &into).map(|count| println!("{count} seeds"))
        }
        Command::Run { targets, seconds, seed, keep } => (|| {
            for target in chosen(&targets)? {
                let executions = fuzz(target, Duration::from_secs(seconds), seed, &keep)?;
                println!("{:<20} {executions:>10} executions", target.name);
            }
            Ok(())
        })(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>, Box<dyn std::error::Error>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        Target::find(name).ok_or_else(|| format!("no target is called {name}: see list").into())
    };
    names.iter().map(find).collect()
}

/// How many inputs a target took in this time. What it crashes on is in `keep`.
fn fuzz(
    target: &Target,
    time: Duration,
    seed: u64,
    keep: &std::path::Path,
) -> Result<u64, Box<dyn std::error::Error>> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut pool = seeds::of(target.name);
    pool.push(Vec::new());
    let (begin, mut executions) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let parent = rng.random_range(0..pool.len());
        let input = mutate(&pool[parent], &pool, MAX_INPUT, &mut rng);
        std::fs::write(keep, &input)?;
        limit::run(target, &input);
        executions += 1;
        if executions % 16 == 0 && pool.len() < POOL {
            pool.push(input);
        }
    }
    std::fs::remove_file(keep)?;
    Ok(executions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of each seed.
    const EACH: usize = 200;

    #[test]
    fn every_target_takes_its_seeds_and_their_mutations_within_its_allowance() {
        for target in TARGETS {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let seeds = seeds::of(target.name);
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            for seed in &seeds {
                limit::run(target, seed);
                for _ in 0..EACH {
                    limit::run(target, &mutate(seed, &seeds, MAX_INPUT, &mut rng));
                }
            }
        }
    }
}
