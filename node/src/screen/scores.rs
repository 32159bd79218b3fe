//! The joint score of customers who stand on a list, through the bank's running node.
//!
//! Nobody else is scored: a score of every customer is `windvane score FILE`. The customer files are read once more for
//! the numbers; scores are not kept between runs.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::task::JoinSet;

use super::plan::ScorePlan;
use super::rows::{CHUNK, IN_FLIGHT, by_number};
use super::{Hits, ScreenError, ScreenPlan, register};
use crate::batch::answers;
use crate::http::{BatchBody, BatchItem, BatchResult, Client};
use crate::verification::ScoreReport;

/// Scores by the customer's number.
pub(super) type Scores = BTreeMap<String, ScoreReport>;

/// Asks for the scores of all who stand on a list.
///
/// # Errors
/// [`ScreenError`]; that one customer has no score is none.
pub(super) async fn scores(
    plan: &ScreenPlan,
    asks: &ScorePlan,
    client: &Client,
    hits: &Hits,
    daily: bool,
) -> Result<Scores, ScreenError> {
    let mut items = Vec::with_capacity(hits.0.len());
    for path in [Some(plan.customers.as_path()), plan.new_customers().filter(|_| daily)].into_iter().flatten()
    {
        listed(plan, asks, path, hits, &mut items)?;
    }
    let (mut scores, mut flights) = (Scores::new(), JoinSet::new());
    let mut chunks = items.chunks(CHUNK);
    loop {
        while flights.len() < IN_FLIGHT {
            let Some(chunk) = chunks.next() else { break };
            flights.spawn(ask(client.clone(), body(plan, asks, chunk.to_vec())));
        }
        let Some(landed) = flights.join_next().await else { return Ok(scores) };
        scores.extend(landed.map_err(|_| ScreenError::Stopped)??);
    }
}

/// The questions about a file's customers who stand on a list. A number that is none has no score.
fn listed(
    plan: &ScreenPlan,
    asks: &ScorePlan,
    path: &Path,
    hits: &Hits,
    items: &mut Vec<BatchItem>,
) -> Result<(), ScreenError> {
    let mut reader = register::open(plan, path)?;
    while reader.advance()? {
        let row = reader.row();
        if row.width() > 0 && hits.0.contains_key(row.text(0)) {
            items.push(by_number(row.text(0), row.text(2), &asks.consent));
        }
    }
    Ok(())
}

fn body(plan: &ScreenPlan, asks: &ScorePlan, items: Vec<BatchItem>) -> BatchBody {
    BatchBody { purpose: plan.purpose.clone(), operator: asks.operator.clone(), score_only: true, items }
}

async fn ask(client: Client, body: BatchBody) -> Result<Vec<(String, ScoreReport)>, ScreenError> {
    let results = answers(&client, &body).await.map_err(|problem| ScreenError::Lookup(Box::new(problem)))?;
    let mut scores = Vec::with_capacity(results.len());
    for (item, result) in body.items.into_iter().zip(results) {
        match result {
            BatchResult::Report(report) => scores.extend(report.score.map(|score| (item.ticket, score))),
            // The customer's number is no telephone number; anything else is the plan's fault.
            BatchResult::Error(problem) if problem.field.as_deref() == Some("phone") => {}
            BatchResult::Error(problem) => return Err(ScreenError::Lookup(Box::new(problem))),
        }
    }
    Ok(scores)
}
