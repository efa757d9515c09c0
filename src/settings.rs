//! canihaz.toml: every setting, each with its default.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use log::LevelFilter;

use crate::fault::Fault;
use crate::hostname::hostname;
use crate::keys::{Keys, Source, has_table};
use crate::kinds::loadtest::PublicKey;
use crate::page::{Key, Page};
use crate::trust::{self, Distrust, MAX_FILE};
use crate::wakeups::SLACK;

/// The file's name in the configuration folder.
pub const FILE: &str = "canihaz.toml";
/// The most threads that can be asked for: more than any server has cores to spare.
const MAX_THREADS: u64 = 1024;
/// The most that hits may be put off to share a wake-up: beyond that, `lag` says that the generator is the limit.
const MAX_SLACK: Duration = Duration::from_millis(5);
/// What happens while a setting is wrong.
const NOW: &str = "its default is used";

/// The key whose faults are not mended by its default.
const KEY: &str = "minisign_key";
/// What happens while that is wrong.
const NOBODY: &str = "no load test runs";

/// What canihaz.toml can say.
pub const PAGE: Page = Page {
    name: FILE,
    least: "",
    parts: &[KEYS],
    read: |text| Settings::parse(Path::new(FILE), text).map_or_else(|fault| vec![fault], |(_, faults)| faults),
};

/// What [`Settings::parse`] reads.
const KEYS: &[Key] = &[
    Key { name: "host", meaning: "this server's name in metrics", default: "the system's host name" },
    Key { name: "interval", meaning: "how long an interval of measuring is, in whole seconds", default: "`\"10s\"`" },
    Key { name: "threads", meaning: "the most [threads](#threads) that hit", default: "the machine's cores" },
    Key {
        name: "max_catch_up",
        meaning: "how many times denser than its own rate a test may catch up",
        default: "`10`",
    },
    Key {
        name: "pacing_slack",
        meaning: "how much later than due hits may start, so that they share a [wake-up](#pacing); `\"0s\"`: each has \
                  its own",
        default: "`\"440us\"`",
    },
    Key { name: "send_for", meaning: "how long sending may go on after the last hit", default: "`\"5s\"`" },
    Key { name: "spool_max", meaning: "the most that may wait to be sent", default: "`\"256MiB\"`" },
    Key { name: "archive_days", meaning: "how many days the archive reaches back", default: "`30`" },
    Key { name: "archive_max", meaning: "the most the archive holds", default: "`\"1GiB\"`" },
    Key { name: "log_level", meaning: "what is worth a line in the log", default: "`\"warn\"`" },
    Key { name: "log_file", meaning: "where the log goes", default: "stderr" },
    Key {
        name: "minisign_key",
        meaning: "the key that programs of [load tests](#where-the-program-comes-from) have to be signed with",
        default: "none: they need no signature",
    },
];

/// Every setting of the runner.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// This server's name in metrics; the system's own unless given.
    pub host: Option<String>,
    /// How long an interval of measuring is; divides a minute.
    pub interval: Duration,
    /// The most threads that hit; as many as the machine can run at once unless given.
    pub threads: Option<u32>,
    /// How many times denser than its own rate a test may catch up.
    pub max_catch_up: u32,
    /// How much later than due hits may start so that they share a wake-up; zero: each has its own.
    pub pacing_slack: Duration,
    /// How long sending may go on after the last hit.
    pub send_for: Duration,
    /// The most the spool may hold, in bytes.
    pub spool_max: u64,
    /// How many days the archive reaches back.
    pub archive_days: u32,
    /// The most the archive may hold, in bytes.
    pub archive_max: u64,
    /// What is worth a line in the log.
    pub log_level: LevelFilter,
    /// Where the log goes; stderr unless given.
    pub log_file: Option<PathBuf>,
    /// The key that programs of load tests have to be signed with, where they have to; nobody's, where it can't be read.
    pub minisign_key: Option<PublicKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: None,
            interval: Duration::from_secs(10),
            threads: None,
            max_catch_up: 10,
            pacing_slack: SLACK,
            send_for: Duration::from_secs(5),
            spool_max: 256 << 20,
            archive_days: 30,
            archive_max: 1 << 30,
            log_level: LevelFilter::Warn,
            log_file: None,
            minisign_key: None,
        }
    }
}

