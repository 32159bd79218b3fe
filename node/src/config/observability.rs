//! `[observability]`: what a node shows of itself, and from where on it complains.

use std::net::SocketAddr;

use serde::Deserialize;

use super::ConfigError;

/// Longest age of a checkpoint or a data set that a configuration may ask for: a year.
const MAX_DAYS: u64 = 366;

/// What a node shows of itself, and from where on it complains.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObservabilityConfig {
    /// A loopback address for `/healthz`, `/readyz` and `/metrics`; without it there is no such listener.
    pub listen: Option<SocketAddr>,
    /// Where spans go, as OTLP over gRPC, for example `http://127.0.0.1:4317`; without it there are none.
    pub otlp_endpoint: Option<String>,
    /// Share of the verifications whose spans are sent, from 0 to 1. A provider follows the bank's choice.
    pub trace_share: f64,
    /// From which age of an entry without a checkpoint the node is not ready.
    pub max_checkpoint_age_ms: u64,
    /// Below which space on the disk of `data_dir` the node is not ready; below twice as much it warns.
    pub min_free_disk_mb: u64,
    /// From which age of a data set, since it was built, the node is not ready; without it only its epoch's end counts.
    pub max_data_age_hours: Option<u64>,
    /// From which used share of a quota the node warns, from 0 to 1.
    pub quota_warning: f64,
}

impl Default for ObservabilityConfig {
    fn default() -> Self {
        Self {
            listen: None,
            otlp_endpoint: None,
            trace_share: 1.0,
            max_checkpoint_age_ms: 60_000,
            min_free_disk_mb: 512,
            max_data_age_hours: None,
            quota_warning: 0.9,
        }
    }
}

impl ObservabilityConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule: &str| Err(ConfigError::Field { field, rule: rule.to_owned() });
        if self.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            let rule = "must be a loopback address; let an agent or a proxy on this machine collect from it";
            return refuse("observability.listen", rule);
        }
        if let Some(endpoint) = &self.otlp_endpoint {
            let parsed = endpoint.parse::<http::Uri>().ok();
            let plain = parsed.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
            if !plain {
                let rule = "is http://host:port of a collector's gRPC receiver; a collector on this machine adds TLS";
                return refuse("observability.otlp_endpoint", rule);
            }
        }
        if !(0.0..=1.0).contains(&self.trace_share) {
            return refuse("observability.trace_share", "is 0 to 1");
        }
        if !(1_000..=86_400_000).contains(&self.max_checkpoint_age_ms) {
            return refuse("observability.max_checkpoint_age_ms", "is 1000 to 86400000");
        }
        if self.max_data_age_hours.is_some_and(|hours| !(1..=24 * MAX_DAYS).contains(&hours)) {
            return refuse("observability.max_data_age_hours", "is 1 to 8784");
        }
        if !(0.0..=1.0).contains(&self.quota_warning) {
            return refuse("observability.quota_warning", "is 0 to 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, SAMPLES};

    #[test]
    fn what_breaks_a_rule_is_named() {
        let (_, carrier) = SAMPLES[1];
        assert!(Config::parse(carrier).unwrap().observability.listen.is_some());
        for (from, to, expected) in [
            ("127.0.0.1:9464", "0.0.0.0:9464", "observability.listen"),
            ("min_free_disk_mb = 512", "min_free_disk = 512", "min_free_disk"),
            ("min_free_disk_mb = 512", "otlp_endpoint = \"https://c:4317\"", "observability.otlp_endpoint"),
            ("min_free_disk_mb = 512", "otlp_endpoint = \"c\"", "observability.otlp_endpoint"),
            ("min_free_disk_mb = 512", "trace_share = 1.5", "observability.trace_share"),
            ("min_free_disk_mb = 512", "trace_share = nan", "observability.trace_share"),
            (
                "max_checkpoint_age_ms = 60000",
                "max_checkpoint_age_ms = 1",
                "observability.max_checkpoint_age_ms",
            ),
            ("min_free_disk_mb = 512", "max_data_age_hours = 0", "observability.max_data_age_hours"),
            ("quota_warning = 0.9", "quota_warning = 2.0", "observability.quota_warning"),
        ] {
            assert!(carrier.contains(from), "{from}");
            let error = Config::parse(&carrier.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
