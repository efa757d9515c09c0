//! Statements in InfluxQL that are put to a server, one after the other, outside of any test.
//!
//! What a type says of its connections holds here as it does for hits. The
//! URL's host is no more than a name for TLS then: where it leads is our own
//! resolver's to say, and the header `Host` has whom it is for.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Proxy, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::oneshot;
use url::form_urlencoded::Serializer;

use super::rows::{MAX_WORDS, Rows};
use super::settings::{Address, Server};
use crate::AGENT;
use crate::fault::quote_most;
use crate::kinds::dial::{self, Host, Way};

/// How much of an answer is read, in bytes: what statements like ours are answered with is a line.
const MAX_ANSWER: u64 = 64 << 10;
/// The URL's host where TLS has no name to ask for: never looked up.
const NOBODY: &str = "server.invalid";

/// A server that statements are put to.
#[derive(Debug)]
pub struct Statements {
    client: Client,
    url: String,
    /// The server, as messages name it.
    server: String,
    timeout: Duration,
    connect_timeout: Option<Duration>,
}

/// Why a statement wasn't executed.
#[derive(Debug)]
pub enum Refusal {
    /// The server has understood it, and says why not.
    Said(String),
    /// It has answered with another status than 200, and what it said.
    Status(StatusCode, Option<String>),
    /// It has answered what InfluxDB doesn't.
    NoAnswer(String),
    /// There was no answer, and why.
    Unanswered(String),
}

/// Where names lead that the client looks up.
enum Leads {
    Addresses(Vec<SocketAddr>),
    Named(String, u16),
}

impl Statements {
    /// Gets ready to ask the server at `address`, over TLS or not.
    ///
    /// # Errors
    /// TLS is spoken, and the host has a name that no certificate can bear, or the system has no root certificates.
    pub fn to(address: &Address, ssl: bool, server: &Server) -> anyhow::Result<Self> {
        let (scheme, told) = (if ssl { "https" } else { "http" }, address.to_string());
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &server.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let (tls, host) = if ssl { tls(address, &server.dial)? } else { (dial::no_tls()?, NOBODY.to_owned()) };
        let url = match server.dial.proxy() {
            // It has to be told of the server, whose name is the one that TLS asks for then: `server_name` is only what
            // its certificate has to bear.
            Some(_) => format!("{scheme}://{told}/query"),
            None => {
                headers.insert(HOST, HeaderValue::try_from(&told).with_context(|| format!("{told:?} is no host"))?);
                // Without a port, as one here would stand in for the resolver's.
                format!("{scheme}://{host}/query")
            }
        };
        let client = Client::builder()
            .user_agent(AGENT)
            .default_headers(headers)
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            // What decides is in files.
            .no_proxy()
            .timeout(None)
            .connect_timeout(server.dial.connect_timeout);
        let client = lead(client, address, &server.dial)?.build().map_err(reqwest::Error::without_url);
        let client = client.context("cannot make an HTTP client")?;
        Ok(Self {
            client,
            url,
            server: format!("{scheme}://{told}"),
            timeout: server.timeout,
            connect_timeout: server.dial.connect_timeout,
        })
    }

    /// The server, as in `http://localhost:8086`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Has one statement executed, in no more than the type's timeout.
    ///
    /// # Errors
    /// The server didn't do it.
    pub fn execute(&self, statement: &str) -> Result<(), Refusal> {
        let body = Serializer::new(String::new()).append_pair("q", statement).finish();
        let request = self.client.post(&self.url).timeout(self.timeout);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let response = request.send().map_err(|error| Refusal::Unanswered(self.words(&error)))?;
        let status = response.status();
        let body = read(response).map_err(|error| Refusal::Unanswered(self.words(&error)))?;
        let answer = Rows::of(&body);
        match (status, answer) {
            (StatusCode::OK, Ok(Rows { error: None, .. })) => Ok(()),
            (StatusCode::OK, Ok(Rows { error: Some(words), .. })) => Err(Refusal::Said(words)),
            (StatusCode::OK, Err(failure)) => Err(Refusal::NoAnswer(failure.detail)),
            (status, answer) => Err(Refusal::Status(status, answer.ok().and_then(|rows| rows.error))),
        }
    }

