//! The check of all parties' logs after the nodes have stopped.

use crate::audit::{ReconcileReport, reconcile};
use crate::fleet::Fleet;

/// Verifies every node's log under its own key and holds them against each other: what is wrong, nothing
/// when every log is whole, all agree, and every receipt is countersigned.
pub fn verify_logs(fleet: &Fleet) -> Vec<String> {
    let report = reconcile(&fleet.log_dirs());
    findings(&report, &fleet.log_verifiers())
}

fn findings(report: &ReconcileReport, verifiers: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (log, verifier) in report.logs.iter().zip(verifiers) {
        let party = log.party.as_deref().unwrap_or("an unknown party");
        if log.log_key.as_deref() != Some(verifier) {
            found.push(format!("{party}: the log is not signed by the key that was made for it"));
        }
        if log.uncountersigned > 0 {
            found.push(format!("{party}: {} receipts without a countersignature", log.uncountersigned));
        }
        found.extend(log.findings.iter().map(|finding| format!("{party}: {finding}")));
    }
    found.extend(report.differences.iter().map(ToString::to_string));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditReport;

    #[test]
    fn another_key_and_a_missing_countersignature_are_findings() {
        let log = AuditReport { log_key: Some("key".into()), ..AuditReport::default() };
        let report = |log| ReconcileReport { logs: vec![log], ..ReconcileReport::default() };
        assert_eq!(findings(&report(log.clone()), &["key"]), [""; 0]);
        assert_eq!(findings(&report(log.clone()), &["other"]).len(), 1);
        assert_eq!(findings(&report(AuditReport { uncountersigned: 2, ..log }), &["key"]).len(), 1);
    }
}
