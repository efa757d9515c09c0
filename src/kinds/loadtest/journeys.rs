//! The slowest journeys of a minute, whole, so that a person can see which step of them was slow.
//!
//! Requests with the same sequence ID are one journey, from when its first one
//! began to when its last one was over. Which journey is over nobody says: it is
//! when no further request of it comes, so all are open until the minute is, or
//! until there are too many. One that was closed by then and goes on is two.
//!
//! ```text
//! journeys/20261121T0327Z.1.checkout.jsonl    the slowest of a run's test, the slowest first, a line each
//! ```

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fs::{self, DirBuilder};
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::printed::Printed;
use crate::archive::{Aged, thin_out};
use crate::fault::head;
use crate::golo::{DEFAULT_SEQUENCE_ID, Output};
use crate::whole;

/// How many journeys of a test are kept whole in a minute.
pub const SLOWEST: usize = 100;
/// How many requests of a journey are kept; further ones are counted.
pub const MAX_REQUESTS: u32 = 100;
/// How many bytes the requests of a journey may have, as they were printed; its first one is kept in any case.
const MAX_JOURNEY: usize = 32 * 1024;
/// How many journeys can be open: of one request each, they take some 8 MB.
const MAX_OPEN: usize = 20_000;
/// How many bytes of memory the open ones may take.
const MAX_OPEN_BYTES: usize = 20 << 20;
/// What an open one takes beside its lines, in bytes: places in a table and in the order of touches, which both are at
/// least half full, and what the allocator needs.
const PLACE: usize = 2 * (size_of::<(u64, Open)>() + size_of::<(u64, u64)>()) + 16;
/// How much of a sequence ID names its journey, in bytes; requests have theirs whole.
pub const MAX_ID: usize = 128;
/// How many files of journeys there are at most, whatever their size: each minute they are all looked at.
const MAX_FILES: usize = 10_000;

const FOLDER: &str = "journeys";
const EXTENSION: &str = ".jsonl";
/// What a file is called while it is being written.
const PARTIAL: &str = ".partial";

/// The requests that have a sequence ID in common.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Journey {
    /// What they have in common; cut after 128 bytes.
    #[serde(rename = "sequenceID")]
    pub sequence_id: String,
    /// The test, as it is named in its file.
    pub test: String,
    /// When its first request began.
    pub start: DateTime<Utc>,
    /// How long it took from then until its last request was over, in nanoseconds.
    pub duration: u64,
    /// The first of its requests that were printed, in the order in which they began.
    pub requests: Vec<Output>,
    /// How many more there were.
    pub omitted: u64,
}

/// The journeys of a test in a minute; what they hold in memory is bounded.
#[derive(Debug)]
pub struct Journeys {
    hashing: RandomState,
    /// By what their sequence IDs hash to.
    open: HashMap<u64, Open>,
    /// Which of them was touched when, the first that was first; most are out of date.
    touched: VecDeque<(u64, u64)>,
    touches: u64,
    open_bytes: usize,
    slowest: BinaryHeap<Reverse<Closed>>,
}

#[derive(Debug)]
struct Open {
    start_ns: i64,
    end_ns: i64,
    /// The requests as they were printed, a line each.
    lines: String,
    kept: u32,
    omitted: u64,
    touch: u64,
}

/// A journey by how long it took; of two the earlier one is the slower.
#[derive(Debug)]
struct Closed {
    duration_ns: u64,
    number: Reverse<u64>,
    journey: Open,
}

/// Whether requests with this sequence ID belong together.
pub fn is_of_a_journey(sequence_id: &str) -> bool {
    !sequence_id.is_empty() && sequence_id != DEFAULT_SEQUENCE_ID
}

/// How a journey of this sequence ID is named.
pub fn name_of(sequence_id: &str) -> &str {
    head(sequence_id, MAX_ID)
}

impl Default for Journeys {
    fn default() -> Self {
        Self {
            hashing: RandomState::new(),
            open: HashMap::new(),
            touched: VecDeque::new(),
            touches: 0,
            open_bytes: 0,
            slowest: BinaryHeap::with_capacity(SLOWEST + 1),
        }
    }
}

