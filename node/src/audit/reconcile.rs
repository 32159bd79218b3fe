//! The logs of both sides of every call, held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::transcript::Hash;

use super::content::Content;
use super::jobs::{Jobs, Lapsed};
use super::report::{Difference, PairReport, Place, ReconcileReport, counted};
use super::sessions::{Answered, Session};
use super::{VerifyOptions, code, examine};

/// Checks every log by itself, and then every requester's log against every provider's. The directories come
/// in any order: who asks and who answers is read from the logs.
pub fn reconcile(dirs: &[PathBuf]) -> ReconcileReport {
    let mut report = ReconcileReport::default();
    let mut sides = BTreeMap::new();
    for dir in dirs {
        let (log, content) = examine(dir, &VerifyOptions::default());
        report.logs.push(log);
        match content.keyring.party().cloned() {
            Some(party) if sides.contains_key(&party) => {
                report.differ(code::PARTY_REPEATED, format!("two of the logs are of {party}"));
            }
            Some(party) => drop(sides.insert(party, content)),
            None => {
                let text = format!("the log at {} does not say whose it is", dir.display());
                report.differ(code::PARTY_UNKNOWN, text);
            }
        }
    }
    report.compare(&sides);
    report
}

impl ReconcileReport {
    fn differ(&mut self, code: &'static str, text: String) {
        self.differences.push(Difference { code, lacking: None, session: None, places: Vec::new(), text });
    }

    fn compare(&mut self, sides: &BTreeMap<PartyId, Content>) {
        for (requester, asking) in sides {
            for (provider, answering) in sides.iter().filter(|(party, _)| *party != requester) {
                let mut pair = Comparison::new((requester, asking), (provider, answering));
                if pair.is_empty() {
                    continue;
                }
                pair.run();
                self.pairs.push(pair.report);
                self.differences.append(&mut pair.differences);
                self.notes.append(&mut pair.notes);
            }
        }
        if self.pairs.is_empty() {
            self.differ(code::NOTHING_IN_COMMON, "none of these logs asked another of them".to_owned());
        }
        for (party, content) in sides {
            let absent = content.partners.iter().filter(|partner| !sides.contains_key(*partner));
            let note = |absent| format!("{party} had to do with {absent}, whose log was not given");
            self.notes.extend(absent.map(note));
        }
    }
}

/// A requester's log against a provider's.
struct Comparison<'a> {
    requester: &'a PartyId,
    provider: &'a PartyId,
    asking: &'a Content,
    answering: &'a Content,
    report: PairReport,
    differences: Vec<Difference>,
    notes: Vec<String>,
}

/// One session on both sides.
struct Both<'a> {
    id: SessionId,
    asking: Option<&'a Session>,
    answering: Option<&'a Session>,
}

impl Both<'_> {
    fn requested(&self) -> Option<(u64, [u8; 64])> {
        self.asking?.requested
    }

    fn received(&self) -> Option<Answered> {
        self.asking?.answered
    }

    fn answered(&self) -> Option<Answered> {
        self.answering?.answered
    }

    /// The session's entries at the requester (the receipt, or else the request) and at the provider.
    fn entries(&self) -> (Option<u64>, Option<u64>) {
        let asking = self.received().map(|a| a.entry).or(self.requested().map(|(entry, _)| entry));
        (asking, self.answered().map(|a| a.entry))
    }
}

impl<'a> Comparison<'a> {
    fn new(
        (requester, asking): (&'a PartyId, &'a Content),
        (provider, answering): (&'a PartyId, &'a Content),
    ) -> Self {
        let (name, other) = (requester.to_string(), provider.to_string());
        let report = PairReport { requester: name, provider: other, ..PairReport::default() };
        Self { requester, provider, asking, answering, report, differences: Vec::new(), notes: Vec::new() }
    }

    fn sessions(&self) -> BTreeSet<SessionId> {
        let between = |(_, session): &(&SessionId, &Session)| {
            session.pair.requester == *self.requester && session.pair.provider == *self.provider
        };
        let both = self.asking.sessions.iter().chain(self.answering.sessions.iter());
        both.filter(between).map(|(id, _)| *id).collect()
    }

    fn is_empty(&self) -> bool {
        let grants = |side: &Content| side.grants.between(self.requester, self.provider).next().is_some();
        !grants(self.asking)
            && !grants(self.answering)
            && self.sessions().is_empty()
            && self.jobs().is_empty()
    }

