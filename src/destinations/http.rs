//! `kind = "http"`: POSTs a batch as JSON lines to a URL.
//!
//! The answer's status decides: 2xx is taken; 5xx, 429 and 408 are worth
//! another try, as is whatever keeps an answer from coming; all else, a
//! redirect too, is final.

use anyhow::{Error, anyhow};
use reqwest::blocking::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};

use super::client::{self, Verdict, client, parse_url};
use super::{Destination, Occasion, Refusal, json};
use crate::credentials;
use crate::keys::Keys;
use crate::summary::Summary;

/// Where batches go.
struct Http {
    url: Url,
    authorization: Option<HeaderValue>,
    prefix: Option<String>,
    /// Built with the first batch: most runs of most servers need none.
    client: Option<Client>,
}

/// Reads `url` and `bearer_file`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let url = keys.parsed("url", "a URL that begins with http:// or https://", parse_url);
    let authorization = credentials::bearer(keys);
    let url = keys.required("url", url)?;
    Some(Box::new(Http { url, authorization, prefix, client: None }))
}

impl Destination for Http {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(&self.url).map_err(Refusal::Retry)?),
        };
        let mut request = client.post(self.url.clone()).timeout(occasion.left());
        request = request.header(CONTENT_TYPE, "application/x-ndjson");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        match request.body(json::lines(batch, self.prefix.as_deref())).send() {
            Ok(response) => judge(response.status()),
            // The URL may hold a secret.
            Err(error) => Err(Refusal::Retry(Error::new(error.without_url()))),
        }
    }
}

fn judge(status: StatusCode) -> Result<(), Refusal> {
    let error = anyhow!("it answered {status}");
    match client::judge(status) {
        Verdict::Taken => Ok(()),
        Verdict::Retry => Err(Refusal::Retry(error)),
        Verdict::Final => Err(Refusal::Final(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::super::{Post, sample};
    use super::*;

    /// Delivers one batch to a server that answers with `answer`; gives back the request, too.
    fn deliver(keys: &str, answer: &str) -> (Result<(), Refusal>, String) {
        let (port, served) = client::serve(&[answer]);
        let text = format!("kind = \"http\"\nurl = \"http://127.0.0.1:{port}/in?x=1\"\n{keys}");
        let (post, faults) = super::super::read("x", Path::new("/x.toml"), &text, Duration::from_secs(10));
        let Post { mut destination, .. } = post.unwrap_or_else(|| panic!("{faults:?}"));
        let delivered = destination.deliver(&[sample::test("a"), sample::runner()], sample::occasion());
        let (head, body) = served.join().expect("it does not panic").remove(0);
        (delivered, head + std::str::from_utf8(&body).expect("it is text"))
    }

    #[test]
    fn a_batch_is_posted_as_json_lines() {
        let secret = tempfile::NamedTempFile::new().expect("there is room");
        fs::write(&secret, "t0ken\n").expect("there is room");
        let keys = format!("prefix = \"lab\"\nbearer_file = \"{}\"", secret.path().display());
        let (delivered, request) = deliver(&keys, "HTTP/1.1 204 No Content\r\n\r\n");
        delivered.expect("204 is taken");
        let (head, body) = request.split_once("\r\n\r\n").expect("it has a head");
        assert!(head.starts_with("POST /in?x=1 HTTP/1.1\r\n"), "{head}");
        for header in [
            "content-type: application/x-ndjson",
            "authorization: Bearer t0ken",
            &format!("user-agent: canihaz/{}", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(head.lines().any(|line| line == header), "{header} in {head}");
        }
        assert_eq!(body, json::lines(&[sample::test("a"), sample::runner()], Some("lab")));
    }

    #[test]
    fn the_status_decides() {
        #[track_caller]
        fn check(status: &str, expect: &str) {
            let (delivered, _) = deliver("", &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
            let seen = match delivered {
                Ok(()) => String::from("taken"),
                Err(Refusal::Retry(error)) => format!("retry: {error:#}"),
                Err(Refusal::Final(error)) => format!("final: {error:#}"),
            };
            assert_eq!(seen, expect);
        }
        check("200 OK", "taken");
        check("202 Accepted", "taken");
        check("302 Found\r\nLocation: /", "final: it answered 302 Found");
        check("400 Bad Request", "final: it answered 400 Bad Request");
        check("408 Request Timeout", "retry: it answered 408 Request Timeout");
        check("429 Too Many Requests", "retry: it answered 429 Too Many Requests");
        check("503 Service Unavailable", "retry: it answered 503 Service Unavailable");
    }

    #[test]
    fn no_answer_is_worth_another_try_and_the_url_stays_unsaid() {
        let (delivered, _) = deliver("", "nonsense\r\n\r\n");
        let refusal = delivered.expect_err("that is not HTTP");
        assert!(matches!(refusal, Refusal::Retry(_)) && !refusal.to_string().contains("127.0.0.1"), "{refusal}");

        let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}/", silent.local_addr().expect("it is bound"));
        let url = parse_url(&url).expect("it is a URL");
        let mut http = Http { url, authorization: None, prefix: None, client: None };
        let occasion = Occasion { until: Instant::now() + Duration::from_millis(100), ..sample::occasion() };
        let refusal = http.deliver(&[sample::runner()], occasion).expect_err("nobody answers");
        assert!(matches!(refusal, Refusal::Retry(_)), "{refusal}");
        assert!(occasion.until.elapsed() < Duration::from_secs(2));
    }
}
