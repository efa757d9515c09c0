//! Queries as requests: `/query`.

use std::cell::Cell;

use super::at;
use super::requests::{headers, site};
use crate::fault::quote;
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::http::{Body, Judge, Request, Site};
use crate::kinds::influxdb::rows::Rows;
use crate::kinds::influxdb::settings::{Address, Reading, Server};
use crate::target::{Failure, Reason};

/// The most that is read of an answer, in bytes. It is kept in memory until its rows are counted.
const MAX_ANSWER: u64 = 64 << 20;

/// Servers that are asked, in turn.
#[derive(Debug)]
pub struct Queries(Vec<Asked>);

/// A server, and its part of a request's head.
#[derive(Debug)]
struct Asked {
    site: Site,
    /// From behind the query to the empty line.
    after: Vec<u8>,
}

impl Queries {
    /// The servers of a reader.
    ///
    /// # Errors
    /// A host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(reading: &Reading, server: &Server, sharing: &Sharing) -> anyhow::Result<Self> {
        let asked = |address: &Address| {
            let after = [b" HTTP/1.1\r\n", headers(address, server).as_slice(), b"\r\n"].concat();
            Ok(Asked { site: site(address, reading.ssl, server, sharing)?, after })
        };
        Ok(Self(reading.addresses.iter().map(asked).collect::<anyhow::Result<_>>()?))
    }

    /// Asks what stands behind the `?`, as in `db=lab&q=SELECT+v+FROM+m`, of the server whose turn it is, and counts
    /// the rows of the answer.
    pub async fn ask(&self, turn: u64, query: &str, tally: &Tally, rows: &Cell<u64>) -> Option<Failure> {
        let Asked { site, after } = at(&self.0, turn);
        let head = [b"GET /query?", query.as_bytes(), after].concat();
        let request = Request { head, body: Body::default(), idempotent: true, is_head: false };
        let judge = Judge::keeping(MAX_ANSWER);
        let answered = match site.ask(&request, &judge, tally).await {
            Ok(answered) => answered,
            Err(failure) => return Some(failure),
        };
        let body = judge.into_body();
        match answered.head.status {
            200..=299 if answered.failure.is_some() => answered.failure,
            200..=299 => match Rows::of(&body) {
                Ok(found) => {
                    rows.set(found.count);
                    found
                        .error
                        .map(|error| Failure::new(Reason::Body, format_args!("the query failed: {}", quote(&error))))
                }
                Err(failure) => Some(failure),
            },
            status => {
                let said = quote(&String::from_utf8_lossy(&body));
                Some(Failure::new(Reason::Status, format_args!("{status}: {said}")))
            }
        }
    }
}
