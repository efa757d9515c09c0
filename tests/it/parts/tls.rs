//! TLS as servers of the test's own speak it.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::certificates::{Authority, Certificate};

/// Shows a certificate, asks for clients' ones by an authority where there is one, and speaks these protocols.
pub fn config(certificate: &Certificate, clients: Option<&Authority>, protocols: &[&str]) -> Arc<ServerConfig> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let asking = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.file()).expect("it is a certificate")).expect("it is");
            let asking = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&ring));
            asking.build().expect("there is an authority")
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&certificate.certificate).expect("it is a certificate")];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("it is a key");
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    let config = config.expect("ring knows them").with_client_cert_verifier(asking);
    let mut config = config.with_single_cert(chain, key).expect("the key is the certificate's");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Speaks TLS on a connection; the handshake comes with the first byte that is read.
pub fn accept(config: &Arc<ServerConfig>, stream: &TcpStream) -> Option<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(config)).ok()?;
    Some(StreamOwned::new(connection, stream.try_clone().ok()?))
}
