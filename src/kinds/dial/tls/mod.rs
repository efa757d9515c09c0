//! How TLS is spoken: rustls with ring, and as the type says, or as the system does it.

mod authorities;
mod detail;
mod identity;
mod verifier;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

pub use authorities::Authorities;
pub use detail::{detail, is_of_tls};
pub use identity::{Identity, NoIdentity};

use super::settings::Settings;
use verifier::Verifier;

/// What makes two ways to speak TLS one.
#[derive(Debug, PartialEq)]
struct Terms {
    alpn: Vec<Vec<u8>>,
    identity: Option<Arc<Identity>>,
    /// `None`: any certificate will do. Compared last, as it is the largest.
    authorities: Option<Authorities>,
}

/// The ways to speak TLS that are in use.
static IN_USE: Mutex<Vec<(Terms, Weak<ClientConfig>)>> = Mutex::new(Vec::new());

/// TLS as `settings` say, with these protocols offered by ALPN. Who says the same shares it, and its sessions. The
/// system's roots are read when first asked for, and once: runs that don't need them don't pay for them.
///
/// # Errors
/// The system has no root certificates, and none were given.
pub fn config(settings: &Settings, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
    let authorities = match (settings.insecure, &settings.authorities) {
        (true, _) => None,
        (false, Some(authorities)) => Some(authorities.clone()),
        (false, None) => Some(Authorities::of_the_system()?),
    };
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let terms = Terms { alpn, identity: settings.identity.clone(), authorities };

    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|(_, config)| config.strong_count() > 0);
    if let Some(config) = in_use.iter().find(|(other, _)| *other == terms).and_then(|(_, config)| config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(terms.config().context("TLS can't be set up")?);
    in_use.push((terms, Arc::downgrade(&config)));
    Ok(config)
}

impl Terms {
    fn config(&self) -> anyhow::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let verifier = Arc::new(Verifier::new(self.authorities.as_ref())?);
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => config.with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }
}

/// The cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
