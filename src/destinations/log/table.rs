//! The tables of a test's minute: its times, the routes of its requests, what its hits brought back, and what they got
//! done.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt::Write as _;

use super::super::units::{self, counted};
use super::{TERMINAL, mark};
use crate::latency::Latency;
use crate::routes::{Route, Routes};
use crate::summary::{Summary, Tally};
use crate::values::{Spread, Values};
use crate::work::Work;

/// The most routes that have a row of their own.
const MAX_ROUTES: usize = 10;
/// How wide their column is: what a terminal leaves for it.
const ROUTE: usize = TERMINAL - "  ".len() - " time requests errors     p50     p99     max*".len();

/// Each distribution in a row of its own, the names of the columns above; phases of new connections below their number.
pub(super) fn times(tally: &Tally) -> String {
    let mark = mark(tally);
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

/// The routes that took most of the time, a row each, and how much of all requests' time that was, so that the slow
/// step stands out; then what all others come to, which is exact like the rest: their histograms are merged.
pub(super) fn routes(of_test: &Routes, mark: &str) -> String {
    let mut all: Vec<_> = of_test.named().map(|(name, route)| (Cow::Borrowed(name), spent(route), route)).collect();
    let of_all: u128 = all.iter().map(|(_, spent, _)| spent).sum();
    // Those that took the same time stay in the order of their names.
    all.sort_by_key(|(_, spent, _)| Reverse(*spent));
    let others = all.split_off(all.len().min(MAX_ROUTES));
    let mut rest = Route::default();
    others.iter().for_each(|(_, _, route)| rest.merge(route));
    if !others.is_empty() {
        all.push((format!("and {} more", others.len()).into(), spent(&rest), &rest));
    }
    let [time, requests, errors, p50, p99, max] = ["time", "requests", "errors", "p50", "p99", "max"];
    let mut table = format!("  {:ROUTE$}{time:>5}{requests:>9}{errors:>7}{p50:>8}{p99:>8}{max:>8}", "routes");
    for (name, spent, route) in all {
        let (name, share) = (shortened(&name, ROUTE), share(spent, of_all));
        let _ = write!(table, "\n  {name:ROUTE$}{share:>5}{:>9}{:>7} ", route.count(), route.errors);
        let duration = &route.duration;
        for time in [duration.quantile(0.5), duration.quantile(0.99), duration.max()] {
            let _ = write!(table, "{:>7}{mark}", units::time(time));
        }
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

/// How long all requests of a route took, together, in ns.
fn spent(route: &Route) -> u128 {
    route.duration.mean().as_nanos() * u128::from(route.count())
}

/// A part of all time in %.
fn share(spent: u128, of_all: u128) -> String {
    let share = if of_all == 0 { 0.0 } else { spent as f64 / of_all as f64 * 100.0 };
    if (f64::MIN_POSITIVE..0.5).contains(&share) { String::from("<1%") } else { format!("{share:.0}%") }
}

/// `text` in at most `most` characters: what is cut out of its middle is `…`. More is left of its end, as that is
/// where a site's routes differ.
fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return Cow::Borrowed(text);
    }
    let head = (most - 1) / 3;
    let tail = most - 1 - head;
    Cow::Owned(text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect())
}

/// The lines without the spaces that part columns, which are not wanted behind the last.
fn without_ends(table: &str) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_route_is_cut_in_its_middle() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(shortened(text, 10), expect);
        }
        check("", "");
        check("0123456789", "0123456789");
        check("0123456789a", "012…56789a");
        check("GET https://h/größe/ä", "GET…röße/ä");
    }

    #[test]
    fn a_share_is_told_as_none_only_where_it_is() {
        #[track_caller]
        fn check(spent: u128, of_all: u128, expect: &str) {
            assert_eq!(share(spent, of_all), expect);
        }
        check(0, 0, "0%");
        check(0, 9, "0%");
        check(1, 1_000_000, "<1%");
        check(1, 150, "1%");
        check(u128::from(u64::MAX), u128::from(u64::MAX), "100%");
    }
}
