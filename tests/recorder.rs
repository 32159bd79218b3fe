//! Stands between a bank and a provider, with the certificates of both, and keeps all that passes inside TLS: of every
//! call its path, its headers and its messages, byte for byte, before anything has decoded them. What passes goes on at
//! once, so that conversations pass as well as questions and answers.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use windvane::peer::{Incoming, channel};
use windvane_proto::audit::v1::audit_server::AuditServer;
use windvane_proto::common::v1::peer_server::PeerServer;
use windvane_proto::lookup::v1::lookup_server::LookupServer;
use windvane_proto::psi::v1::psi_server::PsiServer;
use windvane_proto::score::v1::score_server::ScoreServer;
use windvane_proto::train::v1::train_server::TrainServer;

use crate::lab::Party;

/// A call as it passed.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    /// What the provider received.
    pub(crate) asked: Direction,
    /// What the bank received.
    pub(crate) answered: Direction,
}

/// One direction of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Direction {
    /// Headers, and trailers behind them.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) messages: Vec<Vec<u8>>,
}

/// All calls of one provider, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<Vec<Call>>>);

/// One service in the middle.
struct Relay<S> {
    upstream: Channel,
    recording: Recording,
    service: PhantomData<fn() -> S>,
}

/// What has passed in one direction of a call that goes on.
#[derive(Debug, Default)]
struct Passed {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A call that goes on. It is recorded with its trailers, before the bank has them, or when it is given up.
struct Passing {
    path: String,
    asked: Arc<Mutex<Passed>>,
    answered: Passed,
    recording: Option<Recording>,
}

impl Recording {
    /// Listens in place of `provider`, whose node is at `to`, once the bank is there to go on as; the listener is bound
    /// before.
    pub(crate) fn serve(listener: TcpListener, provider: &Party, bank: &Party, to: SocketAddr) -> Self {
        let recording = Self::default();
        let upstream = channel(&bank.certificate(), &provider.config.party(), &to.to_string()).unwrap();
        let incoming = Incoming::new(listener, &provider.certificate(), 8).unwrap();
        let server = Server::builder()
            .add_service(Relay::<AuditServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<LookupServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<PeerServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<PsiServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<ScoreServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<TrainServer<()>>::new(&upstream, &recording));
        tokio::spawn(server.serve_with_incoming(incoming));
        recording
    }

    /// As [`Self::serve`], on a free port; gives the address to call instead.
    pub(crate) async fn beside(provider: &Party, bank: &Party, to: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self::serve(listener, provider, bank, to), address)
    }

    /// What has passed so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

impl<S> Relay<S> {
    fn new(upstream: &Channel, recording: &Recording) -> Self {
        Self { upstream: upstream.clone(), recording: recording.clone(), service: PhantomData }
    }
}

impl<S> Clone for Relay<S> {
    fn clone(&self) -> Self {
        Self::new(&self.upstream, &self.recording)
    }
}

impl<S: NamedService> NamedService for Relay<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Relay<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (upstream, recording) = (self.upstream.clone(), self.recording.clone());
        Box::pin(async move {
            Ok(pass(upstream, recording, request).await.unwrap_or_else(|status| status.into_http()))
        })
    }
}

/// Passes a call on as it comes and keeps it.
async fn pass(
    mut upstream: Channel,
    recording: Recording,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let gone = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let (head, body) = request.into_parts();
    let asked = Arc::new(Mutex::new(Passed::default()));
    asked.lock().unwrap().add_headers(&head.headers);
    let mut passing = Passing {
        path: head.uri.path().to_owned(),
        asked: asked.clone(),
        answered: Passed::default(),
        recording: Some(recording),
    };
    let body = body.map_frame(move |frame| {
        asked.lock().unwrap().add(frame.data_ref(), frame.trailers_ref());
        frame
    });
    let forwarded = Request::from_parts(head, Body::new(body));
    std::future::poll_fn(|context| upstream.poll_ready(context)).await.map_err(gone)?;
    let (head, body) = upstream.call(forwarded).await.map_err(gone)?.into_parts();
    passing.answered.add_headers(&head.headers);
    let body = body.map_frame(move |frame| {
        passing.answered.add(frame.data_ref(), frame.trailers_ref());
        if frame.is_trailers() {
            passing.record();
        }
        frame
    });
    Ok(Response::from_parts(head, Body::new(body)))
}

impl Passed {
    fn add(&mut self, data: Option<&Bytes>, trailers: Option<&HeaderMap>) {
        self.body.extend(data.into_iter().flatten());
        trailers.into_iter().for_each(|trailers| self.add_headers(trailers));
    }

    fn add_headers(&mut self, headers: &HeaderMap) {
        let text = |value: &[u8]| value.escape_ascii().to_string();
        let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        self.headers.extend(headers);
    }

    fn take(&mut self) -> Direction {
        let Self { headers, body } = std::mem::take(self);
        Direction { headers, messages: messages(&body) }
    }
}

impl Passing {
    fn record(&mut self) {
        if let Some(recording) = self.recording.take() {
            let (asked, answered) = (self.asked.lock().unwrap().take(), self.answered.take());
            let call = Call { path: std::mem::take(&mut self.path), asked, answered };
            recording.0.lock().unwrap().push(call);
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.record();
    }
}

/// The messages of a body: of each a zero, since nothing is compressed, its length and its bytes; the last may have been
/// cut off.
fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(([compressed, length @ ..], rest)) = body.split_first_chunk::<5>() {
        assert_eq!(*compressed, 0);
        let length = u32::from_be_bytes(*length) as usize;
        let (message, rest) = rest.split_at(length.min(rest.len()));
        messages.push(message.to_vec());
        body = rest;
    }
    messages
}
