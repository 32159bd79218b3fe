//! What a provider needs to answer.

use windvane::config::Config;
use windvane::dataset::{DataSetStatus, status};
use windvane::identity::Layout;
use windvane_protocols::audit::grant::Grant;

use super::Findings;

/// Checks the published data sets and the issued grants.
pub(super) fn check(config: &Config, grants: &[(Grant, Option<u64>)], now_ms: u64, found: &mut Findings) {
    let layout = Layout::new(config.node.data_dir.clone());
    let names = found.need(layout.data_sets()).unwrap_or_default();
    if names.is_empty() && config.lists.is_empty() {
        found.note("DATASET_MISSING", "no data set; run windvane dataset import, build and publish");
    }
    for name in names {
        if let Some(status) = found.need(status(layout.root(), &name)) {
            check_data_set(name.as_str(), &status, now_ms, found);
        }
    }
    let ours = config.party();
    let runs = |(grant, ended): &(Grant, Option<u64>)| {
        ended.is_none() && grant.provider == ours && now_ms <= grant.not_after_ms
    };
    if !grants.iter().any(runs) {
        found.note("GRANT_MISSING", "no running grant is issued; run windvane grant issue");
    }
}

fn check_data_set(name: &str, status: &DataSetStatus, now_ms: u64, found: &mut Findings) {
    let next = match (&status.imported, status.built.is_empty()) {
        (None, _) => "import",
        (Some(_), true) => "build",
        (Some(_), false) => "publish",
    };
    match status.published.last() {
        None => {
            let advice = format!("{name} is not published; run windvane dataset {next}");
            found.note("DATASET_UNPUBLISHED", advice);
        }
        Some(epoch) if epoch.not_after_ms.is_some_and(|end| end < now_ms) => {
            let advice = format!("epoch {} of {name} has ended; run windvane dataset {next}", epoch.epoch);
            found.note("EPOCH_EXPIRED", advice);
        }
        Some(_) => {}
    }
}
