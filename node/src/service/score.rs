//! `windvane.score.v1.Score`: the setup of scoring groups, and their tables.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{ScoreRound, TableManifestWanted, TableWanted};
use windvane_proto::score::v1::{
    AnnounceRequest, AnnounceResponse, ConfirmRequest, ConfirmResponse, DealRequest, DealResponse,
    FetchTableManifestRequest, FetchTableManifestResponse, FetchTableRequest, FetchTableResponse,
    FinishRequest, FinishResponse, score_server::Score,
};
use windvane_protocols::score::group::GroupTerms;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};

use crate::error::Refusal;
use crate::provider::Provider;
use crate::score::rounds::Rounds;
use crate::score::serve_tables;

/// The service.
#[derive(Debug, Clone)]
pub struct ScoreService(pub Arc<Rounds>);

impl ScoreService {
    fn provider(&self) -> &Provider {
        self.0.provider()
    }

    async fn reply<T, R: From<T>>(
        &self,
        partner: &Partner,
        result: Result<T, Refusal>,
    ) -> Result<Response<R>, Status> {
        match result {
            Ok(reply) => Ok(Response::new(reply.into())),
            Err(refusal) => Err(self.provider().refuse(&partner.party, None, refusal).await),
        }
    }
}

#[tonic::async_trait]
impl Score for ScoreService {
    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let result = async {
            let terms = GroupTerms::try_from(request.into_inner())?;
            Ok::<_, Refusal>(AnnounceResponse::from(&self.0.announce(&partner, terms).await?))
        };
        self.reply(&partner, result.await).await
    }

    async fn deal(&self, request: Request<DealRequest>) -> Result<Response<DealResponse>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let result = async {
            let round = ScoreRound::<Announcement>::try_from(request.into_inner())?;
            Ok::<_, Refusal>(DealResponse::from(&self.0.deal(&partner, round).await?))
        };
        self.reply(&partner, result.await).await
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let result = async {
            let round = ScoreRound::<Dealing>::try_from(request.into_inner())?;
            Ok::<_, Refusal>(ConfirmResponse::from(&self.0.confirm(&partner, round).await?))
        };
        self.reply(&partner, result.await).await
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let result = async {
            let round = ScoreRound::<Confirmation>::try_from(request.into_inner())?;
            self.0.finish(&partner, round).await?;
            Ok::<_, Refusal>(FinishResponse {})
        };
        self.reply(&partner, result.await).await
    }

    async fn fetch_table_manifest(
        &self,
        request: Request<FetchTableManifestRequest>,
    ) -> Result<Response<FetchTableManifestResponse>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let result = TableManifestWanted::try_from(request.get_ref()).map_err(Refusal::from);
        let result = result.and_then(|wanted| {
            serve_tables::manifest(self.provider(), &partner, &wanted.group, wanted.epoch)
        });
        let result = result.map(|manifest| FetchTableManifestResponse { manifest: manifest.into() });
        self.reply(&partner, result).await
    }

    type FetchTableStream = ReceiverStream<Result<FetchTableResponse, Status>>;

    async fn fetch_table(
        &self,
        request: Request<FetchTableRequest>,
    ) -> Result<Response<Self::FetchTableStream>, Status> {
        let partner = self.provider().partners().authenticate(&request)?;
        let wanted = TableWanted::try_from(request.get_ref()).map_err(Refusal::from);
        let result = wanted.and_then(|wanted| serve_tables::stream(self.provider(), &partner, &wanted));
        self.reply(&partner, result).await
    }
}
