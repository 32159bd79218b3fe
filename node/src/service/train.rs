//! `windvane.train.v1.Train`: joint training, the provider's side.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
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
use crate::train::serve::{Held, TrainProvider};
use crate::train::work::Returned;

/// The service.
#[derive(Debug, Clone)]
pub struct TrainService(pub Arc<TrainProvider>);

/// A bank that takes no message of an answer for so long has hung up, as far as the session is concerned. It asks again
/// for longer than that.
const UNREAD: Duration = Duration::from_secs(20);

/// However slowly it reads, a session is held no longer than this for one answer.
const WHOLE: Duration = Duration::from_secs(600);

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
        answer: impl FnOnce(Returned) -> Vec<M>,
    ) -> Result<Response<Answer<M>>, Status>
    where
        M: Send + 'static,
        TrainStep: TryFrom<T>,
        Refusal: From<<TrainStep as TryFrom<T>>::Error>,
    {
        let partner = self.partner(&request)?;
        let mut session = None;
        let result = async {
            let TrainStep { session: id, step } = TrainStep::try_from(request.into_inner())?;
            session = Some(id);
            let (held, returned) = self.0.step(&partner, id, step).await?;
            Ok(streamed(held, answer(returned)))
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
fn messages<T>(ciphertexts: Vec<u8>, message: impl Fn(Bytes) -> T) -> Vec<T> {
    let bytes = Bytes::from(ciphertexts);
    let chunks = (0..bytes.len()).step_by(MAX_TRAIN_CHUNK_BYTES);
    chunks.map(|first| message(bytes.slice(first..bytes.len().min(first + MAX_TRAIN_CHUNK_BYTES)))).collect()
}

/// Sends messages as they are taken. The session is free once the last one waits, so that the next call finds it so;
/// and once nobody takes any.
fn streamed<T: Send + 'static>(held: Held, messages: Vec<T>) -> Answer<T> {
    streamed_within(held, messages, UNREAD)
}

fn streamed_within<T: Send + 'static>(held: Held, messages: Vec<T>, unread: Duration) -> Answer<T> {
    let (sender, receiver) = mpsc::channel(1);
    let (is_whole, late) = (Arc::new(AtomicBool::new(false)), "the answer was not read in time; ask again");
    let whole = is_whole.clone();
    let send = async move {
        let (mut held, last) = (Some(held), messages.len().saturating_sub(1));
        for (at, message) in messages.into_iter().enumerate() {
            let Ok(Ok(place)) = tokio::time::timeout(unread, sender.reserve()).await else { return };
            if at == last {
                held = None;
            }
            place.send(Ok(message));
        }
        whole.store(true, Ordering::Release);
        drop(held);
    };
    tokio::spawn(tokio::time::timeout(WHOLE, send));
    // What was not read in time ends with an error, and not as if it were whole.
    let end = move || (!is_whole.swap(true, Ordering::AcqRel)).then(|| Err(Status::deadline_exceeded(late)));
    Box::pin(ReceiverStream::new(receiver).chain(tokio_stream::iter(std::iter::from_fn(end))))
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
        let answer = |returned: Returned| {
            let first = GrowResponse::from(TrainGrown::Proposals(returned.proposals));
            let rest = messages(returned.ciphertexts, |sums| TrainGrown::Sums(sums).into());
            std::iter::once(first).chain(rest).collect()
        };
        self.step(request, answer).await
    }

    type SumStream = Answer<SumResponse>;

    async fn sum(&self, request: Request<SumRequest>) -> Result<Response<Self::SumStream>, Status> {
        self.step(request, |returned| messages(returned.ciphertexts, |sums| SumResponse { sums })).await
    }

    type ContributionsStream = Answer<ContributionsResponse>;

    async fn contributions(
        &self,
        request: Request<ContributionsRequest>,
    ) -> Result<Response<Self::ContributionsStream>, Status> {
        let answer =
            |returned: Returned| messages(returned.ciphertexts, |rows| ContributionsResponse { rows });
        self.step(request, answer).await
    }

    type PartsStream = Answer<PartsResponse>;

    async fn parts(&self, request: Request<PartsRequest>) -> Result<Response<Self::PartsStream>, Status> {
        let answer = |returned: Returned| messages(returned.ciphertexts, |rows| PartsResponse { rows });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_held_until_the_last_message_of_its_answer_waits() {
        let (held, is_held) = Held::nobodys();
        let mut answer = streamed(held, vec![1, 2, 3]);
        assert!(is_held());
        assert_eq!(answer.next().await.unwrap().unwrap(), 1);
        assert!(is_held());
        for expected in [2, 3] {
            assert_eq!(answer.next().await.unwrap().unwrap(), expected);
        }
        assert!(answer.next().await.is_none() && !is_held());
    }

    #[tokio::test]
    async fn a_session_whose_answer_nobody_reads_is_free_after_a_time() {
        let (held, is_held) = Held::nobodys();
        let mut answer = streamed_within(held, vec![1, 2, 3], Duration::from_millis(20));
        while is_held() {
            tokio::task::yield_now().await;
        }
        assert_eq!(answer.next().await.unwrap().unwrap(), 1);
        assert_eq!(answer.next().await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert!(answer.next().await.is_none());
    }
}
