//! A provider's side of the node: what it published, what it permits, and the evidence of its answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::VerifyingKey;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::PagesWanted;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::provider::{Checked, Circumstances, EpochKeys, Evaluated};
use windvane_protocols::lookup::request::Request;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::PsiReceipt;
use windvane_protocols::score::epoch::Member;
use windvane_protocols::train::record::{TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use crate::clock::Clock;
use crate::config::{CertificatesConfig, ServiceConfig};
use crate::error::{NodeError, Refusal};
use crate::evidence::EvidenceLog;
use crate::functions::{Function, Functions};
use crate::identity::{Layout, NodeKeys};
use crate::observe::Observer;
use crate::peer::transport::Transport;
use crate::peer::{Partners, Tls};
use crate::policy::Policy;
use crate::retiring::Epochs;
use crate::score::members::Members;
use crate::server::TakingOver;
use crate::session::Sessions;
use crate::snapshot::{PageFile, Snapshot};
use crate::store::{Settled, Store};

mod epochs;
mod large;
mod passes;
mod receipts;
mod waiting;

pub use waiting::Waiting;

use epochs::PublishedEpochs;
use large::Large;
use passes::{Admitted, Passes, Shareable as _};
use receipts::Receipts;

/// Customers up to which a session shares its pass with others that wait, where they arrived; larger ones go to the
/// blocking pool, so that a batch does not hold up single calls.
const SMALL_CUSTOMERS: u64 = 8;

/// Entries of the log that a start looks at first for sessions to remember.
const FIRST_LOOK_BACK: u64 = 256;

/// Failures of one peer that reach the log, per second; the structured log has them all.
const FAILURES_PER_SECOND: u32 = 50;

/// What every part of a node shares.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The node's keys.
    pub keys: Arc<NodeKeys>,
    /// The state file.
    pub store: Arc<Store>,
    /// The log.
    pub log: EvidenceLog,
    /// Who is enrolled.
    pub partners: Arc<Partners>,
    /// What the node does at all, and with whom.
    pub functions: Arc<Functions>,
    /// What connections with other nodes use at present.
    pub tls: Arc<Tls>,
    /// When to warn of their ends.
    pub certificates: CertificatesConfig,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How other nodes are reached.
    pub transport: Arc<dyn Transport>,
    /// A deliberate bug.
    #[cfg(feature = "faults")]
    pub bug: Option<crate::faults::Bug>,
    /// Where files are.
    pub layout: Layout,
    /// Digest of the software.
    pub software: Hash,
    /// Digest of the configuration.
    pub configuration: Hash,
    /// Held while changes of commands are taken over, so that who waits for them does not come too early.
    pub(crate) taking_over: Arc<tokio::sync::Mutex<TakingOver>>,
    /// What is told of the node's work.
    pub observer: Arc<Observer>,
}

/// A published epoch with its secret keys.
#[derive(Debug)]
pub struct Published {
    snapshot: Snapshot,
    keys: EpochKeys,
}

/// The provider.
#[derive(Debug)]
pub struct Provider {
    shared: Shared,
    config: ServiceConfig,
    policy: Policy,
    sessions: Sessions,
    receipts: Receipts,
    countersigning: tokio::sync::Mutex<()>,
    passes: Passes<Admitted>,
    /// Sessions that have a pass of their own.
    large: Large,
    members: Members,
    published: PublishedEpochs,
    failures: Mutex<HashMap<PartyId, (u64, u32)>>,
    stopping: AtomicBool,
}

impl Published {
    /// The signed manifest.
    pub const fn manifest(&self) -> &Signed<Manifest> {
        self.snapshot.manifest()
    }

    /// The signed deltas, in order.
    pub fn deltas(&self) -> &[Signed<Delta>] {
        self.snapshot.chain().deltas()
    }

    /// The pages, where the wanted publication and first page are of this epoch.
    pub fn find(&self, wanted: &PagesWanted) -> Option<&PageFile> {
        let pages = self.snapshot.publication(&wanted.publication)?;
        let there = self.manifest().body().epoch == wanted.epoch && wanted.from <= pages.pages();
        there.then_some(pages)
    }
}

