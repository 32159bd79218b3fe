//! From the plan to sessions with all providers: grants, requests, acceptances, announcements, list and indicator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{TrainBegin, TrainUploaded};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, GrantId, Operation};
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::score::group::Identity;
use windvane_protocols::train::charter::{Charter, Unit, encode_list, list_digest};
use windvane_protocols::train::elgamal::Statistic;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainRequest};
use windvane_protocols::transcript::{Hash, Signed};

use super::answers::Answers;
use super::error::{ANEW, Fault, TrainError};
use super::folder::Document;
use super::job::{Job, blocking};
use super::journal::Fact;
use super::link::{Link, Traffic};
use super::model::Model;
use super::plan::Member;
use super::unit::{JointUnit, each};
use super::{BankStage, TrainRunner};
use crate::clock::is_before;
use crate::functions::{Function, check_job};
use crate::peer::channel;
use crate::policy::is_of_time_or_grant;
use crate::train::grant;

/// Everybody of a training, once all have accepted.
#[derive(Debug)]
pub(super) struct Joint {
    pub(super) units: Vec<Arc<JointUnit>>,
    /// Signed, in the order of units and members.
    pub(super) acceptances: Vec<Signed<TrainAcceptance>>,
    pub(super) traffic: Arc<Traffic>,
    /// Digests of what was uploaded once.
    pub(super) indicator: Hash,
    pub(super) held_out: Hash,
}

impl Joint {
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.units.iter().flat_map(|unit| &unit.links)
    }

    /// What all providers announced, in the charter's order.
    pub(super) fn announcements(&self) -> Vec<Signed<TrainAnnouncement>> {
        self.acceptances.iter().map(|acceptance| acceptance.body().announcement.clone()).collect()
    }
}

/// What a provider is asked with.
#[derive(Debug)]
struct Asked {
    request: Signed<TrainRequest>,
    /// Whether its acceptance is kept, to which others may be bound.
    accepted: bool,
    /// Whether an earlier run signed it.
    earlier: bool,
    /// Grants whose runs are used up, as the provider says.
    used_up: Vec<GrantId>,
}

/// What a provider says of a grant whose runs are used up.
const USED_UP: &str = "GRANT_EXHAUSTED";

impl TrainRunner {
    /// Opens a session with every provider, and brings them everything before the first block.
    pub(super) async fn connect(&self, job: &Arc<Job>) -> Result<Joint, TrainError> {
        let mut requests = self.requests(job).await?;
        BankStage::Requested.reached();
        let traffic = Arc::new(Traffic::default());
        // Once there is a model nothing is left but to ask for receipts, and a provider that gave its own opens no more.
        let is_through = job.folder().path().join(Model::NAME).exists();
        let (links, acceptances) = if is_through {
            (self.links(job, &requests, &traffic)?, kept_acceptances(job)?)
        } else {
            self.open_all(job, &mut requests, &traffic).await?
        };
        let (indicator, held_out) = upload(job, &links, is_through).await?;
        BankStage::Uploaded.reached();
        let units = units(links, &acceptances)?;
        Ok(Joint { units, acceptances, traffic, indicator, held_out })
    }

