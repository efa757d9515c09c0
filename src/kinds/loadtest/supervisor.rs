//! The thread that looks after one load test: starts it, listens to it, starts it again when it has ended, and ends it.
//!
//! A load test lives as long as its session: from before the first hit until
//! after the last one. Whatever becomes of this program, the
//! [guard](crate::guard) sees to it that nothing of the load test is left.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

use super::binary::{self, Executable};
use super::intake::Answered;
use super::outputs::Outputs;
use super::place::Place;
use super::rpc::{Address, answers};
use super::session::{Inbox, Order, Session, State};
use super::sessions::House;
use crate::guard::{Client, Gone, Guard, Request, Running, Status};
use crate::kinds::MAX_GRACE;

/// How long a program is given to end by itself.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long the outputs of a program that was killed may stay open.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long calls that were about to begin may take to do so, once no more are wanted: where nobody can call any more,
/// and where that isn't known, as the test is at rest.
const LAST_CALLS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
/// How long it may take until calls are dropped, after a stop.
const DROPPED: Duration = Duration::from_millis(100);
/// How often is looked whether calls are still under way.
const LOOK: Duration = Duration::from_millis(10);
/// How long it takes until a program that has ended is started again: at first, and at most; each time it is doubled.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// When a program has lived so long, the next time is like the first.
const LONG: Duration = Duration::from_secs(10);
/// How long it takes until a program that doesn't answer yet is asked again: at first, and at most.
const ASK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How long an answer may take to that.
const ANSWER: Duration = Duration::from_secs(1);
/// How long getting a program may take: longer, and the minute is over.
const GET: Duration = Duration::from_secs(60);
/// How long a load test of the run before may have a port: its hits go on for their grace.
const PORT: Duration = MAX_GRACE.saturating_add(Duration::from_secs(2));
/// How many of its ends are told in the log; all of them are in the count.
const TOLD: u32 = 3;

/// One load test, and all that is needed to run it.
struct Supervisor {
    session: Arc<Session>,
    orders: watch::Receiver<Order>,
    answered: mpsc::Receiver<Answered>,
    outputs: Outputs,
}

/// A program, and where it listens.
struct Program {
    client: Client,
    place: Place,
    request: Request,
    executable: Executable,
}

/// How one life of the program ended.
enum End {
    /// As it was wanted.
    Wanted,
    /// By itself, or it couldn't be started, or it didn't answer; why.
    Failed(String),
}

/// Starts the thread. It ends when its session is to.
///
/// # Errors
/// The system has no thread left.
pub fn start(session: &Arc<Session>, inbox: Inbox, house: Arc<House>) -> io::Result<()> {
    let Inbox { orders, answered } = inbox;
    let session = Arc::clone(session);
    thread::Builder::new().name("loadtest".into()).spawn(move || {
        let outputs = Outputs::new(&session);
        let mut supervisor = Supervisor { session: Arc::clone(&session), orders, answered, outputs };
        let worked = supervisor.work(&house);
        supervisor.outputs.finish();
        drop(supervisor);
        // What can't be done as its end is wanted is no trouble.
        let trouble = worked.err().filter(|_| session.order() == Order::Live);
        session.turn(State::Over(trouble.map(|error| format!("{error:#}"))));
    })?;
    Ok(())
}

impl Supervisor {
    /// Keeps the program running until it is to end.
    ///
    /// # Errors
    /// Why it can't be run at all.
    fn work(&mut self, house: &House) -> anyhow::Result<()> {
        let settings = Arc::clone(&self.session.settings);
        let address = &self.session.address;
        let is_wanted = || *self.orders.borrow() == Order::Live;
        let executable =
            binary::get(&settings.binary, &house.state, house.key.as_ref(), Instant::now() + GET, &|| !is_wanted())?;
        let place = house.places.take(address, &self.session.test, house.end.min(Instant::now() + PORT), is_wanted)?;
        let request = settings.request(executable.program(), address);
        let request = request.context("its command is longer than can be asked for")?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(Guard::shared()?);
        let program = Program { client, place, request, executable };
        runtime.block_on(self.run(&program, house.end))
    }

    /// Starts the program as often as that takes, until it is to end: at `end` at the latest, once no call is under way.
    async fn run(&mut self, program: &Program, end: Instant) -> anyhow::Result<()> {
        let session = Arc::clone(&self.session);
        let mut wanted = pin!(ended_is_wanted(self.orders.clone(), Arc::clone(&session), end));
        let mut until = Instant::now() + session.settings.startup_timeout;
        let mut again = AGAIN.0;
        let mut has_answered = false;
        let mut told = 0;
        loop {
            let begin = Instant::now();
            let why = match self.live(program, until, wanted.as_mut()).await {
                End::Wanted => return Ok(()),
                End::Failed(why) => why,
            };
            has_answered |= session.is_down().is_none();
            if begin.elapsed() >= LONG {
                again = AGAIN.0;
            }
            if !has_answered && Instant::now() + again >= until {
                bail!("{why}");
            }
            let why = format!("{why}; it is started again in {again:?}");
            if has_answered {
                session.turn(State::Down(why.clone()));
            }
            told += 1;
            if told <= TOLD {
                log::warn!("test {}: {why}", session.test);
            }
            tokio::select! {
                biased;
                () = &mut wanted => return Ok(()),
                () = sleep(again) => {}
            }
            again = (again * 2).min(AGAIN.1);
            session.restarts();
            if has_answered {
                until = Instant::now() + session.settings.startup_timeout;
            }
        }
    }

