//! `windvane score`.

use super::Answer;
use super::failure::Failure;

mod model;
mod tables;

/// What to do with scoring groups.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ScoreCommand {
    #[command(flatten)]
    Model(model::ModelCommand),
    #[command(flatten)]
    Tables(tables::TablesCommand),
}

impl ScoreCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Model(command) => command.run(),
            Self::Tables(command) => command.run(),
        }
    }
}
