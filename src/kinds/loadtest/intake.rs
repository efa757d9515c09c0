//! What a load test writes on its standard output, and what is made of it: requests by route, counts, and the slowest
//! journeys.
//!
//! A line is a request, or is logged and counted. What a trigger's answer says
//! of a request is one only where that trigger printed none, so that none counts
//! twice.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

use super::journeys::{Journey, Journeys, is_of_a_journey};
use super::lines::{Line, Lines, MAX_LINE};
use super::printed::Printed;
use super::route::route;
use crate::fault::quote;
use crate::golo::{Output, Response, ResponseTag};
use crate::routes::{Request, Routes};
use crate::work::Work;

/// The tag without which tags tell of no request.
const URL: &[&str] = &["url"];
/// How many lines that are no Outputs are shown, each, at `info`.
const SHOWN: u64 = 10;
/// How much of such a line is looked at, in bytes: as much as a quote may need.
const LOOKED_AT: usize = 256;
/// How many requests are remembered by their IDs.
const REMEMBERED: usize = 50_000;
/// How many of the last requests are looked at by their time.
const LAST: usize = 4_096;
/// How many Outputs are kept between two [`Intake::take`]s, for those who collect them.
pub const MAX_OUTPUTS: usize = 100_000;
/// How many bytes those may have, as they were printed.
pub const MAX_OUTPUT_BYTES: usize = 32 << 20;

/// What is made of a load test's standard output, and of its answers. Its memory is bounded, whatever comes.
#[derive(Debug)]
pub struct Intake {
    lines: Lines,
    taker: Taker,
}

/// The answer to a trigger.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// When the trigger was sent, by the wall clock.
    pub started: SystemTime,
    /// When its answer was there, by the wall clock.
    pub ended: SystemTime,
    /// How long that took.
    pub service: Duration,
}

/// What came in an interval.
#[derive(Debug, Default)]
pub struct Taken {
    /// The requests by route; `None` where there were none.
    pub routes: Option<Box<Routes>>,
    /// `requests` and `request_errors`; `lines` that were no Outputs, once there was one; and
    /// `uncollected` Outputs, where somebody collects them.
    pub work: Work,
    /// The Outputs, where somebody [collects](Intake::wants_outputs) them.
    pub outputs: Vec<Output>,
}

/// All of it but the lines' ends.
#[derive(Debug)]
struct Taker {
    test: String,
    hashing: RandomState,
    routes: Option<Box<Routes>>,
    journeys: Journeys,
    requests: u64,
    request_errors: u64,
    /// Lines that were no Outputs: in this interval, and in all.
    strange: u64,
    all_strange: u64,
    /// The first of them.
    example: Option<String>,
    /// The Outputs that are collected, where they are.
    outputs: Option<Vec<Output>>,
    output_bytes: usize,
    uncollected: u64,
    /// What was printed.
    printed: Recent,
    /// The requests of which answers have told.
    told: Recent,
}

/// The last IDs of something, hashed, each with a time in nanoseconds since 1970.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<(u64, i64)>,
    by_id: HashMap<u64, Seen>,
}

/// An ID in [`Recent`].
#[derive(Debug)]
struct Seen {
    /// How often it is in `order`.
    count: u32,
    /// How many of those, the first, were taken.
    taken: u32,
    latest: i64,
}

/// Why a line is no Output.
enum Strange {
    NoObject,
    TooLong,
    NoText,
    Wrong(serde_json::Error),
}

impl Intake {
    /// For a test of this name, which log lines and journeys bear.
    pub fn new(test: &str) -> Self {
        let taker = Taker {
            test: test.to_owned(),
            hashing: RandomState::new(),
            routes: None,
            journeys: Journeys::default(),
            requests: 0,
            request_errors: 0,
            strange: 0,
            all_strange: 0,
            example: None,
            outputs: None,
            output_bytes: 0,
            uncollected: 0,
            printed: Recent::default(),
            told: Recent::default(),
        };
        Self { lines: Lines::default(), taker }
    }

    /// Whether Outputs are kept for [`Taken::outputs`]: at most 100,000 in an interval, and 32 MiB.
    pub fn wants_outputs(&mut self, wants: bool) {
        match wants {
            true => _ = self.taker.outputs.get_or_insert_default(),
            false => self.taker.outputs = None,
        }
    }

