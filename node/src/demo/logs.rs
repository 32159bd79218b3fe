//! The check of all parties' logs after the nodes have stopped.

use windvane_protocols::audit::checkpoint::LogVerifier;

use crate::evidence::verify::verify_log;
use crate::fleet::Fleet;

/// Verifies every node's log under its own key: what is wrong, nothing when all is well.
pub fn verify_logs(fleet: &Fleet) -> Vec<String> {
    let logs = fleet.log_dirs().into_iter().zip(fleet.log_verifiers());
    logs.flat_map(|(dir, verifier)| {
        let named = |finding: String| format!("{}: {finding}", dir.display());
        let Ok(verifier) = verifier.parse::<LogVerifier>() else {
            return vec![named("its verifier key does not parse".to_owned())];
        };
        let report = verify_log(&dir, Some(&verifier), None);
        report.findings.iter().map(|finding| named(finding.to_string())).collect()
    })
    .collect()
}