    fn run(&mut self) {
        self.keys(self.requester, self.asking, self.provider, self.answering);
        self.keys(self.provider, self.answering, self.requester, self.asking);
        self.grants();
        self.manifests();
        self.tables();
        let sessions = self.sessions();
        self.report.sessions = sessions.len() as u64;
        let mut both: Vec<_> = sessions
            .into_iter()
            .map(|id| Both {
                id,
                asking: self.asking.sessions.find(&id),
                answering: self.answering.sessions.find(&id),
            })
            .collect();
        both.sort_by_key(Both::entries);
        both.iter().for_each(|both| self.session(both));
        let jobs = self.jobs();
        self.report.jobs = jobs.len() as u64;
        jobs.into_iter().for_each(|id| self.job(id));
    }

    fn jobs(&self) -> BTreeSet<SessionId> {
        Jobs::union([&self.asking.jobs, &self.answering.jobs], self.requester, self.provider)
    }

    /// A set intersection or training: both have its receipt, or neither has one and a log says why.
    fn job(&mut self, id: SessionId) {
        let (asking, answering) = (self.asking.jobs.find(&id), self.answering.jobs.find(&id));
        let requested = asking.and_then(|job| job.requested);
        let accepted = answering.and_then(|job| job.accepted);
        let place_of =
            |party, found: Option<(u64, _)>| found.map(|(entry, _): (u64, Hash)| place(party, entry));
        let (received, completed) = (asking.and_then(|j| j.completed), answering.and_then(|j| j.completed));
        let places: Vec<_> = place_of(self.requester, received.or(requested))
            .into_iter()
            .chain(place_of(self.provider, completed.or(accepted)))
            .collect();
        match (received, completed) {
            (Some((_, ours)), Some((_, theirs))) if ours == theirs => {
                self.report.jobs_agreed += 1;
                self.job_countersigned(id, [asking, answering].map(|job| job.and_then(|j| j.countersigned)));
            }
            (Some(_), Some(_)) => {
                let text = "the two logs have different receipts of the job".to_owned();
                self.add(code::RECEIPT_DIFFERS, Some(id), places, text);
            }
            (Some(_), None) => {
                let text = format!("the log of {} lacks the job's receipt", self.provider);
                self.lack(code::SESSION_MISSING, self.provider, places, Some(id), text);
            }
            (None, _) if requested.is_none() => {
                let text = format!("the log of {} lacks the job", self.requester);
                self.lack(code::SESSION_MISSING, self.requester, places, Some(id), text);
            }
            (None, completed) => match answering.and_then(|job| job.lapsed).filter(|_| completed.is_none()) {
                Some(lapsed) => self.job_lapsed(id, requested.map(|(_, request)| request), lapsed, places),
                None => self.job_without_receipt(id, completed.is_some(), places),
            },
        }
    }

    /// The bank did not end a training, and the provider signed what it had answered, whatever else the logs say.
    fn job_lapsed(&mut self, id: SessionId, requested: Option<Hash>, lapsed: Lapsed, places: Vec<Place>) {
        if requested != Some(lapsed.request) {
            let text = "the provider gave up another request than the requester logged".to_owned();
            return self.add(code::REQUEST_DIFFERS, Some(id), places, text);
        }
        self.report.jobs_lapsed += 1;
        let (requester, provider, Lapsed { entry, answered, .. }) = (self.requester, self.provider, lapsed);
        let note = format!(
            "session {id}: {requester} did not end a training, and {provider} signed in entry {entry} the {} that it had \
             answered; `windvane audit training` takes that record",
            counted(answered, "step")
        );
        self.notes.push(note);
    }

    /// As [`Self::unanswered`].
    fn job_without_receipt(&mut self, id: SessionId, completed: bool, places: Vec<Place>) {
        let signed_for = self.answering.jobs.find(&id).is_some_and(|job| job.countersigned.is_some());
        let here = self.asking.sessions.failure(&id);
        let there = self.answering.sessions.failure(&id).filter(|_| !completed);
        if !completed && self.answering.jobs.is_training(&id) {
            let provider = self.provider;
            let note = format!(
                "session {id}: {provider} accepted a training, and signed neither its end nor a lapse"
            );
            self.notes.push(note);
        }
        if let Some((_, code)) = here.or(there).filter(|_| !signed_for) {
            *self.report.explained.entry(code.clone()).or_default() += 1;
            return;
        }
        let (code, lacking) = match completed {
            true => (code::ANSWER_NOT_RECEIVED, self.requester),
            false => (code::UNEXPLAINED, self.provider),
        };
        let text = match signed_for {
            true => format!("{} countersigned the job's receipt, and its log lacks it", self.requester),
            false => "the job did not come to a receipt in both logs, and no log says why".to_owned(),
        };
        self.lack(code, lacking, places, Some(id), text);
    }

