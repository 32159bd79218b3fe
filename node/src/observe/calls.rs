//! Every call of a peer, counted and timed to the end of its answer, with its span.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};
use tower::{Layer, Service};
use windvane_proto::convert::CODE_KEY;
use windvane_protocols::party::PartyId;

use super::Observer;
use super::labels::{CallLabels, MethodLabels, OTHER, ServiceLabels, UNKNOWN, name_of};
use super::trace::{TRACEPARENT, Work};
use crate::peer::{Partners, PeerIdentity};
use crate::provider::Shared;

/// A method: its path, its service's short name, its own name.
type Method = (&'static str, &'static str, &'static str);

/// Every method that is served; others count as one.
const METHODS: [Method; 23] = [
    ("/grpc.health.v1.Health/Check", "health", "Check"),
    ("/grpc.health.v1.Health/Watch", "health", "Watch"),
    ("/windvane.common.v1.Peer/Hello", "common", "Hello"),
    ("/windvane.audit.v1.Audit/Countersign", "audit", "Countersign"),
    ("/windvane.lookup.v1.Lookup/Evaluate", "lookup", "Evaluate"),
    ("/windvane.lookup.v1.Lookup/FetchManifest", "lookup", "FetchManifest"),
    ("/windvane.lookup.v1.Lookup/FetchPages", "lookup", "FetchPages"),
    ("/windvane.lookup.v1.Lookup/FetchDeltas", "lookup", "FetchDeltas"),
    ("/windvane.psi.v1.Psi/Run", "psi", "Run"),
    ("/windvane.score.v1.Score/Announce", "score", "Announce"),
    ("/windvane.score.v1.Score/Deal", "score", "Deal"),
    ("/windvane.score.v1.Score/Confirm", "score", "Confirm"),
    ("/windvane.score.v1.Score/Finish", "score", "Finish"),
    ("/windvane.score.v1.Score/FetchTableManifest", "score", "FetchTableManifest"),
    ("/windvane.score.v1.Score/FetchTable", "score", "FetchTable"),
    ("/windvane.train.v1.Train/Open", "train", "Open"),
    ("/windvane.train.v1.Train/Begin", "train", "Begin"),
    ("/windvane.train.v1.Train/Upload", "train", "Upload"),
    ("/windvane.train.v1.Train/Sum", "train", "Sum"),
    ("/windvane.train.v1.Train/Contributions", "train", "Contributions"),
    ("/windvane.train.v1.Train/Grow", "train", "Grow"),
    ("/windvane.train.v1.Train/Parts", "train", "Parts"),
    ("/windvane.train.v1.Train/Finish", "train", "Finish"),
];

/// A method that is not served: the caller may have put anything into its name.
const NO_METHOD: Method = ("/other", "other", OTHER);

/// Counts the calls of a server.
#[derive(Debug, Clone)]
pub struct CallLayer {
    observer: Arc<Observer>,
    partners: Arc<Partners>,
}

impl CallLayer {
    /// Of a node.
    pub fn new(shared: &Shared) -> Self {
        Self { observer: shared.observer.clone(), partners: shared.partners.clone() }
    }

    fn begin(&self, request: &Request<impl Sized>) -> Call {
        let path = request.uri().path();
        let (name, service, method) =
            METHODS.into_iter().find(|(known, ..)| *known == path).unwrap_or(NO_METHOD);
        let identity = request.extensions().get::<PeerIdentity>();
        let peer = identity.and_then(|identity| self.partners.find(&identity.party));
        // Who is not enrolled joins nobody's trace.
        let theirs = peer.as_ref().and_then(|_| request.headers().get(TRACEPARENT)?.to_str().ok());
        let peer = peer.map_or_else(|| UNKNOWN.to_owned(), |partner| partner.party.to_string());
        let work = self.observer.serving(&name[1..], theirs);
        work.with_peer(&peer);
        self.observer.metrics.calls_running.get_or_create(&ServiceLabels { service }).inc();
        Call {
            observer: self.observer.clone(),
            service,
            method,
            peer,
            work,
            begun: Instant::now(),
            code: None,
        }
    }
}

/// A call under way. It is counted when it is dropped.
#[derive(Debug)]
struct Call {
    observer: Arc<Observer>,
    service: &'static str,
    method: &'static str,
    peer: String,
    work: Work,
    begun: Instant,
    /// What came of it; none where the caller did not wait for it.
    code: Option<String>,
}

impl Call {
    /// Takes the outcome from a response's head or end, where it stands there.
    fn hear(&mut self, headers: &HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        // The code is the program's own: this node wrote it.
        let own = headers.get(CODE_KEY).and_then(|code| code.to_str().ok());
        self.code = Some(own.unwrap_or_else(|| name(status.code())).to_owned());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self { service, method, begun, .. } = *self;
        let code = self.code.take().unwrap_or_else(|| name(Code::Cancelled).to_owned());
        if code != name(Code::Ok) {
            self.work.fail(&code);
        }
        let metrics = &self.observer.metrics;
        metrics.calls_running.get_or_create(&ServiceLabels { service }).dec();
        let took = begun.elapsed().as_secs_f64();
        metrics.call_seconds.get_or_create(&MethodLabels { service, method }).observe(took);
        let labels = CallLabels { service, method, peer: std::mem::take(&mut self.peer), code };
        metrics.calls.get_or_create(&labels).inc();
    }
}

/// A gRPC code as a code of ours.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::Internal => "INTERNAL",
        _ => OTHER,
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, layer: self.clone() }
    }
}

