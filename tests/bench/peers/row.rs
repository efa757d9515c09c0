//! The rows of the table: which scenes each needs, and what it shows of them.

use clap::ValueEnum;

use crate::sample::Sample;
use crate::scene::Scene;
use crate::table::{Cell, Line};

/// A part of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Row {
    /// Deviation of arrivals, against the stamping server, and the processor time there.
    Pacing,
    /// Processor time for a request, against nginx.
    Cpu,
    /// Requests a second, flat out.
    Flat,
    /// Peak memory, at 1,000/s and with hits stuck in flight.
    Memory,
    /// Exec to first request.
    Start,
    /// canihaz's own due-to-send lag.
    Lag,
}

impl Row {
    /// The scenes that it needs, at `rates` where it has a choice.
    pub fn scenes(self, rates: Option<&[u32]>) -> Vec<Scene> {
        match self {
            Self::Pacing => {
                let all = [100, 1_000, 5_000, 20_000];
                let rates = rates.unwrap_or(&all);
                let more = |rate| match rate {
                    100 => vec![Scene::Paced(rate), Scene::Single(rate)],
                    5_000 => vec![Scene::Paced(rate), Scene::Exact(rate)],
                    _ => vec![Scene::Paced(rate)],
                };
                rates.iter().copied().flat_map(more).collect()
            }
            Self::Cpu => rates.unwrap_or(&[1_000, 5_000, 20_000]).iter().copied().map(Scene::Served).collect(),
            Self::Flat => vec![Scene::Flat],
            Self::Memory => vec![Scene::Served(1_000), Scene::Stuck],
            Self::Start => vec![Scene::Start],
            Self::Lag => rates.unwrap_or(&[1_000]).iter().copied().map(Scene::Paced).collect(),
        }
    }

    /// Its lines in the table, of the same scenes.
    pub fn lines(self, rates: Option<&[u32]>) -> Vec<Line> {
        let scenes = self.scenes(rates).into_iter();
        let line = |title: &str, scene: Scene, cell: Cell| Line {
            title: title.replace("RATE", &scene.rate().map(thousands).unwrap_or_default()),
            scene,
            cell,
        };
        let deviation = Cell::Pair(|sample| sample.deviation_p50_us, |sample| sample.deviation_p99_us);
        let cpu = Cell::Ratio(|sample| Some(sample.cpu_us), "wrk2");
        match self {
            Self::Pacing => {
                let title = |scene, usual| match scene {
                    Scene::Exact(_) => "the same at RATE/s, `pacing_slack = \"0s\"`",
                    Scene::Single(_) => "the same at RATE/s, on one connection",
                    _ => usual,
                };
                let even = "deviation of arrivals at RATE/s, µs, p50 / p99";
                let price = "CPU a request in these runs at RATE/s, µs (× wrk2)";
                let deviations = scenes.clone().map(|scene| line(title(scene, even), scene, deviation));
                deviations.chain(scenes.map(|scene| line(title(scene, price), scene, cpu))).collect()
            }
            Self::Cpu => {
                scenes.map(|scene| line("CPU a request to nginx at RATE/s, µs (× wrk2)", scene, cpu)).collect()
            }
            Self::Flat => {
                let per_second = Cell::Ratio(|sample| sample.per_second, "wrk");
                let cpu = Cell::Ratio(|sample| Some(sample.cpu_us), "wrk");
                vec![
                    line("requests a second to nginx, flat out (× wrk)", Scene::Flat, per_second),
                    line("CPU a request in these runs, µs (× wrk)", Scene::Flat, cpu),
                ]
            }
            Self::Memory => {
                let peak = Cell::One(|sample| Some(sample.peak_mb));
                vec![
                    line("peak memory at RATE/s, MB", Scene::Served(1_000), peak),
                    line("the same, with 2,000 hits stuck in flight", Scene::Stuck, peak),
                ]
            }
            Self::Start => {
                vec![line("exec to the first request at RATE/s, ms", Scene::Start, Cell::One(|sample| sample.first_ms))]
            }
            Self::Lag => {
                let lag = Cell::Pair(|sample| sample.lag_p50_us, |sample| sample.lag_p99_us);
                scenes
                    .map(|scene| line("due to send at RATE/s, as canihaz says itself, µs, p50 / p99", scene, lag))
                    .collect()
            }
        }
    }
}

/// With a comma at every third digit.
pub fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// What a line takes of a sample.
pub type Figure = fn(&Sample) -> Option<f64>;
