//! The addresses of a name, looked up anew when they are too old.
//!
//! The system looks names up, in a thread of its own; that may take longer than
//! any hit, and can't be broken off. So there is one look-up of a name at a
//! time, which goes on when the hit that began it is over, and whoever needs
//! the name meanwhile waits for that one.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::task::spawn_blocking;

use crate::target::{Failure, Reason};

/// Looks a name and port up, as long as that takes.
pub type LookUp = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A name and port, and what is known of them.
pub struct Names {
    name: Arc<str>,
    port: u16,
    ttl: Duration,
    look_up: LookUp,
    state: RefCell<State>,
}

/// Addresses, and whether they were looked up for whoever asked.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// At least one.
    pub all: Arc<[SocketAddr]>,
    /// Whether that took a look-up.
    pub looked_up: bool,
}

#[derive(Default)]
struct State {
    known: Option<Found>,
    asking: Option<Shared<Pin<Box<dyn Future<Output = Found>>>>>,
}

/// What came of a look-up, and when.
#[derive(Clone)]
struct Found {
    addresses: Result<Arc<[SocketAddr]>, Failure>,
    at: Instant,
}

impl Names {
    /// Knows nothing yet of `name`. What is found is used for as long as `ttl`.
    pub fn new(name: &str, port: u16, ttl: Duration) -> Self {
        Self::with(name, port, ttl, Arc::new(|name, port| Ok((name, port).to_socket_addrs()?.collect())))
    }

    /// The same, with another way to look names up than the system's.
    pub fn with(name: &str, port: u16, ttl: Duration, look_up: LookUp) -> Self {
        Self { name: name.into(), port, ttl, look_up, state: RefCell::default() }
    }

    /// The name's addresses. When they have become too old and it can't be looked up any more, they are not used
    /// either: nobody else would get there.
    ///
    /// # Errors
    /// For `dns`.
    pub async fn addresses(&self) -> Result<Addresses, Failure> {
        let since = Instant::now();
        loop {
            if let Some(all) = self.known() {
                return Ok(Addresses { all, looked_up: false });
            }
            let asking = self.state.borrow_mut().asking.get_or_insert_with(|| self.ask()).clone();
            let found = asking.clone().await;
            let mut state = self.state.borrow_mut();
            if state.asking.as_ref().is_some_and(|other| other.ptr_eq(&asking)) {
                state.asking = None;
                state.known = Some(found.clone());
            }
            // A look-up for which nobody has waited may have ended long ago: then it is as old as that.
            if found.at >= since {
                return found.addresses.map(|all| Addresses { all, looked_up: true });
            }
        }
    }

    /// What is known and not too old.
    fn known(&self) -> Option<Arc<[SocketAddr]>> {
        let state = self.state.borrow();
        let known = state.known.as_ref().filter(|known| known.at.elapsed() < self.ttl)?;
        known.addresses.as_ref().ok().cloned()
    }