/// A server whose calls are counted.
#[derive(Debug, Clone)]
pub struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

impl<S> CallService<S> {
    /// Counts a call that was refused before it came here.
    pub(crate) fn refused(&self, peer: &PartyId, code: &str) {
        self.layer.observer.metrics.refused(name_of(peer, &self.layer.partners), code);
    }
}

impl<S, B, R> Service<Request<B>> for CallService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<Counted<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = self.layer.begin(&request);
        let work = call.work.clone();
        let answered = self.inner.call(request);
        Box::pin(async move {
            let response = work.within(answered).await?;
            call.hear(response.headers());
            // A call ends before its caller can know: with its head where that tells the outcome, or with its trailers.
            let call = call.code.is_none().then_some(call);
            Ok(response.map(|inner| Counted { inner: Box::pin(inner), call }))
        })
    }
}

/// An answer under way; its call ends with it.
#[derive(Debug)]
pub struct Counted<R> {
    inner: Pin<Box<R>>,
    call: Option<Call>,
}

impl<R: Body<Data = Bytes>> Body for Counted<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(mut call) = self.call.take()
                {
                    call.hear(trailers);
                }
            }
            Some(Err(_)) | None => self.call = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_of_the_protocol_is_known() {
        let files = [
            include_str!("../../../proto/audit/v1/audit.proto"),
            include_str!("../../../proto/common/v1/common.proto"),
            include_str!("../../../proto/lookup/v1/lookup.proto"),
            include_str!("../../../proto/psi/v1/psi.proto"),
            include_str!("../../../proto/score/v1/score.proto"),
            include_str!("../../../proto/train/v1/train.proto"),
        ];
        let word = |line: &str, before: &str| {
            let rest = line.trim_start().strip_prefix(before)?;
            Some(rest.split([' ', ';', '(', '{']).next()?.to_owned())
        };
        let mut defined = BTreeSet::new();
        for text in files {
            let package = text.lines().find_map(|line| word(line, "package ")).unwrap();
            let mut service = String::new();
            for line in text.lines() {
                service = word(line, "service ").unwrap_or(service);
                defined.extend(word(line, "rpc ").map(|method| format!("/{package}.{service}/{method}")));
            }
        }
        let known: BTreeSet<_> = METHODS.iter().map(|(path, ..)| (*path).to_owned()).collect();
        let ours = known.iter().filter(|path| path.starts_with("/windvane.")).cloned().collect();
        assert_eq!(defined, ours);
        assert!(METHODS.iter().all(|(path, service, method)| {
            path.contains(&format!(".{service}.v1.")) && path.ends_with(&format!("/{method}"))
        }));
    }
}
