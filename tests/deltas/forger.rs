//! A carrier's node that serves deltas as it likes, signed with its real keys or not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::{Iter, iter};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use windvane::peer::Incoming;
use windvane::snapshot::Snapshot;
use windvane_proto::lookup::v1::lookup_server::{Lookup, LookupServer};
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchDeltasRequest, FetchDeltasResponse, FetchManifestRequest,
    FetchManifestResponse, FetchPagesRequest, FetchPagesResponse,
};
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::transcript::Signed;

use crate::lab::Party;

/// What is served, to be changed between fetches.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) manifest: Vec<u8>,
    pub(super) deltas: Vec<Vec<u8>>,
    pub(super) pages: HashMap<PublicationId, Vec<u8>>,
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Forger(pub(super) Arc<Mutex<Served>>);

impl Forger {
    /// Serves what `party` published, until it is told otherwise; gives the address.
    pub(super) async fn serve(party: &Party, published: &Snapshot) -> (Self, SocketAddr) {
        let chain = published.chain();
        let ids = (0..).map_while(|index| chain.publication(index));
        let pages = |id: PublicationId| {
            let file = published.publication(&id).unwrap();
            let chunks = (0..file.pages()).step_by(64).map(|from| file.read_pages(from, 64).unwrap());
            (id, chunks.collect::<Vec<_>>().concat())
        };
        let served = Served {
            manifest: chain.manifest().as_bytes().to_vec(),
            deltas: chain.deltas().iter().map(|delta| delta.as_bytes().to_vec()).collect(),
            pages: ids.map(pages).collect(),
        };
        let forger = Self(Arc::new(Mutex::new(served)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &party.certificate(), 8).unwrap();
        let service = LookupServer::new(forger.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        (forger, address)
    }

    /// Serves this manifest from now on.
    pub(super) fn offer_manifest(&self, manifest: &Signed<Manifest>) {
        self.0.lock().unwrap().manifest = manifest.as_bytes().to_vec();
    }

    /// Serves these deltas from now on.
    pub(super) fn offer<'a>(&self, deltas: impl IntoIterator<Item = &'a Signed<Delta>>) {
        let deltas = deltas.into_iter().map(|delta| delta.as_bytes().to_vec());
        self.0.lock().unwrap().deltas = deltas.collect();
    }
}

#[tonic::async_trait]
impl Lookup for Forger {
    async fn evaluate(&self, _: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        Err(Status::unimplemented("this one forges deltas"))
    }

    async fn fetch_manifest(
        &self,
        _: Request<FetchManifestRequest>,
    ) -> Result<Response<FetchManifestResponse>, Status> {
        let manifest = self.0.lock().unwrap().manifest.clone().into();
        Ok(Response::new(FetchManifestResponse { manifest }))
    }

    async fn fetch_deltas(
        &self,
        _: Request<FetchDeltasRequest>,
    ) -> Result<Response<FetchDeltasResponse>, Status> {
        let deltas = self.0.lock().unwrap().deltas.iter().cloned().map(Into::into).collect();
        Ok(Response::new(FetchDeltasResponse { deltas }))
    }

    type FetchPagesStream = Iter<std::vec::IntoIter<Result<FetchPagesResponse, Status>>>;

    async fn fetch_pages(
        &self,
        request: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        let wanted = request.into_inner();
        let id: PublicationId = wanted.publication.as_ref().try_into().unwrap();
        let served = self.0.lock().unwrap();
        let pages = served.pages.get(&id).map_or(&[][..], Vec::as_slice);
        let rest = pages.get(wanted.from as usize * PAGE_BYTES..).unwrap_or_default();
        let chunks =
            rest.chunks(PAGE_BYTES).map(|page| Ok(FetchPagesResponse { pages: page.to_vec().into() }));
        Ok(Response::new(iter(chunks.collect::<Vec<_>>())))
    }
}
