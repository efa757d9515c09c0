//! What became of a request, and how a handler hears of it.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::{Instant, timeout_at};

use super::totals::{Totals, Worked};
use crate::kinds::influxdb::outlet::Fate;
use crate::target::Failure;

/// How many responses wait for a handler before its half of the test does.
const MAX_WAITING: usize = 256;
/// How long a handler that takes nothing is waited for: from then on it hears no more. It may be waiting for the test.
const MAX_DEAF: Duration = Duration::from_secs(60);

/// What became of a request: of a batch ([`WriteResponse`]) or a query ([`QueryResponse`]).
#[derive(Clone, Debug)]
pub struct Response<W> {
    /// Why it isn't as it was meant to be; `None` when all is well.
    pub failure: Option<Failure>,
    /// What it got done.
    pub work: W,
    /// When it was over.
    pub time: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Bytes received, as counted at the socket.
    pub bytes_in: u64,
    /// Bytes sent, as counted at the socket.
    pub bytes_out: u64,
}

/// What became of an attempt to send a batch.
pub type WriteResponse = Response<Written>;

/// What became of a query.
pub type QueryResponse = Response<Asked>;

/// What an attempt to send a batch got done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// How many points the batch has.
    pub points: u64,
    /// Whether they are done, or are to be sent again.
    pub fate: Fate,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// What a query got done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// How many rows came back, over all statements and series.
    pub rows: u64,
}

/// The responses of one half of a stress test, as they come; it ends when that has nothing more to tell.
///
/// It is a [`Stream`], too. Dropping it is to leave: the test goes on unheard.
#[derive(Debug)]
pub struct Responses<W> {
    told: Receiver<Response<W>>,
    heard: Heard,
}

/// How many responses were taken from [`Responses`].
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

/// A client's end of what a handler hears.
#[derive(Debug)]
pub struct Teller<W> {
    told: Sender<Response<W>>,
    totals: RefCell<Totals>,
    /// When the last response was there.
    last: Cell<Option<Instant>>,
    /// When room was last found, which the handler makes by taking one.
    moved: Cell<Instant>,
    /// Whether the handler is told no more.
    is_deaf: Cell<bool>,
}

/// A teller, and what it is heard by.
pub fn channel<W>() -> (Teller<W>, Responses<W>) {
    let (told, heard) = pipe();
    let teller = Teller {
        told,
        totals: RefCell::default(),
        last: Cell::new(None),
        moved: Cell::new(Instant::now()),
        is_deaf: Cell::new(false),
    };
    (teller, heard)
}

/// What is heard of what is sent.
pub fn pipe<W>() -> (Sender<Response<W>>, Responses<W>) {
    let (told, heard) = mpsc::channel(MAX_WAITING);
    (told, Responses { told: heard, heard: Heard::default() })
}

impl<W> Response<W> {
    /// All was well, is over just now, and took so long; bytes weren't counted.
    pub fn new(work: W, took: Duration) -> Self {
        Self { failure: None, work, time: SystemTime::now(), took, bytes_in: 0, bytes_out: 0 }
    }

    /// The same, but it failed.
    #[must_use]
    pub fn failed(self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self }
    }

    /// Whether all was well.
    pub fn success(&self) -> bool {
        self.failure.is_none()
    }
}

impl Written {
    /// How many points the database has taken.
    pub fn acknowledged(&self) -> u64 {
        match self.fate {
            Fate::Done { rejected } => self.points.saturating_sub(rejected),
            Fate::Undone => 0,
        }
    }

    /// How many points the database will never take.
    pub fn rejected(&self) -> u64 {
        match self.fate {
            Fate::Done { rejected } => rejected.min(self.points),
            Fate::Undone => 0,
        }
    }
}

impl<W> Responses<W> {
    /// The next one; `None` when there is nothing more to tell. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Response<W>> {
        let response = self.told.recv().await;
        self.heard.count(response.as_ref());
        response
    }

    /// How many are taken, for whoever has given it away.
    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl Heard {
    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn count<W>(&self, response: Option<&Response<W>>) {
        self.0.fetch_add(u64::from(response.is_some()), Ordering::Relaxed);
    }
}

impl<W> Stream for Responses<W> {
    type Item = Response<W>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Response<W>>> {
        let polled = self.told.poll_recv(context);
        if let Poll::Ready(response) = &polled {
            self.heard.count(response.as_ref());
        }
        polled
    }
}

impl<W: Worked> Teller<W> {
    /// Counts a response, and tells the handler of it as soon as there is room; one that has left, or has taken nothing
    /// for a minute, hears nothing more.
    pub async fn tell(&self, response: Response<W>) {
        self.last.set(Some(Instant::now()));
        self.totals.borrow_mut().add(&response);
        if self.is_deaf.get() {
            return;
        }
        match self.room().await {
            Some(room) => {
                self.moved.set(Instant::now());
                room.send(response);
            }
            None => self.is_deaf.set(true),
        }
    }

    /// Room for a response; `None` where the handler makes none any more.
    async fn room(&self) -> Option<Permit<'_, Response<W>>> {
        // Its turn stays its own, as many may be waiting: each of them longer than the handler needs for one.
        let mut room = pin!(self.told.reserve());
        loop {
            let moved = self.moved.get();
            match timeout_at(moved + MAX_DEAF, &mut room).await {
                Ok(room) => return room.ok(),
                Err(_) if self.moved.get() == moved => return None,
                // Another one has found room meanwhile.
                Err(_) => {}
            }
        }
    }

    /// When the last response was there.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last.get()
    }

    /// What was told, all in all.
    pub(super) fn into_totals(self) -> Totals {
        self.totals.into_inner()
    }
}
