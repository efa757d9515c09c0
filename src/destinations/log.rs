//! `kind = "log"`: lines for people, on stdout.
//!
//! One line a test and interval, and under it, indented, whatever is wrong;
//! when a test's minute is over, a block that sums it up: its histograms are
//! merged, not its percentiles averaged. The runner itself is silent unless
//! something has gone wrong. It is for terminals: what a run has not shown,
//! the next one won't.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Error;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::units::{counted, size, time};
use super::{Destination, Occasion, Refusal};
use crate::keys::Keys;
use crate::latency::Latency;
use crate::summary::{Measured, Summary, Tally, Upkeep};

/// Tests whose minute is summed up; each takes up to 1 MB while it lasts, so
/// the rest have their lines alone. Terminals hold fewer.
const MAX_BLOCKS: usize = 100;
/// How wide the column of names is at least; it grows with the names seen.
const NAME_WIDTH: usize = 8;
/// How wide the clock's column is, with what parts it from the next.
const INDENT: usize = 10;

/// Where lines go, and what the minute has come to so far.
struct Log<W> {
    out: W,
    prefix: Option<String>,
    name_width: usize,
    /// By minute, copy and test, so that the first are the oldest.
    minutes: BTreeMap<(DateTime<Utc>, u32, String), Summary>,
}

/// Reads nothing: it has no keys of its own.
#[expect(clippy::unnecessary_wraps, reason = "every kind is read so")]
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
        Self { out, prefix, name_width: NAME_WIDTH, minutes: BTreeMap::new() }
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

    fn line(&self, summary: &Summary, tally: &Tally) -> String {
        let mut line = self.start_of_line(summary);
        let _ = write!(line, "{:>6} ok {:>4} failed  ", tally.ok, tally.failed);
        if tally.response.count() == 0 {
            line.push_str("no hit ended");
        } else {
            let at_least = if tally.truncated() { "≥" } else { "" };
            for (name, time) in [("p50", quantile(&tally.response, 0.5)), ("p99", quantile(&tally.response, 0.99))]
                .into_iter()
                .chain([("max", time(tally.response.max()))])
            {
                let _ = write!(line, "{name} {:>6}  ", format!("{at_least}{time}"));
            }
            let _ = write!(line, "lag p99 {:>6}", quantile(&tally.lag, 0.99));
        }
        line.push('\n');
        let wrong = [failures(tally), skipped(tally)].into_iter().flatten().collect::<Vec<_>>().join("; ");
        for words in [(!wrong.is_empty()).then_some(wrong)].into_iter().chain(marks(tally)).flatten() {
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
        let mut block = format!(
            "\n{}: {} planned from {} to {} UTC on {}\n  {} ok, {} failed",
            self.name(minute),
            tally.planned(),
            minute.start.format("%H:%M:%S"),
            minute.end().format("%H:%M:%S"),
            minute.host,
            tally.ok,
            tally.failed,
        );
        if let Some(failures) = failures(tally) {
            let _ = write!(block, " ({failures})");
        }
        if let Some(skipped) = skipped(tally) {
            let _ = write!(block, ", {skipped}");
        }
        block.push('\n');
        if tally.response.count() > 0 {
            block.push_str(&table(tally));
        }
        let _ = writeln!(block, "  received {}, sent {}", size(tally.bytes_in), size(tally.bytes_out));
        for words in marks(tally).into_iter().flatten() {
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

/// The minute an interval belongs to, its copy and its test.
fn key(summary: &Summary) -> (DateTime<Utc>, u32, String) {
    let minute = summary.start.duration_trunc(TimeDelta::minutes(1)).unwrap_or(summary.start);
    (minute, summary.copy, summary.test.clone())
}

/// Each distribution in a row of its own.
fn table(tally: &Tally) -> String {
    let at_least = if tally.truncated() { "≥" } else { "" };
    let mut table = format!("  {:8}", "");
    for column in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
        let _ = write!(table, "{column:>9}");
    }
    for (name, latency) in tally.latencies() {
        // What did not happen would have been slow, late it would not have been.
        let at_least = if matches!(name, "response" | "service") { at_least } else { "" };
        let _ = write!(table, "\n  {name:8}{:>9}", format!("{at_least}{}", time(latency.mean())));
        for share in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let shown = if share < 1.0 { quantile(latency, share) } else { time(latency.max()) };
            let _ = write!(table, "{:>9}", format!("{at_least}{shown}"));
        }
    }
    table + "\n"
}

fn quantile(latency: &Latency, share: f64) -> String {
    time(latency.quantile(share))
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

/// What must be known to read the percentiles right.
fn marks(tally: &Tally) -> [Option<String>; 2] {
    let truncated = || {
        let skipped = tally.canceled + tally.missed;
        format!("truncated: {skipped} of {} hits did not happen; the worst times are not in these", tally.planned())
    };
    let limited = || String::from("generator limited: hits started late here; the target is not to blame for the lag");
    [tally.truncated().then(truncated), tally.generator_limited().then(limited)]
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn log() -> Log<Vec<u8>> {
        Log::new(Vec::new(), None)
    }

    #[track_caller]
    fn check(batch: &[Summary], expect: &str) {
        let mut log = log();
        log.deliver(batch, sample::occasion()).expect("a Vec takes all");
        let text = String::from_utf8(log.out).expect("it is text");
        assert_eq!(text, expect, "\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    fn last(summary: Summary) -> Summary {
        Summary { last: true, ..summary }
    }

    #[test]
    fn a_line_a_test_and_interval_and_what_is_wrong_under_it() {
        check(&[sample::sound("hello", 100), sample::test("checkout-api"), sample::idle("slow")], "");
    }

    #[test]
    fn the_runner_speaks_only_when_something_is_wrong() {
        check(&[sample::runner()], "");
    }

    #[test]
    fn the_last_interval_closes_with_the_whole_minute() {
        let batch = [
            sample::sound("hello", 100),
            sample::later(sample::test("hello"), 10),
            last(sample::later(sample::sound("hello", 100), 20)),
        ];
        check(&batch, "");
    }
}
