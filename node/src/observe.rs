//! What a node shows of itself: findings about its condition, metrics, spans.
//!
//! **Promised**: nothing that is shown has an identity in it, in no form. A metric's labels are parties that are
//! enrolled here, names of the node's own (services, data sets, purposes of grants, codes); a code that a peer gave
//! counts only while that peer gave few different ones. A span has the same, and durations. Without
//! `[observability] otlp_endpoint` there are no spans and nothing is spent on them. A finding has a stable code, what
//! was found and what to do; health, `check-config` and `doctor` share the checks. **Not promised**: alarms. Alerts are
//! Prometheus' own (`node/deploy/observability`); what must be kept as evidence is in the log, not here.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::bank::Bank;
use crate::config::{Config, ObservabilityConfig};
use crate::error::NodeError;
use crate::evidence::EvidenceLog;
use crate::limits::Limits;
use crate::provider::{Provider, Shared};
use crate::psi::serve::PsiProvider;
use crate::train::serve::TrainProvider;

pub mod calls;
pub mod checks;
pub mod doctor;
mod finding;
pub mod grpc;
pub mod health;
mod labels;
pub mod listener;
pub mod metrics;
mod process;
pub mod rest;
mod sample;
pub mod setup;
pub mod trace;

pub use finding::{Finding, Scope, Severity};
pub use metrics::Metrics;

use trace::{Tracing, Work};

/// What every part of a node tells of its work, and through which the parts are seen.
///
/// It holds the parts weakly: they hold it.
pub struct Observer {
    /// What is counted.
    pub metrics: Metrics,
    config: ObservabilityConfig,
    tracing: Option<Tracing>,
    parts: Parts,
    /// One look at a time: two who collect must not mix their gauges, and whoever asks often holds one thread.
    looks: Arc<Semaphore>,
}

#[derive(Default)]
struct Parts {
    provider: OnceLock<Weak<Provider>>,
    psi: OnceLock<Weak<PsiProvider>>,
    train: OnceLock<Weak<TrainProvider>>,
    bank: OnceLock<Weak<Bank>>,
    limits: OnceLock<Weak<Limits>>,
}

impl Observer {
    /// Begins to observe. Must be called inside of the runtime when spans are to be sent.
    ///
    /// # Errors
    /// [`NodeError`] when the collector's address cannot be used.
    pub fn new(config: &Config, log: &EvidenceLog) -> Result<Self, NodeError> {
        let observability = config.observability.clone();
        let tracing = observability.otlp_endpoint.as_deref();
        let tracing =
            tracing.map(|endpoint| Tracing::start(endpoint, &config.party(), observability.trace_share));
        Ok(Self {
            metrics: Metrics::new(log.sync_seconds()),
            config: observability,
            tracing: tracing.transpose()?,
            parts: Parts::default(),
            looks: Arc::new(Semaphore::new(1)),
        })
    }

    /// What the configuration says of it.
    pub(crate) const fn config(&self) -> &ObservabilityConfig {
        &self.config
    }

    /// Lets the provider's side be seen.
    pub(crate) fn watch_provider(
        &self,
        provider: &Arc<Provider>,
        psi: &Arc<PsiProvider>,
        train: &Arc<TrainProvider>,
    ) {
        // Each is set once, at the start.
        let _ = self.parts.provider.set(Arc::downgrade(provider));
        let _ = self.parts.psi.set(Arc::downgrade(psi));
        let _ = self.parts.train.set(Arc::downgrade(train));
    }

    /// Lets the bank's side be seen.
    pub(crate) fn watch_bank(&self, bank: &Arc<Bank>) {
        let _ = self.parts.bank.set(Arc::downgrade(bank));
    }

    /// Lets what peers are held to be seen.
    pub(crate) fn watch_limits(&self, limits: &Arc<Limits>) {
        let _ = self.parts.limits.set(Arc::downgrade(limits));
    }

    fn provider(&self) -> Option<Arc<Provider>> {
        self.parts.provider.get()?.upgrade()
    }

    fn psi(&self) -> Option<Arc<PsiProvider>> {
        self.parts.psi.get()?.upgrade()
    }

    fn train(&self) -> Option<Arc<TrainProvider>> {
        self.parts.train.get()?.upgrade()
    }

    fn bank(&self) -> Option<Arc<Bank>> {
        self.parts.bank.get()?.upgrade()
    }

    fn limits(&self) -> Option<Arc<Limits>> {
        self.parts.limits.get()?.upgrade()
    }

    /// Begins a piece of work below the one that runs here, where spans are wanted.
    pub(crate) fn work(&self, name: &'static str) -> Work {
        self.tracing.as_ref().map_or_else(Work::unseen, |tracing| tracing.work(name))
    }

    /// The same for a call to a peer.
    pub(crate) fn asking(&self, name: &'static str) -> Work {
        self.tracing.as_ref().map_or_else(Work::unseen, |tracing| tracing.asking(name))
    }

    /// The same for a call that arrived; `traceparent` is the caller's, where it may join.
    pub(crate) fn serving(&self, name: &'static str, traceparent: Option<&str>) -> Work {
        self.tracing.as_ref().map_or_else(Work::unseen, |tracing| tracing.serving(name, traceparent))
    }

    /// Whether spans are sent.
    pub(crate) const fn traces(&self) -> bool {
        self.tracing.is_some()
    }

    /// Sends what spans wait. Blocks for as long as the collector takes, up to a few seconds.
    pub(crate) fn flush(&self) {
        if let Some(tracing) = &self.tracing {
            tracing.flush();
        }
    }
}

/// How long a look may take, with its wait for the one before. It takes milliseconds, on a machine with too much to do
/// some hundred; a disk that hangs holds it for ever. Prometheus and `windvane doctor` wait for 10 s.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Looks at a node where that may block, after whoever looks already; `None` when the look broke, or has not ended
/// within 5 s. One that hangs holds its thread, and no other begins before it ends.
pub(crate) async fn look<T: Send + 'static>(
    shared: &Shared,
    look: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Option<T> {
    let (shared, looks) = (shared.clone(), shared.observer.looks.clone());
    in_turn(looks, LOOK_WITHIN, move || look(&shared)).await
}

async fn in_turn<T: Send + 'static>(
    looks: Arc<Semaphore>,
    within: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let looked = async {
        let place = looks.acquire_owned().await.ok()?;
        let looked = tokio::task::spawn_blocking(move || {
            let _place = place;
            look()
        });
        looked.await.ok()
    };
    tokio::time::timeout(within, looked).await.ok()?
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("traces", &self.traces()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_ends_in_time_and_no_other_begins_beside_it() {
        let looks = Arc::new(Semaphore::new(1));
        let within = |milliseconds| Duration::from_millis(milliseconds);
        let (release, hangs) = mpsc::channel::<()>();
        let hung = in_turn(looks.clone(), within(20), move || hangs.recv().is_ok()).await;
        assert_eq!(hung, None);
        let (begun, begins) = mpsc::channel();
        let next = in_turn(looks.clone(), within(20), move || begun.send(())).await;
        assert_eq!((next, begins.recv()), (None, Err(mpsc::RecvError)));
        release.send(()).unwrap();
        assert_eq!(in_turn(looks, within(60_000), || 7).await, Some(7));
    }
}
