//! `windvane.lookup.v1.Lookup`: evaluation, manifests and pages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prost::Message as _;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{DeltasWanted, PagesWanted};
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchDeltasRequest, FetchDeltasResponse, FetchManifestRequest,
    FetchManifestResponse, FetchPagesRequest, FetchPagesResponse, lookup_server::Lookup,
};
use windvane_protocols::limits::MAX_PAGES_PER_CHUNK;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::Question;
use windvane_protocols::party::SessionId;

use crate::error::Refusal;
use crate::observe::trace::FutureExt as _;
use crate::provider::Provider;
use crate::snapshot::PageFile;

/// Chunks of a download that wait for a slow reader: 1 MiB.
const CHUNKS_AHEAD: usize = 4;

/// The service.
#[derive(Debug, Clone)]
pub struct LookupService(pub Arc<Provider>);

#[tonic::async_trait]
impl Lookup for LookupService {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let received_at_ms = self.0.now_ms();
        let partner = self.0.partners().authenticate(&request)?;
        let mut session = None;
        match self.evaluated(&partner, request.into_inner(), received_at_ms, &mut session).await {
            Ok(answer) => Ok(Response::new(EvaluateResponse::clone(&answer))),
            Err(refusal) => Err(self.0.refuse(&partner.party, session, refusal).await),
        }
    }

    async fn fetch_manifest(
        &self,
        request: Request<FetchManifestRequest>,
    ) -> Result<Response<FetchManifestResponse>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        match DataSet::try_from(request.get_ref())
            .map_err(Refusal::from)
            .and_then(|data_set| self.0.downloadable(&partner.party, &data_set))
        {
            Ok(published) => {
                let manifest = published.manifest().as_bytes().to_vec().into();
                Ok(Response::new(FetchManifestResponse { manifest }))
            }
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }

    async fn fetch_deltas(
        &self,
        request: Request<FetchDeltasRequest>,
    ) -> Result<Response<FetchDeltasResponse>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let wanted = DeltasWanted::try_from(request.get_ref()).map_err(Refusal::from);
        match wanted.and_then(|wanted| self.deltas(&partner, &wanted)) {
            Ok(response) => Ok(Response::new(response)),
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }

    type FetchPagesStream = ReceiverStream<Result<FetchPagesResponse, Status>>;

    async fn fetch_pages(
        &self,
        request: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let wanted = PagesWanted::try_from(request.get_ref()).map_err(Refusal::from);
        match wanted.and_then(|wanted| self.pages(&partner, wanted)) {
            Ok(stream) => Ok(Response::new(stream)),
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }
}

impl LookupService {
    async fn evaluated(
        &self,
        partner: &Partner,
        message: EvaluateRequest,
        received_at_ms: u64,
        session: &mut Option<SessionId>,
    ) -> Result<Arc<EvaluateResponse>, Refusal> {
        let question = Question::try_from(message)?;
        let request = question.request.body();
        *session = Some(request.session);
        if request.requester != partner.party || request.provider != *self.0.party() {
            return Err(Refusal::Parties);
        }
        let id = request.session;
        let checked = self.0.check(question, &partner.receipt_key, received_at_ms)?;
        let slot = self.0.sessions().slot(id, checked.request().digest(), received_at_ms)?;
        // On a task of its own: a caller that gives up must not stop it between its log entry and the stored answer. What
        // is not evaluated by then is left.
        let (_waits, given_up) = oneshot::channel::<()>();
        let provider = self.0.clone();
        let answering = async move {
            let answer = slot.answer.get_or_try_init(|| async {
                let given_up = async move { given_up.await.unwrap_or_default() };
                let admitted = provider.admitted(checked, received_at_ms).await;
                let admitted = admitted.inspect_err(|_| provider.sessions().refused(id, &slot))?;
                slot.counted.store(true, Ordering::Relaxed);
                let answer = provider.answer(admitted, received_at_ms, given_up).await?;
                #[cfg(feature = "faults")]
                crate::faults::after_the_reply(provider.clone(), &answer);
                let response = EvaluateResponse::from(&answer);
                provider.sessions().stored(id, response.encoded_len());
                Ok::<_, Refusal>(Arc::new(response))
            });
            answer.await.cloned()
        };
        tokio::spawn(answering.in_current_span().with_current_context())
            .await
            .map_err(|_| Refusal::Internal)?
    }

    fn deltas(&self, partner: &Partner, wanted: &DeltasWanted) -> Result<FetchDeltasResponse, Refusal> {
        let published = self.0.downloadable(&partner.party, &wanted.data_set)?;
        match published.manifest().body().epoch {
            epoch if epoch == wanted.epoch => Ok(published.deltas().into()),
            current => Err(Refusal::EpochUnknown { current }),
        }
    }

    fn pages(
        &self,
        partner: &Partner,
        wanted: PagesWanted,
    ) -> Result<ReceiverStream<Result<FetchPagesResponse, Status>>, Refusal> {
        let published = self.0.downloadable_epoch(&partner.party, &wanted.data_set, wanted.epoch)?;
        published.find(&wanted).ok_or(Refusal::PageUnknown)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            // It was found a moment ago, and what is open does not change.
            if let Some(pages) = published.find(&wanted) {
                send_pages(pages, wanted.from, &sender);
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

fn send_pages(
    file: &PageFile,
    from: u64,
    sender: &tokio::sync::mpsc::Sender<Result<FetchPagesResponse, Status>>,
) {
    let (mut at, pages) = (from, file.pages());
    while at < pages {
        let count = (pages - at).min(MAX_PAGES_PER_CHUNK as u64);
        let chunk = file.read_pages(at, count as usize).map_err(|error| {
            tracing::error!(code = "SNAPSHOT_UNREADABLE", %error, "cannot read a published page");
            Status::from(Refusal::Internal)
        });
        let failed = chunk.is_err();
        let message = chunk.map(|pages| FetchPagesResponse { pages: pages.into() });
        // A reader that is gone ends the download.
        if sender.blocking_send(message).is_err() || failed {
            return;
        }
        at += count;
    }
}
