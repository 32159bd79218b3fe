//! Load on the bank's interface: one after another, a fixed number at a time, or at a fixed pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::demo::{Case, DemoError, differences};
use crate::http::{Client, VerificationBody};

/// Applicants to ask about, again and again, each time under a ticket of its own.
#[derive(Debug, Clone)]
pub(super) struct Load {
    client: Client,
    cases: Arc<[Case]>,
    calls: Arc<AtomicUsize>,
}

/// What a run of the load took.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Ascending.
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
}

impl Run {
    fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, elapsed }
    }

    pub(super) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    pub(super) fn new(client: Client, cases: Vec<Case>) -> Self {
        Self { client, cases: cases.into(), calls: Arc::default() }
    }

    /// The same load about other applicants, with tickets that go on.
    pub(super) fn about(&self, cases: Vec<Case>) -> Self {
        Self { cases: cases.into(), ..self.clone() }
    }

    /// Whether an answer has a joint score; the applicant and the answer are not looked at further.
    ///
    /// # Errors
    /// [`DemoError`] when the call fails.
    pub(super) async fn is_scored(&self) -> Result<bool, DemoError> {
        let (_, body) = self.next();
        Ok(self.client.verify(&body).await?.score.is_some())
    }

    /// Calls made so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls, `in_flight` of them at a time, until `time` has passed.
    ///
    /// # Errors
    /// [`DemoError`] of the first call that fails or is answered wrongly.
    pub(super) async fn closed(&self, in_flight: usize, time: Duration) -> Result<Run, DemoError> {
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            let load = self.clone();
            workers.spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < time {
                    let begun = Instant::now();
                    load.call().await?;
                    latencies.push(begun.elapsed());
                }
                Ok::<_, DemoError>(latencies)
            });
        }
        let latencies = workers.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Run::of(latencies, begun.elapsed()))
    }

    /// Begins `per_second` calls a second whatever becomes of those before, until `time` has passed. A latency
    /// counts from when the call was due, so that a stall counts against every call that it delayed.
    ///
    /// # Errors
    /// As [`Load::closed`].
    pub(super) async fn paced(&self, per_second: f64, time: Duration) -> Result<Run, DemoError> {
        let begun = Instant::now();
        let mut due = pace(begun, per_second, time);
        let mut calls = JoinSet::new();
        while let Some(at) = due.recv().await {
            let load = self.clone();
            calls.spawn(async move { load.call().await.map(|()| at.elapsed()) });
        }
        let latencies = calls.join_all().await.into_iter().collect::<Result<_, _>>()?;
        Ok(Run::of(latencies, begun.elapsed()))
    }

    /// [`Load::paced`], but a call that fails or is answered wrongly ends nothing: what was wrong is given beside the
    /// others' latencies.
    pub(super) async fn paced_counting(&self, per_second: f64, time: Duration) -> (Run, Vec<String>) {
        let begun = Instant::now();
        let mut due = pace(begun, per_second, time);
        let mut calls = JoinSet::new();
        while let Some(at) = due.recv().await {
            let load = self.clone();
            calls.spawn(async move { load.call().await.map(|()| at.elapsed()) });
        }
        let (mut latencies, mut failures) = (Vec::new(), Vec::new());
        for outcome in calls.join_all().await {
            match outcome {
                Ok(latency) => latencies.push(latency),
                Err(error) => failures.push(error.to_string()),
            }
        }
        (Run::of(latencies, begun.elapsed()), failures)
    }

    /// The next applicant, under a ticket of its own.
    fn next(&self) -> (&Case, VerificationBody) {
        let nth = self.calls.fetch_add(1, Ordering::Relaxed);
        let case = &self.cases[nth % self.cases.len()];
        (case, VerificationBody { ticket: format!("BENCH{nth:010}"), ..case.body.clone() })
    }

    async fn call(&self) -> Result<(), DemoError> {
        let (case, body) = self.next();
        let report = self.client.verify(&body).await?;
        match differences(&case.expected, &report).first() {
            None => Ok(()),
            Some(wrong) => {
                Err(DemoError::Wrong(format!("an answer is wrong, so no figure would count: {wrong:?}")))
            }
        }
    }
}

/// The times at which calls are due, each told when it has come.
fn pace(begun: Instant, per_second: f64, time: Duration) -> UnboundedReceiver<Instant> {
    let count = (per_second * time.as_secs_f64()) as u32;
    let (sender, due) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own: the runtime's timer is too coarse to pace single milliseconds.
    std::thread::spawn(move || {
        for nth in 0..count {
            let at = begun + Duration::from_secs_f64(f64::from(nth) / per_second);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if sender.send(at).is_err() {
                return;
            }
        }
    });
    due
}
