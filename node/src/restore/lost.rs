//! What ends where nobody knows what was used since the backup.

use std::collections::BTreeSet;

use windvane_keys::record::{Purpose, State};
use windvane_keys::rotation::next_epoch;
use windvane_keys::store::KeyStore as _;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::transcript::{Record as _, Signed};

use super::epochs;
use crate::error::NodeError;
use crate::identity::{Layout, NodeKeys};
use crate::score::folder::ScoreFolder;
use crate::snapshot::disk;
use crate::store::Store;

/// By so much the numbers of epochs skip ahead: an epoch every minute for almost two years would not reach it.
pub const SAFE_STEP: u64 = 1_000_000;

/// Ends grants, epochs, scoring keys and callers; gives the log's entries that the state does not queue, and notes.
pub(super) fn end_everything(
    keys: &NodeKeys,
    store: &Store,
    layout: &Layout,
    now_ms: u64,
) -> Result<(Vec<Event>, Vec<String>), NodeError> {
    let entry = |event| Entry::new(now_ms, event).encode().into_bytes();
    let mut notes = vec![
        "the newest log is lost: issue new grants, build and publish new epochs, set up scoring groups anew, \
         and admit callers again"
            .to_owned(),
    ];
    for grant in store.grants()?.into_iter().filter(|grant| grant.issued && grant.ended_at_ms.is_none()) {
        let id = Signed::<Grant>::from_bytes_unverified(grant.signed)?.body().id;
        store.end_grant(id.as_bytes(), now_ms, &entry(Event::GrantEnded(id)))?;
        notes.push(format!("grant {id} is ended"));
    }
    for (_, name) in store.callers()? {
        let event = Event::User { name: name.clone(), action: "dismissed".into() };
        store.dismiss(&name, &entry(event))?;
        notes.push(format!("caller {name} is dismissed"));
    }
    let mut events = Vec::new();
    let mut data_sets: BTreeSet<_> = epochs::data_sets(&keys.store)?;
    data_sets.extend(layout.data_sets()?);
    for data_set in data_sets {
        events.extend(epochs::end_data_set(&keys.store, &data_set)?);
        let next = next_epoch(&keys.store, &data_set)?.saturating_add(SAFE_STEP);
        epochs::use_up_number(&keys.store, &data_set, next)?;
        let folder = layout.root().join("datasets").join(data_set.as_str());
        disk::remove_directory(&folder.join("epochs"))?;
        disk::remove_directory(&folder.join("built"))?;
        notes.push(format!("epochs of {data_set} go on after {next}"));
    }
    events.extend(end_scores(keys, layout, now_ms)?);
    Ok((events, notes))
}

/// Destroys a provider's scoring keys, and skips ahead in every group.
fn end_scores(keys: &NodeKeys, layout: &Layout, now_ms: u64) -> Result<Vec<Event>, NodeError> {
    let folder = ScoreFolder::new(layout);
    let mut events = Vec::new();
    for record in keys.store.records()? {
        let Purpose::Score { group, epoch } = &record.purpose else { continue };
        if record.state == State::Destroyed {
            continue;
        }
        let epoch = folder.group(group).epoch(*epoch);
        if epoch.path().exists() {
            epoch.retire("restore", now_ms)?;
        }
        keys.store.destroy(&record.id)?;
        events.push(epochs::destroyed(record));
    }
    let groups = folder.groups()?;
    if groups.is_empty() {
        return Ok(events);
    }
    let mut ledger = folder.ledger()?;
    for group in groups {
        let last = ledger.ledger().last_epoch(&group).unwrap_or(0);
        ledger.begin(&group, last.saturating_add(SAFE_STEP))?;
    }
    Ok(events)
}
