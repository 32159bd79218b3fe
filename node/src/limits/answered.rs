//! An answer's body on its way out: what a call holds is held until the peer has taken it, and a stream's end tells
//! whether it ended for the peer's own fault.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;

use super::Account;
use super::call::Held;
use super::connection::{Connection, Outgoing};
use crate::error::is_fault;

/// The body.
pub(super) struct Answered {
    inner: tonic::body::Body,
    outgoing: Outgoing,
    account: Arc<Account>,
    _held: Option<Arc<Held>>,
}

impl Answered {
    pub(super) fn new(
        inner: tonic::body::Body,
        connection: &Arc<Connection>,
        account: &Arc<Account>,
        held: Option<Arc<Held>>,
    ) -> Self {
        Self { inner, outgoing: Outgoing::new(connection), account: account.clone(), _held: held }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // It is asked for more only once there is room for it on the stream.
        self.outgoing.taken(Instant::now());
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.outgoing.given(frame.data_ref().map_or(0, Bytes::len), Instant::now());
            if frame.trailers_ref().is_some_and(is_fault) {
                self.account.note_fault(Instant::now());
            }
        }
        polled
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
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::config::LimitsConfig;
    use crate::error::Refusal;
    use crate::limits::Limits;

    /// A stream that ends in a status.
    async fn ends_in(status: Status, account: &Arc<Account>) {
        let trailers = status.into_http::<tonic::body::Body>().headers().clone();
        let stream =
            Full::new(Bytes::from_static(b"frames")).with_trailers(async move { Some(Ok(trailers)) });
        let connection = Arc::new(Connection::new());
        let answered = Answered::new(tonic::body::Body::new(stream), &connection, account, None);
        assert!(answered.collect().await.unwrap().trailers().is_some());
    }

    #[tokio::test]
    async fn a_stream_that_ends_for_its_peers_fault_counts_as_a_call_does() {
        let limits = Limits::new(LimitsConfig { faults_per_s: 1, ..LimitsConfig::default() }, 1);
        let account = limits.account(&"bank".parse().unwrap());
        let now = Instant::now();
        for _ in 0..100 {
            ends_in(Status::from(Refusal::GrantUnknown), &account).await;
            ends_in(Status::ok(""), &account).await;
        }
        assert!(!account.is_faulty(now), "what a grant forbids is no fault");
        for _ in 0..100 {
            ends_in(Status::from(Refusal::Parties), &account).await;
        }
        assert!(account.is_faulty(now));
    }
}