impl Settings {
    /// Reads the settings of the configuration folder `etc`; a file that isn't there means all defaults.
    /// What is wrong with single keys stands beside them.
    ///
    /// # Errors
    /// A file that can't be trusted or isn't TOML: nothing should run.
    pub fn read(etc: &Path) -> Result<(Self, Vec<Fault>), Fault> {
        let file = etc.join(FILE);
        let refuse =
            |seen: String, right: String| Fault { file: file.clone(), at: None, seen, right, now: "nothing runs" };
        let contents = match trust::read(&file, MAX_FILE, SystemTime::now()) {
            Ok(contents) => contents,
            Err(Distrust::Missing) if file.symlink_metadata().is_err() => return Ok((Self::default(), Vec::new())),
            Err(distrust) => return Err(refuse(distrust.to_string(), distrust.right().into())),
        };
        let text = String::from_utf8(contents.bytes)
            .map_err(|_| refuse("is not UTF-8".into(), "text in UTF-8 was expected".into()))?;
        Self::parse(&file, &text)
    }

    /// Reads the settings from the text of `file`.
    ///
    /// # Errors
    /// Text that isn't TOML.
    pub fn parse(file: &Path, text: &str) -> Result<(Self, Vec<Fault>), Fault> {
        match (Source { file, text, quotes_values: true, now: NOW, now_unknown: "it is ignored" }).read(Self::from_keys)
        {
            (Some(settings), faults) => Ok((settings, faults)),
            (None, mut faults) => Err(Fault { now: "nothing runs", ..faults.remove(0) }),
        }
    }

    fn from_keys(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        let has_tables = keys.has_tables();
        let second = Duration::from_secs(1);
        let host = keys.parsed("host", "a name of 1 to 255 characters without spaces or slashes", |text| {
            let sound = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            sound.then(|| text.to_owned())
        });
        let interval = keys.parsed("interval", "a time that divides a minute, as in \"10s\"", |text| {
            crate::keys::parse_duration(text)
                .filter(|interval| interval.subsec_nanos() == 0 && (1..=60).contains(&interval.as_secs()))
                .filter(|interval| 60 % interval.as_secs() == 0)
        });
        let levels = [
            ("off", LevelFilter::Off),
            ("error", LevelFilter::Error),
            ("warn", LevelFilter::Warn),
            ("info", LevelFilter::Info),
            ("debug", LevelFilter::Debug),
            ("trace", LevelFilter::Trace),
        ];
        Self {
            host,
            interval: interval.unwrap_or(default.interval),
            threads: keys.integer("threads", 1, MAX_THREADS).map(|n| n as u32),
            max_catch_up: keys.integer("max_catch_up", 1, 1000).map_or(default.max_catch_up, |n| n as u32),
            pacing_slack: keys.duration("pacing_slack", Duration::ZERO, MAX_SLACK).unwrap_or(default.pacing_slack),
            send_for: keys.duration("send_for", Duration::ZERO, 60 * second).unwrap_or(default.send_for),
            spool_max: keys.bytes("spool_max", 1 << 40).unwrap_or(default.spool_max),
            archive_days: keys.integer("archive_days", 0, 3650).map_or(default.archive_days, |n| n as u32),
            archive_max: keys.bytes("archive_max", 1 << 40).unwrap_or(default.archive_max),
            log_level: keys.choice("log_level", &levels).unwrap_or(default.log_level),
            log_file: keys.path("log_file"),
            // The last one: it looks at what none of the others is.
            minisign_key: keys.meanwhile(NOBODY, |keys| Self::key(keys, has_tables)),
        }
    }

    /// The key that programs have to be signed with. One that can't be read, is misspelled, or may stand in a table, which
    /// this file has none of, does not leave programs to run that nobody has signed.
    fn key(keys: &mut Keys<'_>, has_tables: bool) -> Option<PublicKey> {
        let key = keys.parsed(KEY, PublicKey::RIGHT, PublicKey::parse);
        let is_unread = key.is_none() && keys.was_read(KEY);
        let is_elsewhere = keys.refuse_unknown(|value, nearest| {
            let is_key = value.as_str().is_some_and(|text| PublicKey::parse(text).is_some());
            is_key || has_table(value) || nearest == Some(KEY)
        });
        if is_unread || is_elsewhere || has_tables { Some(PublicKey::OF_NOBODY) } else { key }
    }

