//! `kind = "collector"`: POSTs the requests of hits to go-lo's collector, as a JSON array of Outputs.
//!
//! The answer's status decides, as for `http`; but of what is refused with a
//! 400, 413 or 422 some may be taken yet: go's parser refuses an array as a
//! whole for one Output in it.

use anyhow::{Error, anyhow};
use reqwest::blocking::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};

use super::client::{self, Verdict, client, parse_url};
use super::{Declined, Destination, Occasion, Refusal, Takes};
use crate::credentials;
use crate::keys::Keys;
use crate::summary::Summary;

/// Where arrays go.
struct Collector {
    url: Url,
    authorization: Option<HeaderValue>,
    /// Built with the first array: most runs of most servers need none.
    client: Option<Client>,
}

/// Reads `url` and `bearer_file`; no `prefix`, nor `every`, as nothing is named, and nothing merged.
pub(super) fn read(keys: &mut Keys<'_>, _: Option<String>) -> Option<Box<dyn Destination>> {
    let right = "a URL as in http://collector.example.com:8082/push/DATABASE";
    let url = keys.parsed("url", right, parse_push);
    let authorization = credentials::bearer(keys);
    for key in ["prefix", "every"] {
        if keys.was_read(key) {
            keys.refuse_key(key, format!("\"{key}\" of a collector"), "it gets each request as it was, and no metrics");
        }
    }
    let url = keys.required("url", url)?;
    Some(Box::new(Collector { url, authorization, client: None }))
}

impl Destination for Collector {
    fn takes(&self) -> Takes {
        Takes::Outputs
    }

    fn deliver(&mut self, _: &[Summary], _: Occasion) -> Result<(), Refusal> {
        Err(Refusal::Final(anyhow!("it takes no summaries")))
    }

    fn collect(&mut self, outputs: &[&[u8]], occasion: Occasion) -> Result<(), Declined> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(&self.url).map_err(Declined::Retry)?),
        };
        let mut request = client.post(self.url.clone()).timeout(occasion.left());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        match request.body(array(outputs)).send() {
            Ok(response) => judge(response.status()),
            // The URL may hold a secret.
            Err(error) => Err(Declined::Retry(Error::new(error.without_url()))),
        }
    }
}

fn array(outputs: &[&[u8]]) -> Vec<u8> {
    [b"[", outputs.join(b",".as_slice()).as_slice(), b"]"].concat()
}

fn judge(status: StatusCode) -> Result<(), Declined> {
    let error = anyhow!("it answered {status}");
    match (client::judge(status), status) {
        (Verdict::Taken, _) => Ok(()),
        (Verdict::Retry, _) => Err(Declined::Retry(error)),
        (Verdict::Final, StatusCode::PAYLOAD_TOO_LARGE) => Err(Declined::TooMuch(error)),
        (Verdict::Final, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) => Err(Declined::Faulty(error)),
        (Verdict::Final, _) => Err(Declined::Final(error)),
    }
}

/// A URL that has a path: without one it can't name a database.
fn parse_push(text: &str) -> Option<Url> {
    parse_url(text).filter(|url| !matches!(url.path(), "/" | "/push" | "/push/"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::super::{Post, sample};
    use super::*;

    /// A collector at this port.
    fn collector(port: u16, keys: &str) -> Box<dyn Destination> {
        let text = format!("kind = \"collector\"\nurl = \"http://127.0.0.1:{port}/push/magnum\"\n{keys}");
        let (post, faults) = super::super::read("x", Path::new("/x.toml"), &text, Duration::from_secs(10));
        let Post { destination, .. } = post.unwrap_or_else(|| panic!("{faults:?}"));
        destination
    }

    #[test]
    fn requests_are_posted_as_one_array() {
        let secret = tempfile::NamedTempFile::new().expect("there is room");
        fs::write(&secret, "t0ken\n").expect("there is room");
        let (port, served) = client::serve(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
        let mut collector = collector(port, &format!("bearer_file = \"{}\"", secret.path().display()));
        assert_eq!(collector.takes(), Takes::Outputs);
        collector.collect(&[b"{\"a\":1}", b"{}"], sample::occasion()).expect("200 is taken");
        let (head, body) = served.join().expect("it does not panic").remove(0);
        assert!(head.starts_with("POST /push/magnum HTTP/1.1\r\n"), "{head}");
        for header in ["content-type: application/json", "authorization: Bearer t0ken", "content-length: 12"] {
            assert!(head.lines().any(|line| line == header), "{header} in {head}");
        }
        assert_eq!(body, b"[{\"a\":1},{}]");
    }

    #[test]
    fn the_status_decides() {
        #[track_caller]
        fn check(status: &str, expect: &str) {
            let (port, _served) = client::serve(&[&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")]);
            let seen = match collector(port, "").collect(&[b"{}"], sample::occasion()) {
                Ok(()) => "taken",
                Err(Declined::Retry(_)) => "retry",
                Err(Declined::TooMuch(_)) => "too much",
                Err(Declined::Faulty(_)) => "faulty",
                Err(Declined::Final(_)) => "final",
            };
            assert_eq!(seen, expect, "{status}");
        }
        check("200 OK", "taken");
        check("204 No Content", "taken");
        check("302 Found\r\nLocation: /", "final");
        check("400 Bad Request", "faulty");
        check("404 Not Found", "final");
        check("405 Method Not Allowed", "final");
        check("408 Request Timeout", "retry");
        check("413 Payload Too Large", "too much");
        check("422 Unprocessable Entity", "faulty");
        check("429 Too Many Requests", "retry");
        check("503 Service Unavailable", "retry");
    }

    #[test]
    fn each_fault_has_its_message_and_no_value() {
        #[track_caller]
        fn check(keys: &str, expect: &str) {
            let text = format!("kind = \"collector\"\n{keys}");
            let (post, faults) = super::super::read("x", Path::new("x.toml"), &text, Duration::from_secs(10));
            assert!(post.is_none());
            let faults: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect();
            assert_eq!(faults, [expect]);
        }
        let right = "a URL as in http://collector.example.com:8082/push/DATABASE";
        check("", "no key \"url\": it can't be left out");
        check("url = \"http://secret/push/\"", &format!("\"url\" can't be this string: {right}"));
        check("url = \"secret:8082\"", &format!("\"url\" can't be this string: {right}"));
        let url = "url = \"http://h/push/db\"";
        let none = "it gets each request as it was, and no metrics";
        check(&format!("{url}\nprefix = \"lab\""), &format!("\"prefix\" of a collector: {none}"));
        check(&format!("{url}\nevery = \"60s\""), &format!("\"every\" of a collector: {none}"));
    }
}
