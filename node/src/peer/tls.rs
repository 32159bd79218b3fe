//! rustls configurations: TLS 1.3 only, mutual, identities by URI, trust by party.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use windvane_keys::identity::CertificateIdentity;
use windvane_keys::trust::{End, Trust, TrustError};
use windvane_protocols::party::PartyId;

use crate::error::NodeError;
use crate::identity::Certificate;

const ALPN_HTTP2: &[u8] = b"h2";

/// What the acceptor uses: the client's certificate is required and must lead to an authority that may speak for
/// its party.
pub(super) fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, NodeError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(PeerVerifier::new(certificate, None)))
        .with_single_cert(certificate.tls.chain().to_vec(), certificate.tls.key().private_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // A resumed session skips the certificate, and with it whether it was revoked meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What the connector uses: the same for the server's certificate, which must name `party`.
pub(super) fn client_config(
    certificate: &Certificate,
    party: &PartyId,
) -> Result<Arc<ClientConfig>, NodeError> {
    let verifier = PeerVerifier::new(certificate, Some(party.clone()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificate.tls.chain().to_vec(), certificate.tls.key().private_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Checks the chain against the authorities of the certificate's party. Nodes have no DNS names, so the party's URI
/// stands in place of a host name.
#[derive(Debug)]
struct PeerVerifier {
    trust: Arc<Trust>,
    expected: Option<PartyId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    fn new(certificate: &Certificate, expected: Option<PartyId>) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Self { trust: certificate.trust.clone(), expected, algorithms }
    }

    fn verify(
        &self,
        end: End,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<CertificateIdentity, rustls::Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let identity = self.trust.check(&chain, end, now.as_secs().saturating_mul(1_000)).map_err(refused)?;
        match &self.expected {
            Some(expected) if *expected != identity.party => Err(CertificateError::NotValidForName.into()),
            _ => Ok(identity),
        }
    }
}

/// The alert tells the peer as much as TLS has words for; the node's log has the whole error.
fn refused(error: TrustError) -> rustls::Error {
    tracing::debug!(code = error.code(), %error, "refused a certificate");
    match error {
        TrustError::Identity(_) => CertificateError::BadEncoding,
        TrustError::Revoked { .. } => CertificateError::Revoked,
        TrustError::Overdue { .. } => CertificateError::UnknownRevocationStatus,
        error if error.is_expired() => CertificateError::Expired,
        _ => CertificateError::UnknownIssuer,
    }
    .into()
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(End::Server, end_entity, intermediates, now).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Nodes have one certificate each, so there is nothing to choose by.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(End::Client, end_entity, intermediates, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
