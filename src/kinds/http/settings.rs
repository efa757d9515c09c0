//! What a type of the kind `http` says: everything a request is made of, and what is expected of its answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};

use super::expect::Expect;
use super::url::Url;
use crate::fault::quote;
use crate::keys::Keys;
use crate::kinds::dial::{self, Host};
use crate::kinds::timeout;
use crate::page::Key;

/// The largest body that is sent, in bytes. It is kept in memory.
const MAX_BODY: u64 = 64 << 20;
/// How canihaz calls itself.
const AGENT: &str = concat!("canihaz/", env!("CARGO_PKG_VERSION"));

/// What [`Settings::read`] reads, `expect` apart.
pub const KEYS: &[Key] = &[
    Key { name: "url", meaning: "what is asked for", default: "needed" },
    Key { name: "method", meaning: "how", default: "`\"GET\"`" },
    Key {
        name: "headers",
        meaning: "the request's headers; not `Content-Length`, `Transfer-Encoding`, `Connection`, which follow from other \
                  keys",
        default: "`Host`, and `User-Agent: canihaz/VERSION`",
    },
    Key { name: "body", meaning: "the request's body", default: "none" },
    Key { name: "body_file", meaning: "the file that has it, up to 64 MiB; not with `body`", default: "none" },
    Key { name: "basic.user", meaning: "who asks, as Basic authentication has it", default: "none" },
    Key { name: "basic.password_file", meaning: "the file that has the password, in one line", default: "none" },
    Key { name: "bearer_file", meaning: "the file that has a token, in one line", default: "none" },
    Key { name: "keep_alive", meaning: "`false`: a new connection for each hit", default: "`true`" },
];

/// Everything about a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is asked for.
    pub url: Url,
    /// How.
    pub method: Method,
    /// All headers of the request, those included that were not asked for.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    /// How long a hit may take: name, connection, TLS, request and the answer's last byte.
    pub timeout: Duration,
    /// Whether a connection is used again.
    pub keep_alive: bool,
    /// What is expected of the answer.
    pub expect: Expect,
    /// How connections are got.
    pub dial: dial::Settings,
}

impl Settings {
    /// Reads the kind's own keys, and the files that they name; `None` when anything is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let url = keys.parsed("url", Url::RIGHT, Url::parse);
        let url = keys.required("url", url);
        let method = keys.parsed("method", "a method in capitals, as in \"GET\"; not CONNECT", method);
        let method = method.unwrap_or_default();
        let named = headers(keys);
        let body = body(keys);
        let authorization = authorization(keys, &named);
        let keep_alive = keys.boolean("keep_alive").unwrap_or(true);
        let timeout = timeout(keys);
        let dial = dial::Settings::read_with_proxy(keys);
        let expect = keys.table("expect", Expect::read).unwrap_or_default();
        let url = url.filter(|_| keys.is_sound())?;

        let mut headers = HeaderMap::new();
        headers.insert(HOST, url.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Replaces those two where it has them.
        headers.extend(named);
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        // Servers may insist on it where a body is usual; where none is, it would be a surprise.
        if body.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.as_ref().map_or(0, Bytes::len)));
        }
        if !keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Some(Self { url, method, headers, body: body.unwrap_or_default(), timeout, keep_alive, expect, dial })
    }

    /// A plain GET of `/` from `address`.
    pub fn get(address: SocketAddr, timeout: Duration) -> Self {
        let authority = HeaderValue::try_from(address.to_string()).expect("an address is of visible ASCII");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let (host, port) = (Host::Address(address.ip()), address.port());
        Self {
            url: Url { tls: false, host, port, authority, path: Uri::from_static("/") },
            method: Method::GET,
            headers,
            body: Bytes::new(),
            timeout,
            keep_alive: true,
            expect: Expect::default(),
            dial: dial::Settings::default(),
        }
    }
}

fn method(text: &str) -> Option<Method> {
    let method: Method = text.parse().ok()?;
    // Methods are case-sensitive: `get` would be sent as it is, and refused by every server.
    let capitals = !text.contains(|c: char| c.is_ascii_lowercase());
    (capitals && method != Method::CONNECT).then_some(method)
}

/// The headers that the type names.
fn headers(keys: &mut Keys<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in keys.texts("headers").unwrap_or_default() {
        let seen = |what: &str| format!("{what} of header {}", quote(&name));
        let Ok(header) = name.parse::<HeaderName>() else {
            keys.refuse_key("headers", seen("the name"), "letters, digits and dashes");
            continue;
        };
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&header) {
            keys.refuse_key("headers", seen("the value"), "it follows from body and keep_alive, leave it out");
            continue;
        }
        match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(mut value) => {
                // Keys and tokens stand in all kinds of headers; a debug log has none of them.
                value.set_sensitive(true);
                headers.append(header, value);
            }
            Err(_) => keys.refuse_key("headers", seen("the value"), "no control characters"),
        }
    }
    headers
}

