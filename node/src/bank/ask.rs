//! One session with one provider, from the logged request to the opened rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tonic::{Request, Status};
use windvane_proto::convert::WireError;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{EvaluateRequest, EvaluateResponse};
use windvane_protocols::audit::entry::{Asked, Entry, Event};
use windvane_protocols::audit::receipt::Receipt;
use windvane_protocols::identity::Family;
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::lookup::carries_label;
use windvane_protocols::lookup::client::{
    Answer, AnswerError, AwaitAnswer, Customer, Opened, Question, ScoreTerms, Terms, ask,
};
use windvane_protocols::lookup::request::ScoreReply;
use windvane_protocols::lookup::row::RowKeys;
use windvane_protocols::lookup::schema::Decoded;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::contract::{Contract, LookupPart, SessionTerms};
use super::score::ScoreQuestion;
use super::{BankError, Inquiry, retry, together};
use crate::error::PeerError;
use crate::observe::Observer;
use crate::observe::trace::carry;
use crate::provider::Shared;
use crate::snapshot::Snapshot;
use crate::verification::{Presence, ProviderAnswer, Question as Fields};

/// Customers up to which the cryptography runs where the call is; more go to the blocking pool.
const INLINE_CUSTOMERS: usize = 8;

/// The code of an answer that is not what it should be.
const MALFORMED: &str = "ANSWER_MALFORMED";

/// What came of one session.
#[derive(Debug)]
pub(super) struct Run {
    provider: PartyId,
    session: SessionId,
    /// Opens the session's commitments; kept sealed.
    pub(super) seed: Secret<[u8; 32]>,
    leaves: Vec<[u8; 64]>,
    receipt: Option<Signed<Receipt>>,
    failure: Option<String>,
    /// One for every customer, in order; none where nobody was looked up.
    pub(super) answers: Vec<ProviderAnswer>,
    /// What became of the score, where the session asked for one.
    pub(super) score: Option<ScoreReply>,
}

impl Run {
    /// A fresh session of a question that is made now.
    fn new(provider: &PartyId, now_ms: u64) -> Self {
        Self {
            provider: provider.clone(),
            session: SessionId::dated(now_ms, &mut rand::rng()),
            seed: Secret::new(rand::random()),
            leaves: Vec::new(),
            receipt: None,
            failure: None,
            answers: Vec::new(),
            score: None,
        }
    }

    /// Who was asked.
    pub(super) const fn provider(&self) -> &PartyId {
        &self.provider
    }

    /// What the log is told of the session's end.
    pub(super) fn event(&self) -> Event {
        match &self.receipt {
            Some(receipt) => Event::Answered(Box::new(receipt.clone())),
            None => Event::Failed {
                session: self.was_asked().then_some(self.session),
                peer: self.provider.clone(),
                code: self.failure.clone().unwrap_or_default(),
            },
        }
    }

    /// The receipt to countersign.
    pub(super) fn receipt_digest(&self) -> Option<(String, Hash)> {
        self.receipt.as_ref().map(|receipt| (self.provider.to_string(), receipt.digest()))
    }

    /// A customer's place in the session, where there was one.
    pub(super) fn asked(&self, customer: usize) -> Option<Asked> {
        let leaf = *self.leaves.get(customer)?;
        Some(Asked { session: self.session, index: customer as u64, leaf })
    }

    /// The session, for the sealed record.
    pub(super) const fn session(&self) -> SessionId {
        self.session
    }

    fn was_asked(&self) -> bool {
        !self.leaves.is_empty()
    }
}

/// A session whose question is made and not yet sent, or cannot be made.
#[derive(Debug)]
pub(super) struct Prepared {
    run: Run,
    contract: Arc<Contract>,
    inquiries: Arc<[Inquiry]>,
    requested_at_ms: u64,
    looks_up: bool,
    scores: bool,
    question: Result<Asking, String>,
}

/// A provider and what a session with it runs under, or the code of what is missing.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) contract: Arc<Contract>,
    /// Whether customers are looked up in it; one without lookups is for the score alone.
    pub(super) looks_up: bool,
    pub(super) terms: Result<SessionTerms, &'static str>,
}

