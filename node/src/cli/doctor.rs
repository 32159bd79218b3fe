//! `windvane doctor`.

use std::path::PathBuf;

use windvane::observe::doctor::{Report, examine};

use super::failure::Failure;
use super::{Answer, runtime};

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The node's configuration
    #[arg(long, value_name = "FILE", env = "WINDVANE_CONFIG", default_value = "windvane.toml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    pub(super) fn run(&self) -> Result<Answer, Failure> {
        let report = runtime()?.block_on(examine(&self.config));
        let sound = report.problems == 0;
        Ok(Answer::either(self.json, &report, Report::text).sound(sound))
    }
}
