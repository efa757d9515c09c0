//! A compiled load test as a child, and calls of its journeys as an agent makes them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use canihaz::golo::job_client::JobClient;
use canihaz::golo::{Context, Output, Response};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;

use super::deadline::eventually;
use super::server::{connect, free_tcp_port};

/// How long it may take to listen, and to end.
const BOUND: Duration = Duration::from_secs(30);

/// An example of this crate, as a load test.
pub fn example(name: &str) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_canihaz")).with_file_name("examples").join(name);
    assert!(built.exists(), "{}: `cargo build --examples` makes it", built.display());
    Command::new(built)
}

/// An example in Python. `tests/run` says which Python has what it needs, and puts it there.
pub fn python_example(name: &str) -> Command {
    let python = std::env::var_os("CANIHAZ_TESTS_PYTHON").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-tools/python/bin/python"),
        PathBuf::from,
    );
    assert!(python.exists(), "{}: `tests/run` makes it", python.display());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name));
    command
}

/// Where it listens.
#[derive(Clone, Debug)]
enum Address {
    Tcp(u16),
    Unix(PathBuf),
}

/// A running load test; killed when dropped.
pub struct LoadTest {
    child: Child,
    address: Address,
    stdout: Option<Lines>,
    stderr: Option<Lines>,
    folder: Option<TempDir>,
}

/// One that has ended, and what it has written.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

/// What calls it.
pub type Caller = JobClient<Channel>;

/// One connection.
#[derive(Clone)]
pub struct Channel(SendRequest<Body>);

/// The lines that come from a pipe.
struct Lines {
    seen: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl LoadTest {
    /// Starts it with a socket of its own, and waits until it listens.
    #[track_caller]
    pub fn start(command: &Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("socket");
        Self::start_at(command, Address::Unix(path), folder, true)
    }

    /// The same, and nobody reads its standard output: a write finds a broken pipe.
    #[track_caller]
    pub fn start_unheard(command: &Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("socket");
        Self::start_at(command, Address::Unix(path), folder, false)
    }

    /// The same on a port.
    #[track_caller]
    pub fn start_on_tcp(command: &Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start_at(command, Address::Tcp(free_tcp_port()), folder, true)
    }

    #[track_caller]
    fn start_at(command: &Command, address: Address, folder: TempDir, is_heard: bool) -> Self {
        let mut load_test = Self::spawn(command, address, folder);
        let stdout = load_test.child.stdout.take();
        load_test.stdout = stdout.filter(|_| is_heard).map(Lines::of);

        eventually("a load test to listen", BOUND, || {
            assert!(load_test.child.try_wait().expect("a child can be waited for").is_none(), "it has ended");
            load_test.address.is_taken().then_some(())
        });
        load_test
    }

    fn spawn(command: &Command, address: Address, folder: TempDir) -> Self {
        // Dies with the thread that started it, however that ends.
        let mut leashed = Command::new("setpriv");
        leashed.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        leashed.env("CANIHAZ_RPC_ADDR", address.told());
        leashed.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = leashed.spawn().expect("setpriv starts");
        let stderr = child.stderr.take().map(Lines::of);
        Self { child, address, stdout: None, stderr, folder: Some(folder) }
    }

    /// Calls it over a connection of its own.
    pub async fn caller(&self) -> Caller {
        let channel = match &self.address {
            Address::Tcp(port) => {
                Channel::over(TcpStream::connect(("127.0.0.1", *port)).await.expect("it listens")).await
            }
            Address::Unix(path) => Channel::over(UnixStream::connect(path).await.expect("it listens")).await,
        };
        JobClient::with_origin(channel, http::Uri::from_static("http://load-test"))
    }

    /// The lines on its standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.as_ref().expect("it is read").seen()
    }

    /// The lines on its standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.as_ref().expect("it is read").seen()
    }

    /// What keeps the folder of its socket.
    pub fn keep_folder(&mut self) -> TempDir {
        self.folder.take().expect("nobody has it")
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        match &self.address {
            Address::Unix(path) => path,
            Address::Tcp(_) => panic!("it listens on a port"),
        }
    }

    /// Asks it to end, waits for that, and gives back all that it has written.
    #[track_caller]
    pub fn end(mut self, signal: Signal) -> Ended {
        let pid = i32::try_from(self.child.id()).expect("a process has a small number");
        kill(Pid::from_raw(pid), signal).expect("it still runs");
        self.ended()
    }

    #[track_caller]
    fn ended(&mut self) -> Ended {
        let status = eventually("a load test to end", BOUND, || self.child.try_wait().expect("it is a child"));
        let [stdout, stderr] =
            [self.stdout.take(), self.stderr.take()].map(|lines| lines.map_or_else(Vec::new, Lines::all));
        Ended { status, stdout, stderr }
    }
}

impl Drop for LoadTest {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Runs a load test that can't start, with `told` as its address.
    #[track_caller]
    pub fn told(mut command: Command, told: &str) -> Self {
        let ended = command.env("CANIHAZ_RPC_ADDR", told).stdin(Stdio::null()).output().expect("it starts");
        let lines = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text").lines().map(String::from).collect();
        Self { status: ended.status, stdout: lines(ended.stdout), stderr: lines(ended.stderr) }
    }

    /// Whether it ended as it was asked to: by itself, or by the signal where it knows none.
    pub fn is_well(&self) -> bool {
        self.status.success() || self.status.signal() == Some(Signal::SIGTERM as i32)
    }

    /// Its lines, of which each has to be an output.
    #[track_caller]
    pub fn outputs(&self) -> Vec<Output> {
        outputs(&self.stdout)
    }
}

impl Address {
    fn told(&self) -> String {
        match self {
            Self::Tcp(port) => format!("127.0.0.1:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    fn is_taken(&self) -> bool {
        match self {
            Self::Tcp(port) => connect(*port, BOUND).is_ok(),
            Self::Unix(path) => StdUnixStream::connect(path).is_ok(),
        }
    }
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let into = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let line = line.expect("it is text");
                into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { seen, reader }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(self) -> Vec<String> {
        self.reader.join().expect("all lines are text");
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Channel {
    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = shaken.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Has a journey run.
pub async fn trigger(caller: &Caller) -> Response {
    let told = Context { job_name: String::from("shop") };
    caller.clone().trigger(told).await.expect("a load test answers").into_inner()
}

/// Lines, of which each has to be an output.
#[track_caller]
pub fn outputs(lines: &[String]) -> Vec<Output> {
    let read = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    lines.iter().map(read).collect()
}
