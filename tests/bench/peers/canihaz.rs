//! canihaz as one of the tools: it takes no arguments and runs until its minute ends, so each run gets a
//! configuration of its own, a rate that is spread over what is left of the minute, and is stopped by its stop file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::scene::Scene;

/// The most hits a minute that a test may have.
const MOST: u32 = 60_000_000;
/// The hits a minute when start-up is measured.
const START: u32 = 60_000;
/// When hits of a minute end.
const LAST: f64 = 59.9;
/// The room, in seconds, that is left before the minute's end.
const ROOM: f64 = 2.0;
/// The most hits in flight while 2,000 of them get stuck.
const STUCK: u32 = 3_000;
/// What part of a second's hits may be in flight, as a divisor. After a hold-up of the client's own, of up to 10 ms,
/// all that were due meanwhile start at once: were they to wait for places, the rest would be spread anew.
const HELD_UP: u32 = 50;

/// How canihaz is set, where the scene leaves it open.
#[derive(Debug)]
pub struct Terms {
    /// The most hits in flight; what fits the scene when `None`.
    pub overtime: Option<u32>,
    /// The setting `pacing_slack`; its default when `None`.
    pub slack: Option<String>,
}

/// The lag of the run's hits, due to send, as it says itself.
#[derive(Debug)]
pub struct Lag {
    pub p50_us: f64,
    pub p99_us: f64,
}

/// The command that takes part in `scene`, whose files are in `folder`. Waits for a moment that leaves the minute
/// enough room, and is to be started at once: its rate counts from now.
pub fn command(program: &Path, scene: Scene, seconds: u64, terms: &Terms, url: &str, folder: &Path) -> Result<Command> {
    for name in ["etc/tests.d", "etc/types.d", "etc/destinations.d", "state", "lock"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let overtime = match (scene, scene.rate()) {
        (Scene::Stuck, _) => STUCK,
        (_, Some(rate)) => terms.overtime.unwrap_or((rate / HELD_UP).max(scene.connections())),
        (_, None) => terms.overtime.unwrap_or(scene.connections()),
    };
    let write = |name: &str, text: String| fs::write(folder.join("etc").join(name), text);
    write("types.d/peer.toml", format!("kind = \"http\"\nurl = \"{url}\"\novertime = {overtime}\n"))?;
    write("destinations.d/out.toml", String::from("kind = \"file\"\npath = \"../../out.jsonl\"\n"))?;
    let slack = if let Scene::Exact(_) = scene { Some("0s") } else { terms.slack.as_deref() };
    if let Some(slack) = slack {
        write("canihaz.toml", format!("pacing_slack = \"{slack}\"\n"))?;
    }
    if second() > LAST - ROOM - seconds as f64 {
        thread::sleep(Duration::from_secs_f64(60.5 - second()));
    }
    let frequency = match scene.rate() {
        None => MOST,
        Some(_) if scene == Scene::Start => START,
        Some(rate) => (f64::from(rate) * (LAST - second())) as u32,
    };
    write("tests.d/peer.conf", format!("peer|peer|{frequency}|out\n"))?;
    let mut command = Command::new(program);
    for (name, under) in [("CANIHAZ_ETC", "etc"), ("CANIHAZ_STATE", "state"), ("CANIHAZ_LOCK", "lock")] {
        command.env(name, folder.join(under));
    }
    Ok(command)
}

/// Has the run in `folder` end.
pub fn stop(folder: &Path) -> Result<()> {
    Ok(fs::write(folder.join("etc/stop"), "measured\n")?)
}

/// The lag in that of the run's intervals that has the most hits.
pub fn lag(folder: &Path) -> Result<Lag> {
    #[derive(Deserialize)]
    struct Line {
        ok: u64,
        lag: Option<Quantiles>,
    }
    #[derive(Deserialize)]
    struct Quantiles {
        p50: f64,
        p99: f64,
    }
    let text = fs::read_to_string(folder.join("out.jsonl")).context("canihaz has left no summary")?;
    // The runner's own line has no hits.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let most = lines.max_by_key(|line| line.ok).and_then(|line| line.lag).context("canihaz's summary has no lag")?;
    Ok(Lag { p50_us: most.p50 * 1e6, p99_us: most.p99 * 1e6 })
}

/// The second of the wall clock's minute.
fn second() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64() % 60.0
}