impl Journeys {
    /// Takes a request, which was printed as `line`.
    pub fn add(&mut self, printed: &Printed<'_>, line: &str) {
        self.touches += 1;
        if !is_of_a_journey(&printed.sequence_id) {
            let alone = Open::new(printed, line, self.touches);
            return self.close(alone);
        }
        let hash = self.hashing.hash_one(&*printed.sequence_id);
        match self.open.entry(hash) {
            Entry::Vacant(vacant) => {
                self.open_bytes += vacant.insert(Open::new(printed, line, self.touches)).bytes();
            }
            Entry::Occupied(mut occupied) => {
                let journey = occupied.get_mut();
                self.open_bytes -= journey.bytes();
                journey.add(printed, line, self.touches);
                self.open_bytes += journey.bytes();
            }
        }
        self.touched.push_back((hash, self.touches));
        if self.touched.len() > 2 * self.open.len().max(MAX_REQUESTS as usize) {
            self.touched.retain(|(hash, touch)| self.open.get(hash).is_some_and(|journey| journey.touch == *touch));
        }
        while self.open.len() > MAX_OPEN || self.open_bytes > MAX_OPEN_BYTES {
            let Some((hash, touch)) = self.touched.pop_front() else { break };
            if let Entry::Occupied(oldest) = self.open.entry(hash)
                && oldest.get().touch == touch
            {
                let oldest = oldest.remove();
                self.open_bytes -= oldest.bytes();
                self.close(oldest);
            }
        }
    }

    /// The slowest journeys since the last call, the slowest first; all are closed.
    pub fn finish(&mut self, test: &str) -> Vec<Journey> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        // So that of equally slow ones it is not chance which are kept.
        open.sort_unstable_by_key(|journey| journey.touch);
        open.into_iter().for_each(|journey| self.close(journey));
        self.touched.clear();
        self.open_bytes = 0;
        let slowest = std::mem::take(&mut self.slowest).into_sorted_vec();
        slowest.into_iter().map(|Reverse(closed)| closed.journey.into_journey(test, closed.duration_ns)).collect()
    }

    fn close(&mut self, journey: Open) {
        let duration_ns = journey.end_ns.abs_diff(journey.start_ns);
        if self.slowest.len() == SLOWEST
            && self.slowest.peek().is_some_and(|Reverse(fastest)| fastest.duration_ns >= duration_ns)
        {
            return;
        }
        self.touches += 1;
        self.slowest.push(Reverse(Closed { duration_ns, number: Reverse(self.touches), journey }));
        if self.slowest.len() > SLOWEST {
            self.slowest.pop();
        }
    }
}

impl Open {
    fn new(printed: &Printed<'_>, line: &str, touch: u64) -> Self {
        let (start_ns, end_ns) = (i64::MAX, i64::MIN);
        let mut journey = Self { start_ns, end_ns, lines: String::new(), kept: 0, omitted: 0, touch };
        journey.add(printed, line, touch);
        journey
    }

    fn add(&mut self, printed: &Printed<'_>, line: &str, touch: u64) {
        self.touch = touch;
        self.start_ns = self.start_ns.min(printed.start_ns());
        self.end_ns = self.end_ns.max(printed.end_ns());
        let fits = self.kept < MAX_REQUESTS && self.lines.len() + line.len() < MAX_JOURNEY;
        // Later ones are all omitted once one was, so that those that are kept are the first.
        if self.kept == 0 || (fits && self.omitted == 0) {
            // Most journeys are short, and many are open at once.
            self.lines.reserve_exact(line.len() + 1);
            self.lines.push_str(line);
            self.lines.push('\n');
            self.kept += 1;
        } else {
            self.omitted += 1;
        }
    }

    fn bytes(&self) -> usize {
        self.lines.capacity() + PLACE
    }

    fn into_journey(self, test: &str, duration_ns: u64) -> Journey {
        // They were read before: they are read again only for those few that are kept.
        let read = self.lines.lines().filter_map(|line| Printed::read(line).ok());
        let mut requests: Vec<_> = read.map(|printed| (printed.start_ns(), printed.to_output())).collect();
        requests.sort_by_key(|(start, _)| *start);
        let sequence_id = requests.first().map(|(_, output)| name_of(&output.sequence_id).to_owned());
        Journey {
            sequence_id: sequence_id.unwrap_or_default(),
            test: test.to_owned(),
            start: DateTime::from_timestamp_nanos(self.start_ns),
            duration: duration_ns,
            requests: requests.into_iter().map(|(_, output)| output).collect(),
            omitted: self.omitted,
        }
    }
}

