//! When hits arrived: how many in each part of a span, and the most in any window.

/// How many of `seconds` lie in each of `parts` equal parts of the span from `from` to `to`.
pub fn in_parts(seconds: &[f64], from: f64, to: f64, parts: usize) -> Vec<usize> {
    let mut counts = vec![0; parts];
    for second in seconds {
        let part = (second - from) / (to - from) * parts as f64;
        counts[(part.max(0.0) as usize).min(parts - 1)] += 1;
    }
    counts
}

/// Expects that `seconds` fill the span from the first of them to `to` evenly: each of `parts` has its share, ± 2.
#[track_caller]
pub fn expect_even(seconds: &[f64], to: f64, parts: usize) {
    let first = earliest(seconds);
    let counts = in_parts(seconds, first, to, parts);
    let share = seconds.len() / parts;
    assert!(
        counts.iter().all(|count| count.abs_diff(share) <= 2),
        "{counts:?} between {first:.3} and {to}, where each should be {share} ± 2"
    );
}

/// The most of `seconds` in any window of `width` seconds.
pub fn most_within(seconds: &[f64], width: f64) -> usize {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut first = 0;
    let mut most = 0;
    for (last, second) in sorted.iter().enumerate() {
        while sorted[first] <= second - width {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// The earliest of `seconds`.
#[track_caller]
pub fn earliest(seconds: &[f64]) -> f64 {
    seconds.iter().copied().min_by(f64::total_cmp).expect("something arrived")
}

/// The latest of `seconds`.
#[track_caller]
pub fn latest(seconds: &[f64]) -> f64 {
    seconds.iter().copied().max_by(f64::total_cmp).expect("something arrived")
}
