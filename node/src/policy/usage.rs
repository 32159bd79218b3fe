//! How much of the issued grants was used, for metrics and advice.

use std::collections::BTreeMap;

use windvane_protocols::audit::grant::Operation;
use windvane_protocols::lookup::KeyGroup;

use super::{ALL_DAYS, DAY_MS, Policy, SCORE};

/// One quota of one peer for some purposes; grants that agree in both are added up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaName {
    /// Whose it is.
    pub peer: String,
    /// The grants' purposes.
    pub purpose: String,
    /// What is counted: a key group, or scores.
    pub group: &'static str,
    /// `day` or `total`.
    pub window: &'static str,
}

/// How much of a quota was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Elements that were counted.
    pub used: u64,
    /// Elements that are permitted.
    pub limit: u64,
}

impl Policy {
    /// The quotas of all grants that run.
    pub fn quotas(&self, now_ms: u64) -> BTreeMap<QuotaName, Quota> {
        let grants = self.grants.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let ledger = self.lock();
        let mut quotas: BTreeMap<QuotaName, Quota> = BTreeMap::new();
        for grant in grants.values().filter(|grant| now_ms <= grant.not_after_ms) {
            let scores = grant.operations.contains(&Operation::Score).then_some((SCORE, "score"));
            let groups = grant.families.iter().map(|family| KeyGroup::of(*family));
            let groups = groups.map(|group| (group.code(), group.name()));
            let codes: BTreeMap<u8, &'static str> = groups.chain(scores).collect();
            for (code, group) in codes {
                for (window, day, limit) in
                    [("day", now_ms / DAY_MS, grant.per_day), ("total", ALL_DAYS, grant.total)]
                {
                    let name = QuotaName {
                        peer: grant.requester.to_string(),
                        purpose: grant.purposes.join(","),
                        group,
                        window,
                    };
                    let quota = quotas.entry(name).or_default();
                    quota.used += ledger.of(*grant.id.as_bytes(), code, day);
                    quota.limit = quota.limit.saturating_add(limit);
                }
            }
        }
        quotas
    }

    /// When the last grant of each peer ends, milliseconds of Unix time.
    pub fn grants_until(&self) -> BTreeMap<String, u64> {
        let grants = self.grants.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut until: BTreeMap<String, u64> = BTreeMap::new();
        for grant in grants.values() {
            let end = until.entry(grant.requester.to_string()).or_default();
            *end = (*end).max(grant.not_after_ms);
        }
        until
    }
}
