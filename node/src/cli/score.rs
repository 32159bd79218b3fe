//! `windvane score`.

use super::Answer;
use super::failure::Failure;

mod setup;

/// What to do with scoring groups.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ScoreCommand {
    #[command(flatten)]
    Setup(setup::SetupCommand),
}

impl ScoreCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Setup(command) => command.run(),
        }
    }
}
