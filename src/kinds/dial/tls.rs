//! How TLS is spoken: rustls with ring, and the system's roots.

use std::io;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow, ensure};
use log::debug;
use rustls::{ClientConfig, RootCertStore};

/// What ALPN asks for.
const HTTP_1: &[u8] = b"http/1.1";

/// TLS that trusts what the system trusts. The roots are read when first asked for, and once:
/// runs without an https URL don't pay for them.
///
/// # Errors
/// The system has no root certificates.
pub fn system() -> anyhow::Result<Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| read_system().map_err(|error| format!("{error:#}")));
    system.clone().map_err(|error| anyhow!(error))
}

/// TLS that trusts `roots`.
///
/// # Errors
/// The provider doesn't speak the default versions of TLS.
pub fn trusting(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

/// Whether what failed is TLS, not what is below it.
pub fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

fn read_system() -> anyhow::Result<Arc<ClientConfig>> {
    let read = rustls_native_certs::load_native_certs();
    for error in &read.errors {
        debug!("root certificates: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(read.certs);
    debug!("{added} root certificates, {ignored} not understood");
    ensure!(added > 0, "the system has no root certificates (Debian's package is ca-certificates)");
    trusting(roots).context("TLS can't be set up")
}
