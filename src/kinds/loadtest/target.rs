//! What a hit of this kind is: a call, which runs a journey.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::intake::{Answered, tells_of_requests};
use super::rpc::{Caller, failure_of};
use super::session::{Calling, Session};
use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::Wakeups;

/// A load test, as one thread calls it.
#[derive(Debug)]
pub struct LoadtestTarget {
    calling: Calling,
    caller: Caller,
    wakeups: Rc<Wakeups>,
}

impl LoadtestTarget {
    /// Prepares everything that hits have in common; connects to nothing.
    pub fn new(session: &Arc<Session>, wakeups: &Rc<Wakeups>) -> Self {
        let caller = Caller::new(session.address.clone(), &session.test);
        Self { calling: Calling::new(session), caller, wakeups: Rc::clone(wakeups) }
    }
}

impl Target for LoadtestTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let session = self.calling.session();
        if let Some(why) = session.is_down() {
            return Outcome::failed(Failure::new(Reason::Connect, why));
        }
        let _call = self.calling.begin();
        let (started, begin) = (SystemTime::now(), Instant::now());
        let limit = session.settings.timeout;
        let response = match self.wakeups.timeout(limit, self.caller.trigger()).await {
            Some(Ok(response)) => response,
            Some(Err(trouble)) => return Outcome::failed(trouble.into()),
            None => return Outcome::failed(Failure::new(Reason::Timeout, format!("not done after {limit:?}"))),
        };
        let failure = failure_of(&response);
        if tells_of_requests(&response) {
            let (ended, service) = (SystemTime::now(), begin.elapsed());
            session.answered(Answered { response, started, ended, service });
        }
        Outcome { failure, ..Outcome::default() }
    }
}
