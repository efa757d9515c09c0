//! The kind `loadtest`: a compiled load test, a program of somebody's own that is told to run a journey a hit.
//!
//! A test has one such program in a run, started before its first hit and ended
//! after its last one. A hit is a call over gRPC; what it asks of servers in it,
//! the program says on its standard output, a line of JSON a request.

mod binary;
mod caller;
mod intake;
pub mod journeys;
mod lines;
mod printed;
mod route;
mod stderr;

pub use intake::{Answered, Intake, MAX_OUTPUT_BYTES, MAX_OUTPUTS, Taken};
pub use lines::MAX_LINE;
pub use route::{MAX_ROUTE, route};
pub use stderr::{MAX_LINES, Stderr};
