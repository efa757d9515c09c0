//! The hits of a writer: a batch each.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::loan::{Batch, Loan};
use super::outlet::{Fate, Outlet, Sent};
use super::session::Session;
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::http::Body;
use crate::ranges::Ranges;
use crate::target::{Outcome, Target};
use crate::wakeups::Wakeups;
use crate::work::Work;

/// The most buffers that are kept for further batches.
const MAX_SPARE: usize = 16;

/// A database that takes points.
#[derive(Debug)]
pub struct WriteTarget {
    session: Arc<Session>,
    loan: Loan,
    outlet: Outlet,
    /// What hits have to send that were claimed, and have not begun.
    claimed: RefCell<Vec<Batch>>,
    /// Buffers, so that a batch needn't grow its own.
    spare: RefCell<Vec<Vec<u8>>>,
    sharing: Sharing,
    timeout: Duration,
    rest: Duration,
    batch_size: u64,
}

impl WriteTarget {
    /// Prepares what hits have in common.
    ///
    /// # Errors
    /// A host has a name that no certificate can bear, the system has no root certificates, or nothing was lent.
    pub fn new(session: &Arc<Session>, wakeups: &Rc<Wakeups>) -> anyhow::Result<Self> {
        let sharing = Sharing::default();
        sharing.share(wakeups);
        let Some((client, loan)) = session.writer() else { anyhow::bail!("no points were lent") };
        Ok(Self {
            outlet: Outlet::new(client, session.server(), &sharing)?,
            loan: loan.clone(),
            claimed: RefCell::default(),
            spare: RefCell::default(),
            sharing,
            timeout: session.server().timeout,
            rest: client.batch_interval,
            batch_size: client.batch_size.get(),
            session: Arc::clone(session),
        })
    }

    /// A batch's points as lines.
    fn lines(&self, batch: &Batch) -> Vec<u8> {
        let mut lines = self.spare.borrow_mut().pop().unwrap_or_default();
        lines.clear();
        self.session.write(batch, &mut lines);
        lines
    }

    /// Keeps the memory of lines that were sent.
    fn keep(&self, lines: Body) {
        let mut spare = self.spare.borrow_mut();
        if let Body::Written(lines) = lines
            && spare.len() < MAX_SPARE
        {
            spare.push(lines);
        }
    }
}

impl Target for WriteTarget {
    async fn hit(&self, number: u64) -> Outcome {
        let batch = self.claimed.borrow_mut().pop();
        // It was claimed when the hit was started.
        let Some(batch) = batch else { return Outcome::default() };
        let points = batch.numbers.end - batch.numbers.start;
        let lines = Body::Written(self.lines(&batch));
        let started = Instant::now();
        let tally = Tally::default();
        let sent = {
            let sending = pin!(self.outlet.send(number, points, lines, &tally));
            self.sharing.within(self.timeout, sending).await
        };
        let (failure, fate) = match sent {
            Some((Sent { failure, fate }, lines)) => {
                self.keep(lines);
                (Some(failure), fate)
            }
            None => (None, Fate::Undone),
        };
        let mut work = match fate {
            Fate::Done { rejected } => Work::of([("points", points - rejected), ("rejected", rejected)]),
            Fate::Undone => Work::of([("points", 0), ("rejected", 0)]),
        };
        if let Fate::Done { .. } = fate {
            work.done.insert(self.loan.number(), Ranges::from_iter([batch.numbers.clone()]));
            batch.done();
        }
        let outcome = tally.outcome(failure, self.timeout);
        Outcome { started: Some(started), work: Some(work.into()), ..outcome }
    }

    fn claim(&self) -> bool {
        let batch = self.loan.take(self.batch_size);
        batch.is_some_and(|batch| {
            self.claimed.borrow_mut().push(batch);
            true
        })
    }

    fn rest(&self) -> Duration {
        self.rest
    }
}
