//! A request's head as HTTP/2 has it, translated from that of HTTP/1.1.

use std::cell::RefCell;

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Uri, Version};

/// What belongs to a connection, and is no header of a request any more.
const OF_CONNECTIONS: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head that was translated last: that of most hits is the same.
#[derive(Debug, Default)]
pub struct Translated(RefCell<Option<(Vec<u8>, Request<()>)>>);

impl Translated {
    /// A head, over `tls` or not; `None` where HTTP/2 can't say it, as with a `Host` that is none.
    pub fn head(&self, head: &[u8], tls: bool) -> Option<Request<()>> {
        if let Some((text, request)) = &*self.0.borrow()
            && text == head
        {
            return Some(request.clone());
        }
        let request = translate(head, tls)?;
        *self.0.borrow_mut() = Some((head.to_vec(), request.clone()));
        Some(request)
    }
}

/// Whether this `Host` is one that HTTP/2 can ask for.
pub fn can_be_asked(host: &[u8]) -> bool {
    Authority::try_from(host).is_ok()
}

fn translate(head: &[u8], tls: bool) -> Option<Request<()>> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let (method, path) = (Method::from_bytes(words.next()?).ok()?, words.next()?);
    let (mut headers, mut authority) = (HeaderMap::new(), None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line[colon + 1..].trim_ascii();
        match name {
            HOST => authority = Some(value),
            name if OF_CONNECTIONS.contains(&name) => {}
            name => _ = headers.append(name, HeaderValue::from_bytes(value).ok()?),
        }
    }
    let scheme = if tls { "https" } else { "http" };
    let mut request = Request::new(());
    *request.uri_mut() = Uri::builder().scheme(scheme).authority(authority?).path_and_query(path).build().ok()?;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    *request.version_mut() = Version::HTTP_2;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_translated() {
        #[track_caller]
        fn check(head: &str, tls: bool, expect: Option<(&str, &[(&str, &str)])>) {
            let translated = Translated::default();
            // The second time it is remembered.
            for _ in 0..2 {
                let request = translated.head(head.as_bytes(), tls);
                let seen = request.as_ref().map(|request| {
                    let headers = request.headers().iter();
                    let headers: Vec<_> =
                        headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
                    (format!("{} {}", request.method(), request.uri()), headers)
                });
                assert_eq!(seen, expect.map(|(first, headers)| (first.to_owned(), headers.to_vec())), "{head}");
            }
        }
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", false, Some(("GET http://a/", &[])));
        let of_connections =
            "connection: close\r\nkeep-alive: 5\r\nte: trailers\r\nupgrade: x\r\nproxy-connection: x\r\n";
        check(
            &format!("POST /a?b=c HTTP/1.1\r\nhost: a:81\r\nX-a: b: c\r\n{of_connections}x-a: d\r\n\r\n"),
            true,
            Some(("POST https://a:81/a?b=c", &[("x-a", "b: c"), ("x-a", "d")])),
        );
        check("GET / HTTP/1.1\r\n\r\n", false, None);
        check("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", false, None);
        check("", false, None);
    }
}
