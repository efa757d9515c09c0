//! *Can I haz capacity?* canihaz answers with real traffic, continuously, from
//! servers that a team already has: a short-lived program that cron starts each
//! minute, that does what one-line files say, and leaves.
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
//! - people's program: [`ctl`]
//! - the minute: [`run`], [`places`], [`settings`], [`logging`], [`minute`], [`slot`], [`stop`], [`watch`],
//!   [`marks`], [`reported`]
//! - what is to run: [`plan`]
//! - what hits: [`engine`], and on its thread a [`shift`] a test
//! - what a hit does: [`kinds`], one file or folder each
//! - what becomes of the measured: [`keeper`], [`archive`], [`spool`], [`label`], [`courier`], and [`destinations`], one file each
//! - the pure middle, which knows neither files nor destinations: [`pacer`], [`backlog`], [`asked`], [`recorder`], [`gossip`],
//!   [`target`], [`summary`], [`latency`]; and [`wakeups`]
//! - reading what others wrote: [`trust`], [`keys`], [`fault`]
//!
//! Two lists grow: kinds and destinations. Adding one is one file and one line
//! in its table.
//!
//! # What holds everywhere
//!
//! - Nothing planned disappears: planned = ok + failed + canceled + missed + stopped.
//! - The wall clock is read once; all else is monotonic.
//! - Response time is counted from when a hit was due, not from when it got started.
//! - The engine's thread waits for no disk and no destination.
//! - Text becomes a type once, at the door; what is wrong becomes a [`fault`], and the rest runs.
//! - What is absent: a daemon, a controller, an open port, arguments.

pub mod archive;
pub mod asked;
pub mod backlog;
pub mod courier;
pub mod ctl;
pub mod destinations;
pub mod engine;
pub mod fault;
pub mod gossip;
pub mod keeper;
pub mod keys;
pub mod kinds;
pub mod label;
pub mod latency;
pub mod logging;
pub mod marks;
pub mod minute;
pub mod pacer;
pub mod places;
pub mod plan;
pub mod recorder;
pub mod reported;
pub mod run;
pub mod settings;
pub mod shift;
pub mod slot;
pub mod spool;
pub mod stop;
pub mod summary;
pub mod target;
pub mod trust;
pub mod wakeups;
pub mod watch;