#[derive(Debug)]
struct Asking {
    terms: SessionTerms,
    wait: AwaitAnswer,
    question: Question,
}

/// Makes the questions for all providers: those about a few customers together, in the time that one takes;
/// larger ones beside each other on the blocking pool. That a provider cannot be asked is a result.
pub(super) async fn prepare(
    shared: &Shared,
    sessions: Vec<Session>,
    score: Option<Arc<ScoreQuestion>>,
    inquiries: &Arc<[Inquiry]>,
) -> Result<Vec<Prepared>, BankError> {
    if inquiries.len() <= INLINE_CUSTOMERS {
        return Ok(make(shared, sessions, score.as_deref(), inquiries));
    }
    let make = |session: Session| {
        let (shared, score, inquiries) = (shared.clone(), score.clone(), inquiries.clone());
        offload(inquiries.len(), move || make(&shared, vec![session], score.as_deref(), &inquiries))
    };
    Ok(together(sessions.into_iter().map(make)).await?.into_iter().flatten().collect())
}

fn make(
    shared: &Shared,
    sessions: Vec<Session>,
    score: Option<&ScoreQuestion>,
    inquiries: &Arc<[Inquiry]>,
) -> Vec<Prepared> {
    let requested_at_ms = shared.clock.now_ms();
    let run = |session: &Session| Run::new(session.contract.party(), requested_at_ms);
    let runs: Vec<_> = sessions.iter().map(run).collect();
    let asking = runs.iter().zip(&sessions).filter_map(|(run, session)| {
        let terms = session.terms.as_ref().ok()?;
        Some(Terms {
            requester: &shared.keys.party,
            provider: &run.provider,
            grant: terms.grant.id,
            purpose: &inquiries[0].purpose,
            lookup: terms.lookup.as_ref().map(LookupPart::terms),
            score: score.filter(|_| terms.scores).map(|score| ScoreTerms {
                group: &score.group,
                epoch: score.epoch,
                question: &score.question,
            }),
            session: run.session,
            seed: &run.seed,
        })
    });
    let customers = inquiries.iter().map(|inquiry| Customer {
        person: &inquiry.person,
        ticket: inquiry.ticket.as_bytes(),
        consent: inquiry.consent.as_bytes(),
    });
    let (asking, customers): (Vec<_>, Vec<_>) = (asking.collect(), customers.collect());
    let key = shared.keys.signing_key();
    let mut asked = ask(&asking, &customers, requested_at_ms, key, &mut rand::rng()).into_iter();
    let prepare = |(Session { contract, looks_up, terms }, mut run): (Session, Run)| {
        let scores = terms.as_ref().map_or(!looks_up, |terms| terms.scores);
        let question = terms.map_err(str::to_owned).and_then(|terms| {
            let asked = asked.next().expect("there is a result for each session");
            let (wait, question) = asked.map_err(|error| {
                tracing::error!(code = "ASK_FAILED", %error, "a question could not be made");
                "ASK_FAILED".to_owned()
            })?;
            run.leaves = wait.leaves().to_vec();
            Ok(Asking { terms, wait, question })
        });
        let inquiries = inquiries.clone();
        Prepared { run, contract, inquiries, requested_at_ms, looks_up, scores, question }
    };
    sessions.into_iter().zip(runs).map(prepare).collect()
}

impl Prepared {
    /// What must be durable before the question leaves.
    pub(super) fn entry(&self) -> Option<Vec<u8>> {
        let asking = self.question.as_ref().ok()?;
        let event = Event::Requested(asking.question.request.clone());
        Some(Entry::new(self.requested_at_ms, event).encode().into_bytes())
    }

