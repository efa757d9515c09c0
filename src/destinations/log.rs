//! `kind = "log"`: lines for people, on stdout.
//!
//! One line a test and interval, and under it, indented, whatever is wrong;
//! what the columns are stands above the first of a minute. When a test's
//! minute is over, a block sums it up: its histograms are merged, not its
//! percentiles averaged; phases of new connections, values that hits brought
//! back, the routes of their requests, and what they got done stand below them
//! where there were some. The latter, as it is what such tests are for, stands
//! under each line, too. The runner itself is silent unless something has gone
//! wrong. It is for terminals: of another run it only shows what that left when
//! it was killed.

mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Error;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::units::{self, counted, size};
use super::{Destination, Occasion, Refusal};
use crate::keys::Keys;
use crate::summary::{Measured, Summary, Tally, Upkeep};

/// Tests whose minute is summed up; each takes up to 2 MB while it lasts, and
/// 0.2 more a route, so the rest have their lines alone. Terminals hold fewer.
const MAX_BLOCKS: usize = 100;
/// How wide the column of names is at least; it grows with the names seen.
const NAME_WIDTH: usize = 8;
/// How wide the clock's column is, with what parts it from the next.
const INDENT: usize = 10;
/// How wide a terminal is thought to be where a line can be parted.
const TERMINAL: usize = 80;

/// The share of the hits asked for that may not have been sent before both rates are told.
const TOLD_SHARE: f64 = 0.01;
/// What stands behind each time that tells less than the whole, and before the words that say why.
const MARK: &str = "*";
/// What stands behind each line of a test whose type is `insecure`.
const INSECURE: &str = "insecure";

/// Where lines go, and what the minute has come to so far.
struct Log<W> {
    out: W,
    prefix: Option<String>,
    name_width: usize,
    /// The minute above whose lines the names of the columns stand.
    headed: Option<DateTime<Utc>>,
    /// By minute, copy and test, so that the first are the oldest.
    minutes: BTreeMap<(DateTime<Utc>, u32, String), Summary>,
}

/// Reads nothing: it has no keys of its own.
pub(super) fn read(_: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    Some(Box::new(Log::new(io::stdout(), prefix)))
}

impl<W: Write + Send> Destination for Log<W> {
    fn deliver(&mut self, batch: &[Summary], _: Occasion) -> Result<(), Refusal> {
        let text = self.render(batch);
        // Nobody listening any more is no error: `canihaz | head` is done when head is.
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Refusal::Retry(Error::new(error).context("cannot write to stdout")))
            }
            _ => Ok(()),
        }
    }

    fn is_personal(&self) -> bool {
        true
    }
}

impl<W> Log<W> {
    fn new(out: W, prefix: Option<String>) -> Self {
        Self { out, prefix, name_width: NAME_WIDTH, headed: None, minutes: BTreeMap::new() }
    }

    /// All that `batch` has to say: first its lines, then the blocks of what has ended with it.
    fn render(&mut self, batch: &[Summary]) -> String {
        for summary in batch {
            self.name_width = self.name_width.max(self.name(summary).chars().count());
        }
        let (mut lines, mut blocks) = (String::new(), String::new());
        for summary in batch {
            match &summary.measured {
                Measured::Test(tally) => {
                    lines.push_str(&self.head(summary));
                    lines.push_str(&self.line(summary, tally));
                    if self.merge(summary) && summary.last {
                        blocks.push_str(&self.block(summary));
                    }
                }
                Measured::Runner(upkeep) => lines.push_str(&self.upkeep(summary, upkeep)),
            }
        }
        lines + &blocks
    }

