//! What a type says of the way to its server.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::proxy::Proxy;
use super::tls::{Authorities, Identity, NoIdentity};
use crate::keys::Keys;
use crate::kinds::{MAX_GRACE, MIN_TIMEOUT};
use crate::page::Key;

/// The largest file of certificates, in bytes: the system's own bundle is a quarter of that.
const MAX_CERTIFICATES: u64 = 1 << 20;
/// How long the addresses of a name are used, unless the type says.
const DNS_TTL: Duration = Duration::from_secs(30);
/// The longest that they can be used. A run is over after a minute.
const MAX_DNS_TTL: Duration = Duration::from_secs(3600);
/// The most addresses that a type can name.
const MAX_ADDRESSES: usize = 64;
/// The longest path of a unix socket, in bytes: Linux has room for no more.
const MAX_SOCKET_PATH: usize = 107;
/// What `resolve` takes.
const RESOLVE: &str = "an address as in \"10.0.0.1\", \"10.0.0.1:8080\" or \"[::1]:8080\", a list of up to 64 of them, or \
                       \"unix:/path\"";

/// What [`Settings::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "resolve", meaning: "where connections lead, whatever the host; several take turns", default: "none" },
    Key { name: "server_name", meaning: "the name that the server's certificate has to bear", default: "the host" },
    Key {
        name: "ca_file",
        meaning: "the file (PEM) that has the authorities' certificates, of which one has to stand behind the server's",
        default: "those of the system",
    },
    Key {
        name: "certificate_file",
        meaning: "the file (PEM) that has our certificate, for servers that ask for one; needs `key_file`",
        default: "none",
    },
    Key {
        name: "key_file",
        meaning: "the file (PEM) that has its private key, without a pass phrase",
        default: "none",
    },
    Key { name: "insecure", meaning: "`true`: any certificate will do, which summaries then say", default: "`false`" },
    Key {
        name: "connect_timeout",
        meaning: "how long a new connection may take, with name and TLS",
        default: "`timeout`",
    },
    Key { name: "dns_ttl", meaning: "how long the addresses of a name are used", default: "`\"30s\"`" },
];

/// How a type gets its connections. Two that are equal go the same way: what the named files hold is in here.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whom a server's certificate has to come from; `None`: from whom the system trusts.
    pub authorities: Option<Authorities>,
    /// What servers are shown that want a certificate.
    pub identity: Option<Arc<Identity>>,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// The name that the server's certificate has to bear, in place of the host's.
    pub server_name: Option<ServerName<'static>>,
    /// Where connections lead.
    pub way: Way,
    /// How long a connection may take, with name and TLS; `None`: as long as the hit.
    pub connect_timeout: Option<Duration>,
    /// How long the addresses of a name are used.
    pub dns_ttl: Duration,
}

/// Where connections lead.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Way {
    /// To the host.
    #[default]
    Host,
    /// To these addresses, whatever the host; at least one.
    Addresses(Arc<[Place]>),
    /// To this unix socket, whatever the host.
    Socket(Arc<Path>),
    /// To a proxy.
    Proxy(Arc<Proxy>),
}

/// An address in place of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The address.
    pub address: SocketAddr,
    /// Whether the port is the host's, not the address's own.
    pub any_port: bool,
}

impl Settings {
    /// Reads the keys that all kinds have whose hits go over a network.
    pub fn read(keys: &mut Keys<'_>) -> Self {
        let way = resolve(keys).unwrap_or_default();
        Self::read_rest(keys, way)
    }

    /// The same, and those of an HTTP proxy.
    pub fn read_with_proxy(keys: &mut Keys<'_>) -> Self {
        let way = match (resolve(keys), Proxy::read(keys)) {
            (Some(_), Some(_)) => {
                // A proxy looks names up itself.
                keys.refuse_key("proxy", "\"proxy\" and \"resolve\"", "one of them");
                Way::Host
            }
            (way, None) => way.unwrap_or_default(),
            (None, Some(proxy)) => Way::Proxy(Arc::new(proxy)),
        };
        Self::read_rest(keys, way)
    }

