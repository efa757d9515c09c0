//! For authors of compiled load tests: journeys of users (log in, search, pay) in code, which every server runs.
//!
//! A load test is a program. The runner starts it for a test whose type has the kind `loadtest`, tells it over gRPC
//! when a journey is due, and ends it with the minute. This is a whole one:
//!
//! ```no_run
//! use canihaz::loadtest::{Error, Runner, Server, client, do_request, new_sequence_id, start_listener};
//!
//! struct MagnumApi {
//!     url: String,
//! }
//!
//! impl Runner for MagnumApi {
//!     async fn run(&self) -> Result<(), Error> {
//!         let sequence_id = new_sequence_id();
//!         let request = client().get(&self.url).build()?;
//!         do_request(&sequence_id, request).await?.error_for_status()?;
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<(), Error> {
//!     let url = std::env::args().nth(1).ok_or("what URL?")?;
//!     start_listener(Server::new(MagnumApi { url }))
//! }
//! ```
//!
//! - [`new_sequence_id`]: what all requests of one journey have in common, so that slow ones can be looked at step
//!   by step.
//! - [`do_request`] performs a request, times it, prints a line of JSON about it (an [`Output`]), and gives back the
//!   answer.
//! - [`start_listener`] listens for the agent, which is the runner's part that calls; each call [runs](Runner::run)
//!   a journey.
//!
//! # A hit is a journey
//!
//! Its time is the whole journey's. [`Runner::run`] says how it went: an error is a failed hit, and so is a panic, of
//! which the process doesn't die. Answers of status 400 and above are none by themselves: say `error_for_status()`.
//!
//! The agent calls again while journeys are on their way, up to the type's `overtime` at once, and gives up on one
//! that takes longer than the type's `timeout`: its future is dropped. What journeys share is in `self`, behind a lock
//! or an atomic where it changes. A journey that computes for long, or blocks, holds up others: that belongs
//! on [`tokio::task::spawn_blocking`]'s threads. `tokio` is a dependency of the author's own then.
//!
//! # Who writes where
//!
//! Standard output belongs to [`do_request`]: a line a request. Lines that are no [`Output`]s are logged by the
//! runner, and counted. A program that does requests in another way prints its lines itself, whole and at once:
//! [`Output::parse`] makes them.
//!
//! Standard error goes to the runner's log, as far as it goes on without flooding it. What a panic says stands there,
//! once.
//!
//! # Times
//!
//! A request's duration goes from before it is sent until the last byte of the answer's body is read. A name that
//! is looked up, a connection that is made, and redirects that are followed are in it. Printing the line is not. The
//! hit's own duration is measured by the agent.
//!
//! The sequence ID that the agent is told of a journey is the last that [`do_request`] used in it: by it the slowest
//! journeys are found again. That is known of requests in the journey's own task; of one that it
//! spawned it is not, though its lines are.
//!
//! # The client
//!
//! All journeys share [`client`], whose connections are kept; [`set_client`] replaces it, and [`client_builder`] is
//! what the default one is made of: no cookies, no proxy, no time-out, HTTP/1.1, at most ten redirects. [`reqwest`] is
//! re-exported; more of its features (cookies, HTTP/2, compressed bodies) are there for who depends on the same version
//! of it with those. Journeys that are users with cookies of their own have a client each:
//! [`do_request_with`].
//!
//! # Other languages
//!
//! Whatever speaks gRPC can be a load test: it serves `golo.Job` of `src/golo/job.proto` where `CANIHAZ_RPC_ADDR`
//! says, and prints the same lines. `tests/examples/magnum_api.py` is one in Python.

mod address;
mod client;
mod listener;
mod request;
mod runner;
mod sequence;
mod words;

pub use address::{RPC_ADDR, RPC_ADDR_VARIABLE};
pub use client::{client, client_builder, set_client};
pub use listener::start_listener;
pub use request::{do_request, do_request_with};
pub use reqwest;
pub use runner::{Panicked, Runner, Server};
pub use sequence::new_sequence_id;

#[doc(inline)]
pub use crate::golo::{DEFAULT_SEQUENCE_ID, Output};

/// Whatever a journey fails with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// An argument that says nothing.
pub type NullArg = ();
