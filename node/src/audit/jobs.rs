//! Set intersections and trainings as one log has them: request, acceptance, connections, release, receipt, result.
//!
//! Both are jobs: one signed request, one acceptance, any number of connections, and one receipt.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{PROTOCOL, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Signed};

use super::code;
use super::report::Fault;

/// One job. Signed records are held by their digests, signatures included.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) requester: PartyId,
    pub(super) provider: PartyId,
    pub(super) requested: Option<(u64, Hash)>,
    pub(super) accepted: Option<(u64, Hash)>,
    /// Entry and digest of the receipt.
    pub(super) completed: Option<(u64, Hash)>,
    pub(super) countersigned: Option<u64>,
    /// How the provider gave it up.
    pub(super) lapsed: Option<Lapsed>,
    released: Option<Hash>,
    /// The highest number of a connection.
    attempts: u64,
    resulted: Option<[u8; 32]>,
}

/// How a provider gave a training up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lapsed {
    pub(super) entry: u64,
    digest: Hash,
    /// Of the bank's request.
    pub(super) request: Hash,
    /// Steps that were answered.
    pub(super) answered: u64,
}

/// All jobs of a log.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_id: BTreeMap<SessionId, Job>,
    by_receipt: HashMap<Hash, SessionId>,
    /// Under every grant the accepted jobs, with their input commitments.
    runs: BTreeMap<GrantId, BTreeMap<SessionId, [u8; 32]>>,
    /// Under every grant the accepted trainings.
    trainings: BTreeMap<GrantId, BTreeSet<SessionId>>,
}

/// Keeps the first of two records; a second one must be the same, as a party logs it that was killed in
/// between.
fn first(place: &mut Option<(u64, Hash)>, entry: u64, digest: Hash, code: &'static str) -> Option<Fault> {
    match *place {
        None => {
            *place = Some((entry, digest));
            None
        }
        Some((_, known)) if known == digest => None,
        Some((known, _)) => {
            Some(Fault::new(code, format!("entry {known} says something else of the same job")))
        }
    }
}

impl Jobs {
    /// Takes the party's own request.
    pub(super) fn request(&mut self, entry: u64, signed: &Signed<PsiRequest>) -> Option<Fault> {
        let digest = signed.digest();
        first(&mut self.job(signed.body()).requested, entry, digest, code::SESSION_REPEATED)
    }

    /// Takes the party's own request for a training.
    pub(super) fn train_request(&mut self, entry: u64, signed: &Signed<TrainRequest>) -> Option<Fault> {
        let digest = signed.digest();
        first(&mut self.training(signed.body()).requested, entry, digest, code::SESSION_REPEATED)
    }

    /// Takes a training's acceptance, which stands in the provider's log alone and in every receipt.
    pub(super) fn train_accept(&mut self, entry: u64, signed: &Signed<TrainAcceptance>) -> Vec<Fault> {
        let request = &signed.body().request;
        self.trainings.entry(request.body().grant).or_default().insert(request.body().session);
        let job = self.training(request.body());
        let mut faults: Vec<_> =
            first(&mut job.accepted, entry, signed.digest(), code::SESSION_REPEATED).into_iter().collect();
        faults.extend(other_request(job, &request.digest()));
        faults
    }

    /// Takes a training's receipt, in the log of `party`.
    pub(super) fn train_complete(
        &mut self,
        entry: u64,
        signed: &Signed<TrainReceipt>,
        party: &PartyId,
    ) -> Vec<Fault> {
        let receipt = signed.body();
        let (request, acceptance) = (&receipt.acceptance.body().request, receipt.acceptance.digest());
        self.by_receipt.insert(signed.digest(), request.body().session);
        let job = self.training(request.body());
        let mut faults = protocol(&receipt.protocol, windvane_protocols::train::PROTOCOL);
        faults.extend(first(&mut job.completed, entry, signed.digest(), code::RECEIPT_REPEATED));
        faults.extend(other_request(job, &request.digest()));
        faults.extend(missing(job, party, &acceptance));
        faults.extend(job.lapsed.map(|lapsed| given_up(lapsed.entry)));
        faults
    }

    /// Whether a job's acceptance stands in an entry before.
    pub(super) fn is_accepted(&self, session: &SessionId) -> bool {
        self.by_id.get(session).is_some_and(|job| job.accepted.is_some())
    }

