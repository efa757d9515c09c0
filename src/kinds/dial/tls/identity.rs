//! Who we are, for servers that want to know.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::provider;

/// A client's certificate, with those that lead to its authority, and its key. The key is in no debug output.
#[derive(Debug, PartialEq)]
pub struct Identity {
    /// The client's own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The first one's.
    pub key: PrivateKeyDer<'static>,
}

/// Why a client's certificate and key are none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoIdentity {
    /// What should hold certificates.
    Certificates,
    /// What should hold a key.
    Key,
    /// One isn't the other's.
    Mismatch,
}

impl Identity {
    /// Understands two texts of PEM.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn parse(certificates: &[u8], key: &[u8]) -> Result<Self, NoIdentity> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
        let certificates = certificates.ok_or(NoIdentity::Certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| NoIdentity::Key)?;
        match CertifiedKey::from_der(certificates.clone(), key.clone_key(), &provider()) {
            Ok(_) => Ok(Self { certificates, key }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(NoIdentity::Mismatch),
            Err(Error::InvalidCertificate(_)) => Err(NoIdentity::Certificates),
            Err(_) => Err(NoIdentity::Key),
        }
    }
}
