//! A server as a type names it.

use std::fmt;

use toml::de::DeValue;

use crate::keys::Keys;
use crate::kinds::dial::Host;

/// The most servers that take turns.
const MAX_ADDRESSES: usize = 64;
/// What an address is.
pub const ADDRESS: &str = "an address as \"host:port\", without http://";
/// What a list of them is.
const ADDRESSES: &str = "a list of 1 to 64 addresses, as in [\"host:8086\"], without http://";

/// What is said of a host that a certificate can't be of.
pub const UNCERTAIN: [&str; 2] = ["a host that no certificate can be of", "a name that DNS knows, or \"server_name\""];

/// A server's host and port, as in `localhost:8086`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Understands `host:port`, IPv6 in brackets; `None` where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let wrong = |c: char| c.is_control() || c.is_whitespace() || ":/@?#[]<>\"".contains(c);
        let sound = port > 0 && (bracketed || !host.contains(wrong));
        Some(Self { host: Host::parse(host).filter(|_| sound)?, port })
    }

    /// The list of them that `key` has.
    pub fn list(keys: &mut Keys<'_>, key: &'static str) -> Option<Vec<Self>> {
        let item = |value: &DeValue<'_>| value.as_str().and_then(Self::parse);
        let list = keys.list(key, ADDRESSES, item)?;
        if !(1..=MAX_ADDRESSES).contains(&list.len()) {
            keys.refuse_key(key, format!("{} has {} addresses", keys.name(key), list.len()), ADDRESSES);
            return None;
        }
        Some(list)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host.with_port(self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        }
        check("localhost:8086", Some("localhost:8086"));
        check("10.0.0.1:1", Some("10.0.0.1:1"));
        check("[::1]:8086", Some("[::1]:8086"));
        for wrong in
            ["", "localhost", ":8086", "host:", "host:0", "host:65536", "host:+1", "::1:8086", "[host]:1", "a b:1"]
        {
            check(wrong, None);
        }
        check("http://host:8086", None);
        check("<node1_ip>:8086", None);
    }
}
