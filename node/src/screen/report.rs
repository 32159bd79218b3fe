//! What a screening tells when it is through.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{read_public, write_public};

use super::{NewBy, ScreenError, ScreenSummary};

/// The report beside the lists, from which the next day knows how long the providers' lists are.
const FILE: &str = "screening.json";

const MAX_REPORT_BYTES: usize = 1 << 20;

/// What a finished screening tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenReport {
    /// Whether it was the daily form.
    pub daily: bool,
    /// When it began, Unix milliseconds; one that was interrupted began with its first run. 0 where an earlier
    /// version wrote the report.
    #[serde(default)]
    pub began_at_ms: u64,
    /// Rows of the customer file.
    pub customers: u64,
    /// New customers; none in the full form.
    pub new_customers: u64,
    /// Rows of the customer file whose keys are none; they stand in `rejects.csv`.
    pub rejected: u64,
    /// Rows of new customers whose keys are none, by lookups or intersections; they stand in `new-rejects.csv`.
    pub new_rejected: u64,
    /// Listed customers with a joint score.
    #[serde(default)]
    pub scored: u64,
    /// The code of why nobody was scored, where the plan asks for scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscored: Option<String>,
    /// What stands in the lists now.
    #[serde(flatten)]
    pub summary: ScreenSummary,
    /// The providers, in the order of the plan.
    pub providers: Vec<ProviderReport>,
}

/// A provider's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReport {
    /// Its party id.
    pub provider: String,
    /// Rows of its list, when a full screening was told last.
    pub list_rows: Option<u64>,
    /// Customers on its list; in the daily form, those whose tags its changes set or took.
    pub hits: u64,
    /// New customers on its list.
    pub new_hits: u64,
    /// How new customers met its list, where there were any.
    pub new_by: Option<NewBy>,
    /// The names of the jobs, for `psi status`.
    pub jobs: Vec<String>,
}

impl ScreenReport {
    /// Writes the report beside the lists.
    pub(super) fn keep(&self, dir: &Path) -> Result<(), ScreenError> {
        let json = serde_json::to_vec_pretty(self).expect("a report is plain data");
        Ok(write_public(&dir.join(FILE), &json)?)
    }

    /// Rows of the providers' lists by the report that lies beside these hits; nothing where there is none.
    pub(super) fn list_rows(hits: &Path) -> BTreeMap<String, u64> {
        let report = read_public(&hits.with_file_name(FILE), MAX_REPORT_BYTES).ok();
        let report: Option<Self> = report.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let providers = report.into_iter().flat_map(|report| report.providers);
        providers.filter_map(|provider| Some((provider.provider, provider.list_rows?))).collect()
    }
}
