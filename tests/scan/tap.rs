//! Stands between a bank and a carrier, with the certificates of both, and keeps what passes: the plaintext
//! inside TLS, which is what each of them receives.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::{Iter, StreamExt as _, iter};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use windvane::peer::{Incoming, channel};
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_proto::audit::v1::audit_server::{Audit, AuditServer};
use windvane_proto::audit::v1::{CountersignRequest, CountersignResponse};
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::lookup_server::{Lookup, LookupServer};
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchDeltasRequest, FetchDeltasResponse, FetchManifestRequest,
    FetchManifestResponse, FetchPagesRequest, FetchPagesResponse,
};
use windvane_protocols::limits::MAX_MESSAGE_BYTES;

use super::record::append;
use crate::lab::Party;

/// The one in the middle.
#[derive(Clone)]
pub(crate) struct Tap {
    upstream: Channel,
    keep: Arc<PathBuf>,
}

impl Tap {
    /// Listens as `carrier` once the bank's certificate is there to go on with; the listener is bound before.
    pub(crate) fn serve(listener: TcpListener, carrier: &Party, bank: &Party, to: SocketAddr, keep: PathBuf) {
        let party = carrier.config.party();
        let upstream = channel(&bank.certificate(), &party, &to.to_string()).unwrap();
        let tap = Self { upstream, keep: Arc::new(keep) };
        let incoming = Incoming::new(listener, &carrier.certificate(), 8).unwrap();
        let lookup = LookupServer::new(tap.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let server = Server::builder().add_service(lookup).add_service(AuditServer::new(tap));
        tokio::spawn(server.serve_with_incoming(incoming));
    }

    fn lookup(&self) -> LookupClient<Channel> {
        LookupClient::new(self.upstream.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn keep(&self, message: &impl Message) {
        append(&self.keep, &message.encode_to_vec());
    }

    fn kept<T: Message>(&self, answer: Result<Response<T>, Status>) -> Result<Response<T>, Status> {
        match &answer {
            Ok(response) => self.keep(response.get_ref()),
            Err(status) => append(&self.keep, format!("{status:?}").as_bytes()),
        }
        // The connection's own metadata stay behind.
        answer.map(|response| Response::new(response.into_inner()))
    }
}

#[tonic::async_trait]
impl Lookup for Tap {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let message = request.into_inner();
        self.keep(&message);
        self.kept(self.lookup().evaluate(message).await)
    }

    async fn fetch_manifest(
        &self,
        request: Request<FetchManifestRequest>,
    ) -> Result<Response<FetchManifestResponse>, Status> {
        let message = request.into_inner();
        self.keep(&message);
        self.kept(self.lookup().fetch_manifest(message).await)
    }

    async fn fetch_deltas(
        &self,
        request: Request<FetchDeltasRequest>,
    ) -> Result<Response<FetchDeltasResponse>, Status> {
        let message = request.into_inner();
        self.keep(&message);
        self.kept(self.lookup().fetch_deltas(message).await)
    }

    type FetchPagesStream = Iter<std::vec::IntoIter<Result<FetchPagesResponse, Status>>>;

    async fn fetch_pages(
        &self,
        request: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        let message = request.into_inner();
        self.keep(&message);
        let mut pages = self.lookup().fetch_pages(message).await?.into_inner();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            if let Ok(page) = &page {
                self.keep(page);
            }
            all.push(page);
        }
        Ok(Response::new(iter(all)))
    }
}

#[tonic::async_trait]
impl Audit for Tap {
    async fn countersign(
        &self,
        request: Request<CountersignRequest>,
    ) -> Result<Response<CountersignResponse>, Status> {
        let message = request.into_inner();
        self.keep(&message);
        self.kept(AuditClient::new(self.upstream.clone()).countersign(message).await)
    }
}
