//! The connections to one server that speaks HTTP/2, or may, and the places on them.
//!
//! A hit takes a place on a connection that has room, else it opens another.
//! Those that come meanwhile, and fit on what is being opened, wait for that: a
//! thousand that come at once to a server that takes 128 a connection open ten,
//! as 100 is what one can count on before the server has said so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Context;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use hyper::Request;
use tokio::sync::oneshot::{self, Sender};

use super::lost::Lost;
use super::session::{Session, UNTOLD};
use crate::kinds::dial::{Stream, Traffic};
use crate::target::Failure;

/// The connections, of which clones are one.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Rc<All>);

#[derive(Debug)]
struct All {
    /// Those that take new hits, as far as is known.
    listed: RefCell<Vec<Rc<Session>>>,
    /// How many are being opened.
    opening: Cell<usize>,
    /// Hits that wait for a place on those.
    waiting: RefCell<VecDeque<Sender<Word>>>,
    /// How many hits a connection takes, as far as is known.
    limit: Cell<usize>,
    /// What the server is known to speak instead.
    http_1: Cell<bool>,
}

/// What a hit is told that waits for a place.
#[derive(Debug)]
enum Word {
    /// There is one.
    Place(Place),
    /// The connection that it waited for can't be had.
    Failed(Failure),
    /// To look again.
    Look,
}

/// What a hit that wants a place gets.
#[derive(Debug)]
pub enum Taken {
    /// A place.
    Place(Place),
    /// The task to open a connection.
    Turn(Turn),
    /// The news that the server speaks HTTP/1.1.
    Http1,
}

/// A hit's place on a connection.
#[derive(Debug)]
pub struct Place {
    session: Rc<Session>,
    sessions: Sessions,
    number: u64,
    was_idle: bool,
}

/// The connection that a place was on.
#[derive(Debug)]
pub struct Mark(Weak<Session>);

/// A connection that a hit is opening. Where it gives up, others do it.
#[derive(Debug)]
pub struct Turn(Sessions);

impl Default for All {
    fn default() -> Self {
        let (listed, waiting) = (RefCell::default(), RefCell::default());
        Self { listed, opening: Cell::default(), waiting, limit: Cell::new(UNTOLD), http_1: Cell::default() }
    }
}

impl Sessions {
    /// A place, if not on the connection that was `left`, or what to do to get one.
    ///
    /// # Errors
    /// As the connection that was waited for could not be opened by the hit that did.
    pub async fn take(&self, left: Option<&Mark>) -> Result<Taken, Failure> {
        loop {
            if self.speaks_http_1() {
                return Ok(Taken::Http1);
            }
            if let Some(place) = self.find(left) {
                return Ok(Taken::Place(place));
            }
            if self.waiting_too_many() == 0 && !self.is_full() {
                let (tell, told) = oneshot::channel();
                self.0.waiting.borrow_mut().push_back(tell);
                match told.await {
                    Ok(Word::Place(place)) => return Ok(Taken::Place(place)),
                    Ok(Word::Failed(failure)) => return Err(failure),
                    Ok(Word::Look) | Err(_) => continue,
                }
            }
            return Ok(Taken::Turn(self.turn()));
        }
    }

    /// A connection to be opened that others may wait for.
    fn turn(&self) -> Turn {
        self.0.opening.set(self.0.opening.get() + 1);
        Turn(self.clone())
    }

    /// A place on a new connection that no other hit will be on.
    ///
    /// # Errors
    /// Nothing can be said over it.
    pub async fn alone(&self, stream: Stream, traffic: Rc<Traffic>) -> Result<Place, Lost> {
        let session = Rc::new(Session::begin(stream, traffic, self.limit()).await?);
        Ok(self.place(session))
    }

    /// Whether the server is known to speak HTTP/1.1.
    pub fn speaks_http_1(&self) -> bool {
        self.0.http_1.get()
    }

    /// The server was found to speak HTTP/1.1: nobody waits for a place any more.
    pub fn speak_http_1(&self) {
        self.0.http_1.set(true);
        while self.tell(Word::Look).is_none() {}
    }

    /// The server was found to speak HTTP/2.
    pub fn speak_http_2(&self) {
        self.0.http_1.set(false);
    }

    /// A place on a connection that has room.
    fn find(&self, left: Option<&Mark>) -> Option<Place> {
        let mut at = 0;
        loop {
            let session = Rc::clone(self.0.listed.borrow().get(at)?);
            if session.hits() == 0 {
                // Nobody has looked for what came meanwhile.
                session.look();
            }
            if !session.is_open() {
                self.unlist(&session);
            } else if session.has_room() && !left.is_some_and(|left| left.is_of(&session)) {
                return Some(self.place(session));
            } else {
                at += 1;
            }
        }
    }

    fn place(&self, session: Rc<Session>) -> Place {
        let (number, was_idle) = session.enter();
        Place { session, sessions: self.clone(), number, was_idle }
    }

