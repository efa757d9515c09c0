//! Whether a server is who it says.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use webpki::EndEntityCert;

use super::authorities::Authorities;
use super::provider;

/// Verifies certificates by authorities, or takes them all. That a server has its certificate's key is verified in
/// either case.
#[derive(Debug)]
pub struct Verifier {
    /// `None`: any certificate will do.
    trusted: Option<Arc<WebPkiServerVerifier>>,
    /// What certificates have to bear in place of the name that was connected to.
    name: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Nobody but the server itself says who it is.
#[derive(Clone, Copy, Debug)]
pub struct SelfSigned;

impl Verifier {
    /// Trusts `authorities`, or everybody, and wants to see `name`, or that of the server.
    ///
    /// # Errors
    /// There are no authorities among them.
    pub fn new(authorities: Option<&Authorities>, name: Option<ServerName<'static>>) -> anyhow::Result<Self> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let trusted = match authorities {
            Some(authorities) => {
                Some(WebPkiServerVerifier::builder_with_provider(authorities.roots(), provider).build()?)
            }
            None => None,
        };
        Ok(Self { trusted, name, algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        let server_name = self.name.as_ref().unwrap_or(server_name);
        let verified = trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                // There is an authority of the same name.
                | CertificateError::BadSignature
                // It may be one for authorities.
                | CertificateError::Other(_),
            ) if is_self_signed(end_entity) => CertificateError::Other(OtherError(Arc::new(SelfSigned))).into(),
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signed by itself")
    }
}

impl std::error::Error for SelfSigned {}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}
