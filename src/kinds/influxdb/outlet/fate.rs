//! Whether points are done, as a database's answer tells.

use crate::fault::quote_most;
use crate::line_protocol::is_disk_full;
use crate::target::{Failure, Reason};

/// What it says before a line that it can't parse.
const UNPARSED: &[u8] = b"unable to parse '";
/// How much of what it says is shown, in characters.
const MAX_WORDS: usize = 300;

/// Whether the points of a batch are done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The database has taken them, all but so many, and will never take those.
    Done {
        /// Points that it will never take.
        rejected: u64,
    },
    /// It may not have them: they are to be sent again.
    Undone,
}

impl Fate {
    /// What a database's answer says of a batch of so many points, and what is wrong with it.
    ///
    /// | status | points | counted as |
    /// |---|---|---|
    /// | 2xx | taken | ok |
    /// | 400, 422 "partial write: … dropped=N" | taken, all but N, and all but those it can't parse | `status` |
    /// | 400, 422 "…no space left on device…" | to be sent again: that is no fault of theirs | `status` |
    /// | 400, 422 otherwise, 413 | rejected: they would be again | `status` |
    /// | anything else, as 401, 404, 429, 5xx | to be sent again | `status` |
    pub fn of(status: u16, body: &[u8], points: u64) -> (Self, Option<Failure>) {
        let fate = match status {
            200..=299 => return (Self::Done { rejected: 0 }, None),
            400 | 422 if is_disk_full(body) => Self::Undone,
            400 | 422 => Self::Done { rejected: dropped(body).unwrap_or(points).min(points) },
            413 => Self::Done { rejected: points },
            _ => Self::Undone,
        };
        let said = quote_most(&String::from_utf8_lossy(body), MAX_WORDS);
        (fate, Some(Failure::new(Reason::Status, format_args!("{status}: {said}"))))
    }

    /// The same where that is not all of the answer: it was too long to be read, or else it broke off.
    pub fn unread(self, status: u16, is_long: bool, points: u64) -> Self {
        match self {
            Self::Done { .. } if matches!(status, 400 | 422) && !is_long => Self::Undone,
            // How many were dropped stands at the end.
            Self::Done { .. } if status / 100 != 2 => Self::Done { rejected: points },
            fate => fate,
        }
    }
}

/// How many points weren't written, where the others were. InfluxDB 1.x leaves those out that it can't parse, and repeats
/// them instead.
fn dropped(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("partial write")?;
    let (_, number) = rest.rsplit_once("dropped=")?;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let unparsed = memchr::memmem::find_iter(rest.as_bytes(), UNPARSED).count() as u64;
    Some(number[..end].parse::<u64>().ok()?.saturating_add(unparsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_a_batch() {
        #[track_caller]
        fn check(status: u16, body: &str, expect: Fate) {
            let (fate, failure) = Fate::of(status, body.as_bytes(), 100);
            assert_eq!(fate, expect, "{status} {body}");
            assert_eq!(failure.map(|failure| failure.reason), (status / 100 != 2).then_some(Reason::Status));
        }
        let rejected = |rejected| Fate::Done { rejected };
        check(204, "", rejected(0));
        check(200, "{}", rejected(0));
        let conflict = "partial write: field type conflict: input field \\\"value\\\" on measurement \\\"cpu\\\" is type \
                        integer, already exists as type float dropped=";
        check(400, &format!("{{\"error\":\"{conflict}7\"}}\n"), rejected(7));
        check(400, &format!("{{\"error\":\"{conflict}100\"}}\n"), rejected(100));
        check(400, &format!("{{\"error\":\"{conflict}1000\"}}\n"), rejected(100));
        check(400, "{\"error\":\"partial write: points beyond retention policy dropped=3\"}", rejected(3));
        // A measurement of that name is quoted before the number.
        check(400, "{\"error\":\"partial write: field \\\"dropped=1\\\" conflict dropped=2\"}", rejected(2));
        check(400, "{\"error\":\"unable to parse 'x': missing fields\"}", rejected(100));
        check(400, "{\"error\":\"partial write: dropped=99999999999999999999\"}", rejected(100));
        check(400, "\u{fffd}", rejected(100));
        let full = "{\"error\":\"partial write: write /data/wal: no space left on device dropped=100\"}";
        check(400, full, Fate::Undone);
        check(422, full, Fate::Undone);
        check(413, "", rejected(100));
        check(422, "", rejected(100));
        // InfluxDB 2.x: its status for a partial write, in its own words around the same text.
        let said = "{\"code\":\"unprocessable entity\",\"message\":\"failure writing points to database: ";
        check(422, &format!("{said}{conflict}7\"}}"), rejected(7));
        // 1.6 counts only what it has understood.
        let line = "unable to parse 'p v=xx 2': invalid boolean";
        check(400, &format!("{{\"error\":\"partial write: {line}\\n{line} dropped=0\"}}\n"), rejected(2));
        check(400, &format!("{{\"error\":\"partial write: {line}\\n{line} dropped=99\"}}\n"), rejected(100));
        for status in [100, 301, 401, 403, 404, 408, 429, 500, 503] {
            check(status, "{\"error\":\"database not found: \\\"x\\\"\"}", Fate::Undone);
        }
    }

    #[test]
    fn what_a_part_of_an_answer_says_of_a_batch() {
        #[track_caller]
        fn check(status: u16, part: &str, [long, broken]: [Fate; 2]) {
            let (fate, _) = Fate::of(status, part.as_bytes(), 100);
            assert_eq!(
                [true, false].map(|is_long| fate.unread(status, is_long, 100)),
                [long, broken],
                "{status} {part}"
            );
        }
        let (taken, rejected) = (Fate::Done { rejected: 0 }, Fate::Done { rejected: 100 });
        check(204, "", [taken; 2]);
        check(400, "{\"error\":\"unable to parse 'cpu", [rejected, Fate::Undone]);
        // The number at the end is another one.
        check(400, "{\"error\":\"partial write: unable to parse 'cpu,dropped=3", [rejected, Fate::Undone]);
        check(400, "{\"error\":\"no space left on device", [Fate::Undone; 2]);
        check(413, "", [rejected; 2]);
        check(422, "", [rejected, Fate::Undone]);
        check(503, "", [Fate::Undone; 2]);
    }
}
