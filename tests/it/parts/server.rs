//! A real server as a child: on a free port, ready when it accepts, gone with the test.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::deadline::eventually;

/// How long a server may take to accept.
const START: Duration = Duration::from_secs(30);
/// How often another port is tried when somebody else was faster.
const TRIES: usize = 5;

/// A child that is killed when this is dropped, and by the kernel when the test's thread ends in another way.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts what `command` makes of a free port and waits until the port that it gives back accepts connections;
    /// `log` is shown when it doesn't. The port is free when it is chosen; who loses it meanwhile gets another.
    #[track_caller]
    pub fn start(name: &str, log: &Path, command: impl FnMut(u16) -> (Command, u16)) -> (Self, u16) {
        Self::start_until(name, log, command, |port| connect(port, START).is_ok())
    }

    /// As [`start`](Self::start), and waits until it `is_ready`: whoever was faster may accept, but isn't that.
    #[track_caller]
    pub fn start_until(
        name: &str,
        log: &Path,
        mut command: impl FnMut(u16) -> (Command, u16),
        is_ready: impl Fn(u16) -> bool,
    ) -> (Self, u16) {
        for _ in 0..TRIES {
            let (command, port) = command(free_tcp_port());
            let mut server = Self::spawn(&command, log);
            let ready = eventually(&format!("{name} to be ready"), START, || {
                if server.has_ended() {
                    return Some(false);
                }
                is_ready(port).then_some(true)
            });
            if ready {
                return (server, port);
            }
        }
        panic!("{name} does not start:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Starts `command` with both its outputs in `log`.
    fn spawn(command: &Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("the log can be created");
        // Dies with the thread that started it, however that ends.
        let mut leashed = Command::new("setpriv");
        leashed.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            leashed.env(name, value.expect("nothing is unset"));
        }
        if let Some(folder) = command.get_current_dir() {
            leashed.current_dir(folder);
        }
        leashed.stdin(Stdio::null()).stdout(log.try_clone().expect("the log can be shared")).stderr(log);
        Self { child: leashed.spawn().expect("setpriv starts") }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as `kill` does, and waits for that, at most `bound`.
    #[track_caller]
    pub fn stop(mut self, bound: Duration) {
        let pid = i32::try_from(self.child.id()).expect("a process has a small number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it still runs");
        eventually("a server to end", bound, || self.has_ended().then_some(()));
    }

    /// Whether it has ended by itself.
    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to a port of loopback.
///
/// Where nobody listens the kernel may give a connection that very port for its own end, and it is connected with
/// itself: that is nobody.
pub fn connect(port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout)?;
    if is_with_itself(&stream)? { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
}

fn is_with_itself(stream: &TcpStream) -> io::Result<bool> {
    Ok(stream.local_addr()? == stream.peer_addr()?)
}

/// A TCP port of loopback that is free now.
pub fn free_tcp_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A UDP port of loopback that is free now.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// Writes `text` as `folder/name` and says where that is.
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("the file can be written");
    path
}

#[tokio::test]
async fn a_connection_with_itself_is_seen() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let itself = socket.local_addr().unwrap();
    let itself = socket.connect(itself).await.unwrap().into_std().unwrap();
    assert!(is_with_itself(&itself).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    connect(listener.local_addr().unwrap().port(), START).unwrap();
}
