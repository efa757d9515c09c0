//! The requests inside of hits, by route: what a compiled load test did in its journeys.
//!
//! A route is a method and a URL without what differs from request to request.
//! Of too many the first in byte order stand, whatever came first; all that
//! comes under others is in [`OTHER`]. So intervals, threads and servers merge
//! to what they would have been as one, a route that stands lacks no request,
//! and none is in two places or nowhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::Latency;
use crate::values::{tidy, to_name_of};

/// The most routes of a test, beside [`OTHER`]: each has a histogram, and some ten metrics every interval.
pub const MAX_ROUTES: usize = 50;
/// The most characters of a route, and of its name in metrics; the rest is cut off. As a folder of whisper files, a
/// name may have 255 bytes.
pub const MAX_ROUTE: usize = 200;
/// What stands for the routes that there were too many of. (All others begin with a method.)
pub const OTHER: &str = "other";

/// The requests of an interval, by route.
///
/// ```
/// use std::time::Duration;
/// use canihaz::routes::{Request, Routes};
///
/// let pay = Request {
///     route: "POST https://shop.example.com/orders/:id/pay",
///     duration: Duration::from_millis(20),
///     status: 201,
///     size: Some(512),
///     is_error: false,
/// };
/// let mut routes = Routes::default();
/// routes.record(&pay);
/// routes.record(&Request { duration: Duration::from_millis(40), status: 502, is_error: true, ..pay });
///
/// let (route, requests) = routes.named().next().expect("there is one");
/// assert_eq!((route, requests.count(), requests.errors), (pay.route, 2, 1));
/// assert_eq!((requests.duration.mean(), requests.statuses[&502]), (Duration::from_millis(30), 1));
/// ```
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Stored")]
pub struct Routes {
    routes: BTreeMap<String, Route>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<Box<Route>>,
}

/// The requests of one route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Route {
    /// How long they took, and how many there were.
    pub duration: Latency,
    /// How many had which status, from 100 to 599, or 0 where there was no answer, or one with a status that is none.
    pub statuses: BTreeMap<u16, u64>,
    /// How many had an error.
    pub errors: u64,
    /// The sum of their sizes, as far as they are known, in bytes.
    pub bytes: u64,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its route, as people read it: `GET https://shop.example.com/orders/:id`.
    pub route: &'a str,
    /// How long it took.
    pub duration: Duration,
    /// Its answer's status; 0 where there was none.
    pub status: u16,
    /// The length of the answer's body, in bytes, where it is known.
    pub size: Option<u64>,
    /// Whether it had an error.
    pub is_error: bool,
}

impl Routes {
    /// Counts a request.
    ///
    /// Of its route, control characters and backslashes, which no URL has and some databases can't write, become `_`.
    pub fn record(&mut self, request: &Request<'_>) {
        self.update(request.route, |route| route.record(request));
    }

    /// Adds all of `other`, exactly, as if all had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if let Some(rest) = &other.other {
            self.other.get_or_insert_default().merge(rest);
        }
        for (name, route) in &other.routes {
            self.update(name, |sum| sum.merge(route));
        }
    }

    /// The routes, in byte order, and behind them [`OTHER`] where there were too many.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Route)> {
        let other = self.other.iter().map(|route| (OTHER, &**route));
        self.routes.iter().map(|(name, route)| (name.as_str(), route)).chain(other)
    }

    /// The routes by their names as parts of metrics' names: all but ASCII letters, digits, `_` and `-` is `_`. Those
    /// whose names are the same that way are one, exactly.
    pub fn by_name(&self) -> BTreeMap<String, Cow<'_, Route>> {
        let mut by_name = BTreeMap::new();
        for (name, route) in self.named() {
            match by_name.entry(to_name_of(name, MAX_ROUTE).into_owned()) {
                Entry::Vacant(place) => _ = place.insert(Cow::Borrowed(route)),
                Entry::Occupied(mut same) => same.get_mut().to_mut().merge(route),
            }
        }
        by_name
    }

    /// How many there are, [`OTHER`] included.
    pub fn len(&self) -> usize {
        self.routes.len() + usize::from(self.other.is_some())
    }

    /// Whether there was no request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves at most `most` routes beside [`OTHER`], which the others become a part of.
    pub fn shorten(&mut self, most: usize) {
        while self.routes.len() > most
            && let Some((_, last)) = self.routes.pop_last()
        {
            self.other.get_or_insert_default().merge(&last);
        }
    }

    /// Lets `add` add to the route `name`. One that is there is found without copying its name: that is for every
    /// request.
    fn update(&mut self, name: &str, add: impl FnOnce(&mut Route)) {
        if let Some(route) = self.routes.get_mut(name) {
            return add(route);
        }
        let name = to_route(name);
        let is_behind = |(last, _): (&String, &Route)| **last < *name;
        if name == OTHER || self.routes.len() >= MAX_ROUTES && self.routes.last_key_value().is_some_and(is_behind) {
            return add(self.other.get_or_insert_default());
        }
        add(self.routes.entry(name.into_owned()).or_default());
        self.shorten(MAX_ROUTES);
    }
}

