//! Where a load test takes calls, as it is told in `CANIHAZ_RPC_ADDR`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A socket of this machine.
///
/// Shown as a load test is told it: `unix:/path` or `127.0.0.1:9999`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A port of a loopback address.
    Tcp(SocketAddr),
}

impl Address {
    /// What [`parse`](Self::parse) takes.
    pub const RIGHT: &str = "an address of this machine as host:port, as in \"127.0.0.1:9999\"; the host is \
                             \"localhost\", \"[::1]\" or one that begins with 127., as the load test runs right here";

    /// The address that the key `rpc_addr` names; `None` unless it is a loopback one with a port from 1 to 65535.
    /// `localhost` is 127.0.0.1, and no name is looked up.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match (v6, host) {
            (Some(v6), _) => IpAddr::V6(v6.parse().ok()?),
            (None, "localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (None, v4) => IpAddr::V4(v4.parse().ok()?),
        };
        // What parses numbers takes a sign, too.
        let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten()?;
        (ip.is_loopback() && port > 0).then(|| Self::Tcp(SocketAddr::new(ip, port)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_this_machine_are_addresses() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        }
        for text in ["127.0.0.1:9999", "127.3.2.1:1", "[::1]:65535"] {
            check(text, Some(text));
        }
        check("localhost:80", Some("127.0.0.1:80"));
        let others = ["10.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::2]:80", "[::ffff:127.0.0.1]:80", "example.org:80"];
        let none = ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+80"];
        let odd = ["::1:80", "[127.0.0.1]:80", "unix:/a", "http://127.0.0.1:80", "127.0.0.1:80 ", "127.1:80"];
        for text in others.into_iter().chain(none).chain(odd) {
            check(text, None);
        }
    }

    #[test]
    fn an_address_is_shown_as_a_load_test_is_told_it() {
        assert_eq!(Address::Unix("/run/a b/s".into()).to_string(), "unix:/run/a b/s");
    }
}