    /// Whether it is a training whose acceptance stands here.
    pub(super) fn is_training(&self, session: &SessionId) -> bool {
        self.trainings.values().any(|sessions| sessions.contains(session))
    }

    /// Takes what a provider signed of a training that it gave up. The same once more says nothing new.
    pub(super) fn train_lapse(&mut self, entry: u64, signed: &Signed<TrainLapse>) -> Vec<Fault> {
        let (lapse, digest) = (signed.body(), signed.digest());
        let request = lapse.acceptance.body().request.digest();
        let job = self.training(lapse.request());
        let mut faults = protocol(&lapse.protocol, windvane_protocols::train::PROTOCOL);
        let fresh = Lapsed { entry, digest, request, answered: lapse.answered.count };
        let known = *job.lapsed.get_or_insert(fresh);
        if known.digest != digest {
            faults.push(given_up(known.entry));
        }
        if let Some((completed, _)) = job.completed {
            let text = format!("entry {completed} has the receipt of the training that is given up here");
            faults.push(Fault::new(code::SESSION_LAPSED, text));
        }
        faults
    }

    /// Takes an acceptance, which stands in the provider's log alone and in every receipt.
    pub(super) fn accept(&mut self, entry: u64, signed: &Signed<PsiAcceptance>) -> Vec<Fault> {
        let request = &signed.body().request;
        self.runs
            .entry(request.body().grant)
            .or_default()
            .insert(request.body().session, request.body().input);
        let job = self.job(request.body());
        let mut faults: Vec<_> =
            first(&mut job.accepted, entry, signed.digest(), code::SESSION_REPEATED).into_iter().collect();
        faults.extend(other_request(job, &request.digest()));
        faults
    }

    /// Takes a connection.
    pub(super) fn attempt(&mut self, session: SessionId, number: u64) -> Option<Fault> {
        let Some(job) = self.by_id.get_mut(&session) else { return Some(unknown()) };
        if let Some(lapsed) = job.lapsed {
            return Some(given_up(lapsed.entry));
        }
        if number <= job.attempts {
            let text = format!("connection {number} comes after connection {}", job.attempts);
            return Some(Fault::new(code::SESSION_REPEATED, text));
        }
        job.attempts = number;
        None
    }

    /// Takes a release request; gives the party that should have signed it.
    pub(super) fn release(&mut self, signed: &Signed<PsiRelease>) -> Result<PartyId, Fault> {
        let job = self.by_id.get_mut(&signed.body().session).ok_or_else(unknown)?;
        job.released = Some(signed.digest());
        Ok(job.requester.clone())
    }

    /// Takes a receipt, in the log of `party`.
    pub(super) fn complete(
        &mut self,
        entry: u64,
        signed: &Signed<PsiReceipt>,
        party: &PartyId,
    ) -> Vec<Fault> {
        let receipt = signed.body();
        let (request, acceptance) = (&receipt.acceptance.body().request, receipt.acceptance.digest());
        self.by_receipt.insert(signed.digest(), request.body().session);
        let job = self.job(request.body());
        let mut faults = protocol(&receipt.protocol, PROTOCOL);
        faults.extend(first(&mut job.completed, entry, signed.digest(), code::RECEIPT_REPEATED));
        faults.extend(other_request(job, &request.digest()));
        faults.extend(missing(job, party, &acceptance));
        let released = job.released.map(|digest| digest.to_vec()).unwrap_or_default();
        if receipt.release != released {
            let text = "the receipt says something else of the release than the entries before it";
            faults.push(Fault::new(code::RELEASE_DIFFERS, text));
        }
        faults
    }

    /// Takes the requester's own result.
    pub(super) fn result(&mut self, session: SessionId, result: [u8; 32]) -> Option<Fault> {
        let Some(job) = self.by_id.get_mut(&session) else { return Some(unknown()) };
        if *job.resulted.get_or_insert(result) == result {
            return None;
        }
        Some(Fault::new(code::DECISION_REPEATED, "an entry before this one commits to another result"))
    }

