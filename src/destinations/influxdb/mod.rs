//! `kind = "influxdb"`: POSTs a batch as lines to InfluxDB's `/write`, or to `/api/v2/write`.
//!
//! The answer's status decides, as for `http`, but where the server's own words
//! tell of a full disk: that is worth another try, whatever the status. Of what
//! was set aside they are kept. Of a partial write (400) it has taken all lines
//! but those it names, and would refuse them again: that is final. A point that
//! is sent again lands where it was.

mod line;
mod points;

use std::io::Read;

use anyhow::{Error, anyhow};
use reqwest::Url;
use reqwest::blocking::{Client, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};

use super::client::{self, Verdict, client, parse_url};
use super::{Destination, Occasion, Refusal, dotted};
use crate::credentials;
use crate::fault::quote_most;
use crate::keys::Keys;
use crate::line_protocol::{gzipped, is_disk_full};
use crate::summary::Summary;
use points::Points;

/// The most lines of a request: what InfluxDB's makers call optimal.
const MAX_LINES: usize = 5000;
/// The size, in bytes before compression, after which a request has no further line; servers take 25 MB and more.
const FULL: usize = 1 << 20;
/// The most bytes read of the answer to a request that was not taken.
const MAX_ANSWER: u64 = 4 << 10;
/// The most characters kept of what a server says: its sentences name a measurement, a field and two types.
const MAX_WORDS: usize = 400;
/// The most bytes of a name or value that the file gives for InfluxDB to have.
const MAX_NAME: usize = 256;
/// The most tags that the file may add.
const MAX_TAGS: usize = 16;
/// The names of tags that points have already; and of columns that InfluxDB has itself.
const TAKEN: [&str; 9] = ["copy", "host", "reason", "route", "test", "time", "type", "unit", "value"];

/// Where batches go.
struct Influxdb {
    /// With all that is asked for: the database, the precision.
    url: Url,
    authorization: Option<HeaderValue>,
    gzip: bool,
    points: Points,
    /// Built with the first batch: most runs of most servers need none.
    client: Option<Client>,
}

/// Which of the two interfaces is spoken to.
enum Api {
    /// `/write`, by InfluxDB 1.
    V1 { database: String, retention_policy: Option<String>, consistency: Option<&'static str> },
    /// `/api/v2/write`, since InfluxDB 1.8.
    V2 { org: String, bucket: String },
}

/// Reads `url`, `database` or `org` and `bucket`, `user` or a token, `gzip` and `tags`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let right = "a URL as in http://influx.example.com:8086, without a user, a query or a fragment";
    let url = keys.parsed("url", right, parse_base);
    let api = read_api(keys);
    let authorization = credentials::user_or_token(keys);
    let gzip = keys.boolean("gzip").unwrap_or(true);
    let tags = read_tags(keys);
    let url = keys.required("url", url)?;
    let measurement = prefix.unwrap_or_else(|| dotted::PREFIX.to_owned());
    let url = api?.url(url);
    Some(Box::new(Influxdb { url, authorization, gzip, points: Points { measurement, tags }, client: None }))
}

impl Destination for Influxdb {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let mut refused = None;
        for body in bodies(batch.iter().flat_map(|summary| self.points.lines(summary))) {
            match self.post(body, occasion) {
                Ok(()) => {}
                Err(Refusal::Retry(error)) => return Err(Refusal::Retry(error)),
                // The others are as good as without it.
                Err(Refusal::Final(error)) => _ = refused.get_or_insert(error),
            }
        }
        refused.map_or(Ok(()), |error| Err(Refusal::Final(error)))
    }
}

impl Influxdb {
    fn post(&mut self, body: String, occasion: Occasion) -> Result<(), Refusal> {
        if occasion.is_over() {
            return Err(Refusal::Retry(anyhow!("the time to send was over")));
        }
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(&self.url).map_err(Refusal::Retry)?),
        };
        let mut request = client.post(self.url.clone()).timeout(occasion.left());
        request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = match self.gzip {
            true => request.header(CONTENT_ENCODING, "gzip").body(gzipped(body.as_bytes())),
            false => request.body(body),
        };
        match request.send() {
            Ok(response) => judge(response, occasion),
            // The URL may hold a secret.
            Err(error) => Err(Refusal::Retry(Error::new(error.without_url()))),
        }
    }
}