    /// The proxy, where there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        match &self.way {
            Way::Proxy(proxy) => Some(proxy),
            Way::Host | Way::Addresses(_) | Way::Socket(_) => None,
        }
    }

    fn read_rest(keys: &mut Keys<'_>, way: Way) -> Self {
        let server_name = keys
            .parsed("server_name", "a host's name, or an address", |name| ServerName::try_from(name.to_owned()).ok());
        Self {
            authorities: authorities(keys),
            identity: identity(keys).map(Arc::new),
            insecure: keys.boolean("insecure").unwrap_or_default(),
            server_name,
            way,
            connect_timeout: keys.duration("connect_timeout", MIN_TIMEOUT, MAX_GRACE),
            dns_ttl: keys.duration("dns_ttl", Duration::ZERO, MAX_DNS_TTL).unwrap_or(DNS_TTL),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authorities: None,
            identity: None,
            insecure: false,
            server_name: None,
            way: Way::Host,
            connect_timeout: None,
            dns_ttl: DNS_TTL,
        }
    }
}

impl Place {
    /// Where that is for a host with `port`.
    pub fn with_port(self, port: u16) -> SocketAddr {
        let mut address = self.address;
        if self.any_port {
            address.set_port(port);
        }
        address
    }

    /// Understands an address, with a port or without; IPv6 with one is in brackets.
    fn parse(text: &str) -> Option<Self> {
        let with_port = |address: SocketAddr| (address.port() > 0).then_some(Self { address, any_port: false });
        let without = |ip: IpAddr| Self { address: SocketAddr::new(ip, 0), any_port: true };
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match bare {
            Some(v6) => Some(without(IpAddr::V6(v6.parse().ok()?))),
            None => text.parse().map_or_else(|_| with_port(text.parse().ok()?), |ip| Some(without(ip))),
        }
    }
}

/// The key `resolve`.
fn resolve(keys: &mut Keys<'_>) -> Option<Way> {
    let mut socket = None;
    let places = keys.one_or_list("resolve", RESOLVE, |value| {
        let text = value.as_str()?;
        match text.strip_prefix("unix:") {
            Some(path) => {
                socket = Some(socket_path(path)?);
                Some(None)
            }
            None => Some(Some(Place::parse(text)?)),
        }
    })?;
    let named = places.len();
    let places: Arc<[Place]> = places.into_iter().flatten().collect();
    match socket {
        Some(path) if named == 1 => Some(Way::Socket(path)),
        None if (1..=MAX_ADDRESSES).contains(&named) => Some(Way::Addresses(places)),
        _ => {
            keys.refuse_key("resolve", "\"resolve\" can't be this list", RESOLVE);
            None
        }
    }
}

/// The absolute path of a unix socket; `None` where it is none.
pub fn socket_path(path: &str) -> Option<Arc<Path>> {
    let sound = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains('\0');
    sound.then(|| Path::new(path).into())
}

/// The key `ca_file`.
pub fn authorities(keys: &mut Keys<'_>) -> Option<Authorities> {
    let pem = keys.contents("ca_file", MAX_CERTIFICATES)?;
    let parsed = Authorities::parse(&pem);
    parsed.map_err(|seen| keys.refuse_key("ca_file", seen, "PEM with the certificates of authorities")).ok()
}

