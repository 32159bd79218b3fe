//! `windvane.psi.v1.Psi`: set intersection.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use windvane_proto::psi::v1::{Frame, psi_server::Psi};

use crate::psi::serve::{PsiProvider, connection};

/// The service.
#[derive(Debug, Clone)]
pub struct PsiService(pub Arc<PsiProvider>);

#[tonic::async_trait]
impl Psi for PsiService {
    type RunStream = ReceiverStream<Result<Frame, Status>>;

    async fn run(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::RunStream>, Status> {
        let partner = self.0.provider().partners().authenticate(&request)?;
        let (out, frames) = connection();
        let provider = self.0.clone();
        tokio::spawn(async move { provider.serve(&partner, request.into_inner(), out).await });
        Ok(Response::new(ReceiverStream::new(frames)))
    }
}
