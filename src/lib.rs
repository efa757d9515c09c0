//! *Can I haz capacity?* canihaz answers with real traffic, continuously, from
//! servers that a team already has: a short-lived program that cron starts each
//! minute, that does what one-line files say, and leaves.
//!
//! This is the documentation of the library that the runner is made of: of
//! what one can build with it, and of how the runner works. How to use the
//! runner is in README.
//!
//! # As a library
//!
//! A [`Worker`] hits a [`Target`] at a [`Rate`], and [`Gossiper`]s listen. Any
//! async closure, or function, that gives a result is a target:
//!
//! ```
//! use std::time::Duration;
//! use canihaz::{Rate, Worker};
//!
//! async fn ping() -> Result<&'static str, std::io::Error> {
//!     Ok("pong")
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), canihaz::Error> {
//!     let worker = Worker::hire("pinger", ping).overtime(10);
//!     let tally = worker.work(Rate::per_second(20), Duration::from_millis(100)).await?;
//!     assert_eq!((tally.ok, tally.failed, tally.canceled), (2, 0, 0));
//!     println!("99 % took at most {:?}", tally.response.quantile(0.99));
//!     Ok(())
//! }
//! ```
//!
//! - [`Worker::hire`] and what it is offered: [`overtime`](Worker::overtime),
//!   [`when_busy`](Worker::when_busy), [`gossips`](Worker::gossips),
//!   [`arrivals`](Worker::arrivals), [`grace`](Worker::grace).
//! - [`work()`] for one piece of work, [`farm()`] for several workers side by
//!   side, [`force()`] for as many as one likes that are alike.
//! - What comes of it is a [`Tally`], or an [`Error`]; a target that fails is
//!   none. [`Gossip`] tells of each single hit.
//! - [`influxdb`] is a stress test of its own, of a database that takes points: influx_stress's, part by part.
//! - [`loadtest`] is for programs that the runner runs: journeys of users, in code.
//!
//! The worker is a thin layer on the engine's own [`shift`]: what is said below
//! of hits, times and counts holds for both. It works on the caller's tokio
//! runtime, of any flavour, which needs I/O enabled. It stays on one thread,
//! and neither its futures nor its target's need be `Send`; gossipers listen
//! in tasks of their own, and are.
//!
//! # The way of the data
//!
//! ```text
//! cron ─▶ canihaz ─▶ stop file? ─▶ slot (1 of 3) ─▶ plan (files) ─▶ for each test: shift
//!                                                                 pacer ─▶ target ─▶ gossip ─▶ recorder
//!                            destination ◀─ courier ◀─ spool (disk) ◀─ keeper ◀─ summary ◀─────────┘
//! ```
//!
//! # The map
//!
//! [`run`] is the program: one minute, from its claim to the last summary. Read
//! it first. What it speaks of, from above to below; nothing looks up this list:
//!
//! - the library's front: [`Worker`], [`Gossiper`], [`Rate`], [`Error`] and [`work()`], [`farm()`], [`force()`]; and
//!   [`influxdb`], on what the kind of that name is made of; the runner uses none of it
//! - people's program: [`ctl`]
//! - the minute: [`run`], [`places`], [`settings`], [`logging`], [`minute`], [`slot`], [`stop`], [`watch`],
//!   [`marks`], [`reported`]
//! - what is to run: [`plan`]
//! - what hits: [`engine`], and on each of its threads a [`shift`] a test
//! - what a hit does: [`kinds`], one file or folder each; what those share that hit over a network is in
//!   `kinds/dial`; what takes a while before the first hit, and files that hits must not wait for, are
//!   [backstage](kinds::Backstage); commands are started by the [`guard`], a process of its own
//! - what becomes of the measured: [`keeper`], [`archive`], [`spool`], [`label`], [`courier`], and [`destinations`], one file each
//! - the pure middle, which knows neither files nor destinations: [`pacer`], [`backlog`], [`asked`], [`recorder`], [`gossip`],
//!   [`target`], [`summary`], [`connections`], [`values`], [`routes`], [`work`](mod@work), [`ranges`], [`latency`]; and [`wakeups`]
//! - what a kind and a destination have in common: `line_protocol`, InfluxDB's, and `credentials`, who asks over HTTP
//! - what a compiled load test and its agent say to each other: [`golo`]; what such a test is made of: [`loadtest`], of which
//!   the runner uses nothing
//! - reading what others wrote: [`trust`], [`keys`], [`fault`]; telling what can be written: [`page`]; writing files whole:
//!   `whole`; and `hostname`, and `unpoisoned` locks
//!
//! Two lists grow: kinds and destinations. Adding one is one file and one line
//! in its table.
//!
//! # What holds everywhere
//!
//! - Nothing planned disappears: planned = ok + failed + canceled + missed + stopped.
//! - The wall clock says once which minute it is; all else is monotonic. (The kernel's receive stamps are the wall
//!   clock's: they count as long as that goes steadily.)
//! - Response time is counted from when a hit was due, not from when it got started.
//! - The engine's threads wait for no disk and no destination, and share nothing while they hit but what all of a test
//!   take from.
//! - Text becomes a type once, at the door; what is wrong becomes a [`fault`], and the rest runs.
//! - What is absent: a daemon, a controller, an open port, arguments.

pub mod archive;
pub mod asked;
pub mod backlog;
pub mod connections;
pub mod courier;
mod credentials;
pub mod ctl;
pub mod destinations;
pub mod engine;
mod error;
mod farm;
pub mod fault;
pub mod golo;
pub mod gossip;
mod gossiper;
pub mod guard;
mod hostname;
pub mod influxdb;
pub mod keeper;
pub mod keys;
pub mod kinds;
pub mod label;
pub mod latency;
mod line_protocol;
pub mod loadtest;
pub mod logging;
pub mod marks;
pub mod minute;
pub mod pacer;
pub mod page;
pub mod places;
pub mod plan;
pub mod ranges;
mod rate;
pub mod recorder;
pub mod reported;
pub mod routes;
pub mod run;
pub mod settings;
pub mod shift;
pub mod slot;
pub mod spool;
pub mod stop;
pub mod summary;
pub mod target;
pub mod trust;
mod unpoisoned;
pub mod values;
pub mod wakeups;
pub mod watch;
mod whole;
pub mod work;
mod worker;

pub use self::error::Error;
pub use self::farm::{Force, farm, force, work};
#[doc(inline)]
pub use self::gossip::{Ended, Gossip};
pub use self::gossiper::{Gossiper, Gossips};
#[doc(inline)]
pub use self::pacer::{Arrivals, Due};
pub use self::rate::Rate;
#[doc(inline)]
pub use self::shift::WhenBusy;
#[doc(inline)]
pub use self::summary::Tally;
#[doc(inline)]
pub use self::target::{Answer, Failure, Numbered, Outcome, Phases, Reason, Target, Value, numbered};
#[doc(inline)]
pub use self::work::Work;
pub use self::worker::{Config, Worker};

/// How canihaz calls itself, over HTTP.
pub(crate) const AGENT: &str = concat!("canihaz/", env!("CARGO_PKG_VERSION"));

/// The examples in README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
