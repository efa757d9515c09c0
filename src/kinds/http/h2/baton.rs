//! Who drives a connection next: one of the hits that are on it, as no task does.
//!
//! The connection wakes the baton, and that the hit which has been there
//! longest: its answer is the likeliest to have come. Whoever is polled while
//! the baton is up takes it and drives. One that leaves instead hands it on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Up while the connection has something to do. (Shared between threads only as far as wakers have to be.)
#[derive(Debug, Default)]
pub struct Baton(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    is_up: bool,
    /// The hits on the connection, in the order in which they came.
    hits: BTreeMap<u64, Waker>,
}

impl Baton {
    /// A hit comes that is polled with this waker; true when it has to see to what there is to do, as nobody else is there.
    pub fn enroll(&self, hit: u64, waker: &Waker) -> bool {
        let mut held = self.held();
        let is_first = held.hits.is_empty();
        let before = held.hits.insert(hit, waker.clone());
        let is_its = is_first && held.is_up;
        drop(held);
        drop(before);
        is_its
    }

    /// A hit is polled with this waker; true when the connection is its to drive.
    pub fn attend(&self, hit: u64, waker: &Waker) -> bool {
        let mut held = self.held();
        let is_known = held.hits.get(&hit).is_some_and(|known| known.will_wake(waker));
        let before = if is_known { None } else { held.hits.insert(hit, waker.clone()) };
        let is_up = std::mem::take(&mut held.is_up);
        // What a waker does when it is dropped is somebody else's affair.
        drop(held);
        drop(before);
        is_up
    }

    /// A hit leaves; true when there is something to do, and nobody left to do it.
    pub fn leave(&self, hit: u64) -> bool {
        let mut held = self.held();
        let gone = held.hits.remove(&hit);
        if !held.is_up {
            return false;
        }
        let next = held.hits.first_key_value().map(|(_, waker)| waker.clone());
        held.is_up = next.is_some();
        drop(held);
        drop(gone);
        match next {
            Some(waker) => waker.wake(),
            None => return true,
        }
        false
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Baton {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut held = self.held();
        // Where it is up already, somebody has been woken who drives, or hands it on.
        let was_up = std::mem::replace(&mut held.is_up, true);
        let waker = if was_up { None } else { held.hits.first_key_value().map(|(_, waker)| waker.clone()) };
        drop(held);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    #[test]
    fn somebody_always_has_it() {
        let (baton, [one, two]) = (Arc::new(Baton::default()), [0; 2].map(|_| Arc::new(Count::default())));
        let [first, second] = [&one, &two].map(|count| Waker::from(Arc::clone(count)));
        let woken = || (one.take(), two.take());

        // With nobody there it waits for whoever comes.
        baton.wake_by_ref();
        assert!(baton.enroll(1, &first) && baton.attend(1, &first));
        assert!(!baton.attend(1, &first) && !baton.enroll(2, &second));
        assert_eq!(woken(), (0, 0));

        // The one that came first is woken, once, and has it; another that is polled before takes it.
        baton.wake_by_ref();
        baton.wake_by_ref();
        assert_eq!(woken(), (1, 0));
        assert!(!baton.enroll(3, &second), "somebody was woken");
        assert!(!baton.leave(3));
        assert_eq!(woken(), (1, 0));
        baton.wake_by_ref();
        assert!(baton.attend(2, &second));
        assert!(!baton.attend(1, &first));

        // Who leaves hands it on; the last to leave has to look after it.
        baton.wake_by_ref();
        assert!(!baton.leave(1));
        assert_eq!(woken(), (1, 1));
        assert!(baton.leave(2));
        assert!(!baton.attend(3, &first), "it was looked after");
        assert!(!baton.leave(3), "there is nothing to do");
    }
}