    fn job_countersigned(&mut self, id: SessionId, [here, there]: [Option<u64>; 2]) {
        let (lacking, party, entry) = match (here, there) {
            (Some(_), Some(_)) => return self.report.countersigned += 1,
            (None, None) => return self.report.uncountersigned += 1,
            (Some(entry), None) => (self.provider, self.requester, entry),
            (None, Some(entry)) => (self.requester, self.provider, entry),
        };
        let text = format!("the log of {lacking} lacks the countersignature of the job's receipt");
        self.lack(code::COUNTERSIGNATURE_MISSING, lacking, vec![place(party, entry)], Some(id), text);
    }

    /// What `other` enrolled as the keys of `party` are keys with which its log was made.
    fn keys(&mut self, party: &PartyId, own: &Content, other: &PartyId, theirs: &Content) {
        let Some(opened) = own.keyring.own() else { return };
        let held = own.keyring.enrolled(party).iter().map(|(_, keys)| keys.receipt);
        let held: BTreeSet<_> = held.chain([opened.receipt]).collect();
        for (entry, keys) in theirs.keyring.enrolled(party) {
            if keys.log != opened.log || !held.contains(&keys.receipt) {
                let text = format!("{other} enrolled other keys of {party} than those in {party}'s own log");
                let places = vec![place(party, 0), place(other, *entry)];
                self.add(code::KEYS_DIFFER, None, places, text);
            }
        }
    }

    fn grants(&mut self) {
        let sides = [
            (self.requester, self.asking, self.provider, self.answering),
            (self.provider, self.answering, self.requester, self.asking),
        ];
        for (party, content, lacking, other) in sides {
            for known in content.grants.between(self.requester, self.provider) {
                let id = known.grant.id;
                let theirs = other.grants.find(&id);
                if known.ended.is_some() && theirs.is_some_and(|theirs| theirs.ended.is_none()) {
                    self.notes.push(format!("grant {id} was ended in the log of {party} alone"));
                }
                match theirs {
                    None => {
                        let text = format!("the log of {lacking} lacks grant {id}");
                        self.lack(code::GRANT_MISSING, lacking, vec![place(party, known.entry)], None, text);
                    }
                    Some(_) if party == self.provider => {}
                    Some(theirs) if theirs.digest == known.digest => self.report.grants += 1,
                    Some(theirs) => {
                        let places = vec![place(party, known.entry), place(lacking, theirs.entry)];
                        let text = format!("the logs have different grants under the name {id}");
                        self.add(code::GRANT_DIFFERS, None, places, text);
                    }
                }
            }
        }
    }

    /// A provider may publish what the requester never installed, not the other way round.
    fn manifests(&mut self) {
        let installed = self.asking.manifests.iter().filter(|(_, (_, provider))| provider == self.provider);
        let missing = installed.filter(|(digest, _)| !self.answering.manifests.contains_key(*digest));
        let mut entries: Vec<_> = missing.map(|(_, (entry, _))| *entry).collect();
        entries.sort_unstable();
        for entry in entries {
            let text = format!("the log of {} lacks a manifest that the requester installed", self.provider);
            let places = vec![place(self.requester, entry)];
            self.lack(code::MANIFEST_MISSING, self.provider, places, None, text);
        }
    }

    /// As [`Self::manifests`], and a table is the same in both logs: two under one context would give away the differences of
    /// their parts.
    fn tables(&mut self) {
        let installed = self.asking.tables.iter().filter(|((provider, _), _)| provider == self.provider);
        let mut installed: Vec<_> =
            installed.map(|(key, (entry, root))| (*entry, *root, self.answering.tables.get(key))).collect();
        installed.sort_unstable();
        for (entry, root, theirs) in installed {
            let mut places = vec![place(self.requester, entry)];
            match theirs {
                None => {
                    let text = format!("the log of {} lacks a table that the requester has", self.provider);
                    self.lack(code::MANIFEST_MISSING, self.provider, places, None, text);
                }
                Some((_, published)) if *published == root => {}
                Some((published, _)) => {
                    places.push(place(self.provider, *published));
                    let text = "the logs have different tables under one context".to_owned();
                    self.add(code::SECOND_TABLE, None, places, text);
                }
            }
        }
    }