    /// Opens all sessions, and hands everybody's announcements to everybody. Who has accepted before is asked once all
    /// others have: only then is anything of use to it.
    async fn open_all(
        &self,
        job: &Arc<Job>,
        requests: &mut [Asked],
        traffic: &Arc<Traffic>,
    ) -> Result<(Vec<Vec<Arc<Link>>>, Vec<Signed<TrainAcceptance>>), TrainError> {
        let mut links = self.links(job, requests, traffic)?;
        let mut opened: Vec<Option<Signed<TrainAcceptance>>> = vec![None; requests.len()];
        while opened.contains(&None) {
            let unopened = |accepted: bool| -> Vec<usize> {
                let due = |i: &usize| opened[*i].is_none() && requests[*i].accepted == accepted;
                (0..opened.len()).filter(due).collect()
            };
            let due = Some(unopened(false)).filter(|due| !due.is_empty()).unwrap_or_else(|| unopened(true));
            let all: Vec<_> = links.iter().flatten().cloned().collect();
            let asked = due.iter().map(|i| (all[*i].clone(), requests[*i].request.clone())).collect();
            let mut refused = Vec::new();
            for (i, answer) in due.into_iter().zip(self.open_some(job, asked).await?) {
                match answer {
                    Ok(acceptance) => opened[i] = Some(acceptance),
                    Err(error) if requests[i].accepted => return Err(error.of_accepted()),
                    Err(error) => match self.other_request(job, i, &mut requests[i], &error)? {
                        Some(other) => refused.push((i, error, other)),
                        None => return Err(error),
                    },
                }
            }
            let renewed = !refused.is_empty();
            for (i, error, other) in refused {
                self.renew(job, i, &mut requests[i], error.code(), other).await?;
            }
            if renewed {
                links = self.links(job, requests, traffic)?;
            }
        }
        let acceptances: Vec<_> = opened.into_iter().flatten().collect();
        BankStage::Accepted.reached();
        begin(&requests[0].request.body().charter, &links, &acceptances).await?;
        BankStage::Begun.reached();
        Ok((links, acceptances))
    }

    /// Opens sessions at a time, and keeps every acceptance that comes, whatever the others say.
    async fn open_some(
        &self,
        job: &Arc<Job>,
        asked: Vec<(Arc<Link>, Signed<TrainRequest>)>,
    ) -> Result<Vec<Result<Signed<TrainAcceptance>, TrainError>>, TrainError> {
        self.attempt(job, &asked).await?;
        let opened = asked.into_iter().map(|(link, request)| {
            let job = job.clone();
            async move {
                let answer = link.open(&request).await;
                Ok(answer.and_then(|acceptance| accepted(&job, &link, &request, acceptance)))
            }
        });
        each(opened).await
    }

    /// The signed and logged requests: those of an earlier run, as far as there are such.
    async fn requests(&self, job: &Job) -> Result<Vec<Asked>, TrainError> {
        let charter = self.charter(job)?;
        let mut requests = Vec::new();
        for member in job.checked.members() {
            let known = job.folder().read::<TrainRequest>(&member.party, Document::Request)?;
            let earlier = known.is_some();
            let request = match known {
                Some(request) if request.body().charter == charter => {
                    self.log_request(job, &request).await?;
                    request
                }
                Some(_) => {
                    let path = job.folder().of(&member.party);
                    let what = format!("its request was made for another list or other numbers; {ANEW}");
                    return Err(TrainError::Folder { path, what });
                }
                None => {
                    let request = self.request(job, member, &charter, &[])?;
                    self.sign(job, member, request.ok_or_else(|| missing(job, member))?).await?
                }
            };
            let acceptance = job.folder().read::<TrainAcceptance>(&member.party, Document::Acceptance)?;
            let accepted = acceptance.is_some();
            requests.push(Asked { request, accepted, earlier, used_up: Vec::new() });
        }
        Ok(requests)
    }

    /// Signs a request to a provider; keeps and logs it.
    async fn sign(
        &self,
        job: &Job,
        member: &Member,
        request: TrainRequest,
    ) -> Result<Signed<TrainRequest>, TrainError> {
        let request = Signed::sign(request, self.keys.signing_key());
        job.folder().keep(&member.party, Document::Request, &request)?;
        self.log_request(job, &request).await?;
        Ok(request)
    }

    /// Logs a request unless the journal has that it is logged: a crash may have come after it was kept.
    async fn log_request(&self, job: &Job, request: &Signed<TrainRequest>) -> Result<(), TrainError> {
        let (provider, session) = (request.body().provider.to_string(), request.body().session.to_string());
        if job.folder().state().requested(&provider) == Some(session.as_str()) {
            return Ok(());
        }
        let event = Event::TrainRequested(Box::new(request.clone()));
        self.log.append(self.clock.now_ms(), vec![event]).await?;
        job.folder().note(&Fact::Requested { provider, session })
    }

