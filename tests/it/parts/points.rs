//! The points that the tests' types write, told apart by number: it follows from host and time.

use std::collections::BTreeSet;

use super::influx::Influx;

/// How many series a type of these tests has.
pub const SERIES: u64 = 10;
/// From one point of a series to the next, in nanoseconds.
pub const TICK: i64 = 10_000_000_000;
/// One tick before the first point, in nanoseconds since 1970: 2006-Jan-02.
pub const START: i64 = 1_136_160_000_000_000_000;

/// The numbers of the points of `cpu` in a database, which follow from host and time, in all series of one tick.
pub fn numbers(influx: &Influx, database: &str) -> BTreeSet<u64> {
    numbers_of(influx, database, "cpu", TICK)
}

/// The numbers of the points of a measurement.
pub fn numbers_of(influx: &Influx, database: &str, measurement: &str, tick: i64) -> BTreeSet<u64> {
    let answer =
        influx.query(database, &format!("SELECT value FROM {measurement} WHERE host =~ /server/ GROUP BY host"));
    let series = answer["results"][0]["series"].as_array().into_iter().flatten();
    let mut numbers = BTreeSet::new();
    for series in series {
        let host = series["tags"]["host"].as_str().expect("it has a host");
        let host: u64 = host.strip_prefix("server-").and_then(|host| host.parse().ok()).expect("a host of ours");
        for row in series["values"].as_array().into_iter().flatten() {
            let time = row[0].as_i64().expect("it has a time");
            assert_eq!((time - START) % tick, 0, "{time}");
            numbers.insert(((time - START) / tick - 1) as u64 * SERIES + host);
        }
    }
    numbers
}
