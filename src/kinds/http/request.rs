//! A request as it goes over the wire: put together once, sent with every hit; where something in it changes by hit, put
//! together for each.

use std::ops::Deref;

use bytes::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};

/// The bytes of a request, and what follows from its method.
#[derive(Debug, Default)]
pub struct Request {
    /// From the method to the empty line.
    pub head: Vec<u8>,
    /// What follows it.
    pub body: Body,
    /// Whether sending it twice does no more than sending it once.
    pub idempotent: bool,
    /// Whether it asks for a head alone.
    pub is_head: bool,
}

/// What follows a request's head.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes that other threads, and other tests of the type, send as well.
    Same(Bytes),
    /// Bytes that were put together for a hit.
    Written(Vec<u8>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Same(Bytes::new())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Same(bytes) => bytes,
            Self::Written(bytes) => bytes,
        }
    }
}

impl Body {
    /// The same bytes, copied only where they are one hit's.
    #[cfg_attr(not(test), expect(dead_code, reason = "HTTP/2 is not spoken yet"))]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Same(bytes) => bytes.clone(),
            Self::Written(bytes) => Bytes::copy_from_slice(bytes),
        }
    }
}

impl Request {
    /// The head as HTTP/2 has it: without what only HTTP/1.1 says; `None` where `Host` is none that it could ask for.
    #[cfg_attr(not(test), expect(dead_code, reason = "HTTP/2 is not spoken yet"))]
    pub fn h2(&self, tls: bool) -> Option<hyper::Request<()>> {
        let mut lines = self.head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut first = lines.next()?.split(|byte| *byte == b' ');
        let (method, path) = (Method::from_bytes(first.next()?).ok()?, first.next()?);
        let (mut headers, mut authority) = (HeaderMap::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = memchr::memchr(b':', line)?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = line[colon + 1..].trim_ascii();
            match name {
                HOST => authority = Some(value),
                CONNECTION => {}
                name => _ = headers.append(name, HeaderValue::from_bytes(value).ok()?),
            }
        }
        let scheme = if tls { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority?).path_and_query(path).build().ok()?;
        let mut request = hyper::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }
}
