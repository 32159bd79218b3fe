//! Stands between a bank and a provider, with the certificates of both, and keeps all that passes inside TLS: of every
//! call its path, its headers and its messages, byte for byte, before anything has decoded them.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use windvane::peer::{Incoming, channel};
use windvane_proto::audit::v1::audit_server::AuditServer;
use windvane_proto::train::v1::train_server::TrainServer;

use crate::lab::Party;

/// A call as it passed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) path: String,
    /// What the provider received.
    pub(super) asked: Direction,
    /// What the bank received.
    pub(super) answered: Direction,
}

/// One direction of a call.
#[derive(Debug, Clone)]
pub(super) struct Direction {
    /// Headers, and trailers behind them.
    pub(super) headers: Vec<(String, String)>,
    pub(super) messages: Vec<Vec<u8>>,
}

/// All calls of one provider, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording(Arc<Mutex<Vec<Call>>>);

/// One service in the middle.
struct Relay<S> {
    upstream: Channel,
    recording: Recording,
    service: PhantomData<fn() -> S>,
}

impl Recording {
    /// Serves in place of `provider`, whose node is at `to`; gives the address to call instead.
    pub(super) async fn serve(provider: &Party, bank: &Party, to: SocketAddr) -> (Self, SocketAddr) {
        let recording = Self::default();
        let upstream = channel(&bank.certificate(), &provider.config.party(), &to.to_string()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &provider.certificate(), 8).unwrap();
        let server = Server::builder()
            .add_service(Relay::<TrainServer<()>>::new(&upstream, &recording))
            .add_service(Relay::<AuditServer<()>>::new(&upstream, &recording));
        tokio::spawn(server.serve_with_incoming(incoming));
        (recording, address)
    }

    /// What has passed so far.
    pub(super) fn calls(&self) -> Vec<Call> {
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
            Ok(pass(upstream, &recording, request).await.unwrap_or_else(|status| status.into_http()))
        })
    }
}

/// Passes a call on whole and keeps it.
async fn pass(
    mut upstream: Channel,
    recording: &Recording,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let gone = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = Direction::new(&[&head.headers], &body);
    let mut forwarded = Request::new(Body::new(Full::new(body)));
    *forwarded.method_mut() = head.method;
    *forwarded.uri_mut() = head.uri.clone();
    *forwarded.version_mut() = head.version;
    *forwarded.headers_mut() = head.headers;
    std::future::poll_fn(|context| upstream.poll_ready(context)).await.map_err(gone)?;
    let (answer, body) = upstream.call(forwarded).await.map_err(gone)?.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    let body = body.to_bytes();
    let headers: Vec<_> = std::iter::once(&answer.headers).chain(&trailers).collect();
    let answered = Direction::new(&headers, &body);
    recording.0.lock().unwrap().push(Call { path: head.uri.path().to_owned(), asked, answered });
    let body = Full::new(body).with_trailers(async move { trailers.map(Ok) });
    Ok(Response::from_parts(answer, Body::new(body)))
}

impl Direction {
    fn new(headers: &[&HeaderMap], body: &Bytes) -> Self {
        let text = |value: &[u8]| value.escape_ascii().to_string();
        let headers = headers
            .iter()
            .flat_map(|map| map.iter())
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        Self { headers: headers.collect(), messages: messages(body) }
    }
}

/// The messages of a body: of each a zero, since nothing is compressed, its length and its bytes.
fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(([compressed, length @ ..], rest)) = body.split_first_chunk::<5>() {
        assert_eq!(*compressed, 0);
        let (message, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        messages.push(message.to_vec());
        body = rest;
    }
    assert!(body.is_empty(), "a message was cut");
    messages
}
