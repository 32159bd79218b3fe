//! The way to one provider: its calls, with their limits on time and size, and what is kept of its answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{
    TrainBegin, TrainFinish, TrainGrown, TrainUpload, TrainUploaded, contributions_request, grow_request,
    parts_request, sum_request, train_parts, train_rows, train_sums, train_upload_digest,
};
use windvane_proto::train::v1::train_client::TrainClient;
use windvane_proto::train::v1::{BeginRequest, FinishRequest, OpenRequest, UploadRequest};
use windvane_protocols::limits::{MAX_MESSAGE_BYTES, MAX_TRAIN_CHUNK_BYTES};
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::train::elgamal::CIPHERTEXT_BYTES;
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::train::scale::{SCALING_BYTES, Scaling};
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Signed};

use super::BankStage;
use super::answers::{Answer, Answers};
use super::cells::cells_of;
use super::error::{Fault, TrainError};

/// A provider that is busy, with the call before, whose connection broke, or with a table that it reads, is asked again for
/// as long as an answer is waited for, and for longer than it waits for somebody to read one.
const BUSY_LEAST: Duration = Duration::from_secs(30);

/// The first pause before that; each is twice as long as the one before, up to the last.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const BUSY_LAST_PAUSE: Duration = Duration::from_secs(3);

/// What a provider says when it is.
const BUSY: &str = "TRAIN_BUSY";

/// How much went to and fro.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    calls: AtomicU64,
}

impl Traffic {
    /// Bytes sent, bytes received, and calls.
    pub(super) fn figures(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.sent), read(&self.received), read(&self.calls))
    }

    fn call(&self, sent: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
    }

    fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// One provider of a training.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) partner: Arc<Partner>,
    pub(super) session: SessionId,
    /// Whether it grows its trees alone.
    pub(super) alone: bool,
    client: TrainClient<Channel>,
    answers: Mutex<Answers>,
    idle: Duration,
    traffic: Arc<Traffic>,
}

impl Link {
    pub(super) fn new(
        partner: Arc<Partner>,
        session: SessionId,
        alone: bool,
        channel: Channel,
        answers: Answers,
        idle: Duration,
        traffic: Arc<Traffic>,
    ) -> Self {
        let client = TrainClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { partner, session, alone, client, answers: Mutex::new(answers), idle, traffic }
    }

    pub(super) fn party(&self) -> &PartyId {
        &self.partner.party
    }

