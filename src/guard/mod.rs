//! The guard: a small process of our own that starts commands, so that none of them outlives its hit.
//!
//! It is this program once more, called [`NAME`], and the parent of all that it
//! starts: what a command leaves behind falls to it, however it forked, and is
//! killed. It knows neither tests nor files. Of the runner it has a socket, and
//! nothing else; when that is closed, it kills what is left and leaves, so
//! `kill -9` of the runner leaves no command behind either.
//!
//! ```text
//! engine's threads ── a datagram a command, with its outputs and a socket ──▶ guard ──▶ command, in a group of its own
//!        ▲                                                                     │
//!        └── how it ended, over the socket; a byte: ask it to end; closed: kill it ─┘
//! ```
//!
//! Should the guard itself be killed, its commands fall to the runner, which
//! kills them, and starts another.
//!
//! [`PR_SET_PDEATHSIG`](nix::sys::prctl::set_pdeathsig) would be less to write. But it follows the thread that started
//! a command, not the process, and is no concern of what the command starts.

mod children;
mod client;
mod keeper;
mod request;
mod serve;
mod status;

pub use client::{Client, Gone, Running};
pub use keeper::Guard;
pub use request::{LEAST_MEMORY, Limits, MAX_REQUEST, Request};
pub use serve::{NAME, NotCalled, is_meant, serve};
pub use status::Status;
