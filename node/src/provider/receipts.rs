//! Receipts that wait for the requester's countersignature.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// Calls that are about to log a receipt, by a size that the log had before.
    begun: BTreeMap<u64, usize>,
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

/// A call that is about to log a receipt, until it is dropped.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    receipts: &'a Receipts,
    size: u64,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut inner = self.receipts.lock();
        if let Some(calls) = inner.begun.get_mut(&self.size) {
            *calls -= 1;
            if *calls == 0 {
                inner.begun.remove(&self.size);
            }
        }
    }
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

    /// A receipt is about to be logged; the log has `size` entries or more. Until it is expected, [`Receipts::first_open`]
    /// looks no further.
    pub(super) fn begin(&self, size: u64) -> Begun<'_> {
        *self.lock().begun.entry(size).or_default() += 1;
        Begun { receipts: self, size }
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

    /// Whether all of the receipts are open, and the log has them, or none. One that is not open may have been settled
    /// before, known or long forgotten: a requester that was interrupted may send it again.
    ///
    /// # Errors
    /// [`Refusal::CountersignatureInvalid`] when one is another requester's, [`Refusal::CountersignatureMixed`] when some
    /// are open and others not.
    pub(super) fn are_open(&self, receipts: &[Hash], requester: &PartyId) -> Result<bool, Refusal> {
        let inner = self.lock();
        let known = || receipts.iter().filter_map(|receipt| inner.known.get(receipt));
        if receipts.is_empty() || known().any(|(whose, _)| whose != requester) {
            return Err(Refusal::CountersignatureInvalid);
        }
        match known().filter(|(_, index)| index.is_some()).count() {
            0 => Ok(false),
            open if open == receipts.len() => Ok(true),
            _ => Err(Refusal::CountersignatureMixed),
        }
    }

    /// Settles a requester's receipts, of which the log has the countersignature by now.
    pub(super) fn settle(&self, receipts: &[Hash], requester: &PartyId) {
        let mut inner = self.lock();
        for receipt in receipts {
            let known = inner.known.get_mut(receipt).filter(|(whose, _)| whose == requester);
            if let Some(index) = known.and_then(|(_, index)| index.take()) {
                inner.close(index, requester);
                inner.settled.push_back(*receipt);
            }
        }
        while inner.settled.len() > MAX_SETTLED {
            let oldest = inner.settled.pop_front();
            oldest.map(|receipt| inner.known.remove(&receipt));
        }
    }

    /// A log index before which no receipt waits.
    pub(super) fn first_open(&self) -> Option<u64> {
        let inner = self.lock();
        inner.open.first().into_iter().chain(inner.begun.keys().next()).min().copied()
    }

    /// How many wait.
    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
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
        let invalid = Err(Refusal::CountersignatureInvalid);
        assert_eq!(receipts.are_open(&[[1; 64]], &other), invalid);
        assert_eq!(receipts.are_open(&[[1; 64], [2; 64]], &other), invalid);
        receipts.settle(&[[1; 64]], &other);
        assert_eq!(receipts.first_open(), Some(5));
        let mixed = Err(Refusal::CountersignatureMixed);
        assert_eq!(receipts.are_open(&[[1; 64], [9; 64]], &bank), mixed);
        assert_eq!(receipts.are_open(&[[1; 64]], &bank), Ok(true));
        receipts.settle(&[[1; 64]], &bank);
        assert_eq!(receipts.are_open(&[[1; 64]], &bank), Ok(false));
        assert_eq!(receipts.are_open(&[[1; 64], [2; 64]], &bank), mixed);
        assert_eq!(receipts.are_open(&[[1; 64], [9; 64]], &bank), Ok(false));
        assert_eq!(receipts.are_open(&[[9; 64]], &bank), Ok(false));
        assert_eq!(receipts.first_open(), Some(6));
        assert_eq!(receipts.lock().waiting, [(bank, 1)].into());
    }

    #[test]
    fn a_receipt_that_is_being_logged_is_open_until_it_is_expected() {
        let receipts = Receipts::default();
        let begun = receipts.begin(7);
        let later = receipts.begin(7);
        assert_eq!(receipts.first_open(), Some(7));
        receipts.expect([1; 64], "bank".parse().unwrap(), 9);
        drop(begun);
        assert_eq!(receipts.first_open(), Some(7));
        drop(later);
        assert_eq!(receipts.first_open(), Some(9));
    }
}
