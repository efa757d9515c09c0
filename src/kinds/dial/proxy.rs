//! A proxy between hits and their servers, spoken to in HTTP/1.1 in the clear.
//!
//! Whoever speaks HTTP in the clear asks it for a whole URL. All else goes
//! through a tunnel that it opens to the server when asked to (`CONNECT`).

use hyper::Uri;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::host::Host;
use crate::credentials;
use crate::keys::Keys;
use crate::page::Key;
use crate::target::{Failure, Reason};

/// What `proxy` takes.
const RIGHT: &str =
    "a URL as in \"http://proxy:3128\", without user and password (they are in \"proxy_basic\") and path";
/// What [`Proxy::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "proxy", meaning: "the HTTP proxy that connections lead to; not with `resolve`", default: "none" },
    Key { name: "proxy_basic.user", meaning: "who asks the proxy, as Basic authentication has it", default: "none" },
    Key { name: "proxy_basic.password_file", meaning: "the file that has the password, in one line", default: "none" },
];
/// The longest head of an answer to `CONNECT`, with all before it, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most headers in it.
const MAX_HEADERS: usize = 64;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// What it is told of who we are, as the header `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Reads the keys `proxy` and `proxy_basic`.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let place = keys.parsed("proxy", RIGHT, parse);
        let authorization = credentials::basic(keys, "proxy_basic");
        if authorization.is_some() && place.is_none() && keys.is_sound() {
            keys.refuse_key("proxy_basic", "\"proxy_basic\" without \"proxy\"", "both of them, or none");
        }
        let (host, port) = place?;
        Some(Self { host, port, authorization })
    }

    /// Asks for a tunnel to `server`, a host and port, over a connection to the proxy.
    ///
    /// # Errors
    /// `connect` where there is none.
    pub async fn tunnel(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, server: &str) -> Result<(), Failure> {
        let failed = |what: &dyn std::fmt::Display| Failure::new(Reason::Connect, format_args!("the proxy: {what}"));
        let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            for part in [b"Proxy-Authorization: ", authorization.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        stream.write_all(&head).await.map_err(|error| failed(&error))?;

        let mut buffer = Vec::with_capacity(1 << 10);
        loop {
            match status(&buffer).map_err(|what| failed(&what))? {
                Some(200..=299) => return Ok(()),
                Some(status) => return Err(failed(&format_args!("{status} in answer to CONNECT"))),
                None if buffer.len() >= MAX_HEAD => return Err(failed(&"its answer is too long")),
                None => {}
            }
            let read = stream.read_buf(&mut buffer).await.map_err(|error| failed(&error))?;
            if read == 0 {
                return Err(failed(&"the connection ended without an answer"));
            }
        }
    }
}

/// The status of an answer to `CONNECT`; `None` where more of it is to come.
fn status(mut bytes: &[u8]) -> Result<Option<u16>, &'static str> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        match answer.parse(bytes) {
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete(length)) => match answer.code {
                // There is another one to come.
                Some(100..=199) => bytes = &bytes[length..],
                // The server speaks second, if it speaks TLS.
                Some(200..=299) if bytes.len() > length => return Err("it says more than it was asked"),
                code => return Ok(code),
            },
            Err(_) => return Err("its answer isn't HTTP/1"),
        }
    }
}

fn parse(text: &str) -> Option<(Host, u16)> {
    let uri: Uri = text.parse().ok().filter(|_| text.is_ascii() && !text.contains(['#', '?', '@']))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/")?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => 80,
        port => port.strip_prefix(':').filter(|port| !port.starts_with('+'))?.parse().ok().filter(|port| *port > 0)?,
    };
    Some((Host::parse(authority.host())?, port))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::duplex;

    use super::*;
    use crate::keys::Source;

    #[test]
    fn what_a_proxy_may_be() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, u16)>) {
            let parsed = parse(text).map(|(host, port)| (host.with_port(port), port));
            assert_eq!(parsed, expect.map(|(with_port, port)| (with_port.to_owned(), port)), "{text}");
        }
        check("http://proxy:3128", Some(("proxy:3128", 3128)));
        check("http://proxy:3128/", Some(("proxy:3128", 3128)));
        check("http://proxy", Some(("proxy:80", 80)));
        check("http://[::1]:3128", Some(("[::1]:3128", 3128)));
        check("proxy:3128", None);
        check("https://proxy:3128", None);
        check("socks5://proxy:3128", None);
        check("http://me@proxy:3128", None);
        check("http://me:secret@proxy:3128", None);
        check("http://proxy:3128/path", None);
        check("http://proxy:3128/?a", None);
        check("http://proxy:0", None);
        check("http://:3128", None);
        check("", None);
    }

    #[tokio::test]
    async fn what_a_proxy_answers_is_what_becomes_of_a_tunnel() {
        async fn check(answer: &str, expect: Result<(), &str>) {
            let proxy = Proxy { host: Host::Name("proxy".into()), port: 3128, authorization: None };
            let (ours, mut theirs) = duplex(64 << 10);
            let served = async {
                theirs.write_all(answer.as_bytes()).await.unwrap();
                let mut asked = vec![0; 1 << 10];
                let length = theirs.read(&mut asked).await.unwrap();
                drop(theirs);
                String::from_utf8_lossy(&asked[..length]).into_owned()
            };
            let (opened, asked) = tokio::join!(proxy.tunnel(ours, "server:443"), served);
            assert_eq!(asked, "CONNECT server:443 HTTP/1.1\r\nHost: server:443\r\n\r\n");
            let told = opened.map_err(|failure| {
                assert_eq!(failure.reason, Reason::Connect);
                failure.detail
            });
            assert_eq!(told, expect.map_err(|what| format!("the proxy: {what}")), "{answer:.100}");
        }
        let ok = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        check(ok, Ok(())).await;
        check("HTTP/1.0 204 Fine\r\n\r\n", Ok(())).await;
        check(&format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"), Ok(())).await;
        check("HTTP/1.1 407 Who?\r\nContent-Length: 2\r\n\r\nno", Err("407 in answer to CONNECT")).await;
        check("HTTP/1.1 502 Oh\r\n\r\n", Err("502 in answer to CONNECT")).await;
        check(&format!("{ok}220 mail"), Err("it says more than it was asked")).await;
        check("", Err("the connection ended without an answer")).await;
        check("HTTP/1.1 200 OK\r\n", Err("the connection ended without an answer")).await;
        check("SSH-2.0-OpenSSH\r\n", Err("its answer isn't HTTP/1")).await;
        check(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD)), Err("its answer is too long")).await;
        check(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), Err("its answer is too long")).await;
    }

    #[tokio::test]
    async fn a_proxy_is_told_who_we_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "sesame\n").unwrap();
        let file = folder.path().join("x.toml");
        let text = "proxy = \"http://proxy\"\nproxy_basic = { user = \"Aladdin\", password_file = \"secret\" }";
        let source = Source { file: &file, text, quotes_values: false, now: "", now_unknown: "" };
        let (proxy, faults) = source.read(Proxy::read);
        assert_eq!(faults, []);
        let proxy = proxy.flatten().unwrap();
        assert!(!format!("{proxy:?}").contains("QWxh"), "{proxy:?}");
        let (ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        proxy.tunnel(ours, "server:443").await.unwrap();
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        assert!(asked.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpzZXNhbWU=\r\n"), "{asked}");

        let text = "proxy_basic = { user = \"Aladdin\", password_file = \"secret\" }";
        let (_, faults) = Source { file: Path::new(&file), text, ..source }.read(Proxy::read);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
