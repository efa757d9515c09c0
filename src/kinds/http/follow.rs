//! Redirects: where an answer leads, and what is asked there.
//!
//! RFC 9110, 15.4. The next request is made of the last one as it was sent.
//! Nobody is asked whom the type doesn't name, and another origin is told
//! nothing but what the type can't mean to be secret: no credentials, no
//! headers of the type's own.

use std::fmt;
use std::rc::Rc;

use url::{Position, Url as AnyUrl};

use super::expect::Judge;
use super::head::Head;
use super::request::{Body, Request};
use super::site::Site;
use super::sites::Sites;
use super::url::Url;
use crate::fault::quote;
use crate::keys::Keys;
use crate::kinds::dial::{Host, Tally};
use crate::page::Key;
use crate::target::{Failure, Reason};

/// The most redirects of a hit that can be asked for.
const MAX_REDIRECTS: u64 = 20;
/// The headers that another origin gets, too.
const FOR_ALL: [&str; 9] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
];
/// The headers that belong to a body.
const OF_A_BODY: [&str; 7] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "expect",
    "transfer-encoding",
];

/// What [`Redirects::read`] reads.
pub const KEYS: &[Key] = &[
    Key {
        name: "redirects",
        meaning: "how many redirects of a hit are followed, one more fails it; without, one is an answer like any other",
        default: "`0`",
    },
    Key {
        name: "redirects_to",
        meaning: "the hosts that they may lead to, beside the one that was asked; needs `redirects`",
        default: "none",
    },
];

/// How far redirects are followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirects {
    /// The most of a hit; 0 when an answer that leads elsewhere is one as any other.
    pub most: u64,
    /// The hosts they may lead to, beside the one that was asked.
    to: Vec<Host>,
    /// Whether they may lead anywhere.
    anywhere: bool,
}

/// Where redirects begin.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What the server was known by.
    pub url: &'a Url,
    /// The server.
    pub site: &'a Rc<Site>,
    /// What it was asked.
    pub request: &'a Request,
}

/// What is asked next.
#[derive(Debug)]
struct Hop {
    /// Whom; `None` for the same server.
    url: Option<Url>,
    request: Request,
}

/// A request's head as it was sent.
struct Sent<'a> {
    method: &'a str,
    target: &'a str,
    /// Name and value.
    headers: Vec<(&'a str, &'a [u8])>,
}

impl Redirects {
    /// Reads the keys `redirects` and `redirects_to`.
    pub fn read(keys: &mut Keys<'_>) -> Self {
        let most = keys.integer("redirects", 0, MAX_REDIRECTS);
        let right = "a list of hosts, as in [\"login.example.com\"], or [\"*\"] for all";
        let to = keys.list("redirects_to", right, |value| match value.as_str()? {
            "*" => Some(None),
            text => Host::parse(text).filter(is_host).map(Some),
        });
        if to.is_some() && most.unwrap_or(0) == 0 && keys.is_sound() {
            keys.refuse_key(
                "redirects_to",
                "\"redirects_to\" without \"redirects\"",
                "how many are followed, as in redirects = 5",
            );
        }
        let to = to.unwrap_or_default();
        let anywhere = to.contains(&None);
        Self { most: most.unwrap_or(0), to: to.into_iter().flatten().collect(), anywhere }
    }

    /// Goes where `head`, the answer to what was asked, leads, until an answer doesn't lead elsewhere: what is wrong
    /// with that one, `None` when it is as expected.
    pub async fn follow(
        &self,
        sites: &Sites,
        first: Asked<'_>,
        mut head: Head,
        judge: &Judge,
        tally: &Tally,
    ) -> Option<Failure> {
        let home = &first.url.host;
        let (mut url, mut site) = (first.url.clone(), Rc::clone(first.site));
        let mut request = None;
        for _ in 0..self.most {
            let hop = match self.next(home, &url, request.as_ref().unwrap_or(first.request), &head) {
                Ok(hop) => hop,
                Err(failure) => return Some(failure),
            };
            if let Some(next) = hop.url {
                let found = if is_same(&next.host, home) { sites.site(&next) } else { sites.stranger(&next) };
                site = match found {
                    Ok(site) => site,
                    Err(error) => return Some(Failure::new(Reason::Tls, format_args!("{error:#}"))),
                };
                url = next;
            }
            let request = request.insert(hop.request);
            // What has ended so far is not the hit.
            tally.end(None);
            match site.ask(request, judge, tally).await {
                Ok(answered) if answered.leads_elsewhere() => head = answered.head,
                Ok(answered) => return answered.failure,
                Err(failure) => return Some(failure),
            }
        }
        Some(Failure::new(Reason::Status, format_args!("redirected more than {} times", self.most)))
    }

