//! Asks about every applicant and compares.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::case::{Case, Difference, differences};
use crate::http::{Client, Problem};
use crate::verification::VerificationReport;

/// An applicant, the answer, and how it differs from the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The applicant.
    pub case: Case,
    /// The answer, or why there is none.
    pub answer: Result<VerificationReport, Problem>,
    /// Nothing when the answer is right.
    pub differences: Vec<Difference>,
    /// From the call to its end.
    pub latency: Duration,
}

/// All applicants of a demonstration.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// In the order of the applicants' file.
    pub checked: Vec<Checked>,
    /// From the first call to the last answer.
    pub elapsed: Duration,
}

impl Trial {
    /// How many answers are right.
    pub fn correct(&self) -> usize {
        self.checked.iter().filter(|checked| checked.differences.is_empty()).count()
    }

    /// How many applicants must have a joint score.
    pub fn scored(&self) -> usize {
        self.checked.iter().filter(|checked| checked.case.expected.score.is_some()).count()
    }

    /// How many of them have the right one.
    pub fn scores_correct(&self) -> usize {
        let wrong =
            |checked: &&Checked| checked.differences.iter().any(|d| matches!(d.part, "score" | "answer"));
        let scored = self.checked.iter().filter(|checked| checked.case.expected.score.is_some());
        scored.filter(|checked| !wrong(checked)).count()
    }
}

/// Verifies all applicants, `in_flight` of them at a time.
pub async fn verify_all(client: &Client, cases: Vec<Case>, in_flight: usize) -> Trial {
    let begun = Instant::now();
    let cases: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(cases.into_iter().enumerate().collect()));
    let mut workers = JoinSet::new();
    for _ in 0..in_flight.max(1) {
        workers.spawn(work(client.clone(), cases.clone()));
    }
    let mut checked: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    checked.sort_by_key(|(index, _)| *index);
    let checked = checked.into_iter().map(|(_, checked)| checked).collect();
    Trial { checked, elapsed: begun.elapsed() }
}

async fn work(client: Client, cases: Arc<Mutex<VecDeque<(usize, Case)>>>) -> Vec<(usize, Checked)> {
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut done = Vec::new();
    while let Some((index, case)) = next() {
        let begun = Instant::now();
        let answer = client.verify(&case.body).await;
        let latency = begun.elapsed();
        let differences = compare(&case, &answer);
        done.push((index, Checked { case, answer, differences, latency }));
    }
    done
}

fn compare(case: &Case, answer: &Result<VerificationReport, Problem>) -> Vec<Difference> {
    match answer {
        Ok(report) => differences(&case.expected, report),
        Err(problem) => {
            let expected = case.expected.result.clone();
            vec![Difference { part: "answer", expected, found: problem.code.clone() }]
        }
    }
}
