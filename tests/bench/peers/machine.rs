//! Where and when it was measured, and with what: the lines above the table.

use std::fs;
use std::path::Path;

use chrono::Utc;

use crate::nginx;
use crate::tool::{Tool, version_of};

/// Two lines of text.
pub fn describe(tools: &[Tool], repetitions: u32, seconds: u64) -> String {
    let mut versions: Vec<String> = tools.iter().map(Tool::version).collect();
    versions.push(format!("nginx {}", version_of(Path::new(&nginx::program()), "-v")));
    format!(
        "Measured on {} on {}, Linux {}; server on one core, client on another; medians of {repetitions}, {seconds} s \
         each. With {}.\n",
        Utc::now().format("%Y-%m-%d"),
        processor(),
        read("/proc/sys/kernel/osrelease"),
        versions.join(", "),
    )
}

/// The load of the last minute: what the machine was doing besides.
pub fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    name.unwrap_or("an unnamed processor").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