    /// What kept an answer from coming, in words.
    fn words(&self, error: &(dyn Error + 'static)) -> String {
        let by_reqwest = chain(error).find_map(|error| error.downcast_ref::<reqwest::Error>());
        let by_system = chain(error).find_map(|error| error.downcast_ref::<io::Error>());
        match (by_reqwest, by_system, self.connect_timeout) {
            (Some(error), _, Some(limit)) if error.is_timeout() && error.is_connect() => {
                return format!("no connection after {limit:?}");
            }
            (Some(error), ..) if error.is_timeout() => return format!("no answer after {:?}", self.timeout),
            (_, Some(error), _) => return dial::detail(innermost(error)).chars().take(MAX_WORDS).collect(),
            _ => {}
        }
        let last = chain(error).last().map_or_else(String::new, ToString::to_string);
        last.chars().take(MAX_WORDS).collect()
    }
}

impl Refusal {
    /// Whether what was to be made is there already, and is another one.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Said(words)
            if words.contains("already exists") || words.contains("conflicts with an existing"))
    }

    /// What would help, where that isn't what the server said.
    fn advice(&self) -> &'static str {
        match self {
            Self::Said(_) => "",
            Self::Status(StatusCode::UNAUTHORIZED, _) => "; the user and password, or the token, have to be right",
            Self::Status(StatusCode::FORBIDDEN, _) => {
                "; the user has to be an administrator, or `[provision.basic]` has to be left out (`enabled = false`)"
            }
            Self::Status(StatusCode::NOT_FOUND, _) | Self::NoAnswer(_) => {
                "; the address has to be that of an InfluxDB that speaks InfluxQL"
            }
            Self::Status(status, _) if status.is_redirection() => {
                "; the address has to be the server's own, and `ssl` as it speaks: redirects are not followed"
            }
            Self::Status(status, _) if status.is_server_error() => "; the next run tries again",
            Self::Status(..) => "",
            Self::Unanswered(_) => "; the server has to run, and the address and `ssl` to be its own",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(words) => write!(f, "it says {}", quote_most(words, MAX_WORDS))?,
            Self::Status(status, Some(words)) => write!(f, "{status}: it says {}", quote_most(words, MAX_WORDS))?,
            Self::Status(status, None) => write!(f, "it answered {status}")?,
            Self::NoAnswer(what) => write!(f, "it answered with {what}")?,
            Self::Unanswered(why) => f.write_str(why)?,
        }
        f.write_str(self.advice())
    }
}

impl Error for Refusal {}

impl Resolve for Leads {
    fn resolve(&self, _: Name) -> Resolving {
        match self {
            Self::Addresses(addresses) => {
                let addresses: Addrs = Box::new(addresses.clone().into_iter());
                Box::pin(std::future::ready(Ok(addresses)))
            }
            Self::Named(name, port) => {
                let (name, port) = (name.clone(), *port);
                let (told, found) = oneshot::channel();
                // A thread that nobody waits for: look-ups can't be broken off.
                let asking = thread::Builder::new().name("look-up".into()).spawn(move || {
                    let looked_up = (name.as_str(), port).to_socket_addrs();
                    let looked_up = looked_up.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")));
                    _ = told.send(looked_up);
                });
                Box::pin(async move {
                    asking?;
                    let addresses: Addrs = Box::new(found.await??);
                    Ok(addresses)
                })
            }
        }
    }
}

/// TLS with the server at `address`, and the name to ask for.
fn tls(address: &Address, dial: &dial::Settings) -> anyhow::Result<(ClientConfig, String)> {
    let name = dial.server_name.clone().map_or_else(|| address.host.server_name(), Ok);
    let name = name.context("the host's name is none that a certificate can bear")?;
    let asked_for = match &name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        _ => NOBODY.to_owned(),
    };
    Ok((dial::tls_for(dial, name)?, asked_for))
}

/// A client that gets to the server as `dial` says.
fn lead(client: ClientBuilder, address: &Address, dial: &dial::Settings) -> anyhow::Result<ClientBuilder> {
    let leads_to = |host: &Host, port| match host {
        Host::Address(address) => Leads::Addresses(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => Leads::Named(name.clone(), port),
    };
    Ok(match &dial.way {
        Way::Host => client.dns_resolver(Arc::new(leads_to(&address.host, address.port))),
        Way::Addresses(places) => {
            let addresses = places.iter().map(|place| place.with_port(address.port)).collect();
            client.dns_resolver(Arc::new(Leads::Addresses(addresses)))
        }
        Way::Socket(path) => client.unix_socket(path.to_path_buf()),
        Way::Proxy(proxy) => {
            let mut to = Proxy::all(format!("http://{}", proxy.host.with_port(proxy.port)))?;
            if let Some(authorization) = &proxy.authorization {
                to = to.custom_http_auth(authorization.clone());
            }
            client.proxy(to).dns_resolver(Arc::new(leads_to(&proxy.host, proxy.port)))
        }
    })
}

/// The answer's body, or what is looked at of it.
fn read(response: Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    response.take(MAX_ANSWER).read_to_end(&mut body)?;
    Ok(body)
}

/// An error, and what it comes from.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The first cause of an error of which each says what the next one does.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        error = inner;
    }
    error
}

/// An identifier, quoted: nothing in it ends the quotes.
pub fn identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
