//! What a destination of the kind `file` was given: a JSON object a line, a test and an interval each.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Summaries in the order in which they were delivered.
#[derive(Debug)]
pub struct Results(Vec<Value>);

impl Results {
    /// Reads a file; none at all is no summaries.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "half a line in {text:?}");
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect())
    }

    /// The summaries of `test`.
    pub fn of(&self, test: &str) -> Vec<&Value> {
        self.0.iter().filter(|summary| summary["test"] == test).collect()
    }

    /// The sum of a count over all summaries of `test`.
    #[track_caller]
    pub fn total(&self, test: &str, count: &str) -> u64 {
        self.of(test).iter().map(|summary| number(summary, count)).sum()
    }

    /// The sum of the failures of `test` for `reason`.
    pub fn failures(&self, test: &str, reason: &str) -> u64 {
        self.of(test).iter().map(|summary| summary["failures"][reason].as_u64().unwrap_or(0)).sum()
    }

    /// A count of what the hits of `test` got done.
    pub fn work(&self, test: &str, count: &str) -> u64 {
        self.of(test).iter().filter_map(|summary| summary["work"][count].as_u64()).sum()
    }

    /// How many hits of each interval of `test` were ok, by the interval's start.
    #[track_caller]
    pub fn ok_by_start(&self, test: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for summary in self.of(test) {
            *counts.entry(start(summary)).or_default() += number(summary, "ok");
        }
        counts
    }

    /// Expects that every planned hit of `test` is accounted for, that they add up to `planned`, and that no
    /// interval came twice.
    #[track_caller]
    pub fn expect_planned(&self, test: &str, planned: u64) {
        for summary in self.of(test) {
            let ends: u64 =
                ["ok", "failed", "canceled", "missed", "stopped"].map(|end| number(summary, end)).iter().sum();
            assert_eq!(number(summary, "planned"), ends, "{summary}");
            let reasons = summary["failures"].as_object().unwrap_or_else(|| panic!("no failures in {summary}"));
            let failed: u64 = reasons.values().filter_map(Value::as_u64).sum();
            assert_eq!(number(summary, "failed"), failed, "{summary}");
        }
        assert_eq!(self.total(test, "planned"), planned, "planned of {test}:\n{self}");
        self.expect_no_twins();
    }

    /// Expects that no summary was delivered twice.
    #[track_caller]
    pub fn expect_no_twins(&self) {
        let mut seen = BTreeMap::new();
        for summary in &self.0 {
            let key = (summary["test"].to_string(), summary["copy"].as_u64().unwrap_or(1), start(summary));
            assert!(seen.insert(key, summary).is_none(), "delivered twice: {summary}\n{self}");
        }
    }
}

impl std::fmt::Display for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for summary in &self.0 {
            write!(f, "{} {} copy {}:", start(summary), summary["test"], summary["copy"].as_u64().unwrap_or(1))?;
            for count in ["planned", "ok", "failed", "canceled", "missed", "stopped", "failures"] {
                write!(f, " {count} {}", summary[count])?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[track_caller]
fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("{key:?} is no count in {summary}"))
}

fn start(summary: &Value) -> String {
    summary["start"].as_str().unwrap_or_else(|| panic!("no start in {summary}")).to_owned()
}
