//! One call: admitted, given a deadline, and passed on to the services.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::service::Routes;
use tower::Service as _;
use windvane_proto::convert::WireError;

use super::admission::Place;
use super::answered::Answered;
use super::connection::{Activity, Connection};
use super::method::Method;
use super::received::Received;
use super::{Account, Limits, deadline};
use crate::error::{Refusal, is_fault};
use crate::functions::Functions;
use crate::observe::calls::CallService;
use crate::peer::PeerIdentity;

/// A peer whose calls are all refused for its faults gets each refusal this much later, so that asking again and again
/// costs it more than the node.
const FAULT_PAUSE: Duration = Duration::from_millis(250);

/// The services, with every call of theirs counted.
pub(crate) type Routed = CallService<Routes>;

/// The calls of one connection.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) routes: Routed,
    pub(super) identity: PeerIdentity,
    pub(super) account: Arc<Account>,
    pub(super) limits: Arc<Limits>,
    pub(super) functions: Arc<Functions>,
    pub(super) connection: Arc<Connection>,
}

/// What a call holds until its answer has left.
#[derive(Debug)]
pub(super) struct Held {
    memory: Mutex<Option<OwnedSemaphorePermit>>,
    _place: Option<Place>,
    _activity: Option<Activity>,
}

impl Held {
    fn new(place: Place, activity: Activity) -> Self {
        Self { memory: Mutex::default(), _place: Some(place), _activity: Some(activity) }
    }

    /// Nobody's, for tests.
    #[cfg(test)]
    pub(super) fn nobodys() -> Self {
        Self { memory: Mutex::default(), _place: None, _activity: None }
    }

    /// Keeps memory beside what is held already, or in its place where earlier messages are done with.
    pub(super) fn keep(&self, permit: OwnedSemaphorePermit, beside: bool) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match memory.as_mut() {
            Some(held) if beside => held.merge(permit),
            _ => *memory = Some(permit),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move { Ok(calls.answer(request).await) })
    }
}

impl Calls {
    async fn answer(self, request: Request<Incoming>) -> Response<Answered> {
        let (now, activity) = (Instant::now(), Activity::new(&self.connection));
        let method = Method::of(request.uri().path());
        let longest = self.limits.deadline(method.class);
        let until = now + deadline::of_caller(request.headers()).map_or(longest, |own| own.min(longest));
        let admitted = timeout_at(until, self.admit(method, now)).await;
        let place = match admitted.unwrap_or(Err(Refusal::DeadlineExceeded)) {
            Ok(place) => place,
            Err(refusal) => return self.refused(refusal, until).await,
        };
        let held = Arc::new(Held::new(place, activity));
        let answer = timeout_at(until, self.routed(request, method, held.clone())).await;
        let response = answer.unwrap_or_else(|_| Status::from(Refusal::DeadlineExceeded).into_http());
        if is_fault(response.headers()) {
            self.account.note_fault(Instant::now());
        }
        if let Some(error) = response.extensions().get().and_then(WireError::of) {
            self.tell(error.code());
        }
        response.map(|body| Answered::new(body, &self.connection, &self.account, Some(held)))
    }

    async fn admit(&self, method: Method, now: Instant) -> Result<Place, Refusal> {
        self.functions.check_partner(&self.identity.party)?;
        self.account.check_pace(now)?;
        method.function.map_or(Ok(()), |function| self.functions.check(function))?;
        self.limits.enter(&self.account, method.class).await
    }

    async fn routed(
        &self,
        request: Request<Incoming>,
        method: Method,
        held: Arc<Held>,
    ) -> Response<tonic::body::Body> {
        let memory = self.account.memory.clone();
        let mut request = request.map(|body| Received::new(body, method, memory, held));
        request.extensions_mut().insert(self.identity.clone());
        let mut routes = self.routes.clone();
        // Routes are always ready, and every error of theirs is a response.
        match routes.call(request).await {
            Ok(response) => response.map(tonic::body::Body::new),
            Err(never) => match never {},
        }
    }

    /// Counts a call that was refused before a service saw it; the structured log hears of it now and then.
    fn tell(&self, code: &'static str) {
        self.routes.refused(&self.account.party, code);
        if let Some(times) = self.account.note_shed(Instant::now()) {
            tracing::warn!(code, peer = %self.account.party, times, "calls were refused before a service saw them");
        }
    }

    /// A refusal before the services.
    async fn refused(&self, refusal: Refusal, until: Instant) -> Response<Answered> {
        self.tell(refusal.code());
        if matches!(refusal, Refusal::PeerFaults { .. }) {
            tokio::time::sleep_until(until.min(Instant::now() + FAULT_PAUSE)).await;
        }
        let response: Response<tonic::body::Body> = Status::from(refusal).into_http();
        response.map(|body| Answered::new(body, &self.connection, &self.account, None))
    }
}
