//! Sending chunks, two at a time, and keeping what comes back.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::chunks::{Chunk, Chunks};
use super::error::BatchError;
use super::input::Input;
use super::output::ResultRow;
use super::partial::Partial;
use super::row::Row;
use super::{BatchKind, BatchOptions};
use crate::http::{BatchBody, BatchResult, BatchResults, Client, Problem};

/// While the node works on one chunk, the next one is on its way.
const IN_FLIGHT: usize = 2;

/// A refusal that says when to come back is tried so often in all.
const MAX_ATTEMPTS: u32 = 5;

/// The longest that a node can make a batch wait at a time.
const MAX_WAIT_MS: u64 = 60_000;

/// Whoever answers batches: the REST [`Client`], or a stand-in where files are tested.
pub trait SendBatch: Clone + Send + Sync + 'static {
    /// Answers every item, in order.
    ///
    /// # Errors
    /// The [`Problem`] of the batch as a whole.
    fn send(&self, body: &BatchBody) -> impl Future<Output = Result<BatchResults, Problem>> + Send;
}

impl SendBatch for Client {
    async fn send(&self, body: &BatchBody) -> Result<BatchResults, Problem> {
        self.verify_batch(body).await
    }
}

type Flights = JoinSet<Result<(usize, Vec<ResultRow>), BatchError>>;

/// Sends every chunk that is not kept yet. After a failure nothing more is sent, but what is under way is
/// still kept.
pub(super) async fn all(
    client: &impl SendBatch,
    options: &BatchOptions,
    input: &Input,
    partial: &mut Partial,
    progress: &ProgressBar,
) -> Result<(), BatchError> {
    let mut chunks = Chunks::new(input, options)?;
    let mut flights = Flights::new();
    let mut failure = None;
    loop {
        if failure.is_none() {
            failure = launch(client, options, &mut chunks, partial, &mut flights).err();
        }
        let Some(landed) = flights.join_next().await else { break };
        let kept = landed.map_err(|_| BatchError::Stopped).and_then(|landed| landed);
        match kept.and_then(|(index, rows)| partial.keep(index, &rows).map(|()| rows.len())) {
            Ok(rows) => progress.inc(rows as u64),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Fills the places under way.
fn launch(
    client: &impl SendBatch,
    options: &BatchOptions,
    chunks: &mut Chunks<'_>,
    partial: &Partial,
    flights: &mut Flights,
) -> Result<(), BatchError> {
    while flights.len() < IN_FLIGHT {
        let Some(chunk) = chunks.next()? else { break };
        if !partial.has(chunk.index) {
            let (purpose, operator) = (options.purpose.clone(), options.operator.clone());
            flights.spawn(ask(
                client.clone(),
                BatchBody {
                    purpose,
                    operator,
                    score_only: options.kind == BatchKind::Score,
                    items: Vec::new(),
                },
                chunk,
            ));
        }
    }
    Ok(())
}

/// Asks about a chunk's good rows and puts the answers in their places.
async fn ask(
    client: impl SendBatch,
    mut body: BatchBody,
    chunk: Chunk,
) -> Result<(usize, Vec<ResultRow>), BatchError> {
    let (first, last) = chunk.span();
    let refused = |problem| BatchError::Refused { first, last, problem: Box::new(problem) };
    let mut rows = Vec::with_capacity(chunk.rows.len());
    for Row { line, ticket, item } in chunk.rows {
        rows.push((line, ticket, item.map(|item| body.items.push(item)).err()));
    }
    let answers =
        if body.items.is_empty() { Vec::new() } else { answers(&client, &body).await.map_err(refused)? };
    let mut answers = answers.into_iter();
    let results = rows.into_iter().map(|(line, ticket, problem)| {
        let answer = problem.map(BatchResult::Error).or_else(|| answers.next());
        answer.map(|answer| ResultRow::new(line, ticket, &answer))
    });
    let results = results.collect::<Option<Vec<_>>>().ok_or(BatchError::Stopped)?;
    Ok((chunk.index, results))
}

/// Asks, and tries again where the node says when.
///
/// # Errors
/// The last [`Problem`].
pub(crate) async fn answers(client: &impl SendBatch, body: &BatchBody) -> Result<Vec<BatchResult>, Problem> {
    let mut attempt = 1;
    loop {
        let problem = match client.send(body).await {
            Ok(answer) => return Ok(answer.results),
            Err(problem) => problem,
        };
        match problem.retry_after_ms {
            Some(wait) if attempt < MAX_ATTEMPTS && matches!(problem.status, 429 | 503) => {
                tokio::time::sleep(Duration::from_millis(wait.min(MAX_WAIT_MS))).await;
            }
            _ => return Err(problem),
        }
        attempt += 1;
    }
}
