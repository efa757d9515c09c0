//! The whole program against real servers, counted at the receiver.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod parts;
