//! How long hits that catch-up has moved had already waited, without a list of hits.
//!
//! When `overtime` hits are stuck for two seconds at 1,000 a second, 2,000 hits
//! become due meanwhile; the first has waited 2 s, the last nothing, the ones
//! between on a straight line. So a backlog is a few straight pieces over hit
//! numbers, whatever the number of hits: the first start after the stall takes
//! 2 s from it, the next 1.999 s, and so on.

use std::collections::VecDeque;
use std::time::Duration;

/// The most straight pieces; past it the last two become one, which only
/// happens when stalls follow each other faster than hits.
const MAX_PIECES: usize = 64;

/// What the hits from the next one on have waited already; zero for those it does not reach.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    pieces: VecDeque<Piece>,
}

/// `hits` neighbours, the first of which has waited `first_ns`, each further one `step_ns` less.
#[derive(Clone, Copy, Debug)]
struct Piece {
    hits: u64,
    first_ns: f64,
    step_ns: f64,
}

impl Piece {
    fn at(&self, hit: u64) -> f64 {
        self.first_ns - self.step_ns * hit as f64
    }
}

impl Backlog {
    /// The next hit has waited `first` (again), the `hits - 1` behind it less
    /// and less, down to `last`; on top of what they had waited before.
    pub fn add(&mut self, hits: u64, first: Duration, last: Duration) {
        if hits == 0 {
            return;
        }
        let (first_ns, last_ns) = (first.as_nanos() as f64, last.as_nanos() as f64);
        let step_ns = (first_ns - last_ns) / hits.saturating_sub(1).max(1) as f64;
        let added = Piece { hits, first_ns, step_ns };
        self.split(hits);
        let mut from = 0;
        for piece in &mut self.pieces {
            if from >= hits {
                break;
            }
            piece.first_ns += added.at(from);
            piece.step_ns += added.step_ns;
            from += piece.hits;
        }
        if from < hits {
            self.pieces.push_back(Piece { hits: hits - from, first_ns: added.at(from), step_ns: added.step_ns });
        }
        while self.pieces.len() > MAX_PIECES {
            self.join_last_two();
        }
    }

    /// What the next hit has waited; it is no longer in the backlog then.
    pub fn pop(&mut self) -> Duration {
        let Some(piece) = self.pieces.front_mut() else {
            return Duration::ZERO;
        };
        let waited = Duration::from_nanos(piece.first_ns.max(0.0) as u64);
        *piece = Piece { hits: piece.hits - 1, first_ns: piece.at(1), ..*piece };
        if piece.hits == 0 {
            self.pieces.pop_front();
        }
        waited
    }

    /// Makes `hit`, counted from the next one, the first of a piece, if any piece reaches over it.
    fn split(&mut self, hit: u64) {
        let mut from = 0;
        for index in 0..self.pieces.len() {
            let piece = self.pieces[index];
            if from < hit && hit < from + piece.hits {
                let head = hit - from;
                self.pieces[index].hits = head;
                self.pieces.insert(index + 1, Piece { hits: piece.hits - head, first_ns: piece.at(head), ..piece });
                return;
            }
            from += piece.hits;
        }
    }

    fn join_last_two(&mut self) {
        if let (Some(last), Some(before)) = (self.pieces.pop_back(), self.pieces.pop_back()) {
            let hits = before.hits + last.hits;
            let step_ns = (before.first_ns - last.at(last.hits)) / hits as f64;
            self.pieces.push_back(Piece { hits, first_ns: before.first_ns, step_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_say_the_same_as_a_list_of_hits() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let (mut backlog, mut list) = (Backlog::default(), VecDeque::<f64>::new());
            for _ in 0..50 {
                if random.bool() {
                    let hits = random.u64(1..40);
                    let first = random.u64(0..2_000_000_000);
                    let last = if hits == 1 { first } else { random.u64(0..=first) };
                    backlog.add(hits, Duration::from_nanos(first), Duration::from_nanos(last));
                    let step = (first - last) as f64 / (hits - 1).max(1) as f64;
                    for hit in 0..hits {
                        if list.len() as u64 <= hit {
                            list.push_back(0.0);
                        }
                        list[hit as usize] += first as f64 - step * hit as f64;
                    }
                } else {
                    let expect = list.pop_front().unwrap_or(0.0);
                    let waited = backlog.pop().as_nanos() as f64;
                    assert!((waited - expect).abs() < 10.0, "{waited} instead of {expect}");
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_pieces_not_by_hits() {
        let mut backlog = Backlog::default();
        for hits in (1..10_000).rev() {
            backlog.add(hits, Duration::from_secs(1), Duration::ZERO);
        }
        assert!(backlog.pieces.len() <= MAX_PIECES);
    }
}
