//! How TLS is spoken: rustls with ring, and as the type says, or as the system does it.

mod authorities;
mod detail;
mod identity;
mod verifier;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

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
    let terms = Terms::new(settings, alpn)?;
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|(_, config)| config.strong_count() > 0);
    if let Some(config) = in_use.iter().find(|(other, _)| *other == terms).and_then(|(_, config)| config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(terms.config(None).context("TLS can't be set up")?);
    in_use.push((terms, Arc::downgrade(&config)));
    Ok(config)
}

/// TLS as `settings` say, for who connects by a name of its own: a certificate has to bear `name`, whatever that is,
/// and no name is asked for when `name` is an address.
///
/// # Errors
/// As [`config`].
pub fn config_for(settings: &Settings, name: ServerName<'static>) -> anyhow::Result<ClientConfig> {
    Terms::new(settings, &[])?.config(Some(name)).context("TLS can't be set up")
}

/// TLS that trusts nobody, for who speaks it to nobody.
///
/// # Errors
/// ring speaks no TLS that rustls does.
pub fn config_for_nobody() -> anyhow::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

impl Terms {
    fn new(settings: &Settings, alpn: &[&[u8]]) -> anyhow::Result<Self> {
        let authorities = match (settings.insecure, &settings.authorities) {
            (true, _) => None,
            (false, Some(authorities)) => Some(authorities.clone()),
            (false, None) => Some(Authorities::of_the_system()?),
        };
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { alpn, identity: settings.identity.clone(), authorities })
    }

    fn config(&self, name: Option<ServerName<'static>>) -> anyhow::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let asks_for_name = !matches!(name, Some(ServerName::IpAddress(_)));
        let verifier = Arc::new(Verifier::new(self.authorities.as_ref(), name)?);
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => config.with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = asks_for_name;
        Ok(config)
    }
}

/// The cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
