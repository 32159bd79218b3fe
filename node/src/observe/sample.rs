//! Gauges: read when somebody collects.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;

use super::labels::{
    BuildLabels, FindingLabels, JobLabels, PartyLabels, PeerLabels, QuotaLabels, TableLabels, name_of,
};
use super::metrics::raise;
use super::{Finding, Metrics, checks, health, process};
use crate::provider::{Provider, Shared};
use crate::snapshot::disk::free_bytes;

const DAY_MS: f64 = 86_400_000.0;

/// Everything that a node exports, as text. Blocks for a few files and a question to the state file; two at a time
/// would mix their gauges.
pub(super) fn collect(shared: &Shared) -> String {
    let metrics = &shared.observer.metrics;
    let findings = health::findings(shared);
    sample_findings(metrics, &findings);
    sample_log(metrics, shared);
    sample_process(metrics, shared);
    sample_certificates(metrics, shared);
    metrics.grant_days.clear();
    metrics.data_age_seconds.clear();
    metrics.epoch_left_seconds.clear();
    if let Some(provider) = shared.observer.provider() {
        sample_provider(metrics, shared, &provider);
    }
    sample_jobs(metrics, shared);
    sample_bank(metrics, shared);
    metrics.text()
}

fn sample_findings(metrics: &Metrics, findings: &[Finding]) {
    metrics.ready.set(u64::from(!findings.iter().any(Finding::is_problem)));
    metrics.findings.clear();
    for finding in findings {
        let labels = FindingLabels {
            code: finding.code.clone(),
            severity: finding.severity.name(),
            subject: finding.subject.clone().unwrap_or_default(),
        };
        metrics.findings.get_or_create(&labels).set(1);
    }
}

fn sample_log(metrics: &Metrics, shared: &Shared) {
    let (condition, stats) = (shared.log.condition(), shared.log.stats());
    raise(&metrics.log_entries, stats.entries);
    metrics.log_size.set(shared.log.size());
    metrics.log_waiting.set(condition.waiting);
    metrics.log_waiting_bytes.set(condition.waiting_bytes);
    metrics.log_unpublished_seconds.set(condition.unpublished_for.unwrap_or_default().as_secs_f64());
    metrics.log_checkpoint_age_seconds.set(condition.published_for.as_secs_f64());
    // That the state file cannot be read is a finding of its own.
    let state = shared.store.condition().unwrap_or_default();
    metrics.outbox.set(state.outbox);
    metrics.receipts_uncountersigned.clear();
    for (peer, count) in state.uncountersigned {
        metrics.receipts_uncountersigned.get_or_create(&PeerLabels { peer }).set(count);
    }
}

fn sample_process(metrics: &Metrics, shared: &Shared) {
    let now = process::read();
    metrics.memory_bytes.set(now.resident_bytes);
    metrics.cpu_seconds.inner().fetch_max(now.cpu_seconds.to_bits(), std::sync::atomic::Ordering::Relaxed);
    metrics.open_files.set(now.open_files);
    metrics.disk_free_bytes.set(free_bytes(shared.layout.root()).unwrap_or_default());
    let party = shared.keys.party.to_string();
    metrics.build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION"), party }).set(1);
}

fn sample_certificates(metrics: &Metrics, shared: &Shared) {
    let now_ms = shared.clock.now_ms();
    let own = (shared.keys.party.to_string(), shared.tls.certificate().tls.certificate().not_after_ms);
    let partners = shared.partners.ends();
    let partners = partners.iter().map(|(party, until_ms)| (party.to_string(), *until_ms));
    metrics.certificate_days.clear();
    for (party, until_ms) in std::iter::once(own).chain(partners) {
        set_days(&metrics.certificate_days.get_or_create(&PartyLabels { party }), until_ms, now_ms);
    }
}