fn body(keys: &mut Keys<'_>) -> Option<Bytes> {
    let text = keys.text("body").map(Bytes::from);
    let file = keys.contents("body_file", MAX_BODY).map(Bytes::from);
    if text.is_some() && file.is_some() {
        keys.refuse_key("body_file", "\"body\" and \"body_file\"", "one of them");
    }
    file.or(text)
}

/// The header `Authorization`, where the type has `basic` or `bearer_file`.
fn authorization(keys: &mut Keys<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let basic = dial::basic(keys, "basic");
    let bearer = keys.secret("bearer_file").and_then(|token| {
        let mut value = HeaderValue::try_from([b"Bearer ", token.as_slice()].concat()).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    let ways = [basic.is_some(), bearer.is_some(), headers.contains_key(AUTHORIZATION)];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        let key = if basic.is_some() { "basic" } else { "bearer_file" };
        keys.refuse_key(key, "two of \"basic\", \"bearer_file\" and the header Authorization", "one of them");
    }
    basic.or(bearer)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keys::Source;

    fn read(file: &Path, text: &str) -> Result<Settings, Vec<String>> {
        let source = Source { file, text, quotes_values: false, now: "", now_unknown: "" };
        let (settings, faults) = source.read(Settings::read);
        match settings.flatten() {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect()),
        }
    }

    #[track_caller]
    fn good(text: &str) -> Settings {
        read(Path::new("x.toml"), &format!("url = \"http://host/\"\n{text}")).unwrap()
    }

    #[test]
    fn headers_are_the_types_and_ours() {
        #[track_caller]
        fn check(text: &str, expect: &[(&str, &str)]) {
            let settings = good(text);
            let headers: Vec<_> =
                settings.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(headers, expect, "{text}");
        }
        check("", &[("host", "host"), ("user-agent", AGENT)]);
        check(
            "headers = { Host = \"other\", Accept = \"a\", User-Agent = \"me\" }",
            &[("host", "other"), ("user-agent", "me"), ("accept", "a")],
        );
        check("keep_alive = false", &[("host", "host"), ("user-agent", AGENT), ("connection", "close")]);
        check("body = \"12345\"", &[("host", "host"), ("user-agent", AGENT), ("content-length", "5")]);
        check("method = \"POST\"", &[("host", "host"), ("user-agent", AGENT), ("content-length", "0")]);
    }

    #[test]
    fn statuses_are_numbers_and_classes() {
        assert_eq!(good("").expect.status, [200..=399]);
        assert_eq!(good("expect = { status = [201, \"5xx\"] }").expect.status, [201..=201, 500..=599]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            let faults = read(Path::new("x.toml"), &format!("url = \"http://host/\"\n{text}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(expect), "{faults:?}");
        }
        check("method = \"get\"", "a method in capitals");
        check("method = \"CONNECT\"", "not CONNECT");
        check("headers = { \"a b\" = \"c\" }", "the name of header \"a b\": letters");
        check("headers = { a = \"b\\nc\" }", "the value of header \"a\": no control characters");
        check("headers = { Content-Length = \"7\" }", "follows from body");
        check("body = \"x\"\nbody_file = \"/dev/null\"", "the file \"body_file\" names is a device");
        check("timeout = \"51s\"", "from 1ms to 50s");
        check("keep_alive = 1", "true or false");
        check("bearer_file = \"/nowhere\"", "does not exist");
        check("basic = { user = \"a\" }", "no key \"basic.password_file\"");
        check("expect = { status = [] }", "an empty list");
        check("expect = { status = [99] }", "from 100 to 599");
        check("expect = { status = [\"6xx\"] }", "from 100 to 599");
        check("expect = { status = [\"+2xx\"] }", "from 100 to 599");
        check("expect = { body = \"\" }", "not an empty one");
        check("expect = { body_max = -1 }", "a number of bytes");
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(folder.path().join("secret"), "sesame\n").unwrap();
        std::fs::write(folder.path().join("two"), "a\nb\n").unwrap();
        std::fs::write(folder.path().join("body"), "a\nb\n").unwrap();
        let read = |text: &str| read(&file, &format!("url = \"http://host/\"\n{text}"));

        let basic = read("basic = { user = \"Aladdin\", password_file = \"secret\" }").unwrap();
        assert_eq!(basic.headers[AUTHORIZATION], "Basic QWxhZGRpbjpzZXNhbWU=");
        let bearer = read("bearer_file = \"secret\"").unwrap();
        assert_eq!(bearer.headers[AUTHORIZATION], "Bearer sesame");
        assert!(!format!("{bearer:?}").contains("sesame"));
        assert_eq!(read("body_file = \"body\"").unwrap().body, "a\nb\n");

        let colon = read("basic = { user = \"a:b\", password_file = \"secret\" }").unwrap_err();
        assert!(colon[0].contains("without a colon"), "{colon:?}");
        assert!(read("bearer_file = \"two\"").unwrap_err()[0].contains("one line"));
        let both = read("bearer_file = \"secret\"\nheaders = { Authorization = \"x\" }").unwrap_err();
        assert!(both[0].contains("one of them"), "{both:?}");
        let both = read("body_file = \"body\"\nbody = \"x\"").unwrap_err();
        assert!(both[0].contains("one of them"), "{both:?}");
    }
}
