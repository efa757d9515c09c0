//! Batches as requests: `/write`, or `/api/v2/write`.

use url::form_urlencoded::Serializer;

use super::fate::Fate;
use super::{Sent, at};
use crate::AGENT;
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::http::{Body, Http2, Judge, Request, Site, Terms, Url};
use crate::kinds::influxdb::settings::{Address, Api, Client, Precision, Server};
use crate::line_protocol::gzipped;
use crate::target::{Failure, Reason};

/// The most that is read of an answer, in bytes. What a database says of a batch is a line, or a line for each that it
/// can't parse.
const MAX_ANSWER: u64 = 64 << 10;

/// Servers, and how they are asked.
#[derive(Debug)]
pub struct Requests {
    servers: Vec<Asked>,
    gzip: bool,
}

/// A server, and what all requests to it begin with.
#[derive(Debug)]
struct Asked {
    site: Site,
    /// From the method to the name of the last header, which is the content's length.
    head: Vec<u8>,
}

impl Requests {
    /// The servers of `client`.
    ///
    /// # Errors
    /// A host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(client: &Client, server: &Server, sharing: &Sharing) -> anyhow::Result<Self> {
        let path = path(&client.api, client.precision);
        let asked = |address: &Address| {
            let mut head = format!("POST {path} HTTP/1.1\r\n").into_bytes();
            head.extend(headers(address, server));
            if client.gzip {
                head.extend_from_slice(b"content-encoding: gzip\r\n");
            }
            head.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\ncontent-length: ");
            let site = site(address, client.ssl, server, sharing)?.resting(client.batch_interval);
            Ok(Asked { site, head })
        };
        let servers = client.addresses.iter().map(asked).collect::<anyhow::Result<_>>()?;
        Ok(Self { servers, gzip: client.gzip })
    }

    /// Sends a batch, takes the answer for what it says, and gives the lines back.
    pub async fn send(&self, turn: u64, points: u64, lines: Body, tally: &Tally) -> (Sent, Body) {
        if self.gzip {
            let (sent, _) = self.post(turn, points, Body::Written(gzipped(&lines)), tally).await;
            return (sent, lines);
        }
        self.post(turn, points, lines, tally).await
    }

    /// Sends a body, and gives it back.
    async fn post(&self, turn: u64, points: u64, body: Body, tally: &Tally) -> (Sent, Body) {
        let Asked { site, head } = at(&self.servers, turn);
        let head = [head, body.len().to_string().as_bytes(), b"\r\n\r\n"].concat();
        // Points that come twice replace themselves.
        let request = Request { head, body, idempotent: true, is_head: false };
        let judge = Judge::keeping(MAX_ANSWER);
        let sent = match site.ask(&request, &judge, tally).await {
            // A database can't have taken what it wasn't sent.
            Ok(answered) if !answered.is_sent && answered.head.status / 100 == 2 => {
                let why = format_args!("{} before all of the batch was sent", answered.head.status);
                Sent { failure: Some(Failure::new(Reason::Protocol, why)), fate: Fate::Undone }
            }
            Ok(answered) => {
                let (status, body) = (answered.head.status, judge.into_body());
                let (fate, refused) = Fate::of(status, &body, points);
                match answered.failure {
                    None => Sent { failure: refused, fate },
                    Some(broken) => {
                        // It would be as long the next time.
                        let is_long = body.len() as u64 == MAX_ANSWER;
                        let fate = fate.unread(status, is_long, points);
                        Sent { failure: refused.filter(|_| is_long).or(Some(broken)), fate }
                    }
                }
            }
            Err(failure) => Sent { failure: Some(failure), fate: Fate::Undone },
        };
        (sent, request.body)
    }
}

/// The way to a server over HTTP.
///
/// # Errors
/// The host has a name that no certificate can bear, or the system has no root certificates.
pub fn site(address: &Address, ssl: bool, server: &Server, sharing: &Sharing) -> anyhow::Result<Site> {
    let scheme = if ssl { "https" } else { "http" };
    let url = format!("{scheme}://{}/", address);
    let url = Url::parse(&url).ok_or_else(|| anyhow::anyhow!("{url} is no URL that can be asked"))?;
    let terms = Terms {
        timeout: server.timeout,
        keep_alive: true,
        http2: Http2::Never,
        dial: server.dial.clone(),
        sharing: sharing.clone(),
    };
    Site::new(&url, &terms)
}

/// The headers that all requests to a server have.
pub fn headers(address: &Address, server: &Server) -> Vec<u8> {
    let mut headers = format!("host: {address}\r\nuser-agent: {AGENT}\r\n").into_bytes();
    if let Some(authorization) = &server.authorization {
        for part in [b"authorization: ", authorization.as_bytes(), b"\r\n"] {
            headers.extend_from_slice(part);
        }
    }
    headers
}

/// Path and query.
fn path(api: &Api, precision: Precision) -> String {
    let mut query = Serializer::new(String::new());
    let path = match api {
        Api::V1 { database, retention_policy, consistency } => {
            query.append_pair("db", database);
            if let Some(policy) = retention_policy {
                query.append_pair("rp", policy);
            }
            if let Some(consistency) = consistency {
                query.append_pair("consistency", consistency.name());
            }
            query.append_pair("precision", precision.name());
            "/write"
        }
        Api::V2 { org, bucket } => {
            query
                .append_pair("org", org)
                .append_pair("bucket", bucket)
                .append_pair("precision", precision.name_in_v2());
            "/api/v2/write"
        }
    };
    format!("{path}?{}", query.finish())
}
