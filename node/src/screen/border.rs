//! How new customers meet a provider's list: what is possible, and what is cheaper.

use serde::{Deserialize, Serialize};
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::identity::Family;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::schema::Kind;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Signed;

use super::{Route, ScreenError};
use crate::bank::granted::{best, names, permits};
use crate::config::Config;
use crate::error::NodeError;
use crate::identity::Layout;
use crate::snapshot::{Snapshot, installed_dir, installed_epochs};
use crate::store::Store;

/// Rows of a list that are intersected in the time of one lookup; `crate::screen` says how it was measured.
pub const LIST_ROWS_PER_LOOKUP: u64 = 75;

/// Rows that a list is taken to have until a full screening has told.
const UNKNOWN_LIST_ROWS: u64 = 1_000_000;

/// The field of a label that has a number's tags.
const TAGS: &str = "tags";

/// How new customers met a provider's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewBy {
    /// By its lookup rows, through the bank's running node.
    Rows,
    /// By set intersection.
    Psi,
}

/// Chooses for `new` customers and a list of `list_rows`; `rows` says whether lookups are possible.
///
/// # Errors
/// [`ScreenError::RowsUnfit`] where the plan asks for lookups that are not.
pub(super) fn choose(
    provider: &str,
    route: Route,
    rows: Result<(), &'static str>,
    new: u64,
    list_rows: Option<u64>,
) -> Result<NewBy, ScreenError> {
    match (route, rows) {
        (Route::Rows, Err(rule)) => Err(ScreenError::RowsUnfit { provider: provider.to_owned(), rule }),
        (Route::Rows, Ok(())) => Ok(NewBy::Rows),
        (Route::Auto, Ok(())) if is_cheaper_by_rows(new, list_rows) => Ok(NewBy::Rows),
        _ => Ok(NewBy::Psi),
    }
}

fn is_cheaper_by_rows(new: u64, list_rows: Option<u64>) -> bool {
    new.saturating_mul(LIST_ROWS_PER_LOOKUP) <= list_rows.unwrap_or(UNKNOWN_LIST_ROWS)
}

/// What a bank's node could look up, read from its files.
#[derive(Debug)]
pub(super) struct Contracts<'a> {
    config: &'a Config,
    layout: Layout,
    grants: Vec<Grant>,
    now_ms: u64,
}

impl<'a> Contracts<'a> {
    /// Reads the grants that the bank accepted.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(super) fn read(config: &'a Config, now_ms: u64) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        let stored = Store::open(&layout.state())?.grants()?;
        let accepted = stored.into_iter().filter(|grant| !grant.issued && grant.ended_at_ms.is_none());
        let read =
            |signed| Ok::<_, NodeError>(Signed::<Grant>::from_bytes_unverified(signed)?.body().clone());
        let grants = accepted.map(|grant| read(grant.signed)).collect::<Result<_, _>>()?;
        Ok(Self { config, layout, grants, now_ms })
    }

    /// Whether a lookup of a number for this purpose gives the provider's tags; if not, what is missing.
    pub(super) fn gives_tags(&self, party: &str, purpose: &str) -> Result<(), &'static str> {
        let sets: Vec<_> = self.config.providers.iter().filter(|p| p.party == party).collect();
        let mut answer = Err("the configuration names no data set of it; add a [[provider]]");
        for set in sets {
            let (Ok(party), Some(Ok(data_set))) =
                (set.party.parse(), set.data_set.as_ref().map(|name| name.parse()))
            else {
                continue;
            };
            answer = self.set_gives_tags(&party, &data_set, purpose);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    fn set_gives_tags(&self, party: &PartyId, data_set: &DataSet, purpose: &str) -> Result<(), &'static str> {
        let ours = |grant: &&Grant| {
            grant.provider == *party
                && permits(grant, Operation::Verify, data_set)
                && grant.runs_at(self.now_ms)
        };
        // The one that the node would ask under is the one to be held against.
        let grant = best(self.grants.iter().filter(ours), Some(purpose), self.now_ms);
        let grant = grant.ok_or("it granted no lookups")?;
        if !grant.families.contains(&Family::Phone) {
            return Err("its grant does not permit the family phone");
        }
        if !names(grant, purpose) {
            return Err("its grant is for other purposes than the plan's");
        }
        if !grant.columns.is_empty() && !grant.columns.iter().any(|column| column == TAGS) {
            return Err("its grant does not permit the tags");
        }
        let missing = "its rows are not there; run windvane snapshot fetch";
        let root = self.layout.root();
        let epochs = installed_epochs(root, party, data_set).map_err(|_| missing)?;
        let epoch = *epochs.last().ok_or(missing)?;
        let snapshot = Snapshot::open(&installed_dir(root, party, data_set, epoch)).map_err(|_| missing)?;
        let manifest = snapshot.manifest().body();
        let has_tags = manifest.schema.fields().iter().any(|f| f.name == TAGS && f.kind == Kind::Set);
        match () {
            () if manifest.not_after_ms < self.now_ms => {
                Err("its epoch has ended; run windvane snapshot fetch")
            }
            () if grant.permits_epoch(manifest.hours()).is_err() => {
                Err("its epoch is longer than its grant permits; ask for a grant of more epoch hours")
            }
            () if !manifest.families.contains(&Family::Phone) => Err("its rows are not keyed by phone"),
            () if !has_tags => Err("its rows have no tags"),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_lies_where_both_cost_the_same() {
        let auto = |new, list_rows| choose("a", Route::Auto, Ok(()), new, list_rows).unwrap();
        assert_eq!(auto(10_000, Some(10_000_000)), NewBy::Rows);
        assert_eq!(auto(10_000, Some(10_000 * LIST_ROWS_PER_LOOKUP)), NewBy::Rows);
        assert_eq!(auto(10_001, Some(10_000 * LIST_ROWS_PER_LOOKUP)), NewBy::Psi);
        assert_eq!((auto(10_000, None), auto(20_000, None)), (NewBy::Rows, NewBy::Psi));
    }

    #[test]
    fn what_the_plan_asks_for_is_done_or_refused() {
        let choose = |route, rows| choose("a", route, rows, 1, Some(1 << 30));
        assert_eq!(choose(Route::Psi, Ok(())).unwrap(), NewBy::Psi);
        assert_eq!(choose(Route::Auto, Err("no")).unwrap(), NewBy::Psi);
        assert_eq!(choose(Route::Rows, Err("no")).unwrap_err().code(), "ROWS_UNFIT");
    }
}