    /// The session whose request that is.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.question.is_ok().then_some(self.run.session)
    }

    /// Asks and reads the answer until the deadline. A provider's failure is a result.
    pub(super) async fn converse(self, observer: Arc<Observer>, deadline: Instant) -> Result<Run, BankError> {
        let Self { mut run, contract, inquiries, looks_up, scores, question, .. } = self;
        let (asked, begun) = (question.is_ok(), Instant::now());
        let work = observer.asking("windvane.lookup.v1.Lookup/Evaluate");
        work.with_peer(run.provider.as_str());
        let outcome = match question {
            Ok(asking) => work.within(asking.converse(&contract, &inquiries, deadline)).await?,
            Err(code) => Err(code),
        };
        let took = asked.then(|| begun.elapsed());
        let code = outcome.as_ref().err().map_or("OK", String::as_str);
        observer.metrics.asked(run.provider.as_str(), code, took);
        if outcome.is_err() {
            work.fail(code);
        }
        match outcome {
            Ok(finished) => {
                (run.receipt, run.answers, run.score) =
                    (Some(finished.receipt), finished.answers, finished.score);
            }
            Err(code) => {
                let (provider, session) = (run.provider.as_str(), run.session);
                tracing::warn!(code, provider, %session, "a provider gave no answer");
                let unavailable = || ProviderAnswer::unavailable(provider, &code);
                run.answers = inquiries.iter().filter(|_| looks_up).map(|_| unavailable()).collect();
                run.score = scores.then(|| ScoreReply::Refused(code.clone()));
                run.failure = Some(code);
            }
        }
        Ok(run)
    }
}

impl Asking {
    /// The inner result is the provider's failure code.
    async fn converse(
        self,
        contract: &Contract,
        inquiries: &Arc<[Inquiry]>,
        deadline: Instant,
    ) -> Result<Result<Finished, String>, BankError> {
        let Self { terms, wait, question } = self;
        let response = match call(contract, &question, deadline).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.code)),
        };
        let inquiries = inquiries.clone();
        let finished = offload(inquiries.len(), move || finish(&terms, &inquiries, wait, response)).await?;
        Ok(finished.map_err(str::to_owned))
    }
}

/// Runs cryptography for some customers where the call is, or on the blocking pool.
pub(super) async fn offload<T: Send + 'static>(
    customers: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BankError> {
    if customers <= INLINE_CUSTOMERS {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| BankError::internal())
}

async fn call(
    contract: &Contract,
    question: &Question,
    deadline: Instant,
) -> Result<EvaluateResponse, PeerError> {
    if deadline <= Instant::now() {
        // The time went by before anybody was asked: that says nothing of the provider.
        return Err(PeerError::from(&late()));
    }
    let (message, mut attempt) = (EvaluateRequest::from(question), 0);
    loop {
        attempt += 1;
        let status = match attempted(contract, message.clone(), deadline).await {
            Ok(response) => {
                contract.breaker().answered(Instant::now());
                return Ok(response);
            }
            Err(status) => status,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(pause) = retry::pause(&status, attempt, left) {
            tokio::time::sleep(pause).await;
            continue;
        }
        let mut error = PeerError::from(&status);
        if WireError::of(&status).is_some() {
            // It came, and was not decoded.
            MALFORMED.clone_into(&mut error.code);
        }
        if !retry::is_outage(&status) {
            contract.breaker().answered(Instant::now());
        } else if contract.breaker().failed(Instant::now(), &error.code) {
            tracing::warn!(code = "CIRCUIT_OPEN", provider = %contract.party(), last = error.code,
                "a provider that does not answer is not asked for a while");
        }
        return Err(error);
    }
}

/// The same session's bytes every time: a provider answers them once.
async fn attempted(
    contract: &Contract,
    message: EvaluateRequest,
    deadline: Instant,
) -> Result<EvaluateResponse, Status> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut client = LookupClient::new(contract.channel())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut request = Request::new(message);
    request.set_timeout(left);
    carry(&mut request);
    let response = tokio::time::timeout(left, client.evaluate(request)).await.map_err(|_| late())??;
    Ok(response.into_inner())
}

pub(super) fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// What a session gave.
struct Finished {
    receipt: Signed<Receipt>,
    answers: Vec<ProviderAnswer>,
    score: Option<ScoreReply>,
}

