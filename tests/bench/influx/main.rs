//! Writes points to Debian's influxd, flat out: by the runner, and by the simplest client that there could be.
//!
//! Each run has a server of its own, with nothing in it. Clients and servers share the machine, as they do where the
//! figures of both are said to be of "the same two cores". A client's processor time is all that its process had, the
//! kernel's part of sending included; for the runner that of an idle run, which is its start-up, is taken off. What is
//! on its way when the runner is stopped is canceled: the database may have it, and it isn't reported.

#[path = "../../it/parts/mod.rs"]
#[expect(dead_code, reason = "of the tests' parts only some are needed here")]
mod parts;
mod prototype;
mod runner;

use std::fs;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use parts::influx::{Influx, Options};
use prototype::Prototype;
use runner::Verdict;

/// The points: how many a batch, one tick before the first, and from tick to tick, in nanoseconds.
const BATCH: u64 = 5_000;
const START: i64 = 1_136_160_000_000_000_000;
const TICK: i64 = 10_000_000_000;
const DATABASE: &str = "lab";
/// How much is written at once. A database has a hard time with many series, so one of few shows more of the client.
const LOADS: [Load; 4] = [
    Load { series: 100, concurrency: 1 },
    Load { series: 100, concurrency: 2 },
    Load { series: 100, concurrency: 4 },
    Load { series: 100_000, concurrency: 2 },
];
/// The load with which memory is looked at, and how much longer the longer run is.
const MEMORY: (Load, f64) = (Load { series: 100_000, concurrency: 2 }, 4.0);
/// How long an idle run is, in seconds.
const IDLE: f64 = 2.0;

/// What is written.
#[derive(Clone, Copy)]
struct Load {
    series: u64,
    /// Batches on their way.
    concurrency: u64,
}

/// A run of either client.
struct Sample {
    /// Points a second that were written.
    rate: f64,
    /// Processor time a point, in ns: of the client, and of the server.
    client: f64,
    server: f64,
    /// What a client that says so says of who was the limit.
    verdict: Verdict,
}

fn main() {
    let (reps, seconds) = arguments();
    let start_up = with_server(|influx| runner::idle(influx.port, MEMORY.0, IDLE));
    let start_up = start_up.user + start_up.system;
    println!("Medians of {reps}, {seconds} s each, in batches of {BATCH} points.\n");
    println!(
        "| series, batches on their way | points/s (× prototype) | client's CPU a point, ns (× prototype) | influxd's \
         CPU a point, ns (× prototype) | the limit, as canihaz says | blocked / lag, p99, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for load in LOADS {
        let prototype = Prototype::new(load.series);
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for rep in 0..reps {
            let mut one = |is_ours: bool| match is_ours {
                true => ours.push(run(load, seconds, start_up)),
                false => peers.push(run_prototype(&prototype, load, seconds)),
            };
            one(rep % 2 == 0);
            one(rep % 2 == 1);
        }
        row(load, &ours, &peers);
    }
    let (load, longer) = MEMORY;
    let [short, long] = [seconds, seconds * longer].map(|seconds| {
        let ran = with_server(|influx| runner::flat_out(influx.port, load, seconds));
        format!("{:.1} MB with {:.1} million points", ran.peak as f64 / 1024.0, ran.points as f64 / 1e6)
    });
    println!("\nPeak memory, {} series, {} on their way: {short}, {long}.", load.series, load.concurrency);
    println!("CPU of an idle run: {:.1} ms, taken off.", start_up.as_secs_f64() * 1e3);
}

/// Prints the medians of a load.
fn row(Load { series, concurrency }: Load, ours: &[Sample], peers: &[Sample]) {
    let median_of = |samples: &[Sample], what: fn(&Sample) -> f64| median(samples.iter().map(what));
    let beside = |what: fn(&Sample) -> f64, decimals: usize| {
        let (ours, peers) = (median_of(ours, what), median_of(peers, what));
        format!("{ours:.decimals$} ({:.2} × {peers:.decimals$})", ours / peers)
    };
    let limited = ours.iter().filter(|one| one.verdict.generator_limited > 0).count();
    println!(
        "| {series}, {concurrency} | {} | {} | {} | {} | {:.1} / {:.1} |",
        beside(|one| one.rate, 0),
        beside(|one| one.client, 1),
        beside(|one| one.server, 0),
        if limited * 2 > ours.len() { "this server" } else { "the database" },
        median_of(ours, |one| one.verdict.blocked_ms),
        median_of(ours, |one| one.verdict.lag_ms),
    );
}

/// Runs the runner against a server of its own.
fn run(load: Load, seconds: f64, start_up: Duration) -> Sample {
    with_server(|influx| {
        let before = spent(influx.id());
        let ran = runner::flat_out(influx.port, load, seconds);
        let server = spent(influx.id()) - before;
        let (user, system) = (a_point(ran.user, ran.points), a_point(ran.system, ran.points));
        let verdict = ran.verdict;
        eprintln!(
            "canihaz, {} series, {}: {} points reported, {} there; {user:.1} ns user, {system:.1} ns system a point; \
             {} of {} intervals limited by this server; {} failed; {} MB",
            load.series,
            load.concurrency,
            ran.points,
            influx.count(DATABASE, "cpu", "value"),
            verdict.generator_limited,
            verdict.intervals,
            verdict.failed,
            ran.peak / 1024,
        );
        Sample {
            rate: ran.points as f64 / ran.took.as_secs_f64(),
            client: a_point((ran.user + ran.system).saturating_sub(start_up), ran.points),
            server: a_point(server, ran.points),
            verdict,
        }
    })
}

/// Runs the prototype against a server of its own.
fn run_prototype(prototype: &Prototype, load: Load, seconds: f64) -> Sample {
    with_server(|influx| {
        let before = spent(influx.id());
        let written = prototype.write(influx.port, load.concurrency, seconds);
        let server = spent(influx.id()) - before;
        let (user, system) = (a_point(written.user, written.points), a_point(written.system, written.points));
        eprintln!(
            "prototype, {} series, {}: {} points written, {} there; {user:.1} ns user, {system:.1} ns system a point",
            load.series,
            load.concurrency,
            written.points,
            influx.count(DATABASE, "cpu", "value"),
        );
        Sample {
            rate: written.points as f64 / written.took.as_secs_f64(),
            client: user + system,
            server: a_point(server, written.points),
            verdict: Verdict::default(),
        }
    })
}

/// Gives a server with an empty database to `work`, and ends it.
fn with_server<T>(work: impl FnOnce(&Influx) -> T) -> T {
    // There are as many hosts as it has room for, or more.
    let influx = Influx::with(Options { data: "max-values-per-tag = 0", ..Options::default() });
    influx.create(DATABASE);
    work(&influx)
}

/// The processor time that a process has had so far.
fn spent(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it still runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("the kernel always tells");
    Duration::from_secs_f64(ticks as f64 / a_second as f64)
}

/// In ns.
fn a_point(time: Duration, points: u64) -> f64 {
    time.as_nanos() as f64 / points.max(1) as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How often each is run, and for how many seconds.
fn arguments() -> (usize, f64) {
    let arguments: Vec<_> = std::env::args().collect();
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let reps = after("--reps").map_or(3, |reps| reps.parse().expect("--reps is a number"));
    let seconds = after("--seconds").map_or(10.0, |seconds| seconds.parse().expect("--seconds is a number"));
    assert!(reps > 0 && (1.0..=14.0).contains(&seconds), "at least one run, each of 1 to 14 s");
    (reps, seconds)
}