    /// Adds an interval to its minute, unless that has it already (a batch may
    /// come twice); false when too many tests have theirs.
    fn merge(&mut self, summary: &Summary) -> bool {
        let key = key(summary);
        if let Some(minute) = self.minutes.get_mut(&key) {
            if summary.start >= minute.end() {
                minute.merge(summary);
            }
            return true;
        }
        if self.minutes.len() >= MAX_BLOCKS {
            // An older minute has had its say.
            match self.minutes.first_key_value() {
                Some((oldest, _)) if oldest.0 < key.0 => drop(self.minutes.pop_first()),
                _ => return false,
            }
        }
        self.minutes.insert(key, summary.clone());
        true
    }

    /// The names of the columns where `summary` is the first of its minute; else nothing.
    fn head(&mut self, summary: &Summary) -> String {
        let (minute, ..) = key(summary);
        if self.headed.replace(minute) == Some(minute) {
            return String::new();
        }
        let width = self.name_width;
        let (ok, failed, [p50, p99, max, lag]) = ("ok", "failed", ["p50", "p99", "max", "lag p99"]);
        format!("{:INDENT$}{:width$} {ok:>8} {failed:>7} {p50:>8}  {p99:>7}  {max:>7}  {lag:>7}\n", "UTC", "test")
    }

    fn line(&self, summary: &Summary, tally: &Tally) -> String {
        let mut line = self.start_of_line(summary);
        let _ = write!(line, "{:>8} {:>7}", tally.ok, tally.failed);
        if tally.response.count() == 0 {
            line.push_str("  no hit ended");
        } else {
            let mark = mark(tally);
            let response = &tally.response;
            let times = [response.quantile(0.5), response.quantile(0.99), response.max(), tally.lag.quantile(0.99)];
            for time in times {
                let _ = write!(line, " {:>7}{mark}", units::time(time));
            }
        }
        let mut line = line.trim_end().to_owned();
        if tally.insecure {
            let _ = write!(line, "  {INSECURE}");
        }
        line.push('\n');
        for words in work(summary, tally) {
            let _ = writeln!(line, "{:INDENT$}{words}", "");
        }
        let wrong = [failures(tally), skipped(tally), sent_of_asked(summary, tally), dropped(tally), uncounted(tally)];
        let wrong: Vec<_> = wrong.into_iter().flatten().collect();
        let wrong = (!wrong.is_empty()).then(|| wrong.join("; "));
        for words in [wrong].into_iter().chain(remarks(tally)).flatten() {
            let _ = writeln!(line, "{:INDENT$}{words}", "");
        }
        line
    }

    /// What the runner has to say when something has gone wrong; else nothing.
    fn upkeep(&self, summary: &Summary, upkeep: &Upkeep) -> String {
        let wrong = [
            (upkeep.config_errors, counted(upkeep.config_errors, "configuration error")),
            (upkeep.runs_skipped, format!("{} skipped", counted(upkeep.runs_skipped, "run"))),
            (upkeep.spool_dropped, format!("{} dropped from the spool", counted(upkeep.spool_dropped, "interval"))),
        ];
        let wrong: Vec<_> = wrong.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
        if wrong.is_empty() {
            return String::new();
        }
        format!("{}{}\n", self.start_of_line(summary), wrong.join(", "))
    }

