//! `windvane.common.v1.Peer`: versions and clocks.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windvane_proto::common::v1::{HelloRequest, HelloResponse, peer_server::Peer};
use windvane_protocols::{lookup, score};

use crate::provider::Provider;

/// The service.
#[derive(Debug, Clone)]
pub struct PeerService(pub Arc<Provider>);

#[tonic::async_trait]
impl Peer for PeerService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        self.0.partners().authenticate(&request)?;
        let protocols = request.get_ref().common_with(&[lookup::PROTOCOL, score::PROTOCOL]);
        Ok(Response::new(HelloResponse { protocols, now_ms: self.0.now_ms() }))
    }
}
