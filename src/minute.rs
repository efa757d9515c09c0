//! The wall-clock minute that a run owns, and its claim to it.
//!
//! The wall clock is read once; from then on all is monotonic, so a clock that
//! steps in mid-minute moves nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use fs2::FileExt;
use nix::fcntl::OFlag;

/// From here on in a minute no hit starts.
pub const LAST_START: Duration = Duration::from_millis(59_900);
/// A run that was started later than this in a minute waits for the next one.
const TOO_LATE: Duration = Duration::from_secs(58);
/// Claims older than this are removed.
const CLAIM_KEPT: Duration = Duration::from_secs(3600);
/// The most copies that may claim one minute: more than can be started by slots in it.
const MAX_COPIES: u32 = 10_000;
/// The text of a claim whose run was waiting for its minute to begin.
const WAITING: &str = "waiting\n";

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: DateTime<Utc>,
    monotonic: Instant,
}

/// A wall-clock minute.
#[derive(Clone, Copy, Debug)]
pub struct Minute {
    /// Its first moment.
    pub start: DateTime<Utc>,
    /// The same, on the monotonic clock.
    pub begin: Instant,
    /// Whether it had not begun yet when the run was started.
    pub waits: bool,
}

/// A run's hold on its minute: the file `minutes/MINUTE.n`, locked while the run lives.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Which run of this minute it is: 1 unless somebody started another.
    pub copy: u32,
    _file: File,
}

impl Clock {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { wall: Utc::now(), monotonic: Instant::now() }
    }

    /// The minute that a run started now owns: the current one, or the next in the last two seconds.
    pub fn minute(&self) -> Minute {
        let current = self.wall.duration_trunc(TimeDelta::minutes(1)).unwrap_or(self.wall);
        let into = (self.wall - current).to_std().unwrap_or_default();
        let waits = into >= TOO_LATE;
        let start = if waits { current + TimeDelta::minutes(1) } else { current };
        let begin = if waits {
            self.monotonic + (Duration::from_secs(60) - into.min(Duration::from_secs(60)))
        } else {
            // A monotonic clock that is younger than the minute: a machine that has just booted.
            self.monotonic.checked_sub(into).unwrap_or(self.monotonic)
        };
        Minute { start, begin, waits }
    }

    /// The wall clock's time now, by the monotonic clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.wall + TimeDelta::from_std(self.monotonic.elapsed()).unwrap_or_default()
    }
}

impl Minute {
    /// From when on no hit starts.
    pub fn end(&self) -> Instant {
        self.begin + LAST_START
    }

    /// How files name it: `20261121T0327Z`.
    pub fn name(&self) -> String {
        self.start.format("%Y%m%dT%H%MZ").to_string()
    }
}

impl Claim {
    /// Claims `minute` in the state folder; `None` when a run that was waiting for it has it.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn stake(state: &Path, minute: &Minute) -> io::Result<Option<Self>> {
        let folder = folder(state);
        fs::create_dir_all(&folder)?;
        forget_old(&folder);
        for copy in 1..=MAX_COPIES {
            let path = folder.join(format!("{}.{copy}", minute.name()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_CLOEXEC.bits());
            match options.open(&path) {
                Ok(mut file) => {
                    FileExt::lock_exclusive(&file)?;
                    if minute.waits {
                        // On a full disk the text is lost: then cron's run sends beside this one, as a copy.
                        let _ = file.write_all(WAITING.as_bytes());
                    }
                    return Ok(Some(Self { path, copy, _file: file }));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if is_waiting(&path) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{MAX_COPIES} runs have claimed the minute {} already", minute.name())))
    }

    /// Gives the minute back, as if it had never been claimed: the run was stopped before it began.
    pub fn withdraw(self) {
        // A claim that can't be removed is unlocked all the same, and so holds nobody up.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the run that claimed `MINUTE.copy` still lives.
pub fn is_alive(state: &Path, minute_and_copy: &str) -> bool {
    File::open(folder(state).join(minute_and_copy)).is_ok_and(|file| is_locked(&file))
}

fn folder(state: &Path) -> PathBuf {
    state.join("minutes")
}

/// Whether a live run claimed this before its minute began.
fn is_waiting(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut text = String::new();
    let read = (&file).take(WAITING.len() as u64).read_to_string(&mut text);
    read.is_ok() && text == WAITING && is_locked(&file)
}

fn is_locked(file: &File) -> bool {
    FileExt::try_lock_shared(file).is_err_and(|error| error.kind() == fs2::lock_contended_error().kind())
}

fn forget_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > CLAIM_KEPT)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(wall: &str) -> Clock {
        Clock { wall: wall.parse().expect("a time"), monotonic: Instant::now() }
    }

    #[test]
    fn a_run_owns_the_minute_it_was_started_in() {
        #[track_caller]
        fn check(wall: &str, start: &str, waits: bool, begin_ms: i64) {
            let clock = clock(wall);
            let minute = clock.minute();
            assert_eq!((minute.start, minute.waits), (start.parse().expect("a time"), waits));
            let begin = if begin_ms < 0 {
                clock.monotonic - Duration::from_millis(begin_ms.unsigned_abs())
            } else {
                clock.monotonic + Duration::from_millis(begin_ms.unsigned_abs())
            };
            assert_eq!(minute.begin, begin);
        }
        check("2026-11-21T03:27:00.400Z", "2026-11-21T03:27:00Z", false, -400);
        check("2026-11-21T03:27:57.999Z", "2026-11-21T03:27:00Z", false, -57_999);
        check("2026-11-21T03:27:58Z", "2026-11-21T03:28:00Z", true, 2000);
        check("2026-12-31T23:59:59.500Z", "2027-01-01T00:00:00Z", true, 500);
    }

    #[test]
    fn copies_of_a_minute_are_numbered() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let minute = clock("2026-11-21T03:27:10Z").minute();
        let claims: Vec<_> =
            (0..3).map(|_| Claim::stake(state.path(), &minute).expect("it writes").expect("nobody waits")).collect();
        assert_eq!(claims.iter().map(|claim| claim.copy).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(is_alive(state.path(), "20261121T0327Z.2"));
        drop(claims);
        assert!(!is_alive(state.path(), "20261121T0327Z.2"));
    }

    #[test]
    fn who_waited_for_a_minute_has_it_alone_while_it_lives() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let waiting = clock("2026-11-21T03:26:59Z").minute();
        let arriving = clock("2026-11-21T03:27:00.300Z").minute();
        let stake = |minute| Claim::stake(state.path(), minute).expect("it writes");
        let first = stake(&waiting).expect("nobody else waits");
        assert!(stake(&arriving).is_none());
        assert!(stake(&waiting).is_none());
        // Killed: the kernel frees its lock, the claim stays.
        drop(first);
        assert_eq!(stake(&arriving).map(|claim| claim.copy), Some(2));
    }

    #[test]
    fn a_claim_withdrawn_leaves_no_trace() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let minute = clock("2026-11-21T03:26:59Z").minute();
        Claim::stake(state.path(), &minute).expect("it writes").expect("nobody waits").withdraw();
        assert_eq!(Claim::stake(state.path(), &minute).expect("it writes").map(|claim| claim.copy), Some(1));
    }
}