/// The keys `certificate_file` and `key_file`.
fn identity(keys: &mut Keys<'_>) -> Option<Identity> {
    let certificates = keys.contents("certificate_file", MAX_CERTIFICATES);
    let key = keys.contents("key_file", MAX_CERTIFICATES);
    let (certificates, key) = match (certificates, key) {
        (Some(certificates), Some(key)) => (certificates, key),
        (None, None) => return None,
        // One that is there and can't be read is a fault of its own.
        (one, _) => {
            if keys.is_sound() {
                let key = if one.is_some() { "certificate_file" } else { "key_file" };
                keys.refuse_key(key, "one of \"certificate_file\" and \"key_file\"", "both of them");
            }
            return None;
        }
    };
    let parsed = Identity::parse(&certificates, &key);
    let refused = parsed.map_err(|no| match no {
        NoIdentity::Certificates => {
            let right = "PEM with a certificate, and those that lead to its authority";
            keys.refuse_key("certificate_file", "what is in the file", right);
        }
        NoIdentity::Key => {
            let right = "PEM with a private key (PKCS#8, PKCS#1 or SEC1) that needs no pass phrase";
            keys.refuse_key("key_file", "what is in the file", right);
        }
        NoIdentity::Mismatch => {
            keys.refuse_key("key_file", "the key of another certificate", "that of the first in \"certificate_file\"");
        }
    });
    refused.ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;
    use crate::keys::Source;

    /// A folder with a certificate and its key, another key, and what is neither.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["host".to_owned()]).unwrap().self_signed(&key).unwrap();
        write("certificate.pem", &certificate.pem());
        write("two.pem", &(certificate.pem() + &certificate.pem()));
        write("half.pem", &(certificate.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
        write("key.pem", &key.serialize_pem());
        write("other-key.pem", &KeyPair::generate().unwrap().serialize_pem());
        let locked = key.serialize_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        write("locked-key.pem", &locked);
        write("text", "nothing of that\n");
        folder
    }

    fn read(folder: &TempDir, text: &str) -> Result<Settings, Vec<String>> {
        let file = folder.path().join("x.toml");
        let source = Source { file: &file, text, quotes_values: false, now: "", now_unknown: "" };
        let (settings, faults) = source.read(Settings::read_with_proxy);
        match settings {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(faults.iter().map(|fault| format!("{:?} {}: {}", fault.at, fault.seen, fault.right)).collect()),
        }
    }

    #[test]
    fn where_connections_lead() {
        let folder = folder();
        let check = |text: &str, expect: &[&str]| {
            let way = read(&folder, text).unwrap().way;
            let Way::Addresses(places) = way else { panic!("{way:?}") };
            let places: Vec<_> = places.iter().map(|place| place.with_port(80).to_string()).collect();
            assert_eq!(places, expect, "{text}");
        };
        check("resolve = \"10.0.0.1\"", &["10.0.0.1:80"]);
        check("resolve = \"10.0.0.1:8080\"", &["10.0.0.1:8080"]);
        check("resolve = \"::1\"", &["[::1]:80"]);
        check("resolve = \"[::1]\"", &["[::1]:80"]);
        check("resolve = \"[::1]:8080\"", &["[::1]:8080"]);
        check("resolve = \"[fe80::1%2]:80\"", &["[fe80::1%2]:80"]);
        check("resolve = [\"10.0.0.1\", \"[::1]:8080\"]", &["10.0.0.1:80", "[::1]:8080"]);
        assert_eq!(read(&folder, "").unwrap(), Settings::default());
        let socket = Way::Socket(Path::new("/run/app.sock").into());
        assert_eq!(read(&folder, "resolve = \"unix:/run/app.sock\"").unwrap().way, socket);
        assert_eq!(read(&folder, "proxy = \"http://a:1\"").unwrap().proxy().unwrap().port, 1);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let folder = folder();
        let check = |text: &str, expect: &str| {
            let faults = read(&folder, text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(expect), "{text}: {faults:?}");
        };
        for resolve in ["\"host\"", "\"\"", "7", "[]", "\"10.0.0.1:0\"", "\"unix:app.sock\"", "\"unix:\"", "\"::1:x\""]
        {
            check(&format!("resolve = {resolve}"), "an address as in");
        }
        check("resolve = [\"unix:/a\", \"10.0.0.1\"]", "\"resolve\" can't be this list");
        check(&format!("resolve = [{}]", "\"10.0.0.1\", ".repeat(65)), "\"resolve\" can't be this list");
        check(&format!("resolve = \"unix:/{}\"", "x".repeat(107)), "an address as in");
        check("resolve = \"::1\"\nproxy = \"http://a:1\"", "(2, 9)) \"proxy\" and \"resolve\": one of them");
        check("proxy = \"http://me:secret@a:1\"", "without user and password");
        check("server_name = \"a b\"", "a host's name");
        check("connect_timeout = \"51s\"", "from 1ms to 50s");
        check("dns_ttl = 5", "a time with its unit");
        check("insecure = 1", "true or false");

        check("ca_file = \"nowhere\"", "does not exist");
        check("\nca_file = \"text\"", "(2, 11)) a file without a certificate: PEM");
        check("ca_file = \"half.pem\"", "certificate 2 in the file");
        check("certificate_file = \"certificate.pem\"", "both of them");
        check("key_file = \"key.pem\"", "both of them");
        let pair = |certificate: &str, key: &str| format!("certificate_file = \"{certificate}\"\nkey_file = \"{key}\"");
        check(&pair("nowhere", "key.pem"), "does not exist");
        check(&pair("text", "key.pem"), "(1, 20)) what is in the file: PEM with a certificate");
        check(&pair("certificate.pem", "text"), "(2, 12)) what is in the file: PEM with a private key");
        check(&pair("certificate.pem", "locked-key.pem"), "that needs no pass phrase");
        check(&pair("certificate.pem", "other-key.pem"), "the key of another certificate");
    }

    #[test]
    fn settings_are_equal_when_the_files_hold_the_same_and_show_no_key() {
        let folder = folder();
        let text = "ca_file = \"certificate.pem\"\ncertificate_file = \"certificate.pem\"\nkey_file = \"key.pem\"";
        let settings = read(&folder, text).unwrap();
        assert_eq!(read(&folder, text).unwrap(), settings);
        let key = settings.identity.as_ref().unwrap().key.secret_der();
        assert!(!format!("{settings:?}").contains(&format!("{:?}", &key[..8]).replace(['[', ']'], "")), "{settings:?}");

        let two = read(&folder, &text.replace("ca_file = \"certificate.pem\"", "ca_file = \"two.pem\"")).unwrap();
        assert_ne!(two, settings);
        let (old, new) = (folder.path().join("key.pem"), self::folder());
        fs::copy(new.path().join("key.pem"), old).unwrap();
        fs::copy(new.path().join("certificate.pem"), folder.path().join("certificate.pem")).unwrap();
        assert_ne!(read(&folder, text).unwrap(), settings);
    }

    #[test]
    fn keys_in_all_three_formats() {
        let folder = folder();
        let run = |command: &str| {
            let made =
                std::process::Command::new("openssl").args(command.split(' ')).current_dir(folder.path()).output();
            let made = made.unwrap();
            assert!(made.status.success(), "{command}: {}", String::from_utf8_lossy(&made.stderr));
        };
        run("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rsa -keyout rsa.key -out rsa.crt");
        run("rsa -in rsa.key -traditional -out rsa-1.key");
        run("ecparam -name prime256v1 -genkey -noout -out ec.key");
        run("req -x509 -new -key ec.key -days 2 -subj /CN=ec -out ec.crt");
        for (key, kind, certificate) in [
            ("rsa.key", "BEGIN PRIVATE", "rsa.crt"),
            ("rsa-1.key", "BEGIN RSA PRIVATE", "rsa.crt"),
            ("ec.key", "BEGIN EC PRIVATE", "ec.crt"),
        ] {
            assert!(fs::read_to_string(folder.path().join(key)).unwrap().contains(kind), "{key}");
            read(&folder, &format!("certificate_file = \"{certificate}\"\nkey_file = \"{key}\"")).unwrap();
        }
    }
}