    /// The request that may mend what one that nobody accepted was refused for: one of now where an earlier run signed it, or
    /// one under another grant where the runs of its own are used up.
    fn other_request(
        &self,
        job: &Job,
        index: usize,
        asked: &mut Asked,
        error: &TrainError,
    ) -> Result<Option<TrainRequest>, TrainError> {
        let (code, refused) = (error.code(), asked.request.body());
        if code == USED_UP {
            asked.used_up.push(refused.grant);
        } else if !asked.earlier || !(is_of_time_or_grant(code) || code == "TRAIN_TERMS") {
            return Ok(None);
        }
        let member = member_of(job, index);
        match self.request(job, member, &refused.charter, &asked.used_up)? {
            None if asked.used_up.is_empty() => Err(missing(job, member)),
            other => Ok(other),
        }
    }

    /// Gives a refused request up, which binds nobody, and signs the other one.
    async fn renew(
        &self,
        job: &Job,
        index: usize,
        asked: &mut Asked,
        code: &str,
        other: TrainRequest,
    ) -> Result<(), TrainError> {
        let member = member_of(job, index);
        let (session, peer) = (Some(asked.request.body().session), member.party.clone());
        let event = Event::Failed { session, peer, code: code.to_owned() };
        self.log.append(self.clock.now_ms(), vec![event]).await?;
        let request = self.sign(job, member, other).await?;
        let used_up = std::mem::take(&mut asked.used_up);
        *asked = Asked { request, accepted: false, earlier: false, used_up };
        Ok(())
    }

    fn charter(&self, job: &Job) -> Result<Charter, TrainError> {
        let mut units = Vec::with_capacity(job.checked.units.len());
        for unit in &job.checked.units {
            let identity = |member: &Member| {
                let party = member.party.clone();
                Ok(Identity { key: self.partner(&party)?.receipt_key, party })
            };
            units.push(Unit { members: unit.iter().map(identity).collect::<Result<_, TrainError>>()? });
        }
        let charter = Charter {
            training: job.folder().training(),
            requester: self.keys.party.clone(),
            units,
            hyperparameters: job.checked.hyperparameters,
            decoy_factor: job.checked.plan.decoy_factor,
            held_out: job.checked.plan.held_out,
            universe: *job.universe.digest(),
            rows: job.listed.rows() as u64,
            list: list_digest(job.universe.digest(), job.listed.positions()),
            public_key: *job.key.public().as_bytes(),
            model: job.checked.plan.name.clone(),
        };
        charter.check()?;
        let pins = job.checked.members().map(|member| (member.party.clone(), member.pinned)).collect();
        charter.hold_against(&pins)?;
        Ok(charter)
    }

    pub(super) fn partner(&self, party: &PartyId) -> Result<Arc<Partner>, TrainError> {
        check_job(&self.config, &self.store, Function::Training, party)?;
        let missing = || TrainError::given("PARTNER_MISSING", format!("{party} is not enrolled here"));
        self.partners.find(party).ok_or_else(missing)
    }

    /// A request under a fresh session and the grant of now, none of those that are used up; `None` where there is no other.
    fn request(
        &self,
        job: &Job,
        member: &Member,
        charter: &Charter,
        used_up: &[GrantId],
    ) -> Result<Option<TrainRequest>, TrainError> {
        let (now_ms, session) = (self.clock.now_ms(), SessionId::from_bytes(rand::random()));
        let under = |grant: &Grant| TrainRequest {
            session,
            charter: charter.clone(),
            provider: member.party.clone(),
            grant: grant.id,
            purpose: job.checked.plan.purpose.clone(),
            data_set: member.data_set.clone(),
            seed: job.secrets.commitment(member.party.as_str()),
            software: self.software,
            configuration: self.configuration,
            requested_at_ms: now_ms,
        };
        Ok(grant::choose(&self.grants(job, member)?, used_up, now_ms, under))
    }

