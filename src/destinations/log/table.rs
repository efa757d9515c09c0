//! The tables of a test's minute: its times, what its hits brought back, and what they got done.

use std::fmt::Write as _;

use super::super::units::{self, counted};
use super::MARK;
use crate::latency::Latency;
use crate::summary::{Summary, Tally};
use crate::values::{Spread, Values};
use crate::work::Work;

/// Each distribution in a row of its own, the names of the columns above; phases of new connections below their number.
pub(super) fn times(tally: &Tally) -> String {
    let mark = if tally.is_marked() { MARK } else { " " };
    let phases: Vec<_> = tally.connections.iter().flat_map(|connections| connections.phases()).collect();
    let width = if phases.is_empty() { "response".len() } else { "first byte".len() };
    let mut table = format!("  {:width$}", "");
    for column in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
        let _ = write!(table, "{column:>9} ");
    }
    let row = |table: &mut String, name: &str, latency: &Latency| {
        let _ = write!(table, "\n  {name:width$}");
        let quantiles = [0.5, 0.9, 0.99, 0.999].map(|share| latency.quantile(share));
        for time in [latency.mean()].into_iter().chain(quantiles).chain([latency.max()]) {
            let _ = write!(table, "{:>9}{mark}", units::time(time));
        }
    };
    for (name, latency) in tally.latencies() {
        row(&mut table, name, latency);
    }
    if let Some(connections) = &tally.connections {
        let _ = write!(table, "\n  {}", counted(connections.opened, "new connection"));
    }
    for (name, latency) in phases {
        row(&mut table, &name.replace('_', " "), latency);
    }
    without_ends(&table)
}

/// What hits brought back, a name a row.
pub(super) fn values(of_test: &Values) -> String {
    let width = of_test.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("values".len());
    let [mean, min, max, count] = ["mean", "min", "max", "count"];
    let mut table = format!("  {:width$}{mean:>12}{min:>12}{max:>12}{count:>9}", "values");
    for (name, spread) in of_test.iter() {
        let [mean, min, max] = [spread.mean(), spread.min, spread.max].map(units::number);
        let Spread { count, unit, .. } = spread;
        let _ = write!(table, "\n  {name:width$}{mean:>12}{min:>12}{max:>12}{count:>9}  {unit}");
    }
    without_ends(&table)
}

/// What hits got done in all of `minute`, a name a row.
pub(super) fn work(minute: &Summary, of_test: &Work) -> String {
    let width = of_test.named().map(|(name, _)| name.len()).max().unwrap_or(0).max("work".len());
    let [count, rate] = ["count", "a second"];
    let mut table = format!("  {:width$}{count:>12}{rate:>12}", "work");
    for (name, count) in of_test.named() {
        let [rate, count] = [minute.rate(count), count as f64].map(units::number);
        let _ = write!(table, "\n  {name:width$}{count:>12}{rate:>12}");
    }
    without_ends(&table)
}

/// The lines without the spaces that part columns, which are not wanted behind the last.
fn without_ends(table: &str) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
