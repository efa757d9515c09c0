//! The kind `exec`: a command, without a shell, at the price of a process a hit.
//!
//! A hit is over when the command's own process has ended; its status says
//! whether it is ok, and what it has written may tell values of it, as plugins
//! of Nagios do. What it has started beside, and left, is killed with its end.
//! A hit that is dropped has its command killed at once. Who starts and kills
//! is the [guard](crate::guard).

mod judge;
mod output;
mod perfdata;
mod settings;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

pub use settings::{KEYS, Settings};

use crate::guard::{Client, Gone, Guard, Running, Status};
use crate::target::{Outcome, Target};
use crate::wakeups::Wakeups;
use judge::{Outputs, judge};
use output::CHUNK;

/// The most that is read of an output when the command has ended: what a pipe can hold.
const LEFT_IN_A_PIPE: u64 = 1 << 20;

/// A command, ready to be executed.
#[derive(Debug)]
pub struct ExecTarget {
    settings: Settings,
    client: Client,
    wakeups: Rc<Wakeups>,
    /// What is read goes through here; never kept across a wait.
    chunk: RefCell<Box<[u8]>>,
}

impl ExecTarget {
    /// Prepares everything that hits have in common; starts nothing.
    pub fn new(settings: &Settings, guard: Arc<Guard>, wakeups: &Rc<Wakeups>) -> Self {
        Self {
            settings: settings.clone(),
            client: Client::new(guard),
            wakeups: Rc::clone(wakeups),
            chunk: RefCell::new(vec![0; CHUNK].into()),
        }
    }

    /// Has the command executed, and waits for its end.
    async fn execute(&self, outputs: &mut Outputs) -> Result<Status, Gone> {
        let command = self.client.run(&self.settings.request, None).await?;
        let ended = self.follow(&command, outputs).await;
        // All that the command wrote itself is there now. What it has left may hold its outputs open, for a moment.
        let mut chunk = self.chunk.borrow_mut();
        outputs.stdout.drain(&command.stdout, &mut chunk, LEFT_IN_A_PIPE);
        outputs.stderr.drain(&command.stderr, &mut chunk, LEFT_IN_A_PIPE);
        ended
    }

    /// Reads what the command writes until it has ended.
    async fn follow(&self, command: &Running, outputs: &mut Outputs) -> Result<Status, Gone> {
        let Outputs { stdout, stderr } = outputs;
        let mut ended = pin!(command.ended());
        loop {
            tokio::select! {
                biased;
                ended = &mut ended => return ended,
                _ = command.stdout.readable(), if stdout.is_open() => {
                    stdout.read(&command.stdout, &mut self.chunk.borrow_mut());
                }
                _ = command.stderr.readable(), if stderr.is_open() => {
                    stderr.read(&command.stderr, &mut self.chunk.borrow_mut());
                }
            }
            // Whoever writes without end is not all that there is to do here.
            tokio::task::yield_now().await;
        }
    }
}

impl Target for ExecTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let mut outputs = Outputs::default();
        let ended = {
            // Dropped when its time is over, and with it the command is killed.
            let execution = pin!(self.execute(&mut outputs));
            self.wakeups.timeout(self.settings.timeout, execution).await
        };
        judge(&self.settings, ended.as_ref(), &outputs)
    }
}
