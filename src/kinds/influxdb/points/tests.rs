use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::kinds::influxdb::{Field, FieldType, Tag};

const SECOND: i64 = 1_000_000_000;
/// 2006-01-02.
const START: i64 = 1_136_160_000 * SECOND;
const FORMATS: [Format; 4] = [Format::LineHttp, Format::LineUdp, Format::GraphiteTcp, Format::GraphiteUdp];
const PRECISIONS: [Precision; 4] = [Precision::N, Precision::U, Precision::Ms, Precision::S];

/// The sample's points, in 100 series.
fn sample() -> PointSettings {
    PointSettings {
        point_count: NonZeroU64::new(100),
        series_count: NonZeroU64::new(100).unwrap(),
        tick: Duration::from_secs(10),
        jitter: false,
        measurement: "cpu".to_owned(),
        start: Some(START),
        tags: tags(&[("host", "server"), ("location", "us-west")]),
        fields: fields(&[("value", FieldType::Float64)]),
    }
}

fn tags(tags: &[(&str, &str)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.to_string(), value: value.to_string() }).collect()
}

fn fields(fields: &[(&str, FieldType)]) -> Vec<Field> {
    fields.iter().map(|(key, value)| Field { key: key.to_string(), value: *value }).collect()
}

fn series(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count).unwrap()
}

/// The sample as it is with all kinds of settings, and a clock for those that are stamped with the present.
fn variants() -> Vec<(PointSettings, Precision, Option<Clock>)> {
    let mut all = Vec::new();
    for precision in PRECISIONS {
        for count in [1, 2, 7, 100, 1001] {
            for tick in [Duration::from_secs(10), Duration::from_millis(1500), Duration::from_nanos(precision.unit())] {
                let tick = tick.max(Duration::from_nanos(precision.unit()));
                for (jitter, before) in [(false, 0), (true, 0), (true, 700), (true, 2 * START + 5)] {
                    let start = Some(START - before);
                    let settings = PointSettings { series_count: series(count), tick, jitter, start, ..sample() };
                    all.push((settings, precision, None));
                }
            }
            for batch in [1, 10, 333] {
                let step = precision.unit();
                let gap = ((batch - 1) / count + 1) * step;
                let base = START / step as i64 * step as i64;
                let clock = Clock { first: 5, base, batch, gap, series: count, step };
                let settings = PointSettings { series_count: series(count), start: None, jitter: true, ..sample() };
                all.push((settings, precision, Some(clock)));
            }
        }
    }
    all
}

fn written(points: &Points, numbers: Range<u64>, clock: Option<&Clock>) -> String {
    let mut written = Vec::new();
    points.write(numbers, clock, &mut written);
    String::from_utf8(written).unwrap()
}

/// A point, as a server reads it from a line: its measurement, its tags, its fields, its time stamp in units.
type Read = (String, BTreeMap<String, String>, BTreeMap<String, String>, i64);

/// Reads a line of the line protocol, byte for byte as its reference has it.
fn read(line: &str) -> Option<Read> {
    let (head, rest) = split(line, ' ')?;
    let (values, stamp) = split(rest, ' ')?;
    let (measurement, mut tags) = split(head, ',').map_or((head, None), |(name, tags)| (name, Some(tags)));
    let mut read: Read = (unescaped(measurement, ", "), BTreeMap::new(), BTreeMap::new(), stamp.parse().ok()?);
    while let Some(rest) = tags {
        let (tag, others) = split(rest, ',').map_or((rest, None), |(tag, others)| (tag, Some(others)));
        let (key, value) = split(tag, '=')?;
        if key.is_empty() || value.is_empty() || split(value, '=').is_some() {
            return None;
        }
        read.1.insert(unescaped(key, ",= "), unescaped(value, ",= "));
        tags = others;
    }
    let mut values = Some(values);
    while let Some(rest) = values {
        let (field, others) = split(rest, ',').map_or((rest, None), |(field, others)| (field, Some(others)));
        let (key, value) = split(field, '=')?;
        read.2.insert(unescaped(key, ",= "), value.to_owned());
        values = others;
    }
    Some(read)
}

