//! Processes as `/proc` tells of them: those that something was started as, and all that came of it.

use std::fs;
use std::path::Path;

use super::run::Run;

/// Those in whose environment `MARK` is `mark`, which whatever they start inherits.
pub fn marked(mark: &Path) -> Vec<i32> {
    let mark = format!("MARK={}\0", mark.display());
    let has_it = |id: &i32| read(*id, "environ").split_inclusive('\0').any(|variable| variable == mark);
    numbers("/proc").into_iter().filter(has_it).collect()
}

/// The guard of a run.
pub fn guard(run: &Run) -> Option<i32> {
    let is_its = |id: &i32| read(*id, "status").contains(&format!("\nPPid:\t{}\n", run.id()));
    numbers("/proc").into_iter().find(|id| read(*id, "cmdline") == "canihaz-guard\0" && is_its(id))
}

/// What `/proc` has of a process under a name; nothing once that is gone.
pub fn read(process: i32, what: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{process}/{what}")).unwrap_or_default()).into_owned()
}

/// The names in a folder that are numbers.
pub fn numbers(folder: &str) -> Vec<i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process has ended, be it waited for or not.
pub fn is_over(process: i32) -> bool {
    let status = read(process, "status");
    status.is_empty() || status.contains("\nState:\tZ")
}

/// The most memory that a process ever had, in KiB.
#[track_caller]
pub fn peak(process: i32) -> u64 {
    let status = read(process, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it runs");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("it is a number")
}
