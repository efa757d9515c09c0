//! Measures the runner from outside: from exec to the first hit, and its peak memory at 1,000 hits a second.
//!
//! The server stamps with the monotonic clock when it accepts and when the first request has come. nginx tells
//! milliseconds alone, cut off, so its row, which is there to confirm the others, may be a millisecond too low. The
//! first hit of 60,000 a minute is due within a millisecond of the plan, and that is part of the figure, as is the
//! fork.

#[path = "../it/parts/mod.rs"]
#[expect(dead_code, reason = "of the tests' parts only nginx is needed here")]
mod parts;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parts::deadline::eventually;
use parts::nginx::Nginx;
use tempfile::TempDir;

/// How many times it is started.
const STARTS: usize = 41;
/// How many of the first of them don't count, as they warm the file system.
const WARM: usize = 5;
/// Hits a second while memory is measured, and for how many seconds.
const RATE: f64 = 1_000.0;
const SECONDS: u64 = 15;
/// The longest wait for a hit that doesn't come.
const BOUND: Duration = Duration::from_secs(5);

/// A connection that came, or its first request.
enum Seen {
    Accepted(Instant),
    Asked(Instant),
}

fn main() {
    let (told, seen) = channel();
    let address = serve(told);
    let mut accepted = Vec::new();
    let mut asked = Vec::new();
    for number in 0..STARTS {
        let (accept, ask) = start_up(address, &seen);
        if number >= WARM {
            accepted.push(accept);
            asked.push(ask);
        }
    }
    println!("start-up, {} times, ms            min  median     p90     max", STARTS - WARM);
    row("exec to the first connection", accepted);
    row("exec to the first request (bound: 5)", asked);
    row("exec to the first hit in nginx's log", at_nginx());
    let (peak, hits) = memory(address, &seen);
    println!("peak memory, MB (bound: 10)          {peak:.1} at {hits:.0} hits a second");
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{name:<36} {:>5.2} {:>7.2} {:>7.2} {:>7.2}", at(0.0), at(0.5), at(0.9), at(1.0));
}

/// Starts the runner in mid-minute and ends it with its first request.
fn start_up(address: SocketAddr, seen: &Receiver<Seen>) -> (Duration, Duration) {
    wait_for_mid_minute(5.0);
    let folder = configuration(&format!("http://{address}/"), 60_000);
    // What a killed run before had still to say.
    while seen.try_recv().is_ok() {}
    let mut command = runner(folder.path());
    let exec = Instant::now();
    let mut child = command.spawn().expect("the runner starts");
    let mut accepted = None;
    let asked = loop {
        match seen.recv_timeout(BOUND).expect("the runner hits") {
            Seen::Accepted(at) => accepted = accepted.or(Some(at)),
            Seen::Asked(at) => break at,
        }
    };
    end(&mut child);
    (accepted.expect("a connection comes before its request") - exec, asked - exec)
}

/// The same against nginx, as its access log has it.
fn at_nginx() -> Vec<Duration> {
    let nginx = Nginx::start();
    let mut times = Vec::new();
    for number in 0..STARTS {
        wait_for_mid_minute(5.0);
        let folder = configuration(&nginx.url("/"), 60_000);
        let before = nginx.hits().len();
        let mut command = runner(folder.path());
        let exec = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        let mut child = command.spawn().expect("the runner starts");
        eventually("the first hit", BOUND, || (nginx.count_now("/") > before).then_some(()));
        end(&mut child);
        if number >= WARM {
            times.push(Duration::from_secs_f64((nginx.hits()[before].at - exec.as_secs_f64()).max(0.0)));
        }
    }
    times
}

/// The peak of the runner's resident memory, in MB, and how many hits a second it made meanwhile.
fn memory(address: SocketAddr, seen: &Receiver<Seen>) -> (f64, f64) {
    wait_for_mid_minute(SECONDS as f64 + 2.0);
    let frequency = (59.9 - second()) * RATE;
    let folder = configuration(&format!("http://{address}/"), frequency as u64);
    while seen.try_recv().is_ok() {}
    let begin = Instant::now();
    let mut child = runner(folder.path()).spawn().expect("the runner starts");
    thread::sleep(Duration::from_secs(SECONDS));
    // The kernel keeps the peak: one look is enough.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it still runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    let kilobytes: f64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    let took = begin.elapsed().as_secs_f64();
    end(&mut child);
    let hits = seen.try_iter().filter(|seen| matches!(seen, Seen::Asked(_))).count();
    (kilobytes / 1024.0, hits as f64 / took)
}

fn end(child: &mut Child) {
    child.kill().expect("it still runs");
    child.wait().expect("it can be waited for");
}

fn runner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canihaz"));
    command
        .env_clear()
        .env("CANIHAZ_ETC", folder.join("etc"))
        .env("CANIHAZ_STATE", folder.join("state"))
        .env("CANIHAZ_LOCK", folder.join("lock"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A configuration with one test of so many hits a minute, whose results go to a file.
fn configuration(url: &str, frequency: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for name in ["etc/tests.d", "etc/types.d", "etc/destinations.d", "state", "lock"] {
        fs::create_dir_all(folder.path().join(name)).expect("a folder can be made");
    }
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a file can be written");
    write("etc/tests.d/a.conf", format!("a|front|{frequency}|out\n"));
    write("etc/types.d/front.toml", format!("kind = \"http\"\nurl = \"{url}\"\n"));
    write("etc/destinations.d/out.toml", String::from("kind = \"file\"\npath = \"../../out.jsonl\"\n"));
    folder
}

/// Waits, if need be, for a second that leaves `room` seconds before the minute's end.
fn wait_for_mid_minute(room: f64) {
    if second() > 58.0 - room {
        thread::sleep(Duration::from_secs_f64(60.5 - second()));
    }
}

/// The second of the wall clock's minute.
fn second() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64() % 60.0
}

/// Answers whatever is asked with 200, a thread a connection, and tells when.
fn serve(told: Sender<Seen>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = told.send(Seen::Accepted(Instant::now()));
            let told = told.clone();
            thread::spawn(move || answer(&stream, &told));
        }
    });
    address
}

fn answer(stream: &TcpStream, told: &Sender<Seen>) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut line = String::new();
    loop {
        let mut first = true;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if std::mem::take(&mut first) {
                told.send(Seen::Asked(Instant::now())).ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
    }
}
