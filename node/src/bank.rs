//! The bank's side of the node: asks every contracted provider at once and answers with what came in time.
//!
//! Every provider gets a request of the same shape, a fresh session and fresh salts. A request is durable in
//! the log before it leaves; receipts and results are durable before the caller has its answer.
//! Countersignatures follow in batches, off the hot path and at times that tell nothing of a result.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::Record as _;

use crate::clock::rfc3339;
use crate::config::{Config, ScoreConfig, VerificationConfig};
use crate::error::{NodeError, Refusal};
use crate::evidence::LogError;
use crate::functions::Function;
use crate::http::Idempotency;
use crate::observe::trace::FutureExt as _;
use crate::provider::Shared;
use crate::risk::{Facts, Rules, Vocabulary, decide};
use crate::store::{PendingReceipt, VerificationWriter};
use crate::verification::{MatchResult, ScoreReport, VerificationReport, merge};

mod ask;
mod breaker;
mod contract;
mod countersign;
pub mod fetch;
pub(crate) mod granted;
mod inquiry;
mod interrupted;
mod record;
mod reload;
mod retry;
mod score;
pub mod stage;

pub use breaker::BreakerSnapshot;
pub(crate) use breaker::CIRCUIT_OPEN;
pub use contract::Contract;
pub(crate) use countersign::Round;
pub(crate) use inquiry::Keyed;
pub use inquiry::{BankError, BankErrorKind, Inquiry};

use ask::{Prepared, Run, Session};
use breaker::Breaker;
pub(crate) use interrupted::INTERRUPTED;
use interrupted::Running;
use record::{Sealer, Subject};
use score::{Active, Planned, Restrictions, Scores};
use stage::Stage;

/// Customers of one call, as one session with each provider.
pub const MAX_BATCH: usize = windvane_protocols::limits::MAX_CUSTOMERS_PER_SESSION;

/// The code of a score that was asked for while no group is active.
pub(crate) const SCORE_INACTIVE: &str = "SCORE_INACTIVE";

/// Token digest and name of a caller of the REST interface.
type Caller = ([u8; 32], String);

/// What a call asks about its customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Everything: lookups, and the score where a group is active.
    Verification,
    /// The score alone.
    Score,
}

impl Asked {
    /// The name in metrics.
    const fn kind(self, customers: usize) -> &'static str {
        match (self, customers) {
            (Self::Score, _) => "score",
            (Self::Verification, 1) => "single",
            (Self::Verification, _) => "batch",
        }
    }
}

/// The bank.
#[derive(Debug)]
pub struct Bank {
    shared: Shared,
    config: VerificationConfig,
    rules: Rules,
    contracts: RwLock<Arc<Vec<Arc<Contract>>>>,
    scoring: RwLock<Arc<Active>>,
    restrictions: RwLock<Arc<Restrictions>>,
    score: ScoreConfig,
    callers: RwLock<Arc<Vec<Caller>>>,
    writer: VerificationWriter,
    running: Running,
    sealer: Arc<Sealer>,
    idempotency: Idempotency,
}

