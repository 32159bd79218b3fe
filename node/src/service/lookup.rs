//! `windvane.lookup.v1.Lookup`: evaluation, manifests and pages.

use std::sync::Arc;

use prost::Message as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::PagesWanted;
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchManifestRequest, FetchManifestResponse, FetchPagesRequest,
    FetchPagesResponse, lookup_server::Lookup,
};
use windvane_protocols::limits::MAX_PAGES_PER_CHUNK;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::Question;
use windvane_protocols::party::SessionId;

use crate::error::Refusal;
use crate::provider::{Provider, Published};

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

    type FetchPagesStream = ReceiverStream<Result<FetchPagesResponse, Status>>;

    async fn fetch_pages(
        &self,
        request: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let wanted = PagesWanted::try_from(request.get_ref()).map_err(Refusal::from);
        match wanted.and_then(|wanted| self.pages(&partner, &wanted)) {
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
        let answer = slot.answer.get_or_try_init(|| async {
            let answer = self.0.answer(checked, received_at_ms).await?;
            let response = EvaluateResponse::from(&answer);
            self.0.sessions().stored(id, response.encoded_len());
            Ok::<_, Refusal>(Arc::new(response))
        });
        answer.await.cloned()
    }

    fn pages(
        &self,
        partner: &Partner,
        wanted: &PagesWanted,
    ) -> Result<ReceiverStream<Result<FetchPagesResponse, Status>>, Refusal> {
        let published = self.0.downloadable_epoch(&partner.party, &wanted.data_set, wanted.epoch)?;
        let pages = published.find(wanted).ok_or(Refusal::PageUnknown)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_AHEAD);
        let from = wanted.from;
        tokio::task::spawn_blocking(move || send_pages(&published, from, pages, &sender));
        Ok(ReceiverStream::new(receiver))
    }
}

fn send_pages(
    published: &Published,
    from: u64,
    pages: u64,
    sender: &tokio::sync::mpsc::Sender<Result<FetchPagesResponse, Status>>,
) {
    let mut at = from;
    while at < pages {
        let count = (pages - at).min(MAX_PAGES_PER_CHUNK as u64);
        let chunk = published.pages().read_pages(at, count as usize).map_err(|error| {
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
