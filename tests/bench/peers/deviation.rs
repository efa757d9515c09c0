//! How far arrivals are from even.
//!
//! The grid that they are held against is their own: evenly spaced at the rate that fits them best, and anchored at
//! their median. So a constant delay can't be seen (the due-to-send lag has it), nor that a tool sends at another
//! rate than it was asked for; that one is told beside it.

/// The share of arrivals, those nearest to a first grid, that decides where the grid lies: one stall tilts it
/// otherwise.
const DECIDE: f64 = 0.9;

/// How far arrivals are from a grid, either way, in microseconds.
#[derive(Debug)]
pub struct Deviation {
    /// Of half of them at most.
    pub p50_us: f64,
    /// Of 99 in 100 at most.
    pub p99_us: f64,
    /// Of all.
    pub max_us: f64,
    /// Arrivals a second of the grid that fits best.
    pub rate: f64,
}

impl Deviation {
    /// Of `arrivals`, in nanoseconds and in order; `None` of fewer than three.
    pub fn of(arrivals: &[u64]) -> Option<Self> {
        let first = *arrivals.first().filter(|_| arrivals.len() > 2)?;
        let points: Vec<(f64, f64)> =
            arrivals.iter().enumerate().map(|(at, arrival)| (at as f64, (arrival - first) as f64)).collect();
        let rough = period(&points);
        let (center, distances) = residuals(&points, rough);
        let limit = quantile(&distances, DECIDE);
        let near: Vec<(f64, f64)> =
            points.iter().copied().filter(|(at, arrival)| (arrival - at * rough - center).abs() <= limit).collect();
        let period = period(&near);
        let (_, distances) = residuals(&points, period);
        let at = |share| quantile(&distances, share) / 1e3;
        Some(Self { p50_us: at(0.5), p99_us: at(0.99), max_us: at(1.0), rate: 1e9 / period })
    }
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

/// The median offset from a grid so spaced, and how far all are from that, sorted.
fn residuals(points: &[(f64, f64)], period: f64) -> (f64, Vec<f64>) {
    let mut offsets: Vec<f64> = points.iter().map(|(at, arrival)| arrival - at * period).collect();
    offsets.sort_by(f64::total_cmp);
    let center = quantile(&offsets, 0.5);
    let mut distances: Vec<f64> = offsets.iter().map(|offset| (offset - center).abs()).collect();
    distances.sort_by(f64::total_cmp);
    (center, distances)
}

/// The value at a share of what is sorted; 0 of nothing.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted.get((sorted.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default()
}
