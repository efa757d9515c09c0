//! One run of one tool in one scene, and what it came to.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::canihaz::{self, Terms};
use crate::cost::{Cost, Running};
use crate::deviation::Deviation;
use crate::nginx::Nginx;
use crate::scene::Scene;
use crate::stamps::Stamps;
use crate::tool::{Kind, Tool};

/// How much longer than it was asked to a tool may run.
const GRACE: Duration = Duration::from_secs(15);
/// What is cut off at either end of a run when requests a second are counted: start-up, and the end.
const EDGE: Duration = Duration::from_secs(1);

/// What a run came to. What a scene doesn't tell is `None`.
#[derive(Debug, Default, Serialize)]
pub struct Sample {
    pub repetition: u32,
    pub tool: String,
    pub scene: &'static str,
    /// Hits a second that were asked for.
    pub asked: Option<u32>,
    pub requests: u64,
    /// Processor time for a request, in microseconds.
    pub cpu_us: f64,
    /// The kernel's part of it.
    pub system_us: f64,
    /// Switches for a request, of either kind.
    pub switches: f64,
    /// How often the run was switched from against its will: many in a second mean that it wasn't alone on its core.
    pub preemptions: i64,
    pub peak_mb: f64,
    pub wall_s: f64,
    pub success: bool,
    /// Of arrivals, in microseconds.
    pub deviation_p50_us: Option<f64>,
    pub deviation_p99_us: Option<f64>,
    pub deviation_max_us: Option<f64>,
    /// The same where each second has a grid of its own.
    pub within_second_p50_us: Option<f64>,
    pub within_second_p99_us: Option<f64>,
    /// The rate that was sent, as a share of the rate that was asked for.
    pub sent: Option<f64>,
    /// From exec to the first request, in milliseconds.
    pub first_ms: Option<f64>,
    /// Requests a second, without the run's first and last second.
    pub per_second: Option<f64>,
    /// Requests that waited when the stall was over.
    pub stuck: Option<u64>,
    /// Due to send, as canihaz says itself, in microseconds.
    pub lag_p50_us: Option<f64>,
    pub lag_p99_us: Option<f64>,
}

impl Sample {
    /// Runs `tool` in `scene`, for `seconds` unless the scene has its own length.
    pub fn take(tool: &Tool, scene: Scene, seconds: u64, terms: &Terms) -> Result<Self> {
        let seconds = tool.seconds(scene, seconds);
        let folder = tempfile::tempdir()?;
        let here = folder.path();
        let mut sample = Self { tool: tool.name.clone(), scene: scene.name(), asked: scene.rate(), ..Self::default() };
        let cost = if scene.is_served() {
            let mut server = Nginx::start()?;
            let command = tool.command(scene, seconds, terms, &server.url(), here)?;
            let before = server.count()?;
            let run = Run::start(tool, &command, here)?;
            if scene == Scene::Flat {
                sample.per_second = Some(per_second(&mut server, seconds)?);
            }
            let cost = run.end(seconds)?;
            sample.requests = server.count()? - before;
            let wall_s = cost.wall_us as f64 / 1e6;
            sample.sent = scene.rate().map(|rate| sample.requests as f64 / wall_s / f64::from(rate));
            cost
        } else {
            let stall = tool.stall(scene);
            let server = Stamps::start(stall)?;
            let command = tool.command(scene, seconds, terms, &server.url(), here)?;
            let cost = Run::start(tool, &command, here)?.end(seconds)?;
            let seen = server.end()?;
            sample.stuck = stall.map(|_| seen.stuck);
            sample.note(scene, &seen.arrivals, cost.exec_ns);
            cost
        };
        ensure!(sample.requests > 0, quote(here, "it has sent nothing"));
        if tool.kind == Kind::Canihaz && scene != Scene::Flat && scene != Scene::Start {
            let lag = canihaz::lag(here).with_context(|| quote(here, "it was to say its lag"))?;
            (sample.lag_p50_us, sample.lag_p99_us) = (Some(lag.p50_us), Some(lag.p99_us));
        }
        sample.put_down(&cost);
        Ok(sample)
    }

