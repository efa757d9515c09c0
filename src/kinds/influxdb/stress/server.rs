//! How servers are spoken to, as a program of one's own says it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderValue;

use super::error::Error;
use crate::kinds::dial;
use crate::kinds::influxdb::settings::{Address, Server};

/// How long a request, or a statement of the provisioner, may take, where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Server {
    /// Speaks to servers for nobody in particular, and waits for 10 s.
    fn default() -> Self {
        Self { authorization: None, timeout: TIMEOUT, dial: dial::Settings::default() }
    }
}

impl Server {
    /// The same, for a user.
    ///
    /// # Errors
    /// [`Error::Credentials`]
    pub fn with_user(self, name: &str, password: &str) -> Result<Self, Error> {
        if name.contains(':') {
            return Err(Error::Credentials);
        }
        self.authorized(&format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
    }

    /// The same, for whoever has a token.
    ///
    /// # Errors
    /// [`Error::Credentials`]
    pub fn with_token(self, token: &str) -> Result<Self, Error> {
        self.authorized(&format!("Token {token}"))
    }

    fn authorized(self, value: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(value).map_err(|_| Error::Credentials)?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }
}

/// Understands `host:port`.
///
/// # Errors
/// [`Error::Address`]
pub fn address(text: &str) -> Result<Address, Error> {
    Address::parse(text).ok_or_else(|| Error::Address(text.to_owned()))
}

/// This server's name.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| String::from("localhost"))
}
