//! The joint score of customers who stand on a list, through the bank's running node.
//!
//! Nobody else is scored: a score of every customer is `windvane score FILE`. The customer files are read once more for
//! the numbers; scores are not kept between runs. Where the node scores nobody at present, as after a fallback to the
//! rules, the lists are written without scores.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::plan::ScorePlan;
use super::rows::{CHUNK, IN_FLIGHT, by_number};
use super::{Hits, ScreenError, ScreenPlan, register};
use crate::bank::SCORE_INACTIVE;
use crate::batch::answers;
use crate::functions::Function;
use crate::http::{BatchBody, BatchItem, BatchResult, Client, Problem};
use crate::verification::ScoreReport;

/// Scores by the customer's number.
pub(super) type Scores = BTreeMap<String, ScoreReport>;

/// Whether a node that answers so scores nobody until its operator changes that.
pub(super) fn is_off(problem: &Problem) -> bool {
    problem.code == SCORE_INACTIVE || problem.code == Function::Scoring.off_code()
}

/// Asks for the scores of all who stand on a list.
///
/// # Errors
/// [`ScreenError`], of the node's refusal [`ScreenError::Scoring`]; that one customer has no score is none.
pub(super) async fn scores(
    plan: &ScreenPlan,
    asks: &ScorePlan,
    client: &Client,
    hits: &Hits,
    daily: bool,
) -> Result<Scores, ScreenError> {
    let items = questions(plan, asks, hits, daily)?;
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

/// One question about every customer who stands on a list. The customer file may have the new customers in it; what
/// their own file says of them is the newer. A number that is none has no score.
fn questions(
    plan: &ScreenPlan,
    asks: &ScorePlan,
    hits: &Hits,
    daily: bool,
) -> Result<Vec<BatchItem>, ScreenError> {
    let (mut items, mut asked) = (Vec::with_capacity(hits.0.len()), BTreeSet::new());
    let new = plan.new_customers().filter(|_| daily);
    for path in new.into_iter().chain([plan.customers.as_path()]) {
        let mut reader = register::open(plan, path)?;
        while reader.advance()? {
            let row = reader.row();
            let listed = (row.width() > 0).then(|| hits.0.get_key_value(row.text(0))).flatten();
            if let Some((customer, _)) = listed
                && asked.insert(customer)
            {
                items.push(by_number(customer, row.text(2), &asks.consent));
            }
        }
    }
    Ok(items)
}

fn body(plan: &ScreenPlan, asks: &ScorePlan, items: Vec<BatchItem>) -> BatchBody {
    BatchBody { purpose: plan.purpose.clone(), operator: asks.operator.clone(), score_only: true, items }
}

async fn ask(client: Client, body: BatchBody) -> Result<Vec<(String, ScoreReport)>, ScreenError> {
    let results = answers(&client, &body).await.map_err(|problem| ScreenError::Scoring(Box::new(problem)))?;
    let mut scores = Vec::with_capacity(results.len());
    for (item, result) in body.items.into_iter().zip(results) {
        match result {
            BatchResult::Report(report) => scores.extend(report.score.map(|score| (item.ticket, score))),
            // The customer's number is no telephone number; anything else is the plan's fault.
            BatchResult::Error(problem) if problem.field.as_deref() == Some("phone") => {}
            BatchResult::Error(problem) => return Err(ScreenError::Scoring(Box::new(problem))),
        }
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::super::{Hit, SAMPLE};
    use super::*;
    use crate::http::Private;

    #[test]
    fn every_listed_customer_is_asked_about_once_by_the_newest_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = ScreenPlan::parse(SAMPLE).unwrap();
        let write = |name: &str, rows: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("客户号,网点,手机号\n{rows}")).unwrap();
            path
        };
        plan.customers = write("customers.csv", "K1,W1,1\nK2,W1,2\nK3,W1,30\nragged\n");
        plan.daily.as_mut().unwrap().new_customers = Some(write("new.csv", "K3,W1,3\nK4,W1,4\n"));
        let mut hits = Hits::default();
        for customer in ["K1", "K3", "K4"] {
            let tags = ["bulk_sms".to_owned()].into();
            let (customer, outlet, provider) = (customer.into(), "W1".into(), "a".into());
            hits.apply(Hit { customer, outlet, provider, tags });
        }
        let asks = ScorePlan { operator: "o".into(), consent: "c".into() };
        let asked = |daily| {
            let items = questions(&plan, &asks, &hits, daily).unwrap().into_iter();
            items.map(|item| (item.ticket, item.phone)).collect::<Vec<_>>()
        };
        let expected = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(customer, phone)| ((*customer).to_owned(), Private::from(*phone)))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(true), expected(&[("K3", "3"), ("K4", "4"), ("K1", "1")]));
        assert_eq!(asked(false), expected(&[("K1", "1"), ("K3", "30")]));
    }
}
