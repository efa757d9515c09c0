//! Whose turn it is: which of several requests a hit sends, by the hit's number.
//!
//! Each request has its weight's share of the hits, and has it all along: after
//! any number of hits, each has been sent within less than one of its share.
//! Weights of 3 and 1 make A A B A, over and over. The order is put together
//! once; threads that have the hits of a test in turn need not speak of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The most requests of a type.
pub const MAX_REQUESTS: usize = 100;
/// The largest weight of one.
pub const MAX_WEIGHT: u16 = 1000;

/// An order of requests that is gone through again and again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turns(Vec<u8>);

impl Turns {
    /// The order of as many requests as there are weights, at most 100, each at least 1.
    pub fn new(weights: &[u16]) -> Self {
        debug_assert!(weights.len() <= MAX_REQUESTS && !weights.contains(&0));
        let divisor = weights.iter().copied().reduce(gcd).unwrap_or(1).max(1);
        let weights: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
        let cycle: u64 = weights.iter().sum();
        // A request's next turn may not come before its share of the turns so far has reached what it has had, and must
        // have come when that has grown by one. Whoever must come first comes first, and that always works out.
        let from = |request: usize, had: u64| had * cycle / weights[request];
        let until = |request: usize, had: u64| ((had + 1) * cycle).div_ceil(weights[request]);
        let mut waiting: BinaryHeap<_> = (0..weights.len()).map(|request| Reverse((0, request, 0))).collect();
        let mut ready = BinaryHeap::new();
        let mut turns = Vec::new();
        for turn in 0..cycle {
            while let Some(&Reverse((since, request, had))) = waiting.peek().filter(|next| next.0.0 <= turn) {
                waiting.pop();
                ready.push(Reverse((until(request, had), since, request, had)));
            }
            let Some(Reverse((_, _, request, had))) = ready.pop() else { break };
            turns.push(u8::try_from(request).unwrap_or(u8::MAX));
            waiting.push(Reverse((from(request, had + 1), request, had + 1)));
        }
        Self(turns)
    }

    /// Which request the hit of this number sends, counted from 0.
    pub fn at(&self, number: u64) -> usize {
        match self.0.as_slice() {
            [] | [_] => 0,
            turns => turns[(number % turns.len() as u64) as usize].into(),
        }
    }
}

const fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_evenly() {
        #[track_caller]
        fn check(weights: &[u16], expect: &str) {
            let turns = Turns::new(weights);
            let letters: String = (0..12).map(|number| char::from(b'A' + turns.at(number) as u8)).collect();
            assert_eq!(letters, expect, "{weights:?}");
        }
        check(&[1], "AAAAAAAAAAAA");
        check(&[7], "AAAAAAAAAAAA");
        check(&[1, 1], "ABABABABABAB");
        check(&[3, 1], "AABAAABAAABA");
        check(&[1, 3], "BBABBBABBBAB");
        check(&[750, 250], "AABAAABAAABA");
        check(&[3, 1, 1], "AABCAAABCAAA");
        check(&[1, 2, 3], "CBCABCCBCABC");
    }

    #[test]
    fn after_any_number_of_hits_each_has_had_its_share_within_less_than_one() {
        #[track_caller]
        fn check(weights: &[u16]) {
            let turns = Turns::new(weights);
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let mut had = vec![0; weights.len()];
            let mut last = vec![None; weights.len()];
            for number in 0..2 * sum {
                let request = turns.at(number);
                had[request] += 1;
                let weight = u64::from(weights[request]);
                if let Some(last) = last[request].replace(number) {
                    assert!(number - last < 2 * sum.div_ceil(weight), "{weights:?}: {request} waits since {last}");
                }
                for (had, weight) in had.iter().zip(weights) {
                    // In parts of a hit, of which the sum of the weights makes one.
                    assert!((had * sum).abs_diff((number + 1) * u64::from(*weight)) < sum, "{weights:?} at {number}");
                }
            }
            let exact: Vec<_> = weights.iter().map(|weight| 2 * u64::from(*weight)).collect();
            assert_eq!(had, exact, "{weights:?}");
        }
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..300 {
            let requests = random.usize(1..=9);
            let most = [3, 10, 100][random.usize(0..3)];
            check(&std::iter::repeat_with(|| random.u16(1..=most)).take(requests).collect::<Vec<_>>());
        }
        check(&[1000, 1]);
        check(&[1; 100]);
    }

    #[test]
    fn the_longest_order_is_bounded() {
        let weights: Vec<u16> = (0..MAX_REQUESTS as u16).map(|number| MAX_WEIGHT - number).collect();
        assert!(Turns::new(&weights).0.len() <= MAX_REQUESTS * usize::from(MAX_WEIGHT));
    }
}
