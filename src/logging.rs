//! The log: env_logger on stderr or in a file, silent unless a person has to know.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{SecondsFormat, Utc};
use env_logger::{Builder, Target};
use log::LevelFilter;

use crate::settings::Settings;

/// Starts the log as the settings say (with the defaults where they are unusable); `RUST_LOG` overrides the level.
pub fn start(settings: Option<&Settings>) {
    let level = settings.map_or(LevelFilter::Warn, |settings| settings.log_level);
    let mut builder = Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filters) if !filters.is_empty() => _ = builder.parse_filters(&filters),
        // What libraries have to say below a warning is for those who ask for it by RUST_LOG.
        _ => _ = builder.filter_level(level.min(LevelFilter::Warn)).filter_module("canihaz", level),
    }
    let file = settings.and_then(|settings| settings.log_file.as_ref()).map(|path| {
        let opened = File::options().create(true).append(true).mode(0o640).open(path);
        opened.map_err(|error| format!("{} cannot be written ({error}); the log goes to stderr", path.display()))
    });
    let trouble = match file {
        Some(Ok(file)) => {
            builder.target(Target::Pipe(Box::new(file)));
            builder.format(|line, record| {
                let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
                writeln!(line, "{time} {} {}", record.level(), record.args())
            });
            None
        }
        // On stderr there is a terminal or a logger behind, which knows the time.
        none_or_trouble => {
            builder.format(|line, record| writeln!(line, "canihaz: {}: {}", name(record.level()), record.args()));
            none_or_trouble.and_then(Result::err)
        }
    };
    // A second start, in tests, keeps the first.
    let _ = builder.try_init();
    if let Some(trouble) = trouble {
        log::warn!("{trouble}");
    }
    log_panics();
}

fn name(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "error",
        log::Level::Warn => "warning",
        log::Level::Info => "info",
        log::Level::Debug => "debug",
        log::Level::Trace => "trace",
    }
}

/// A panic is a line in the log, and only the first one: a target may panic at every hit.
fn log_panics() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(|panic| {
        if TOLD.swap(true, Ordering::Relaxed) {
            log::debug!("{panic}");
        } else {
            log::error!("{panic}; further ones are only counted");
        }
    }));
}
