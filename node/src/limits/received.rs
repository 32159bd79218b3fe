//! A request's body on its way in: each message is held against its limit, and against its peer's memory, before a
//! byte of it is kept. What is reserved is its length and what decoding it allocates besides, which
//! [`windvane_proto::decode`] bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use windvane_proto::convert::WireError;

use super::KIB;
use super::call::Held;
use super::method::Method;
use crate::error::Refusal;

/// gRPC puts one byte of flags and four of length before each message.
const PREFIX_BYTES: usize = 5;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The body.
pub(super) struct Received<B> {
    inner: B,
    method: Method,
    memory: Arc<Semaphore>,
    held: Arc<Held>,
    lengths: Lengths,
    /// A frame whose messages wait for memory.
    waiting: Option<(Bytes, Acquiring)>,
}

/// Where in the sequence of messages the body is.
#[derive(Debug, Default)]
struct Lengths {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix so far.
    have: usize,
    /// Bytes of the message to come.
    left: usize,
    messages: u64,
}

/// The messages that begin in one frame.
#[derive(Debug, Default, PartialEq, Eq)]
struct Begun {
    messages: usize,
    bytes: usize,
    largest: usize,
}

impl Lengths {
    fn read(&mut self, mut data: &[u8]) -> Begun {
        let mut begun = Begun::default();
        while !data.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(data.len());
                self.left -= taken;
                data = &data[taken..];
                continue;
            }
            if self.have == 0 {
                self.messages += 1;
            }
            let taken = (PREFIX_BYTES - self.have).min(data.len());
            self.prefix[self.have..self.have + taken].copy_from_slice(&data[..taken]);
            self.have += taken;
            data = &data[taken..];
            if self.have == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.have = 0;
                begun.messages += 1;
                begun.bytes = begun.bytes.saturating_add(self.left);
                begun.largest = begun.largest.max(self.left);
            }
        }
        begun
    }
}

impl<B> Received<B> {
    pub(super) fn new(inner: B, method: Method, memory: Arc<Semaphore>, held: Arc<Held>) -> Self {
        Self { inner, method, memory, held, lengths: Lengths::default(), waiting: None }
    }

    /// The memory, in KiB, for the messages that begin in a frame.
    fn needed(&mut self, data: &[u8]) -> Result<u32, WireError> {
        let begun = self.lengths.read(data);
        let limit = self.method.max_bytes;
        if begun.largest > limit {
            return Err(WireError::Size { field: "the message", found: begun.largest, limit });
        }
        if self.method.single && self.lengths.messages > 1 {
            return Err(WireError::Form { field: "the request", expected: "a single message" });
        }
        // A frame has a few KiB, so that this is far from the end of the range.
        let bytes = begun.bytes.saturating_add(begun.messages.saturating_mul(self.method.decoded_bytes));
        Ok(u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX))
    }

    fn keep(&self, permit: OwnedSemaphorePermit) {
        self.held.keep(permit, self.method.single);
    }
}

impl<B> Body for Received<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            let needed = match this.needed(&data) {
                Ok(0) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(needed) => needed,
                Err(error) => return Poll::Ready(Some(Err(Status::from(error).into()))),
            };
            match this.memory.clone().try_acquire_many_owned(needed) {
                Ok(permit) => {
                    this.keep(permit);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(_) => {
                    let acquiring = Box::pin(this.memory.clone().acquire_many_owned(needed));
                    this.waiting = Some((data, acquiring));
                }
            }
        }
        let Some((_, acquiring)) = &mut this.waiting else { return Poll::Ready(None) };
        let permit = ready!(acquiring.as_mut().poll(cx));
        let data = this.waiting.take().map(|(data, _)| data).unwrap_or_default();
        Poll::Ready(Some(match permit {
            Ok(permit) => {
                this.keep(permit);
                Ok(Frame::data(data))
            }
            // The account is never closed.
            Err(_) => Err(Status::from(Refusal::Internal).into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::limits::method::Class;

    const METHOD: Method =
        Method { class: Class::Call, max_bytes: 2_000, decoded_bytes: 1_000, single: true, function: None };

    fn message(length: u32, sent: usize) -> Bytes {
        [&[0][..], &length.to_be_bytes(), &vec![7; sent]].concat().into()
    }

    fn body(bytes: Bytes, memory: &Arc<Semaphore>, held: &Arc<Held>) -> Received<Full<Bytes>> {
        Received::new(Full::new(bytes), METHOD, memory.clone(), held.clone())
    }

    fn code(error: &BoxError) -> String {
        let status = error.downcast_ref::<Status>().expect("a status");
        status.metadata().get("windvane-code").unwrap().to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_message_takes_its_memory_before_it_is_read_and_until_its_answer_has_left() {
        let (memory, held) = (Arc::new(Semaphore::new(3)), Arc::new(Held::nobodys()));
        let mut first = body(message(2_000, 10), &memory, &held);
        assert!(first.frame().await.unwrap().is_ok());
        assert_eq!(
            memory.available_permits(),
            0,
            "all of the message, of which ten bytes have come, decoded"
        );
        let second_held = Arc::new(Held::nobodys());
        let mut second = body(message(10, 10), &memory, &second_held);
        let waits = tokio::time::timeout(std::time::Duration::ZERO, second.frame()).await;
        assert!(waits.is_err());
        drop((first, held));
        assert!(second.frame().await.unwrap().is_ok());
        assert_eq!(memory.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_message_that_announces_too_much_or_is_followed_by_another_is_refused_at_once() {
        let (memory, held) = (Arc::new(Semaphore::new(2)), Arc::new(Held::nobodys()));
        let error = body(message(1 << 30, 1), &memory, &held).frame().await.unwrap().unwrap_err();
        assert_eq!(code(&error), "MESSAGE_TOO_LARGE");
        let two = [message(1, 1), message(1, 1)].concat().into();
        let error = body(two, &memory, &held).frame().await.unwrap().unwrap_err();
        assert_eq!(code(&error), "MESSAGE_MALFORMED");
        assert_eq!(memory.available_permits(), 2);
    }

    #[test]
    fn lengths_are_read_across_frames() {
        let mut lengths = Lengths::default();
        let stream = [message(3, 3), message(0, 0), message(300, 300)].concat();
        let begun: Vec<_> = stream.chunks(7).map(|frame| lengths.read(frame)).collect();
        assert_eq!(begun.iter().map(|begun| begun.bytes).sum::<usize>(), 303);
        assert_eq!(begun.iter().map(|begun| begun.largest).max(), Some(300));
        assert_eq!((lengths.messages, lengths.left, lengths.have), (3, 0, 0));
    }
}
