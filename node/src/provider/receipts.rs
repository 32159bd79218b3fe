//! Receipts that wait for the requester's countersignature.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Hash;

use crate::error::Refusal;

/// Receipts of one requester that may wait; past it the requester must countersign before it asks again.
const MAX_OPEN: usize = 1 << 17;

/// Settled receipts that are remembered, so that a repeated countersignature is no error.
const MAX_SETTLED: usize = 1 << 16;

#[derive(Debug, Default)]
struct Inner {
    /// Requester, and the log index while it is open.
    known: HashMap<Hash, (PartyId, Option<u64>)>,
    open: BTreeSet<u64>,
    /// How many are open, by requester.
    waiting: HashMap<PartyId, usize>,
    settled: VecDeque<Hash>,
}

impl Inner {
    fn close(&mut self, index: u64, requester: &PartyId) {
        if !self.open.remove(&index) {
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(requester) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(requester);
            }
        }
    }
}

/// The provider's memory of receipts.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    inner: Mutex<Inner>,
}

impl Receipts {
    /// Whether another receipt may be given out to a requester.
    ///
    /// # Errors
    /// [`Refusal::QuotaExhausted`].
    pub(super) fn check_room(&self, requester: &PartyId) -> Result<(), Refusal> {
        if self.lock().waiting.get(requester).is_none_or(|waiting| *waiting < MAX_OPEN) {
            return Ok(());
        }
        Err(Refusal::QuotaExhausted {
            quota: "of receipts without a countersignature",
            retry_after_ms: Some(10_000),
        })
    }

    /// Waits for the countersignature of a receipt that was logged at `index`.
    pub(super) fn expect(&self, receipt: Hash, requester: PartyId, index: u64) {
        let mut inner = self.lock();
        // A node that was killed in between may have logged the same receipt before.
        if let Some((_, Some(earlier))) = inner.known.insert(receipt, (requester.clone(), Some(index))) {
            inner.close(earlier, &requester);
        }
        if inner.open.insert(index) {
            *inner.waiting.entry(requester).or_default() += 1;
        }
    }

    /// Settles receipts; whether any of them was open. One that is not known was settled long ago, since all that
    /// are open are known: a requester that was interrupted may send it again.
    ///
    /// # Errors
    /// [`Refusal::CountersignatureInvalid`] when one is another requester's; then none is settled.
    pub(super) fn settle(&self, receipts: &[Hash], requester: &PartyId) -> Result<bool, Refusal> {
        let mut inner = self.lock();
        let foreign = |receipt| inner.known.get(receipt).is_some_and(|(whose, _)| whose != requester);
        if receipts.is_empty() || receipts.iter().any(foreign) {
            return Err(Refusal::CountersignatureInvalid);
        }
        let mut settled = false;
        for receipt in receipts {
            let index = inner.known.get_mut(receipt).and_then(|(_, index)| index.take());
            if let Some(index) = index {
                inner.close(index, requester);
                inner.settled.push_back(*receipt);
                settled = true;
            }
        }
        while inner.settled.len() > MAX_SETTLED {
            let oldest = inner.settled.pop_front();
            oldest.map(|receipt| inner.known.remove(&receipt));
        }
        Ok(settled)
    }

    /// The log index of the oldest receipt that waits.
    pub(super) fn first_open(&self) -> Option<u64> {
        self.lock().open.first().copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_settled_once_by_its_requester() {
        let receipts = Receipts::default();
        let (bank, other): (PartyId, PartyId) = ("bank".parse().unwrap(), "other".parse().unwrap());
        receipts.expect([1; 64], bank.clone(), 5);
        receipts.expect([2; 64], bank.clone(), 6);
        assert_eq!(receipts.settle(&[[1; 64]], &other), Err(Refusal::CountersignatureInvalid));
        assert_eq!(receipts.settle(&[[1; 64], [2; 64]], &other), Err(Refusal::CountersignatureInvalid));
        assert_eq!(receipts.first_open(), Some(5));
        assert_eq!(receipts.settle(&[[1; 64], [9; 64]], &bank), Ok(true));
        assert_eq!(receipts.settle(&[[1; 64]], &bank), Ok(false));
        assert_eq!(receipts.settle(&[[9; 64]], &bank), Ok(false));
        assert_eq!(receipts.first_open(), Some(6));
        assert_eq!(receipts.lock().waiting, [(bank, 1)].into());
    }
}