    /// What arrivals tell: when the first one was, and how even they were, where that is asked.
    fn note(&mut self, scene: Scene, arrivals: &[u64], exec_ns: u64) {
        self.requests = arrivals.len() as u64;
        self.first_ms = arrivals.first().map(|first| first.saturating_sub(exec_ns) as f64 / 1e6);
        if matches!(scene, Scene::Stuck | Scene::Start) {
            return;
        }
        if let Some((deviation, rate)) = Deviation::of(arrivals) {
            self.deviation_p50_us = Some(deviation.p50_us);
            self.deviation_p99_us = Some(deviation.p99_us);
            self.deviation_max_us = Some(deviation.max_us);
            self.sent = scene.rate().map(|asked| rate / f64::from(asked));
        }
        if let Some(deviation) = Deviation::within_seconds(arrivals) {
            self.within_second_p50_us = Some(deviation.p50_us);
            self.within_second_p99_us = Some(deviation.p99_us);
        }
    }

    fn put_down(&mut self, cost: &Cost) {
        let each = |figure: i64| figure as f64 / self.requests as f64;
        self.cpu_us = each(cost.user_us + cost.system_us);
        self.system_us = each(cost.system_us);
        self.switches = each(cost.waits + cost.preemptions);
        self.preemptions = cost.preemptions;
        self.peak_mb = cost.peak_kb as f64 / 1024.0;
        self.wall_s = cost.wall_us as f64 / 1e6;
        self.success = cost.success;
    }
}

/// A tool on its way.
struct Run<'a> {
    running: Running,
    begin: Instant,
    kind: Kind,
    folder: &'a Path,
}

impl<'a> Run<'a> {
    fn start(tool: &Tool, command: &std::process::Command, folder: &'a Path) -> Result<Self> {
        let running = Running::start(command, &folder.join("log"))?;
        Ok(Self { running, begin: Instant::now(), kind: tool.kind, folder })
    }

    /// Waits until it has ended after its `seconds`.
    fn end(self, seconds: u64) -> Result<Cost> {
        if self.kind == Kind::Canihaz {
            thread::sleep(Duration::from_secs(seconds).saturating_sub(self.begin.elapsed()));
            canihaz::stop(self.folder)?;
        }
        self.running.wait(Duration::from_secs(seconds) + GRACE).with_context(|| quote(self.folder, "it doesn't end"))
    }
}

/// The requests a second that nginx gets now, in a run of `seconds` that has just begun.
fn per_second(server: &mut Nginx, seconds: u64) -> Result<f64> {
    thread::sleep(EDGE);
    let (begin, before) = (Instant::now(), server.count()?);
    thread::sleep(Duration::from_secs(seconds).saturating_sub(EDGE * 2).max(EDGE / 2));
    let after = server.count()?;
    Ok((after - before) as f64 / begin.elapsed().as_secs_f64())
}

/// `what`, and the last words of the tool whose files are in `folder`.
fn quote(folder: &Path, what: &str) -> String {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    match log.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{what}; its last words: {line}"),
        None => format!("{what}, and it says nothing"),
    }
}

/// In a line, for those who watch.
impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let (cpu, switches, peak, preempted) = (self.cpu_us, self.switches, self.peak_mb, self.preemptions);
        write!(
            out,
            "{} requests, {cpu:.1} µs, {switches:.2} switches each, {preempted} preemptions, {peak:.1} MB",
            self.requests
        )?;
        let mut shown = |value: Option<f64>, name: &str| match value {
            Some(value) => write!(out, ", {value:.1} {name}"),
            None => Ok(()),
        };
        let share = self.sent.map(|share| share * 100.0);
        shown(self.deviation_p50_us, "µs off p50")?;
        shown(self.deviation_p99_us, "µs off p99")?;
        shown(self.within_second_p50_us, "within seconds")?;
        shown(share, "% sent")?;
        shown(self.lag_p50_us, "µs lag p50")?;
        shown(self.lag_p99_us, "µs lag p99")?;
        shown(self.first_ms, "ms to the first")?;
        shown(self.per_second, "a second")?;
        shown(self.stuck.map(|stuck| stuck as f64), "stuck")?;
        write!(out, "{}", if self.success { "" } else { ", exit status not 0" })
    }
}
