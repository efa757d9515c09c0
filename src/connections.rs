//! The new connections of one test in one interval: how many there were, and how long their parts took.
//!
//! Most hits go over a connection that is there already: this is the cost of
//! those that don't. A part that no connection had (TLS, in the clear) takes no
//! memory, and a test that opens none has nothing of this at all.

use serde::{Deserialize, Serialize};

use crate::latency::Latency;
use crate::target::Phases;

/// New connections and their phases.
///
/// ```
/// use canihaz::{Outcome, Phases, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, Target};
/// struct Dialler;
///
/// impl Target for Dialler {
///     async fn hit(&self, _number: u64) -> Outcome {
///         let phases = Phases { connect: Some(Duration::from_millis(3)), ..Phases::default() };
///         Outcome { phases: Some(phases.into()), ..Outcome::default() }
///     }
/// }
///
/// let tally = Worker::hire("dialler", Dialler).work(Rate::per_second(20), Duration::from_millis(100)).await?;
/// let connections = tally.connections.expect("there were some");
/// assert_eq!(connections.opened, 2);
/// assert_eq!(connections.connect.expect("it was timed").max(), Duration::from_millis(3));
/// assert!(connections.tls.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Connections {
    /// Connections that were opened, whatever became of them then. (One that failed before has phases, too.)
    pub opened: u64,
    /// Looking up the name; `None` where no connection had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Latency>,
    /// Until the connection was there, over all the addresses that were tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Latency>,
    /// Agreeing on TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Latency>,
    /// From the first byte sent to the first one of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Latency>,
}

impl Connections {
    /// Counts a connection.
    pub fn record(&mut self, phases: &Phases) {
        let Phases { dns, connect, tls, first_byte } = *phases;
        self.opened += u64::from(connect.is_some());
        for (sum, time) in self.parts().into_iter().zip([dns, connect, tls, first_byte]) {
            if let Some(time) = time {
                sum.get_or_insert_default().record(time);
            }
        }
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        let Self { dns, connect, tls, first_byte, .. } = other;
        for (sum, part) in self.parts().into_iter().zip([dns, connect, tls, first_byte]) {
            if let Some(part) = part {
                sum.get_or_insert_default().merge(part);
            }
        }
    }

    /// The phases that there were, with their names, in order of time.
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let Self { dns, connect, tls, first_byte, .. } = self;
        let named = [("dns", dns), ("connect", connect), ("tls", tls), ("first_byte", first_byte)];
        named.into_iter().filter_map(|(name, phase)| Some((name, phase.as_ref()?)))
    }

    fn parts(&mut self) -> [&mut Option<Latency>; 4] {
        [&mut self.dns, &mut self.connect, &mut self.tls, &mut self.first_byte]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// All that can be told of connections: their number, and of each phase its name, count and quantiles.
    fn told(connections: &Connections) -> String {
        let phases: Vec<_> =
            connections.phases().map(|(name, times)| (name, times.count(), times.quantiles())).collect();
        format!("{} {phases:?}", connections.opened)
    }

    fn phases(random: &mut fastrand::Rng) -> Phases {
        let mut time = || random.bool().then(|| Duration::from_nanos(random.u64(0..10_000_000_000)));
        Phases { dns: time(), connect: time(), tls: time(), first_byte: time() }
    }

    #[test]
    fn only_phases_that_there_were_are_kept() {
        #[track_caller]
        fn check(phases: Phases, expect: &[&str]) {
            let mut connections = Connections::default();
            connections.record(&phases);
            assert_eq!(connections.opened, u64::from(phases.connect.is_some()), "refused ones are none");
            let names: Vec<_> = connections.phases().map(|(name, _)| name).collect();
            assert_eq!(names, expect);
            assert!(connections.phases().all(|(_, times)| times.count() == 1));
        }
        let time = Some(Duration::from_millis(1));
        check(Phases::default(), &[]);
        check(Phases { dns: time, ..Phases::default() }, &["dns"]);
        check(Phases { connect: time, first_byte: time, ..Phases::default() }, &["connect", "first_byte"]);
        check(
            Phases { dns: time, connect: time, tls: time, first_byte: time },
            &["dns", "connect", "tls", "first_byte"],
        );
    }

    #[test]
    fn however_they_are_split_merged_connections_are_those_recorded_together() {
        let mut random = fastrand::Rng::with_seed(4);
        for parts in 1..8 {
            let mut split = vec![Connections::default(); parts];
            let mut together = Connections::default();
            for _ in 0..200 {
                let phases = phases(&mut random);
                split[random.usize(..parts)].record(&phases);
                together.record(&phases);
            }
            random.shuffle(&mut split);
            let mut merged = Connections::default();
            for part in split {
                // Through the disk, as each of them may have been.
                let stored = serde_json::to_string(&part).unwrap();
                merged.merge(&serde_json::from_str(&stored).unwrap());
            }
            assert_eq!(told(&merged), told(&together), "{parts} parts");
        }
    }
}
