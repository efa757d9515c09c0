//! Who listens to a worker's gossip, and how it gets there.
//!
//! Each gossiper listens in a task of its own, so that it takes no time from
//! the hits. What it is told waits in a queue with room for some two seconds:
//! a hit begins only once there is room to tell that it does, and its end is
//! always told. So nothing of the two is lost, and a gossiper that can't keep
//! up slows the worker; a canceled hit is told only where there is room.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use crate::gossip::Gossip;
use crate::pacer::Due;
use crate::worker::Config;

/// The least that may wait to be heard, in hits that began or were canceled.
const LEAST_ROOM: u64 = 64;
/// The most that may.
const MOST_ROOM: u64 = 65_536;
/// For how many seconds of hits there is room in between.
const SECONDS_OF_ROOM: u64 = 2;

/// Listens to a worker: a collector of metrics, a log, a progress bar.
///
/// One gossiper may be hired by several workers, and hears each of them at the
/// same time. An `Arc` of a gossiper is one, too, so that it can be asked
/// afterwards what it has heard.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use canihaz::{Config, Gossip, Gossiper, Gossips, Rate, Worker};
///
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Gossiper for Failures {
///     async fn listen(&self, _worker: Config, mut gossips: Gossips) {
///         while let Some(gossip) = gossips.next().await {
///             if let Gossip::AfterTarget { ended, .. } = gossip {
///                 self.0.fetch_add(ended.outcome.failure.is_some().into(), Ordering::Relaxed);
///             }
///         }
///     }
/// }
///
/// let failures = Arc::new(Failures::default());
/// let worker = Worker::hire("shop", async || Err::<&str, _>("sold out")).gossips(Arc::clone(&failures));
/// worker.work(Rate::per_second(20), Duration::from_millis(100)).await?;
/// assert_eq!(failures.0.load(Ordering::Relaxed), 2);
/// # Ok(())
/// # }
/// ```
pub trait Gossiper: Send + Sync + 'static {
    /// Hears what `worker` has to tell, in a task of its own, until there is
    /// nothing more. To return earlier is to leave: what is told from then on is not heard.
    fn listen(&self, worker: Config, gossips: Gossips) -> impl Future<Output = ()> + Send;

    /// Writes out whatever is still kept. Called once for each worker, when
    /// [`listen`](Self::listen) has returned; the worker waits for it before it goes home.
    fn stop(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl<G: Gossiper> Gossiper for Arc<G> {
    fn listen(&self, worker: Config, gossips: Gossips) -> impl Future<Output = ()> + Send {
        G::listen(self, worker, gossips)
    }

    fn stop(&self) -> impl Future<Output = ()> + Send {
        G::stop(self)
    }
}

/// What a worker tells, in order; it ends when the worker has nothing more to tell.
///
/// It is a [`Stream`], too.
///
/// ```
/// use canihaz::{Config, Gossiper, Gossips};
///
/// struct Talkative;
///
/// impl Gossiper for Talkative {
///     async fn listen(&self, worker: Config, mut gossips: Gossips) {
///         while let Some(gossip) = gossips.next().await {
///             println!("{worker}: {gossip}");
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Gossips {
    told: UnboundedReceiver<Gossip>,
    room: Arc<Semaphore>,
}

impl Gossips {
    /// The next event; `None` when the worker has nothing more to tell.
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # use canihaz::{Gossip, Gossips};
    /// /// Waits for the first hit that fails.
    /// async fn first_failure(gossips: &mut Gossips) -> Option<u64> {
    ///     while let Some(gossip) = gossips.next().await {
    ///         match gossip {
    ///             Gossip::AfterTarget { number, ended } if ended.outcome.failure.is_some() => return Some(number),
    ///             _ => {}
    ///         }
    ///     }
    ///     None
    /// }
    /// ```
    pub async fn next(&mut self) -> Option<Gossip> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Gossip>> {
        let heard = self.told.poll_recv(context);
        if let Poll::Ready(Some(Gossip::BeforeTarget(_) | Gossip::Canceled(_))) = heard {
            self.room.add_permits(1);
        }
        heard
    }
}

impl Stream for Gossips {
    type Item = Gossip;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Gossip>> {
        self.poll(context)
    }
}

impl Drop for Gossips {
    fn drop(&mut self) {
        // Hits that wait for room go on without this listener.
        self.room.close();
    }
}

/// The worker's end of what one gossiper hears. (A gossiper that has left hears nothing, which is fine.)
pub struct Ear {
    told: UnboundedSender<Gossip>,
    room: Arc<Semaphore>,
}

/// The tasks in which a worker's gossipers listen. They outlive this, to hear what was told until then.
pub type Listeners = FuturesUnordered<JoinHandle<()>>;

/// Any gossiper.
pub trait AnyGossiper: Send + Sync {
    /// Listens, and stops.
    fn attend(self: Arc<Self>, worker: Config, gossips: Gossips) -> BoxFuture<'static, ()>;
}

impl<G: Gossiper> AnyGossiper for G {
    fn attend(self: Arc<Self>, worker: Config, gossips: Gossips) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.listen(worker, gossips).await;
            self.stop().await;
        })
    }
}