    /// What `head`, an answer of `url` to `asked`, asks to be asked instead, in a hit that began at `home`. On its own, as
    /// URLs take much of the stack.
    #[inline(never)]
    fn next(&self, home: &Host, url: &Url, asked: &Request, head: &Head) -> Result<Hop, Failure> {
        let refused =
            |why: &dyn fmt::Display| Err(Failure::new(Reason::Status, format_args!("{} leads {why}", head.status)));
        let sent = Sent::read(&asked.head);
        let here = sent.as_ref().and_then(|sent| sent.url(url));
        let Some((sent, here)) = sent.zip(here) else { return refused(&"nowhere from such a request") };
        let location = head.location().and_then(|location| str::from_utf8(location).ok());
        let Some(mut there) = location.and_then(|location| here.join(location).ok()) else {
            return refused(&"to what is no URL");
        };
        there.set_fragment(None);
        let same = there.origin() == here.origin();
        if !matches!(there.scheme(), "http" | "https") {
            return refused(&"to neither http nor https");
        }
        if url.tls && there.scheme() == "http" {
            return refused(&"from https to http");
        }
        // Who we are is the type's to say.
        if !there.username().is_empty() || there.password().is_some() {
            return refused(&"to a URL with a user");
        }
        let elsewhere = match same {
            true => None,
            false => match Url::parse(there.as_str()) {
                Some(next) if is_same(&next.host, &url.host) || self.may_lead_to(&next.host, home) => Some(next),
                Some(_) => {
                    let host = quote(there.host_str().unwrap_or_default());
                    return refused(&format_args!("to {host}, a host that redirects_to does not have"));
                }
                None => return refused(&"to a URL that can't be hit"),
            },
        };
        let request = asked.redirected(&sent, head.status, &there, elsewhere.as_ref());
        Ok(Hop { url: elsewhere, request })
    }

    /// Whether a hit that began at `home` may be led to a host.
    fn may_lead_to(&self, there: &Host, home: &Host) -> bool {
        self.anywhere || is_same(there, home) || self.to.iter().any(|host| is_same(host, there))
    }
}

impl Request {
    /// The request for `there` instead, at another origin where there is one.
    fn redirected(&self, sent: &Sent<'_>, status: u16, there: &AnyUrl, elsewhere: Option<&Url>) -> Self {
        let (method, has_body) = match (status, sent.method) {
            (303, "HEAD") => ("HEAD", false),
            (303, _) | (301 | 302, "POST") => ("GET", false),
            (_, method) => (method, true),
        };
        let target = &there[Position::BeforePath..];
        let mut head = Vec::with_capacity(self.head.len() + there.as_str().len());
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in &sent.headers {
            let is_one_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
            let value = match elsewhere {
                Some(url) if is_one_of(&["host"]) => url.authority.as_bytes(),
                Some(_) if !is_one_of(&FOR_ALL) => continue,
                _ if !has_body && is_one_of(&OF_A_BODY) => continue,
                _ => value,
            };
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        Self {
            head,
            body: if has_body { Body::Same(self.body.bytes()) } else { Body::default() },
            idempotent: self.idempotent || method == "GET",
            is_head: method == "HEAD",
        }
    }
}

impl<'a> Sent<'a> {
    /// A head, taken apart; `None` for what isn't one.
    fn read(head: &'a [u8]) -> Option<Self> {
        let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        let mut words = str::from_utf8(lines.next()?).ok()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let header = |line: &'a [u8]| {
            let at = memchr::memchr(b':', line)?;
            Some((str::from_utf8(&line[..at]).ok()?, line[at + 1..].trim_ascii()))
        };
        let headers = lines.take_while(|line| !line.is_empty()).map(header).collect::<Option<_>>()?;
        Some(Self { method, target, headers })
    }

    /// What it asks for, of the server at `url`. A host that the type names counts for the one that is connected to.
    fn url(&self, url: &Url) -> Option<AnyUrl> {
        let scheme = if url.tls { "https" } else { "http" };
        let host = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map_or(url.authority.as_bytes(), |(_, value)| value);
        AnyUrl::parse(&format!("{scheme}://{}{}", str::from_utf8(host).ok()?, self.target)).ok()
    }
}

