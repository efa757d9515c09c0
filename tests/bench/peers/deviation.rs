//! How far arrivals are from even.
//!
//! The grid that they are held against is their own: evenly spaced at the rate that fits them best, and anchored at
//! their median. So a constant delay can't be seen (the due-to-send lag has it), nor that a tool sends at another
//! rate than it was asked for; that one is told beside it.
//!
//! A tool that spreads anew what it is late with, as canihaz does after a hold-up, goes on evenly, but on another
//! grid than before: over a whole run that counts against it ever after, within single seconds only once.

/// The share of arrivals, those nearest to a first grid, that decides where the grid lies: one stall tilts it
/// otherwise.
const DECIDE: f64 = 0.9;
/// The fewest arrivals that make a grid.
const FEWEST: usize = 3;
const SECOND_NS: u64 = 1_000_000_000;

/// How far arrivals are from a grid, either way, in microseconds.
#[derive(Debug)]
pub struct Deviation {
    /// Of half of them at most.
    pub p50_us: f64,
    /// Of 99 in 100 at most.
    pub p99_us: f64,
    /// Of all.
    pub max_us: f64,
}

impl Deviation {
    /// Of `arrivals`, in nanoseconds and in order, from one grid, and that grid's arrivals a second; `None` of fewer
    /// than three.
    pub fn of(arrivals: &[u64]) -> Option<(Self, f64)> {
        let (distances, period) = distances(arrivals)?;
        Some((Self::among(distances), 1e9 / period))
    }

    /// The same, but each second has a grid of its own.
    pub fn within_seconds(arrivals: &[u64]) -> Option<Self> {
        let first = *arrivals.first()?;
        let seconds = arrivals.chunk_by(|one, next| (one - first) / SECOND_NS == (next - first) / SECOND_NS);
        let all: Vec<f64> = seconds.filter_map(distances).flat_map(|(distances, _)| distances).collect();
        (!all.is_empty()).then(|| Self::among(all))
    }

    fn among(mut distances: Vec<f64>) -> Self {
        distances.sort_by(f64::total_cmp);
        let at = |share| quantile(&distances, share) / 1e3;
        Self { p50_us: at(0.5), p99_us: at(0.99), max_us: at(1.0) }
    }
}

/// How far each arrival is from the grid that fits them all best, and the grid's period, in nanoseconds.
fn distances(arrivals: &[u64]) -> Option<(Vec<f64>, f64)> {
    let first = *arrivals.first().filter(|_| arrivals.len() >= FEWEST)?;
    let points: Vec<(f64, f64)> =
        arrivals.iter().enumerate().map(|(at, arrival)| (at as f64, (arrival - first) as f64)).collect();
    let rough = period(&points);
    let far = residuals(&points, rough);
    let mut sorted = far.clone();
    sorted.sort_by(f64::total_cmp);
    let limit = quantile(&sorted, DECIDE);
    let near: Vec<(f64, f64)> =
        points.iter().zip(far).filter(|(_, far)| *far <= limit).map(|(point, _)| *point).collect();
    let period = period(&near);
    Some((residuals(&points, period), period))
}

/// The spacing that fits best, by least squares.
fn period(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (sum_at, sum_arrival) = points.iter().fold((0.0, 0.0), |(a, b), (at, arrival)| (a + at, b + arrival));
    let (mean_at, mean_arrival) = (sum_at / count, sum_arrival / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (at, arrival)| {
        (above + (at - mean_at) * (arrival - mean_arrival), below + (at - mean_at).powi(2))
    });
    above / below
}

/// How far each point is from a grid so spaced that goes through their median.
fn residuals(points: &[(f64, f64)], period: f64) -> Vec<f64> {
    let offsets: Vec<f64> = points.iter().map(|(at, arrival)| arrival - at * period).collect();
    let mut sorted = offsets.clone();
    sorted.sort_by(f64::total_cmp);
    let center = quantile(&sorted, 0.5);
    offsets.into_iter().map(|offset| (offset - center).abs()).collect()
}

/// The value at a share of what is sorted; 0 of nothing.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted.get((sorted.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default()
}