impl Route {
    /// How many requests there were.
    pub fn count(&self) -> u64 {
        self.duration.count()
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.duration.merge(&other.duration);
        for (status, count) in &other.statuses {
            *self.statuses.entry(to_status(*status)).or_default() += count;
        }
        self.errors += other.errors;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn record(&mut self, request: &Request<'_>) {
        self.duration.record(request.duration);
        *self.statuses.entry(to_status(request.status)).or_default() += 1;
        self.errors += u64::from(request.is_error);
        self.bytes = self.bytes.saturating_add(request.size.unwrap_or(0));
    }
}

/// [`Routes`] on disk, which may be more than are kept.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    routes: BTreeMap<String, Route>,
    other: Option<Box<Route>>,
}

impl From<Stored> for Routes {
    fn from(stored: Stored) -> Self {
        let mut routes = Self { routes: BTreeMap::new(), other: stored.other };
        stored.routes.iter().for_each(|(name, route)| routes.update(name, |sum| sum.merge(route)));
        routes
    }
}

/// `text` as a route that can be shown, and written by whatever escapes with backslashes.
fn to_route(text: &str) -> Cow<'_, str> {
    let text = if text.is_empty() { "_" } else { text };
    tidy(text, MAX_ROUTE, |c| !c.is_control() && c != '\\')
}

