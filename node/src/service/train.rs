//! `windvane.train.v1.Train`: joint training, the provider's side.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{TrainBegin, TrainFinish, TrainGrown, TrainStep};
use windvane_proto::train::v1::{
    BeginRequest, BeginResponse, ContributionsRequest, ContributionsResponse, FinishRequest, FinishResponse,
    GrowRequest, GrowResponse, OpenRequest, OpenResponse, PartsRequest, PartsResponse, SumRequest,
    SumResponse, UploadRequest, UploadResponse, train_server::Train,
};
use windvane_protocols::limits::MAX_TRAIN_CHUNK_BYTES;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::record::TrainRequest;
use windvane_protocols::transcript::Signed;

use crate::error::Refusal;
use crate::train::serve::TrainProvider;
use crate::train::work::Returned;

/// The service.
#[derive(Debug, Clone)]
pub struct TrainService(pub Arc<TrainProvider>);

/// An answer in messages of a bounded size.
type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl TrainService {
    fn partner<T>(&self, request: &Request<T>) -> Result<Arc<Partner>, Status> {
        Ok(self.0.provider().partners().authenticate(request)?)
    }

    /// A step, and what it returns in messages.
    async fn step<T, M>(
        &self,
        request: Request<T>,
        answer: impl FnOnce(Returned) -> Answer<M>,
    ) -> Result<Response<Answer<M>>, Status>
    where
        TrainStep: TryFrom<T>,
        Refusal: From<<TrainStep as TryFrom<T>>::Error>,
    {
        let partner = self.partner(&request)?;
        let mut session = None;
        let result = async {
            let TrainStep { session: id, step } = TrainStep::try_from(request.into_inner())?;
            session = Some(id);
            self.0.step(&partner, id, step).await.map(answer)
        };
        let result = result.await;
        self.reply(&partner, session, result).await
    }

    async fn reply<T>(
        &self,
        partner: &Partner,
        session: Option<SessionId>,
        result: Result<T, Refusal>,
    ) -> Result<Response<T>, Status> {
        match result {
            Ok(reply) => Ok(Response::new(reply)),
            Err(refusal) => Err(self.0.provider().refuse(&partner.party, session, refusal).await),
        }
    }
}

/// Ciphertexts in messages.
fn messages<T: Send + 'static>(
    ciphertexts: Vec<u8>,
    message: impl Fn(Bytes) -> T + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    let bytes = Bytes::from(ciphertexts);
    let chunks: Vec<_> = (0..bytes.len())
        .step_by(MAX_TRAIN_CHUNK_BYTES)
        .map(|first| bytes.slice(first..bytes.len().min(first + MAX_TRAIN_CHUNK_BYTES)))
        .collect();
    tokio_stream::iter(chunks).map(move |chunk| Ok(message(chunk)))
}

#[tonic::async_trait]
impl Train for TrainService {
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let partner = self.partner(&request)?;
        let mut session = None;
        let result = async {
            let signed = Signed::<TrainRequest>::try_from(request.into_inner())?;
            session = Some(signed.body().session);
            Ok::<OpenResponse, Refusal>(self.0.open(&partner, signed).await?.into())
        };
        let result = result.await;
        self.reply(&partner, session, result).await
    }

    async fn begin(&self, request: Request<BeginRequest>) -> Result<Response<BeginResponse>, Status> {
        let partner = self.partner(&request)?;
        let mut session = None;
        let result = async {
            let begin = TrainBegin::try_from(request.into_inner())?;
            session = Some(begin.session);
            Ok::<BeginResponse, Refusal>(self.0.begin(&partner, begin).await?.into())
        };
        let result = result.await;
        self.reply(&partner, session, result).await
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let partner = self.partner(&request)?;
        let mut session = None;
        let mut messages = request.into_inner();
        let result = self.0.upload(&partner, &mut messages, &mut session).await.map(UploadResponse::from);
        self.reply(&partner, session, result).await
    }

    type GrowStream = Answer<GrowResponse>;

    async fn grow(&self, request: Request<GrowRequest>) -> Result<Response<Self::GrowStream>, Status> {
        let answer = |returned: Returned| -> Answer<GrowResponse> {
            let first = GrowResponse::from(TrainGrown::Proposals(returned.proposals));
            let rest = messages(returned.ciphertexts, |sums| TrainGrown::Sums(sums).into());
            Box::pin(tokio_stream::once(Ok(first)).chain(rest))
        };
        self.step(request, answer).await
    }

    type SumStream = Answer<SumResponse>;

    async fn sum(&self, request: Request<SumRequest>) -> Result<Response<Self::SumStream>, Status> {
        self.step(request, |returned| Box::pin(messages(returned.ciphertexts, |sums| SumResponse { sums })))
            .await
    }

    type ContributionsStream = Answer<ContributionsResponse>;

    async fn contributions(
        &self,
        request: Request<ContributionsRequest>,
    ) -> Result<Response<Self::ContributionsStream>, Status> {
        self.step(request, |returned| {
            Box::pin(messages(returned.ciphertexts, |rows| ContributionsResponse { rows }))
        })
        .await
    }

    type PartsStream = Answer<PartsResponse>;

    async fn parts(&self, request: Request<PartsRequest>) -> Result<Response<Self::PartsStream>, Status> {
        let answer = |returned: Returned| -> Answer<PartsResponse> {
            Box::pin(messages(returned.ciphertexts, |rows| PartsResponse { rows }))
        };
        self.step(request, answer).await
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        let partner = self.partner(&request)?;
        let mut session = None;
        let result = async {
            let finish = TrainFinish::try_from(request.into_inner())?;
            session = Some(finish.session);
            Ok::<FinishResponse, Refusal>(self.0.finish(&partner, finish).await?.into())
        };
        let result = result.await;
        self.reply(&partner, session, result).await
    }
}
