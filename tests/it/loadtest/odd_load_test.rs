//! A load test that behaves as it is told to, well or badly: the tests of load tests run it.
//!
//! Its first argument is a URL without its path; each other one a habit, as in `steps=3`. A journey asks for as many
//! paths under one sequence ID: `/a/ID?from=tests`, then `/b/…`; or, with `as_is=yes`, for the URL as it is.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fmt, process, thread};

use canihaz::loadtest::reqwest::header::{HeaderMap, HeaderValue};
use canihaz::loadtest::{
    Error, Runner, Server, client, client_builder, do_request, new_sequence_id, set_client, start_listener,
};

/// What it is told.
struct Habits {
    url: String,
    /// Whether that is all that is asked for.
    is_as_is: bool,
    /// Requests a journey, at most 26.
    steps: usize,
    /// The journey at which the process exits with status 3, before it asks for anything.
    die_at: Option<u64>,
    /// The journey that never ends, and all that follow.
    hang_at: Option<u64>,
    /// The same after it has asked for all; that it was dropped it says on standard error.
    stay_at: Option<u64>,
    /// How long a journey goes on when it has asked for all.
    linger: Duration,
    /// The journey that panics, and each that is a multiple.
    panic_at: Option<u64>,
    /// The journey that fails, and each that is a multiple.
    fail_at: Option<u64>,
    /// Whether each fails with an error that has a source, before it asks for anything.
    errs: bool,
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
        if self.errs {
            Err(Sad(std::io::Error::other("no cats")))?;
        }
        let sequence_id = new_sequence_id();
        for step in ('a'..='z').take(self.steps) {
            let url = match self.is_as_is {
                true => self.url.clone(),
                false => format!("{}/{step}/{sequence_id}?from=tests", self.url),
            };
            let request = client().get(url).build()?;
            do_request(&sequence_id, request).await?.error_for_status()?.bytes().await?;
        }
        if self.stay_at.is_some_and(|at| journey >= at) {
            let _dropped = Dropped;
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.linger).await;
        if is_at(self.panic_at) {
            panic!("on {}", "purpose");
        }
        if is_at(self.fail_at) { Err("it was told to".into()) } else { Ok(()) }
    }
}

/// Says on standard error that a journey was dropped.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "a journey was dropped");
    }
}

/// An error that has a source.
#[derive(Debug)]
struct Sad(std::io::Error);

impl fmt::Display for Sad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journey is sad")
    }
}

impl std::error::Error for Sad {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
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
    let millis = |name: &str| number(name).map(|ms| Duration::from_millis(ms.unwrap_or(0)));
    thread::sleep(millis("late_ms")?);
    if habit("never").is_some() {
        loop {
            thread::park();
        }
    }
    if habit("own_client").is_some() {
        let headers = HeaderMap::from_iter([("x-cats".parse()?, HeaderValue::from_static("13"))]);
        set_client(client_builder().default_headers(headers).build()?);
    }
    let habits = Habits {
        url,
        is_as_is: habit("as_is").is_some(),
        steps: number("steps")?.unwrap_or(1) as usize,
        die_at: number("die_at")?,
        hang_at: number("hang_at")?,
        stay_at: number("stay_at")?,
        linger: millis("linger_ms")?,
        panic_at: number("panic_at")?,
        fail_at: number("fail_at")?,
        errs: habit("errs").is_some(),
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
