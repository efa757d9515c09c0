//! What destinations that are asked over HTTP share: the URL, the client, and what an answer's status means.
//!
//! No redirect is followed, as it would carry secrets elsewhere. A proxy named in the environment is not used: what
//! decides is in files.

use std::sync::Arc;

use anyhow::{Context, Error, anyhow};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

use crate::AGENT;

/// What becomes of what was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It was taken.
    Taken,
    /// It is worth another try.
    Retry,
    /// It will never be taken.
    Final,
}

/// A URL with a host, by HTTP or HTTPS.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A client for `url`, whose requests have time-outs of their own.
///
/// # Errors
/// Without the system's roots, where `url` needs them.
pub(super) fn client(url: &Url) -> Result<Client, Error> {
    Client::builder()
        .tls_backend_preconfigured(tls(url.scheme() == "https")?)
        .user_agent(AGENT)
        .redirect(Policy::none())
        .no_proxy()
        .timeout(None)
        .build()
        .map_err(|error| Error::new(error.without_url()))
        .context("cannot make an HTTP client")
}

/// 2xx is taken; 5xx, 429 and 408 are worth another try; all else, a redirect too, is final.
pub(super) fn judge(status: StatusCode) -> Verdict {
    match status {
        _ if status.is_success() => Verdict::Taken,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Verdict::Retry,
        _ if status.is_server_error() => Verdict::Retry,
        _ => Verdict::Final,
    }
}

/// TLS by ring, named here as this build of reqwest brings none of its own. The
/// system's roots are read only where they are `needed`: that takes milliseconds.
fn tls(needed: bool) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if needed {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(anyhow!("the system has no trusted root certificates (ca-certificates)"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A request that a server for tests was sent: its head and its body.
#[cfg(test)]
pub(super) type Request = (String, Vec<u8>);

/// A server for tests that answers one request after another with `answers`, a connection each, and gives back the
/// requests.
#[cfg(test)]
pub(super) fn serve(answers: &[&str]) -> (u16, std::thread::JoinHandle<Vec<Request>>) {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let answers: Vec<String> =
        answers.iter().map(|answer| answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)).collect();
    let serve = move |answer: String| {
        let mut stream = BufReader::new(listener.accept().expect("somebody connects").0);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begun = head.len();
            stream.read_line(&mut head).expect("it is text");
            if let Some(number) = head[begun..].to_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().expect("it is a number");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the body is whole");
        stream.get_mut().write_all(answer.as_bytes()).expect("somebody reads");
        (head, body)
    };
    (port, std::thread::spawn(move || answers.into_iter().map(serve).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_for_https_is_made_with_the_systems_roots() {
        client(&parse_url("https://example.com/").expect("it is a URL")).expect("ring and the roots are there");
    }
}