    fn session(&mut self, both: &Both<'_>) {
        match (both.received(), both.answered()) {
            (Some(received), Some(answered)) => self.answered(both, received, answered),
            (Some(_), None) => self.missing(both, self.provider),
            (None, Some(_)) if both.requested().is_none() => self.missing(both, self.requester),
            (None, _) => self.unanswered(both),
        }
    }

    fn missing(&mut self, both: &Both<'_>, lacking: &PartyId) {
        let text = format!("the log of {lacking} lacks the session");
        self.lack(code::SESSION_MISSING, lacking, self.places(both), Some(both.id), text);
    }

    /// Both have a receipt: of the same request, which was logged before it was sent, and with the same bytes.
    fn answered(&mut self, both: &Both<'_>, received: Answered, answered: Answered) {
        let (id, places) = (Some(both.id), self.places(both));
        match both.requested() {
            None => {
                let text = format!("the log of {} has the receipt, but not the request", self.requester);
                self.lack(code::REQUEST_MISSING, self.requester, places.clone(), id, text);
            }
            Some((_, request)) if request != answered.request => {
                let text = "the provider answered another request than the requester logged".to_owned();
                self.add(code::REQUEST_DIFFERS, id, places.clone(), text);
            }
            Some(_) => {}
        }
        if received.receipt == answered.receipt {
            self.report.agreed += 1;
        } else {
            let text = "the two logs have different receipts".to_owned();
            self.add(code::RECEIPT_DIFFERS, id, places, text);
        }
        self.countersigned(both);
    }

    fn countersigned(&mut self, both: &Both<'_>) {
        let entry = |session: Option<&Session>| session.and_then(|session| session.countersigned);
        let (lacking, party, entry) = match (entry(both.asking), entry(both.answering)) {
            (Some(_), Some(_)) => return self.report.countersigned += 1,
            (None, None) => return self.report.uncountersigned += 1,
            (Some(entry), None) => (self.provider, self.requester, entry),
            (None, Some(entry)) => (self.requester, self.provider, entry),
        };
        let text = format!("the log of {lacking} lacks the countersignature of the session's receipt");
        self.lack(code::COUNTERSIGNATURE_MISSING, lacking, vec![place(party, entry)], Some(both.id), text);
    }

    /// The requester has no receipt. Its log may say why, or the provider's that it refused; a provider that
    /// answered has refused nothing, and a requester that countersigned the receipt had it, whatever it says.
    fn unanswered(&mut self, both: &Both<'_>) {
        let signed_for = both.answering.is_some_and(|session| session.countersigned.is_some());
        let here = self.asking.sessions.failure(&both.id);
        let there = self.answering.sessions.failure(&both.id).filter(|_| both.answered().is_none());
        if let Some((_, code)) = here.or(there).filter(|_| !signed_for) {
            *self.report.explained.entry(code.clone()).or_default() += 1;
        } else if both.answered().is_some() {
            let text = match signed_for {
                true => format!("{} countersigned the receipt, and its log lacks it", self.requester),
                false => {
                    format!("{} answered, and the log of {} lacks the receipt", self.provider, self.requester)
                }
            };
            self.lack(code::ANSWER_NOT_RECEIVED, self.requester, self.places(both), Some(both.id), text);
        } else {
            let text = "the request was not answered, and no log says why".to_owned();
            self.lack(code::UNEXPLAINED, self.provider, self.places(both), Some(both.id), text);
        }
    }

    fn places(&self, both: &Both<'_>) -> Vec<Place> {
        let (asking, answering) = both.entries();
        let asking = asking.map(|entry| place(self.requester, entry));
        asking.into_iter().chain(answering.map(|entry| place(self.provider, entry))).collect()
    }

    fn add(&mut self, code: &'static str, session: Option<SessionId>, places: Vec<Place>, text: String) {
        let session = session.map(|session| session.to_string());
        self.differences.push(Difference { code, lacking: None, session, places, text });
    }

    fn lack(
        &mut self,
        code: &'static str,
        party: &PartyId,
        places: Vec<Place>,
        session: Option<SessionId>,
        text: String,
    ) {
        let (lacking, session) = (Some(party.to_string()), session.map(|session| session.to_string()));
        self.differences.push(Difference { code, lacking, session, places, text });
    }
}

fn place(party: &PartyId, entry: u64) -> Place {
    Place { party: party.to_string(), entry }
}
