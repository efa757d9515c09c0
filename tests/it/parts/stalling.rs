//! An HTTP/1.1 server that answers at once, except while it is stalled: then it accepts, reads and answers nothing, and
//! afterwards all that has piled up.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
/// How many connections may wait to be accepted: a stall's worth of them, as the kernel would drop the others.
const BACKLOG: u32 = 4096;

/// What it knows of its own run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When it stalled.
    pub stalled: Option<Instant>,
    /// When it had written each answer, in that order.
    pub answered: Vec<Instant>,
}

impl Record {
    /// From when to when nothing was answered.
    #[track_caller]
    pub fn stall(&self) -> (Instant, Instant) {
        let began = self.stalled.expect("it has stalled");
        (began, *self.answered.iter().find(|at| **at > began).expect("it has gone on"))
    }
}

/// The running server; ended, with all of its connections, when dropped.
pub struct Stalling {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    running: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Stalling {
    /// Starts one that stalls at `from`, for so `long`.
    pub fn start(from: Instant, long: Duration) -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let (running, dropped) = oneshot::channel();
        let (tell_address, address) = std::sync::mpsc::channel();
        let kept = Arc::clone(&record);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it has a runtime");
            runtime.block_on(async {
                let socket = TcpSocket::new_v4().expect("there are sockets");
                socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has a free port");
                let listener = socket.listen(BACKLOG).expect("a bound socket listens");
                tell_address.send(listener.local_addr().expect("it is bound")).expect("somebody asked");
                tokio::select! {
                    _ = dropped => {}
                    () = serve(&listener, &kept) => {}
                    () = stall(from, long, &kept) => {}
                }
            });
        });
        let address = address.recv().expect("it listens");
        Self { address, record, running: Some(running), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it knows of its own run so far.
    pub fn record(&self) -> Record {
        self.record.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Stalling {
    fn drop(&mut self) {
        drop(self.running.take());
        // Should it have panicked, there is nothing more to end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: &TcpListener, record: &Arc<Mutex<Record>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("there are descriptors");
        connections.spawn(answer(stream, Arc::clone(record)));
    }
}

/// Answers every request of a connection until its client closes it.
async fn answer(mut stream: TcpStream, record: Arc<Mutex<Record>>) {
    let mut head = Vec::new();
    stream.set_nodelay(true).expect("it is a TCP socket");
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
            record.lock().expect("nobody panics with it").answered.push(Instant::now());
        }
    }
}

/// Holds up the thread, and with it everything that it serves.
async fn stall(from: Instant, long: Duration, record: &Mutex<Record>) {
    tokio::time::sleep_until(from.into()).await;
    record.lock().expect("nobody panics with it").stalled = Some(Instant::now());
    thread::sleep(long);
    std::future::pending::<()>().await;
}
