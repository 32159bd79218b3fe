//! Open connections to other nodes, so that those of a peer that is no longer believed are closed.
//!
//! A refused connection takes no new call from that moment. Calls that run have a short grace to end, because the
//! usual reason is a certificate that was renewed and then revoked; then the connection is closed whatever it does.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use windvane_keys::identity::CertificateIdentity;
use windvane_keys::trust::End;

/// How long calls of a refused connection may go on; a revoked peer is gone within five seconds with room to spare.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// All open connections of a node.
#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which end the peer is.
    pub(super) end: End,
    /// What the peer's certificate says.
    pub(super) identity: CertificateIdentity,
    /// The certificates that the peer showed.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether the peer was enrolled when it called, so that it can cease to be.
    known: AtomicBool,
    refused: AtomicBool,
    close: Mutex<Option<oneshot::Sender<()>>>,
}

impl Connection {
    /// Whether the peer may make new calls on it.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Whether the peer was enrolled when it called.
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Notes that the peer is enrolled.
    pub(super) fn know(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Refuses new calls from now on; whether it is the first time.
    pub(super) fn refuse(&self) -> bool {
        !self.refused.swap(true, Ordering::AcqRel)
    }

    /// Ends the connection, whatever it does.
    pub(super) fn close(&self) {
        let close = self.close.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(close) = close {
            // A stream that is gone needs no end.
            let _ = close.send(());
        }
    }
}

impl Connections {
    /// Takes up a connection after its handshake.
    pub(super) fn admit<S>(
        self: &Arc<Self>,
        stream: S,
        end: End,
        identity: CertificateIdentity,
        chain: Vec<CertificateDer<'static>>,
    ) -> (Watched<S>, Arc<Connection>) {
        let (close, closed) = oneshot::channel();
        let connection = Arc::new(Connection {
            end,
            identity,
            chain,
            known: AtomicBool::new(end == End::Server),
            refused: AtomicBool::new(false),
            close: Mutex::new(Some(close)),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, connection.clone());
        let place = Place { id, connections: self.clone() };
        (Watched { stream, closed, over: false, _place: place }, connection)
    }

    /// The connections that are open now.
    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a connection out of the list when its stream is dropped.
#[derive(Debug)]
struct Place {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.id);
    }
}

/// A stream that ends when its connection is closed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    closed: oneshot::Receiver<()>,
    over: bool,
    _place: Place,
}

impl<S: Unpin> Watched<S> {
    /// The stream, unless the connection was closed. Whoever waits on the stream is woken by the closing too.
    fn open(self: Pin<&mut Self>, cx: &mut Context<'_>) -> io::Result<Pin<&mut S>> {
        let this = self.get_mut();
        if !this.over {
            this.over = Pin::new(&mut this.closed).poll(cx).is_ready();
        }
        if this.over {
            let refused = "the peer is no longer accepted";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, refused));
        }
        Ok(Pin::new(&mut this.stream))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.open(cx) {
            Ok(stream) => stream.poll_read(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.open(cx) {
            Ok(stream) => stream.poll_write(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open(cx) {
            Ok(stream) => stream.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A closed connection needs no farewell.
        match self.open(cx) {
            Ok(stream) => stream.poll_shutdown(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.open(cx) {
            Ok(stream) => stream.poll_write_vectored(cx, bufs),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
