//! `windvane score`.

use std::ffi::OsString;

use clap::Parser;

use super::Answer;
use super::batch::ScoreFileArgs;
use super::failure::Failure;

mod model;
mod setup;
mod tables;

/// What to do with scoring groups, or a file to score.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "`windvane score FILE --out FILE --purpose CODE --operator CODE` scores a file of customers \
    through the running node; `windvane score FILE --help` has its options."
)]
pub(super) enum ScoreCommand {
    #[command(flatten)]
    Setup(setup::SetupCommand),
    #[command(flatten)]
    Tables(tables::TablesCommand),
    #[command(flatten)]
    Model(model::ModelCommand),
    /// A file of customers, and how it is scored
    #[command(external_subcommand)]
    File(Vec<OsString>),
}

/// Score a file of customers through the running node
#[derive(Debug, Parser)]
#[command(name = "windvane score")]
struct ScoreFile {
    #[command(flatten)]
    args: ScoreFileArgs,
}

impl ScoreCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Setup(command) => command.run(),
            Self::Tables(command) => command.run(),
            Self::Model(command) => command.run(),
            Self::File(arguments) => {
                let name = OsString::from("windvane score");
                match ScoreFile::try_parse_from(std::iter::once(name).chain(arguments)) {
                    Ok(file) => file.args.run(),
                    // Usage or help, as the program's other ones.
                    Err(error) => error.exit(),
                }
            }
        }
    }
}
