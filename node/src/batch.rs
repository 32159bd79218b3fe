//! The bank's files: a CSV of customers in, a CSV of results out, through the node's REST interface.
//!
//! **Input**: UTF-8 (with or without a byte order mark) or GB 18030, told apart by the header; comma
//! separated; one customer a line (a quoted cell cannot hold a line end), each line at most 64 KiB. Columns
//! 客户类型, 证件类型, 证件号码, 客户名称, 手机号 are required, 申请号 and 授权编号 optional; others are
//! ignored and named in the summary. 证件类型 is one of 居民身份证, 身份证, 护照, 统一社会信用代码, 营业执照.
//! Type, number, name and phone must all be filled: an empty cell never quietly makes a weaker question.
//!
//! **Defaults**: without 申请号 (the column, or a row's cell) the ticket is the first 16 hexadecimal digits of
//! the file's SHA-256, a colon and the line number. Only without the column 授权编号 the consent is `batch:`
//! and the file's SHA-256; a row with an empty cell in that column is refused.
//!
//! **Output**: one row for every row, in order, under [`HEADER`]; codes are those of the REST interface,
//! several in a cell are separated by `|`. No identity is repeated. A row that breaks a rule has the code and
//! is not sent. 行号 is the line in the file, the header being line 1; blank lines have no row. The file
//! appears by an atomic rename, readable by its owner only, when every row is answered.
//!
//! **Interruption**: finished chunks are kept, durably, in `<output>.partial`; a rerun of the same file bytes
//! with the same purpose, operator, outlet, branch and chunk size continues there and asks nobody twice but
//! the at most two chunks that were under way. Anything else is refused until that file is removed. It holds
//! results, not identities.
//!
//! **Memory** does not grow with the file, but for 56 bytes a chunk. The file is read twice; one that changes
//! in between is refused before anything is asked of what changed, so that what is kept is always of the first
//! reading's content.

mod chunks;
mod columns;
mod error;
mod input;
mod lines;
mod output;
mod partial;
mod row;
mod send;
mod summary;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use windvane_protocols::limits::MAX_CUSTOMERS_PER_SESSION;

pub use error::BatchError;
pub use lines::{FileEncoding, UnknownEncoding};
pub use output::HEADER;
pub use send::SendBatch;
pub(crate) use send::answers;
pub use summary::BatchSummary;

use input::Input;
use partial::{Binding, Partial};

/// Customers a chunk where nothing else is asked for: small enough for a lively progress bar, large enough
/// that the costs of a call vanish.
pub const DEFAULT_CHUNK_ROWS: usize = 1_024;

/// What a batch asks about its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// Everything, as at an account opening.
    Verification,
    /// The joint score alone; of the columns, 手机号 is read, and 申请号 and 授权编号 where they are there.
    Score,
}

/// What to verify, for whom, and where the results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// What is asked.
    pub kind: BatchKind,
    /// The bank's file.
    pub input: PathBuf,
    /// The file of results; one that exists is replaced.
    pub output: PathBuf,
    /// What the calls are for.
    pub purpose: String,
    /// Who asks.
    pub operator: String,
    /// The outlet where the operator works.
    pub outlet: Option<String>,
    /// The branch that the outlet belongs to.
    pub branch: Option<String>,
    /// The encoding of the results; `None` is that of the input.
    pub encoding: Option<FileEncoding>,
    /// Rows of the file in one call, 1 to 4,096.
    pub chunk_rows: usize,
}

/// A progress bar for [`run`] on standard error: rows, rate and time left; hidden where that is no terminal.
pub fn progress_bar() -> ProgressBar {
    let style = "{bar:30} {human_pos}/{human_len} rows, {per_sec:.0}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Verifies every row of the input and writes the output; see the module for what is promised.
///
/// # Errors
/// [`BatchError`]. What was answered is kept for a rerun, unless the error says that the input does not do.
pub async fn run(
    client: &impl SendBatch,
    options: &BatchOptions,
    progress: &ProgressBar,
) -> Result<BatchSummary, BatchError> {
    let begun = Instant::now();
    if !(1..=MAX_CUSTOMERS_PER_SESSION).contains(&options.chunk_rows) {
        return Err(BatchError::ChunkRows { found: options.chunk_rows });
    }
    let input = Input::open(&options.input, options.kind, options.chunk_rows)?;
    input.refuse_output(&options.output)?;
    let mut partial = Partial::open(&options.output, &Binding::new(options, &input))?;
    let mut summary = BatchSummary::of(&input, options, partial.rows());
    progress.set_length(input.lines().saturating_sub(1));
    progress.inc(partial.rows());
    progress.reset_eta();
    send::all(client, options, &input, &mut partial, progress).await?;
    let encoding = options.encoding.unwrap_or(input.encoding());
    partial.publish(&options.output, encoding, |row| summary.count(row))?;
    progress.finish_and_clear();
    Ok(summary.finished(begun.elapsed()))
}
