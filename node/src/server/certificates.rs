//! What of certificates needs a clock: open connections whose certificates end, and warnings of what ends soon.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::every;
use crate::bank::Bank;
use crate::peer;
use crate::provider::Shared;

/// How often open connections are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often what ends soon is told, after the first time at the start.
const WARN_INTERVAL: Duration = Duration::from_secs(86_400);

/// Looks after open connections and warns daily until the node stops.
pub(super) fn watch(
    shared: &Shared,
    bank: Option<&Arc<Bank>>,
    stopped: &watch::Receiver<bool>,
) -> [JoinHandle<()>; 2] {
    warn(shared);
    let (sweeping, bank, warning) = (shared.clone(), bank.cloned(), shared.clone());
    let sweep = every(SWEEP_INTERVAL, stopped.clone(), move || {
        let (shared, bank) = (sweeping.clone(), bank.clone());
        async move { sweep(&shared, bank.as_deref()).await }
    });
    let warn = every(WARN_INTERVAL, stopped.clone(), move || {
        let shared = warning.clone();
        async move { warn(&shared) }
    });
    [sweep, warn]
}

async fn sweep(shared: &Shared, bank: Option<&Bank>) {
    let tls = shared.tls.clone();
    // Now and then it checks the signatures of all connections; a look that broke comes again.
    if tokio::task::spawn_blocking(move || tls.sweep(false)).await.unwrap_or(false)
        && let Some(bank) = bank
    {
        // Not while changes of commands are taken over: both make contracts of those that are there.
        let _one = shared.taking_over.lock().await;
        bank.connect_anew();
    }
}

/// Tells the log what ends soon.
pub(super) fn warn(shared: &Shared) {
    let (certificate, ends) = (shared.tls.certificate(), shared.partners.ends());
    let now_ms = shared.clock.now_ms();
    peer::warn(&peer::endings(&certificate, &ends, now_ms, shared.certificates.warn_days));
}
