//! An answer's body on its way out: what a call holds is held until the peer has taken it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;

use super::call::Held;
use super::connection::{Connection, Outgoing};

/// The body.
pub(super) struct Answered {
    inner: tonic::body::Body,
    outgoing: Outgoing,
    _held: Option<Arc<Held>>,
}

impl Answered {
    pub(super) fn new(
        inner: tonic::body::Body,
        connection: &Arc<Connection>,
        held: Option<Arc<Held>>,
    ) -> Self {
        Self { inner, outgoing: Outgoing::new(connection), _held: held }
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