    /// No new hits come to a connection; it is closed after the last of those that are there.
    fn unlist(&self, session: &Rc<Session>) {
        self.0.listed.borrow_mut().retain(|listed| !Rc::ptr_eq(listed, session));
        session.is_listed.set(false);
        if session.hits() == 0 {
            session.close();
        }
    }

    /// How many hits fit on a connection, as far as is known.
    fn limit(&self) -> usize {
        if let Some(least) = self.0.listed.borrow().iter().map(|session| session.limit()).min() {
            self.0.limit.set(least);
        }
        self.0.limit.get()
    }

    /// How many hits can wait for each connection that is being opened, its opener apart.
    fn company(&self) -> usize {
        self.limit().saturating_sub(1)
    }

    /// How many hits wait beyond those that fit on what is being opened.
    fn waiting_too_many(&self) -> usize {
        let fit = self.company().saturating_mul(self.0.opening.get());
        let waiting = &self.0.waiting;
        if waiting.borrow().len() >= fit {
            // Some may have given up.
            waiting.borrow_mut().retain(|tell| !tell.is_closed());
        }
        waiting.borrow().len().saturating_sub(fit)
    }

    /// Whether no more hits can wait for what is being opened.
    fn is_full(&self) -> bool {
        self.0.waiting.borrow().len() >= self.company().saturating_mul(self.0.opening.get())
    }

    /// Gives places that have become free to hits that wait.
    fn serve(&self) {
        while !self.0.waiting.borrow().is_empty() {
            let Some(place) = self.find(None) else { return };
            let Some(Word::Place(place)) = self.tell(Word::Place(place)) else { continue };
            // There is nobody left, so that this gives the place to nobody.
            drop(place);
        }
    }

    /// Fewer are being opened: who waits beyond what fits on the others looks again.
    fn opened(&self) {
        self.0.opening.set(self.0.opening.get() - 1);
        self.serve();
        for _ in 0..self.waiting_too_many() {
            self.tell(Word::Look);
        }
    }

    /// Says it to whoever waits longest; gives it back when nobody does.
    fn tell(&self, mut word: Word) -> Option<Word> {
        loop {
            let next = self.0.waiting.borrow_mut().pop_front();
            let Some(next) = next else { return Some(word) };
            match next.send(word) {
                Ok(()) => return None,
                Err(back) => word = back,
            }
        }
    }
}

impl Turn {
    /// It is there: the opener's place on it.
    ///
    /// # Errors
    /// Nothing can be said over it.
    pub async fn opened(&self, stream: Stream, traffic: Rc<Traffic>) -> Result<Place, Lost> {
        let session = Rc::new(Session::begin(stream, traffic, self.0.limit()).await?);
        session.is_listed.set(true);
        let place = self.0.place(Rc::clone(&session));
        self.0.0.listed.borrow_mut().push(session);
        Ok(place)
    }

    /// It can't be had: those that fit on it fail, too, as each of them would have.
    pub fn failed(self, failure: &Failure) {
        let others = self.0.waiting_too_many();
        let those = self.0.0.waiting.borrow().len() - others;
        for _ in 0..those.min(self.0.company()) {
            self.0.tell(Word::Failed(failure.clone()));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.opened();
    }
}

impl Place {
    /// The connection itself.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What goes over the connection's socket.
    pub fn traffic(&self) -> &Rc<Traffic> {
        &self.session.traffic
    }

    /// The hit is polled for the first time, and will send its request.
    pub fn enroll(&self, cx: &Context<'_>) {
        self.session.enroll(self.number, cx);
    }

    /// Whether no other hit is on the connection.
    pub fn is_alone(&self) -> bool {
        self.session.hits() < 2
    }

    /// The hit is polled: drives the connection where that is its turn.
    pub fn attend(&self, cx: &Context<'_>) {
        self.session.attend(self.number, cx);
        // The server may have allowed more.
        if !self.sessions.0.waiting.borrow().is_empty() {
            self.sessions.serve();
        }
    }

    /// Takes a request to be sent, `whole` if no body follows.
    ///
    /// # Errors
    /// Nothing of it was sent.
    pub fn request(&self, head: Request<()>, whole: bool) -> Result<(ResponseFuture, SendStream<Bytes>), Lost> {
        self.session.request(head, whole)
    }

    /// The connection that it is on.
    pub fn mark(&self) -> Mark {
        Mark(Rc::downgrade(&self.session))
    }

    /// What has become of a request that ended with this error.
    pub fn lost(&self, error: h2::Error) -> Lost {
        Lost::sent(self.session.why(error), self.was_idle)
    }
}

impl Mark {
    fn is_of(&self, session: &Rc<Session>) -> bool {
        std::ptr::eq(self.0.as_ptr(), Rc::as_ptr(session))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.session.leave(self.number);
        if !self.session.is_listed.get() && self.session.hits() == 0 {
            self.session.close();
        }
        self.sessions.serve();
    }
}