impl Ord for Closed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.duration_ns, self.number).cmp(&(other.duration_ns, other.number))
    }
}

impl PartialOrd for Closed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Closed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Closed {}

impl Journey {
    /// How long it took.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration)
    }
}

/// Writes the slowest journeys of a test into the folder `state`, for the owner alone; `run` is the run's name, as in
/// `20261121T0327Z.1`. Where there are none, nothing is written.
///
/// # Errors
/// When they can't be written; nothing of them is left then.
pub fn write(state: &Path, run: &str, test: &str, journeys: &[Journey]) -> io::Result<()> {
    if journeys.is_empty() {
        return Ok(());
    }
    let folder = state.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let mut lines = Vec::new();
    for journey in journeys {
        serde_json::to_writer(&mut lines, journey)?;
        lines.push(b'\n');
    }
    let name = format!("{run}.{test}{EXTENSION}");
    whole::write(&folder.join(&name), &folder.join(format!("{name}{PARTIAL}")), &lines)
}

/// Removes the journeys of days more than `days` ago, and then the oldest until at most `max` bytes and 10,000 files are
/// left.
pub fn prune(state: &Path, today: NaiveDate, days: u32, max: u64) {
    let mut aged: Vec<_> = entries(state).into_iter().flatten().filter_map(|entry| aged(&entry)).collect();
    aged.sort();
    let superfluous = aged.len().saturating_sub(MAX_FILES);
    aged.drain(..superfluous).for_each(|file| _ = fs::remove_file(file.path));
    thin_out(aged, today, days, max, |_| false);
}

/// The files of journeys in the folder `state`, the newest first.
///
/// # Errors
/// When there are none to be had, other than that none were ever kept.
pub fn files(state: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = entries(state)?.into_iter().map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == &EXTENSION[1..])).collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    Ok(files)
}

