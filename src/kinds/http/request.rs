//! A request as it goes over the wire: put together once, sent with every hit; where something in it changes by hit, put
//! together for each.

use std::ops::Deref;

use bytes::Bytes;

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
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Same(bytes) => bytes.clone(),
            Self::Written(bytes) => Bytes::copy_from_slice(bytes),
        }
    }
}