    /// The minute of the test whose last interval is `last`.
    fn block(&self, last: &Summary) -> String {
        let Some(minute) = self.minutes.get(&key(last)) else { return String::new() };
        let Measured::Test(tally) = &minute.measured else { return String::new() };
        let copy = if minute.copy > 1 { format!(", copy {}", minute.copy) } else { String::new() };
        let (from, to) = (minute.start.format("%H:%M:%S"), minute.end().format("%H:%M:%S"));
        let name = self.name(minute);
        let insecure = if tally.insecure { format!(", {INSECURE}") } else { String::new() };
        let of_type = format!("{}{insecure}", minute.type_name);
        let mut block = format!("\n{name} ({of_type}) on {}{copy}, {from} to {to} UTC\n", minute.host);
        let _ = write!(block, "  {} planned: {} ok, {} failed", tally.planned(), tally.ok, tally.failed);
        if let Some(failures) = failures(tally) {
            let _ = write!(block, " ({failures})");
        }
        if let Some(skipped) = skipped(tally) {
            let _ = write!(block, ", {skipped}");
        }
        block.push('\n');
        let [asked, sent] = [tally.asked, tally.sent].map(|hits| units::rate(minute.rate(hits)));
        let _ = writeln!(block, "  sent {sent}/s of {asked}/s asked");
        if tally.response.count() > 0 {
            block.push_str(&table::times(tally));
        }
        if let Some(routes) = tally.routes.as_ref().filter(|routes| !routes.is_empty()) {
            block.push_str(&table::routes(routes, mark(tally)));
        }
        if let Some(values) = tally.values.as_ref().filter(|values| values.iter().len() > 0) {
            block.push_str(&table::values(values));
        }
        if let Some(dropped) = dropped(tally) {
            let _ = writeln!(block, "  {dropped}");
        }
        if let Some(work) = tally.work.as_ref().filter(|work| work.named().len() > 0) {
            block.push_str(&table::work(minute, work));
        }
        if let Some(uncounted) = uncounted(tally) {
            let _ = writeln!(block, "  {uncounted}");
        }
        let _ = writeln!(block, "  received {}, sent {}", size(tally.bytes_in), size(tally.bytes_out));
        for words in remarks(tally).into_iter().flatten() {
            let _ = writeln!(block, "  {words}");
        }
        block
    }

    /// The clock at the interval's end, and the name.
    fn start_of_line(&self, summary: &Summary) -> String {
        let width = self.name_width;
        format!("{}  {:width$} ", summary.end().format("%H:%M:%S"), self.name(summary))
    }

    fn name(&self, summary: &Summary) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}.{}", summary.test),
            None => summary.test.clone(),
        }
    }
}

/// What stands behind each of its times.
fn mark(tally: &Tally) -> &'static str {
    if tally.is_marked() { MARK } else { " " }
}

/// The minute an interval belongs to, its copy and its test.
fn key(summary: &Summary) -> (DateTime<Utc>, u32, String) {
    let minute = summary.start.duration_trunc(TimeDelta::minutes(1)).unwrap_or(summary.start);
    (minute, summary.copy, summary.test.clone())
}

/// The values that were not taken; `None` when all were.
fn dropped(tally: &Tally) -> Option<String> {
    let dropped = tally.values_dropped();
    (dropped > 0).then(|| format!("{} not taken", counted(dropped, "value")))
}

/// What hits got done, and how much of it a second, in as many lines as it takes.
fn work(summary: &Summary, tally: &Tally) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, count) in tally.work.iter().flat_map(|work| work.named()) {
        let mut words = format!("{name} {}", units::number(count as f64));
        if count > 0 {
            let _ = write!(words, " ({}/s)", units::number(summary.rate(count)));
        }
        match lines.last_mut() {
            Some(line) if INDENT + line.len() + ", ".len() + words.len() < TERMINAL => {
                let _ = write!(line, ", {words}");
            }
            _ => lines.push(words),
        }
    }
    lines
}

/// The work that was not counted; `None` when all was.
fn uncounted(tally: &Tally) -> Option<String> {
    let dropped = tally.work_dropped();
    (dropped > 0).then(|| format!("work of {} not counted: too many names", units::number(dropped as f64)))
}