    /// Takes what was read from standard output, in whatever pieces it comes.
    pub fn stdout(&mut self, bytes: &[u8]) {
        let Self { lines, taker } = self;
        lines.take(bytes, |line| taker.line(line));
    }

    /// The process has ended, and all it had written was read: half a line is one, too, if it is an Output. What comes
    /// next is another process's.
    pub fn ended(&mut self) {
        let Self { lines, taker } = self;
        lines.end(|line| taker.line(line));
    }

    /// A trigger was answered, and all that was on standard output then was given to [`stdout`](Self::stdout) before.
    ///
    /// What the answer tells of requests (Outputs in its `output`; else its tags, if `url` is among them) counts unless the
    /// trigger has printed one: with the answer's ID, or, if that is no journey's, at a time in between.
    pub fn answered(&mut self, answered: &Answered) {
        self.taker.answered(answered);
    }

    /// What came since the last time.
    pub fn take(&mut self) -> Taken {
        self.taker.take()
    }

    /// The slowest journeys, the slowest first: the last that is asked for, when all was read. What there was to complain
    /// about is said now.
    pub fn finish(&mut self) -> Vec<Journey> {
        if let Some(complaint) = self.taker.complaint() {
            log::warn!("{complaint}");
        }
        self.taker.journeys.finish(&self.taker.test)
    }
}

impl Taker {
    fn line(&mut self, line: Line<'_>) {
        let strange = match line {
            Line::Beginning(_) => Strange::TooLong,
            // What can't be one costs little, as there may be a flood of it.
            Line::Whole(bytes) if bytes.first() != Some(&b'{') => Strange::NoObject,
            Line::Whole(bytes) => match std::str::from_utf8(bytes) {
                Err(_) => Strange::NoText,
                Ok(text) => match Printed::read(text) {
                    Ok(printed) => return self.printed(&printed, text),
                    Err(error) => Strange::Wrong(error),
                },
            },
        };
        self.strange(line.bytes(), &strange);
    }

    fn strange(&mut self, line: &[u8], why: &Strange) {
        self.strange += 1;
        self.all_strange += 1;
        if self.all_strange > SHOWN {
            return;
        }
        let text = String::from_utf8_lossy(&line[..line.len().min(LOOKED_AT)]);
        let shown = format!("{} ({why})", quote(&text));
        log::info!("test {}: its load test printed what is no Output: {shown}", self.test);
        self.example.get_or_insert(shown);
    }

    /// What is said in the end of lines that were no Outputs, all at once.
    fn complaint(&mut self) -> Option<String> {
        let example = self.example.take()?;
        let (test, count) = (&self.test, mem::take(&mut self.all_strange));
        let lines = if count == 1 { "a line that is no Output" } else { "lines that are no Outputs" };
        Some(format!("test {test}: its load test printed {lines}, {count} in all; the first was {example}"))
    }

    /// A request that was printed.
    fn printed(&mut self, printed: &Printed<'_>, line: &str) {
        let (id, end) = (self.hashing.hash_one(&*printed.sequence_id), printed.end_ns());
        self.printed.push(id, end);
        // Printed late, as of a program that writes in blocks: the answer has told of it already.
        if !self.told.take(id, end) {
            self.request(printed, line);
        }
    }

    fn answered(&mut self, answered: &Answered) {
        let Answered { response, started, ended, .. } = answered;
        let (started, ended) = (nanoseconds(*started), nanoseconds(*ended));
        let has_printed = match is_of_a_journey(&response.id) {
            true => self.printed.contains(self.hashing.hash_one(&*response.id)),
            false => self.printed.last().any(|at| (started..=ended).contains(&at)),
        };
        if has_printed {
            return;
        }
        for output in outputs(answered) {
            let Ok(line) = serde_json::to_string(&output) else { continue };
            if line.len() > MAX_LINE {
                self.strange(line.as_bytes(), &Strange::TooLong);
                continue;
            }
            if is_of_a_journey(&output.sequence_id) {
                self.told.push(self.hashing.hash_one(&*output.sequence_id), ended);
            }
            self.request(&Printed::from(&output), &line);
        }
    }