    /// The file of its answers. Held for a moment only.
    pub(super) fn answers(&self) -> MutexGuard<'_, Answers> {
        // A panic while it was held left the file at a whole answer, or at one that is dropped.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn open(
        &self,
        request: &Signed<TrainRequest>,
    ) -> Result<Signed<TrainAcceptance>, TrainError> {
        let call = || async {
            let message = OpenRequest::from(request);
            self.traffic.call(message.request.len());
            let response = self.client.clone().open(Request::new(message)).await?.into_inner();
            self.traffic.receive(response.acceptance.len());
            Ok(response)
        };
        let response = self.call("opening the session", call).await?;
        Signed::try_from(response).map_err(TrainError::of(self.party(), "opening the session"))
    }

    pub(super) async fn begin(&self, begin: &TrainBegin) -> Result<(), TrainError> {
        let call = || async {
            let message = BeginRequest::from(begin);
            self.traffic.call(message.announcements.iter().map(Bytes::len).sum());
            self.client.clone().begin(Request::new(message)).await
        };
        self.ask("handing over the announcements", call).await.map(drop)
    }

    /// Uploads bytes, which the provider must keep under this digest.
    pub(super) async fn upload(
        &self,
        uploaded: TrainUploaded,
        bytes: &Bytes,
        digest: &Hash,
        what: &'static str,
    ) -> Result<(), TrainError> {
        let call = || async {
            self.traffic.call(bytes.len());
            let bytes = bytes.clone();
            let header = UploadRequest::from(TrainUpload::Header(self.session, uploaded));
            let chunks = (0..bytes.len()).step_by(MAX_TRAIN_CHUNK_BYTES).map(move |first| {
                let end = bytes.len().min(first + MAX_TRAIN_CHUNK_BYTES);
                UploadRequest::from(TrainUpload::Chunk(bytes.slice(first..end)))
            });
            let messages = tokio_stream::iter(std::iter::once(header).chain(chunks));
            self.client.clone().upload(Request::new(messages)).await
        };
        let response = self.ask(what, call).await?.into_inner();
        let found = train_upload_digest(&response).map_err(TrainError::of(self.party(), what))?;
        if found == *digest {
            Ok(())
        } else {
            Err(TrainError::of(self.party(), what)(Fault::Digest { what }))
        }
    }

    /// The answer of a step: the one that is kept, or what the provider says, which is kept then.
    pub(super) async fn step(&self, step: &Step, rows: usize) -> Result<Answer, TrainError> {
        if let Some(known) = self.answers().find(step)? {
            return Ok(known);
        }
        let stage = step.name();
        let (proposals, ciphertexts) = match step {
            Step::Grow { .. } => self.grow(step, stage).await?,
            Step::Sum { place, agreed } => {
                let expected = cells_of(agreed, place.has_counts()) * CIPHERTEXT_BYTES;
                (Vec::new(), self.sums(step, expected, stage).await?)
            }
            Step::Contributions { .. } => {
                (Vec::new(), self.contributions(step, rows * CIPHERTEXT_BYTES, stage).await?)
            }
            Step::Parts { scaling } => {
                (Vec::new(), self.parts(*scaling, rows * CIPHERTEXT_BYTES, stage).await?)
            }
        };
        let answer = Answer { step: step.clone(), proposals, ciphertexts };
        self.answers().keep(&answer)?;
        BankStage::Level.reached();
        Ok(answer)
    }

    async fn grow(&self, step: &Step, stage: &'static str) -> Result<(Vec<Proposal>, Vec<u8>), TrainError> {
        let Step::Grow { place, decisions } = step else { unreachable!("only such steps come here") };
        let wrong = TrainError::of::<Fault>(self.party(), stage);
        let call = || async {
            let message = grow_request(self.session, *place, decisions);
            self.traffic.call(8 * decisions.len());
            self.client.clone().grow(Request::new(message)).await
        };
        let mut stream = self.ask(stage, call).await?.into_inner();
        let read = |message| TrainGrown::try_from(message).map_err(TrainError::of(self.party(), stage));
        let proposals = match self.next(&mut stream, stage).await?.map(read).transpose()? {
            Some(TrainGrown::Proposals(proposals)) => proposals,
            _ => return Err(wrong(Fault::Unexpected { found: "nothing", expected: "proposals" })),
        };
        let sent = proposals.iter().flat_map(|pair| &pair.groups).map(|groups| groups.len() + 2).sum();
        self.traffic.receive(sent);
        let cells = if self.alone { cells_of(&proposals, place.has_counts()) } else { 0 };
        let sums = |message| match TrainGrown::try_from(message) {
            Ok(TrainGrown::Sums(sums)) => Ok(sums),
            Ok(TrainGrown::Proposals(_)) => Err(Fault::Unexpected { found: "proposals", expected: "sums" }),
            Err(error) => Err(Fault::Wire(error)),
        };
        Ok((proposals, self.collect(stream, sums, cells * CIPHERTEXT_BYTES, stage).await?))
    }

    async fn sums(&self, step: &Step, expected: usize, stage: &'static str) -> Result<Vec<u8>, TrainError> {
        let Step::Sum { place, agreed } = step else { unreachable!("only such steps come here") };
        let call = || async {
            self.traffic
                .call(agreed.iter().flat_map(|pair| &pair.groups).map(|groups| groups.len() + 2).sum());
            self.client.clone().sum(Request::new(sum_request(self.session, *place, agreed))).await
        };
        let stream = self.ask(stage, call).await?.into_inner();
        self.collect(stream, |message| Ok(train_sums(message)?), expected, stage).await
    }

    async fn contributions(
        &self,
        step: &Step,
        expected: usize,
        stage: &'static str,
    ) -> Result<Vec<u8>, TrainError> {
        let Step::Contributions { block, decisions } = step else {
            unreachable!("only such steps come here")
        };
        let call = || async {
            self.traffic.call(8 * decisions.len());
            let message = contributions_request(self.session, *block, decisions);
            self.client.clone().contributions(Request::new(message)).await
        };
        let stream = self.ask(stage, call).await?.into_inner();
        self.collect(stream, |message| Ok(train_rows(message)?), expected, stage).await
    }

    async fn parts(
        &self,
        scaling: Scaling,
        expected: usize,
        stage: &'static str,
    ) -> Result<Vec<u8>, TrainError> {
        let call = || async {
            self.traffic.call(SCALING_BYTES);
            self.client.clone().parts(Request::new(parts_request(self.session, scaling))).await
        };
        let stream = self.ask(stage, call).await?.into_inner();
        self.collect(stream, |message| Ok(train_parts(message)?), expected, stage).await
    }

    pub(super) async fn finish(&self, finish: &TrainFinish) -> Result<Signed<TrainReceipt>, TrainError> {
        let stage = "finishing";
        let call = || async {
            let message = FinishRequest::from(finish);
            self.traffic.call(message.card.len());
            let response = self.client.clone().finish(Request::new(message)).await?.into_inner();
            self.traffic.receive(response.receipt.len());
            Ok(response)
        };
        let response = self.ask(stage, call).await?;
        Signed::try_from(response).map_err(TrainError::of(self.party(), stage))
    }

    /// [`Self::call`] in a session that the provider has accepted.
    async fn ask<T, C>(&self, stage: &'static str, call: impl Fn() -> C) -> Result<T, TrainError>
    where
        C: Future<Output = Result<T, Status>>,
    {
        self.call(stage, call).await.map_err(TrainError::of_accepted)
    }

    /// Makes a call, again and again while the provider is busy with the session.
    async fn call<T, C>(&self, stage: &'static str, call: impl Fn() -> C) -> Result<T, TrainError>
    where
        C: Future<Output = Result<T, Status>>,
    {
        let (begun, patience, mut pause) = (Instant::now(), self.idle.max(BUSY_LEAST), BUSY_PAUSE);
        loop {
            let answered = tokio::time::timeout(self.idle, call()).await;
            let answered = answered.map_err(|_| self.silent(stage))?;
            match answered.map_err(|status| Fault::from(&status)) {
                Ok(answer) => return Ok(answer),
                Err(Fault::Refused(error)) if error.code == BUSY && begun.elapsed() < patience => {
                    tokio::time::sleep(pause).await;
                    pause = BUSY_LAST_PAUSE.min(2 * pause);
                }
                Err(fault) => return Err(TrainError::of(self.party(), stage)(fault)),
            }
        }
    }

    async fn next<T>(&self, stream: &mut Streaming<T>, stage: &'static str) -> Result<Option<T>, TrainError> {
        match tokio::time::timeout(self.idle, stream.next()).await.map_err(|_| self.silent(stage))? {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(status)) => Err(TrainError::of(self.party(), stage)(&status).of_accepted()),
        }
    }

    /// The bytes of a stream, as many as must come and no more.
    async fn collect<T>(
        &self,
        mut stream: Streaming<T>,
        bytes_of: impl Fn(T) -> Result<Bytes, Fault>,
        expected: usize,
        stage: &'static str,
    ) -> Result<Vec<u8>, TrainError> {
        let wrong = TrainError::of::<Fault>(self.party(), stage);
        let mut bytes = Vec::new();
        while let Some(message) = self.next(&mut stream, stage).await? {
            bytes.extend_from_slice(&bytes_of(message).map_err(&wrong)?);
            if bytes.len() > expected {
                return Err(wrong(Fault::Unexpected { found: "more ciphertexts", expected: "fewer" }));
            }
        }
        self.traffic.receive(bytes.len());
        if bytes.len() == expected {
            Ok(bytes)
        } else {
            Err(wrong(Fault::Unexpected { found: "fewer ciphertexts", expected: "more" }))
        }
    }

    fn silent(&self, stage: &'static str) -> TrainError {
        TrainError::of(self.party(), stage)(Fault::Silent { seconds: self.idle.as_secs() })
    }
}
