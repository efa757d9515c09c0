//! go-lo's collector as it is from outside: `POST /push/DATABASE` with a JSON array of Outputs, and nothing else.
//!
//! Its parser refuses an array as a whole, for one Output in it that isn't
//! right; of several versions it is the first one's, to which an error that is
//! a text isn't.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::odd::{Odd, read_request};

/// The largest body that it takes, in bytes: fasthttp's own limit.
const MAX_BODY: usize = 4 << 20;

/// The running collector; it takes no more connections once dropped.
pub struct Collector {
    server: Odd,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What was pushed, by database.
    pushed: BTreeMap<String, Vec<Value>>,
    /// How many Outputs each array that was taken had.
    arrays: Vec<usize>,
    /// After so many arrays it answers 503; `None` for never.
    fails_after: Option<usize>,
}

impl Collector {
    /// Starts one.
    pub fn start() -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let held = Arc::clone(&seen);
        Self { server: Odd::start(move |stream| serve(stream, &held)), seen }
    }

    /// Where Outputs for `database` are pushed.
    pub fn url(&self, database: &str) -> String {
        format!("http://127.0.0.1:{}/push/{database}", self.server.port())
    }

    /// Its own port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.server.port()
    }

    /// From now on it answers 503 once it has taken so many arrays in all.
    pub fn fails_after(&self, arrays: Option<usize>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fails_after = arrays;
    }

    /// What was pushed into `database`, in order.
    pub fn pushed(&self, database: &str) -> Vec<Value> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).pushed.get(database).cloned().unwrap_or_default()
    }

    /// How many Outputs each array that it has taken had, in order.
    pub fn arrays(&self) -> Vec<usize> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).arrays.clone()
    }
}

fn serve(stream: &mut TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    loop {
        let head = String::from_utf8(read_request(stream)?).ok()?;
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).ok()?;
        let status = push(&head, &body, &mut seen.lock().unwrap_or_else(PoisonError::into_inner));
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

/// As its api.go has it.
fn push(head: &str, body: &[u8], seen: &mut Seen) -> &'static str {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(database) = path.strip_prefix("/push/").filter(|database| !database.is_empty()) else {
        return "404 Not Found";
    };
    if method != "POST" {
        return "405 Method Not Allowed";
    }
    if body.len() > MAX_BODY {
        return "413 Request Entity Too Large";
    }
    if seen.fails_after.is_some_and(|arrays| seen.arrays.len() >= arrays) {
        return "503 Service Unavailable";
    }
    match serde_json::from_slice::<Vec<Value>>(body) {
        Ok(outputs) if outputs.iter().all(is_output) => {
            seen.arrays.push(outputs.len());
            seen.pushed.entry(database.to_owned()).or_default().extend(outputs);
            "200 OK"
        }
        _ => "400 Bad Request",
    }
}

/// Whether go's parser makes an Output of it.
fn is_output(value: &Value) -> bool {
    ["sequenceID", "url", "method"].iter().all(|key| value[key].is_string())
        && ["status", "size", "duration"].iter().all(|key| value[key].is_i64())
        && value["timestamp"].as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok())
        && (value["error"].is_null() || value["error"].is_object())
}
