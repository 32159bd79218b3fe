//! `windvane verify-batch` and `windvane score FILE`: a file of customers, through the running node.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use windvane::batch::{self, BatchKind, BatchOptions, DEFAULT_CHUNK_ROWS, FileEncoding};

use super::failure::Failure;
use super::verify::Reach;
use super::{Answer, runtime};

/// Options of `verify-batch`.
#[derive(Debug, clap::Args)]
pub(super) struct BatchArgs {
    /// The CSV file, UTF-8 or GB18030, with the columns 客户类型, 证件类型, 证件号码, 客户名称, 手机号 and
    /// optionally 申请号 and 授权编号
    file: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

/// Options of `score FILE`.
#[derive(Debug, clap::Args)]
pub(super) struct ScoreFileArgs {
    /// The CSV file to score, UTF-8 or GB18030, with the column 手机号 and optionally 申请号 and 授权编号; others are
    /// ignored
    file: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

/// What both have in common.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// What the calls are for: a code that the grants name
    #[arg(long, value_name = "CODE")]
    purpose: String,
    /// Who asks, by the bank's own code
    #[arg(long, value_name = "CODE")]
    operator: String,
    /// The file of results, a row for every row; an interrupted run goes on where it ended
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The outlet where the operator works
    #[arg(long, value_name = "CODE")]
    outlet: Option<String>,
    /// The branch that the outlet belongs to
    #[arg(long, value_name = "CODE")]
    branch: Option<String>,
    /// The encoding of the results; that of the input when not given
    #[arg(long, value_parser = encoding())]
    encoding: Option<FileEncoding>,
    /// Rows in one call
    #[arg(long, value_name = "ROWS", default_value_t = DEFAULT_CHUNK_ROWS as u16,
        value_parser = clap::value_parser!(u16).range(1..=4_096))]
    chunk: u16,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn encoding() -> impl clap::builder::TypedValueParser<Value = FileEncoding> {
    const ALL: [FileEncoding; 3] = [FileEncoding::Utf8, FileEncoding::Utf8WithMark, FileEncoding::Gb18030];
    PossibleValuesParser::new(ALL.map(FileEncoding::as_str))
        .map(|word| word.parse().expect("only these words are let through"))
}

impl BatchArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        self.run.run(BatchKind::Verification, self.file)
    }
}

impl ScoreFileArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        self.run.run(BatchKind::Score, self.file)
    }
}

impl RunArgs {
    fn run(self, kind: BatchKind, input: PathBuf) -> Result<Answer, Failure> {
        let client = self.reach.client()?;
        let options = BatchOptions {
            kind,
            input,
            output: self.out,
            purpose: self.purpose,
            operator: self.operator,
            outlet: self.outlet,
            branch: self.branch,
            encoding: self.encoding,
            chunk_rows: usize::from(self.chunk),
        };
        let summary = runtime()?.block_on(batch::run(&client, &options, &batch::progress_bar()));
        Ok(Answer::either(self.json, &summary.map_err(Failure::batch)?, ToString::to_string))
    }
}
