//! What became of a request, and how a handler hears of it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use tokio::sync::mpsc::{self, Receiver, Sender};

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
pub struct Responses<W>(Receiver<Response<W>>);

/// A client's end of what a handler hears.
#[derive(Debug)]
pub struct Teller<W> {
    told: Sender<Response<W>>,
    totals: RefCell<Totals>,
    /// Whether the handler is told no more.
    is_deaf: Cell<bool>,
    unheard: Cell<u64>,
}

/// A teller, and what it is heard by.
pub fn channel<W>() -> (Teller<W>, Responses<W>) {
    let (told, heard) = pipe();
    (Teller { told, totals: RefCell::default(), is_deaf: Cell::new(false), unheard: Cell::new(0) }, heard)
}

/// What is heard of what is sent.
pub fn pipe<W>() -> (Sender<Response<W>>, Responses<W>) {
    let (told, heard) = mpsc::channel(MAX_WAITING);
    (told, Responses(heard))
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
        self.0.recv().await
    }
}

impl<W> Stream for Responses<W> {
    type Item = Response<W>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Response<W>>> {
        self.0.poll_recv(context)
    }
}

impl<W: Worked> Teller<W> {
    /// Counts a response, and tells the handler of it as soon as there is room; one that has left, or has taken nothing
    /// for a minute, hears nothing more.
    pub async fn tell(&self, response: Response<W>) {
        self.totals.borrow_mut().add(&response);
        if self.is_deaf.get() || self.told.send_timeout(response, MAX_DEAF).await.is_err() {
            self.is_deaf.set(true);
            self.unheard.set(self.unheard.get() + 1);
        }
    }

    /// What was told, all in all, and how many responses the handler did not hear.
    pub(super) fn into_totals(self) -> (Totals, u64) {
        (self.totals.into_inner(), self.unheard.get())
    }
}