    /// The most threads that hit.
    pub fn threads(&self) -> usize {
        // Where the system doesn't say what it can run at once, one is always right.
        self.threads.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), |threads| threads as usize)
    }

    /// This server's name.
    pub fn host(&self) -> String {
        self.host.clone().unwrap_or_else(hostname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_key_keeps_its_default_and_the_rest_stands() {
        let text = "interval = \"7s\"\nspool_max = \"1MiB\"\nmax_catchup = 3\n";
        let (settings, faults) = Settings::parse(Path::new("canihaz.toml"), text).expect("it is TOML");
        assert_eq!(settings, Settings { spool_max: 1 << 20, ..Settings::default() });
        assert_eq!(
            faults.iter().map(Fault::to_string).collect::<Vec<_>>(),
            [
                "canihaz.toml:1:12: \"interval\" is \"7s\": a time that divides a minute, as in \"10s\"; \
                 its default is used",
                "canihaz.toml:3:1: unknown key \"max_catchup\": the nearest known one is \"max_catch_up\"; \
                 it is ignored",
            ]
        );
    }

    #[test]
    fn the_sample_shows_every_setting_with_its_default() {
        let sample = include_str!("../etc/canihaz.toml");
        let shown: String = sample
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| {
                line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let (settings, faults) = Settings::parse(Path::new("canihaz.toml"), &shown).expect("it is TOML");
        assert_eq!(faults, []);
        assert_eq!(shown.lines().count(), 12, "one for each field of Settings");
        let unset = Settings { host: None, threads: None, log_file: None, minisign_key: None, ..settings };
        assert_eq!(unset, Settings::default());
        assert_eq!(Settings::parse(Path::new("canihaz.toml"), sample), Ok((Settings::default(), Vec::new())));
    }

    #[test]
    fn a_key_that_cannot_be_read_leaves_nothing_unsigned_to_run() {
        #[track_caller]
        fn check(text: &str, expect: Option<PublicKey>, fault: &str) {
            let (settings, faults) = Settings::parse(Path::new("canihaz.toml"), text).expect("it is TOML");
            let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
            assert_eq!(settings, Settings { minisign_key: expect, ..Settings::default() }, "{text}");
            assert!(faults.join("\n").ends_with(fault) && faults.is_empty() == fault.is_empty(), "{text}: {faults:?}");
        }
        let key = include_str!("../tests/data/minisign/ours.pub").trim_end();
        check("", None, "");
        check(&format!("minisign_key = \"{key}\""), PublicKey::parse(key), "");
        let right = "56 characters that begin with RW; no load test runs";
        check("minisign_key = \"\"", Some(PublicKey::OF_NOBODY), right);
        check("minisign_key = 7", Some(PublicKey::OF_NOBODY), right);
        check(&format!("minisign_key = \"{}\"", &key[1..]), Some(PublicKey::OF_NOBODY), right);
        let misspelled = "the nearest known one is \"minisign_key\"; no load test runs";
        check(&format!("minisig_key = \"{key}\""), Some(PublicKey::OF_NOBODY), misspelled);
        let key = format!("minisign_key = \"{key}\"");
        for text in [
            format!("[loadtest]\n{key}"),
            format!("interval = \"10s\"\n[frobnicate]\n{key}"),
            format!("[[frobnicate]]\n{key}"),
            format!("[a.b]\n{key}"),
            format!("frobnicate.{key}"),
            format!("frobnicate = {{ {key} }}"),
            String::from("[minisign_key]"),
            format!("{key}\n[frobnicate]"),
            format!("minisig_key = 7\n{key}"),
            key.replace("minisign_key", "MINISIGN_KEY"),
        ] {
            check(&text, Some(PublicKey::OF_NOBODY), "; no load test runs");
        }
        for text in [format!("[host]\nname = \"web1\"\n{key}"), format!("log_file = {{ {key} }}")] {
            check(&text, Some(PublicKey::OF_NOBODY), "; its default is used");
        }
        check("frobnicate = 7", None, "it is ignored");
        check("frobnicate = [7]", None, "it is ignored");
        let (_, faults) = Settings::parse(Path::new("canihaz.toml"), "frobnicate = 7\n[loadtest]").expect("it is TOML");
        let now: Vec<_> = faults.iter().map(|fault| fault.now).collect();
        assert_eq!(now, ["it is ignored", NOBODY]);
    }

    #[test]
    fn what_is_not_toml_is_refused_whole() {
        let fault = Settings::parse(Path::new("canihaz.toml"), "interval = \n").expect_err("no value");
        assert!(fault.to_string().starts_with("canihaz.toml:1:"), "{fault}");
        assert!(fault.to_string().ends_with("; nothing runs"), "{fault}");
    }
}
