//! canihaz and its peers: where they are, and with which arguments each does what a scene asks for.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::canihaz::{self, Terms};
use crate::scene::{AROUND, STALL, Scene};
use crate::stamps::Stall;

/// How many connections wrk2 opens a second, whatever its rate.
const WRK2_OPENS: u32 = 200;

/// A program that makes hits.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its column in the table.
    pub name: String,
    pub kind: Kind,
    program: PathBuf,
}

/// How a tool is told what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Canihaz,
    Wrk2,
    Wrk,
    Oha,
    H2load,
    Ab,
    Vegeta,
    K6,
}

impl Kind {
    /// All of them, in the table's order.
    pub const ALL: [Self; 8] =
        [Self::Canihaz, Self::Wrk2, Self::Wrk, Self::Oha, Self::H2load, Self::Ab, Self::Vegeta, Self::K6];

    /// Its name, which is also that of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Canihaz => "canihaz",
            Self::Wrk2 => "wrk2",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::H2load => "h2load",
            Self::Ab => "ab",
            Self::Vegeta => "vegeta",
            Self::K6 => "k6",
        }
    }
}

impl Tool {
    /// The tool that `word` means: a name of `Kind::ALL`, or `NAME=PATH` for another canihaz. `None` when its program
    /// is nowhere to be found.
    pub fn find(word: &str) -> Result<Option<Self>> {
        if let Some((name, path)) = word.split_once('=') {
            let program = fs::canonicalize(path).with_context(|| format!("{path} can't be found"))?;
            return Ok(Some(Self { name: name.to_owned(), kind: Kind::Canihaz, program }));
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == word) else {
            bail!("{word:?} is no tool: {}, or NAME=PATH of another canihaz", Kind::ALL.map(Kind::name).join(", "));
        };
        let program = match kind {
            Kind::Canihaz => Some(PathBuf::from(env!("CARGO_BIN_EXE_canihaz"))),
            _ => look_for(word),
        };
        Ok(program.map(|program| Self { name: word.to_owned(), kind, program }))
    }

    /// Its name and version, as far as it tells one.
    pub fn version(&self) -> String {
        let asked = match self.kind {
            Kind::Canihaz => return format!("{} {}", self.name, env!("CARGO_PKG_VERSION")),
            Kind::Wrk | Kind::Wrk2 => "-v",
            Kind::Ab => "-V",
            Kind::Oha | Kind::H2load | Kind::Vegeta => "--version",
            Kind::K6 => "version",
        };
        format!("{} {}", self.name, version_of(&self.program, asked))
    }

    /// Whether it can do what `scene` asks for.
    pub fn takes_part(&self, scene: Scene) -> bool {
        use Kind::{Ab, Canihaz, H2load, K6, Oha, Vegeta, Wrk, Wrk2};
        match scene {
            Scene::Exact(_) => self.kind == Canihaz,
            Scene::Single(_) => self.kind == Wrk2,
            // vegeta and k6 can't on one core.
            Scene::Paced(rate) | Scene::Served(rate) if rate > 10_000 => matches!(self.kind, Canihaz | Wrk2 | Oha),
            Scene::Paced(_) | Scene::Served(_) => matches!(self.kind, Canihaz | Wrk2 | Oha | Vegeta | K6),
            Scene::Flat => matches!(self.kind, Canihaz | Wrk2 | Wrk | Oha | H2load | Ab),
            Scene::Stuck | Scene::Start => matches!(self.kind, Canihaz | Wrk2 | Oha | Vegeta | K6),
        }
    }

    /// The stall that its server has in `scene`: once all its connections are there.
    pub fn stall(&self, scene: Scene) -> Option<Stall> {
        let opening = if self.kind == Kind::Wrk2 { u64::from(scene.connections() / WRK2_OPENS) } else { 0 };
        let after = Duration::from_secs(opening + AROUND);
        (scene == Scene::Stuck).then_some(Stall { after, lasts: Duration::from_secs(STALL) })
    }

    /// How many seconds it takes part in `scene`, where most take `usual`.
    pub fn seconds(&self, scene: Scene, usual: u64) -> u64 {
        match (self.stall(scene), scene) {
            (Some(stall), _) => (stall.after + stall.lasts).as_secs() + 2 * AROUND,
            (None, Scene::Start) => 1,
            (None, _) => usual,
        }
    }

    /// The command that does what `scene` asks for, to be started at once; `folder` is its own, and stays meanwhile.
    pub fn command(&self, scene: Scene, seconds: u64, terms: &Terms, url: &str, folder: &Path) -> Result<Command> {
        let connections = scene.connections();
        // More than any can do on one core.
        let rate = scene.rate().unwrap_or(1_000_000);
        let words = match self.kind {
            Kind::Canihaz => return canihaz::command(&self.program, scene, seconds, terms, url, folder),
            Kind::Wrk2 => format!("-t1 -c{connections} -d{seconds}s -R{rate} {url}"),
            Kind::Wrk => format!("-t1 -c{connections} -d{seconds}s {url}"),
            Kind::Oha if scene == Scene::Flat => format!("--no-tui -c {connections} -z {seconds}s {url}"),
            Kind::Oha => format!("--no-tui -c {connections} -z {seconds}s -q {rate} {url}"),
            Kind::H2load => format!("--h1 -t1 -c{connections} -D{seconds} {url}"),
            // Its -t sets -n as well, so that has to come after it.
            Kind::Ab => format!("-q -k -c {connections} -t {seconds} -n 10000000 {url}"),
            Kind::Vegeta => {
                let targets = folder.join("targets");
                fs::write(&targets, format!("GET {url}\n"))?;
                let files = format!("-targets={} -output=/dev/null", targets.display());
                format!("attack -rate={rate} -duration={seconds}s {files}")
            }
            Kind::K6 => {
                let script = folder.join("script.js");
                fs::write(&script, k6_script(rate, seconds, url))?;
                format!("run --quiet --no-usage-report {}", script.display())
            }
        };
        let mut command = Command::new(&self.program);
        command.args(words.split_whitespace());
        Ok(command)
    }
}

/// The version that `program` tells when it is asked with `argument`: the first word of its answer that looks like
/// one.
pub fn version_of(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return String::from("?") };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let words = text.split(|c: char| c.is_whitespace() || "/,<".contains(c)).map(|word| word.trim_start_matches('v'));
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).unwrap_or("?").to_owned()
}

/// The program of that name: where the environment says (WRK2=/path), or in PATH.
fn look_for(name: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(name.to_uppercase()) {
        return fs::canonicalize(path).ok();
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn k6_script(rate: u32, seconds: u64, url: &str) -> String {
    format!(
        "import http from 'k6/http';
         export const options = {{ scenarios: {{ even: {{ executor: 'constant-arrival-rate', rate: {rate},
           timeUnit: '1s', duration: '{seconds}s', preAllocatedVUs: 50, maxVUs: 3000 }} }} }};
         export default function () {{ http.get('{url}'); }}\n"
    )
}
