//! What was promised, and what the logs say: the invariants that hold at every moment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use windvane::evidence::LogReader;
use windvane_protocols::audit::checkpoint::Checkpoint;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::grant::{Grant, GrantId};
use windvane_protocols::audit::receipt::Receipt;
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::{Hash, Record as _};

const DAY_MS: u64 = 86_400_000;

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// No quota is exceeded.
    Quota,
    /// No grant is used before its time, after it, or after its end.
    Grant,
    /// What was acknowledged stands in the log.
    Acknowledged,
    /// Logs only grow.
    AppendOnly,
    /// A session is answered once, and both parties have the same receipt.
    Receipts,
    /// An answer is the truth, or there is an error that says why there is none.
    Answers,
    /// A revoked peer gets nothing once the stated time is over.
    Revocation,
    /// A publication id names one publication.
    Publications,
    /// A node starts again on what its last run left, and stops when it is told to.
    Recovery,
    /// Nothing panics.
    Panics,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Quota,
        Self::Grant,
        Self::Acknowledged,
        Self::AppendOnly,
        Self::Receipts,
        Self::Answers,
        Self::Revocation,
        Self::Publications,
        Self::Recovery,
        Self::Panics,
    ];
}

/// An invariant that does not hold.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Operations begun when it was noticed.
    pub operation: u64,
    /// What was found.
    pub text: String,
}

/// Something that a machine's log must have, because somebody was told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// A receipt that a requester has.
    Receipt(Hash),
    /// A verification whose report the bank's caller has.
    Decided([u8; 16]),
    /// A grant that was issued.
    Granted(GrantId),
    /// A grant that was ended.
    Ended(GrantId),
}

impl Promise {
    /// Whether it was made by an answer, before which the entry must be durable. Operators are told before the log is.
    const fn is_of_a_reply(&self) -> bool {
        matches!(self, Self::Receipt(_) | Self::Decided(_))
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receipt(digest) => write!(f, "receipt {}", hex::encode(&digest[..8])),
            Self::Decided(id) => write!(f, "the decision of {}", hex::encode(id)),
            Self::Granted(id) => write!(f, "grant {id}"),
            Self::Ended(id) => write!(f, "the end of grant {id}"),
        }
    }
}

/// How often each invariant was held against what happened.
pub type Checks = BTreeMap<Invariant, u64>;

/// One machine's log, as far as it was read.
#[derive(Debug, Default)]
struct Log {
    entries: Vec<[u8; 32]>,
    checkpoints: Vec<Checkpoint>,
    grants: HashMap<GrantId, Grant>,
    used: HashMap<(GrantId, KeyGroup), u64>,
    days: HashMap<(GrantId, KeyGroup, u64), u64>,
    answered: HashSet<SessionId>,
    publications: HashMap<PublicationId, Hash>,
}