impl Api {
    /// Where it is, below `base`.
    fn url(self, mut base: Url) -> Url {
        let (end, parameters) = match &self {
            Self::V1 { database, retention_policy, consistency } => (
                "write",
                vec![
                    ("db", Some(database.as_str())),
                    ("rp", retention_policy.as_deref()),
                    ("consistency", *consistency),
                ],
            ),
            Self::V2 { org, bucket } => ("api/v2/write", vec![("org", Some(org.as_str())), ("bucket", Some(bucket))]),
        };
        let path = format!("{}/{end}", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        base.query_pairs_mut().extend_pairs(parameters).append_pair("precision", "ns");
        base
    }
}

/// Requests of few enough lines, in order.
fn bodies(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut bodies: Vec<String> = Vec::new();
    let mut count = MAX_LINES;
    for line in lines {
        match bodies.last_mut().filter(|body| count < MAX_LINES && body.len() < FULL) {
            Some(body) => body.push_str(&line),
            None => {
                count = 0;
                bodies.push(line);
            }
        }
        count += 1;
    }
    bodies
}

fn judge(response: Response, occasion: Occasion) -> Result<(), Refusal> {
    let status = response.status();
    let verdict = client::judge(status);
    if verdict == Verdict::Taken {
        return Ok(());
    }
    let answer = answer(response, occasion);
    let refusal = match verdict == Verdict::Retry || is_disk_full(answer.as_bytes()) {
        true => Refusal::Retry,
        false => Refusal::Final,
    };
    Err(refusal(match words(&answer) {
        words if words.is_empty() => anyhow!("it answered {status}"),
        words => anyhow!("it answered {status}: {}", quote_most(&words, MAX_WORDS)),
    }))
}

/// The beginning of an answer's text, as far as it comes in time.
fn answer(mut response: Response, occasion: Occasion) -> String {
    let mut text = Vec::new();
    let mut part = [0; 1024];
    let mut rest = response.by_ref().take(MAX_ANSWER);
    while !occasion.is_over() {
        match rest.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(length) => text.extend_from_slice(&part[..length]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What a server says in its answer: InfluxDB 1 under `error`, 2 under `message`, others as they like.
fn words(answer: &str) -> String {
    let object: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let said = object.as_ref().and_then(|object| ["error", "message"].iter().find_map(|key| object[key].as_str()));
    said.unwrap_or(answer).trim().to_owned()
}

fn parse_base(text: &str) -> Option<Url> {
    let is_bare = |url: &Url| {
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
    };
    parse_url(text).filter(is_bare)
}

fn read_api(keys: &mut Keys<'_>) -> Option<Api> {
    let right = "1 to 256 bytes without control characters";
    let is_v1 = keys.has("database");
    let is_v2 = keys.has("org") || keys.has("bucket");
    let [database, retention_policy, org, bucket] =
        ["database", "retention_policy", "org", "bucket"].map(|key| keys.parsed(key, right, parse_name));
    let has_policy = retention_policy.is_some();
    let levels = ["any", "one", "quorum", "all"].map(|level| (level, level));
    let consistency = keys.choice("consistency", &levels);
    match (is_v1, is_v2) {
        (true, false) => Some(Api::V1 { database: database?, retention_policy, consistency }),
        (false, true) => {
            let (org, bucket) = (keys.required("org", org), keys.required("bucket", bucket));
            let strays = [("retention_policy", has_policy), ("consistency", consistency.is_some())];
            for (key, _) in strays.into_iter().filter(|(_, is_there)| *is_there) {
                keys.refuse_key(key, format!("\"{key}\" beside \"bucket\""), "it goes with \"database\"");
            }
            Some(Api::V2 { org: org?, bucket: bucket? })
        }
        (both, _) => {
            let seen = if both { "both \"database\" and \"bucket\"" } else { "no key \"database\" and no \"bucket\"" };
            keys.refuse(seen, "\"database\" for InfluxDB 1, or \"org\" and \"bucket\" for the API of InfluxDB 2");
            None
        }
    }
}

/// The tags of every point beside its own.
fn read_tags(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let tags = keys.texts("tags").unwrap_or_default();
    let is_right = |(name, value): &(String, String)| {
        parse_name(name).is_some()
            && parse_name(value).is_some()
            && !name.starts_with('_')
            && !TAKEN.contains(&name.as_str())
            && ![name, value].iter().any(|text| text.ends_with('\\'))
    };
    if tags.len() > MAX_TAGS || !tags.iter().all(is_right) {
        let right = format!(
            "at most {MAX_TAGS} names and values of 1 to {MAX_NAME} bytes without control characters or a backslash at \
             their end; no name begins with _ or is one of {}",
            TAKEN.join(", ")
        );
        keys.refuse_key("tags", "\"tags\" can't be this table", right);
    }
    tags
}

fn parse_name(text: &str) -> Option<String> {
    ((1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use flate2::read::GzDecoder;

    use super::super::{Post, sample};
    use super::*;

    const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    /// A folder with the secrets `password` and `token`, where the destination's file is.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("there is room");
        for name in ["password", "token"] {
            std::fs::write(folder.path().join(name), format!("the-{name}\n")).expect("there is room");
        }
        folder
    }

    fn read(folder: &Path, keys: &str) -> (Option<Post>, Vec<String>) {
        let text = format!("kind = \"influxdb\"\n{keys}");
        let (post, faults) = super::super::read("x", &folder.join("x.toml"), &text, Duration::from_secs(10));
        let brief = |fault: &crate::fault::Fault| {
            let text = fault.to_string().replace(&format!("{}/", folder.display()), "");
            text.replace(&format!("; {}", super::super::NOW), "")
        };
        (post, faults.iter().map(brief).collect())
    }

    /// Delivers `batch` to a server that answers with `answers`; gives back the requests, too.
    fn deliver(keys: &str, answers: &[&str], batch: &[Summary]) -> (String, Vec<client::Request>) {
        let folder = folder();
        let (port, served) = client::serve(answers);
        let (post, faults) = read(folder.path(), &format!("url = \"http://127.0.0.1:{port}\"\n{keys}"));
        let Post { mut destination, .. } = post.unwrap_or_else(|| panic!("{faults:?}"));
        let seen = match destination.deliver(batch, sample::occasion()) {
            Ok(()) => String::from("taken"),
            Err(Refusal::Retry(error)) => format!("retry: {error:#}"),
            Err(Refusal::Final(error)) => format!("final: {error:#}"),
        };
        (seen, served.join().expect("it does not panic"))
    }

    fn lines(batch: &[Summary]) -> String {
        let points = Points { measurement: String::from("canihaz"), tags: Vec::new() };
        batch.iter().flat_map(|summary| points.lines(summary)).collect()
    }

    #[test]
    fn a_batch_is_posted_as_lines_to_either_interface() {
        #[track_caller]
        fn check(keys: &str, target: &str, authorization: Option<&str>) {
            let batch = [sample::test("a"), sample::runner()];
            let (seen, requests) = deliver(keys, &[TAKEN], &batch);
            let (head, body) = &requests[0];
            assert_eq!(seen, "taken");
            assert!(head.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{head}");
            let headers = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            assert_eq!(headers("authorization"), authorization);
            assert_eq!(headers("content-type"), Some("text/plain; charset=utf-8"));
            let mut text = String::new();
            match headers("content-encoding") {
                Some("gzip") => _ = GzDecoder::new(body.as_slice()).read_to_string(&mut text).expect("it is gzip"),
                other => {
                    assert_eq!(other, None);
                    text = String::from_utf8(body.clone()).expect("it is text");
                }
            }
            assert_eq!(headers("content-encoding").is_none(), keys.contains("gzip = false"));
            assert_eq!(text, lines(&batch));
        }
        check("database = \"lab\"", "/write?db=lab&precision=ns", None);
        check("database = \"lab\"\ngzip = false", "/write?db=lab&precision=ns", None);
        check(
            "database = \"a b&c\"\nretention_policy = \"week\"\nconsistency = \"quorum\"\nuser = \"me\"\n\
             password_file = \"password\"",
            "/write?db=a+b%26c&rp=week&consistency=quorum&precision=ns",
            Some("Basic bWU6dGhlLXBhc3N3b3Jk"),
        );
        check(
            "org = \"o\"\nbucket = \"b/autogen\"\ntoken_file = \"token\"",
            "/api/v2/write?org=o&bucket=b%2Fautogen&precision=ns",
            Some("Token the-token"),
        );
    }

    #[test]
    fn the_status_and_a_full_disk_decide_and_the_servers_words_are_kept() {
        #[track_caller]
        fn check(status: &str, body: &str, expect: &str) {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let keys = "database = \"lab\"\ntoken_file = \"token\"";
            let (seen, _) = deliver(keys, &[&answer], &[sample::runner()]);
            assert_eq!(seen, expect);
        }
        check("204 No Content", "", "taken");
        check("200 OK", "", "taken");
        check("302 Found\r\nLocation: /elsewhere", "", "final: it answered 302 Found");
        check(
            "400 Bad Request",
            "{\"error\":\"partial write: points beyond retention policy dropped=3\"}\n",
            "final: it answered 400 Bad Request: \"partial write: points beyond retention policy dropped=3\"",
        );
        let full = "\"partial write: open /data/1/index: no space left on device dropped=3\"";
        check(
            "400 Bad Request",
            &format!("{{\"error\":{full}}}\n"),
            &format!("retry: it answered 400 Bad Request: {full}"),
        );
        check(
            "422 Unprocessable Entity",
            &format!("{{\"code\":\"unprocessable entity\",\"message\":{full}}}"),
            &format!("retry: it answered 422 Unprocessable Entity: {full}"),
        );
        check(
            "401 Unauthorized",
            "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}",
            "final: it answered 401 Unauthorized: \"unauthorized access\"",
        );
        check("404 Not Found", "\u{1b}[31mno\n", "final: it answered 404 Not Found: \"\\u{1b}[31mno\"");
        check("408 Request Timeout", "", "retry: it answered 408 Request Timeout");
        check("429 Too Many Requests", "slower", "retry: it answered 429 Too Many Requests: \"slower\"");
        check(
            "500 Internal Server Error",
            "{\"error\":7}",
            "retry: it answered 500 Internal Server Error: \"{\\\"error\\\":7}\"",
        );
        check(
            "503 Service Unavailable",
            &"x".repeat(100_000),
            &format!("retry: it answered 503 Service Unavailable: \"{}…\"", "x".repeat(MAX_WORDS)),
        );
    }

    #[test]
    fn no_answer_is_worth_another_try() {
        let (seen, _) = deliver("database = \"lab\"", &["nonsense\r\n\r\n"], &[sample::runner()]);
        assert!(seen.starts_with("retry: ") && !seen.contains("127.0.0.1"), "{seen}");
    }

    #[test]
    fn an_answer_that_does_not_end_is_judged_by_its_status_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (ended, wait) = mpsc::channel::<()>();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            assert_ne!(stream.read(&mut [0; 4096]).expect("somebody writes"), 0);
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nhalf a sen";
            stream.write_all(head.as_bytes()).expect("somebody reads");
            wait.recv().expect_err("nothing is sent");
        });
        let keys = format!("url = \"http://127.0.0.1:{port}\"\ndatabase = \"lab\"");
        let Post { mut destination, .. } = read(folder().path(), &keys).0.expect("it is right");
        let occasion = Occasion { until: Instant::now() + Duration::from_millis(200), ..sample::occasion() };
        let refusal = destination.deliver(&[sample::runner()], occasion).expect_err("400 is not taken");
        assert!(matches!(refusal, Refusal::Final(_)), "{refusal}");
        assert_eq!(refusal.to_string(), "it answered 400 Bad Request: \"half a sen\"");
        assert!(occasion.until.elapsed() < Duration::from_secs(2));
        drop(ended);
        served.join().expect("it does not panic");
    }

    #[test]
    fn a_large_batch_is_several_requests_of_which_each_is_sent_whatever_is_said_of_the_others() {
        let batch: Vec<_> = (0..MAX_LINES + 2).map(|second| sample::later(sample::runner(), second as i64)).collect();
        let refused = "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nnope";
        let (seen, requests) = deliver("database = \"lab\"\ngzip = false", &[refused, TAKEN], &batch);
        assert_eq!(seen, "final: it answered 400 Bad Request: \"nope\"");
        let sent: Vec<&[u8]> = requests.iter().map(|(_, body)| body.as_slice()).collect();
        assert_eq!(sent.concat(), lines(&batch).into_bytes());
        assert_eq!(sent[1], lines(&batch[MAX_LINES..]).into_bytes());

        let down = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        let (seen, requests) = deliver("database = \"lab\"", &[down], &batch);
        assert_eq!((seen.as_str(), requests.len()), ("retry: it answered 503 Service Unavailable", 1));
    }

    #[test]
    fn a_request_is_bounded_in_bytes_as_in_lines() {
        #[track_caller]
        fn check(lines: &[usize], expect: &[usize]) {
            let bodies = bodies(lines.iter().map(|length| "x".repeat(*length)));
            assert_eq!(bodies.iter().map(String::len).collect::<Vec<_>>(), expect);
        }
        check(&[], &[]);
        check(&[5, 6], &[11]);
        check(&[FULL - 1, 7, 8], &[FULL + 6, 8]);
        check(&[1; 2 * MAX_LINES + 1], &[MAX_LINES, MAX_LINES, 1]);
    }

    #[test]
    fn the_base_may_have_a_path() {
        #[track_caller]
        fn check(base: &str, expect: &str) {
            let api = Api::V1 { database: String::from("d"), retention_policy: None, consistency: None };
            assert_eq!(api.url(parse_base(base).expect("it is a URL")).as_str(), expect);
        }
        check("http://h:8086", "http://h:8086/write?db=d&precision=ns");
        check("https://h/", "https://h/write?db=d&precision=ns");
        check("https://h/influx/", "https://h/influx/write?db=d&precision=ns");
    }

    #[test]
    fn each_fault_has_its_message_and_no_value() {
        #[track_caller]
        fn check(keys: &str, expect: &[&str]) {
            let folder = folder();
            let (post, faults) = read(folder.path(), keys);
            assert_eq!(
                (faults.as_slice(), post.is_some()),
                (expect.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice(), expect.is_empty()),
                "{keys}"
            );
        }
        let sound = "url = \"http://h:8086\"\n";
        let v1 = |more: &str| format!("{sound}database = \"lab\"\n{more}");
        let v2 = |more: &str| format!("{sound}org = \"o\"\nbucket = \"b\"\n{more}");
        check(&v1(""), &[]);
        check(&v2("token_file = \"token\"\n[tags]\ndc = \"x y\""), &[]);
        check("database = \"lab\"", &["x.toml: no key \"url\": it can't be left out"]);
        for url in ["influx:8086", "http://me:secret@h", "http://h/?secret", "http://h/#secret"] {
            check(
                &format!("url = \"{url}\"\ndatabase = \"lab\""),
                &["x.toml:2:7: \"url\" can't be this string: a URL as in http://influx.example.com:8086, without a \
                   user, a query or a fragment"],
            );
        }
        let either = "\"database\" for InfluxDB 1, or \"org\" and \"bucket\" for the API of InfluxDB 2";
        check(sound, &[&format!("x.toml: no key \"database\" and no \"bucket\": {either}")]);
        check(&v1("bucket = \"b\""), &[&format!("x.toml: both \"database\" and \"bucket\": {either}")]);
        check(&format!("{sound}bucket = \"b\""), &["x.toml: no key \"org\": it can't be left out"]);
        check(
            &v2("retention_policy = \"week\"\nconsistency = \"all\""),
            &[
                "x.toml:5:20: \"retention_policy\" beside \"bucket\": it goes with \"database\"",
                "x.toml:6:15: \"consistency\" beside \"bucket\": it goes with \"database\"",
            ],
        );
        check(
            &v1("consistency = \"most\""),
            &["x.toml:4:15: \"consistency\" can't be this string: \"any\" or \"one\" or \"quorum\" or \"all\""],
        );
        check(&v1("user = \"me\""), &["x.toml:4:8: \"user\" without \"password_file\": both of them"]);
        check(&v1("password_file = \"password\""), &["x.toml:4:17: \"password_file\" without \"user\": both of them"]);
        check(
            &v1("user = \"me\"\npassword_file = \"none\""),
            &["x.toml:5:17: the file \"password_file\" names does not exist: a file was expected here"],
        );
        check(
            &v1("user = \"a:b\"\npassword_file = \"password\""),
            &["x.toml:4:8: \"user\" can't be this string: a user's name of 1 to 256 bytes, without a colon or \
               control characters"],
        );
        check(
            &v1("user = \"me\"\npassword_file = \"password\"\ntoken_file = \"token\""),
            &["x.toml:6:14: \"token_file\" beside \"user\" or \"password_file\": one of both ways"],
        );
        let tags = "\"tags\" can't be this table: at most 16 names and values of 1 to 256 bytes without control \
                    characters or a backslash at their end; no name begins with _ or is one of copy, host, reason, \
                    route, test, time, type, unit, value";
        for wrong in ["host = \"x\"", "_x = \"x\"", "dc = \"\"", "dc = 'x\\'", "dc = \"a\\nb\"", "\"\" = \"x\""] {
            check(&v1(&format!("tags = {{ {wrong} }}")), &[&format!("x.toml:4:8: {tags}")]);
        }
        check(&v1("databse = \"x\""), &["x.toml:4:1: unknown key \"databse\": the nearest known one is \"database\""]);
    }
}