/// Splits at the first `end` that no backslash is before.
fn split(text: &str, end: char) -> Option<(&str, &str)> {
    let ends = text.match_indices(end);
    let (at, _) = ends.into_iter().find(|(at, _)| !text[..*at].ends_with('\\'))?;
    Some((&text[..at], &text[at + end.len_utf8()..]))
}

fn unescaped(text: &str, ends: &str) -> String {
    ends.chars().fold(text.to_owned(), |text, end| text.replace(&format!("\\{end}"), &end.to_string()))
}

#[test]
fn the_lines_of_a_type() {
    #[track_caller]
    fn check(settings: &PointSettings, precision: Precision, format: Format, number: u64, expect: &str) {
        let points = Points::new(settings, precision, format, "web-1");
        assert_eq!(written(&points, number..number + 1, None), expect);
    }
    use Format::{GraphiteTcp, GraphiteUdp, LineHttp, LineUdp};
    use Precision::{Ms, N, S, U};

    let one = sample();
    check(&one, N, LineHttp, 17, "cpu,host=server-17,location=us-west value=367 1136160010000000000\n");
    check(&one, N, LineHttp, 117, "cpu,host=server-17,location=us-west value=188 1136160020000000000\n");
    check(&one, U, LineUdp, 0, "cpu,host=server-0,location=us-west value=701 1136160010000000\n");
    check(&one, Ms, LineHttp, 99, "cpu,host=server-99,location=us-west value=872 1136160010000\n");
    check(&one, S, LineHttp, 100, "cpu,host=server-0,location=us-west value=321 1136160020\n");
    check(&one, N, GraphiteTcp, 17, "server-17.us-west.cpu.value 367 1136160010\n");
    check(&one, S, GraphiteUdp, 117, "server-17.us-west.cpu.value 188 1136160020\n");

    let uneven = PointSettings { tick: Duration::from_millis(1500), ..sample() };
    check(&uneven, S, LineHttp, 0, "cpu,host=server-0,location=us-west value=701 1136160001\n");
    check(&uneven, Ms, LineHttp, 0, "cpu,host=server-0,location=us-west value=701 1136160001500\n");
    check(&uneven, Ms, GraphiteTcp, 0, "server-0.us-west.cpu.value 701 1136160001.5\n");
    check(&uneven, S, GraphiteTcp, 0, "server-0.us-west.cpu.value 701 1136160001\n");

    let before = PointSettings { start: Some(-12 * SECOND), tick: Duration::from_millis(10_500), ..sample() };
    check(&before, N, LineHttp, 0, "cpu,host=server-0,location=us-west value=701 -1500000000\n");
    check(&before, S, LineHttp, 0, "cpu,host=server-0,location=us-west value=701 -2\n");
    check(&before, N, GraphiteTcp, 0, "server-0.us-west.cpu.value 701 -1.5\n");

    let all = [
        ("f", FieldType::Float64),
        ("i", FieldType::Int),
        ("b", FieldType::Bool),
        ("s", FieldType::String),
        ("z", FieldType::Int),
    ];
    let many = PointSettings { fields: fields(&all), ..sample() };
    check(
        &many,
        S,
        LineHttp,
        18,
        "cpu,host=server-18,location=us-west f=977,i=206i,b=false,s=\"text-402\",z=329i 1136160010\n",
    );
    let many = PointSettings { fields: fields(&all[..3]), ..sample() };
    check(
        &many,
        S,
        GraphiteTcp,
        17,
        "server-17.us-west.cpu.f 367 1136160010\n\
         server-17.us-west.cpu.i 779 1136160010\n\
         server-17.us-west.cpu.b 1 1136160010\n",
    );

    let bare = PointSettings { tags: Vec::new(), series_count: series(1), ..sample() };
    check(&bare, S, LineHttp, 1, "cpu value=924 1136160020\n");
    check(&bare, S, GraphiteTcp, 1, "cpu.value 924 1136160020\n");

    let named = PointSettings { tags: tags(&[("a", "%host%"), ("b", "x %host%%host%")]), ..sample() };
    check(&named, S, LineHttp, 2, "cpu,a=web-1-2,b=x\\ web-1web-1 value=851 1136160010\n");
    check(&named, S, GraphiteTcp, 2, "web-1-2.x_web-1web-1.cpu.value 851 1136160010\n");

    let odd = PointSettings {
        measurement: "c p,u=".to_owned(),
        tags: tags(&[("h o", "a,b\\"), ("l=", "us.west\\")]),
        fields: fields(&[("v,1", FieldType::Int)]),
        ..sample()
    };
    check(&odd, S, LineHttp, 2, "c\\ p\\,u=,h\\ o=a\\,b\\-2,l\\==us.west_ v\\,1=851i 1136160010\n");
    check(&odd, S, GraphiteTcp, 2, "a_b_-2.us_west_.c_p_u_.v_1 851 1136160010\n");
}

