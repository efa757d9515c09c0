//! Whom to connect to.

use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::{InvalidDnsNameError, ServerName};

/// A name that has to be looked up, or an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// A name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// The name that the host's certificate has to bear.
    ///
    /// # Errors
    /// It is not a name that DNS knows.
    pub fn server_name(&self) -> Result<ServerName<'static>, InvalidDnsNameError> {
        match self {
            Self::Name(name) => ServerName::try_from(name.clone()),
            Self::Address(address) => Ok(ServerName::from(*address)),
        }
    }

    /// The host with a port, IPv6 in brackets.
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Self::Name(name) => format!("{name}:{port}"),
            Self::Address(address) => SocketAddr::new(*address, port).to_string(),
        }
    }

    /// Understands a name, or an address, IPv6 in brackets; `None` where it is empty or no address in its brackets.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => Some(Self::Address(IpAddr::V6(address.parse().ok()?))),
            None if text.is_empty() => None,
            None => Some(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Address)),
        }
    }
}