fn sample_provider(metrics: &Metrics, shared: &Shared, provider: &Provider) {
    let (now_ms, waiting) = (shared.clock.now_ms(), provider.waiting());
    metrics.passes_waiting.set(waiting.passes as u64);
    metrics.sessions.set(waiting.sessions as u64);
    metrics.receipts_open.set(waiting.receipts as u64);
    metrics.connections.set(shared.tls.open().len() as u64);
    sample_limits(metrics, shared);
    for published in provider.all_published() {
        let manifest = published.manifest().body();
        sample_table(
            metrics,
            manifest.provider.as_str(),
            manifest.data_set.as_str(),
            health::age(manifest),
            now_ms,
        );
    }
    for (party, until_ms) in provider.policy().grants_until() {
        set_days(&metrics.grant_days.get_or_create(&PartyLabels { party }), until_ms, now_ms);
    }
    metrics.quota_used.clear();
    metrics.quota_limit.clear();
    for (name, quota) in provider.policy().quotas(now_ms) {
        let labels =
            QuotaLabels { peer: name.peer, purpose: name.purpose, group: name.group, window: name.window };
        metrics.quota_used.get_or_create(&labels).set(quota.used);
        metrics.quota_limit.get_or_create(&labels).set(quota.limit);
    }
}

fn sample_limits(metrics: &Metrics, shared: &Shared) {
    let Some(limits) = shared.observer.limits() else { return };
    let now = limits.snapshot();
    metrics.calls_waiting.set(now.waiting as u64);
    metrics.transfers.set(now.transfers as u64);
    let mut shed: BTreeMap<String, u64> = BTreeMap::new();
    for peer in now.peers {
        *shed.entry(name_of(&peer.party, &shared.partners).to_owned()).or_default() += peer.shed;
    }
    for (peer, count) in shed {
        raise(&metrics.shed.get_or_create(&PeerLabels { peer }), count);
    }
}

fn sample_jobs(metrics: &Metrics, shared: &Shared) {
    let set = |kind, state, count: usize| {
        metrics.jobs.get_or_create(&JobLabels { kind, state }).set(count as u64);
    };
    if let Some(psi) = shared.observer.psi() {
        set("psi", "running", psi.jobs());
    }
    if let Some(train) = shared.observer.train() {
        let (running, held) = train.sessions();
        set("train", "running", running);
        set("train", "idle", held.saturating_sub(running));
    }
}

fn sample_bank(metrics: &Metrics, shared: &Shared) {
    let (now_ms, bank) = (shared.clock.now_ms(), shared.observer.bank());
    for breaker in bank.iter().flat_map(|bank| bank.breakers()) {
        let open = u64::from(breaker.state != "closed");
        metrics.circuit_open.get_or_create(&PeerLabels { peer: breaker.provider }).set(open);
    }
    for contract in bank.iter().flat_map(|bank| bank.contracts().iter().cloned().collect::<Vec<_>>()) {
        let party = contract.party().to_string();
        if let Some(snapshot) = contract.snapshot() {
            let manifest = snapshot.manifest().body();
            sample_table(metrics, &party, manifest.data_set.as_str(), health::age(manifest), now_ms);
        }
        if let Some(until_ms) = contract.granted_until() {
            set_days(&metrics.grant_days.get_or_create(&PartyLabels { party }), until_ms, now_ms);
        }
    }
}

fn sample_table(metrics: &Metrics, provider: &str, data_set: &str, age: checks::Age, now_ms: u64) {
    let labels = TableLabels { provider: provider.to_owned(), data_set: data_set.to_owned() };
    let seconds = |later: u64, earlier: u64| (later as f64 - earlier as f64) / 1_000.0;
    metrics.data_age_seconds.get_or_create(&labels).set(seconds(now_ms, age.built_at_ms));
    metrics.epoch_left_seconds.get_or_create(&labels).set(seconds(age.until_ms, now_ms));
}

fn set_days(gauge: &Gauge<f64, AtomicU64>, until_ms: u64, now_ms: u64) {
    gauge.set((until_ms as f64 - now_ms as f64) / DAY_MS);
}