impl Provider {
    /// Brings counters, sessions and receipts up to date from the log, and opens what is published.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn start(shared: Shared, config: ServiceConfig, elements_per_s: u64) -> Result<Self, NodeError> {
        let sessions = Sessions::new(2 * config.clock_tolerance_ms, config.stored_answer_bytes);
        let provider = Self {
            policy: Policy::new(elements_per_s),
            receipts: Receipts::default(),
            countersigning: tokio::sync::Mutex::default(),
            passes: Passes::default(),
            large: Large::default(),
            members: Members::default(),
            published: PublishedEpochs::default(),
            failures: Mutex::default(),
            stopping: AtomicBool::new(false),
            shared,
            config,
            sessions,
        };
        // Rates are recounted by the grants.
        provider.policy.reload(&provider.shared.store)?;
        provider.catch_up()?;
        provider.reload()?;
        Ok(provider)
    }

    /// Reads grants, published epochs and scoring groups again, each by itself.
    ///
    /// # Errors
    /// The first [`NodeError`]; what cannot be read stays as it was.
    pub fn reload(&self) -> Result<(), NodeError> {
        let grants = self.policy.reload(&self.shared.store);
        let members = self.members.reload(&self.shared);
        let published = self.published.reload(&self.shared);
        grants.and(members).and(published)
    }

    /// The node's own name.
    pub fn party(&self) -> &PartyId {
        &self.shared.keys.party
    }

    /// What every part of the node shares.
    pub(crate) const fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What the node permits.
    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The node's part in scoring groups.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// What the node tolerates.
    pub(crate) const fn config(&self) -> &ServiceConfig {
        &self.config
    }

    /// Whether the node refuses what is new.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Logs the receipt of a set intersection and waits for its countersignature.
    ///
    /// # Errors
    /// [`Refusal::Internal`].
    pub(crate) async fn completed(&self, receipt: &Signed<PsiReceipt>) -> Result<(), Refusal> {
        let entry = Entry::new(self.now_ms(), Event::PsiCompleted(Box::new(receipt.clone())));
        let requester = receipt.body().request().requester.clone();
        self.logged(receipt.digest(), entry.encode().into_bytes(), requester).await
    }

    /// Logs the receipt of a training and waits for its countersignature.
    ///
    /// # Errors
    /// [`Refusal::Internal`].
    pub(crate) async fn train_completed(&self, receipt: &Signed<TrainReceipt>) -> Result<(), Refusal> {
        let entry = Entry::new(self.now_ms(), Event::TrainCompleted(Box::new(receipt.clone())));
        let requester = receipt.body().request().charter.requester.clone();
        self.logged(receipt.digest(), entry.encode().into_bytes(), requester).await
    }

    /// Whether a receipt is in the log and waits to be countersigned by this requester.
    pub(crate) fn waits_for(&self, receipt: &Hash, requester: &PartyId) -> bool {
        self.receipts.are_open(std::slice::from_ref(receipt), requester).unwrap_or(false)
    }

    /// Makes an event durable in the log.
    ///
    /// # Errors
    /// [`Refusal::Internal`].
    pub(crate) async fn log(&self, event: Event) -> Result<(), Refusal> {
        self.append(vec![Entry::new(self.now_ms(), event).encode().into_bytes()]).await.map(drop)
    }

    /// Who is enrolled.
    pub fn partners(&self) -> &Partners {
        &self.shared.partners
    }

    /// The time.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// The sessions seen.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Checks everything of a question that needs no state.
    ///
    /// # Errors
    /// [`Refusal::Question`].
    pub fn check(
        &self,
        question: Question,
        requester: &VerifyingKey,
        now_ms: u64,
    ) -> Result<Checked, Refusal> {
        Ok(question.check(requester, now_ms, self.config.clock_tolerance_ms)?)
    }

    /// Counts one session; one that is refused was not counted.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn admitted(&self, checked: Checked, received_at_ms: u64) -> Result<Admitted, Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        let request = checked.request().body();
        let looked_up = !request.families.is_empty();
        let published =
            looked_up.then(|| self.published.answering(&request.data_set, request.epoch, self.now_ms()));
        let published = published.transpose()?;
        self.receipts.check_room(&request.requester)?;
        if looked_up {
            self.shared.functions.check(Function::Verification)?;
        }
        if request.customers > 1 {
            self.shared.functions.check(Function::Batches)?;
        }
        if let Some(published) = &published {
            self.admit(request, published.manifest().body().hours(), received_at_ms)?;
        }
        let requester = request.requester.clone();
        let member = match self.scorer(&checked, received_at_ms) {
            // There is nothing else to answer.
            Err(refusal) if !looked_up => return Err(refusal),
            Err(refusal) => {
                let code = refusal.code();
                if request.score.is_some() {
                    self.note_refusal(&requester, Some(request.session), code).await;
                }
                Err(code)
            }
            Ok(member) => Ok(member),
        };
        Ok(Admitted { checked, published, member })
    }

    /// Evaluates, signs and logs one session; the entry is durable when this returns. Once `given_up` is through, what is
    /// not evaluated yet is left; what is, is logged.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn answer(
        &self,
        admitted: Admitted,
        received_at_ms: u64,
        given_up: impl Future<Output = ()> + Send,
    ) -> Result<Answer, Refusal> {
        let requester = admitted.checked.request().body().requester.clone();
        let work = self.shared.observer.work("evaluate");
        let answer = tokio::select! {
            answer = self.evaluate(admitted, received_at_ms) => answer?,
            () = given_up => return Err(Refusal::DeadlineExceeded),
        };
        drop(work);
        let entry = Entry::new(
            answer.receipt.body().answered_at_ms,
            Event::Answered(Box::new(answer.receipt.clone())),
        );
        #[cfg(feature = "faults")]
        if self.shared.bug == Some(crate::faults::Bug::LogAfterReply) {
            return Ok(answer);
        }
        self.logged(answer.receipt.digest(), entry.encode().into_bytes(), requester).await?;
        Ok(answer)
    }

    /// Makes a receipt's entry durable, and waits for the countersignature.
    pub(crate) async fn logged(
        &self,
        receipt: Hash,
        entry: Vec<u8>,
        requester: PartyId,
    ) -> Result<(), Refusal> {
        let _begun = self.receipts.begin(self.shared.log.size());
        let index = self.append(vec![entry]).await?;
        self.receipts.expect(receipt, requester, index);
        Ok(())
    }

    fn admit(&self, request: &Request, epoch_hours: u64, received_at_ms: u64) -> Result<(), Refusal> {
        #[cfg(feature = "faults")]
        if self.shared.bug == Some(crate::faults::Bug::QuotaAfterReply) {
            return self.policy.admit_uncounted(request, epoch_hours, self.party(), received_at_ms);
        }
        self.policy.admit(request, epoch_hours, self.party(), received_at_ms)
    }

    /// Takes a countersignature into the log, which has all of its receipts before.
    ///
    /// # Errors
    /// [`Refusal::CountersignatureInvalid`], [`Refusal::CountersignatureMixed`].
    pub async fn countersigned(
        &self,
        partner: &Partner,
        signed: Signed<Countersignature>,
    ) -> Result<(), Refusal> {
        let body = signed.body();
        let parties = body.requester == partner.party && body.provider == *self.party();
        if !parties || !signed.verify(&partner.receipt_key) {
            return Err(Refusal::CountersignatureInvalid);
        }
        let receipts = body.receipts.clone();
        // One after the other, so that the same countersignature, sent again meanwhile, waits for what becomes of it.
        let _alone = self.countersigning.lock().await;
        if self.receipts.are_open(&receipts, &partner.party)? {
            let entry = Entry::new(self.now_ms(), Event::Countersigned(signed));
            // First the entry: receipts that were settled before it would be acknowledged without one where it fails.
            self.append(vec![entry.encode().into_bytes()]).await?;
            self.receipts.settle(&receipts, &partner.party);
        }
        Ok(())
    }

    /// What a partner with a running grant may download now.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn downloadable(&self, partner: &PartyId, data_set: &DataSet) -> Result<Arc<Published>, Refusal> {
        let published = self.published.current(data_set).ok_or(Refusal::DataSetUnknown)?;
        self.permit_download(partner, data_set).map(|()| published)
    }

    /// What a partner with a running grant may go on to download: an epoch that was current when it began.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn downloadable_epoch(
        &self,
        partner: &PartyId,
        data_set: &DataSet,
        epoch: u64,
    ) -> Result<Arc<Published>, Refusal> {
        self.permit_download(partner, data_set)?;
        self.published.answering(data_set, epoch, self.now_ms()).map_err(|refusal| match refusal {
            Refusal::EpochUnknown { .. } | Refusal::EpochExpired => Refusal::PageUnknown,
            other => other,
        })
    }

    fn permit_download(&self, partner: &PartyId, data_set: &DataSet) -> Result<(), Refusal> {
        self.shared.functions.check(Function::Verification)?;
        let permitted = self.policy.may_download(partner, data_set, self.now_ms());
        permitted.then_some(()).ok_or(Refusal::GrantUnknown)
    }

    /// Ends the epochs whose time after their successor's publication is over, and those of which a command that was
    /// interrupted began the end. Blocks on files.
    ///
    /// # Errors
    /// The first [`NodeError`]; what is left is tried again the next time, and keeps no other epoch.
    pub fn end_due(&self) -> Result<(), NodeError> {
        let Shared { keys, store, layout, .. } = &self.shared;
        let epochs = Epochs { keys: &keys.store, store, root: layout.root(), now_ms: self.now_ms() };
        epochs.end_due(None, |data_set, epoch| {
            tracing::info!(code = "EPOCH_ENDED", %data_set, epoch, "an epoch's keys are destroyed");
        })
    }

    /// Tells the logs of a refused call and gives the caller its status.
    pub async fn refuse(&self, peer: &PartyId, session: Option<SessionId>, refusal: Refusal) -> Status {
        self.note_refusal(peer, session, refusal.code()).await;
        refusal.into()
    }

    /// Tells the logs of something that a peer was refused.
    async fn note_refusal(&self, peer: &PartyId, session: Option<SessionId>, code: &'static str) {
        tracing::warn!(code, %peer, session = session.map(tracing::field::display), "refused a call");
        self.shared.observer.metrics.refused(peer.as_str(), code);
        if self.may_log_failure(peer) {
            let event = Event::Failed { session, peer: peer.clone(), code: code.to_owned() };
            // A log that cannot take this entry takes no answer either; the caller has its error already.
            let _ = self.append(vec![Entry::new(self.now_ms(), event).encode().into_bytes()]).await;
        }
    }

    /// Refuses new sessions from here on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Keeps the counters, so that the next start reads less of the log.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn persist(&self) -> Result<(), NodeError> {
        // Taken before the counters: what is logged in between is counted twice at a start, never missed.
        let size = self.shared.log.size();
        let settled = Settled { counted: size, countersigned: self.receipts.first_open().unwrap_or(size) };
        let (counters, buckets) = (self.policy.take_changed(), self.policy.buckets());
        let kept = self.shared.store.put_counters(settled, &counters, &buckets);
        if kept.is_err() {
            self.policy.give_back(&counters);
        }
        Ok(kept?)
    }

    /// When requests may have been made that could be accepted now, or after a clock that went wrong by twice the
    /// tolerance was put right.
    fn oldest_ms(&self) -> u64 {
        self.now_ms().saturating_sub(4 * self.config.clock_tolerance_ms)
    }

    /// A log index before which no answer is to such a request.
    fn first_to_remember(&self) -> Result<u64, NodeError> {
        let oldest_ms = self.oldest_ms();
        let (mut from, mut back) = (self.shared.log.size(), FIRST_LOOK_BACK);
        while from > 0 {
            from = from.saturating_sub(back);
            back *= 2;
            let first = self.shared.log.entries_from(from)?.next().transpose()?;
            if first.is_some_and(|(_, bytes)| Entry::decode(&bytes).is_ok_and(|e| e.at_ms < oldest_ms)) {
                break;
            }
        }
        Ok(from)
    }

    fn catch_up(&self) -> Result<(), NodeError> {
        let (settled, counters) = self.shared.store.counters()?;
        self.policy.restore(&counters, &self.shared.store.buckets()?);
        let from = settled.counted.min(settled.countersigned).min(self.first_to_remember()?);
        let (oldest_ms, own) = (self.oldest_ms(), self.party());
        for entry in self.shared.log.entries_from(from)? {
            let (index, bytes) = entry?;
            let Ok(Entry { event, .. }) = Entry::decode(&bytes) else { continue };
            // Where the node asks too, the log has receipts of which others are the provider.
            if let Some(receipt) = event.receipt().filter(|receipt| receipt.provider == own) {
                self.receipts.expect(receipt.digest, receipt.requester.clone(), index);
            }
            match event {
                Event::Answered(receipt) if receipt.body().request.body().provider == *own => {
                    let request = receipt.body().request.body();
                    if index >= settled.counted {
                        self.policy.recount(request, receipt.body().scored, receipt.body().received_at_ms);
                    }
                    if request.requested_at_ms >= oldest_ms {
                        self.sessions.mark_used(request.session);
                    }
                }
                Event::PsiAccepted(acceptance) => {
                    let request = acceptance.body().request.body();
                    self.shared.store.put_psi_run(
                        request.session.as_bytes(),
                        request.grant.as_bytes(),
                        &request.input,
                    )?;
                }
                Event::TrainAccepted(acceptance) => {
                    self.put_train_run(acceptance.body().request.body())?;
                }
                Event::TrainLapsed(lapse) => {
                    self.put_train_run(lapse.body().request())?;
                }
                Event::Countersigned(signed) => {
                    // Receipts from before `from` are settled already.
                    self.receipts.settle(&signed.body().receipts, &signed.body().requester);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Counts a training under its grant, once.
    pub(crate) fn put_train_run(&self, request: &TrainRequest) -> Result<(), NodeError> {
        let (session, grant) = (request.session.as_bytes(), request.grant.as_bytes());
        Ok(self.shared.store.put_train_run(session, grant)?)
    }

    async fn evaluate(&self, session: Admitted, received_at_ms: u64) -> Result<Answer, Refusal> {
        let sign = self.signer(received_at_ms);
        if session.checked.request().body().customers <= SMALL_CUSTOMERS {
            return Ok(sign(self.passes.share(session).await??));
        }
        let work =
            move || Admitted::pass(vec![session]).pop().expect("an outcome for each session").map(sign);
        Ok(self.large.run(work).await??)
    }

    /// What makes an answer of what was evaluated.
    fn signer(&self, received_at_ms: u64) -> impl FnOnce(Evaluated) -> Answer + Send + 'static {
        let shared = self.shared.clone();
        move |evaluated| {
            let circumstances = Circumstances {
                software: shared.software,
                configuration: shared.configuration,
                received_at_ms,
                answered_at_ms: shared.clock.now_ms(),
            };
            evaluated.sign(circumstances, shared.keys.signing_key())
        }
    }

    /// Who answers for a session's score, once it is counted. A score that is refused keeps nobody from the rest of
    /// the session.
    fn scorer(&self, checked: &Checked, received_at_ms: u64) -> Result<Arc<Member>, Refusal> {
        self.shared.functions.check(Function::Scoring)?;
        let request = checked.request().body();
        let (Some(asked), Some(question)) = (&request.score, checked.score()) else {
            return Err(Refusal::ScoreEpochUnknown);
        };
        let member = self.members.by_context(&question.context).filter(|member| {
            let terms = member.epoch().charter().terms();
            let named = terms.group == asked.group && terms.epoch == asked.epoch;
            named && terms.requester.party == request.requester
        });
        let member = member.ok_or(Refusal::ScoreEpochUnknown)?;
        self.policy.admit_score(request, asked, self.party(), received_at_ms)?;
        Ok(member)
    }

    /// Makes entries durable; gives the index of the first.
    async fn append(&self, entries: Vec<Vec<u8>>) -> Result<u64, Refusal> {
        let _work = self.shared.observer.work("log");
        match self.shared.log.append(entries).await {
            Ok(appended) => Ok(appended.first_index),
            Err(error) => {
                tracing::error!(code = "LOG_UNAVAILABLE", %error, "an entry could not be logged");
                Err(Refusal::Internal)
            }
        }
    }

    fn may_log_failure(&self, peer: &PartyId) -> bool {
        let second = self.now_ms() / 1_000;
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = failures.entry(peer.clone()).or_insert((second, 0));
        if *at != second {
            (*at, *count) = (second, 0);
        }
        *count += 1;
        *count <= FAILURES_PER_SECOND
    }
}
