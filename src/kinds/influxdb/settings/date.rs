//! The date of the first point.

use chrono::{DateTime, NaiveDate, NaiveTime};

/// What `start_date` takes.
pub const DATE: &str =
    "a date as in \"2006-Jan-02\", \"2006-01-02\" or \"2006-01-02T15:04:05Z\", from 1678 to 2261; or \"now\"";

/// What a text says, in nanoseconds since 1970: `Some(None)` is the present, `None` no date.
pub fn parse(text: &str) -> Option<Option<i64>> {
    if text == "now" {
        return Some(None);
    }
    let day = || {
        // Of four digits, a month and two digits, as influx_stress had it.
        let form = match text.len() {
            10 => "%Y-%m-%d",
            11 => "%Y-%b-%d",
            _ => return None,
        };
        let day = NaiveDate::parse_from_str(text, form).ok()?;
        Some(day.and_time(NaiveTime::MIN).and_utc())
    };
    let moment = day().or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc()))?;
    // Years that a point's time stamp can't have all of are none at all.
    let year: i32 = moment.format("%Y").to_string().parse().ok()?;
    (1678..=2261).contains(&year).then(|| moment.timestamp_nanos_opt()).flatten().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        #[track_caller]
        fn check(text: &str, expect: Option<Option<i64>>) {
            let seconds = parse(text).map(|date| date.map(|ns| ns / 1_000_000_000));
            assert_eq!(seconds, expect, "{text}");
        }
        let day = Some(Some(1_136_160_000));
        check("2006-Jan-02", day);
        check("2006-jan-02", day);
        check("2006-01-02", day);
        check("2006-01-02T00:00:00Z", day);
        check("2006-01-02T01:00:00+01:00", day);
        check("2006-01-02T00:00:01.5Z", Some(Some(1_136_160_001)));
        check("1970-01-01", Some(Some(0)));
        check("1969-12-31", Some(Some(-86_400)));
        check("now", Some(None));
        for wrong in [
            "",
            "Now",
            "2006",
            "2006-Jan-2",
            "2006-Jan-32",
            "2006-Feb-30",
            "2006-13-01",
            "2006-January-02",
            "02-Jan-2006",
            "2006-01-02 00:00",
            "1677-12-31",
            "2262-01-01",
            "9999-12-31",
        ] {
            check(wrong, None);
        }
    }
}