fn finish(
    terms: &SessionTerms,
    inquiries: &[Inquiry],
    wait: AwaitAnswer,
    response: EvaluateResponse,
) -> Result<Finished, &'static str> {
    let answer = Answer::try_from(response).map_err(|_| MALFORMED)?;
    let opened = wait.on_answer(answer, &terms.partner.receipt_key).map_err(code)?;
    let Opened { receipt, customers, score, .. } = opened;
    let session = receipt.body().request.body().session.to_string();
    let reader = terms.lookup.as_ref().map(|part| Reader { terms, part, session: &session });
    let read = |reader: Reader<'_>| {
        customers.iter().zip(inquiries).map(|(keys, inquiry)| reader.read(inquiry, keys)).collect()
    };
    Ok(Finished { receipt, answers: reader.map(read).unwrap_or_default(), score })
}

/// Reads the rows that a session opened.
#[derive(Clone, Copy)]
struct Reader<'a> {
    terms: &'a SessionTerms,
    part: &'a LookupPart,
    session: &'a str,
}

const fn code(error: AnswerError) -> &'static str {
    match error {
        AnswerError::KeyMismatch => "KEY_MISMATCH",
        AnswerError::ProofInvalid => "PROOF_INVALID",
        AnswerError::ReceiptInvalid => "RECEIPT_INVALID",
        _ => MALFORMED,
    }
}

impl Reader<'_> {
    /// One customer's rows in words. A damaged row is reported here and in the report, never to the provider.
    fn read(self, inquiry: &Inquiry, keys: &[(Family, RowKeys)]) -> ProviderAnswer {
        let Self { terms, part: LookupPart { snapshot, families }, session } = self;
        let provider = terms.partner.party.as_str();
        let mut found = BTreeMap::new();
        let mut words = Decoded::default();
        for (family, keys) in keys {
            let label = match open(snapshot, keys) {
                Ok(label) => label,
                Err(code) => {
                    tracing::error!(code, provider, session, "a row of the snapshot cannot be used");
                    return ProviderAnswer {
                        receipt: Some(session.to_owned()),
                        ..ProviderAnswer::unavailable(provider, code)
                    };
                }
            };
            found.insert(*family, label.is_some());
            if let Some(label) = label.filter(|_| carries_label(*family)) {
                match snapshot.manifest().body().schema.unpack(&label) {
                    Ok(label) => words = snapshot.manifest().body().schema.decode(&label),
                    Err(_) => return ProviderAnswer::unavailable(provider, "LABEL_MALFORMED"),
                }
            }
        }
        let presence = |family| families.contains(&family).then(|| found.get(&family) == Some(&true));
        let presence = Presence {
            number: presence(Family::Phone),
            number_id: presence(Family::PhoneId),
            number_name: presence(Family::PhoneName),
            all: presence(Family::PhoneIdName),
        };
        let fields = Fields { name: inquiry.person.name.is_some(), id: inquiry.person.document.is_some() };
        let permitted =
            |name: &str| terms.grant.columns.is_empty() || terms.grant.columns.iter().any(|c| c == name);
        ProviderAnswer {
            attributes: words.attributes.into_iter().filter(|(name, _)| permitted(name)).collect(),
            tags: if permitted("tags") { words.tags.into_iter().collect() } else { Default::default() },
            valid_on: words.dates.get("valid_on").map(|days| date(*days)),
            receipt: Some(session.to_owned()),
            ..ProviderAnswer::new(provider, presence.verdict(fields))
        }
    }
}

fn open(snapshot: &Snapshot, keys: &RowKeys) -> Result<Option<Vec<u8>>, &'static str> {
    let rows = snapshot.rows(keys.locator()).map_err(|_| "SNAPSHOT_UNREADABLE")?;
    let table = snapshot.pages().table();
    let rows: Vec<_> = rows.chunks_exact(table.row_bytes()).collect();
    keys.open(table, |index| snapshot.chain().publication(index), &rows).map_err(|_| "ROW_CORRUPT")
}

/// Days since 2000-01-01 as an ISO date.
fn date(days: u64) -> String {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let start = jiff::civil::date(2000, 1, 1);
    start.checked_add(jiff::Span::new().try_days(days).unwrap_or_default()).unwrap_or(start).to_string()
}
