//! A distribution of times: an HdrHistogram with the same bounds everywhere, so
//! that any two merge exactly, and the true sum and maximum beside it.
//!
//! The counters up to an hour would take 220 KiB; only those up to the longest
//! time seen are kept, 16 KiB for up to 0.1 ms and 8 more each time that doubles.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The shortest time that is told from a shorter one, in ns.
pub const LOWEST_NS: u64 = 100;
/// The longest time that is told from a longer one, in ns: one hour.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of every quantile.
pub const DIGITS: u8 = 3;

/// Times of hits, from 100 ns to 1 h at 3 significant digits.
///
/// Memory is bounded whatever is recorded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_ns: u64,
    max_ns: u64,
    clipped: u64,
}

/// What a summary shows of a [`Latency`], in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The exact mean.
    pub mean: f64,
    /// Half of the hits took at most this.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The exact maximum.
    pub max: f64,
}

impl Quantiles {
    /// Each with its name, in the order of the table in the docs.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("mean", self.mean),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p999", self.p999),
            ("max", self.max),
        ]
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { histogram: histogram(), sum_ns: 0, max_ns: 0, clipped: 0 }
    }
}

impl Latency {
    /// Records one time; one over an hour is counted as an hour in the
    /// quantiles, exactly in mean and maximum, and as [clipped](Self::clipped).
    pub fn record(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.clipped += u64::from(ns > HIGHEST_NS);
        self.histogram.record(ns.min(HIGHEST_NS)).expect("it grows up to the bound");
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("it grows up to the bound, which both have");
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.clipped += other.clipped;
    }

    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many of them were longer than an hour.
    pub fn clipped(&self) -> u64 {
        self.clipped
    }

    /// The time that the share `quantile` (0.0 to 1.0) of the hits did not
    /// exceed, never above the maximum; zero when there are none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(quantile).min(self.max_ns))
    }

    /// The exact mean; zero when there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.checked_div(self.count()).unwrap_or(0))
    }

    /// The exact maximum; zero when there are none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// What a summary shows; `None` when nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let quantile = |q| self.quantile(q).as_secs_f64();
        (self.count() > 0).then(|| Quantiles {
            mean: self.mean().as_secs_f64(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: self.max().as_secs_f64(),
        })
    }
}

/// A [`Latency`] on disk: the histogram in HdrHistogram's own V2 format, deflated, in base64.
#[derive(Deserialize, Serialize)]
struct Stored {
    histogram: String,
    sum_ns: u64,
    max_ns: u64,
    #[serde(default)]
    clipped: u64,
}

impl From<Latency> for Stored {
    fn from(latency: Latency) -> Self {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&latency.histogram, &mut bytes)
            .expect("a Vec takes whatever is written to it");
        Self {
            histogram: BASE64.encode(bytes),
            sum_ns: latency.sum_ns,
            max_ns: latency.max_ns,
            clipped: latency.clipped,
        }
    }
}

impl TryFrom<Stored> for Latency {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let bytes = BASE64.decode(&stored.histogram).map_err(|error| error.to_string())?;
        let read: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())?;
        // Into the bounds that everything else has, whatever the file says of its own.
        if read.max() > HIGHEST_NS * 2 {
            return Err(String::from("a time of over two hours where one hour is the most"));
        }
        let mut histogram = histogram();
        histogram.add(&read).map_err(|error| error.to_string())?;
        Ok(Self { histogram, sum_ns: stored.sum_ns, max_ns: stored.max_ns, clipped: stored.clipped })
    }
}

/// An empty histogram that grows as longer times come; what is recorded bounds it at [`HIGHEST_NS`].
fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(LOWEST_NS, 2 * LOWEST_NS, DIGITS)
        .expect("the bounds are constants within the format's");
    histogram.auto(true);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth_or_100_ns_of_exact_sorted_samples() {
        #[track_caller]
        fn check(name: &str, mut sample_ns: impl FnMut(&mut fastrand::Rng) -> f64) {
            for count in [1, 2, 999, 50_000] {
                let mut random = fastrand::Rng::with_seed(7);
                let mut latency = Latency::default();
                let mut samples: Vec<u64> = (0..count).map(|_| sample_ns(&mut random) as u64).collect();
                samples.iter().for_each(|ns| latency.record(Duration::from_nanos(*ns)));
                samples.sort_unstable();
                for quantile in [0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
                    let rank = ((quantile * count as f64).ceil() as usize).clamp(1, count);
                    let exact = samples[rank - 1] as f64;
                    let ours = latency.quantile(quantile).as_nanos() as f64;
                    let off = (ours - exact).abs();
                    assert!(off <= (exact * 0.001).max(100.0), "{name}, {quantile} of {count}: {ours} for {exact}");
                }
                assert_eq!(latency.max(), Duration::from_nanos(samples[count - 1]), "{name}");
                let mean = samples.iter().sum::<u64>() / count as u64;
                assert_eq!(latency.mean(), Duration::from_nanos(mean), "{name}");
            }
        }
        check("constant", |_| 1_234_567.0);
        check("nothing", |_| 0.0);
        check("uniform", |random| random.f64() * 1e9);
        check("over all magnitudes", |random| 200.0 * 1e7_f64.powf(random.f64()));
        check("exponential", |random| -5e6 * (1.0 - random.f64()).ln());
        check("quick, with stalls", |random| match random.u8(0..100) {
            0 => random.f64() * 2e9,
            _ => 9e4 + random.f64() * 2e4,
        });
        check("two values", |random| if random.bool() { 1e5 } else { 1e9 });
        check("at the lower bound", |random| random.f64() * 300.0);
        check("at the upper bound", |random| HIGHEST_NS as f64 * (1.0 - random.f64() * 0.01));
    }

    #[test]
    fn merged_is_the_same_as_recorded_together_also_through_the_disk() {
        let (mut left, mut right, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for ms in 1..1000 {
            if ms % 3 == 0 { &mut left } else { &mut right }.record(Duration::from_millis(ms));
            both.record(Duration::from_millis(ms));
        }
        let stored = serde_json::to_string(&right).expect("it serializes");
        left.merge(&serde_json::from_str(&stored).expect("it reads what it wrote"));
        assert_eq!(left.histogram, both.histogram);
        assert_eq!(left.quantiles(), both.quantiles());
    }

    #[test]
    fn more_than_an_hour_is_clipped_and_counted() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(7200));
        assert_eq!((latency.count(), latency.clipped()), (1, 1));
        assert_eq!(latency.max(), Duration::from_secs(7200));
        assert!(latency.quantile(0.5) >= Duration::from_secs(3600));
    }

    #[test]
    fn torn_histograms_are_refused() {
        for text in ["", "AAAA", "%%%"] {
            let stored = format!(r#"{{"histogram":"{text}","sum_ns":1,"max_ns":1}}"#);
            assert!(serde_json::from_str::<Latency>(&stored).is_err(), "{text}");
        }
    }
}