#[derive(Debug, Default)]
struct Inner {
    promised: HashMap<(&'static str, Promise), u64>,
    /// Promises that a log was seen to keep.
    kept: HashSet<(&'static str, Promise)>,
    logs: HashMap<&'static str, Log>,
    violations: Vec<Violation>,
    checks: Checks,
}

/// What was promised and seen in one seed.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

impl Ledger {
    /// Somebody was told what a machine's log must have.
    pub fn promise(&self, machine: &'static str, promise: Promise, operation: u64) {
        let mut inner = self.lock();
        if !inner.kept.contains(&(machine, promise)) {
            inner.promised.entry((machine, promise)).or_insert(operation);
        }
    }

    /// An invariant does not hold.
    pub fn violate(&self, invariant: Invariant, operation: u64, text: impl Into<String>) {
        self.lock().violations.push(Violation { invariant, operation, text: text.into() });
    }

    /// Holds a condition.
    pub fn hold(&self, invariant: Invariant, operation: u64, condition: bool, text: impl FnOnce() -> String) {
        *self.lock().checks.entry(invariant).or_default() += 1;
        if !condition {
            self.violate(invariant, operation, text());
        }
    }

    /// Whether everything held so far.
    pub fn is_clean(&self) -> bool {
        self.lock().violations.is_empty()
    }

    /// What does not hold.
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Conditions that were held so far, by invariant.
    pub fn checks(&self) -> Checks {
        self.lock().checks.clone()
    }

    /// Entries that were read in all logs.
    pub fn entries(&self) -> u64 {
        self.lock().logs.values().map(|log| log.entries.len() as u64).sum()
    }

    /// An earlier checkpoint of a machine's log, as an auditor may have kept it.
    pub fn earlier(&self, machine: &str) -> Option<Checkpoint> {
        let inner = self.lock();
        let checkpoints = &inner.logs.get(machine)?.checkpoints;
        checkpoints.get(checkpoints.len() / 2).cloned()
    }

    /// Reads what a log has beyond what was read before, and one earlier entry again.
    pub fn read(&self, machine: &'static str, dir: &Path, operation: u64, again: u64) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let log = inner.logs.entry(machine).or_default();
        let mut found = Found { checks: &mut inner.checks, told: Vec::new() };
        if let Err(text) = log.read(dir, again, &mut found) {
            found.tell(Invariant::AppendOnly, format!("the log of {machine}: {text}"));
        }
        let kept = log.kept(dir, &mut found);
        let told = found.told.into_iter();
        inner.violations.extend(told.map(|(invariant, text)| Violation { invariant, operation, text }));
        for promise in kept {
            inner.promised.remove(&(machine, promise));
            inner.kept.insert((machine, promise));
        }
    }

    /// What was said in replies of a machine must have been seen by now: its log is published and read.
    pub fn settle_replies(&self, machine: &str, operation: u64) {
        self.settle_those(operation, |(of, promise)| *of == machine && promise.is_of_a_reply());
    }

    /// Everything that was promised must have been seen by now.
    pub fn settle(&self, operation: u64) {
        self.settle_those(operation, |_| true);
    }

    fn settle_those(&self, operation: u64, which: impl Fn(&(&'static str, Promise)) -> bool) {
        let mut inner = self.lock();
        *inner.checks.entry(Invariant::Acknowledged).or_default() += 1;
        let open: Vec<_> = inner.promised.extract_if(|promise, _| which(promise)).collect();
        for ((machine, promise), since) in open {
            let text = format!("the log of {machine} lacks {promise}, acknowledged in operation {since}");
            inner.violations.push(Violation { invariant: Invariant::Acknowledged, operation, text });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is found in a log, beside how often was looked.
struct Found<'a> {
    checks: &'a mut Checks,
    told: Vec<(Invariant, String)>,
}

impl Found<'_> {
    /// Holds a condition.
    fn hold(&mut self, invariant: Invariant, condition: bool, text: impl FnOnce() -> String) {
        *self.checks.entry(invariant).or_default() += 1;
        if !condition {
            self.tell(invariant, text());
        }
    }

    /// An invariant does not hold.
    fn tell(&mut self, invariant: Invariant, text: impl Into<String>) {
        self.told.push((invariant, text.into()));
    }
}

impl Log {
    /// Checks what was read before, as far as that is cheap.
    fn read(&mut self, dir: &Path, again: u64, found: &mut Found<'_>) -> Result<(), String> {
        let reader = LogReader::open(dir).map_err(|error| error.to_string())?;
        let checkpoint = reader.checkpoint().unverified().clone();
        let size = self.entries.len() as u64;
        *found.checks.entry(Invariant::AppendOnly).or_default() += 1;
        if checkpoint.size < size {
            return Err(format!("it has {} entries, and had {size}", checkpoint.size));
        }
        if let Some(last) = self.checkpoints.last()
            && last.size == checkpoint.size
            && last.root != checkpoint.root
        {
            return Err(format!("two roots over {size} entries"));
        }
        if size > 0 {
            let index = again % size;
            let entry = reader.entries(index).next().transpose().map_err(|error| error.to_string())?;
            let same = entry.map(|(_, bytes)| digest(&bytes)) == Some(self.entries[index as usize]);
            found.hold(Invariant::AppendOnly, same, || format!("entry {index} has changed"));
        }
        self.checkpoints.push(checkpoint);
        Ok(())
    }

    /// Takes new entries; gives what they keep of what was promised.
    fn kept(&mut self, dir: &Path, found: &mut Found<'_>) -> Vec<Promise> {
        let mut kept = Vec::new();
        let Ok(reader) = LogReader::open(dir) else { return kept };
        for entry in reader.entries(self.entries.len() as u64) {
            let Ok((_, bytes)) = entry else {
                found.tell(Invariant::AppendOnly, "a published entry cannot be read");
                return kept;
            };
            self.entries.push(digest(&bytes));
            match Entry::decode(&bytes).map(|entry| entry.event) {
                Ok(Event::Answered(receipt)) => {
                    kept.push(Promise::Receipt(receipt.digest()));
                    self.answered(receipt.body(), found);
                }
                Ok(Event::Granted(grant)) => {
                    kept.push(Promise::Granted(grant.body().id));
                    self.grants.insert(grant.body().id, grant.body().clone());
                }
                Ok(Event::Published(manifest)) => {
                    let ids = manifest.body().publications.iter().map(|publication| publication.id);
                    ids.for_each(|id| self.published(id, manifest.digest(), found));
                }
                Ok(Event::DeltaPublished(delta)) => {
                    self.published(delta.body().publication.id, delta.digest(), found);
                }
                Ok(Event::GrantEnded(id)) => kept.push(Promise::Ended(id)),
                Ok(Event::Decided(decided)) => kept.push(Promise::Decided(decided.verification)),
                Ok(_) => {}
                Err(error) => {
                    found.tell(Invariant::AppendOnly, format!("an entry does not parse: {error}"));
                }
            }
        }
        kept
    }

    fn published(&mut self, id: PublicationId, digest: Hash, found: &mut Found<'_>) {
        let is_one = *self.publications.entry(id).or_insert(digest) == digest;
        found.hold(Invariant::Publications, is_one, || {
            format!("publication id {} names two publications", hex::encode(id))
        });
    }

    fn answered(&mut self, receipt: &Receipt, found: &mut Found<'_>) {
        let request = receipt.request.body();
        let first = self.answered.insert(request.session);
        found.hold(Invariant::Receipts, first, || format!("session {} was answered twice", request.session));
        let Some(grant) = self.grants.get(&request.grant) else {
            return found.tell(Invariant::Grant, format!("an answer under no grant: {}", request.grant));
        };
        let in_time = (grant.not_before_ms..=grant.not_after_ms).contains(&receipt.received_at_ms);
        found.hold(Invariant::Grant, in_time, || format!("an answer outside of the time of {}", grant.id));
        let day = receipt.received_at_ms / DAY_MS;
        for &(group, count) in &receipt.elements {
            let used = self.used.entry((grant.id, group)).or_default();
            *used += count;
            let of_day = self.days.entry((grant.id, group, day)).or_default();
            *of_day += count;
            let (in_all, in_day) = (*used, *of_day);
            found.hold(Invariant::Quota, in_all <= grant.total && in_day <= grant.per_day, || {
                let (id, total, per_day) = (grant.id, grant.total, grant.per_day);
                format!("grant {id}: {in_all} of {total} in all, {in_day} of {per_day} in the day")
            });
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
