//! HTTP/2: many requests at once over few connections.
//!
//! The protocol is the `h2` crate's. It has no tasks here, and no timers: a
//! connection is driven by the hits that are on it, whichever of them is woken.
//! So it works wherever a hit does, and ends with whoever owns it. While no hit
//! is on it nobody drives it: what the server has said meanwhile is found by
//! the next hit, before that says anything, as it is with HTTP/1.1.
//!
//! What a connection moves belongs to no single hit. Each takes what was
//! counted until it ends and nobody has taken yet, so that the sum is what went
//! over the socket; what is said after the last hit is in nobody's count.
//! Likewise an answer's end is when the last came of what was read before its
//! hit was woken: not before the answer was there, nor after it was noticed.

mod baton;
mod exchange;
mod lost;
mod session;
mod sessions;
mod translated;
mod wire;

pub use exchange::ask;
pub use lost::{Again, Lost, finds_fault};
pub use sessions::{Mark, Place, Sessions, Taken, Turn};
pub use translated::{Translated, can_be_asked};

/// What ALPN calls it.
pub const ALPN: &[u8] = b"h2";
