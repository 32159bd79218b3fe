//! What TLS with other nodes uses at present. It changes while the node runs: a handshake takes what is there when it
//! begins, open connections stay, and those whose peer is no longer believed are refused and closed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::{ClientConfig, ServerConfig};
use windvane_protocols::party::PartyId;

use super::Partners;
use super::open::{Connection, Connections, GRACE};
use super::tls;
use super::transport::Transport;
use crate::clock::{Clock, SystemClock};
use crate::error::NodeError;
use crate::identity::Certificate;

/// How often paths and revocation lists of open connections are checked though nothing changed, milliseconds by the
/// node's clock: authorities, intermediates and lists end too. A check takes a few signatures a connection.
const PATHS_INTERVAL_MS: u64 = 60_000;

/// Shared by the acceptor, all channels and whoever renews it.
#[derive(Debug)]
pub struct Tls {
    present: RwLock<Arc<Present>>,
    open: Arc<Connections>,
    /// When paths were last checked, milliseconds of Unix time.
    paths_at_ms: AtomicU64,
    partners: Arc<Partners>,
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
}

#[derive(Debug)]
pub(super) struct Present {
    certificate: Certificate,
    server: Arc<ServerConfig>,
}

impl Present {
    fn new(certificate: Certificate) -> Result<Self, NodeError> {
        let server = tls::server_config(&certificate)?;
        Ok(Self { certificate, server })
    }

    /// What the acceptor uses.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// What a connector to `party` uses.
    pub(super) fn client(&self, party: &PartyId) -> Result<Arc<ClientConfig>, NodeError> {
        tls::client_config(&self.certificate, party)
    }
}

impl Tls {
    /// A node's.
    ///
    /// # Errors
    /// [`NodeError::Tls`] when the certificate cannot be used.
    pub fn new(
        certificate: Certificate,
        partners: Arc<Partners>,
        clock: Arc<dyn Clock>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, NodeError> {
        let present = RwLock::new(Arc::new(Present::new(certificate)?));
        Ok(Self {
            present,
            open: Arc::default(),
            paths_at_ms: AtomicU64::default(),
            partners,
            clock,
            transport,
        })
    }

    /// One that stays as it is, for a command.
    pub(super) fn fixed(certificate: &Certificate, transport: Arc<dyn Transport>) -> Result<Self, NodeError> {
        Self::new(certificate.clone(), Arc::default(), Arc::new(SystemClock), transport)
    }

    /// The certificate and the trust that new handshakes use.
    pub fn certificate(&self) -> Certificate {
        self.present().certificate.clone()
    }

    /// How other nodes are reached.
    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// The open connections.
    pub const fn open(&self) -> &Arc<Connections> {
        &self.open
    }

    pub(super) fn present(&self) -> Arc<Present> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses another certificate or trust from now on.
    ///
    /// # Errors
    /// [`NodeError::Tls`]: the present one stays.
    pub fn replace(&self, certificate: Certificate) -> Result<(), NodeError> {
        let present = Arc::new(Present::new(certificate)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = present;
        Ok(())
    }

    /// Looks again at a connection whose handshake used what may be past by now.
    pub(super) fn recheck(&self, used: &Arc<Present>, connection: &Arc<Connection>) {
        if !Arc::ptr_eq(used, &self.present()) && self.refuses(connection, true) {
            close_later(vec![connection.clone()]);
        }
    }

    /// Refuses the open connections whose peers are no longer believed, and closes them after a grace. With
    /// `everything` paths and revocation are checked again in any case, otherwise once a minute, and the certificates'
    /// own ends always. Gives whether a connection that this node dialled is among them: then channels should be made
    /// anew before the grace is over.
    pub(crate) fn sweep(&self, everything: bool) -> bool {
        let now_ms = self.clock.now_ms();
        let are_due = now_ms.abs_diff(self.paths_at_ms.load(Ordering::Relaxed)) >= PATHS_INTERVAL_MS;
        let everything = everything || are_due;
        if everything {
            self.paths_at_ms.store(now_ms, Ordering::Relaxed);
        }
        let refused: Vec<_> =
            self.open.all().into_iter().filter(|connection| self.refuses(connection, everything)).collect();
        let dialled = refused.iter().any(|connection| connection.end == windvane_keys::trust::End::Server);
        if !refused.is_empty() {
            close_later(refused);
        }
        dialled
    }

    /// Whether the connection is refused from now on.
    fn refuses(&self, connection: &Connection, everything: bool) -> bool {
        let Some(code) = self.fault(connection, everything) else { return false };
        let first = connection.refuse();
        if first {
            let party = connection.identity.party.as_str();
            tracing::warn!(code, party, "the peer of an open connection is no longer accepted");
        }
        first
    }

    fn fault(&self, connection: &Connection, everything: bool) -> Option<&'static str> {
        let (identity, now_ms) = (&connection.identity, self.clock.now_ms());
        if now_ms > identity.not_after_ms {
            return Some("CERTIFICATE_EXPIRED");
        }
        if !everything {
            return None;
        }
        let trust = self.present().certificate.trust.clone();
        if let Err(error) = trust.check(&connection.chain, connection.end, now_ms) {
            return Some(error.code());
        }
        let enrolled = self.partners.enrolled(&identity.party, &identity.keys_digest).is_some();
        (connection.is_known() && !enrolled).then_some("PARTNER_ENDED")
    }
}

fn close_later(refused: Vec<Arc<Connection>>) {
    tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        refused.iter().for_each(|connection| connection.close());
    });
}
