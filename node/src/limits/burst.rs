//! What a connection reads at a time, so that its decryption and its frames do not keep a thread from the others.
//!
//! A peer that sends as fast as it can would otherwise be read until its window is full: a megabyte of ciphertext, or
//! ten thousand streams, in one turn of its task, while the calls of all other peers wait for the thread.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one turn: about 20 microseconds of decryption, and at most so many frames as take a few hundred.
const TURN_BYTES: usize = 32 << 10;

/// A stream that lets others run after each [`TURN_BYTES`] that were read from it.
#[derive(Debug)]
pub(super) struct InTurns<S> {
    stream: S,
    read: usize,
}

impl<S> InTurns<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurns<S> {
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
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for InTurns<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
