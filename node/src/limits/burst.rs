//! What a connection reads at a time, so that its decryption and its frames do not keep a thread from the others.
//!
//! A peer that sends as fast as it can would otherwise be read until its window is full: a megabyte of ciphertext, or
//! ten thousand streams, in one turn of its task, while the calls of all other peers wait for the thread.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf, ReadHalf, WriteHalf};

/// Bytes of one turn: about 20 microseconds of decryption, and at most so many frames as take a few hundred.
const TURN_BYTES: usize = 32 << 10;

/// A stream whose reading lets others run after each [`TURN_BYTES`].
pub(super) fn in_turns<S: AsyncRead + AsyncWrite>(stream: S) -> Join<InTurns<ReadHalf<S>>, WriteHalf<S>> {
    let (reader, writer) = tokio::io::split(stream);
    tokio::io::join(InTurns::new(reader), writer)
}

/// What is read, in turns.
#[derive(Debug)]
pub(super) struct InTurns<R> {
    reader: R,
    read: usize,
}

impl<R> InTurns<R> {
    const fn new(reader: R) -> Self {
        Self { reader, read: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for InTurns<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= TURN_BYTES {
            self.read = 0;
            // A task that wakes itself goes behind those that wait.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.reader).poll_read(cx, buf) {
            Poll::Pending => {
                self.read = 0;
                Poll::Pending
            }
            ready => {
                self.read += buf.filled().len() - before;
                ready
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_always_has_more_lets_others_run() {
        let other = tokio::spawn(async {});
        let mut endless = InTurns::new(tokio::io::repeat(7));
        let mut buffer = vec![0; 4 << 10];
        let mut bytes = 0;
        while !other.is_finished() {
            // Without turns this would never end: nothing here waits.
            bytes += tokio::task::unconstrained(endless.read(&mut buffer)).await.unwrap();
        }
        assert!(bytes <= 2 * TURN_BYTES, "{bytes}");
    }
}
