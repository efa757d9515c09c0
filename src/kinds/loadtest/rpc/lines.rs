//! The connections of one engine thread to one load test, and the places on them.
//!
//! A hit takes a place on a connection that has room, else it waits for the
//! first that becomes free, on an old connection or on one that is opened for
//! it: each is opened, and driven, by a task of its own. Until the program has
//! said how many calls a connection takes, a single one is opened.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::rc::{Rc, Weak};

use tokio::sync::oneshot::{self, Sender};
use tokio::task::JoinSet;

use super::address::Address;
use super::line::{self, Line};
use super::trouble::Trouble;

/// The most connections that are opened at once; the next follows when one is open. What listens keeps only so many
/// waiting until it accepts them, and the others are refused.
pub const MAX_OPENING: usize = 16;

/// The connections. They end when this is dropped.
#[derive(Debug)]
pub struct Lines(Rc<All>);

#[derive(Debug)]
struct All {
    address: Address,
    /// Those that take new calls, as far as is known.
    listed: RefCell<Vec<Rc<Line>>>,
    /// How many are being opened.
    opening: Cell<usize>,
    /// Hits that wait for a place.
    waiting: RefCell<VecDeque<Sender<Result<Place, Trouble>>>>,
    /// How many calls a connection takes, by the program's last word.
    limit: Cell<usize>,
    /// What opens and drives them.
    tasks: RefCell<JoinSet<()>>,
}

/// A hit's place on a connection.
#[derive(Debug)]
pub struct Place {
    line: Rc<Line>,
    all: Weak<All>,
}

/// A connection that is being opened. Where that breaks off, nobody waits for it for good.
struct Opening(Weak<All>);

impl Lines {
    /// Connections to `address`, none of which is open yet.
    pub fn new(address: Address) -> Self {
        Self(Rc::new(All {
            address,
            listed: RefCell::default(),
            opening: Cell::default(),
            waiting: RefCell::default(),
            limit: Cell::new(usize::MAX),
            tasks: RefCell::default(),
        }))
    }

    /// A place on one. To be called in a `LocalSet`.
    ///
    /// # Errors
    /// No connection can be had.
    pub async fn place(&self) -> Result<Place, Trouble> {
        // The program may have allowed more since.
        self.0.serve();
        if let Some(place) = self.0.find() {
            return Ok(place);
        }
        let (tell, told) = oneshot::channel();
        self.0.waiting.borrow_mut().push_back(tell);
        self.0.open_enough();
        let broken_off =
            |_| Err(Trouble::Unreachable(ErrorKind::Other, String::from("opening a connection broke off")));
        told.await.unwrap_or_else(broken_off)
    }
}

impl All {
    /// A place on a connection that has room.
    fn find(self: &Rc<Self>) -> Option<Place> {
        let mut listed = self.listed.borrow_mut();
        let mut at = 0;
        while let Some(line) = listed.get(at) {
            if !line.is_open() {
                // Calls that are on it go on.
                listed.swap_remove(at);
            } else if line.has_room() {
                return Some(Place::new(line, self));
            } else {
                at += 1;
            }
        }
        None
    }

    /// Opens as many connections as those that wait need beside those that are being opened, as far as it may at once.
    fn open_enough(self: &Rc<Self>) {
        let needed = |waiting: usize| waiting.div_ceil(self.limit.get().max(1)).min(MAX_OPENING);
        if needed(self.waiting.borrow().len()) <= self.opening.get() {
            return;
        }
        // Some may have given up.
        self.waiting.borrow_mut().retain(|tell| !tell.is_closed());
        let needed = needed(self.waiting.borrow().len());
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        while self.opening.get() < needed {
            self.opening.set(self.opening.get() + 1);
            tasks.spawn_local(run(self.address.clone(), Opening(Rc::downgrade(self))));
        }
    }

    /// Gives places that are free to hits that wait.
    fn serve(self: &Rc<Self>) {
        while !self.waiting.borrow().is_empty() {
            let Some(place) = self.find() else { return };
            // If there is nobody left, this gives the place to nobody.
            drop(self.tell(Ok(place)));
        }
    }

    /// Says it to whoever waits longest; gives it back when nobody does.
    fn tell(&self, mut word: Result<Place, Trouble>) -> Option<Result<Place, Trouble>> {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(next) = next else { return Some(word) };
            match next.send(word) {
                Ok(()) => return None,
                Err(back) => word = back,
            }
        }
    }
}

/// Opens a connection, and drives it until its end.
async fn run(address: Address, opening: Opening) {
    let all = Weak::clone(&opening.0);
    match line::open(&address).await {
        Err(trouble) => opening.failed(&trouble),
        Ok((line, driven)) => {
            // Only calls keep it open, and that it takes new ones.
            let line = opening.opened(line);
            let ended = driven.await;
            let Some(line) = line.upgrade() else { return };
            line.close(ended);
            if let Some(all) = all.upgrade() {
                all.listed.borrow_mut().retain(|listed| !Rc::ptr_eq(listed, &line));
            }
        }
    }
}

impl Opening {
    fn opened(self, line: Line) -> Weak<Line> {
        let Some(all) = self.0.upgrade() else { return Weak::new() };
        all.limit.set(line.limit());
        let line = Rc::new(line);
        let kept = Rc::downgrade(&line);
        all.listed.borrow_mut().push(line);
        self.over(&all);
        kept
    }

    /// It can't be had: those that fit on it fail, as each of them would have with one of its own.
    fn failed(self, trouble: &Trouble) {
        let Some(all) = self.0.upgrade() else { return };
        let those = all.waiting.borrow().len().min(all.limit.get().max(1));
        for _ in 0..those {
            all.tell(Err(trouble.clone()));
        }
        self.over(&all);
    }

    fn over(mut self, all: &Rc<All>) {
        self.0 = Weak::new();
        all.opening.set(all.opening.get() - 1);
        all.serve();
        all.open_enough();
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some(all) = self.0.upgrade() else { return };
        all.opening.set(all.opening.get() - 1);
        let left = all.waiting.take();
        drop(left);
    }
}

impl Place {
    fn new(line: &Rc<Line>, all: &Rc<All>) -> Self {
        line.enter();
        Self { line: Rc::clone(line), all: Rc::downgrade(all) }
    }

    /// The connection itself.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The program has refused the call, as it does while it still counts calls that were broken off. So it may on every
    /// connection that is as old: none of them takes new calls, while those that are on it go on.
    pub fn refused(&self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut listed = all.listed.borrow_mut();
        // Else others are there already since another call was refused.
        if listed.iter().any(|line| Rc::ptr_eq(line, &self.line)) {
            listed.clear();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.leave();
        if let Some(all) = self.all.upgrade() {
            all.serve();
        }
    }
}
