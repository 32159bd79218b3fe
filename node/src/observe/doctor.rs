//! `windvane doctor`: everything that can be said of a node from its machine, with advice.
//!
//! It looks at what [`super::setup`] looks at, at the machine (disk, modes, clock), at keys, grants, quotas, the log's
//! tail and the outbox, asks every provider for its version and clock over mutual TLS, and asks the running node what
//! it finds itself. It changes nothing, and calls no node healthy that is down or cannot be asked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use windvane_keys::rotation::load_epoch;
use windvane_keys::store::KeyStore as _;
use windvane_protocols::audit::grant::Grant;

use super::setup::{self, Setup};
use super::{Finding, Severity, checks};
use crate::admin::Admin;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::dataset::published_epochs;
use crate::error::NodeError;
use crate::identity::Layout;
use crate::policy::Policy;

mod log;
mod peers;
mod running;

/// What the doctor found, gravest first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many findings are problems.
    pub problems: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// Everything found.
    pub findings: Vec<Finding>,
}

impl Report {
    fn of(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|found| std::cmp::Reverse(found.severity));
        let count = |severity| findings.iter().filter(|found| found.severity == severity).count();
        Self { problems: count(Severity::Problem), warnings: count(Severity::Warning), findings }
    }

    /// Lines for people.
    pub fn text(&self) -> String {
        let lines = self.findings.iter().map(|found| format!("{found}\n"));
        let end = match (self.problems, self.warnings) {
            (0, 0) => "healthy".to_owned(),
            (0, warnings) => format!("no problems, {warnings} warnings"),
            (problems, warnings) => format!("{problems} problems, {warnings} warnings"),
        };
        lines.collect::<String>() + &end
    }
}

/// Examines the node of a configuration. Blocks on files, and asks the network.
pub async fn examine(file: &Path) -> Report {
    let Setup { findings, config, admin, certificate } = Setup::of(file);
    let mut found: Vec<_> = findings.into_iter().map(weighed).collect();
    let Some(config) = config else { return Report::of(found) };
    found.extend(machine(&config));
    if let Some(admin) = &admin {
        found.extend(of_files(&config, admin).await);
    }
    if let Some(certificate) = &certificate {
        found.extend(peers::examine(&config, certificate).await);
    }
    for told in running::examine(&config).await {
        match found.iter_mut().find(|known| known.short() == told.short()) {
            // The node knows best how much it weighs.
            Some(known) if told.severity > known.severity => *known = told,
            Some(_) => {}
            None => found.push(told),
        }
    }
    Report::of(found)
}

/// What is a step to do before the start is more for a node that should be at work.
fn weighed(found: Finding) -> Finding {
    let severity = match found.code.as_str() {
        "EPOCH_EXPIRED" | "DATA_OLD" | "VERIFICATION_OFF" => Severity::Problem,
        code if code.ends_with("CERTIFICATE_EXPIRED") => Severity::Problem,
        _ if found.severity == Severity::Note => Severity::Warning,
        _ => found.severity,
    };
    Finding { severity, ..found }
}

/// Disk, modes and version.
fn machine(config: &Config) -> Vec<Finding> {
    let layout = Layout::new(config.node.data_dir.clone());
    let mut found: Vec<_> = checks::disk(layout.root(), &config.observability).into_iter().collect();
    found.extend(checks::modes(&layout));
    let version = env!("CARGO_PKG_VERSION");
    found.push(match crate::server::digests(config) {
        Ok((software, _)) => {
            let digest = hex::encode(&software[..8]);
            let what = format!("windvane {version}, SHA-512 of the program {digest}…");
            Finding::note("VERSION", what, "compare both with what your partners expect of you")
        }
        Err(error) => setup::of_node(&error),
    });
    found
}

