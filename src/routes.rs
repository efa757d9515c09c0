//! The requests inside of hits, by route: what a compiled load test did in its journeys.
//!
//! A route is a method and a URL without what differs from request to request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::Latency;

/// The requests of an interval, by route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Routes {
    routes: BTreeMap<String, Route>,
}

/// The requests of one route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Route {
    /// How long they took, and how many there were.
    pub duration: Latency,
    /// How many had which status, 0 where there was no answer.
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
    pub fn record(&mut self, request: &Request<'_>) {
        let route = self.routes.entry(request.route.to_owned()).or_default();
        route.duration.record(request.duration);
        *route.statuses.entry(request.status).or_default() += 1;
        route.errors += u64::from(request.is_error);
        route.bytes = route.bytes.saturating_add(request.size.unwrap_or(0));
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        for (name, other) in &other.routes {
            let route = self.routes.entry(name.clone()).or_default();
            route.duration.merge(&other.duration);
            for (status, count) in &other.statuses {
                *route.statuses.entry(*status).or_default() += count;
            }
            route.errors += other.errors;
            route.bytes = route.bytes.saturating_add(other.bytes);
        }
    }

    /// The routes, in byte order of their names.
    pub fn named(&self) -> impl ExactSizeIterator<Item = (&str, &Route)> {
        self.routes.iter().map(|(name, route)| (name.as_str(), route))
    }
}
