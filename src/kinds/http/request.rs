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
        for part in [settings.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
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