/// Lets each of `gossipers` listen to `worker`, which hits `rate` times a second.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn listen(gossipers: &[Arc<dyn AnyGossiper>], worker: &Config, rate: u64) -> (Vec<Ear>, Listeners) {
    let room = rate.saturating_mul(SECONDS_OF_ROOM).clamp(LEAST_ROOM, MOST_ROOM) as usize;
    let listen = |gossiper: &Arc<dyn AnyGossiper>| {
        let (told, heard) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(room));
        let gossips = Gossips { told: heard, room: Arc::clone(&room) };
        let task = tokio::spawn(Arc::clone(gossiper).attend(worker.clone(), gossips));
        (Ear { told, room }, task)
    };
    gossipers.iter().map(listen).unzip()
}

impl Ear {
    /// Tells that a hit begins, as soon as there is room.
    pub async fn before(&self, due: Due) {
        if let Ok(room) = self.room.acquire().await {
            room.forget();
            let _ = self.told.send(Gossip::BeforeTarget(due));
        }
    }

    /// Tells that a hit has ended: at once, as there are never more of these than hits in flight and before them.
    pub fn after(&self, gossip: Gossip) {
        let _ = self.told.send(gossip);
    }

    /// Tells that a hit was canceled, if there is room.
    pub fn canceled(&self, due: Due) {
        if let Ok(room) = self.room.try_acquire() {
            room.forget();
            let _ = self.told.send(Gossip::Canceled(due));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt;

    use super::*;
    use crate::gossip::Ended;
    use crate::target::Outcome;

    /// An ear, and what is heard through it, with room for `room` hits.
    fn ear(room: usize) -> (Ear, Gossips) {
        let (told, heard) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(room));
        (Ear { told, room: Arc::clone(&room) }, Gossips { told: heard, room })
    }

    fn due(number: u64) -> Due {
        Due { number, at: Instant::now(), blocked: std::time::Duration::ZERO, late: std::time::Duration::ZERO }
    }

    fn after(number: u64) -> Gossip {
        let due = due(number);
        Gossip::AfterTarget { number, ended: Ended::new(due, due.at, due.at, Outcome::default()) }
    }

    fn heard(gossips: &mut Gossips) -> Option<String> {
        gossips.next().now_or_never().flatten().map(|gossip| gossip.to_string())
    }

    #[test]
    fn before_waits_for_room_and_after_never_does() {
        let (ear, mut gossips) = ear(2);
        assert_eq!(ear.before(due(0)).now_or_never(), Some(()));
        assert_eq!(ear.before(due(1)).now_or_never(), Some(()));
        let mut third = Box::pin(ear.before(due(2)));
        assert_eq!(third.as_mut().now_or_never(), None);
        ear.after(after(0));
        ear.after(after(1));
        assert_eq!(heard(&mut gossips).as_deref(), Some("before-target"));
        assert_eq!(third.now_or_never(), Some(()));
        for expect in ["before-target", "after-target", "after-target", "before-target"] {
            assert_eq!(heard(&mut gossips).as_deref(), Some(expect));
        }
    }

    #[test]
    fn canceled_is_told_only_where_there_is_room() {
        let (ear, mut gossips) = ear(2);
        for number in 0..5 {
            ear.canceled(due(number));
        }
        assert_eq!(heard(&mut gossips).as_deref(), Some("canceled"));
        ear.canceled(due(5));
        assert_eq!(heard(&mut gossips).as_deref(), Some("canceled"));
        assert_eq!(heard(&mut gossips).as_deref(), Some("canceled"));
        assert_eq!(heard(&mut gossips), None);
    }

    #[test]
    fn who_has_left_keeps_nobody_waiting() {
        let (ear, gossips) = ear(1);
        assert_eq!(ear.before(due(0)).now_or_never(), Some(()));
        let mut second = Box::pin(ear.before(due(1)));
        assert_eq!(second.as_mut().now_or_never(), None);
        drop(gossips);
        assert_eq!(second.now_or_never(), Some(()));
        ear.after(after(0));
        ear.canceled(due(2));
    }
}