impl Bank {
    /// Loads rules, contracts and callers.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn start(shared: Shared, config: &Config) -> Result<Self, NodeError> {
        let rules = match &config.verification.rules {
            Some(path) => Rules::load(path, &Vocabulary::carrier())?,
            None => Rules::shipped(),
        };
        // One for all contracts with a provider.
        let mut breakers: HashMap<&str, Arc<Breaker>> = HashMap::new();
        let mut contracts = Vec::with_capacity(config.providers.len());
        for provider in &config.providers {
            let new = || Arc::new(Breaker::new(config.breaker.clone()));
            let breaker = breakers.entry(&provider.party).or_insert_with(new).clone();
            contracts.push(Arc::new(Contract::new(&shared.tls, provider, breaker)?));
        }
        let bank = Self {
            config: config.verification.clone(),
            rules,
            contracts: RwLock::new(Arc::new(contracts)),
            scoring: RwLock::default(),
            restrictions: RwLock::default(),
            score: config.score.clone(),
            callers: RwLock::default(),
            writer: VerificationWriter::start(&shared.layout.state())?,
            running: Running::default(),
            sealer: Arc::new(Sealer::new(&shared.keys)),
            idempotency: Idempotency::new(
                shared.store.clone(),
                shared.clock.clone(),
                shared.keys.lookup.secret(),
                config.http.as_ref().map_or(0, |http| http.idempotency_minutes * 60_000),
            ),
            shared,
        };
        interrupted::explain(&bank.shared)?;
        bank.reload()?;
        Ok(bank)
    }

    /// Why the active scoring group cannot be used, where it cannot: group and code.
    pub fn score_failure(&self) -> Option<(String, String)> {
        let active = self.active();
        active.failure.as_ref().map(|report| (report.group.clone(), report.error.clone().unwrap_or_default()))
    }

    /// How each provider is asked at this moment, for health and metrics.
    pub fn breakers(&self) -> Vec<BreakerSnapshot> {
        let mut all: Vec<_> = self.contracts().iter().map(|contract| contract.breaker_snapshot()).collect();
        all.dedup_by(|a, b| a.provider == b.provider);
        all
    }

    /// What was answered under which idempotency key.
    pub const fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    /// The name of the caller that was admitted with this token.
    ///
    /// # Errors
    /// None at present; the state was read beforehand.
    #[expect(clippy::unused_async, reason = "callers may come from another store later")]
    pub async fn user_of_token(&self, token_sha256: [u8; 32]) -> Result<Option<String>, BankError> {
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner).clone();
        // The digest of a 256-bit random token is no secret that timing could help to guess.
        Ok(callers.iter().find(|(digest, _)| *digest == token_sha256).map(|(_, name)| name.clone()))
    }

    /// Answers one question.
    ///
    /// # Errors
    /// [`BankError`] when there is no durable answer; a missing provider is part of an answer.
    pub async fn verify(&self, inquiry: Inquiry) -> Result<VerificationReport, BankError> {
        self.verify_under(None, inquiry).await
    }

    /// [`Self::verify`] under a key.
    pub(crate) async fn verify_under(
        &self,
        keyed: Option<Keyed>,
        inquiry: Inquiry,
    ) -> Result<VerificationReport, BankError> {
        self.check_function(Function::Verification)?;
        let deadline_ms = self.config.deadline_ms;
        let mut reports = self.run(vec![inquiry], Asked::Verification, deadline_ms, keyed).await?;
        reports.pop().ok_or_else(BankError::internal)
    }

    /// Answers 1 to 4,096 questions of one purpose, in order.
    ///
    /// # Errors
    /// [`BankError`].
    pub async fn verify_batch(&self, inquiries: Vec<Inquiry>) -> Result<Vec<VerificationReport>, BankError> {
        self.verify_batch_under(None, inquiries).await
    }

    /// [`Self::verify_batch`] under a key.
    pub(crate) async fn verify_batch_under(
        &self,
        keyed: Option<Keyed>,
        inquiries: Vec<Inquiry>,
    ) -> Result<Vec<VerificationReport>, BankError> {
        self.check_function(Function::Verification)?;
        self.check_function(Function::Batches)?;
        check_batch(&inquiries)?;
        self.run(inquiries, Asked::Verification, self.config.batch_deadline_ms, keyed).await
    }

    /// Scores 1 to 4,096 customers of one purpose, in order, and asks nothing else about them.
    ///
    /// # Errors
    /// [`BankError`]; `SCORE_INACTIVE` when no scoring group is active.
    pub async fn score_batch(&self, inquiries: Vec<Inquiry>) -> Result<Vec<VerificationReport>, BankError> {
        self.score_batch_under(None, inquiries).await
    }

    /// [`Self::score_batch`] under a key.
    pub(crate) async fn score_batch_under(
        &self,
        keyed: Option<Keyed>,
        inquiries: Vec<Inquiry>,
    ) -> Result<Vec<VerificationReport>, BankError> {
        self.check_function(Function::Scoring)?;
        self.check_function(Function::Batches)?;
        check_batch(&inquiries)?;
        self.run(inquiries, Asked::Score, self.config.batch_deadline_ms, keyed).await
    }

    /// A stored report.
    ///
    /// # Errors
    /// [`BankError`] when the state cannot be read, or the record is damaged.
    pub async fn report(&self, id: &str) -> Result<Option<VerificationReport>, BankError> {
        let Some(id) = hex::decode(id).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) else {
            return Ok(None);
        };
        let store = self.shared.store.clone();
        let row = tokio::task::spawn_blocking(move || store.verification(&id)).await;
        let row = row.map_err(|_| BankError::internal())??;
        row.map(|row| self.sealer.open(&row)).transpose()
    }

    /// Countersigns what waits, for every provider beside the others.
    pub async fn countersign(&self) {
        countersign::turn(&self.shared, &self.contracts()).await;
    }

    /// Receipts of a provider that wait for their countersignature, at most `limit`.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn uncountersigned(&self, provider: &str, limit: usize) -> Result<Vec<PendingReceipt>, NodeError> {
        Ok(self.shared.store.uncountersigned(provider, limit)?)
    }

    /// Keeps how far the log's requests have their ends, so that the next start looks at less of it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn persist(&self) -> Result<(), NodeError> {
        Ok(self.shared.store.put_explained(self.running.ended(&self.shared.log))?)
    }

    /// Explains to the log what calls that failed left in it, and leaves their receipts to the next countersignature.
    /// Blocks.
    ///
    /// # Errors
    /// [`NodeError`]; it is tried again the next time.
    pub fn explain_failed(&self) -> Result<(), NodeError> {
        interrupted::explain_failed(&self.shared, &self.running)
    }

    /// Records that are being written.
    pub fn records_waiting(&self) -> usize {
        self.writer.waiting()
    }

    fn check_function(&self, function: Function) -> Result<(), BankError> {
        let off = |refusal: Refusal| BankError::unavailable(refusal.code(), &refusal.to_string());
        self.shared.functions.check(function).map_err(off)
    }

    fn active(&self) -> Arc<Active> {
        self.scoring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The contracts as they stand now.
    pub(crate) fn contracts(&self) -> Arc<Vec<Arc<Contract>>> {
        self.contracts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn run(
        &self,
        inquiries: Vec<Inquiry>,
        asked: Asked,
        deadline_ms: u64,
        keyed: Option<Keyed>,
    ) -> Result<Vec<VerificationReport>, BankError> {
        let begun = Instant::now();
        let (observer, kind) = (self.shared.observer.clone(), asked.kind(inquiries.len()));
        let work = observer.work("verification");
        work.tell("windvane.kind", kind);
        work.tell("windvane.customers", i64::try_from(inquiries.len()).unwrap_or(i64::MAX));
        let reports = work.within(self.answer(inquiries, asked, deadline_ms, keyed, begun)).await;
        match &reports {
            Ok(reports) => {
                observer.metrics.answered(kind, begun.elapsed());
                for report in reports {
                    observer.metrics.decided(report.result.as_str(), report.decision.colour.as_str());
                }
            }
            Err(error) => work.fail(error.code),
        }
        reports
    }

    async fn answer(
        &self,
        inquiries: Vec<Inquiry>,
        asked: Asked,
        deadline_ms: u64,
        keyed: Option<Keyed>,
        begun: Instant,
    ) -> Result<Vec<VerificationReport>, BankError> {
        let contracts = self.contracts();
        if contracts.is_empty() {
            return Err(BankError::unavailable("NO_PROVIDER", "no provider is configured"));
        }
        let inquiries: Arc<[Inquiry]> = inquiries.into();
        let deadline = begun + std::time::Duration::from_millis(deadline_ms);
        // What needs no question and no answer is done beside them.
        let subjects = tokio::spawn(subjects(self.sealer.clone(), inquiries.clone()));
        let (sessions, score) = self.sessions(&contracts, asked, &inquiries).await?;
        let question = match &score {
            Planned::Asked(call) => Some(call.question()),
            _ => None,
        };
        let prepared = ask::prepare(&self.shared, sessions, question, &inquiries).await?;
        let requested = prepared.iter().filter_map(Prepared::session).collect();
        let begun_in_log = self.running.begin(&self.shared.log, requested);
        // All requests in one append: they share its sync.
        let requests: Vec<_> = prepared.iter().filter_map(Prepared::entry).collect();
        if !requests.is_empty() {
            let work = self.shared.observer.work("log");
            if let Err(error) = work.within(self.shared.log.append(requests)).await {
                // A log that has failed may have some of it, which the next start explains; any other has nothing.
                if !matches!(error, LogError::Failed { .. }) {
                    self.running.end(&begun_in_log);
                }
                return Err(error.into());
            }
        }
        let answered = async {
            Stage::Requested.reached();
            let observer = &self.shared.observer;
            let conversations = prepared.into_iter().map(|prepared| {
                let observer = observer.clone();
                // The tasks are below what runs here.
                prepared.converse(observer, deadline).with_current_context()
            });
            let runs = together(conversations).await?;
            let (scoring, scored) = match score {
                Planned::Asked(call) => (Some(call.scoring()), call.finish(&runs).await?),
                Planned::Without(report) => (None, Scores::all(&report, inquiries.len())),
                Planned::Inactive => (None, Scores::default()),
            };
            let Scores { reports: scores, outcomes, events } = scored;
            let reports = self.conclude(&inquiries, asked, &runs, scores, begun);
            let subjects = subjects.await.map_err(|_| BankError::internal())??;
            // Who is scored alone is no applicant, and says nothing of how applicants are scored.
            if let Some(scoring) = scoring.filter(|_| asked == Asked::Verification) {
                let colours = reports.iter().map(|report| report.decision.colour);
                scoring.observe(&self.shared, outcomes.into_iter().zip(colours));
            }
            let work = self.shared.observer.work("keep");
            work.within(self.keep(&inquiries, &subjects, &runs, events, &reports, keyed)).await?;
            Ok(reports)
        };
        let answered: Result<_, BankError> = answered.await;
        match &answered {
            Ok(_) => self.running.end(&begun_in_log),
            Err(_) => self.running.fail(begun_in_log),
        }
        answered
    }

    /// Whom to ask what: every contracted provider about the customers, and every provider of the active scoring
    /// group for the score.
    async fn sessions(
        &self,
        contracts: &[Arc<Contract>],
        asked: Asked,
        inquiries: &Arc<[Inquiry]>,
    ) -> Result<(Vec<Session>, Planned), BankError> {
        let now_ms = self.shared.clock.now_ms();
        // A batch has one.
        let purpose = inquiries[0].purpose.as_str();
        let looked_up = |contract: &&Arc<Contract>| asked == Asked::Verification && contract.has_lookups();
        let session = |c: &Arc<Contract>| Session {
            contract: c.clone(),
            looks_up: true,
            terms: c.admitted(c.terms(Some(purpose), now_ms)),
        };
        let mut sessions: Vec<_> = contracts.iter().filter(looked_up).map(session).collect();
        let active = self.active();
        let planned = match (&active.scoring, &active.failure) {
            (Some(scoring), _) if !self.shared.functions.has(Function::Scoring) => {
                Planned::Without(Box::new(scoring.without(Function::Scoring.off_code())))
            }
            (Some(scoring), _) => {
                let call = scoring.clone().ask(inquiries.clone()).await?;
                let restrictions = self.restrictions.read().unwrap_or_else(PoisonError::into_inner).clone();
                call.plan(&mut sessions, contracts, &restrictions, purpose, now_ms)
            }
            (None, Some(report)) => Planned::Without(Box::new(report.clone())),
            (None, None) if asked == Asked::Score => {
                return Err(BankError::unavailable(SCORE_INACTIVE, "no scoring group is active"));
            }
            (None, None) => Planned::Inactive,
        };
        Ok((sessions, planned))
    }

    fn conclude(
        &self,
        inquiries: &[Inquiry],
        asked: Asked,
        runs: &[Run],
        scores: Vec<ScoreReport>,
        begun: Instant,
    ) -> Vec<VerificationReport> {
        let at = rfc3339(self.shared.clock.now_ms());
        let mut scores = scores.into_iter();
        (0..)
            .zip(inquiries)
            .map(|(i, inquiry): (usize, _)| {
                let answers: Vec<_> = runs.iter().filter_map(|run| run.answers.get(i).cloned()).collect();
                let mut found = merge(&answers);
                if asked == Asked::Score {
                    found.result = MatchResult::NotAsked;
                }
                let score = scores.next();
                let facts = Facts {
                    found: &found,
                    score: score.as_ref(),
                    customer_type: inquiry.customer_type.as_deref(),
                    document_type: inquiry.document_type.as_deref(),
                };
                let decision = decide(&self.rules, &facts);
                VerificationReport {
                    id: hex::encode(rand::random::<[u8; 16]>()),
                    result: found.result,
                    mismatch: found.mismatch,
                    attributes: found.attributes,
                    tags: found.tags,
                    providers: answers,
                    score,
                    decision,
                    elapsed_ms: begun.elapsed().as_secs_f64() * 1_000.0,
                    at: at.clone(),
                }
            })
            .collect()
    }

    /// Makes the evidence durable and keeps the sealed records, with the answer under the call's key; both must succeed.
    async fn keep(
        &self,
        inquiries: &[Inquiry],
        subjects: &[Subject],
        runs: &[Run],
        events: Vec<Event>,
        reports: &[VerificationReport],
        keyed: Option<Keyed>,
    ) -> Result<(), BankError> {
        let answer = keyed.map(|keyed| keyed.of(reports)).transpose()?;
        let now_ms = self.shared.clock.now_ms();
        // Decisions before answers: where a torn write leaves only the first of these entries, no answer stays without
        // what was decided on it, and the next start finds sessions without an end and says so.
        let mut entries = Vec::new();
        let mut rows = Vec::with_capacity(reports.len());
        for (i, ((inquiry, subject), report)) in inquiries.iter().zip(subjects).zip(reports).enumerate() {
            let (decided, row) = self.sealer.seal(now_ms, i, inquiry, subject, report, runs)?;
            entries.push(Event::Decided(decided));
            rows.push(row);
        }
        entries.extend(runs.iter().map(Run::event).chain(events));
        let encode = |event| Entry::new(now_ms, event).encode().into_bytes();
        let entries = entries.into_iter().map(encode).collect();
        let receipts = runs.iter().filter_map(Run::receipt_digest).collect();
        // The log first: a receipt that it lacks must not wait to be countersigned.
        self.shared.log.append(entries).await?;
        Stage::Logged.reached();
        self.writer.write(rows, receipts, answer).await?;
        Stage::Stored.reached();
        Ok(())
    }
}

fn check_batch(inquiries: &[Inquiry]) -> Result<(), BankError> {
    if !(1..=MAX_BATCH).contains(&inquiries.len()) {
        return Err(BankError::bad_input("BATCH_SIZE", "a batch has 1 to 4,096 customers"));
    }
    if inquiries.iter().any(|inquiry| inquiry.purpose != inquiries[0].purpose) {
        return Err(BankError::bad_input("BATCH_PURPOSE", "all customers of a batch have one purpose"));
    }
    Ok(())
}

async fn subjects(sealer: Arc<Sealer>, inquiries: Arc<[Inquiry]>) -> Result<Vec<Subject>, BankError> {
    ask::offload(inquiries.len(), move || sealer.subjects(&inquiries)).await
}

/// Runs futures beside each other; gives their values in order, or the first error.
async fn together<T, F>(work: impl Iterator<Item = F>) -> Result<Vec<T>, BankError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BankError>> + Send + 'static,
{
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    let mut values = Vec::with_capacity(tasks.len());
    for task in tasks {
        values.push(task.await.map_err(|_| BankError::internal())??);
    }
    Ok(values)
}
