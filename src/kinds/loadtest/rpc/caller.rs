//! One engine thread's way to a load test: a call a hit.
//!
//! Calls go side by side over one connection, and over more where the program
//! takes fewer on one. Connections are opened as they are needed, each by a task
//! on the engine's thread which then drives it. There are no clocks here: how
//! long a hit may take is its target's affair, and one that is dropped breaks its
//! call off with RST_STREAM, which the program is free to heed.

use bytes::Bytes;
use h2::Reason as Code;
use hyper::Request;

use super::address::Address;
use super::grpc;
use super::lines::Lines;
use super::trouble::{MAX_QUOTED, Trouble};
use crate::fault::quote_most;
use crate::golo::{Context, Response};
use crate::target::{Failure, Reason};

/// The tag of an answer that names the reason for which the journey failed.
const REASON: &str = "reason";
/// How often a call is made anew that came too late, as the program has ended its connection, or begun to, before it
/// looked at it.
const MAX_LATE: u32 = 3;

/// What makes calls, of one thread. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Caller {
    lines: Lines,
    head: Request<()>,
    body: Bytes,
}

impl Caller {
    /// Calls the load test at `address` on behalf of the test `job_name`. Nothing is opened yet.
    pub fn new(address: Address, job_name: &str) -> Self {
        let body = grpc::framed(&Context { job_name: job_name.to_owned() });
        Self { lines: Lines::new(address), head: grpc::head(), body }
    }

    /// Makes one call, and waits for its answer as long as that takes. To be called in a `LocalSet`. Dropping it breaks
    /// the call off.
    ///
    /// A call is never made twice, unless the program can't have looked at it: where nothing of it was written, where the
    /// program has said so while it left, and, once and over a newer connection, where it has refused it.
    ///
    /// # Errors
    /// There was no answer. An answer may say that the journey failed: see [`failure_of`].
    pub async fn trigger(&self) -> Result<Response, Trouble> {
        let (mut late, mut refused) = (0, 0);
        loop {
            let place = self.lines.place().await?;
            let trouble = match grpc::call(place.line(), self.head.clone(), self.body.clone()).await {
                Ok(response) => return Ok(response),
                Err(trouble) => trouble,
            };
            let (count, most) = match trouble {
                Trouble::Unsent(_) | Trouble::NotProcessed(_) => (&mut late, MAX_LATE),
                Trouble::Reset(Code::REFUSED_STREAM) => {
                    place.refused();
                    (&mut refused, 1)
                }
                _ => return Err(trouble),
            };
            *count += 1;
            if *count > most {
                return Err(trouble);
            }
        }
    }
}

/// What is wrong with a journey, by the load test's own word: the reason that its tag `reason` names, else
/// [`Reason::Other`]; and what it wrote, of which 200 characters are kept. `None` when it was ok.
pub fn failure_of(response: &Response) -> Option<Failure> {
    if !response.error {
        return None;
    }
    let named = response.tags.iter().find(|tag| tag.key == REASON).and_then(|tag| Reason::parse(&tag.value));
    let detail = match response.output.trim() {
        "" => String::from("the load test did not say why"),
        output => quote_most(output, MAX_QUOTED),
    };
    Some(Failure::new(named.unwrap_or(Reason::Other), detail))
}

#[cfg(test)]
mod tests;