    /// One life of the program.
    async fn live(&mut self, program: &Program, until: Instant, mut wanted: Pin<&mut impl Future<Output = ()>>) -> End {
        if let Err(error) = program.place.make_room() {
            return End::Failed(format!("{error:#}"));
        }
        let running = match program.client.run(&program.request, program.executable.file()).await {
            Ok(running) => running,
            Err(gone) => return End::Failed(format!("its load test can't be started: {gone}")),
        };
        self.outputs.begin(&running);
        let session = Arc::clone(&self.session);
        let silent = RefCell::new(String::new());
        let mut answering = pin!(answering(&session.address, &silent));
        let mut is_ready = false;
        let end = loop {
            tokio::select! {
                biased;
                ended = running.ended() => break End::Failed(died(&ended, is_ready)),
                () = &mut wanted => break self.end(&running).await,
                () = &mut answering, if !is_ready => {
                    is_ready = true;
                    session.turn(State::Ready);
                }
                () = sleep_until(until.into()), if !is_ready => {
                    let limit = session.settings.startup_timeout;
                    break End::Failed(format!(
                        "its load test did not answer at {} within {limit:?} ({})",
                        session.address,
                        silent.borrow()
                    ));
                }
                Some(answered) = self.answered.recv() => {
                    // What its journey has printed was printed before it answered.
                    self.outputs.read_all(&running);
                    session.intake().answered(&answered);
                }
                () = self.outputs.wait(&running) => self.outputs.read(&running),
            }
            // Whoever writes without end is not all that there is to do here.
            yield_now().await;
        };
        self.bury(running).await;
        end
    }

    /// Asks the program to end, and gives it a little time for that.
    async fn end(&mut self, running: &Running) -> End {
        running.ask_to_end();
        let mut patience = pin!(sleep(PATIENCE));
        loop {
            tokio::select! {
                biased;
                _ = running.ended() => return End::Wanted,
                () = &mut patience => return End::Wanted,
                () = self.outputs.wait(running) => self.outputs.read(running),
            }
            yield_now().await;
        }
    }

    /// Kills what is left of the program, and hears what it had to say.
    async fn bury(&mut self, running: Running) {
        let (stdout, stderr) = running.kill();
        self.outputs.hear_out(&stdout, &stderr, LAST_WORDS).await;
        let mut intake = self.session.intake();
        intake.ended();
        while let Ok(answered) = self.answered.try_recv() {
            intake.answered(&answered);
        }
    }
}

/// Waits until the program is to end, which it is from `end` on, and for calls that are under way, where those are to be
/// waited for.
async fn ended_is_wanted(mut orders: watch::Receiver<Order>, session: Arc<Session>, end: Instant) {
    // Their sender is the session's own, and isn't dropped before it.
    let _ = timeout_at(end.into(), orders.wait_for(|order| *order != Order::Live)).await;
    tokio::select! {
        biased;
        _ = orders.wait_for(|order| *order == Order::End) => dropped_calls(&session).await,
        () = last_calls(&session) => {}
    }
}

/// Waits until the calls that are under way were dropped, so that none of them fails by the program's end.
async fn dropped_calls(session: &Session) {
    let begin = Instant::now();
    while !session.is_idle() && begin.elapsed() < DROPPED {
        sleep(LOOK).await;
    }
}

/// Waits until no call is under way, and none begins any more.
async fn last_calls(session: &Session) {
    let begin = Instant::now();
    sleep(LAST_CALLS.0).await;
    while !(session.is_left() || (session.is_idle() && begin.elapsed() >= LAST_CALLS.1)) {
        sleep(LOOK).await;
    }
}

/// Asks the program whether it answers until it does; `silent` is why it hasn't so far.
async fn answering(address: &Address, silent: &RefCell<String>) {
    let mut again = ASK.0;
    loop {
        *silent.borrow_mut() = match timeout(ANSWER, answers(address)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => String::from("somebody listens there, but says nothing in HTTP/2"),
        };
        sleep(again).await;
        again = (again * 2).min(ASK.1);
    }
}

/// What happened to a program that has ended by itself.
fn died(ended: &Result<Status, Gone>, is_ready: bool) -> String {
    let before = if is_ready { "" } else { " before it answered" };
    match ended {
        Ok(status @ Status::NotStarted(_)) => format!("its load test {status}"),
        Ok(status) => format!("its load test died{before}: {status}"),
        Err(gone) => format!("its load test is gone: {gone}"),
    }
}
