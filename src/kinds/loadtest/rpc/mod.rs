//! Calls to a load test, over gRPC: where it listens, the connections to it, and what comes of a call.

mod address;
mod caller;
mod grpc;
mod line;
mod lines;
mod trouble;
mod wire;

pub use address::Address;
pub use caller::{Caller, failure_of};
pub use line::answers;
