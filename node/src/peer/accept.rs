//! Our own acceptor: handshakes run beside each other, within a time and a number.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use windvane_keys::identity::CertificateIdentity;
use windvane_keys::trust::End;

use super::handshakes::{Handshake, Handshakes};
use super::open::Watched;
use super::transport::{Listener, Stream as Bytes, Tcp};
use super::{PeerIdentity, Tls};
use crate::error::NodeError;
use crate::identity::Certificate;

/// A peer that does not finish its handshake in this time is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after the system could not accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An accepted connection with the identity of its certificate.
#[derive(Debug)]
pub struct PeerStream {
    stream: Watched<TlsStream<Box<dyn Bytes>>>,
    identity: PeerIdentity,
}

/// Connections as they are accepted.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<PeerStream>,
}

impl Incoming {
    /// Begins to accept on a listener; at most so many connections are in their handshake. How many are open is for
    /// whoever takes them.
    ///
    /// # Errors
    /// [`NodeError::Tls`].
    pub fn new(
        listener: impl Listener + 'static,
        certificate: &Certificate,
        handshakes: usize,
    ) -> Result<Self, NodeError> {
        Ok(Self::live(listener, Arc::new(Tls::fixed(certificate, Arc::new(Tcp))?), handshakes))
    }

    /// The same with what TLS uses at the time of each handshake.
    pub fn live(listener: impl Listener + 'static, tls: Arc<Tls>, handshakes: usize) -> Self {
        let (sender, accepted) = mpsc::channel(16);
        tokio::spawn(accept_all(listener, tls, Handshakes::new(handshakes), sender));
        Self { accepted }
    }
}

impl PeerStream {
    /// Whose it is.
    pub const fn identity(&self) -> &PeerIdentity {
        &self.identity
    }
}

impl Stream for Incoming {
    type Item = Result<PeerStream, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(cx).map(|next| next.map(Ok))
    }
}

async fn accept_all(
    mut listener: impl Listener,
    tls: Arc<Tls>,
    handshakes: Handshakes,
    sender: mpsc::Sender<PeerStream>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok((stream, address)) => match handshakes.begin(address.ip()).await {
                Some(begun) => {
                    tokio::spawn(shake(stream, address, tls.clone(), begun, sender.clone()));
                }
                None => tracing::debug!(code = "TOO_MANY_HANDSHAKES", %address, "refused a connection"),
            },
            Err(error) => {
                tracing::warn!(code = "ACCEPT_FAILED", %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn shake(
    stream: Box<dyn Bytes>,
    address: SocketAddr,
    tls: Arc<Tls>,
    handshake: Handshake,
    sender: mpsc::Sender<PeerStream>,
) {
    let present = tls.present();
    let acceptor = TlsAcceptor::from(present.server());
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
        () = handshake.given_up() => {
            return tracing::debug!(code = "TOO_MANY_HANDSHAKES", %address, "gave up a slow handshake for another");
        }
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return tracing::warn!(code = "TLS_HANDSHAKE", %address, %error, "refused a connection");
        }
        Err(_) => return tracing::warn!(code = "TLS_HANDSHAKE", %address, "a handshake took too long"),
    };
    drop(handshake);
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    match chain.first().map(|der| CertificateIdentity::from_der(der)) {
        Some(Ok(identity)) => {
            let (party, keys_digest) = (identity.party.clone(), identity.keys_digest);
            let (stream, connection) = tls.open().admit(stream, End::Client, identity, chain);
            tls.recheck(&present, &connection);
            let identity = PeerIdentity { party, keys_digest, connection };
            // When the server is gone, so is the connection.
            let _ = sender.send(PeerStream { stream, identity }).await;
        }
        _ => tracing::warn!(code = "PEER_CERTIFICATE", %address, "a certificate without a party's identity"),
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.identity.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
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
