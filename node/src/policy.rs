//! Grants and quotas at a provider. Nothing runs without a grant, and counts only grow.
//!
//! A session may ask for a lookup, for a score, or for both; each is held against the grant and counted by itself.
//! Beside the quotas there are rates: a grant's own, and one of each peer for each purpose. Both are token buckets whose
//! levels are kept as the counters are, so that neither a restart nor a clock that is set fills one. A session may be
//! larger than a second's worth: a full bucket lets it pass and owes what it did not hold, and nothing else passes until
//! that is paid. So the rate holds over time, whatever the sessions' size.
//! Elements are counted before they are evaluated, per grant and key group for every day (UTC) and in all,
//! and per key. The log is the truth: at a start the counters are brought up to date from the receipts in it,
//! so they survive a kill without a second `fsync` per call. A call that fails after it was counted stays
//! counted. Days before the one before the newest of which anything was counted are forgotten; no clock alone does that,
//! since calls count only where two parties' clocks agree.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use windvane_protocols::audit::grant::{Grant, GrantId, Operation, Use};
use windvane_protocols::limits::MAX_EVALUATIONS_PER_KEY;
use windvane_protocols::lookup::request::{Request, ScoreAsked};
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Signed, Transcript};

use crate::error::{NodeError, Refusal};
use crate::limits::Bucket;
use crate::store::{Counted, Counter, Counters, Store, StoredBucket};

mod usage;

pub use usage::{Quota, QuotaName};

const DAY_MS: u64 = 86_400_000;

/// Stands among the codes of key groups for the elements of scores.
const SCORE: u8 = 0x80;

/// The day number that stands for a grant's whole life.
const ALL_DAYS: u64 = 0;

/// Whether a provider refused a request for its time or its grant, by the code of the refusal: a request of another
/// moment and under another grant may be accepted.
pub(crate) fn is_of_time_or_grant(code: &str) -> bool {
    let codes = [
        "CLOCK_SKEW",
        "GRANT_EXHAUSTED",
        "GRANT_EXPIRED",
        "GRANT_NOT_YET_VALID",
        "GRANT_SCOPE",
        "GRANT_UNKNOWN",
    ];
    codes.contains(&code)
}

/// What a provider permits, and how much of it was used.
#[derive(Debug)]
pub struct Policy {
    /// Elements of one peer a second, for one purpose and key group.
    elements_per_s: u64,
    grants: RwLock<Arc<HashMap<GrantId, Grant>>>,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    used: HashMap<Counted, u64>,
    /// What changed since it was taken to be kept.
    changed: HashSet<Counted>,
    /// What was forgotten since then.
    forgotten: HashSet<Counted>,
    /// The newest day of which anything was counted.
    newest: u64,
    rates: HashMap<(Subject, u8), Bucket>,
}

/// Elements to count: under which code, how many, and for which key.
#[derive(Debug, Clone, Copy)]
struct Charge {
    code: u8,
    count: u64,
    key: Subject,
}

/// A grant's id, or a key's: both are 16 bytes.
type Subject = [u8; 16];

/// The buckets that elements are taken from, each of which holds one second of its rate: the grant's, and the peer's
/// for this purpose.
#[derive(Debug, Clone, Copy)]
struct Rates([(Subject, u64); 2]);

impl Policy {
    /// Without grants yet. `elements_per_s` are what one peer may ask for a second, for one purpose and key group.
    pub fn new(elements_per_s: u64) -> Self {
        Self { elements_per_s, grants: RwLock::default(), ledger: Mutex::default() }
    }

