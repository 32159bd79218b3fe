//! What a party must remember across restarts so that epochs only grow and no context gets a second table.
//!
//! Two tables of one provider under one context differ, row by row, by the difference of the parts times the
//! generator: whoever has both reads it. So a provider stores the digest of its table before the first byte
//! leaves.
//!
//! A single number must not use up all that come after it. So a bank chooses the next epoch within [`MAX_EPOCH_STEP`] of its
//! last one, and a provider takes what it is told up to the half of what is left above its own: more than a bank could
//! choose in 2^30 steps, so that a provider that missed some of them follows all the same.
//!
//! The caller writes [`Ledger`] to the disk, synchronously, whenever a method has changed it.

use std::collections::BTreeMap;

use crate::limits::{MAX_EPOCH_STEP, MAX_LEDGER_ITEMS};
use crate::lookup::DataSet;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// RFC 6962 root over a table's segments.
pub type TableRoot = [u8; 32];

/// Epochs that were begun, and tables that were published, by one party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    epochs: BTreeMap<DataSet, u64>,
    tables: BTreeMap<Hash, TableRoot>,
}

/// Why something must not be begun or published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The epoch is not larger than every earlier one of the group.
    #[error("epoch {found} of the scoring group is not larger than its last epoch {last}")]
    Rollback {
        /// The epoch to begin.
        found: u64,
        /// The last that was begun.
        last: u64,
    },
    /// The epoch is so far above the last one that few numbers would be left.
    #[error(
        "epoch {found} of the scoring group is too large; the largest that may be begun now is {largest}"
    )]
    TooFar {
        /// The epoch to begin.
        found: u64,
        /// The largest that may be begun.
        largest: u64,
    },
    /// Another table was published under the context.
    #[error("another table was published under this context: a changed model needs a new epoch")]
    SecondTable,
    /// The ledger is full.
    #[error("the ledger of scoring epochs is full")]
    Full,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a setup begins whose number this party chooses, finished or not: a second attempt needs another number.
    ///
    /// # Errors
    /// [`LedgerError::Rollback`], [`LedgerError::TooFar`], [`LedgerError::Full`].
    pub fn choose(&mut self, group: &DataSet, epoch: u64) -> Result<(), LedgerError> {
        let last = self.last_epoch(group).unwrap_or(0);
        at_most(epoch, last.saturating_add(MAX_EPOCH_STEP))?;
        self.begin(group, epoch)
    }

    /// As [`Self::choose`], of a number that another party chose.
    ///
    /// # Errors
    /// As of [`Self::choose`].
    pub fn begin(&mut self, group: &DataSet, epoch: u64) -> Result<(), LedgerError> {
        let last = self.last_epoch(group).unwrap_or(0);
        at_most(epoch, last + (u64::MAX - last) / 2)?;
        self.skip_to(group, epoch)
    }

    /// Notes that no number up to this one is used again.
    ///
    /// # Errors
    /// [`LedgerError::Rollback`], [`LedgerError::Full`].
    pub fn skip_to(&mut self, group: &DataSet, epoch: u64) -> Result<(), LedgerError> {
        match self.epochs.get(group) {
            Some(&last) if epoch <= last => return Err(LedgerError::Rollback { found: epoch, last }),
            None if self.epochs.len() >= MAX_LEDGER_ITEMS => return Err(LedgerError::Full),
            _ => {}
        }
        self.epochs.insert(group.clone(), epoch);
        Ok(())
    }

    /// The last epoch that was begun in a group.
    pub fn last_epoch(&self, group: &DataSet) -> Option<u64> {
        self.epochs.get(group).copied()
    }

    /// Notes the table of a context before it is published. The same table again is no change.
    ///
    /// # Errors
    /// [`LedgerError::SecondTable`], [`LedgerError::Full`].
    pub fn publish(&mut self, context: &Hash, table: &TableRoot) -> Result<(), LedgerError> {
        match self.tables.get(context) {
            Some(published) if published != table => return Err(LedgerError::SecondTable),
            None if self.tables.len() >= MAX_LEDGER_ITEMS => return Err(LedgerError::Full),
            _ => {}
        }
        self.tables.insert(*context, *table);
        Ok(())
    }

    /// The table that was published under a context.
    pub fn table(&self, context: &Hash) -> Option<&TableRoot> {
        self.tables.get(context)
    }
}