/// Whether it may be a host, and has nothing around it.
fn is_host(host: &Host) -> bool {
    !matches!(host, Host::Name(name) if name.contains(['/', ':', '*', '@', '[', ' ']))
}

/// Whether two hosts are one.
fn is_same(one: &Host, other: &Host) -> bool {
    match (one, other) {
        (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keys;
    use crate::kinds::http::form::Form;
    use crate::kinds::http::head::Wants;
    use crate::kinds::http::values::Source;
    use crate::kinds::http::{Settings, Template};

    fn settings(text: &str) -> Result<Settings, Vec<String>> {
        let source = keys::Source { file: Path::new("x.toml"), text, quotes_values: false, now: "", now_unknown: "" };
        let (settings, faults) = source.read(Settings::read);
        match settings.flatten() {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect()),
        }
    }

    /// What follows an answer with this status and location: whom to ask, and what; or why not.
    fn next(text: &str, status: u16, location: &str) -> Result<(Option<Url>, String), String> {
        let settings = settings(&format!("redirects = 5\n{text}")).unwrap();
        let mut head = Head::new(status, Wants { redirects: true, ..Wants::default() });
        head.note("Location", location.as_bytes());
        let ask = &settings.asks[0];
        let form = Form::new(ask);
        let request = form.fill(0, &Source::new(None));
        match settings.redirects.next(&ask.url.host, &ask.url, &request, &head) {
            Ok(hop) => {
                let request = [&*hop.request.head, &*hop.request.body].concat();
                Ok((hop.url, String::from_utf8(request).unwrap()))
            }
            Err(failure) => {
                assert_eq!(failure.reason, Reason::Status);
                Err(failure.detail)
            }
        }
    }

    #[test]
    fn locations_are_resolved() {
        #[track_caller]
        fn check(url: &str, location: &str, expect: Result<&str, &str>) {
            let text = format!("url = \"{url}\"\nredirects_to = [\"other.example\", \"[::1]\"]");
            let seen = next(&text, 302, location).map(|(url, request)| {
                let target = request.split(' ').nth(1).unwrap().to_owned();
                match url {
                    Some(url) => {
                        assert_eq!(url.path.to_string(), target);
                        let scheme = if url.tls { "https" } else { "http" };
                        format!("{scheme}://{}{target}", url.authority.to_str().unwrap())
                    }
                    None => target,
                }
            });
            let expect = expect.map(str::to_owned).map_err(|why| format!("302 leads {why}"));
            assert_eq!(seen, expect, "{location} from {url}");
        }
        let here = "http://host.example/a/b?c";
        check(here, "/d", Ok("/d"));
        check(here, "d?e#f", Ok("/a/d?e"));
        check(here, "../d", Ok("/d"));
        check(here, "../../../d", Ok("/d"));
        check(here, "?d", Ok("/a/b?d"));
        check(here, "", Ok("/a/b?c"));
        check(here, "#f", Ok("/a/b?c"));
        check(here, "/d e\u{e9}", Ok("/d%20e%C3%A9"));
        check(here, "http://host.example/d", Ok("/d"));
        check(here, "HTTP://HOST.example:80", Ok("/"));
        check(here, "//host.example/d", Ok("/d"));
        // The same host, and those that are named.
        check(here, "https://host.example/d", Ok("https://host.example/d"));
        check(here, "http://host.example:8080/d", Ok("http://host.example:8080/d"));
        check(here, "http://Other.example?d", Ok("http://other.example/?d"));
        check(here, "//[::1]:81/d", Ok("http://[::1]:81/d"));
        check(here, "http://third.example/", Err("to \"third.example\", a host that redirects_to does not have"));
        check(
            here,
            "http://sub.other.example/",
            Err("to \"sub.other.example\", a host that redirects_to does not have"),
        );
        check("http://HOST.example/", "https://host.example/d", Ok("https://host.example/d"));
        check("http://127.0.0.1:81/", "http://127.0.0.1:82/d", Ok("http://127.0.0.1:82/d"));
        check("https://host.example/", "/d", Ok("/d"));
        check("https://host.example/", "http://host.example/", Err("from https to http"));
        // What can't be.
        check(here, "ftp://host.example/", Err("to neither http nor https"));
        check(here, "javascript:alert(1)", Err("to neither http nor https"));
        check(here, "http://", Err("to what is no URL"));
        check(here, "http://host.example:99999/", Err("to what is no URL"));
        check(here, "http://user:secret@other.example/", Err("to a URL with a user"));
        check(here, "http://user@host.example/", Err("to a URL with a user"));
        check(here, "http://other.example:0/", Err("to a URL that can't be hit"));
    }

    #[test]
    fn everywhere_has_to_be_said() {
        let (url, _) = next("url = \"http://h/\"\nredirects_to = [\"*\"]", 307, "https://anywhere.example/").unwrap();
        assert!(url.is_some_and(|url| url.tls && url.host == Host::Name("anywhere.example".into())));
    }

    #[test]
    fn a_host_that_the_type_names_is_the_one_that_was_asked() {
        let text = "url = \"http://127.0.0.1:81/\"\nheaders = { Host = \"shop.example\" }";
        let (url, request) = next(text, 302, "http://shop.example/a").unwrap();
        assert!(url.is_none() && request.contains("host: shop.example\r\n"), "{request}");
        // Where the name itself leads, nobody has said.
        assert!(next(text, 302, "https://shop.example/a").unwrap_err().contains("redirects_to"));
        let (url, request) = next(text, 302, "http://127.0.0.1:81/a").unwrap();
        assert!(url.is_some() && request.contains("host: 127.0.0.1:81\r\n"), "{request}");
    }

    #[test]
    fn methods_and_bodies() {
        #[track_caller]
        fn check(method: &str, status: u16, expect: &str, keeps_body: bool) {
            let text = format!(
                "url = \"http://h/\"\nmethod = \"{method}\"\nbody = \"x=y\"\nheaders = {{ Content-Type = \"a/b\" }}"
            );
            let (_, request) = next(&text, status, "/b").unwrap();
            assert!(request.starts_with(&format!("{expect} /b HTTP/1.1\r\n")), "{status}: {request}");
            for part in ["content-length: 3\r\n", "content-type: a/b\r\n", "\r\n\r\nx=y"] {
                assert_eq!(request.contains(part), keeps_body, "{method} {status}: {request}");
            }
            assert!(keeps_body || request.ends_with("\r\n\r\n"), "{request}");
        }
        for status in [301, 302] {
            check("POST", status, "GET", false);
            check("PUT", status, "PUT", true);
            check("GET", status, "GET", true);
        }
        for method in ["POST", "PUT", "GET"] {
            check(method, 303, "GET", false);
            check(method, 307, method, true);
            check(method, 308, method, true);
        }
        check("HEAD", 303, "HEAD", false);
    }

    #[test]
    fn nothing_secret_goes_to_another_origin() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret").unwrap();
        let text = format!(
            "url = \"http://h/a?s3cret\"\nbearer_file = \"{}/token\"\n\
             headers = {{ Accept = \"text/html\", X-Key = \"s3cret\", Cookie = \"a=s3cret\", Referer = \"s3cret\" }}",
            folder.path().display()
        );
        let (_, same) = next(&text, 302, "/b").unwrap();
        assert_eq!(same.matches("s3cret").count(), 4, "{same}");
        for other in ["http://h:81/b", "https://h/b"] {
            let (url, request) = next(&text, 302, other).unwrap();
            let authority = url.unwrap().authority;
            let agent = format!("user-agent: {}", crate::AGENT);
            let host = authority.to_str().unwrap();
            let expect = format!("GET /b HTTP/1.1\r\nhost: {host}\r\n{agent}\r\naccept: text/html\r\n\r\n");
            assert_eq!(request, expect);
        }
    }

    #[test]
    fn keys_are_read() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            let faults = settings(&format!("url = \"http://h/\"\n{text}")).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(expect), "{text}: {faults:?}");
        }
        check("redirects = 21", "from 0 to 20");
        check("redirects = true", "from 0 to 20");
        check("redirects_to = [\"a\"]", "\"redirects_to\" without \"redirects\"");
        for wrong in ["a:80", "http://a", "", "*.a", "a/b", "u@a", "[::1"] {
            check(&format!("redirects = 1\nredirects_to = [\"{wrong}\"]"), "a list of hosts");
        }
        check("cookies = true\nkeep_alive = false", "cookies are a connection's");
        check("cookies = true\nheaders = { Cookie = \"a=b\" }", "one of them");
        check("compressed = true\nheaders = { Accept-Encoding = \"br\" }", "one of them");
        let settings = settings("url = \"http://h/\"\ncompressed = true").unwrap();
        assert_eq!(settings.asks[0].headers["accept-encoding"], Template::same("gzip, br"));
    }
}
