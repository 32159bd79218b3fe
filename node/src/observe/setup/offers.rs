//! What a provider needs to answer.

use windvane_protocols::audit::grant::Grant;

use super::Setup;
use crate::config::{Config, ObservabilityConfig};
use crate::dataset::{DataSetStatus, status};
use crate::identity::Layout;
use crate::observe::checks::{self, Age};

/// Checks the published data sets and the issued grants.
pub(super) fn check(config: &Config, grants: &[(Grant, Option<u64>)], now_ms: u64, found: &mut Setup) {
    let layout = Layout::new(config.node.data_dir.clone());
    let names = found.need(layout.data_sets()).unwrap_or_default();
    if names.is_empty() && config.lists.is_empty() {
        found.note("DATASET_MISSING", "no data set; run windvane dataset import, build and publish");
    }
    for name in names {
        if let Some(status) = found.need(status(layout.root(), &name)) {
            check_data_set(name.as_str(), &status, now_ms, &config.observability, found);
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

fn check_data_set(
    name: &str,
    status: &DataSetStatus,
    now_ms: u64,
    config: &ObservabilityConfig,
    found: &mut Setup,
) {
    let next = match (&status.imported, status.built.is_empty()) {
        (None, _) => "import",
        (Some(_), true) => "build",
        (Some(_), false) => "publish",
    };
    let Some(epoch) = status.published.last() else {
        let advice = format!("{name} is not published; run windvane dataset {next}");
        return found.note("DATASET_UNPUBLISHED", &advice);
    };
    let age = Age { built_at_ms: epoch.built_at_ms, until_ms: epoch.not_after_ms.unwrap_or(u64::MAX) };
    found.step(checks::epoch(name, age, now_ms, config, &format!("run windvane dataset {next}")));
}