    /// Reads all issued grants again.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn reload(&self, store: &Store) -> Result<(), NodeError> {
        let mut grants = HashMap::new();
        for stored in store.grants()?.into_iter().filter(|g| g.issued && g.ended_at_ms.is_none()) {
            let grant = Signed::<Grant>::from_bytes_unverified(stored.signed)?.body().clone();
            grants.insert(grant.id, grant);
        }
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grants);
        Ok(())
    }

    /// Forgets the grants that were ended, and takes no others over yet.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn withdraw(&self, store: &Store) -> Result<(), NodeError> {
        let mut running = HashMap::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner));
        for stored in store.grants()?.into_iter().filter(|g| g.issued && g.ended_at_ms.is_some()) {
            running.remove(&GrantId::from_bytes(stored.id));
        }
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(running);
        Ok(())
    }

    /// Holds a request's lookup, in an epoch of so many hours, against its grant and counts its elements.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was counted.
    pub fn admit(
        &self,
        request: &Request,
        epoch_hours: u64,
        provider: &PartyId,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let place = (Operation::Verify, &request.data_set, Some(epoch_hours));
        self.charge(request, provider, place, &lookup_charges(request), now_ms)
    }

    /// [`Policy::admit`] without the counting: a deliberate bug.
    #[cfg(feature = "faults")]
    pub(crate) fn admit_uncounted(
        &self,
        request: &Request,
        epoch_hours: u64,
        provider: &PartyId,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let before = self.lock().used.clone();
        let admitted = self.admit(request, epoch_hours, provider, now_ms);
        self.lock().used = before;
        admitted
    }

    /// Holds a request's score against its grant and counts its elements.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was counted.
    pub fn admit_score(
        &self,
        request: &Request,
        asked: &ScoreAsked,
        provider: &PartyId,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let charge = score_charge(asked, request.customers);
        self.charge(request, provider, (Operation::Score, &asked.group, None), &[charge], now_ms)
    }

    fn charge(
        &self,
        request: &Request,
        provider: &PartyId,
        (operation, data_set, epoch_hours): (Operation, &DataSet, Option<u64>),
        charges: &[Charge],
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner).clone();
        let grant = grants.get(&request.grant).ok_or(Refusal::GrantUnknown)?;
        grant.permits(&Use {
            requester: &request.requester,
            provider,
            operation,
            data_set,
            // A score has no families.
            families: if operation == Operation::Verify { &request.families } else { &[] },
            purpose: &request.purpose,
            epoch_hours,
            now_ms,
        })?;
        self.lock().reserve(grant, self.rates(grant, request), charges, now_ms)
    }

    fn rates(&self, grant: &Grant, request: &Request) -> Rates {
        let peer = peer_subject(&request.requester, &request.purpose);
        Rates([(*grant.id.as_bytes(), grant.rate_per_s), (peer, self.elements_per_s)])
    }

    /// A grant that this node issued and did not end.
    pub fn grant(&self, id: &GrantId) -> Option<Grant> {
        self.grants.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether the caller holds a running grant for a data set, so that it may download its table.
    pub fn may_download(&self, requester: &PartyId, data_set: &DataSet, now_ms: u64) -> bool {
        self.holds(requester, data_set, Operation::Verify, now_ms)
    }

    /// Whether the caller holds a running grant for the joint score of a group, so that it may download the
    /// group's tables.
    pub fn may_download_scores(&self, requester: &PartyId, group: &DataSet, now_ms: u64) -> bool {
        self.holds(requester, group, Operation::Score, now_ms)
    }

    fn holds(&self, requester: &PartyId, data_set: &DataSet, operation: Operation, now_ms: u64) -> bool {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner).clone();
        grants.values().any(|grant| {
            grant.requester == *requester
                && grant.data_sets.contains(data_set)
                && grant.operations.contains(&operation)
                && grant.runs_at(now_ms)
        })
    }

    /// Takes counters and buckets from the state file.
    pub fn restore(&self, counters: &[Counter], buckets: &[StoredBucket]) {
        let mut ledger = self.lock();
        for &StoredBucket { subject, group, tokens, at_ms } in buckets {
            ledger.rates.insert((subject, group), Bucket { tokens, at_ms });
        }
        for c in counters {
            let used = ledger.used.entry((c.subject, c.group, c.day)).or_default();
            *used = (*used).max(c.used);
            ledger.newest = ledger.newest.max(c.day);
        }
    }

    /// Counts a receipt that the state file's counters do not cover, and the elements of its score.
    pub fn recount(&self, request: &Request, scored: u64, at_ms: u64) {
        let scored = request.score.as_ref().map(|asked| score_charge(asked, scored));
        let charges: Vec<_> = lookup_charges(request).into_iter().chain(scored).collect();
        let mut ledger = self.lock();
        if let Some(grant) = self.grant(&request.grant) {
            ledger.take(self.rates(&grant, request), &charges, at_ms);
        }
        ledger.count(request.grant, &charges, at_ms / DAY_MS);
    }

    /// What changed of the counters since this was called last, to be kept; what cannot be kept is given back with
    /// [`Policy::give_back`].
    pub fn take_changed(&self) -> Counters {
        let mut ledger = self.lock();
        let (changed, forgotten) = (take(&mut ledger.changed), take(&mut ledger.forgotten));
        let counter = |place: Counted| {
            let (subject, group, day) = place;
            Some(Counter { subject, group, day, used: *ledger.used.get(&place)? })
        };
        let changed = changed.into_iter().filter_map(counter).collect();
        Counters { changed, forgotten: forgotten.into_iter().collect() }
    }

    /// Takes back what could not be kept.
    pub fn give_back(&self, counters: &Counters) {
        let mut ledger = self.lock();
        ledger.changed.extend(counters.changed.iter().map(|c| (c.subject, c.group, c.day)));
        ledger.forgotten.extend(&counters.forgotten);
    }

    /// The levels of all buckets, to be kept.
    pub fn buckets(&self) -> Vec<StoredBucket> {
        let stored =
            |(&(subject, group), &Bucket { tokens, at_ms })| StoredBucket { subject, group, tokens, at_ms };
        self.lock().rates.iter().map(stored).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn reserve(
        &mut self,
        grant: &Grant,
        rates: Rates,
        charges: &[Charge],
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let day = now_ms / DAY_MS;
        let until_tomorrow = DAY_MS - now_ms % DAY_MS;
        let exhausted = |quota, retry_after_ms| Err(Refusal::QuotaExhausted { quota, retry_after_ms });
        for &Charge { code, count, key } in charges {
            let after = |subject, day| self.of(subject, code, day).saturating_add(count);
            if after(*grant.id.as_bytes(), ALL_DAYS) > grant.total {
                return exhausted("in total", None);
            }
            if after(*grant.id.as_bytes(), day) > grant.per_day {
                return exhausted("per day", Some(until_tomorrow));
            }
            if after(key, ALL_DAYS) > MAX_EVALUATIONS_PER_KEY {
                return exhausted("of the key", None);
            }
        }
        let Rates([own, peers]) = rates;
        if let Some(wait_ms) = self.wait_ms(own, charges, now_ms) {
            return exhausted("per second", Some(wait_ms));
        }
        if let Some(retry_after_ms) = self.wait_ms(peers, charges, now_ms) {
            return Err(Refusal::RateExceeded { retry_after_ms });
        }
        self.take(rates, charges, now_ms);
        self.count(grant.id, charges, day);
        Ok(())
    }

    fn count(&mut self, grant: GrantId, charges: &[Charge], day: u64) {
        if day > self.newest {
            self.newest = day;
            self.forget_days();
        }
        let grant = *grant.as_bytes();
        for &Charge { code, count, key } in charges {
            for place in [(grant, code, day), (grant, code, ALL_DAYS), (key, code, ALL_DAYS)] {
                *self.used.entry(place).or_default() += count;
                self.changed.insert(place);
            }
        }
    }

    /// Forgets days that no call counts for any more; a clock may be put back by one.
    fn forget_days(&mut self) {
        let (first, forgotten) = (self.newest.saturating_sub(1), &mut self.forgotten);
        self.used.retain(|place, _| {
            let old = place.2 != ALL_DAYS && place.2 < first;
            if old {
                forgotten.insert(*place);
            }
            !old
        });
    }

    fn of(&self, subject: Subject, group: u8, day: u64) -> u64 {
        self.used.get(&(subject, group, day)).copied().unwrap_or(0)
    }

    /// Milliseconds until there is enough for all charges, where there is not: their elements, or a full bucket where they
    /// are more.
    fn wait_ms(&self, (subject, rate): (Subject, u64), charges: &[Charge], now_ms: u64) -> Option<u64> {
        let wait = |charge: &Charge| {
            let bucket = self.bucket(subject, rate, charge.code, now_ms);
            bucket.wait_ms(charge.count.min(rate), rate)
        };
        charges.iter().filter_map(wait).max()
    }

    fn take(&mut self, Rates(rates): Rates, charges: &[Charge], now_ms: u64) {
        for &Charge { code, count, .. } in charges {
            for (subject, rate) in rates {
                let bucket = self.bucket(subject, rate, code, now_ms).less(count);
                self.rates.insert((subject, code), bucket);
            }
        }
    }

    fn bucket(&self, subject: Subject, rate: u64, code: u8, now_ms: u64) -> Bucket {
        let kept = self.rates.get(&(subject, code));
        kept.map_or(Bucket::full(rate, now_ms), |bucket| bucket.at(now_ms, rate, rate))
    }
}

fn lookup_charges(request: &Request) -> Vec<Charge> {
    let key = key_subject(&request.data_set, request.epoch);
    let charge = |(group, count): (KeyGroup, usize)| Charge { code: group.code(), count: count as u64, key };
    request.expected().into_iter().map(charge).collect()
}

fn score_charge(asked: &ScoreAsked, count: u64) -> Charge {
    Charge { code: SCORE, count, key: key_subject(&asked.group, asked.epoch) }
}

/// What stands for a peer and a purpose.
fn peer_subject(requester: &PartyId, purpose: &str) -> Subject {
    let named = Transcript::new("windvane/peer-rate/v1").text("requester", requester.as_str());
    subject(&named.text("purpose", purpose))
}

fn key_subject(data_set: &DataSet, epoch: u64) -> Subject {
    let named = Transcript::new("windvane/key-counter/v1").text("data set", data_set.as_str());
    subject(&named.u64("epoch", epoch))
}

fn subject(named: &Transcript) -> Subject {
    let digest = named.digest();
    let mut subject = [0; 16];
    subject.copy_from_slice(&digest[..16]);
    subject
}

#[cfg(test)]
mod tests;
