//! A request as it goes over the wire: put together once, sent with every hit.

use bytes::Bytes;
use hyper::Method;

use super::settings::Settings;

/// The bytes of a request, and what follows from its method.
#[derive(Debug)]
pub struct Request {
    /// From the method to the empty line.
    pub head: Bytes,
    /// What follows it.
    pub body: Bytes,
    /// Whether sending it twice does no more than sending it once.
    pub idempotent: bool,
    /// Whether it asks for a head alone.
    pub is_head: bool,
}

impl Request {
    /// The request of a type.
    pub fn new(settings: &Settings) -> Self {
        let mut head = Vec::new();
        let path = settings.url.path.path_and_query().map_or("/", |path| path.as_str());
        // A proxy that speaks to the server in our place is told which that is.
        let proxy = settings.dial.proxy().filter(|_| !settings.url.tls);
        let server: [&[u8]; 2] =
            if proxy.is_some() { [b"http://", settings.url.authority.as_bytes()] } else { [b"", b""] };
        let method = settings.method.as_str().as_bytes();
        for part in [method, b" ", server[0], server[1], path.as_bytes(), b" HTTP/1.1\r\n"] {
            head.extend_from_slice(part);
        }
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
            for part in [b"proxy-authorization: ", authorization.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        for (name, value) in &settings.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        Self {
            head: head.into(),
            body: settings.body.clone(),
            idempotent: settings.method.is_idempotent(),
            is_head: settings.method == Method::HEAD,
        }
    }
}
