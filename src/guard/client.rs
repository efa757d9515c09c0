//! One thread's way to the guard: asks it for commands, and waits for them.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net as blocking;
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::net::{UnixDatagram, UnixStream};

use super::keeper::Guard;
use super::request::Request;
use super::status::{LENGTH, Status};

/// Its datagrams come in order, and its end is told, unlike that of others; to tokio it is all the same.
type Socket = Rc<UnixDatagram>;

/// The guard as a thread has it, in the thread's own reactor.
#[derive(Debug)]
pub struct Client {
    guard: Arc<Guard>,
    socket: RefCell<Option<Socket>>,
}

/// A command that the guard was asked for. Dropped before it has ended, it is killed, and all that it has started; or
/// it never begins.
#[derive(Debug)]
pub struct Running {
    /// What it writes to its standard output.
    pub stdout: pipe::Receiver,
    /// What it writes to its standard error.
    pub stderr: pipe::Receiver,
    status: UnixStream,
}

/// Why nothing is known of a command.
#[derive(Debug, Error)]
pub enum Gone {
    /// There is no guard, or there was none at some time.
    #[error("the guard of commands was killed")]
    Guard,
    /// The system refuses what is needed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Client {
    /// A way to `guard` for one thread.
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { guard, socket: RefCell::new(None) }
    }

    /// Asks for a command. With a `file`, that very one is executed, whatever has the name of the request's program
    /// meanwhile; the program is told that name as its own, and has the file open. To be called in a tokio runtime.
    ///
    /// # Errors
    /// It was not asked for, and won't begin.
    pub async fn run(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> Result<Running, Gone> {
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let (status, theirs) = blocking::UnixStream::pair()?;
        status.set_nonblocking(true)?;
        let running = Running {
            stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
            stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            status: UnixStream::from_std(status)?,
        };
        let descriptors = [their_stdout.as_fd(), their_stderr.as_fd(), theirs.as_fd()];
        let descriptors: Vec<_> = descriptors.iter().chain(&file).map(AsRawFd::as_raw_fd).collect();
        self.ask(request, &descriptors).await?;
        Ok(running)
    }

    /// Sends a request once: to the guard as it is known, or should that be gone, to its successor.
    async fn ask(&self, request: &Request, descriptors: &[RawFd]) -> Result<(), Gone> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        loop {
            let (socket, is_new) = self.socket()?;
            let sent = socket.async_io(Interest::WRITABLE, || {
                let parts = [IoSlice::new(request.as_bytes())];
                Ok(sendmsg::<()>(socket.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None)?)
            });
            match sent.await {
                Ok(_) => return Ok(()),
                Err(error) if !is_gone(&error) => return Err(error.into()),
                Err(_) => _ = self.socket.take(),
            }
            if is_new {
                return Err(Gone::Guard);
            }
        }
    }

    /// The socket, and whether it has just been asked for.
    fn socket(&self) -> Result<(Socket, bool), Gone> {
        if let Some(socket) = self.socket.borrow().as_ref() {
            return Ok((Rc::clone(socket), false));
        }
        let socket = blocking::UnixDatagram::from(self.guard.socket()?.ok_or(Gone::Guard)?);
        let socket = Rc::new(UnixDatagram::from_std(socket)?);
        *self.socket.borrow_mut() = Some(Rc::clone(&socket));
        Ok((socket, true))
    }
}

impl Running {
    /// Asks it to end: the guard sends SIGTERM to the command and all of its group. What becomes of that,
    /// [`ended`](Self::ended) tells; one that doesn't care goes on until it is dropped.
    pub fn ask_to_end(&self) {
        // Where nobody hears it any more, it has ended, or is lost with the guard.
        let _ = send(self.status.as_raw_fd(), &[0], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }

    /// Has it killed at once, and all that it has started, as dropping it does; gives back what it has written.
    pub fn kill(self) -> (pipe::Receiver, pipe::Receiver) {
        (self.stdout, self.stderr)
    }

    /// Waits for its end. Dropping the future is fine.
    ///
    /// # Errors
    /// The guard has lost it.
    pub async fn ended(&self) -> Result<Status, Gone> {
        loop {
            self.status.readable().await?;
            // A byte more than there should be shows that it is something else.
            let mut bytes = [0; LENGTH + 1];
            match self.status.try_read(&mut bytes) {
                Ok(length) => return Status::from_bytes(&bytes[..length]).ok_or(Gone::Guard),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_gone(&error) => return Err(Gone::Guard),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a socket has nobody at its other end.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::EPIPE, Errno::ECONNRESET, Errno::ENOTCONN];
    error.raw_os_error().is_some_and(|code| gone.contains(&Errno::from_raw(code)))
}