fn entries(state: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(state.join(FOLDER)) {
        Ok(entries) => Ok(entries.flatten().collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A file of journeys, or what a killed run has left of one.
fn aged(entry: &fs::DirEntry) -> Option<Aged> {
    let name = entry.file_name().into_string().ok()?;
    let (date, _) = NaiveDate::parse_and_remainder(&name, "%Y%m%dT").ok()?;
    let bytes = entry.metadata().ok()?.size();
    name.trim_end_matches(PARTIAL).ends_with(EXTENSION).then(|| Aged { date, path: entry.path(), bytes })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A request that took from one millisecond to another.
    fn output(id: &str, from: i64, to: i64) -> Output {
        Output {
            sequence_id: id.to_owned(),
            url: format!("http://h/{from}?a=b"),
            method: "GET".to_owned(),
            status: 200,
            size: -1,
            timestamp: DateTime::from_timestamp_millis(1_795_231_620_000 + to).unwrap(),
            duration: Duration::from_millis((to - from).unsigned_abs()),
            error: None,
        }
    }

    fn add(journeys: &mut Journeys, output: &Output) {
        journeys.add(&Printed::from(output), &serde_json::to_string(output).unwrap());
        assert!(journeys.open.len() <= MAX_OPEN && journeys.open_bytes <= MAX_OPEN_BYTES);
        assert!(journeys.touched.len() <= 2 * MAX_OPEN + 2 && journeys.slowest.len() <= SLOWEST);
    }

    /// ID, start, and duration in milliseconds, number of requests, and of those omitted.
    fn told(journeys: &[Journey]) -> Vec<(&str, i64, u128, usize, u64)> {
        let start = |journey: &Journey| journey.start.timestamp_millis() - 1_795_231_620_000;
        let told = journeys.iter().map(|j| {
            assert_eq!(j.test, "shop");
            (&*j.sequence_id, start(j), j.duration().as_millis(), j.requests.len(), j.omitted)
        });
        told.collect()
    }

    #[test]
    fn requests_with_an_id_in_common_are_one_journey() {
        let mut journeys = Journeys::default();
        for (id, from, to) in [("a", 10, 20), ("b", 0, 5), ("a", 25, 60), ("a", 8, 12), ("b", 5, 9)] {
            add(&mut journeys, &output(id, from, to));
        }
        let slowest = journeys.finish("shop");
        assert_eq!(told(&slowest), [("a", 8, 52, 3, 0), ("b", 0, 9, 2, 0)]);
        let expect = [output("a", 8, 12), output("a", 10, 20), output("a", 25, 60)];
        assert_eq!(slowest[0].requests, expect, "in the order in which they began");
        assert_eq!(journeys.finish("shop"), []);
    }

    #[test]
    fn without_an_id_of_its_own_each_request_is_a_journey() {
        let mut journeys = Journeys::default();
        for id in ["", DEFAULT_SEQUENCE_ID] {
            (0..3).for_each(|n| add(&mut journeys, &output(id, n * 10, n * 10 + 5)));
        }
        assert!(journeys.open.is_empty());
        let slowest = journeys.finish("shop");
        assert_eq!(told(&slowest)[..3], [("", 0, 5, 1, 0), ("", 10, 5, 1, 0), ("", 20, 5, 1, 0)]);
        assert_eq!(slowest.len(), 6);
    }

    #[test]
    fn of_a_minute_the_slowest_hundred_are_kept() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut times: Vec<i64> = (0..12_000).collect();
        random.shuffle(&mut times);
        let mut journeys = Journeys::default();
        times.iter().for_each(|time| add(&mut journeys, &output(&format!("id-{time}"), 0, *time)));
        let slowest = journeys.finish("shop");
        let expect: Vec<_> = (12_000 - 100..12_000).rev().map(|time| format!("id-{time}")).collect();
        assert_eq!(slowest.iter().map(|journey| journey.sequence_id.clone()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn of_a_long_journey_the_first_requests_are_kept_and_the_rest_is_counted() {
        let mut journeys = Journeys::default();
        (0..1_000).for_each(|n| add(&mut journeys, &output("a", n, n + 1)));
        assert_eq!(told(&journeys.finish("shop")), [("a", 0, 1_000, 100, 900)]);
        let long = |n| Output { url: "x".repeat(MAX_JOURNEY - 300), ..output("b", n, n + 1) };
        (0..3).for_each(|n| add(&mut journeys, &long(n)));
        add(&mut journeys, &output("b", 7, 9));
        assert_eq!(told(&journeys.finish("shop")), [("b", 0, 9, 1, 3)]);
    }

    #[test]
    fn a_journey_that_was_closed_for_others_and_goes_on_is_two() {
        let mut journeys = Journeys::default();
        add(&mut journeys, &output("a", 0, 500_000));
        add(&mut journeys, &output("kept", 0, 400_000));
        for n in 0..MAX_OPEN as i64 + 3_000 {
            add(&mut journeys, &output("kept", n, n + 1));
            add(&mut journeys, &output(&format!("other-{n}"), n, n + 1));
        }
        add(&mut journeys, &output("a", 0, 600_000));
        let slowest = journeys.finish("shop");
        let expect = [("a", 0, 600_000, 1, 0), ("a", 0, 500_000, 1, 0), ("kept", 0, 400_000, 100, 22_901)];
        assert_eq!(told(&slowest)[..3], expect);
    }

    #[test]
    fn a_journey_may_be_silent_while_thousands_come_and_go() {
        let mut journeys = Journeys::default();
        let line = |id: &str| Output { url: "http://shop.example.com/orders?page=1".to_owned(), ..output(id, 0, 1) };
        add(&mut journeys, &output("slow", 0, 1));
        // 19 s of a thousand a second, with UUIDs.
        (0..19_000).for_each(|n| add(&mut journeys, &line(&format!("c276c8c7-6fec-4aa9-b6bd-{n:012}"))));
        let each = journeys.open_bytes / journeys.open.len();
        assert!(each <= 600, "an open journey takes {each} bytes");
        add(&mut journeys, &output("slow", 18_000, 19_000));
        assert_eq!(told(&journeys.finish("shop"))[0], ("slow", 0, 19_000, 2, 0));
    }

    #[test]
    fn large_requests_close_journeys_before_they_are_too_much() {
        let mut journeys = Journeys::default();
        let url = "x".repeat(60_000);
        for n in 0..2_000 {
            add(&mut journeys, &Output { url: url.clone(), ..output(&format!("id-{n}"), 0, n) });
        }
        assert!(journeys.open.len() < 600, "{} are open", journeys.open.len());
        assert_eq!(journeys.finish("shop").len(), SLOWEST);
    }

    #[test]
    fn times_that_cannot_be_are_borne() {
        let mut journeys = Journeys::default();
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            add(&mut journeys, &Output { timestamp: time, duration: Duration::MAX, ..output("a", 0, 1) });
        }
        let slowest = journeys.finish("shop");
        assert_eq!((slowest.len(), slowest[0].duration), (1, u64::MAX));
    }

    #[test]
    fn long_ids_name_their_journeys_by_how_they_begin_and_are_told_apart() {
        let mut journeys = Journeys::default();
        let ids = ["a", "b"].map(|end| format!("{}{end}", "é".repeat(64)));
        ids.iter().for_each(|id| add(&mut journeys, &output(id, 0, 1)));
        let slowest = journeys.finish("shop");
        assert_eq!(slowest.len(), 2);
        assert_eq!((&*slowest[0].sequence_id, &slowest[0].requests[0].sequence_id), (&ids[0][..128], &ids[0]));
        assert_eq!(name_of(&format!("x{}", ids[0])).len(), 127);
    }

    #[test]
    fn journeys_are_lines_of_a_file_that_only_we_read() {
        let state = tempfile::tempdir().unwrap();
        write(state.path(), "20261121T0327Z.1", "shop", &[]).unwrap();
        assert_eq!(files(state.path()).unwrap(), [] as [PathBuf; 0]);
        let mut journeys = Journeys::default();
        ["a", "b"].iter().for_each(|id| add(&mut journeys, &output(id, 0, 7)));
        let slowest = journeys.finish("shop");
        write(state.path(), "20261121T0327Z.1", "shop", &slowest).unwrap();
        let [path] = files(state.path()).unwrap().try_into().unwrap();
        assert_eq!(path, state.path().join("journeys/20261121T0327Z.1.shop.jsonl"));
        let modes = [&path, path.parent().unwrap()].map(|path| path.metadata().unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o600, 0o700]);
        let text = fs::read_to_string(path).unwrap();
        let expect = r#"{"sequenceID":"a","test":"shop","start":"2026-11-21T03:27:00Z","duration":7000000,"requests":[{"sequenceID":"a","url":"http://h/0?a=b","method":"GET","status":200,"size":-1,"timestamp":"2026-11-21T03:27:00.007Z","duration":7000000,"error":null}],"omitted":0}"#;
        assert_eq!(text.lines().next(), Some(expect));
        let read: Vec<Journey> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, slowest);
    }

    #[test]
    fn old_journeys_go_and_then_the_oldest_past_the_bound() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        for name in [
            "20261001T0327Z.1.a.jsonl",
            "20261001T0328Z.1.a.jsonl.partial",
            "20261120T0327Z.1.a.jsonl",
            "20261121T0326Z.1.a.jsonl",
            "20261121T0327Z.1.a.jsonl",
            "20261121T0327Z.1.b.jsonl",
            "somebodys.jsonl",
        ] {
            fs::write(folder.join(name), [0; 100]).unwrap();
        }
        let left = || {
            let names = files(state.path()).unwrap().into_iter();
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let today = "2026-11-21".parse().unwrap();
        prune(state.path(), today, 30, 400);
        let newest = ["somebodys.jsonl", "20261121T0327Z.1.b.jsonl", "20261121T0327Z.1.a.jsonl"];
        let older = ["20261121T0326Z.1.a.jsonl", "20261120T0327Z.1.a.jsonl"];
        assert_eq!(left(), [&newest[..], &older].concat());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 5, "what was half written went, too");
        prune(state.path(), today, 30, 250);
        assert_eq!(left(), newest);
        prune(state.path(), today, 0, 0);
        assert_eq!(left().len(), 1);
    }
}