#[test]
fn the_stamps_of_a_series_strictly_increase() {
    for (settings, precision, clock) in variants() {
        let points = Points::new(&settings, precision, Format::LineHttp, "web-1");
        let series = settings.series_count.get();
        let mut last = BTreeMap::new();
        for number in 5..5 + 20 * series.min(200) {
            let stamp = points.stamp(number, clock.as_ref());
            assert_eq!(stamp % precision.unit() as i64, 0, "{settings:?} {precision:?} {clock:?}");
            let before = last.insert(number % series, stamp);
            assert!(before.is_none_or(|before| before < stamp), "{number} of {settings:?} {precision:?} {clock:?}");
        }
    }
}

#[test]
fn jitter_is_less_than_a_tick_and_there_is_all_of_it() {
    let still = Points::new(&sample(), Precision::S, Format::LineHttp, "web-1");
    let moved = Points::new(&PointSettings { jitter: true, ..sample() }, Precision::S, Format::LineHttp, "web-1");
    let mut times = [0; 10];
    for number in 0..10_000 {
        let by = moved.stamp(number, None) - still.stamp(number, None);
        times[usize::try_from(by / SECOND).unwrap()] += 1;
    }
    assert!(times.iter().all(|times| (850..1150).contains(times)), "{times:?}");
}

#[test]
fn a_clock_is_right_whatever_the_settings_say_of_time() {
    let clock = Clock { first: 0, base: START, batch: 100, gap: 1_000, series: 100, step: 1 };
    let points = Points::new(&PointSettings { jitter: true, ..sample() }, Precision::N, Format::LineHttp, "web-1");
    assert_eq!(points.stamp(250, Some(&clock)), START + 2_000);
    let line = written(&points, 250..251, Some(&clock));
    assert!(line.ends_with(" 1136160000000002000\n"), "{line}");
}

#[test]
fn however_the_numbers_are_split_the_bytes_are_the_same() {
    let mut random = fastrand::Rng::with_seed(5);
    for (mut settings, precision, clock) in variants() {
        settings.fields = fields(&[("a", FieldType::Float64), ("b", FieldType::Bool), ("c", FieldType::Int)]);
        let format = random.choice(FORMATS).unwrap();
        let points = Points::new(&settings, precision, format, "web-1");
        let whole = written(&points, 5..1500, clock.as_ref());
        let (mut parts, mut next) = (b"".to_vec(), 5);
        while next < 1500 {
            let until = (next + random.u64(0..200)).min(1500);
            points.write(next..until, clock.as_ref(), &mut parts);
            next = until;
        }
        assert!(whole.as_bytes() == parts, "{settings:?} {precision:?} {clock:?} {format:?}");
        assert_eq!(
            whole.lines().count(),
            if matches!(format, Format::LineHttp | Format::LineUdp) { 1495 } else { 3 * 1495 }
        );
    }
}

