//! `windvane train`.

use std::path::PathBuf;

use super::Answer;
use super::failure::Failure;
use super::place::{Place, hand_over};

/// Joint training.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TrainCommand {
    /// Fit the bins of features on a table, and sign them, for carriers that train as one
    Schema(SchemaArgs),
}

/// Options of `train schema`.
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The table: CSV with a header, or Parquet
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The column of telephone numbers, which is no feature
    #[arg(long, value_name = "COLUMN", default_value = "number")]
    number: String,
    /// The columns of features; all others when not given
    #[arg(long, value_name = "COLUMN", num_args = 1.., value_delimiter = ',')]
    features: Vec<String>,
    /// Where to write the signed schema; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl TrainCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Schema(args) => args.run(),
        }
    }
}

impl SchemaArgs {
    fn run(self) -> Result<Answer, Failure> {
        let text = self.place.admin()?.sign_train_schema(&self.from, &self.number, &self.features)?;
        hand_over(self.out.as_deref(), text, "schema of a training")
    }
}