/// One of the 500 that an answer may have, or 0: a hostile server knows no others.
fn to_status(status: u16) -> u16 {
    if (100..=599).contains(&status) { status } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Tally;

    fn request(route: &str) -> Request<'_> {
        Request { route, duration: Duration::from_millis(1), status: 200, size: Some(10), is_error: false }
    }

    /// All that can be told of a route.
    fn told_of(route: &Route) -> String {
        let Route { duration, statuses, errors, bytes } = route;
        format!("{} {:?} {statuses:?} {errors} {bytes}", duration.count(), duration.quantiles())
    }

    /// All that can be told of routes.
    fn told(routes: &Routes) -> Vec<String> {
        routes.named().map(|(name, route)| format!("{name} {}", told_of(route))).collect()
    }

    fn names(routes: &Routes) -> Vec<(&str, u64)> {
        routes.named().map(|(name, route)| (name, route.count())).collect()
    }

    #[test]
    fn a_route_has_its_times_statuses_errors_and_bytes() {
        let mut routes = Routes::default();
        assert!(routes.is_empty());
        for (status, size, is_error) in [(200, Some(10), false), (200, None, false), (503, Some(u64::MAX), true)] {
            routes.record(&Request { status, size, is_error, ..request("GET http://h/") });
        }
        let (name, route) = routes.named().next().unwrap();
        assert_eq!((name, routes.len(), route.count()), ("GET http://h/", 1, 3));
        assert_eq!(route.statuses, BTreeMap::from([(200, 2), (503, 1)]));
        assert_eq!((route.errors, route.bytes), (1, u64::MAX));
    }

    #[test]
    fn what_is_no_status_is_no_answer() {
        let mut routes = Routes::default();
        for status in 0..=u16::MAX {
            routes.record(&Request { status, ..request("GET http://h/") });
        }
        let (_, route) = routes.named().next().unwrap();
        let of = |status| route.statuses.get(&status).copied();
        assert_eq!((route.statuses.len(), of(0)), (501, Some(65_536 - 500)));
        assert_eq!([99, 100, 599, 600].map(of), [None, Some(1), Some(1), None]);
        // Also of one that was made elsewhere.
        let mut sum = Route::default();
        sum.merge(&Route { statuses: (0..2000).map(|status| (status, 2)).collect(), ..Route::default() });
        assert_eq!((sum.statuses.len(), sum.statuses[&0]), (501, 3000));
    }

    #[test]
    fn names_of_routes_are_bounded_and_can_be_shown() {
        #[track_caller]
        fn check(route: &str, expect: &str) {
            let mut routes = Routes::default();
            routes.record(&request(route));
            routes.record(&request(route));
            assert_eq!(names(&routes), [(expect, 2)]);
        }
        check("GET https://h/a?b=c,d e", "GET https://h/a?b=c,d e");
        check("GET https://h/größe", "GET https://h/größe");
        check("", "_");
        check("a\n\u{1b}[31m\0\\b", "a__[31m__b");
        check(&"é".repeat(1000), &"é".repeat(MAX_ROUTE));
        check(OTHER, OTHER);
    }

    #[test]
    fn of_too_many_routes_the_first_stand_and_the_rest_is_other() {
        let mut all: Vec<_> = (0..80).flat_map(|number| vec![format!("GET http://h/{number:02}"); 3]).collect();
        let mut expect: Vec<_> = (0..MAX_ROUTES).map(|number| (format!("GET http://h/{number:02}"), 3)).collect();
        // All that is not theirs, and what calls itself so.
        expect.push((String::from(OTHER), 30 * 3 + 1));
        for _ in 0..10 {
            let mut routes = Routes::default();
            routes.record(&request(OTHER));
            all.iter().for_each(|route| routes.record(&request(route)));
            let names: Vec<_> = routes.named().map(|(name, route)| (name.to_owned(), route.count())).collect();
            assert_eq!(names, expect);
            assert!(routes.named().all(|(_, route)| route.bytes == route.count() * 10));
            assert_eq!(routes.len(), MAX_ROUTES + 1);
            fastrand::Rng::with_seed(3).shuffle(&mut all);
        }
    }

    #[test]
    fn more_routes_than_are_kept_are_read_as_if_they_had_been_recorded() {
        let mut stored = Routes::default();
        let mut recorded = Routes::default();
        for number in 0..60 {
            let name = format!("GET http://h/{number:02}\t");
            recorded.record(&request(&name));
            stored.routes.entry(name).or_default().record(&request(""));
        }
        let read: Routes = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(told(&read), told(&recorded));
        assert_eq!(serde_json::from_str::<Routes>("{}").unwrap().len(), 0);
    }

    #[test]
    fn however_they_are_split_merged_routes_are_those_recorded_together() {
        let mut random = fastrand::Rng::with_seed(6);
        for parts in 1..8 {
            let mut split = vec![Tally::default(); parts];
            let mut together = Routes::default();
            let mut routes = 0;
            for _ in 0..600 {
                let route = format!("GET http://h/{}", random.u32(0..70));
                let request = Request {
                    route: &route,
                    duration: Duration::from_nanos(random.u64(0..10_000_000_000)),
                    status: random.u16(0..700),
                    size: random.bool().then(|| random.u64(0..1_000_000)),
                    is_error: random.bool(),
                };
                split[random.usize(..parts)].routes.get_or_insert_default().record(&request);
                together.record(&request);
                routes += 1;
            }
            random.shuffle(&mut split);
            let mut merged = Tally::default();
            for part in split {
                // Through the disk, as each of them may have been.
                let stored = serde_json::to_string(&part).unwrap();
                merged.merge(&serde_json::from_str(&stored).unwrap());
            }
            let merged = merged.routes.unwrap();
            assert_eq!(told(&merged), told(&together), "{parts} parts");
            assert_eq!(merged.len(), MAX_ROUTES + 1);
            assert_eq!(merged.named().map(|(_, route)| route.count()).sum::<u64>(), routes);
        }
    }

    #[test]
    fn routes_that_get_the_same_name_are_one() {
        let mut routes = Routes::default();
        let all = ["GET http://h/a.b", "GET http://h/a-b", "GET http://h/a b", "GET http://h/a/b"];
        let mut same = Routes::default();
        for (number, route) in all.into_iter().enumerate() {
            let duration = Duration::from_millis(7 * number as u64);
            let request = Request { duration, status: 200 + number as u16, is_error: number == 2, ..request(route) };
            routes.record(&request);
            if number != 1 {
                same.record(&Request { route: "GET_http___h_a_b", ..request });
            }
        }
        let by_name = routes.by_name();
        assert_eq!(by_name.keys().collect::<Vec<_>>(), ["GET_http___h_a-b", "GET_http___h_a_b"]);
        assert_eq!(told_of(&by_name["GET_http___h_a_b"]), told_of(&same.routes["GET_http___h_a_b"]));
        assert_eq!(routes.len(), 4, "they are what they were");

        let (long, longer) = ("x".repeat(MAX_ROUTE), "x".repeat(MAX_ROUTE + 1));
        let mut routes = Routes::default();
        [long.as_str(), &longer, &long[1..], OTHER].iter().for_each(|route| routes.record(&request(route)));
        let counts: Vec<_> = routes.by_name().into_iter().map(|(name, route)| (name, route.count())).collect();
        assert_eq!(counts, [(OTHER.to_owned(), 1), (long[1..].to_owned(), 1), (long, 2)]);
    }

    #[test]
    fn what_is_shortened_becomes_other() {
        for most in [0, 3, 10, 100] {
            let mut routes = Routes::default();
            (0..10).for_each(|number| routes.record(&request(&format!("GET http://h/{number}"))));
            routes.shorten(most);
            let others = 10 - most.min(10);
            assert_eq!(routes.len(), most.min(10) + usize::from(others > 0));
            assert_eq!(routes.other.map_or(0, |other| other.count()), others as u64);
        }
    }
}
