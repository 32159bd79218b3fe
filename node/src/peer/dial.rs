//! The bank dials: a channel that connects when it is first used and reconnects when it breaks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use windvane_keys::identity::CertificateIdentity;
use windvane_keys::trust::End;
use windvane_protocols::party::PartyId;

use super::open::Watched;
use super::transport::{Stream, Tcp, Transport};
use super::{Tls, tls};
use crate::error::NodeError;
use crate::identity::Certificate;

/// Connecting, with its handshake, may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A silent connection is probed after this time, so that a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// HTTP/2 windows large enough to stream a snapshot without waiting for the other side.
const WINDOW_BYTES: u32 = 8 << 20;

/// The name in the TLS hello: the peer is known by its URI, not by this.
const SERVER_NAME: &str = "windvane.invalid";

/// A channel to a party at `host:port`, with a certificate and trust that stay as they are.
///
/// # Errors
/// [`NodeError`] when the address or the certificate cannot be used.
pub fn channel(certificate: &Certificate, party: &PartyId, address: &str) -> Result<Channel, NodeError> {
    channel_over(&(Arc::new(Tcp) as Arc<dyn Transport>), certificate, party, address)
}

/// A connection to a party at `host:port` on which nothing has been said yet, for whoever rehearses what a peer may do.
///
/// # Errors
/// As [`channel`], and what connecting ends with.
pub(crate) async fn connect(
    certificate: &Certificate,
    party: &PartyId,
    address: &str,
) -> Result<TlsStream<Box<dyn Stream>>, NodeError> {
    let connector = TlsConnector::from(tls::client_config(certificate, party)?);
    let connecting = async {
        let stream = Tcp.connect(address).await?;
        connector.connect(ServerName::try_from(SERVER_NAME).expect("a valid constant"), stream).await
    };
    connecting.await.map_err(NodeError::io(format!("connecting to {address}")))
}

/// [`channel`] over another transport.
///
/// # Errors
/// As [`channel`].
pub fn channel_over(
    transport: &Arc<dyn Transport>,
    certificate: &Certificate,
    party: &PartyId,
    address: &str,
) -> Result<Channel, NodeError> {
    // So that what is wrong with the certificate is told at once.
    let tls = Tls::fixed(certificate, transport.clone())?;
    tls.present().client(party)?;
    live_channel(&Arc::new(tls), party, address)
}

/// A channel to a party at `host:port`, with what TLS uses whenever it connects.
///
/// # Errors
/// [`NodeError`] when the address cannot be used.
pub fn live_channel(tls: &Arc<Tls>, party: &PartyId, address: &str) -> Result<Channel, NodeError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| NodeError::Given {
            code: "ADDRESS_INVALID",
            message: format!("{address}: {error}"),
        })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let (tls, party, address) = (tls.clone(), party.clone(), address.to_owned());
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (tls, party, address) = (tls.clone(), party.clone(), address.clone());
        async move { connect_live(&tls, &party, &address).await.map(TokioIo::new) }
    })))
}

async fn connect_live(
    tls: &Tls,
    party: &PartyId,
    address: &str,
) -> io::Result<Watched<TlsStream<Box<dyn Stream>>>> {
    let present = tls.present();
    let connector = TlsConnector::from(present.client(party).map_err(io::Error::other)?);
    let stream = tls.transport().connect(address).await?;
    let name = ServerName::try_from(SERVER_NAME).expect("a valid constant");
    let stream = connector.connect(name, stream).await.inspect_err(|error| {
        tracing::warn!(code = "TLS_HANDSHAKE", %party, %error, "could not connect to a peer");
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let identity = chain.first().ok_or(io::ErrorKind::InvalidData)?;
    let identity = CertificateIdentity::from_der(identity).map_err(io::Error::other)?;
    let (stream, connection) = tls.open().admit(stream, End::Server, identity, chain);
    tls.recheck(&present, &connection);
    Ok(stream)
}
