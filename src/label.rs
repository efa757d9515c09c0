//! The name of an interval on disk, and which intervals together make a longer one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Names an interval of a run: `MINUTE.COPY.FROM-TO`, in seconds of the minute, with `.last` behind the last one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Label {
    /// The minute, as [`Minute::name`](crate::minute::Minute::name) has it.
    pub minute: String,
    /// Which run of the minute.
    pub copy: u32,
    /// The second of the minute it begins at.
    pub from: u32,
    /// The second of the minute it ends at.
    pub to: u32,
    /// Whether the run wrote no further one.
    pub last: bool,
}

impl Label {
    /// The run that wrote it, as its claim is named.
    pub fn run(&self) -> String {
        format!("{}.{}", self.minute, self.copy)
    }

    /// Reads a file's name; `None` when it is none of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (minute, copy, span) = (parts.next()?, parts.next()?, parts.next()?);
        let last = match parts.next() {
            None => false,
            Some("last") => true,
            Some(_) => return None,
        };
        let (from, to) = span.split_once('-')?;
        let label = Self {
            minute: minute.to_owned(),
            copy: copy.parse().ok()?,
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            last,
        };
        (parts.next().is_none() && label.to_string() == name).then_some(label)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minute, copy, from, to, last } = self;
        write!(f, "{minute}.{copy}.{from:02}-{to:02}{}", if *last { ".last" } else { "" })
    }
}

/// Groups the intervals of one run to `every`, and gives back the groups that are complete: nothing will be added to
/// them, as the run has gone on beyond them, has ended, or has died.
pub fn complete(labels: Vec<Label>, every: Option<Duration>, is_open: bool) -> Vec<Vec<Label>> {
    let Some(every) = every.and_then(|every| u32::try_from(every.as_secs()).ok()).filter(|every| *every > 0) else {
        return labels.into_iter().map(|label| vec![label]).collect();
    };
    let over = labels.iter().any(|label| label.last) || !is_open;
    let reached = labels.iter().map(|label| label.to).max().unwrap_or(0);
    let mut groups: BTreeMap<u32, Vec<Label>> = BTreeMap::new();
    for label in labels {
        groups.entry(label.from / every).or_default().push(label);
    }
    groups.into_iter().filter(|(group, _)| over || reached >= (group + 1) * every).map(|(_, labels)| labels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_names_of_files() {
        #[track_caller]
        fn check(name: &str, expect: Option<Label>) {
            assert_eq!(Label::parse(name), expect, "{name}");
            if let Some(label) = expect {
                assert_eq!(label.to_string(), name);
            }
        }
        check(
            "20261121T0327Z.1.00-10",
            Some(Label { minute: "20261121T0327Z".into(), copy: 1, from: 0, to: 10, last: false }),
        );
        check(
            "20261121T0327Z.1.50-60.last",
            Some(Label { minute: "20261121T0327Z".into(), copy: 1, from: 50, to: 60, last: true }),
        );
        for name in ["", "x", "20261121T0327Z.1.0-10", "20261121T0327Z.1.00-10.partial", "a.1.00-10.last.last", "..."] {
            check(name, None);
        }
    }

    #[test]
    fn groups_are_complete_when_nothing_can_be_added() {
        #[track_caller]
        fn check(names: &[&str], every: u64, is_open: bool, expect: &[usize]) {
            let labels = names.iter().map(|name| Label::parse(&format!("M.1.{name}")).expect("a label")).collect();
            let groups = complete(labels, (every > 0).then(|| Duration::from_secs(every)), is_open);
            assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), expect);
        }
        check(&["00-10", "10-20"], 0, true, &[1, 1]);
        check(&["00-10", "10-20"], 60, true, &[]);
        check(&["00-10", "10-20"], 60, false, &[2]);
        check(&["00-10", "10-20", "20-30.last"], 60, true, &[3]);
        check(&["00-10", "10-20", "20-30"], 20, true, &[2]);
        check(&["00-10", "30-40"], 20, true, &[1, 1]);
        check(&["00-60.last"], 10, true, &[1]);
        check(&["50-60.last"], 60, true, &[1]);
    }
}