/// The failed hits by reason, the most frequent first; `None` without any.
fn failures(tally: &Tally) -> Option<String> {
    let mut failures: Vec<_> = tally.failures.iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<_> = failures.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The hits that did not happen; `None` when all did.
fn skipped(tally: &Tally) -> Option<String> {
    let [_, _, skipped @ ..] = tally.results();
    let words: Vec<_> =
        skipped.iter().filter(|(_, count)| *count > 0).map(|(result, count)| format!("{count} {result}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The rates, where less than 99 % of what was asked for was sent; one hit may be on its way just now.
fn sent_of_asked(summary: &Summary, tally: &Tally) -> Option<String> {
    let short = tally.asked.saturating_sub(tally.sent);
    let [asked, sent] = [tally.asked, tally.sent].map(|hits| units::rate(summary.rate(hits)));
    (short > 1 && short as f64 > TOLD_SHARE * tally.asked as f64).then(|| format!("sent {sent}/s of {asked}/s asked"))
}

/// What must be known to read the percentiles right.
fn remarks(tally: &Tally) -> [Option<String>; 3] {
    let truncated = || {
        let skipped = tally.canceled + tally.missed;
        format!("{MARK} truncated: {skipped} of {} hits never started: the worst is not shown", tally.planned())
    };
    let late = || format!("{MARK} generator limited: over 1 % of the hits started over 10 ms late");
    let unsent =
        || format!("{MARK} generator limited: {} of {} hits not sent, and none had to wait", tally.unsent, tally.asked);
    [tally.truncated().then(truncated), tally.is_late().then(late), tally.is_unsent().then(unsent)]
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn log() -> Log<Vec<u8>> {
        Log::new(Vec::new(), None)
    }

    fn render(batch: &[Summary]) -> String {
        let mut log = log();
        log.deliver(batch, sample::occasion()).expect("a Vec takes all");
        let text = String::from_utf8(log.out).expect("it is text");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        text
    }

    #[track_caller]
    fn check(batch: &[Summary], expect: &str) {
        let text = render(batch);
        assert_eq!(text, expect, "\n{text}");
    }

    fn last(summary: Summary) -> Summary {
        Summary { last: true, ..summary }
    }

    #[test]
    fn a_line_a_test_and_interval_and_what_is_wrong_under_it() {
        check(
            &[sample::sound("hello", 100), sample::test("checkout-api"), sample::idle("slow")],
            "\
UTC       test               ok  failed      p50      p99      max  lag p99
12:00:10  hello             100       0  50.1ms   99.2ms    100ms    100µs
12:00:10  checkout-api       97       3  50.1ms*  99.2ms*   100ms*   100µs*
          2 timeout, 1 status; 3 canceled, 2 missed; sent 10.2/s of 10.5/s asked
          * truncated: 5 of 105 hits never started: the worst is not shown
12:00:10  slow                0       0  no hit ended
",
        );
    }

    #[test]
    fn a_late_generator_is_said_to_be_late() {
        check(
            &[sample::late("hello")],
            "\
UTC       test           ok  failed      p50      p99      max  lag p99
12:00:10  hello           1       0  21.0ms*  21.0ms*  21.0ms*  20.0ms*
          * generator limited: over 1 % of the hits started over 10 ms late
",
        );
    }

    #[test]
    fn a_generator_that_sends_too_little_is_said_to() {
        check(
            &[sample::short("hello")],
            "\
UTC       test           ok  failed      p50      p99      max  lag p99
12:00:10  hello        2910       0   1.46s*   2.88s*   2.91s*   100µs*
          sent 291/s of 300/s asked
          * generator limited: 90 of 3000 hits not sent, and none had to wait
",
        );
    }

    #[test]
    fn no_time_of_a_marked_summary_stands_without_its_mark() {
        for summary in [sample::test("a"), sample::late("a"), sample::short("a")] {
            let text = render(&[last(summary)]);
            let times = |line: &&str| line.contains("12:00:10  a") || line.starts_with("  response");
            let is_a_time = |word: &&str| {
                word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with('s') && !word.ends_with("/s")
            };
            assert_eq!(text.lines().filter(times).count(), 2, "{text}");
            let lines = text.lines().filter(|line| !line.contains("generator limited"));
            assert_eq!(lines.flat_map(str::split_whitespace).find(is_a_time), None, "{text}");
        }
    }

    #[test]
    fn the_columns_are_named_above_the_first_line_of_a_minute() {
        let mut log = log();
        let mut heads = |start| {
            let batch = [sample::idle("a"), sample::idle("b")].map(|summary| sample::later(summary, start));
            log.render(&batch).matches("lag p99").count()
        };
        assert_eq!([0, 10, 50, 60, 70, 120].map(&mut heads), [1, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn the_runner_speaks_only_when_something_is_wrong() {
        check(&[sample::runner()], "12:00:10  _runner  2 configuration errors, 1 run skipped\n");
        check(&[Summary { measured: Measured::Runner(Upkeep::default()), ..sample::runner() }], "");
    }

    #[test]
    fn the_last_interval_closes_with_the_whole_minute() {
        let batch = [
            sample::sound("hello", 100),
            sample::later(sample::test("hello"), 10),
            last(sample::later(sample::sound("hello", 100), 20)),
        ];
        let text = render(&batch);
        let (_, block) = text.split_once("\n\n").expect("there is a block");
        assert_eq!(
            block,
            "\
hello (loopback) on web-1.example.com, 12:00:00 to 12:00:30 UTC
  305 planned: 297 ok, 3 failed (2 timeout, 1 status), 3 canceled, 2 missed
  sent 10.1/s of 10.2/s asked
               mean       p50       p90       p99     p99.9       max
  response   50.6ms*   50.1ms*   90.1ms*   99.2ms*    100ms*    100ms*
  service    50.5ms*   50.0ms*   90.0ms*   99.0ms*    100ms*    100ms*
  lag         100µs*    100µs*    100µs*    100µs*    100µs*    100µs*
  blocked         0*        0*        0*        0*        0*        0*
  received 58.6 KiB, sent 29.3 KiB
  * truncated: 5 of 305 hits never started: the worst is not shown
"
        );
    }

    #[test]
    fn an_insecure_test_is_said_to_be_in_every_line_and_what_its_hits_brought_is_in_the_block() {
        let Measured::Test(mut idle) = sample::idle("hello").measured else { unreachable!("it is a test") };
        idle.insecure = true;
        let idle = sample::later(Summary { measured: Measured::Test(idle), ..sample::idle("hello") }, 10);
        check(
            &[sample::rich("hello"), last(idle)],
            "\
UTC       test           ok  failed      p50      p99      max  lag p99
12:00:10  hello           3       0   100µs    100µs    100µs    100µs  insecure
          1 value not taken
12:00:20  hello           0       0  no hit ended  insecure

hello (loopback, insecure) on web-1.example.com, 12:00:00 to 12:00:20 UTC
  3 planned: 3 ok, 0 failed
  sent 0.15/s of 0.15/s asked
                 mean       p50       p90       p99     p99.9       max
  response      100µs     100µs     100µs     100µs     100µs     100µs
  service           0         0         0         0         0         0
  lag           100µs     100µs     100µs     100µs     100µs     100µs
  blocked           0         0         0         0         0         0
  3 new connections
  dns           200µs     200µs     200µs     200µs     200µs     200µs
  connect      2.00ms    2.00ms    3.00ms    3.00ms    3.00ms    3.00ms
  first byte   30.0ms    30.0ms    30.0ms    30.0ms    30.0ms    30.0ms
  values        mean         min         max    count
  queued        -1.5          -5           2        2
  time          0.25        0.25        0.25        1  s
  1 value not taken
  received 0 B, sent 0 B
",
        );
    }

    #[test]
    fn what_hits_got_done_stands_under_their_lines_and_in_the_block() {
        let write = |points, rejected| sample::working("load.write", 100, [("points", points), ("rejected", rejected)]);
        let read = |rows| sample::working("load.read", 10, [("rows", rows)]);
        check(
            &[
                write(12_999_990, 10),
                read(1),
                last(sample::later(write(1_000_000_000, 0), 10)),
                last(sample::later(read(0), 10)),
            ],
            "\
UTC       test             ok  failed      p50      p99      max  lag p99
12:00:10  load.write      100       0  50.1ms   99.2ms    100ms    100µs
          points 12999990 (1299999/s), rejected 10 (1/s)
12:00:10  load.read        10       0  5.10ms   10.1ms   10.1ms    100µs
          rows 1 (0.1/s)
12:00:20  load.write      100       0  50.1ms   99.2ms    100ms    100µs
          points 1e9 (100000000/s), rejected 0
12:00:20  load.read        10       0  5.10ms   10.1ms   10.1ms    100µs
          rows 0

load.write (loopback) on web-1.example.com, 12:00:00 to 12:00:20 UTC
  200 planned: 200 ok, 0 failed
  sent 10/s of 10/s asked
               mean       p50       p90       p99     p99.9       max
  response   50.6ms    50.1ms    90.1ms    99.2ms     100ms     100ms
  service    50.5ms    50.0ms    90.0ms    99.0ms     100ms     100ms
  lag         100µs     100µs     100µs     100µs     100µs     100µs
  blocked         0         0         0         0         0         0
  work           count    a second
  points       1.013e9    50650000
  rejected          10         0.5
  received 39.1 KiB, sent 19.5 KiB

load.read (loopback) on web-1.example.com, 12:00:00 to 12:00:20 UTC
  20 planned: 20 ok, 0 failed
  sent 1/s of 1/s asked
               mean       p50       p90       p99     p99.9       max
  response   5.60ms    5.10ms    9.10ms    10.1ms    10.1ms    10.1ms
  service    5.50ms    5.00ms    9.00ms    10.0ms    10.0ms    10.0ms
  lag         100µs     100µs     100µs     100µs     100µs     100µs
  blocked         0         0         0         0         0         0
  work       count    a second
  rows           1        0.05
  received 3.91 KiB, sent 1.95 KiB
",
        );
    }

    #[test]
    fn much_work_takes_several_lines_and_what_is_too_much_is_said() {
        let mut summary = last(sample::idle("busy"));
        let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
        let counts = (0..60).map(|number| (format!("tables-read-{number:02}"), 1_234_567));
        tally.work = Some(Box::new(counts.collect()));
        let text = render(&[summary]);
        assert_eq!(text.matches("tables-read-07 1234567 (123457/s)").count(), 1, "{text}");
        assert_eq!(text.matches("\n  tables-read-07     1234567      123457\n").count(), 1, "{text}");
        assert_eq!(text.matches("tables-read-").count(), 2 * 50);
        assert_eq!(text.matches("work of 12345670 not counted: too many names").count(), 2, "{text}");
    }

    #[test]
    fn routes_stand_in_the_block_with_that_first_which_took_most_of_the_time() {
        let routes = [
            ("GET https://shop.example.com/", 7),
            ("POST https://shop.example.com/customers/:id/orders/:id/pay", 40),
            ("GET https://shop.example.com/search", 8),
        ];
        let batch = [sample::routed("shop", &routes), last(sample::later(sample::routed("shop", &routes[..2]), 10))];
        let text = render(&batch);
        let table =
            text.split_once("\n  blocked").and_then(|(_, rest)| rest.split_once('\n')).expect("there is a block");
        assert_eq!(
            table.1,
            "  routes                           time requests errors     p50     p99     max
  POST https…rs/:id/orders/:id/pay  95%       80      2  20.0ms  40.0ms  40.0ms
  GET https://shop.example.com/      3%       14      2  4.00ms  7.00ms  7.00ms
  GET https:…op.example.com/search   2%        8      1  4.00ms  8.00ms  8.00ms
  received 3.91 KiB, sent 1.95 KiB
",
            "\n{text}"
        );
    }

    #[test]
    fn of_many_routes_ten_are_shown_and_what_the_others_come_to() {
        let mut routes: Vec<_> = (1..=60).map(|number| (format!("GET https://h/{number:02}/a/:id"), number)).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut routes);
        let routes: Vec<_> = routes.iter().map(|(route, requests)| (route.as_str(), *requests)).collect();
        let mut summary = last(sample::routed("shop", &routes));
        let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
        tally.missed = 1;
        let text = render(&[summary]);
        let (_, table) = text.split_once("\n  routes").expect("there is a table");
        let lines: Vec<_> = table.lines().skip(1).take(12).collect();
        let [other, most, .., ninth, rest, _] = lines.as_slice() else { panic!("{text}") };
        assert_eq!(
            *other, "  other                             42%      555     10  28.0ms* 58.0ms* 60.0ms*",
            "{text}"
        );
        assert_eq!(*most, "  GET https://h/50/a/:id             3%       50      1  25.0ms* 50.0ms* 50.0ms*", "{text}");
        assert_eq!(
            *ninth, "  GET https://h/42/a/:id             2%       42      1  21.0ms* 42.0ms* 42.0ms*",
            "{text}"
        );
        assert_eq!(*rest, "  and 41 more                       33%      861     41  13.0ms* 38.0ms* 41.0ms*", "{text}");
    }

    #[test]
    fn a_minute_without_a_hit_has_no_times() {
        let text = render(&[last(sample::idle("slow"))]);
        assert!(
            text.ends_with("  0 planned: 0 ok, 0 failed\n  sent 0/s of 0/s asked\n  received 0 B, sent 0 B\n"),
            "{text}"
        );
    }

    #[test]
    fn a_batch_that_comes_twice_counts_once() {
        let batch = [sample::sound("hello", 10), last(sample::later(sample::sound("hello", 10), 10))];
        let mut log = log();
        let first = log.render(&batch);
        // The names of the columns stand there already.
        assert_eq!(first.split_once('\n').map(|(_, rest)| rest.to_owned()), Some(log.render(&batch)));
        assert!(first.contains("20 planned"), "{first}");
    }

    #[test]
    fn minutes_copies_and_tests_are_kept_apart() {
        let (one, two) = (sample::sound("hello", 1), Summary { copy: 2, ..sample::sound("hello", 2) });
        let three = sample::later(sample::sound("hello", 3), 60);
        let text = render(&[one, two, three].map(last));
        for planned in ["1 planned: 1 ok", "2 planned: 2 ok", "3 planned: 3 ok", ", copy 2, 12:00:00 to 12:00:10"] {
            assert_eq!(text.matches(planned).count(), 1, "{planned} in {text}");
        }
    }

    #[test]
    fn more_tests_than_are_summed_up_have_lines_only_until_older_ones_are_forgotten() {
        let minute = |start| move |number| last(sample::later(sample::idle(&format!("t{number:03}")), start));
        let mut log = log();
        let first: Vec<_> = (0..=MAX_BLOCKS).map(minute(0)).collect();
        let second: Vec<_> = (0..=MAX_BLOCKS).map(minute(60)).collect();
        for batch in [first, second] {
            let text = log.render(&batch);
            assert_eq!(text.matches("no hit ended").count(), MAX_BLOCKS + 1);
            assert_eq!(text.matches("planned").count(), MAX_BLOCKS);
            assert_eq!(log.minutes.len(), MAX_BLOCKS);
        }
    }

    #[test]
    fn the_prefix_stands_before_the_name() {
        let text = Log::new(Vec::<u8>::new(), Some(String::from("lab"))).render(&[last(sample::idle("hello"))]);
        assert!(text.contains("\n12:00:10  lab.hello ") && text.contains("\nlab.hello (loopback)"), "{text}");
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_others_are_worth_another_try() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let deliver = |kind| Log::new(Broken(kind), None).deliver(&[sample::idle("hello")], sample::occasion());
        assert!(deliver(io::ErrorKind::BrokenPipe).is_ok());
        assert!(matches!(deliver(io::ErrorKind::StorageFull), Err(Refusal::Retry(_))));
    }
}
