//! `windvane demo`.

use std::path::PathBuf;

use windvane::demo::{Demo, run};

use super::failure::Failure;
use super::{Answer, runtime};

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Subscribers of each of the three carriers
    #[arg(long, value_name = "N", default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// Applicants of the bank
    #[arg(long, value_name = "N", default_value_t = 400,
        value_parser = clap::value_parser!(u32).range(1..))]
    applicants: u32,
    /// Ask no joint score of the carriers and an authority
    #[arg(long)]
    without_score: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Keep the nodes running after the verifications, and print their addresses, until SIGTERM or SIGINT
    #[arg(long)]
    serve: bool,
    /// An empty directory for everything that is written, which stays; a temporary one when not given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A directory with a world's files, instead of a fresh world
    #[arg(long, value_name = "DIR")]
    world: Option<PathBuf>,
}

impl DemoArgs {
    /// Prints by itself, because with `--serve` the addresses are wanted long before the end.
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let demo = Demo {
            subscribers: self.subscribers as usize,
            applicants: self.applicants as usize,
            score: !self.without_score,
            json: self.json,
            serve: self.serve,
            dir: self.dir,
            world: self.world,
            program: None,
        };
        let outcome = runtime()?.block_on(run(&demo)).map_err(Failure::demo)?;
        Ok(Answer::text("").sound(outcome.is_good()))
    }
}
