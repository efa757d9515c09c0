//! A request as a proxy gets it that speaks HTTP to the server in our place.

use hyper::header::HeaderValue;

use super::request::Request;
use super::url::Url;
use crate::kinds::dial;

/// What a proxy is told beyond the request itself.
#[derive(Debug)]
pub struct Forward {
    /// What stands before the path.
    server: Vec<u8>,
    /// Who we are.
    authorization: Option<HeaderValue>,
}

impl Forward {
    /// What the proxy of `settings` is told of the server of `url`; `None` where it isn't asked, or for no more than a
    /// tunnel.
    pub fn new(url: &Url, settings: &dial::Settings) -> Option<Self> {
        let proxy = settings.proxy().filter(|_| !url.tls)?;
        let server = [b"http://", url.authority.as_bytes()].concat();
        Some(Self { server, authorization: proxy.authorization.clone() })
    }

    /// The same request, for the proxy.
    pub fn request(&self, request: &Request) -> Request {
        let head = &request.head;
        // Behind the method's space stands the path, behind the line's end stand the headers.
        let path = memchr::memchr(b' ', head).map_or(0, |space| space + 1);
        let headers = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        let mut forwarded = [&head[..path], &self.server, &head[path..headers]].concat();
        if let Some(authorization) = &self.authorization {
            for part in [b"proxy-authorization: ", authorization.as_bytes(), b"\r\n"] {
                forwarded.extend_from_slice(part);
            }
        }
        forwarded.extend_from_slice(&head[headers..]);
        Request { head: forwarded, body: request.body.clone(), ..*request }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::super::form::Form;
    use super::super::values::Source;
    use super::*;
    use crate::keys;

    #[test]
    fn a_proxy_is_told_the_whole_url_and_who_we_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "sesame\n").unwrap();
        let check = |url: &str, more: &str, expect: Option<[&str; 2]>| {
            let text = format!("url = \"{url}\"\nmethod = \"POST\"\nbody = \"b\"\n{more}");
            let file: &Path = &folder.path().join("x.toml");
            let source = keys::Source { file, text: &text, quotes_values: false, now: "", now_unknown: "" };
            let (settings, faults) = source.read(Settings::read);
            assert_eq!(faults, []);
            let settings = settings.flatten().unwrap();
            let form = Form::new(&settings.asks[0]);
            let request = form.fill(0, &Source::new(None));
            let forward = Forward::new(&settings.asks[0].url, &settings.dial);
            let forwarded = forward.map(|forward| forward.request(&request));
            let expect = expect.map(|[first, second]| {
                let head = String::from_utf8_lossy(&request.head).into_owned();
                head.replacen("POST /a?b HTTP/1.1\r\n", &format!("POST {first} HTTP/1.1\r\n{second}"), 1)
            });
            assert_eq!(forwarded.as_ref().map(|request| String::from_utf8_lossy(&request.head).into_owned()), expect);
            assert!(forwarded.is_none_or(|request| *request.body == *b"b" && !request.idempotent));
        };
        let proxy = "proxy = \"http://proxy\"\n";
        let basic = "proxy_basic = { user = \"Aladdin\", password_file = \"secret\" }\n";
        check("http://host/a?b", "", None);
        check("https://host/a?b", proxy, None);
        check("http://host/a?b", proxy, Some(["http://host/a?b", ""]));
        check("http://[::1]:81/a?b", proxy, Some(["http://[::1]:81/a?b", ""]));
        let told = "proxy-authorization: Basic QWxhZGRpbjpzZXNhbWU=\r\n";
        check("http://host/a?b", &format!("{proxy}{basic}"), Some(["http://host/a?b", told]));
    }
}