    /// Takes the part of a countersignature that is about jobs; gives the receipts that it is not about.
    pub(super) fn countersign(&mut self, entry: u64, body: &Countersignature) -> Vec<Hash> {
        let mut others = Vec::new();
        for receipt in &body.receipts {
            let job = self.by_receipt.get(receipt).and_then(|id| self.by_id.get_mut(id));
            let ours = job.filter(|j| j.requester == body.requester && j.provider == body.provider);
            match ours {
                Some(job) => drop(job.countersigned.get_or_insert(entry)),
                None => others.push(*receipt),
            }
        }
        others
    }

    /// The accepted jobs under a grant, with their input commitments.
    pub(super) fn runs(&self, grant: &GrantId) -> Vec<([u8; 16], [u8; 32])> {
        let runs = self.runs.get(grant).into_iter().flatten();
        runs.map(|(session, input)| (*session.as_bytes(), *input)).collect()
    }

    /// The accepted trainings under a grant.
    pub(super) fn trainings(&self, grant: &GrantId) -> Vec<[u8; 16]> {
        self.trainings.get(grant).into_iter().flatten().map(|session| *session.as_bytes()).collect()
    }

    /// A job by its name.
    pub(super) fn find(&self, id: &SessionId) -> Option<&Job> {
        self.by_id.get(id)
    }

    /// The jobs between two parties.
    pub(super) fn between<'a>(
        &'a self,
        requester: &'a PartyId,
        provider: &'a PartyId,
    ) -> impl Iterator<Item = SessionId> + 'a {
        let ours = move |(_, job): &(_, &Job)| job.requester == *requester && job.provider == *provider;
        self.by_id.iter().filter(ours).map(|(id, _)| *id)
    }

    /// Receipts without a countersignature.
    pub(super) fn uncountersigned(&self) -> u64 {
        let open = |job: &&Job| job.completed.is_some() && job.countersigned.is_none();
        self.by_id.values().filter(open).count() as u64
    }

    /// The jobs of both logs, once each.
    pub(super) fn union(sides: [&Self; 2], requester: &PartyId, provider: &PartyId) -> BTreeSet<SessionId> {
        sides.into_iter().flat_map(|side| side.between(requester, provider)).collect()
    }

    fn job(&mut self, request: &PsiRequest) -> &mut Job {
        self.between_parties(request.session, &request.requester, &request.provider)
    }

    fn training(&mut self, request: &TrainRequest) -> &mut Job {
        self.between_parties(request.session, &request.charter.requester, &request.provider)
    }

    fn between_parties(&mut self, session: SessionId, requester: &PartyId, provider: &PartyId) -> &mut Job {
        self.by_id.entry(session).or_insert_with(|| Job {
            requester: requester.clone(),
            provider: provider.clone(),
            requested: None,
            accepted: None,
            completed: None,
            countersigned: None,
            lapsed: None,
            released: None,
            attempts: 0,
            resulted: None,
        })
    }
}

fn other_request(job: &Job, request: &Hash) -> Option<Fault> {
    let (entry, _) = job.requested.filter(|(_, requested)| requested != request)?;
    Some(Fault::new(code::REQUEST_DIFFERS, format!("it holds another request than entry {entry}")))
}

fn protocol(found: &str, expected: &str) -> Vec<Fault> {
    let fault = || Fault::new(code::PROTOCOL_UNKNOWN, format!("the receipt is not of {expected}"));
    (found != expected).then(fault).into_iter().collect()
}

/// What a receipt needs before it in the log of `party`: a requester commits to its result before the receipt is there.
fn missing(job: &Job, party: &PartyId, acceptance: &Hash) -> Option<Fault> {
    if *party == job.requester && job.requested.is_none() {
        let text = "no entry before this one has the request that the receipt answers";
        return Some(Fault::new(code::REQUEST_MISSING, text));
    }
    if *party == job.requester && job.resulted.is_none() {
        let text = "no entry before this one commits to the job's result";
        return Some(Fault::new(code::DECISION_MISSING, text));
    }
    if *party == job.provider && job.accepted.is_none_or(|(_, accepted)| accepted != *acceptance) {
        let text = "no entry before this one has the acceptance that the receipt carries";
        return Some(Fault::new(code::REQUEST_MISSING, text));
    }
    None
}

fn given_up(entry: u64) -> Fault {
    Fault::new(code::SESSION_LAPSED, format!("the provider gave the training up in entry {entry}"))
}

fn unknown() -> Fault {
    Fault::new(code::SESSION_UNKNOWN, "no entry before this one begins the job")
}
