//! What the entries of one log say, read in order: chunks are decoded in parallel, walked one entry after
//! another, and their signatures checked in parallel against the keys that the log had named by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ed25519_dalek::VerifyingKey;
use rayon::prelude::*;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::audit::receipt::{Countersignature, Receipt};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::request::Request;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};
use windvane_protocols::score::ledger::TableRoot;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::code;
use super::decisions::Decisions;
use super::grants::Grants;
use super::jobs::Jobs;
use super::keyring::{Keyring, Signers};
use super::report::{Fault, Finding};
use super::sessions::Sessions;
use crate::clock::is_before;

/// How far entries may step back in time, and a node's own signed records differ from their entries. Appends
/// race each other by milliseconds, a batch's entries carry the time at which it began (at most a minute
/// earlier), and an operator corrects a clock; a node tolerates no more than the same 5 minutes between its clock and a
/// peer's. The same time a node has to take over that a grant was ended.
pub(super) const TIME_TOLERANCE_MS: u64 = crate::clock::MAX_TOLERANCE_MS;

/// Entries that are decoded and checked at a time: enough for every core, and few megabytes.
const CHUNK: usize = 4_096;

mod life;
mod psi;
mod publications;
mod train;

/// What a log says, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) findings: Vec<Finding>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) keyring: Keyring,
    pub(super) grants: Grants,
    pub(super) sessions: Sessions,
    pub(super) jobs: Jobs,
    /// Digests of all manifests and deltas, with their entries and providers.
    pub(super) manifests: HashMap<Hash, (u64, PartyId)>,
    /// What every epoch was published with, first.
    epochs: HashMap<(PartyId, DataSet, u64), Epoch>,
    /// What every publication id names, with its first entry.
    ids: HashMap<PublicationId, (u64, Hash)>,
    /// Tables of joint scores by provider and context, with their first entries.
    pub(super) tables: HashMap<(PartyId, Hash), (u64, TableRoot)>,
    /// Parties whose grants or sessions name this log's own party.
    pub(super) partners: BTreeSet<PartyId>,
    /// Times of the first and the last entry.
    pub(super) span_ms: Option<(u64, u64)>,
    /// Answered customers that may still be decided.
    pub(super) undecided: u64,
    /// Returns from backups and what was destroyed, in words.
    pub(super) life: Vec<String>,
    decisions: Decisions,
    latest_ms: u64,
    /// Whether the log's first entry is there.
    has_first: bool,
    /// Entries that are not read yet.
    pending: Vec<(u64, Vec<u8>)>,
}

/// An epoch, by the manifest that published it.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    /// The manifest's entry.
    entry: u64,
    manifest: Hash,
    /// How long it goes on.
    hours: u64,
}

/// A signature to check.
struct Check<'a> {
    entry: u64,
    session: Option<SessionId>,
    signers: Signers,
    record: Signature<'a>,
}