#[test]
fn every_line_is_read_as_the_point_that_it_is() {
    for (mut settings, precision, clock) in variants() {
        settings.measurement = "c p,u=\"".to_owned();
        settings.tags =
            tags(&[("h o,s=t", "a\\b,c=d "), ("größe", "a rather long value, longer than what fits in a part")]);
        settings.fields = fields(&[
            ("a b", FieldType::Float64),
            ("c=", FieldType::Int),
            ("d,", FieldType::Bool),
            ("e", FieldType::String),
        ]);
        let points = Points::new(&settings, precision, Format::LineHttp, "web-1");
        let text = written(&points, 5..505, clock.as_ref());
        for (number, line) in (5..).zip(text.lines()) {
            let (measurement, tags, fields, stamp) = read(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(measurement, settings.measurement);
            assert_eq!(tags.len(), 2);
            assert_eq!(tags["h o,s=t"], format!("a\\b,c=d -{}", number % settings.series_count));
            assert_eq!(tags["größe"], settings.tags[1].value);
            assert_eq!(fields.len(), 4);
            assert!(fields["a b"].parse::<u64>().unwrap() < 1000, "{line}");
            assert!(fields["c="].strip_suffix('i').unwrap().parse::<u64>().unwrap() < 1000, "{line}");
            assert!(["true", "false"].contains(&&*fields["d,"]), "{line}");
            let text = fields["e"].strip_prefix("\"text-").and_then(|text| text.strip_suffix('"')).unwrap();
            assert!(text.parse::<u64>().unwrap() < 1000, "{line}");
            assert_eq!(stamp * precision.unit() as i64, points.stamp(number, clock.as_ref()), "{line}");
        }
    }
}

#[test]
fn every_line_of_graphite_is_a_path_a_number_and_a_time() {
    for (mut settings, precision, clock) in variants() {
        settings.fields = fields(&[("a b", FieldType::Float64), ("c", FieldType::Bool)]);
        let points = Points::new(&settings, precision, Format::GraphiteTcp, "web-1");
        let text = written(&points, 5..505, clock.as_ref());
        for (index, line) in (0..).zip(text.lines()) {
            let number = 5 + index / 2;
            let [path, value, stamp] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let field = ["a_b", "c"][(index % 2) as usize];
            assert_eq!(path, format!("server-{}.us-west.cpu.{field}", number % settings.series_count));
            assert!(value.parse::<u64>().unwrap() < [1000, 2][(index % 2) as usize], "{line}");
            let (whole, part) = stamp.split_once('.').unwrap_or((stamp, "0"));
            let nanos: i64 = format!("{part:0<9}").parse().unwrap();
            let whole = whole.parse::<i64>().unwrap() * SECOND;
            let nanos = if stamp.starts_with('-') { whole - nanos } else { whole + nanos };
            assert_eq!(nanos, points.stamp(number, clock.as_ref()), "{line}");
        }
    }
}

#[test]
fn what_no_stamp_can_hold_is_the_last_that_one_can() {
    let numbers = [0, 1, u64::MAX / 2, u64::MAX - 2];
    for (start, tick) in [(i64::MAX, 1), (i64::MIN, u64::MAX), (0, u64::MAX), (i64::MIN, 1), (i64::MAX - 5, 3)] {
        for (precision, format) in
            PRECISIONS.into_iter().flat_map(|precision| FORMATS.map(|format| (precision, format)))
        {
            for count in [1, 100, u64::MAX] {
                let tick = Duration::from_nanos(tick.max(precision.unit()));
                let settings =
                    PointSettings { start: Some(start), tick, jitter: true, series_count: series(count), ..sample() };
                let points = Points::new(&settings, precision, format, "web-1");
                for number in numbers {
                    assert!(points.stamp(number, None) <= points.stamp(number.saturating_add(count), None));
                    assert_eq!(written(&points, number..number + 2, None).lines().count(), 2);
                }
            }
        }
    }
    let settings = PointSettings { start: Some(i64::MAX - 5), tick: Duration::from_secs(1), ..sample() };
    let points = Points::new(&settings, Precision::N, Format::LineHttp, "web-1");
    assert_eq!(points.stamp(0, None), i64::MAX);
    assert!(written(&points, 0..1, None).ends_with(" 9223372036854775807\n"));
    let ages = PointSettings { tick: Duration::MAX, ..sample() };
    assert_eq!(Points::new(&ages, Precision::N, Format::LineHttp, "web-1").stamp(0, None), i64::MAX);
}

#[test]
fn points_are_counted_over_all_series() {
    #[track_caller]
    fn check(point_count: Option<u64>, series_count: u64, expect: Option<u64>) {
        let point_count = point_count.and_then(NonZeroU64::new);
        let settings = PointSettings { point_count, series_count: series(series_count), ..sample() };
        assert_eq!(Points::new(&settings, Precision::N, Format::LineHttp, "web-1").count(), expect);
    }
    check(Some(100), 100_000, Some(10_000_000));
    check(Some(1), 1, Some(1));
    check(Some(u64::MAX), 2, Some(u64::MAX));
    let present = PointSettings { start: None, point_count: None, ..sample() };
    assert_eq!(Points::new(&present, Precision::N, Format::LineHttp, "web-1").count(), None);
}

#[test]
fn points_with_a_start_end_where_the_time_stamps_do() {
    // InfluxDB's last; what is one more says nothing to it.
    const LAST: i64 = i64::MAX - 1;
    let mut random = fastrand::Rng::with_seed(11);
    for precision in PRECISIONS {
        let unit = precision.unit();
        let ticks = [unit, 3 * unit / 2, 10 * SECOND as u64, 8760 * 3600 * SECOND as u64];
        for (tick, jitter) in ticks.into_iter().flat_map(|tick| [(tick, false), (tick, true)]) {
            for start in [i64::MIN, -SECOND - 7, START, LAST - 300 * SECOND, START + random.i64(0..SECOND)] {
                let (start, tick) = (Some(start), Duration::from_nanos(tick));
                let settings =
                    PointSettings { point_count: None, series_count: series(7), tick, jitter, start, ..sample() };
                let points = Points::new(&settings, precision, Format::LineHttp, "web-1");
                let count = points.count().expect("they end");
                // As many as can be counted, where there are more.
                assert!(count.is_multiple_of(7) || count == u64::MAX);
                let numbers = count.saturating_sub(7 * 100)..count;
                let stamps: Vec<_> = numbers.clone().map(|number| (number % 7, points.stamp(number, None))).collect();
                let lines = written(&points, numbers, None);
                for (line, (_, stamp)) in lines.lines().zip(&stamps) {
                    assert!(*stamp <= LAST, "{settings:?} {precision:?}: {line}");
                    assert!(line.ends_with(&format!(" {}", stamp / unit as i64)), "{line} {stamp}");
                }
                let distinct: BTreeSet<_> = stamps.iter().collect();
                assert_eq!((distinct.len(), lines.lines().count()), (stamps.len(), stamps.len()), "{settings:?}");
            }
        }
    }
    let years = PointSettings { point_count: None, tick: Duration::from_secs(8760 * 3600), ..sample() };
    let years = PointSettings { series_count: series(1), ..years };
    assert_eq!(Points::new(&years, Precision::S, Format::LineHttp, "web-1").count(), Some(255));
}

#[test]
fn a_buffer_that_has_had_the_longest_points_never_grows_again() {
    for format in FORMATS {
        let settings = PointSettings { jitter: true, series_count: series(100_000), ..sample() };
        let points = Points::new(&settings, Precision::N, format, "web-1");
        let mut buffer = Vec::new();
        points.write(0..5000, None, &mut buffer);
        let (room, place) = (buffer.capacity(), buffer.as_ptr());
        assert!(buffer.len() + digits::ROOM <= room && room < buffer.len() * 3 / 2, "{} of {room}", buffer.len());
        for first in (0..1_000_000).step_by(5000) {
            buffer.clear();
            points.write(first..first + 5000, None, &mut buffer);
        }
        assert_eq!((buffer.capacity(), buffer.as_ptr()), (room, place));
    }
}

#[test]
fn no_points_are_nothing() {
    let points = Points::new(&sample(), Precision::N, Format::LineHttp, "web-1");
    let backwards = Range { start: 9, end: 3 };
    assert_eq!(written(&points, 7..7, None) + &written(&points, backwards, None), "");
}
