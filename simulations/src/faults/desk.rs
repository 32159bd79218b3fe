//! A requester whose messages the simulation makes itself, with the protocol's own code: so it can send the same bytes
//! again, send others under the same session, and ask at the edge of a quota many times at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use tonic::Request;
use tonic::transport::Channel;
use windvane::admin::Admin;
use windvane::error::{NodeError, PeerError};
use windvane::peer::channel_over;
use windvane::peer::transport::Transport;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{EvaluateRequest, EvaluateResponse, FetchManifestRequest};
use windvane_protocols::audit::grant::{Grant, GrantId};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::identity::{Family, Person, Phone};
use windvane_protocols::lookup::client::{
    Answer, AnswerError, AwaitAnswer, Customer, LookupTerms, Question, Terms, ask,
};
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::{Hash, Signed};

use super::SimulationError;
use super::people::Known;
use super::template::{CARRIERS, PURPOSE, address};

/// How long the desk waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Answered questions that are kept, to be sent again.
const KEPT: usize = 32;

/// Receipts of one countersignature.
const BATCH: usize = 40;

/// An answer that the desk has: its receipt was acknowledged.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The session.
    pub session: SessionId,
    /// The receipt.
    pub receipt: Hash,
}

/// What a call gave instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The provider, or the way to it, says why.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The answer does not hold: nobody may send such.
    #[error("the answer does not hold: {0}")]
    Answer(#[from] AnswerError),
    /// The answer does not parse.
    #[error("the answer is malformed")]
    Malformed,
}

/// A question that was sent, and what came.
#[derive(Debug, Clone)]
struct Sent {
    question: Question,
    answer: Option<Hash>,
}

/// The desk's side of one carrier.
#[derive(Debug)]
struct Side {
    party: PartyId,
    key: VerifyingKey,
    channel: Mutex<Channel>,
    standing: GrantId,
    manifest: Mutex<Option<Arc<Signed<Manifest>>>>,
    sent: Mutex<VecDeque<Sent>>,
    receipts: Mutex<Vec<Hash>>,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    admin: Arc<Admin>,
    transport: Arc<dyn Transport>,
    sides: Vec<Side>,
}

