//! How servers are spoken to, as a program of one's own says it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderValue;

use super::error::Error;
use crate::kinds::dial::{self, Host};
use crate::kinds::influxdb::settings::{Address, Server};

/// How long a request, or a statement of the provisioner, may take, where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where InfluxDB listens, unless it is told otherwise.
const PORT: u16 = 8086;

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
    let parsed = || {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_bare = !host.contains(|c: char| c.is_control() || c.is_whitespace() || "/@?#<>\"".contains(c));
        Some(Address { host: Host::parse(host).filter(|_| is_bare)?, port })
    };
    parsed().ok_or_else(|| Error::Address(text.to_owned()))
}

/// InfluxDB's own address on this machine.
pub fn localhost() -> Address {
    Address { host: Host::parse("localhost").unwrap_or(Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST))), port: PORT }
}