/// A signed record in an entry.
enum Signature<'a> {
    Request(&'a Signed<Request>),
    Receipt(&'a Signed<Receipt>),
    Grant(&'a Signed<Grant>),
    Manifest(&'a Signed<Manifest>),
    Delta(&'a Signed<Delta>),
    Table(&'a Signed<TableManifest>),
    Countersignature(&'a Signed<Countersignature>),
    PsiRequest(&'a Signed<PsiRequest>),
    PsiAcceptance(&'a Signed<PsiAcceptance>),
    PsiReceipt(&'a Signed<PsiReceipt>),
    PsiRelease(&'a Signed<PsiRelease>, PartyId),
    TrainRequest(&'a Signed<TrainRequest>),
    TrainAcceptance(&'a Signed<TrainAcceptance>),
    TrainReceipt(&'a Signed<TrainReceipt>),
    TrainLapse(&'a Signed<TrainLapse>),
    Destruction(&'a Signed<Destruction>),
}

impl Signature<'_> {
    fn verify(&self, key: &VerifyingKey) -> bool {
        match self {
            Self::Request(signed) => signed.verify(key),
            Self::Receipt(signed) => signed.verify(key),
            Self::Grant(signed) => signed.verify(key),
            Self::Manifest(signed) => signed.verify(key),
            Self::Delta(signed) => signed.verify(key),
            Self::Table(signed) => signed.verify(key),
            Self::Countersignature(signed) => signed.verify(key),
            Self::PsiRequest(signed) => signed.verify(key),
            Self::PsiAcceptance(signed) => signed.verify(key),
            Self::PsiReceipt(signed) => signed.verify(key),
            Self::PsiRelease(signed, _) => signed.verify(key),
            Self::TrainRequest(signed) => signed.verify(key),
            Self::TrainAcceptance(signed) => signed.verify(key),
            Self::TrainReceipt(signed) => signed.verify(key),
            Self::TrainLapse(signed) => signed.verify(key),
            Self::Destruction(signed) => signed.verify(key),
        }
    }

    fn signer(&self) -> &PartyId {
        match self {
            Self::Request(signed) => &signed.body().requester,
            Self::Receipt(signed) => &signed.body().request.body().provider,
            Self::Grant(signed) => &signed.body().provider,
            Self::Manifest(signed) => &signed.body().provider,
            Self::Delta(signed) => &signed.body().provider,
            Self::Table(signed) => &signed.body().provider,
            Self::Countersignature(signed) => &signed.body().requester,
            Self::PsiRequest(signed) => &signed.body().requester,
            Self::PsiAcceptance(signed) => &signed.body().request.body().provider,
            Self::PsiReceipt(signed) => &signed.body().request().provider,
            Self::PsiRelease(_, requester) => requester,
            Self::TrainRequest(signed) => &signed.body().charter.requester,
            Self::TrainAcceptance(signed) => &signed.body().request.body().provider,
            Self::TrainReceipt(signed) => &signed.body().request().provider,
            Self::TrainLapse(signed) => &signed.body().request().provider,
            Self::Destruction(signed) => &signed.body().party,
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Request(signed) => Some(signed.body().session),
            Self::Receipt(signed) => Some(signed.body().request.body().session),
            Self::PsiRequest(signed) => Some(signed.body().session),
            Self::PsiAcceptance(signed) => Some(signed.body().request.body().session),
            Self::PsiReceipt(signed) => Some(signed.body().request().session),
            Self::PsiRelease(signed, _) => Some(signed.body().session),
            Self::TrainRequest(signed) => Some(signed.body().session),
            Self::TrainAcceptance(signed) => Some(signed.body().request.body().session),
            Self::TrainReceipt(signed) => Some(signed.body().request().session),
            Self::TrainLapse(signed) => Some(signed.body().request().session),
            _ => None,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Request(_) => code::REQUEST_SIGNATURE,
            Self::Receipt(_) => code::RECEIPT_SIGNATURE,
            Self::Grant(_) => code::GRANT_SIGNATURE,
            Self::Manifest(_) | Self::Delta(_) | Self::Table(_) => code::MANIFEST_SIGNATURE,
            Self::Countersignature(_) => code::COUNTERSIGNATURE_INVALID,
            Self::PsiRequest(_) | Self::TrainRequest(_) => code::REQUEST_SIGNATURE,
            Self::PsiAcceptance(_) | Self::PsiReceipt(_) => code::RECEIPT_SIGNATURE,
            Self::TrainAcceptance(_) | Self::TrainReceipt(_) | Self::TrainLapse(_) => code::RECEIPT_SIGNATURE,
            Self::PsiRelease(..) => code::RELEASE_SIGNATURE,
            Self::Destruction(_) => code::DESTRUCTION_SIGNATURE,
        }
    }
}

impl Check<'_> {
    /// The latest key is the likeliest.
    fn run(&self) -> Option<Finding> {
        if self.signers.iter().rev().any(|key| self.record.verify(key)) {
            return None;
        }
        let text = format!("no key of {} that the log names by then signed this", self.record.signer());
        let fault = Fault { session: self.session, ..Fault::new(self.record.code(), text) };
        Some(fault.at(self.entry))
    }
}

impl Content {
    /// Takes the next entry. Gaps are the business of whoever checks the log's files.
    pub(super) fn take(&mut self, index: u64, entry: Vec<u8>) {
        self.pending.push((index, entry));
        if self.pending.len() >= CHUNK {
            self.read_pending();
        }
    }

    /// What all entries that were taken say.
    pub(super) fn read(mut self) -> Self {
        self.read_pending();
        self.finish();
        self
    }

    fn read_pending(&mut self) {
        let chunk = std::mem::take(&mut self.pending);
        self.has_first |= chunk.first().is_some_and(|(index, _)| *index == 0);
        self.read_chunk(&chunk);
    }

    fn read_chunk(&mut self, chunk: &[(u64, Vec<u8>)]) {
        let decoded: Vec<_> = chunk.par_iter().map(|(index, bytes)| (*index, Entry::decode(bytes))).collect();
        let mut checks = Vec::new();
        for (index, entry) in &decoded {
            match entry {
                Ok(entry) => self.entry(*index, entry, &mut checks),
                Err(error) => self.find(*index, Fault::new(code::ENTRY_MALFORMED, error)),
            }
        }
        let found: Vec<_> = checks.par_iter().filter_map(Check::run).collect();
        self.findings.extend(found);
    }

    fn finish(&mut self) {
        if !self.has_first {
            let text = "the log's first entry, which names its party and keys, cannot be read";
            self.find(0, Fault::new(code::OPENING_MISSING, text));
        }
        self.findings.extend(self.grants.exceeded());
        let last_ms = self.span_ms.map_or(0, |(_, last)| last);
        let (missing, undecided) = self.decisions.missing(&self.sessions, last_ms);
        self.findings.extend(missing);
        self.undecided = undecided;
        self.findings.sort_by_key(|finding| finding.entry);
    }

    fn find(&mut self, entry: u64, fault: Fault) {
        self.findings.push(fault.at(entry));
    }

    fn entry<'a>(&mut self, index: u64, entry: &'a Entry, checks: &mut Vec<Check<'a>>) {
        *self.counts.entry(entry.event.kind()).or_default() += 1;
        self.time(index, entry.at_ms);
        if index == 0 && !matches!(entry.event, Event::Opened(_)) {
            self.find(0, Fault::new(code::OPENING_MISSING, "the log does not begin with its party and keys"));
        }
        for fault in self.event(index, entry, checks) {
            self.find(index, fault);
        }
    }

    /// Against the latest time so far, but a step back counts once, not for every entry after it.
    fn time(&mut self, index: u64, at_ms: u64) {
        let first = self.span_ms.map_or(at_ms, |(first, _)| first);
        self.span_ms = Some((first, at_ms));
        if at_ms.saturating_add(TIME_TOLERANCE_MS) < self.latest_ms {
            let back_ms = self.latest_ms - at_ms;
            let text = format!("the entry's time is {back_ms} ms before an earlier entry's");
            self.find(index, Fault::new(code::TIME_BACKWARDS, text));
            self.latest_ms = at_ms;
        }
        self.latest_ms = self.latest_ms.max(at_ms);
    }

    fn event<'a>(&mut self, index: u64, entry: &'a Entry, checks: &mut Vec<Check<'a>>) -> Vec<Fault> {
        let at_ms = entry.at_ms;
        let one = |result: Result<(), Fault>| result.err().into_iter().collect();
        match &entry.event {
            Event::Opened(keys) => one(self.opened(index, keys)),
            Event::Enrolled { keys, enrolment } => one(self.keyring.enrol(index, at_ms, keys, enrolment)),
            Event::Granted(signed) => {
                let mut faults = self.signed(index, Signature::Grant(signed), checks);
                let grant = signed.body();
                faults.extend(self.ours(&grant.requester, &grant.provider));
                faults.extend(self.grants.add(index, signed).err());
                faults
            }
            Event::GrantEnded(id) => one(self.grants.end(index, at_ms, *id)),
            Event::Published(signed) => self.published(index, signed, checks),
            Event::DeltaPublished(signed) => self.delta_published(index, signed, checks),
            Event::Requested(signed) => self.requested(index, at_ms, signed, checks),
            Event::Answered(signed) => self.answered(index, at_ms, signed, checks),
            Event::Countersigned(signed) => self.countersigned(index, at_ms, signed, checks),
            Event::Failed { session: Some(session), code, .. } => {
                self.sessions.fail(index, *session, code);
                Vec::new()
            }
            Event::Decided(decided) => self.decisions.decide(decided, &self.sessions),
            Event::ScorePublished(signed) => self.score_published(index, signed, checks),
            Event::PsiRequested(signed) => self.psi_requested(index, at_ms, signed, checks),
            Event::PsiAccepted(signed) => self.psi_accepted(index, at_ms, signed, checks),
            Event::PsiAttempted { session, number, .. } => {
                self.jobs.attempt(*session, *number).map(|fault| fault.of(*session)).into_iter().collect()
            }
            Event::PsiReleased(signed) => self.psi_released(index, signed, checks),
            Event::PsiCompleted(signed) => self.psi_completed(index, at_ms, signed, checks),
            Event::PsiResult { session, result } => {
                self.jobs.result(*session, *result).map(|fault| fault.of(*session)).into_iter().collect()
            }
            Event::TrainRequested(signed) => self.train_requested(index, at_ms, signed, checks),
            Event::TrainAccepted(signed) => self.train_accepted(index, at_ms, signed, checks),
            Event::TrainAttempted { session, number, .. } => {
                self.jobs.attempt(*session, *number).map(|fault| fault.of(*session)).into_iter().collect()
            }
            Event::TrainCompleted(signed) => self.train_completed(index, at_ms, signed, checks),
            Event::TrainLapsed(signed) => self.train_lapsed(index, at_ms, signed, checks),
            Event::TrainResult { session, result } => {
                self.jobs.result(*session, *result).map(|fault| fault.of(*session)).into_iter().collect()
            }
            Event::Restored { size, log, .. } => one(self.restored(index, at_ms, *size, log)),
            Event::Destroyed(signed) => self.destroyed(index, at_ms, signed, checks),
            // Starts, keys of epochs and users are said by the node alone: nothing to hold them against.
            _ => Vec::new(),
        }
    }

    /// A provider has one table under a context: two of them would give away the differences of its parts.
    fn score_published<'a>(
        &mut self,
        index: u64,
        signed: &'a Signed<TableManifest>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (table, mut faults) = (signed.body(), self.signed(index, Signature::Table(signed), checks));
        let key = (table.provider.clone(), table.context);
        let (entry, root) = *self.tables.entry(key).or_insert((index, table.root));
        if root != table.root {
            let text = format!("{} has another table under this context in entry {entry}", table.provider);
            faults.push(Fault::new(code::SECOND_TABLE, text));
        }
        faults
    }

    fn opened(&mut self, index: u64, keys: &Keys) -> Result<(), Fault> {
        if index == 0 {
            return self.keyring.open(keys);
        }
        Err(Fault::new(code::OPENED_AGAIN, "the log is opened once, by its first entry"))
    }

    fn requested<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<Request>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let request = signed.body();
        let mut faults = self.signed(index, Signature::Request(signed), checks);
        faults.extend(self.ours(&request.requester, &request.provider));
        if self.keyring.party().is_some_and(|own| *own != request.requester) {
            let text = format!("the request is made by {}, not by the log's party", request.requester);
            faults.push(Fault::new(code::FOREIGN_RECORD, text));
        }
        faults.extend(own_time("request", at_ms, request.requested_at_ms));
        faults.extend(self.sessions.request(index, signed).err());
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    fn answered<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<Receipt>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let receipt = signed.body();
        let request = receipt.request.body();
        let own = self.keyring.party().unwrap_or(&request.provider).clone();
        let mut faults = self.signed(index, Signature::Receipt(signed), checks);
        faults.extend(self.ours(&request.requester, &request.provider));
        let (known, found) = self.sessions.answer((index, at_ms), signed, &own);
        faults.extend(found);
        if !known {
            faults.extend(self.signed(index, Signature::Request(&receipt.request), checks));
        }
        if own == request.provider {
            faults.extend(own_time("receipt", at_ms, receipt.received_at_ms));
            faults.extend(own_time("receipt", at_ms, receipt.answered_at_ms));
        }
        faults.extend(received_time(request.requested_at_ms, receipt.received_at_ms));
        let epoch = (request.provider.clone(), request.data_set.clone(), request.epoch);
        let epoch_hours = self.epochs.get(&epoch).map(|epoch| epoch.hours);
        faults.extend(self.grants.charge(index, receipt, epoch_hours, &own));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    fn countersigned<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<Countersignature>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let body = signed.body();
        let mut faults = self.signed(index, Signature::Countersignature(signed), checks);
        faults.extend(self.ours(&body.requester, &body.provider));
        if self.keyring.party() == Some(&body.requester) {
            faults.extend(own_time("countersignature", at_ms, body.signed_at_ms));
        }
        let others = self.jobs.countersign(index, body);
        faults.extend(self.sessions.countersign(index, body, &others));
        faults
    }

    /// Notes a signature to check, if anybody is known who could have made it.
    fn signed<'a>(&self, entry: u64, record: Signature<'a>, checks: &mut Vec<Check<'a>>) -> Vec<Fault> {
        match self.keyring.signers(record.signer()) {
            Some(signers) => {
                let (session, signers) = (record.session(), signers.clone());
                checks.push(Check { entry, session, signers, record });
                Vec::new()
            }
            None => {
                let text = format!("no entry before this one names a key of {}", record.signer());
                vec![Fault::new(code::SIGNER_UNKNOWN, text)]
            }
        }
    }

    /// A record concerns the log's own party, and somebody else.
    fn ours(&mut self, requester: &PartyId, provider: &PartyId) -> Option<Fault> {
        let own = self.keyring.party()?;
        let partner = match (own == requester, own == provider) {
            (true, false) => provider,
            (false, true) => requester,
            _ => {
                let text = format!("the record is between {requester} and {provider}; the log is of {own}");
                return Some(Fault::new(code::FOREIGN_RECORD, text));
            }
        };
        if !self.partners.contains(partner) {
            self.partners.insert(partner.clone());
        }
        None
    }
}

/// A record that is kept before it is logged may be older than its entry, by whatever lay between, but not younger.
fn kept_time(what: &str, entry_ms: u64, record_ms: u64) -> Option<Fault> {
    (record_ms > entry_ms).then(|| own_time(what, entry_ms, record_ms)).flatten()
}

/// A provider answers a request at once, or refuses it for its time: its grant is judged by the moment that it names.
fn received_time(requested_ms: u64, received_ms: u64) -> Option<Fault> {
    let off_ms = received_ms.abs_diff(requested_ms);
    let text =
        || format!("the provider says that it received the request {off_ms} ms away from the request's time");
    (off_ms > TIME_TOLERANCE_MS).then(|| Fault::new(code::TIME_DIFFERS, text()))
}

/// A job is accepted when it is asked for or later ([`is_before`]).
fn accepted_time(requested_ms: u64, accepted_ms: u64) -> Option<Fault> {
    let text = || format!("the job was accepted {} ms before it was asked for", requested_ms - accepted_ms);
    is_before(accepted_ms, requested_ms).then(|| Fault::new(code::TIME_DIFFERS, text()))
}

fn own_time(what: &str, entry_ms: u64, record_ms: u64) -> Option<Fault> {
    let off_ms = entry_ms.abs_diff(record_ms);
    let text = || format!("the {what} that the node itself signed is {off_ms} ms away from its entry");
    (off_ms > TIME_TOLERANCE_MS).then(|| Fault::new(code::TIME_DIFFERS, text()))
}