    /// The grants for the training's purpose that were not ended, the newest last.
    fn grants(&self, job: &Job, member: &Member) -> Result<Vec<Grant>, TrainError> {
        let partner = self.partner(&member.party)?;
        let mut grants = Vec::new();
        let providers = job.checked.members().count();
        for stored in self.store.grants()?.into_iter().filter(|g| !g.issued && g.ended_at_ms.is_none()) {
            let signed = Signed::<Grant>::from_bytes_unverified(stored.signed);
            let signed = signed.map_err(|error| TrainError::from(crate::error::NodeError::from(error)))?;
            let body = signed.body();
            let ours = body.provider == member.party
                && body.requester == self.keys.party
                && body.data_sets.contains(&member.data_set)
                && body.operations.contains(&Operation::Train)
                && body.purposes.contains(&job.checked.plan.purpose)
                && grant::fits(&body.train, providers);
            if ours && signed.verify(&partner.receipt_key) {
                grants.push(body.clone());
            }
        }
        Ok(grants)
    }

    /// The ways to all providers, by unit.
    fn links(
        &self,
        job: &Job,
        requests: &[Asked],
        traffic: &Arc<Traffic>,
    ) -> Result<Vec<Vec<Arc<Link>>>, TrainError> {
        let idle = Duration::from_secs(job.checked.plan.idle_s.max(1));
        let mut requests = requests.iter();
        let link = |member: &Member, alone| {
            let request = &requests.next().expect("there is one for every member").request;
            let configured =
                self.config.providers.iter().find(|config| config.party == member.party.as_str());
            let configured = configured.ok_or_else(|| {
                let message = format!("the configuration has no [[provider]] {}", member.party);
                TrainError::given("PROVIDER_UNKNOWN", message)
            })?;
            let channel = channel(&self.certificate, &member.party, &configured.address)?;
            let answers = Answers::open(&job.folder().of(&member.party))?;
            let (partner, session) = (self.partner(&member.party)?, request.body().session);
            Ok(Arc::new(Link::new(partner, session, alone, channel, answers, idle, traffic.clone())))
        };
        let mut link = link;
        let mut unit = |members: &Vec<Member>| -> Result<Vec<_>, TrainError> {
            members.iter().map(|member| link(member, members.len() == 1)).collect()
        };
        job.checked.units.iter().map(&mut unit).collect()
    }

    /// Notes and logs that these sessions are opened once more. How often they may be is for their providers to count: one
    /// that cannot be reached counts nothing.
    async fn attempt(
        &self,
        job: &Job,
        asked: &[(Arc<Link>, Signed<TrainRequest>)],
    ) -> Result<(), TrainError> {
        let (mut events, at_ms) = (Vec::new(), self.clock.now_ms());
        for (link, _) in asked {
            let provider = link.party().to_string();
            let number = job.folder().state().attempts(&provider) + 1;
            job.folder().note(&Fact::Attempt { provider, number, at_ms })?;
            events.push(Event::TrainAttempted { session: link.session, peer: link.party().clone(), number });
        }
        Ok(self.log.append(at_ms, events).await?)
    }
}

/// Whom a request by its index is for.
fn member_of(job: &Job, index: usize) -> &Member {
    job.checked.members().nth(index).expect("there is a request for every member")
}

/// A provider granted nothing that a training could be under.
fn missing(job: &Job, member: &Member) -> TrainError {
    let alone = job.checked.members().count() == 1;
    let (with, option) = if alone { (" with it alone", " and --train-alone") } else { ("", "") };
    let message = format!(
        "{} granted no training{with} on {} for this purpose; ask it for one with --train-runs{option}",
        member.party, member.data_set
    );
    TrainError::given("GRANT_MISSING", message)
}

/// Checks an acceptance, and that it is the same every time.
fn accepted(
    job: &Job,
    link: &Link,
    request: &Signed<TrainRequest>,
    acceptance: Signed<TrainAcceptance>,
) -> Result<Signed<TrainAcceptance>, TrainError> {
    let refuse = |what| Err(TrainError::of(link.party(), "opening the session")(Fault::Acceptance { what }));
    if !acceptance.verify(&link.partner.receipt_key) {
        return refuse("it is not signed by the provider");
    }
    if acceptance.body().request != *request {
        return refuse("it is about another request");
    }
    if is_before(acceptance.body().accepted_at_ms, request.body().requested_at_ms) {
        return refuse("it is of a time before the request");
    }
    let known = job.folder().read::<TrainAcceptance>(link.party(), Document::Acceptance)?;
    match known {
        Some(known) if known != acceptance => return refuse("it is another than before"),
        Some(_) => {}
        None => job.folder().keep(link.party(), Document::Acceptance, &acceptance)?,
    }
    Ok(acceptance)
}