    /// A request, printed or told of.
    fn request(&mut self, printed: &Printed<'_>, line: &str) {
        let is_error = printed.error.is_some();
        self.requests += 1;
        self.request_errors += u64::from(is_error);
        self.routes.get_or_insert_default().record(&Request {
            route: &route(&printed.method, &printed.url),
            duration: printed.duration,
            status: printed.status,
            size: u64::try_from(printed.size).ok(),
            is_error,
        });
        self.journeys.add(printed, line);
        if let Some(outputs) = &mut self.outputs {
            if outputs.len() < MAX_OUTPUTS && self.output_bytes + line.len() <= MAX_OUTPUT_BYTES {
                self.output_bytes += line.len();
                outputs.push(printed.to_output());
            } else {
                self.uncollected += 1;
            }
        }
    }

    fn take(&mut self) -> Taken {
        let lines = (self.all_strange > 0).then(|| ("lines", mem::take(&mut self.strange)));
        let uncollected = self.outputs.is_some().then(|| ("uncollected", mem::take(&mut self.uncollected)));
        let requests =
            [("requests", mem::take(&mut self.requests)), ("request_errors", mem::take(&mut self.request_errors))];
        self.output_bytes = 0;
        Taken {
            routes: self.routes.take(),
            work: requests.into_iter().chain(lines).chain(uncollected).collect(),
            outputs: self.outputs.as_mut().map(mem::take).unwrap_or_default(),
        }
    }
}

impl Recent {
    fn push(&mut self, id: u64, at: i64) {
        if self.order.len() == REMEMBERED
            && let Some((oldest, _)) = self.order.pop_front()
            && let Entry::Occupied(mut occupied) = self.by_id.entry(oldest)
        {
            let seen = occupied.get_mut();
            seen.count -= 1;
            seen.taken = seen.taken.saturating_sub(1);
            if seen.count == 0 {
                occupied.remove();
            }
        }
        self.order.push_back((id, at));
        let seen = self.by_id.entry(id).or_insert(Seen { count: 0, taken: 0, latest: at });
        seen.count += 1;
        seen.latest = seen.latest.max(at);
    }

    fn contains(&self, id: u64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The times of the last few, the last first.
    fn last(&self) -> impl Iterator<Item = i64> {
        self.order.iter().rev().take(LAST).map(|(_, at)| *at)
    }

    /// Takes one with this ID that wasn't taken, if its latest isn't earlier than `at`.
    fn take(&mut self, id: u64, at: i64) -> bool {
        let seen = self.by_id.get_mut(&id).filter(|seen| seen.count > seen.taken && seen.latest >= at);
        seen.map(|seen| seen.taken += 1).is_some()
    }
}

impl std::fmt::Display for Strange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoObject => f.write_str("an object of JSON was expected"),
            Self::TooLong => write!(f, "a line of at most {} KiB was expected", MAX_LINE / 1024),
            Self::NoText => f.write_str("text in UTF-8 was expected"),
            // What serde found can be a value: it is quoted above, as far as it is short.
            Self::Wrong(error) => f.write_str(&quote(&error.to_string())),
        }
    }
}

/// Whether an answer may tell of its trigger's requests.
pub fn tells_of_requests(response: &Response) -> bool {
    tag(&response.tags, URL).is_some() || response.output.contains('{')
}

/// What an answer tells of its trigger's requests.
fn outputs(answered: &Answered) -> Vec<Output> {
    let Answered { response, ended, service, .. } = answered;
    let lines = response.output.lines().filter(|line| line.len() <= MAX_LINE && line.trim_start().starts_with('{'));
    let read = lines.filter_map(|line| Printed::read(line).ok());
    let outputs: Vec<_> = read
        .map(|mut printed| {
            if printed.sequence_id.is_empty() {
                printed.sequence_id = Cow::Borrowed(&response.id);
            }
            printed.to_output()
        })
        .collect();
    let Some(url) = tag(&response.tags, URL).filter(|_| outputs.is_empty()) else { return outputs };
    let why = if response.output.is_empty() { "it failed" } else { &response.output };
    vec![Output {
        sequence_id: response.id.clone(),
        url: url.to_owned(),
        method: tag(&response.tags, &["method"]).unwrap_or("GET").to_owned(),
        // Go's `Status` is the text "200 OK".
        status: tag(&response.tags, &["status", "statuscode"]).map_or(0, leading_number),
        size: tag(&response.tags, &["size"]).and_then(|size| size.trim().parse().ok()).unwrap_or(-1),
        timestamp: DateTime::<Utc>::from(*ended),
        duration: if response.duration == 0 { *service } else { Duration::from_nanos(response.duration) },
        error: response.error.then(|| why.to_owned()),
    }]
}

