//! `windvane score`.

use super::Answer;
use super::batch::ScoreFileArgs;
use super::failure::Failure;

mod model;
mod setup;
mod tables;

/// Options of `score`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub(super) struct ScoreArgs {
    #[command(subcommand)]
    command: Option<ScoreCommand>,
    #[command(flatten)]
    file: Option<ScoreFileArgs>,
}

/// What to do with scoring groups.
#[derive(Debug, clap::Subcommand)]
enum ScoreCommand {
    #[command(flatten)]
    Setup(setup::SetupCommand),
    #[command(flatten)]
    Tables(tables::TablesCommand),
    #[command(flatten)]
    Model(model::ModelCommand),
}

impl ScoreArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match (self.command, self.file) {
            (Some(command), _) => command.run(),
            (None, Some(file)) => file.run(),
            (None, None) => Err(Failure::given("FILE_MISSING", "name a file to score, or a subcommand")),
        }
    }
}

impl ScoreCommand {
    fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Setup(command) => command.run(),
            Self::Tables(command) => command.run(),
            Self::Model(command) => command.run(),
        }
    }
}