/// The acceptances of a training whose blocks are through.
fn kept_acceptances(job: &Job) -> Result<Vec<Signed<TrainAcceptance>>, TrainError> {
    let kept = |member: &Member| {
        let folder = job.folder();
        let kept = folder.read::<TrainAcceptance>(&member.party, Document::Acceptance)?;
        let (path, what) = (folder.of(&member.party), format!("its acceptance is not there; {ANEW}"));
        kept.ok_or(TrainError::Folder { path, what })
    };
    job.checked.members().map(kept).collect()
}

/// Hands everybody's announcements to everybody.
async fn begin(
    charter: &Charter,
    links: &[Vec<Arc<Link>>],
    acceptances: &[Signed<TrainAcceptance>],
) -> Result<(), TrainError> {
    let announcements: Vec<_> =
        acceptances.iter().map(|acceptance| acceptance.body().announcement.clone()).collect();
    charter.check_announcements(&announcements).map_err(|error| {
        let parties = links.iter().flatten().map(|link| link.party().as_str());
        let providers = parties.collect::<Vec<_>>().join(", ");
        TrainError::Provider { providers, stage: "announcements", fault: error.into() }
    })?;
    let begun = links.iter().flatten().map(|link| {
        let begin = TrainBegin { session: link.session, announcements: announcements.clone() };
        let link = link.clone();
        async move { link.begin(&begin).await }
    });
    each(begun).await.map(drop)
}

/// Uploads what is the same for the whole training; gives the digests of both statistics.
async fn upload(
    job: &Arc<Job>,
    links: &[Vec<Arc<Link>>],
    is_through: bool,
) -> Result<(Hash, Hash), TrainError> {
    let list = Bytes::from(encode_list(job.listed.positions()));
    let list_digest = list_digest(job.universe.digest(), job.listed.positions());
    let (indicator, held_out) = blocking(job, |job| Ok((job.indicator()?, job.held_out()?))).await?;
    // A provider that has answered about a block has all of it.
    let there = is_through || !job.folder().state().blocks.is_empty();
    let uploads = links.iter().flatten().map(|link| {
        let (link, list, indicator, held_out) =
            (link.clone(), list.clone(), indicator.clone(), held_out.clone());
        async move {
            if there {
                return Ok(());
            }
            link.upload(TrainUploaded::List, &list, &list_digest, "uploading the list").await?;
            for (statistic, (bytes, digest), what) in [
                (Statistic::Indicator, indicator, "uploading the indicator"),
                (Statistic::HeldOut, held_out, "uploading the held-out rows"),
            ] {
                link.upload(TrainUploaded::Statistic(statistic), &bytes, &digest, what).await?;
            }
            Ok(())
        }
    });
    each(uploads).await?;
    Ok((indicator.1, held_out.1))
}

fn units(
    links: Vec<Vec<Arc<Link>>>,
    acceptances: &[Signed<TrainAcceptance>],
) -> Result<Vec<Arc<JointUnit>>, TrainError> {
    let mut rest = acceptances;
    let unit = |links: Vec<Arc<Link>>| {
        let (own, others) = rest.split_at(links.len());
        rest = others;
        let first = own[0].body();
        for (link, acceptance) in links.iter().zip(own) {
            if acceptance.body().bins != first.bins {
                let what = "it has other bins than the other members of its unit";
                return Err(TrainError::of(link.party(), "opening the session")(Fault::Acceptance { what }));
            }
        }
        Ok(Arc::new(JointUnit::new(links, first.bins.clone(), first.names.clone())))
    };
    links.into_iter().map(unit).collect()
}
