//! The log's tail: what a node checks at its start, without taking the log from one that runs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use windvane_keys::signing::log_origin;
use windvane_protocols::audit::checkpoint::LogVerifier;
use windvane_protocols::audit::entry::Entry;
use windvane_protocols::transcript::Record as _;

use super::super::Finding;
use crate::admin::Admin;
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::{LogError, LogReader};

/// A node may publish between two reads; then they are done again.
const ATTEMPTS: usize = 3;

/// Checks the checkpoint's signature, the right edge below it, its age, and the time of the last entry.
pub(super) fn examine(config: &Config, admin: &Admin, now_ms: u64) -> Result<Vec<Finding>, NodeError> {
    let layout = admin.layout();
    let keys = admin.keys();
    let verifier =
        LogVerifier::new(&log_origin(&keys.party), keys.log.verifying_key()).map_err(LogError::from)?;
    let mut read = tail(&layout.log(), &verifier);
    for _ in 1..ATTEMPTS {
        if read.is_ok() {
            break;
        }
        read = tail(&layout.log(), &verifier);
    }
    let (size, last_ms) = match read {
        Ok(tail) => tail,
        Err(error) => {
            let advice = "run windvane audit verify on the log's directory; restore it from the last backup";
            return Ok(vec![Finding::problem("LOG_DAMAGED", error.to_string(), advice)]);
        }
    };
    let mut found = vec![Finding::note("LOG", format!("the tail of {size} entries verifies"), "")];
    let tolerance_ms = config.service.clock_tolerance_ms;
    if last_ms > now_ms.saturating_add(tolerance_ms) {
        let what = format!("the clock stands {} s before the log's last entry", (last_ms - now_ms) / 1_000);
        found.push(Finding::problem("CLOCK_BACK", what, "set the clock, and keep it with a time service"));
    }
    let lag = lag(&layout.log().join("checkpoint"), &layout.journal());
    if lag > Duration::from_millis(config.observability.max_checkpoint_age_ms) {
        let what = format!("entries are {} s newer than the last checkpoint", lag.as_secs());
        let advice = "see whether the disk is slow or full; a start of the node publishes what waits";
        found.push(Finding::problem("CHECKPOINT_OVERDUE", what, advice));
    }
    Ok(found)
}

/// Size of the log, and the time of its last entry.
fn tail(dir: &Path, verifier: &LogVerifier) -> Result<(u64, u64), LogError> {
    let reader = LogReader::open(dir)?;
    let size = reader.verify_edge(verifier)?.size;
    let last = reader.entries(size.saturating_sub(1)).last().transpose()?;
    // What entries say is the auditor's to check.
    let at_ms = last.and_then(|(_, bytes)| Entry::decode(&bytes).ok()).map_or(0, |entry| entry.at_ms);
    Ok((size, at_ms))
}

/// How much newer the journal is than the checkpoint: a publication empties it.
fn lag(checkpoint: &Path, journal: &Path) -> Duration {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let halves = [".0", ".1"].map(|end| {
        let mut path = journal.as_os_str().to_owned();
        path.push(end);
        changed(Path::new(&path))
    });
    let newest = halves.into_iter().flatten().max();
    let since: Option<SystemTime> = changed(checkpoint);
    newest.zip(since).and_then(|(newest, since)| newest.duration_since(since).ok()).unwrap_or_default()
}
