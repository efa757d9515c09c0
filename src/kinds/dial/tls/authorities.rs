//! Whom a server's certificate has to come from.

use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::{anyhow, ensure};
use log::debug;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Root certificates. Clones are cheap; two are equal when they trust the same.
#[derive(Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Those that the system trusts: read once, when first asked for.
    ///
    /// # Errors
    /// The system has none.
    pub fn of_the_system() -> anyhow::Result<Self> {
        static SYSTEM: OnceLock<Result<Authorities, String>> = OnceLock::new();
        let system = SYSTEM.get_or_init(|| read_system().map_err(|error| format!("{error:#}")));
        system.clone().map_err(|error| anyhow!(error))
    }

    /// Those in a bundle of PEM, each of which has to be a certificate.
    ///
    /// # Errors
    /// What is wrong with the bundle.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let added = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
            if !added {
                return Err(format!("certificate {} in the file", index + 1));
            }
        }
        match roots.is_empty() {
            true => Err(String::from("a file without a certificate")),
            false => Ok(Self::from(roots)),
        }
    }

    /// What rustls wants.
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

impl From<RootCertStore> for Authorities {
    fn from(roots: RootCertStore) -> Self {
        Self(Arc::new(roots))
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.roots == other.0.roots
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

fn read_system() -> anyhow::Result<Authorities> {
    let read = rustls_native_certs::load_native_certs();
    for error in &read.errors {
        debug!("root certificates: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(read.certs);
    debug!("{added} root certificates, {ignored} not understood");
    ensure!(added > 0, "the system has no root certificates (Debian's package is ca-certificates)");
    Ok(roots.into())
}