    fn ask(&self) -> Shared<Pin<Box<dyn Future<Output = Found>>>> {
        let (name, port, look_up) = (Arc::clone(&self.name), self.port, Arc::clone(&self.look_up));
        let asked = spawn_blocking(move || {
            let failed = |what: &dyn fmt::Display| Failure::new(Reason::Dns, format_args!("{name}: {what}"));
            let looked_up = look_up(&name, port).map_err(|error| failed(&error));
            let addresses = looked_up.and_then(|addresses| match addresses.is_empty() {
                true => Err(failed(&"no address")),
                false => Ok(addresses.into()),
            });
            Found { addresses, at: Instant::now() }
        });
        let broken = |error| Found { addresses: Err(Failure::new(Reason::Dns, error)), at: Instant::now() };
        let asked: Pin<Box<dyn Future<Output = Found>>> =
            Box::pin(asked.map(move |found| found.unwrap_or_else(broken)));
        asked.shared()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Poll;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Looks names up when it is told what to say; each look-up that begins is counted.
    struct Slow {
        answers: Sender<Result<u8, ()>>,
        begun: Arc<AtomicUsize>,
        ended: Receiver<()>,
    }

    fn slow(ttl: Duration) -> (Names, Slow) {
        let (answers, told) = channel();
        let (end, ended) = channel();
        let (told, begun) = (Mutex::new(told), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&begun);
        let look_up = move |name: &str, port| {
            assert_eq!(name, "host");
            count.fetch_add(1, Ordering::SeqCst);
            let told: Result<u8, ()> = told.lock().unwrap().recv().unwrap();
            end.send(()).unwrap();
            told.map(|last| vec![SocketAddr::from(([10, 0, 0, last], port))]).map_err(|()| io::Error::other("unknown"))
        };
        (Names::with("host", 80, ttl, Arc::new(look_up)), Slow { answers, begun, ended })
    }

    fn address(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([10, 0, 0, last], 80))]
    }

    async fn found(names: &Names) -> Result<(Vec<SocketAddr>, bool), Reason> {
        let addresses = names.addresses().await.map_err(|failure| failure.reason)?;
        Ok((addresses.all.to_vec(), addresses.looked_up))
    }

    /// As if all that is known were found so long before.
    fn age(names: &Names, by: Duration) {
        let mut state = names.state.borrow_mut();
        let known = state.known.as_mut().unwrap();
        known.at = known.at.checked_sub(by).unwrap();
    }

    #[tokio::test]
    async fn a_name_is_looked_up_anew_when_its_addresses_are_too_old() {
        let ttl = Duration::from_secs(30);
        let (names, slow) = slow(ttl);
        for last in [1, 2] {
            slow.answers.send(Ok(last)).unwrap();
            assert_eq!(found(&names).await, Ok((address(last), true)));
            assert_eq!(found(&names).await, Ok((address(last), false)));
            age(&names, ttl / 2);
            assert_eq!(found(&names).await, Ok((address(last), false)));
            age(&names, ttl / 2);
        }
        assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn without_a_ttl_each_connection_has_its_look_up() {
        let (names, slow) = slow(Duration::ZERO);
        for last in [1, 2, 3] {
            slow.answers.send(Ok(last)).unwrap();
            assert_eq!(found(&names).await, Ok((address(last), true)));
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_any_more_leads_nowhere() {
        let (names, slow) = slow(HOUR);
        slow.answers.send(Ok(1)).unwrap();
        assert_eq!(found(&names).await, Ok((address(1), true)));
        age(&names, HOUR);
        for answer in [Err(()), Err(())] {
            slow.answers.send(answer).unwrap();
            assert_eq!(found(&names).await, Err(Reason::Dns));
        }
        slow.answers.send(Ok(2)).unwrap();
        assert_eq!(found(&names).await, Ok((address(2), true)));
        let none = Names::with("host", 80, HOUR, Arc::new(|_, _| Ok(Vec::new())));
        assert_eq!(found(&none).await, Err(Reason::Dns));
    }

    /// Begins to wait for addresses, and gives up.
    async fn give_up(names: &Names) {
        let mut asking = pin!(names.addresses());
        let is_pending = poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending);
    }

    #[tokio::test]
    async fn there_is_one_look_up_at_a_time_whoever_waits_for_it() {
        let (names, slow) = slow(HOUR);
        for _ in 0..100 {
            give_up(&names).await;
        }
        let waiting = futures_util::future::join_all((0..100).map(|_| found(&names)));
        slow.answers.send(Ok(1)).unwrap();
        for found in waiting.await {
            assert_eq!(found.unwrap().0, address(1));
        }
        assert_eq!(slow.begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_was_found_when_nobody_waited_counts_from_then() {
        // Good still.
        let (names, slow) = slow(HOUR);
        give_up(&names).await;
        slow.answers.send(Ok(1)).unwrap();
        slow.ended.recv().unwrap();
        while names.state.borrow().asking.as_ref().is_some_and(|asking| asking.clone().now_or_never().is_none()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(found(&names).await, Ok((address(1), false)));
        assert_eq!(slow.begun.load(Ordering::SeqCst), 1);

        // A failure that was before this hit isn't its own.
        let (names, slow) = self::slow(HOUR);
        give_up(&names).await;
        slow.answers.send(Err(())).unwrap();
        slow.ended.recv().unwrap();
        while names.state.borrow().asking.as_ref().is_some_and(|asking| asking.clone().now_or_never().is_none()) {
            tokio::task::yield_now().await;
        }
        slow.answers.send(Ok(2)).unwrap();
        assert_eq!(found(&names).await, Ok((address(2), true)));
        assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
    }
}
