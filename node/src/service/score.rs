//! `windvane.score.v1.Score`: the setup of an epoch, and the download of tables.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windvane_proto::convert::{TableManifestWanted, TableWanted};
use windvane_proto::score::v1::{
    AnnounceRequest, AnnounceResponse, ConfirmRequest, ConfirmResponse, DealRequest, DealResponse,
    FetchTableManifestRequest, FetchTableManifestResponse, FetchTableRequest, FinishRequest, FinishResponse,
    score_server::Score,
};

use crate::error::Refusal;
use crate::provider::Provider;
use crate::score::serve_tables;

/// The service.
#[derive(Debug, Clone)]
pub struct ScoreService(pub Arc<Provider>);

#[tonic::async_trait]
impl Score for ScoreService {
    async fn announce(&self, _: Request<AnnounceRequest>) -> Result<Response<AnnounceResponse>, Status> {
        Err(Status::unimplemented("the setup of a scoring group"))
    }

    async fn deal(&self, _: Request<DealRequest>) -> Result<Response<DealResponse>, Status> {
        Err(Status::unimplemented("the setup of a scoring group"))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        Err(Status::unimplemented("the setup of a scoring group"))
    }

    async fn finish(&self, _: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        Err(Status::unimplemented("the setup of a scoring group"))
    }

    async fn fetch_table_manifest(
        &self,
        request: Request<FetchTableManifestRequest>,
    ) -> Result<Response<FetchTableManifestResponse>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let manifest = match TableManifestWanted::try_from(request.get_ref()) {
            Ok(wanted) => serve_tables::manifest(&self.0, &partner, &wanted).await,
            Err(error) => Err(error.into()),
        };
        match manifest {
            Ok(manifest) => Ok(Response::new((&manifest).into())),
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }

    type FetchTableStream = serve_tables::SegmentStream;

    async fn fetch_table(
        &self,
        request: Request<FetchTableRequest>,
    ) -> Result<Response<Self::FetchTableStream>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let stream = match TableWanted::try_from(request.get_ref()) {
            Ok(wanted) => serve_tables::stream(&self.0, &partner, &wanted).await,
            Err(error) => Err(Refusal::from(error)),
        };
        match stream {
            Ok(stream) => Ok(Response::new(stream)),
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }
}