/// Keys, grants, quotas, outbox and log.
async fn of_files(config: &Config, admin: &Admin) -> Vec<Finding> {
    let now_ms = SystemClock.now_ms();
    let mut found = Vec::new();
    let mut keep = |examined: Result<Vec<Finding>, NodeError>| match examined {
        Ok(more) => found.extend(more),
        Err(error) => found.push(setup::of_node(&error)),
    };
    keep(keys(admin));
    keep(grants(config, admin, now_ms));
    keep(quotas(config, admin, now_ms));
    keep(outbox(admin).await);
    keep(log::examine(config, admin, now_ms));
    found
}

/// That every key of a published epoch opens, and how many there are.
fn keys(admin: &Admin) -> Result<Vec<Finding>, NodeError> {
    let (store, layout) = (&admin.keys().store, admin.layout());
    let mut found = Vec::new();
    for data_set in layout.data_sets()? {
        let Some(&epoch) = published_epochs(layout.root(), &data_set)?.last() else { continue };
        if let Err(error) = load_epoch(store, &data_set, epoch) {
            let what = format!("a key of epoch {epoch} does not open: {error}");
            let advice = "restore the key store from the last backup, or build and publish a fresh epoch";
            found.push(Finding::problem("EPOCH_KEY_MISSING", what, advice).about(data_set.as_str()));
        }
    }
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    for record in store.records()? {
        *states.entry(record.state.as_str()).or_default() += 1;
    }
    let states: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    found.push(Finding::note("KEYS", format!("the key store opens: {}", states.join(", ")), ""));
    Ok(found)
}

/// When the last grant with each party ends.
fn grants(config: &Config, admin: &Admin, now_ms: u64) -> Result<Vec<Finding>, NodeError> {
    let ours = config.party();
    let mut until: BTreeMap<String, (bool, u64)> = BTreeMap::new();
    for (grant, ended) in admin.grants()? {
        let Grant { provider, requester, not_after_ms, .. } = grant;
        if ended.is_none() {
            let accepted = requester == ours;
            let other = if accepted { provider } else { requester };
            let (_, end) = until.entry(other.to_string()).or_insert((accepted, 0));
            *end = (*end).max(not_after_ms);
        }
    }
    // A provider need not renew what a bank no longer asks for.
    let due = until.iter().filter(|(_, (accepted, end))| *accepted || *end >= now_ms);
    Ok(due.filter_map(|(party, (_, end))| checks::grant(party, *end, now_ms, checks::GRANT_DAYS)).collect())
}

/// How much of the issued quotas was used, as of the last time the node kept its counters.
fn quotas(config: &Config, admin: &Admin, now_ms: u64) -> Result<Vec<Finding>, NodeError> {
    let policy = Policy::new(config.limits.elements_per_s);
    policy.reload(admin.store())?;
    policy.restore(&admin.store().counters()?.1, &[]);
    let warning = config.observability.quota_warning;
    Ok(policy
        .quotas(now_ms)
        .iter()
        .filter_map(|(name, quota)| checks::quota(name, *quota, warning))
        .collect())
}

/// Entries of commands that no node takes over. A running node does so within a moment.
async fn outbox(admin: &Admin) -> Result<Vec<Finding>, NodeError> {
    if admin.store().condition()?.outbox > 0 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let waiting = admin.store().condition()?.outbox;
    let what = format!("{waiting} entries of commands wait for the log");
    let found =
        (waiting > 0).then(|| Finding::warning("OUTBOX_WAITS", what, "start the node: it takes them over"));
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_stands_first_and_steps_weigh_more_than_before_a_start() {
        let step = Finding::note("GRANT_MISSING", "none", "ask for one");
        let ended = Finding::note("EPOCH_EXPIRED", "ended", "publish");
        let report = Report::of([step, ended].into_iter().map(weighed).collect());
        assert_eq!((report.problems, report.warnings), (1, 1));
        assert_eq!(report.findings[0].code, "EPOCH_EXPIRED");
        assert!(report.text().ends_with("1 problems, 1 warnings"), "{}", report.text());
    }
}
