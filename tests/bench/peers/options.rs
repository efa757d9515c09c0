//! What the bench is asked for.

use std::path::PathBuf;

use clap::Parser;

use crate::canihaz::Terms;
use crate::row::Row;

/// Measures canihaz and its peers side by side, and prints a table in markdown.
///
/// Each repetition runs every tool once in every scene, one after the other; servers have core 0, clients core 1.
/// Progress goes to stderr. Peers are looked for in PATH, or where a variable of their name says (WRK2=/path/wrk).
#[derive(Parser)]
#[command(bin_name = "tests/bench/peers.sh")]
pub struct Options {
    /// Only this part of the table; may be given several times.
    #[arg(long, value_enum, value_name = "ROW")]
    pub only: Vec<Row>,
    /// Only this rate, in hits a second, where a row has a choice; may be given several times.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Vec<u32>,
    /// Only these, as in canihaz,wrk2; NAME=PATH is another canihaz, as in canihaz,before=/tmp/canihaz.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tools: Vec<String>,
    /// Repetitions; 5 by default, 3 when quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub reps: Option<u32>,
    /// How long a run is, in seconds; 8 by default, 5 when quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(3..=40))]
    pub seconds: Option<u64>,
    /// Gives canihaz this `pacing_slack`, as in 0s.
    #[arg(long, value_name = "DURATION")]
    pub slack: Option<String>,
    /// The most hits that canihaz has in flight; by default 20 ms of them, 10 at least, and 10 flat out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub overtime: Option<u32>,
    /// Appends every run's figures to this file, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub raw: Option<PathBuf>,
    /// Rates of 1,000 and 5,000 alone, fewer repetitions, shorter runs.
    #[arg(long)]
    pub quick: bool,
    /// Also builds oha where it isn't there; takes minutes.
    // Done by peers.sh; here for --help.
    #[arg(long)]
    pub install: bool,
    /// What cargo gives to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn rows(&self) -> Vec<Row> {
        let all = [Row::Pacing, Row::Lag, Row::Cpu, Row::Flat, Row::Memory, Row::Start];
        all.into_iter().filter(|row| self.only.is_empty() || self.only.contains(row)).collect()
    }

    /// The rates asked for; `None` for each row's own.
    pub fn rates(&self) -> Option<&[u32]> {
        match (self.rate.is_empty(), self.quick) {
            (false, _) => Some(&self.rate),
            (true, true) => Some(&[1_000, 5_000]),
            (true, false) => None,
        }
    }

    pub fn terms(&self) -> Terms {
        Terms { overtime: self.overtime, slack: self.slack.clone() }
    }

    pub fn repetitions(&self) -> u32 {
        self.reps.unwrap_or(if self.quick { 3 } else { 5 })
    }

    pub fn length(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 5 } else { 8 })
    }
}
