//! A load test that behaves as it is told to, well or badly: the tests of the kind `loadtest` run it.
//!
//! Its first argument is a URL without its path; each other one a habit, as in `steps=3`. A journey asks for as many
//! paths under one sequence ID: `/a/ID?from=tests`, then `/b/…`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use canihaz::loadtest::{Error, Runner, Server, client, do_request, new_sequence_id, start_listener};

/// What it is told.
struct Habits {
    url: String,
    /// Requests a journey, at most 26.
    steps: usize,
    /// The journey at which the process exits with status 3, before it asks for anything.
    die_at: Option<u64>,
    /// The journey that never ends, and all that follow.
    hang_at: Option<u64>,
    /// The journey that panics, and each that is a multiple.
    panic_at: Option<u64>,
    /// The journey that fails, and each that is a multiple.
    fail_at: Option<u64>,
    /// How many bytes of lines that are no requests are written, at the first journey.
    flood_stdout: usize,
    /// How long a line is that is written then, in bytes.
    long_line: usize,
    /// As `flood_stdout`, on standard error.
    flood_stderr: usize,
    /// What is written at a journey, without a newline.
    half: Option<String>,
    /// Which journey that is, and each that is a multiple.
    half_at: u64,
    /// How much memory is taken at the first journey, in bytes.
    hog: usize,
    /// Whether processes are left behind at the first journey, in a session of their own, too.
    forks: bool,
    journeys: AtomicU64,
}

impl Habits {
    #[expect(clippy::zombie_processes, reason = "they are there to be left behind")]
    fn first_journey(&self) {
        flood(self.flood_stdout, std::io::stdout());
        flood(self.flood_stderr, std::io::stderr());
        if self.long_line > 0 {
            println!("{}", "x".repeat(self.long_line));
        }
        drop(std::hint::black_box(vec![1_u8; self.hog]));
        if self.forks {
            // One that stays in the group, one with a session of its own, and one whose parent is gone.
            for script in ["sleep 1000", "exec setsid sleep 1000", "(setsid sleep 1000 &) ; exit"] {
                let child = Command::new("sh").args(["-c", script]).stdout(Stdio::inherit()).spawn();
                child.expect("sh starts");
            }
        }
    }
}

impl Runner for Habits {
    async fn run(&self) -> Result<(), Error> {
        let journey = self.journeys.fetch_add(1, Ordering::Relaxed) + 1;
        let is_at = |at: Option<u64>| at.is_some_and(|at| journey.is_multiple_of(at));
        if journey == 1 {
            self.first_journey();
        }
        if let Some(half) = self.half.as_ref().filter(|_| is_at(Some(self.half_at))) {
            let mut stdout = std::io::stdout();
            let _ = stdout.write_all(half.as_bytes()).and_then(|()| stdout.flush());
        }
        if self.die_at == Some(journey) {
            process::exit(3);
        }
        if self.hang_at.is_some_and(|at| journey >= at) {
            std::future::pending::<()>().await;
        }
        let sequence_id = new_sequence_id();
        for step in ('a'..='z').take(self.steps) {
            let request = client().get(format!("{}/{step}/{sequence_id}?from=tests", self.url)).build()?;
            do_request(&sequence_id, request).await?.error_for_status()?;
        }
        assert!(!is_at(self.panic_at), "it was told to");
        if is_at(self.fail_at) { Err("it was told to".into()) } else { Ok(()) }
    }
}

/// Writes lines of a hundred bytes.
fn flood(bytes: usize, mut to: impl Write) {
    let lines = format!("{}\n", "x".repeat(99)).repeat(1000);
    for _ in 0..bytes / lines.len() {
        let _ = to.write_all(lines.as_bytes());
    }
}

fn main() -> Result<(), Error> {
    let url = env::args().nth(1).ok_or("what URL?")?;
    let habit =
        |name: &str| env::args().find_map(|habit| Some(habit.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
    let number = |name: &str| habit(name).map(|text| text.parse::<u64>()).transpose();
    if let Some(status) = number("exit")? {
        eprintln!("it was told to exit");
        process::exit(i32::try_from(status)?);
    }
    let late = number("late_ms")?.map(Duration::from_millis);
    thread::sleep(late.unwrap_or_default());
    if habit("never").is_some() {
        loop {
            thread::park();
        }
    }
    let habits = Habits {
        url,
        steps: number("steps")?.unwrap_or(1) as usize,
        die_at: number("die_at")?,
        hang_at: number("hang_at")?,
        panic_at: number("panic_at")?,
        fail_at: number("fail_at")?,
        flood_stdout: number("flood_stdout")?.unwrap_or(0) as usize,
        long_line: number("long_line")?.unwrap_or(0) as usize,
        flood_stderr: number("flood_stderr")?.unwrap_or(0) as usize,
        half: habit("half"),
        half_at: number("half_at")?.unwrap_or(1),
        hog: number("hog")?.unwrap_or(0) as usize,
        forks: habit("forks").is_some(),
        journeys: AtomicU64::new(0),
    };
    start_listener(Server::new(habits))?;
    // Asked to end, it has stopped listening.
    while habit("stubborn").is_some() {
        thread::park();
    }
    Ok(())
}