impl Desk {
    /// The desk at the template's carriers.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn new(admin: Arc<Admin>, transport: &Arc<dyn Transport>) -> Result<Self, SimulationError> {
        let certificate = admin.certificate()?;
        let partners = admin.partners()?;
        let grants = admin.grants()?;
        let mut sides = Vec::new();
        for (i, name) in CARRIERS.iter().enumerate() {
            let party: PartyId = name.parse().expect("a constant that is a party id");
            let partner = partners.iter().find(|partner| partner.party == party);
            let grant = grants.iter().find(|(grant, _)| grant.provider == party);
            let missing = || NodeError::Given { code: "TEMPLATE", message: "a party is missing".into() };
            sides.push(Side {
                key: partner.ok_or_else(missing)?.receipt_key,
                standing: grant.ok_or_else(missing)?.0.id,
                channel: Mutex::new(channel_over(transport, &certificate, &party, &address(i))?),
                party,
                manifest: Mutex::default(),
                sent: Mutex::default(),
                receipts: Mutex::default(),
            });
        }
        Ok(Self { admin, transport: transport.clone(), sides })
    }

    /// Its files.
    pub fn admin(&self) -> Arc<Admin> {
        self.admin.clone()
    }

    /// Connects anew, with the present certificate.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn reconnect(&self) -> Result<(), NodeError> {
        let certificate = self.admin.certificate()?;
        for (i, side) in self.sides.iter().enumerate() {
            *lock(&side.channel) = channel_over(&self.transport, &certificate, &side.party, &address(i))?;
        }
        Ok(())
    }

    /// The standing grant at a carrier.
    pub fn standing(&self, carrier: usize) -> GrantId {
        self.sides[carrier].standing
    }

    /// Takes over a grant; gives its content.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn accept(&self, text: &str) -> Result<Grant, NodeError> {
        self.admin.accept_grant(text)
    }

    /// Fetches a carrier's manifest anew.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn manifest(&self, carrier: usize) -> Result<Arc<Signed<Manifest>>, DeskError> {
        let side = &self.sides[carrier];
        let mut request = Request::new(FetchManifestRequest { data_set: "subscribers".into() });
        request.set_timeout(TIMEOUT);
        let mut client = LookupClient::new(lock(&side.channel).clone());
        let response = timely(client.fetch_manifest(request)).await?;
        let manifest = Signed::<Manifest>::try_from(response).map_err(|_| DeskError::Malformed)?;
        if !manifest.verify(&side.key) {
            return Err(DeskError::Malformed);
        }
        let manifest = Arc::new(manifest);
        *lock(&side.manifest) = Some(manifest.clone());
        Ok(manifest)
    }

    /// Asks whether a number is known, under a grant.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn ask(
        &self,
        carrier: usize,
        known: Known,
        grant: GrantId,
        now_ms: u64,
    ) -> Result<Acknowledged, DeskError> {
        let manifest = lock(&self.sides[carrier].manifest).clone();
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => self.manifest(carrier).await?,
        };
        let session = SessionId::dated(now_ms, &mut rand::rng());
        let (wait, question) = self.make(carrier, &manifest, known, grant, session, now_ms);
        self.send(carrier, wait, question).await
    }

    /// Sends the newest question once more, byte for byte; none when nothing was sent. An answer must be the one that
    /// came before.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn replay(&self, carrier: usize, back: usize) -> Option<Result<Acknowledged, DeskError>> {
        let sent = self.earlier(carrier, back)?;
        let session = sent.question.request.body().session;
        Some(match self.evaluate(carrier, &sent.question).await {
            Ok(response) => self.same(sent.answer, session, response),
            Err(error) => Err(error),
        })
    }

    /// Asks another question under the session of an earlier one, with its date, or the present one; none when nothing
    /// was sent. Whether the earlier one was answered, so that this may not be.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn reuse(
        &self,
        carrier: usize,
        back: usize,
        known: Known,
        now_ms: Option<u64>,
    ) -> Option<(bool, Result<Acknowledged, DeskError>)> {
        let sent = self.earlier(carrier, back)?;
        let manifest = lock(&self.sides[carrier].manifest).clone()?;
        let request = sent.question.request.body();
        let (session, now_ms) = (request.session, now_ms.unwrap_or(request.requested_at_ms));
        let (wait, question) = self.make(carrier, &manifest, known, self.standing(carrier), session, now_ms);
        let asked = self.evaluate(carrier, &question).await;
        let answered = asked.and_then(|response| Self::open(&self.sides[carrier], wait, session, response));
        Some((sent.answer.is_some(), answered))
    }

    /// Sends a question with another question's elements; none when nothing was sent. Nobody may answer it.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn tamper(
        &self,
        carrier: usize,
        back: usize,
        known: Known,
        now_ms: u64,
    ) -> Option<Result<(), DeskError>> {
        let sent = self.earlier(carrier, back)?;
        let manifest = lock(&self.sides[carrier].manifest).clone()?;
        let session = SessionId::dated(now_ms, &mut rand::rng());
        let (_, mut question) = self.make(carrier, &manifest, known, self.standing(carrier), session, now_ms);
        question.groups = sent.question.groups;
        Some(self.evaluate(carrier, &question).await.map(drop))
    }

    /// Countersigns receipts that wait; gives how many.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn countersign(&self, carrier: usize, now_ms: u64) -> Result<usize, DeskError> {
        let side = &self.sides[carrier];
        let receipts: Vec<_> = lock(&side.receipts).iter().take(BATCH).copied().collect();
        if receipts.is_empty() {
            return Ok(0);
        }
        let body = Countersignature {
            requester: self.admin.keys().party.clone(),
            provider: side.party.clone(),
            receipts: receipts.clone(),
            signed_at_ms: now_ms,
        };
        let signed = Signed::sign(body, self.admin.keys().signing_key());
        let mut request = Request::new(CountersignRequest::from(&signed));
        request.set_timeout(TIMEOUT);
        let mut client = AuditClient::new(lock(&side.channel).clone());
        timely(client.countersign(request)).await?;
        lock(&side.receipts).retain(|receipt| !receipts.contains(receipt));
        Ok(receipts.len())
    }

    fn make(
        &self,
        carrier: usize,
        manifest: &Signed<Manifest>,
        known: Known,
        grant: GrantId,
        session: SessionId,
        now_ms: u64,
    ) -> (AwaitAnswer, Question) {
        let seed = Secret::new(rand::random());
        let person = Person {
            phone: Some(Phone::parse(&known.phone()).expect("a legal number")),
            document: None,
            name: None,
            other: None,
        };
        let terms = Terms {
            requester: &self.admin.keys().party,
            provider: &self.sides[carrier].party,
            grant,
            purpose: PURPOSE,
            lookup: Some(LookupTerms { manifest: manifest.body(), families: &[Family::Phone] }),
            score: None,
            session,
            seed: &seed,
        };
        let customer = Customer { person: &person, ticket: b"T", consent: b"C" };
        let key = self.admin.keys().signing_key();
        let mut asked = ask(&[terms], &[customer], now_ms, key, &mut rand::rng());
        asked.pop().expect("a result for the one session").expect("the manifest has the family")
    }

    async fn send(
        &self,
        carrier: usize,
        wait: AwaitAnswer,
        question: Question,
    ) -> Result<Acknowledged, DeskError> {
        let side = &self.sides[carrier];
        let session = question.request.body().session;
        let outcome = self.evaluate(carrier, &question).await;
        let outcome = outcome.and_then(|response| Self::open(side, wait, session, response));
        let answer = outcome.as_ref().ok().map(|acknowledged| acknowledged.receipt);
        let mut sent = lock(&side.sent);
        sent.push_front(Sent { question, answer });
        sent.truncate(KEPT);
        outcome
    }

    async fn evaluate(&self, carrier: usize, question: &Question) -> Result<EvaluateResponse, DeskError> {
        let mut request = Request::new(EvaluateRequest::from(question));
        request.set_timeout(TIMEOUT);
        let mut client = LookupClient::new(lock(&self.sides[carrier].channel).clone());
        timely(client.evaluate(request)).await
    }

    fn open(
        side: &Side,
        wait: AwaitAnswer,
        session: SessionId,
        response: EvaluateResponse,
    ) -> Result<Acknowledged, DeskError> {
        let answer = Answer::try_from(response).map_err(|_| DeskError::Malformed)?;
        let receipt = wait.on_answer(answer, &side.key)?.receipt.digest();
        lock(&side.receipts).push(receipt);
        Ok(Acknowledged { session, receipt })
    }

    /// A retry's answer, held against the one that came before, where one came.
    fn same(
        &self,
        before: Option<Hash>,
        session: SessionId,
        response: EvaluateResponse,
    ) -> Result<Acknowledged, DeskError> {
        let receipt = Answer::try_from(response).map_err(|_| DeskError::Malformed)?.receipt.digest();
        match before {
            Some(before) if before != receipt => Err(DeskError::Answer(AnswerError::ReceiptInvalid)),
            _ => Ok(Acknowledged { session, receipt }),
        }
    }

    fn earlier(&self, carrier: usize, back: usize) -> Option<Sent> {
        let sent = lock(&self.sides[carrier].sent);
        (!sent.is_empty()).then(|| sent[back % sent.len()].clone())
    }
}

/// A call's answer, within the desk's own time.
async fn timely<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, DeskError> {
    let late = || PeerError {
        code: "DEADLINE_EXCEEDED".into(),
        message: "no answer in time".into(),
        retry_after_ms: None,
    };
    let answered = tokio::time::timeout(TIMEOUT, call).await.map_err(|_| late())?;
    Ok(answered.map(tonic::Response::into_inner).map_err(|status| PeerError::from(&status))?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
