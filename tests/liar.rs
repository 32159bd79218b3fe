//! A provider with real keys and a real certificate that does not keep to the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::{Iter, iter};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use windvane::peer::Incoming;
use windvane::snapshot::Snapshot;
use windvane_keys::rotation::load_epoch;
use windvane_proto::lookup::v1::lookup_server::{Lookup, LookupServer};
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchDeltasRequest, FetchDeltasResponse, FetchManifestRequest,
    FetchManifestResponse, FetchPagesRequest, FetchPagesResponse, GroupAnswer,
};
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::provider::{Circumstances, EpochKeys};
use windvane_protocols::lookup::request::digest_answer;
use windvane_protocols::oprf::PrivateKey;
use windvane_protocols::transcript::Signed;

use crate::lab::Party;

/// What the liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Answers under a key of its own.
    OtherKey,
    /// Answers under a key of its own, and names the manifest's.
    OtherKeyNamedRight,
    /// Exchanges two elements, so that the proof fails.
    WrongProof,
    /// Signs a receipt over something else.
    WrongReceipt,
    /// Adds an element.
    TooManyElements,
    /// Answers with 65,536 empty records, two bytes each on the wire.
    EmptyRecords,
    /// Never answers.
    Hang,
    /// Ends a download after one page.
    Truncate,
}

/// The dishonest service.
pub(crate) struct Liar {
    lie: Lie,
    keys: EpochKeys,
    party: Arc<Party>,
    snapshot: Snapshot,
}

impl Liar {
    /// Serves in place of `party`; gives the address.
    pub(crate) async fn serve(party: &Arc<Party>, lie: Lie) -> SocketAddr {
        let data_set = "subscribers".parse().unwrap();
        let keys = load_epoch(&party.admin.keys().store, &data_set, 1).unwrap();
        let dir = windvane::dataset::published_dir(&party.config.node.data_dir, &data_set, 1);
        let liar = Self { lie, keys, party: party.clone(), snapshot: Snapshot::open(&dir).unwrap() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &party.certificate(), 8).unwrap();
        let server = Server::builder().add_service(LookupServer::new(liar)).serve_with_incoming(incoming);
        tokio::spawn(server);
        address
    }

    fn answer(&self, question: Question) -> Answer {
        let bank = self.party.admin.partners().unwrap().remove(0);
        let checked = question.check(&bank.receipt_key, windvane_now(), 60_000).unwrap();
        let circumstances =
            Circumstances { software: [0; 64], configuration: [0; 64], received_at_ms: 1, answered_at_ms: 1 };
        let other = self.keys.keys().map(|group| (*group, PrivateKey::random(&mut rand::rng()))).collect();
        let keys = match self.lie {
            Lie::OtherKey | Lie::OtherKeyNamedRight => &other,
            _ => &self.keys,
        };
        let key = self.party.admin.keys().signing_key();
        let mut answer =
            checked.evaluate(keys, Err("NONE"), &mut rand::rng()).unwrap().sign(circumstances, key);
        match self.lie {
            Lie::OtherKeyNamedRight => {
                for group in &mut answer.groups {
                    group.key = self.keys[&group.group].public().id();
                }
            }
            Lie::WrongProof | Lie::WrongReceipt => {
                let elements = &mut answer.groups[1].elements;
                *elements = elements.gather(&[1, 0, 2]);
            }
            Lie::TooManyElements => {
                let elements = &mut answer.groups[0].elements;
                *elements = elements.gather(&[0, 0]);
            }
            _ => {}
        }
        if self.lie != Lie::WrongReceipt {
            self.sign_again(&mut answer);
        }
        answer
    }

    /// A receipt over what was changed, so that only the lie itself can be found.
    fn sign_again(&self, answer: &mut Answer) {
        let mut receipt = answer.receipt.body().clone();
        receipt.transcript = digest_answer(&receipt.request.digest(), &answer.groups, answer.score.as_ref());
        receipt.elements = answer.groups.iter().map(|g| (g.group, g.elements.len() as u64)).collect();
        answer.receipt = Signed::sign(receipt, self.party.admin.keys().signing_key());
    }
}

fn windvane_now() -> u64 {
    use windvane::clock::{Clock as _, SystemClock};
    SystemClock.now_ms()
}

#[tonic::async_trait]
impl Lookup for Liar {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        if self.lie == Lie::Hang {
            std::future::pending::<()>().await;
        }
        if self.lie == Lie::EmptyRecords {
            let groups = vec![GroupAnswer::default(); 1 << 16];
            return Ok(Response::new(EvaluateResponse { groups, ..EvaluateResponse::default() }));
        }
        let answer = self.answer(Question::try_from(request.into_inner()).unwrap());
        Ok(Response::new(EvaluateResponse::from(&answer)))
    }

    async fn fetch_manifest(
        &self,
        _: Request<FetchManifestRequest>,
    ) -> Result<Response<FetchManifestResponse>, Status> {
        let manifest = self.snapshot.manifest().as_bytes().to_vec().into();
        Ok(Response::new(FetchManifestResponse { manifest }))
    }

    type FetchPagesStream = Iter<std::vec::IntoIter<Result<FetchPagesResponse, Status>>>;

    async fn fetch_deltas(
        &self,
        _: Request<FetchDeltasRequest>,
    ) -> Result<Response<FetchDeltasResponse>, Status> {
        Ok(Response::new(FetchDeltasResponse::default()))
    }

    async fn fetch_pages(
        &self,
        request: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        let pages = self.snapshot.pages().read_pages(request.into_inner().from, 1).unwrap().into();
        Ok(Response::new(iter(vec![Ok(FetchPagesResponse { pages })])))
    }
}
