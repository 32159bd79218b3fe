//! The bank dials: a channel that connects when it is first used and reconnects when it breaks.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use windvane_protocols::party::PartyId;

use super::tls;
use super::transport::{Stream, Tcp, Transport};
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

/// A channel to a party at `host:port`.
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
    let connector = TlsConnector::from(tls::client_config(certificate, party)?);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| NodeError::Given {
            code: "ADDRESS_INVALID",
            message: format!("{address}: {error}"),
        })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let (transport, address) = (transport.clone(), address.to_owned());
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (connector, transport, address) = (connector.clone(), transport.clone(), address.clone());
        async move {
            let stream = transport.connect(&address).await?;
            let name = ServerName::try_from(SERVER_NAME).expect("a valid constant");
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    })))
}
