//! Entries of commands on their way from the state into the log, each of them once.
//!
//! The state's outbox is cleared after the log has its entries. What a kill, or a state file that cannot be written,
//! leaves in between stands in both: it is found in the log by its bytes, which hold its time, and not written again.

use std::collections::HashSet;

use windvane_protocols::audit::entry::Entry;
use windvane_protocols::transcript::{Hash, Record as _, digest};

use crate::error::NodeError;
use crate::evidence::EvidenceLog;
use crate::store::Store;

/// Entries that are read at a time, from the log's end.
const STEP: u64 = 256;

/// How much older than what waits an entry has to be for nothing before it to be looked at: clocks are set back.
const MARGIN_MS: u64 = 10 * 60_000;

/// Forgets what waits in the outbox and is in the log, which was opened just now. Blocks on files.
pub(crate) fn forget_logged(store: &Store, log: &EvidenceLog) -> Result<(), NodeError> {
    let waiting = store.outbox()?;
    let Some(oldest_ms) = waiting.iter().filter_map(|(_, entry)| at_ms(entry)).min() else { return Ok(()) };
    let waiting: HashSet<Hash> = waiting.iter().map(|(_, entry)| digest(entry)).collect();
    let mut logged = HashSet::new();
    let mut end = log.checkpoint().size;
    while end > 0 && logged.len() < waiting.len() {
        let from = end.saturating_sub(STEP);
        let mut newest_ms = 0;
        for entry in log.entries_from(from)?.take(usize::try_from(end - from).unwrap_or(usize::MAX)) {
            let (_, entry) = entry?;
            newest_ms = newest_ms.max(at_ms(&entry).unwrap_or(u64::MAX));
            logged.extend(Some(digest(&entry)).filter(|digest| waiting.contains(digest)));
        }
        if newest_ms < oldest_ms.saturating_sub(MARGIN_MS) {
            break;
        }
        end = from;
    }
    if logged.is_empty() { Ok(()) } else { Ok(store.forget_logged(&logged)?) }
}

/// Writes what waits into the log, once: what could not be taken out of the outbox afterwards is in `logged`, and is
/// taken out first at the next time. Whether there was anything.
pub(crate) async fn drain(
    store: &Store,
    log: &EvidenceLog,
    logged: &mut HashSet<Hash>,
) -> Result<bool, NodeError> {
    let left = !logged.is_empty();
    if left {
        store.forget_logged(logged)?;
        logged.clear();
    }
    let waiting = store.outbox()?;
    let Some(&(last, _)) = waiting.last() else { return Ok(left) };
    let digests: Vec<_> = waiting.iter().map(|(_, entry)| digest(entry)).collect();
    log.append(waiting.into_iter().map(|(_, entry)| entry).collect()).await?;
    logged.extend(digests);
    store.clear_outbox(last)?;
    logged.clear();
    Ok(true)
}

fn at_ms(entry: &[u8]) -> Option<u64> {
    Entry::decode(entry).ok().map(|entry| entry.at_ms)
}