const fn at_most(found: u64, largest: u64) -> Result<(), LedgerError> {
    if found > largest { Err(LedgerError::TooFar { found, largest }) } else { Ok(()) }
}

impl Record for Ledger {
    const DOMAIN: &'static str = "windvane/score-ledger/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let epoch =
            |(group, epoch): (&DataSet, &u64)| [&epoch.to_be_bytes(), group.as_str().as_bytes()].concat();
        let table = |(context, root): (&Hash, &TableRoot)| [context.as_slice(), root].concat();
        t.list("epoch", self.epochs.iter().map(epoch)).list("table", self.tables.iter().map(table))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |label, expected| TranscriptError::Form { label, expected };
        let epoch = |item: &[u8]| {
            let (epoch, group) = item.split_first_chunk()?;
            Some((std::str::from_utf8(group).ok()?.parse().ok()?, u64::from_be_bytes(*epoch)))
        };
        let table = |item: &[u8]| {
            let (context, root) = item.split_first_chunk()?;
            Some((*context, root.try_into().ok()?))
        };
        let epochs: Option<_> = r.list("epoch", MAX_LEDGER_ITEMS)?.into_iter().map(epoch).collect();
        let tables: Option<_> = r.list("table", MAX_LEDGER_ITEMS)?.into_iter().map(table).collect();
        Ok(Self {
            epochs: epochs.ok_or(form("epoch", "a number and a group"))?,
            tables: tables.ok_or(form("table", "a context and a root"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_of_a_group_only_grow_and_groups_do_not_meet() {
        let mut ledger = Ledger::new();
        let (one, two): (DataSet, DataSet) = ("one".parse().unwrap(), "two".parse().unwrap());
        ledger.begin(&one, 7).unwrap();
        ledger.begin(&two, 3).unwrap();
        assert_eq!(ledger.begin(&one, 7), Err(LedgerError::Rollback { found: 7, last: 7 }));
        assert_eq!(ledger.begin(&one, 6), Err(LedgerError::Rollback { found: 6, last: 7 }));
        ledger.begin(&one, 8).unwrap();
        assert_eq!(ledger.last_epoch(&one), Some(8));
    }

    #[test]
    fn one_number_does_not_use_up_all_that_come_after_it() {
        let mut ledger = Ledger::new();
        let group: DataSet = "one".parse().unwrap();
        for last in [0, MAX_EPOCH_STEP] {
            let largest = last + MAX_EPOCH_STEP;
            for found in [largest + 1, u64::MAX] {
                assert_eq!(ledger.choose(&group, found), Err(LedgerError::TooFar { found, largest }));
            }
            ledger.choose(&group, largest).unwrap();
        }
        // Who missed all of that follows, and has as many numbers left as it took.
        Ledger::new().begin(&group, 2 * MAX_EPOCH_STEP).unwrap();
        let (mut told, half) = (Ledger::new(), u64::MAX / 2);
        let refused = Err(LedgerError::TooFar { found: u64::MAX, largest: half });
        assert_eq!(told.begin(&group, u64::MAX), refused);
        told.begin(&group, half).unwrap();
        told.begin(&group, half + half / 2).unwrap();
        told.skip_to(&group, u64::MAX).unwrap();
        let used_up = LedgerError::Rollback { found: u64::MAX, last: u64::MAX };
        assert_eq!(told.choose(&group, u64::MAX), Err(used_up));
    }

    #[test]
    fn a_second_table_under_one_context_is_refused_also_after_a_restart() {
        let mut ledger = Ledger::new();
        ledger.begin(&"one".parse().unwrap(), 7).unwrap();
        ledger.publish(&[1; 64], &[5; 32]).unwrap();
        let mut ledger = Ledger::decode(ledger.encode().as_bytes()).unwrap();
        assert_eq!(ledger.publish(&[1; 64], &[5; 32]), Ok(()));
        assert_eq!(ledger.publish(&[1; 64], &[6; 32]), Err(LedgerError::SecondTable));
        assert_eq!(ledger.publish(&[2; 64], &[6; 32]), Ok(()));
        assert_eq!(ledger.table(&[1; 64]), Some(&[5; 32]));
    }
}
