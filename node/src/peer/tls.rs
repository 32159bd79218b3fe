//! rustls configurations: TLS 1.3 only, mutual, identities by URI.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use windvane_keys::identity::CertificateIdentity;
use windvane_protocols::party::PartyId;

use crate::error::NodeError;
use crate::identity::Certificate;

const ALPN_HTTP2: &[u8] = b"h2";

/// What the acceptor uses: the client's certificate is required and must be signed by the authority.
pub(super) fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, NodeError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(certificate)?), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.tls.chain().to_vec(), certificate.tls.key().private_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// What the connector uses: the server's certificate must be signed by the authority and name `party`.
pub(super) fn client_config(
    certificate: &Certificate,
    party: &PartyId,
) -> Result<Arc<ClientConfig>, NodeError> {
    let verifier = PartyVerifier {
        party: party.clone(),
        roots: roots(certificate)?,
        algorithms: ring::default_provider().signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificate.tls.chain().to_vec(), certificate.tls.key().private_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(certificate: &Certificate) -> Result<RootCertStore, NodeError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.authority.as_slice()))?;
    Ok(roots)
}

/// Checks the chain as rustls does, and the party's URI in place of a host name: nodes have no DNS names.
#[derive(Debug)]
struct PartyVerifier {
    party: PartyId,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PartyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        match CertificateIdentity::from_der(end_entity) {
            Ok(identity) if identity.party == self.party => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
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
