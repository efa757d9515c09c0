//! How servers are spoken to, as a program of one's own says it.

use std::time::Duration;

use hyper::header::HeaderValue;

use super::error::Error;
use crate::credentials;
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
        self.authorized(credentials::basic_header(format!("{name}:{password}").as_bytes()))
    }

    /// The same, for whoever has a token.
    ///
    /// # Errors
    /// [`Error::Credentials`]
    pub fn with_token(self, token: &str) -> Result<Self, Error> {
        self.authorized(credentials::secret_header(format!("Token {token}").as_bytes()))
    }

    fn authorized(self, value: Option<HeaderValue>) -> Result<Self, Error> {
        Ok(Self { authorization: Some(value.ok_or(Error::Credentials)?), ..self })
    }
}

/// Understands `host:port`.
///
/// # Errors
/// [`Error::Address`]
pub fn address(text: &str) -> Result<Address, Error> {
    Address::parse(text).ok_or_else(|| Error::Address(text.to_owned()))
}
