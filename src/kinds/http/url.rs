//! What is asked for: a URL, taken apart at the door.

use hyper::Uri;
use hyper::header::HeaderValue;

use crate::kinds::dial::Host;

/// An `http` or `https` URL.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    /// Whether it is https.
    pub tls: bool,
    /// Whom to connect to.
    pub host: Host,
    /// The port, the scheme's own unless given.
    pub port: u16,
    /// Host and port as the header `Host` has them.
    pub authority: HeaderValue,
    /// Path and query, as requests have them.
    pub path: Uri,
}

impl Url {
    /// What [`Url::parse`] takes.
    pub const RIGHT: &str = "a URL as in \"http://host/path\" or \"https://host:8443/path?query\", without user, \
                             password and fragment, in ASCII";

    /// Understands a URL; `None` where it is none, or none that can be hit.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok().filter(|_| text.is_ascii() && !text.contains('#'))?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" if tls => 443,
            "" => 80,
            // Also where a user stands before the host: there is no port in all of what follows.
            port => {
                port.strip_prefix(":").filter(|port| !port.starts_with('+'))?.parse().ok().filter(|port| *port > 0)?
            }
        };
        let host = Host::parse(authority.host())?;
        if tls && host.server_name().is_err() {
            return None;
        }
        // A query may follow the host at once; in a request there is always a path.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.parse() } else { format!("/{path}").parse() };
        let authority = HeaderValue::from_str(authority.as_str()).ok()?;
        Some(Self { tls, host, port, authority, path: path.ok()? })
    }

    /// What stands before its path.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", String::from_utf8_lossy(self.authority.as_bytes()))
    }

    /// Whether both are of one server: scheme, host and port.
    pub fn is_of_the_server_of(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        #[track_caller]
        fn check(text: &str, expect: Option<(bool, &str, u16, &str, &str)>) {
            let url = Url::parse(text).map(|url| {
                let host = match url.host {
                    Host::Name(name) => name,
                    Host::Address(address) => format!("<{address}>"),
                };
                (url.tls, host, url.port, url.authority.to_str().unwrap().to_owned(), url.path.to_string())
            });
            let expect = expect.map(|(tls, host, port, authority, path)| {
                (tls, host.to_owned(), port, authority.to_owned(), path.to_owned())
            });
            assert_eq!(url, expect, "{text}");
        }
        check("http://host", Some((false, "host", 80, "host", "/")));
        check("https://host/a/b?c=d", Some((true, "host", 443, "host", "/a/b?c=d")));
        check("http://host:8080?c", Some((false, "host", 8080, "host:8080", "/?c")));
        check("http://127.0.0.1:81/", Some((false, "<127.0.0.1>", 81, "127.0.0.1:81", "/")));
        check("https://[::1]:81/", Some((true, "<::1>", 81, "[::1]:81", "/")));
        check("HTTP://Host/", Some((false, "Host", 80, "Host", "/")));
        check("host/path", None);
        check("/path", None);
        check("", None);
        check("*", None);
        check("http://", None);
        check("http:///path", None);
        check("ftp://host/", None);
        check("http://user@host/", None);
        check("http://user:pw@host/", None);
        check("http://host@host:1/", None);
        check("http://host:0/", None);
        check("http://host:65536/", None);
        check("http://host:/", None);
        check("http://host:+80/", None);
        check("http://host/#part", None);
        check("http://host/a b", None);
        check("http://hést/", None);
        check("http://host/é", None);
        check("http://[::1/", None);
        check("http://[host]/", None);
        check("https://ho$t/", None);
        check("http://host/\r\nX: y", None);
    }
}
