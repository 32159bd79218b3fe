//! What ends where nobody knows what was used since the backup, nor whom the node distrusted since.

use std::collections::BTreeSet;

use windvane_keys::enrolment::Enrolment;
use windvane_keys::record::{Purpose, State};
use windvane_keys::rotation::next_epoch;
use windvane_keys::store::KeyStore as _;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::transcript::{Record as _, Signed};

use super::epochs;
use crate::clock::rfc3339;
use crate::error::NodeError;
use crate::functions::partner_subject;
use crate::identity::{Layout, NodeKeys};
use crate::score::folder::ScoreFolder;
use crate::snapshot::disk;
use crate::store::{Store, StoreError};

/// By so much the numbers of epochs skip ahead: an epoch every minute for almost two years would not reach it.
pub const SAFE_STEP: u64 = 1_000_000;

/// Ends grants, epochs, scoring keys and callers, and suspends every partner; gives the log's entries that the state does
/// not queue, and notes. `since_ms` is the backup's time.
pub(super) fn end_everything(
    keys: &NodeKeys,
    store: &Store,
    layout: &Layout,
    (since_ms, now_ms): (u64, u64),
) -> Result<(Vec<Event>, Vec<String>), NodeError> {
    let entry = |event| Entry::new(now_ms, event).encode().into_bytes();
    let mut notes = vec![
        "the newest log is lost: issue new grants, build and publish new epochs, set up scoring groups anew, \
         and admit callers again"
            .to_owned(),
    ];
    notes.push(format!(
        "whom the node distrusted since {} is not known here: before the start, import the newest revocation list of \
         every authority, and repeat what was done since with `partner trust`, `partner distrust`, `partner end` and \
         `function off`",
        rfc3339(since_ms)
    ));
    for pem in store.partners()? {
        let party = Enrolment::from_pem(&pem)?.request().party().clone();
        let (subject, action) = (partner_subject(&party), "suspended".to_owned());
        let told = entry(Event::Switched { subject: subject.clone(), action });
        match store.switch_off(&subject, now_ms, &told) {
            Ok(()) => notes.push(format!(
                "partner {party} is suspended: `windvane partner resume {party}` when that is done, if it is to be believed \
                 and was not suspended since"
            )),
            Err(StoreError::Exists { .. }) => {
                notes.push(format!("partner {party} was suspended before the backup, and still is"));
            }
            Err(other) => return Err(other.into()),
        }
    }
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
        let next = last.saturating_add(SAFE_STEP);
        // Where no number is left, none can come again.
        if next > last {
            ledger.skip_to(&group, next)?;
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windvane_keys::files::write_private;
    use windvane_protocols::lookup::DataSet;
    use windvane_protocols::score::ledger::Ledger;
    use windvane_protocols::transcript::{Reader, Transcript, TranscriptError};

    use super::*;
    use crate::admin::Admin;
    use crate::clock::SystemClock;
    use crate::config::{Config, SAMPLES};

    /// A ledger with these last epochs, ascending by their groups.
    struct Begun<'a>(&'a [(DataSet, u64)]);

    impl windvane_protocols::transcript::Record for Begun<'_> {
        const DOMAIN: &'static str = Ledger::DOMAIN;

        fn write(&self, t: Transcript) -> Transcript {
            let epoch =
                |(group, epoch): &(DataSet, u64)| [&epoch.to_be_bytes(), group.as_str().as_bytes()].concat();
            t.list("epoch", self.0.iter().map(epoch)).list("table", std::iter::empty::<Vec<u8>>())
        }

        fn read(_: &mut Reader<'_>) -> Result<Self, TranscriptError> {
            unreachable!("only written here")
        }
    }

    #[test]
    fn groups_skip_ahead_and_one_whose_numbers_are_used_up_does_not_keep_the_rest_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
        std::fs::write(dir.path().join("windvane.toml"), text).unwrap();
        let config = Config::load(&dir.path().join("windvane.toml")).unwrap();
        let admin = Admin::init(&config, Arc::new(SystemClock)).unwrap();
        let layout = Layout::new(config.node.data_dir.clone());
        let score = ScoreFolder::new(&layout);
        let groups: [DataSet; 3] =
            ["joint-risk", "late-risk", "other-risk"].map(|group| group.parse().unwrap());
        for group in &groups {
            disk::create_directory(score.group(group).path()).unwrap();
        }
        let begun = [(groups[0].clone(), u64::MAX), (groups[1].clone(), u64::MAX - 5)];
        let ledger = Begun(&begun).encode();
        write_private(&layout.root().join("score").join("ledger"), ledger.as_bytes()).unwrap();
        end_scores(admin.keys(), &layout, 1).unwrap();
        let ledger = score.ledger().unwrap();
        let last = groups.each_ref().map(|group| ledger.ledger().last_epoch(group));
        assert_eq!(last, [Some(u64::MAX), Some(u64::MAX), Some(SAFE_STEP)]);
    }
}
