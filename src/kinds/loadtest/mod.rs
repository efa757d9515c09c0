//! The kind `loadtest`: a compiled load test, a program of somebody's own that is told to run a journey a hit.
//!
//! A test has one such program in a run, started before its first hit and ended
//! after its last one. A hit is a call over gRPC; what it asks of servers in it,
//! the program says on its standard output, a line of JSON a request.

mod binary;
mod ids;
mod intake;
pub mod journeys;
mod lines;
mod outputs;
mod place;
mod printed;
mod route;
mod rpc;
mod session;
mod sessions;
mod settings;
mod stderr;
mod supervisor;
mod target;

pub use binary::{Binary, Executable, PublicKey, get};
pub use rpc::Address;
pub use session::{Ended, Session};
pub use sessions::{Keep, Sessions};
pub use settings::{KEYS, LEAST, Settings};
pub use target::LoadtestTarget;