/// The value of the first tag that has one of these names, and a value.
fn tag<'a>(tags: &'a [ResponseTag], names: &[&str]) -> Option<&'a str> {
    let is_it =
        |tag: &&ResponseTag| !tag.value.is_empty() && names.iter().any(|name| tag.key.eq_ignore_ascii_case(name));
    tags.iter().find(is_it).map(|tag| tag.value.as_str())
}

fn leading_number(text: &str) -> u16 {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().unwrap_or(0)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_231_620_000_000_000;
    const MS: i64 = 1_000_000;

    /// A line of a request that was over so many milliseconds after the start.
    fn line(id: &str, url: &str, at: i64, error: &str) -> String {
        let timestamp = DateTime::from_timestamp_nanos(START + at * MS).to_rfc3339();
        format!(
            r#"{{"sequenceID":"{id}","url":"{url}","method":"GET","status":200,"size":5,"timestamp":"{timestamp}","duration":{MS},"error":{error}}}"#
        )
    }

    fn answer(id: &str, from: u64, to: u64, tags: &[(&str, &str)], output: &str) -> Answered {
        let at = |ms| UNIX_EPOCH + Duration::from_nanos(START as u64) + Duration::from_millis(ms);
        let tags = tags.iter().map(|(key, value)| ResponseTag { key: (*key).into(), value: (*value).into() }).collect();
        let response = Response { id: id.into(), tags, output: output.into(), ..Response::default() };
        Answered { response, started: at(from), ended: at(to), service: Duration::from_millis(to - from) }
    }

    /// Requests, errors, and lines that are none.
    fn counts(intake: &mut Intake) -> (u64, u64, u64) {
        let taken = intake.take();
        let counts = taken.work.counts;
        let of_routes = taken.routes.map_or(0, |routes| {
            routes.named().flat_map(|(_, route)| route.statuses.values().copied().collect::<Vec<_>>()).sum::<u64>()
        });
        assert_eq!(of_routes, counts["requests"]);
        (counts["requests"], counts["request_errors"], counts.get("lines").copied().unwrap_or(0))
    }

    #[test]
    fn a_line_is_a_request_or_is_counted() {
        #[track_caller]
        fn check(stdout: &str, expect: (u64, u64, u64)) {
            for size in [1, 7, 1 << 20] {
                let mut intake = Intake::new("shop");
                stdout.as_bytes().chunks(size).for_each(|piece| intake.stdout(piece));
                intake.ended();
                assert_eq!(counts(&mut intake), expect, "in pieces of {size}");
            }
        }
        let [ok, bad] = ["null", "\"refused\""].map(|error| line("a", "http://h/1", 0, error));
        check("", (0, 0, 0));
        check(&format!("{ok}\n{bad}\r\n\n{ok}\n"), (3, 1, 0));
        check(&format!("listening\n{ok}\n{{}}\n[{ok}]\n"), (1, 0, 3));
        check(&format!("{ok}\n{ok}"), (2, 0, 0));
        check(&format!("{ok}\n{}", &ok[..50]), (1, 0, 1));
        check(&format!("{ok}\n{}\n{ok}", "x".repeat(MAX_LINE + 1)), (2, 0, 1));
        check(&format!("{ok}\n{}\n", ok.replace("http", "\u{fffd}")), (2, 0, 0));
    }

    #[test]
    fn requests_are_counted_by_route_with_statuses_and_sizes() {
        let mut intake = Intake::new("shop");
        for order in 0..3 {
            intake.stdout((line("a", &format!("http://h/orders/{order}?x=y"), 0, "null") + "\n").as_bytes());
        }
        let taken = intake.take();
        let routes = taken.routes.unwrap();
        let (name, route) = routes.named().next().unwrap();
        assert_eq!((routes.len(), name, route.bytes), (1, "GET http://h/orders/:id", 15));
        assert_eq!((route.duration.count(), route.statuses[&200]), (3, 3));
        assert_eq!(taken.work, Work::of([("requests", 3), ("request_errors", 0)]));
        let taken = intake.take();
        assert!(taken.routes.is_none(), "what was taken is gone");
        assert_eq!(taken.work, Work::of([("requests", 0), ("request_errors", 0)]));
    }

    #[test]
    fn an_answer_tells_of_requests_in_tags_or_output() {
        #[track_caller]
        fn check(tags: &[(&str, &str)], output: &str, expect: &[(&str, &str, u16, i64, Option<&str>)]) {
            let mut answered = answer("a", 0, 10, tags, output);
            answered.response.error = output == "refused";
            let outputs = outputs(&answered);
            let told = outputs.iter().map(|o| (&*o.method, &*o.url, o.status, o.size, o.error.as_deref()));
            assert_eq!(told.collect::<Vec<_>>(), expect);
            assert!(outputs.iter().all(|output| output.sequence_id == "a"));
        }
        check(&[], "", &[]);
        check(&[("statuscode", "200")], "hello", &[]);
        check(&[("url", "u")], "", &[("GET", "u", 0, -1, None)]);
        let tags = [("url", "u"), ("status", "200 OK"), ("size", "12"), ("method", "POST")];
        check(&tags, "", &[("POST", "u", 200, 12, None)]);
        check(&[("URL", "u"), ("statuscode", "503"), ("size", "-1")], "", &[("GET", "u", 503, -1, None)]);
        check(&[("url", "u"), ("status", "99999")], "refused", &[("GET", "u", 0, -1, Some("refused"))]);
        let lines = format!("first\n{}\n{}", line("", "v", 1, "null"), line("a", "w", 2, "\"x\""));
        check(&tags, &lines, &[("GET", "v", 200, 5, None), ("GET", "w", 200, 5, Some("x"))]);
        let answered = answer("a", 0, 10, &tags, "");
        assert_eq!(outputs(&answered)[0].duration, Duration::from_millis(10));
        let response = Response { duration: 7, ..answered.response };
        assert_eq!(outputs(&Answered { response, ..answered })[0].duration, Duration::from_nanos(7));
    }

    #[test]
    fn a_request_counts_once_whether_printed_or_told() {
        #[track_caller]
        fn check(name: &str, steps: &[Result<String, Box<Answered>>], expect: u64) {
            let mut intake = Intake::new("shop");
            for step in steps {
                match step {
                    Ok(line) => intake.stdout(format!("{line}\n").as_bytes()),
                    Err(answered) => intake.answered(answered),
                }
            }
            assert_eq!(counts(&mut intake), (expect, 0, 0), "{name}");
        }
        let told = |id, from, to| Err(Box::new(answer(id, from, to, &[("url", "http://h/")], "")));
        let printed = |id, at| Ok(line(id, "http://h/", at, "null"));
        check("told alone", &[told("a", 0, 10), told("b", 10, 20)], 2);
        check("printed under its ID", &[printed("a", 5), told("a", 0, 10)], 1);
        check("whatever the time", &[printed("a", 500), told("a", 0, 10)], 1);
        check("printed by another beside it", &[printed("b", 5), told("a", 0, 10)], 2);
        check("and by one that is told of", &[printed("b", 5), told("b", 0, 10), told("a", 0, 10)], 2);
        check("told without an ID, and printed under one", &[printed("x", 5), told("", 0, 10)], 1);
        check("or under none", &[printed("", 5), told("", 0, 10)], 1);
        check("printed before", &[printed("x", 5), told("", 6, 10)], 2);
        check("printed after", &[printed("x", 11), told("", 0, 10)], 2);
        check("the default ID is nobody's", &[printed(crate::golo::DEFAULT_SEQUENCE_ID, 50), told("", 0, 10)], 2);
        check("printed late", &[told("a", 0, 10), printed("a", 5)], 1);
        check("two of which one was told", &[told("a", 0, 10), printed("a", 5), printed("a", 6)], 2);
        check("an ID used again", &[told("a", 0, 10), printed("a", 15), told("a", 12, 20)], 2);
        let both = format!("{}\n{}", line("a", "u", 1, "null"), line("a", "v", 2, "null"));
        check("two in its output", &[Err(answer("a", 0, 10, &[("url", "u")], &both).into())], 2);
        check("nothing to tell", &[Err(answer("a", 0, 10, &[("statuscode", "200")], "hello").into())], 0);
    }

    #[test]
    fn what_an_answer_tells_at_length_is_no_request() {
        let mut intake = Intake::new("shop");
        let told = |url: &str| answer("a", 0, 10, &[("url", url)], "");
        let spare = serde_json::to_string(&outputs(&told("u"))[0]).unwrap().len() - 1;
        let fits = "x".repeat(MAX_LINE - spare);
        intake.answered(&told(&fits));
        assert_eq!(counts(&mut intake), (1, 0, 0));
        intake.answered(&told(&(fits + "x")));
        assert_eq!(counts(&mut intake), (0, 0, 1));
        // Nor is one that is short until its quotes are escaped.
        intake.answered(&told(&"\"".repeat(MAX_LINE / 2)));
        assert_eq!(counts(&mut intake), (0, 0, 1));
    }

    #[test]
    fn what_was_taken_leaves_nothing_behind() {
        let mut recent = Recent::default();
        recent.push(7, 0);
        assert!(recent.take(7, 0));
        (0..REMEMBERED as u64 - 1).for_each(|other| recent.push(100 + other, 0));
        recent.push(7, 0);
        assert!(recent.take(7, 0) && !recent.take(7, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..200_000 {
            recent.push(number % 100_000, 0);
        }
        assert_eq!((recent.order.len(), recent.by_id.len()), (REMEMBERED, REMEMBERED));
        assert!(recent.contains(99_999) && !recent.contains(0));
        assert_eq!(recent.last().count(), LAST);
        assert!(recent.take(99_999, 0) && !recent.take(99_999, 0) && !recent.take(99_998, 1));
    }

    #[test]
    fn outputs_are_kept_for_those_who_collect_them() {
        let mut intake = Intake::new("shop");
        let request = line("a", "http://h/1", 0, "null") + "\n";
        intake.stdout(request.as_bytes());
        assert!(intake.take().outputs.is_empty());
        intake.wants_outputs(true);
        intake.stdout(request.as_bytes());
        let taken = intake.take();
        assert_eq!((taken.outputs.len(), taken.work.counts["uncollected"]), (1, 0));
        assert_eq!(taken.outputs[0].url, "http://h/1");
        // One that fits 32 MiB some 512 times only.
        let long = line("a", &format!("http://h/{}", "x".repeat(MAX_LINE - 300)), 0, "null") + "\n";
        let fits = MAX_OUTPUT_BYTES / (long.len() - 1);
        (0..fits + 7).for_each(|_| intake.stdout(long.as_bytes()));
        let taken = intake.take();
        assert_eq!((taken.outputs.len(), taken.work.counts["uncollected"]), (fits, 7));
        intake.stdout(long.as_bytes());
        assert_eq!(intake.take().outputs.len(), 1, "there is room again");
    }

    #[test]
    fn what_is_no_output_is_said_once() {
        let mut intake = Intake::new("shop");
        assert_eq!(intake.taker.complaint(), None);
        intake.stdout("\x1b[1mready\n".as_bytes());
        let expect = "test shop: its load test printed a line that is no Output, 1 in all; the first was";
        let said = intake.taker.complaint().unwrap();
        assert_eq!(said, format!("{expect} \"\\u{{1b}}[1mready\" (an object of JSON was expected)"));
        intake.stdout("x\n".repeat(100_000).as_bytes());
        assert!(intake.taker.complaint().unwrap().contains("lines that are no Outputs, 100000 in all;"));
        let why = |line: &[u8]| {
            intake.stdout(line);
            intake.taker.complaint().unwrap()
        };
        let said = [&b"{\"sequenceID\":\"a\"}\n"[..], b"{\xff}\n", &[b'x'; MAX_LINE + 2]].map(why);
        assert!(said[0].ends_with("(\"missing field `url` at line 1 column 18\")"), "{}", said[0]);
        assert!(said[1].ends_with("(text in UTF-8 was expected)"), "{}", said[1]);
        assert!(said[2].ends_with("x…\" (a line of at most 64 KiB was expected)"), "{}", said[2]);
    }
}
