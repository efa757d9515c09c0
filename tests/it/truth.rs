//! Times under a server that stalls: what the open model gives, whoever holds up whom.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use canihaz::engine::{Assignment, Engine, Limits, RATE_OF_A_THREAD, Window};
use canihaz::kinds::http::Settings;
use canihaz::kinds::{Kind, Prepared, Type};
use canihaz::pacer::{Arrivals, Pace, Pacer};
use canihaz::shift::WhenBusy;
use canihaz::summary::Tally;
use canihaz::wakeups::SLACK;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::parts::deadline::seconds;
use crate::parts::stalling::{Record, Stalling};

/// All on one thread.
const LIMITS: Limits = Limits { threads: 1, rate_of_a_thread: RATE_OF_A_THREAD };
/// 1,000 a second for 10 s.
const HITS: u64 = 10_000;
const RUN: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
/// The server answers nothing from second 3 to second 5.
const STALL: (usize, usize) = (3, 5);
/// The first second that nothing of what piled up is answered in.
const CALM: usize = 6;
/// How long the engine, and each hit, may take at the most.
const BOUND: Duration = Duration::from_secs(30);
/// What the median may be off by.
const MEDIAN: Duration = Duration::from_micros(100);
/// The machine is others', too: a run in which it held up the generator itself is no measurement, and is done again.
const ATTEMPTS: usize = 10;
/// How late hits may be that are not spread anew.
const PUNCTUAL: Duration = Duration::from_millis(10);
/// How many hits may be on their way when a second ends.
const ON_THEIR_WAY: u64 = 3;

/// One at a time: each keeps two threads busy when its stall is over.
static TURN: Mutex<()> = Mutex::new(());

/// What came of a run, and what the server knows of it.
struct Run {
    /// When each hit was due by the plan.
    dues: Vec<Instant>,
    seconds: Vec<Tally>,
    record: Record,
}

impl Run {
    /// Runs against a server that stalls, with at most `overtime` hits in flight, until the generator was punctual up
    /// to the end of second `punctual`: late by 10 ms, it spreads hits anew, and nobody outside knows when they are due.
    /// Nor does anybody when a hit had to wait for a place before the stall, as the server was held up.
    fn with(overtime: u32, punctual: usize) -> Self {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_punctual = |run: &Self| {
            let sent = run.part(0..punctual).sent + ON_THEIR_WAY;
            let before = run.part(0..STALL.0);
            let is_on_time = before.lag.max() < PUNCTUAL && before.blocked.max().is_zero();
            is_on_time && sent >= punctual as u64 * HITS / 10 && run.all().missed == 0
        };
        let run = (0..ATTEMPTS).map(|_| Self::once(overtime)).find(is_punctual).expect("the machine has time for us");
        let all = run.all();
        assert_eq!((all.ok, all.planned(), all.asked, all.sent), (HITS, HITS, HITS, HITS), "{:?}", all.failures);
        assert_eq!((run.dues.len(), run.record.answered.len()), (10_000, 10_000));
        run
    }

    fn once(overtime: u32) -> Self {
        raise_descriptors();
        let begin = Instant::now() + seconds(0.2);
        let end = begin + RUN;
        let [from, to] = [STALL.0, STALL.1].map(|second| seconds(second as f64));
        let server = Stalling::start(begin + from, to - from);
        let of_type = Type {
            name: String::from("stalling"),
            part: None,
            frequency: None,
            kind: Kind::Http(Settings::get(server.address(), BOUND)),
            overtime,
            when_busy: WhenBusy::Wait,
            arrivals: Arrivals::Even,
            grace: seconds(5.0),
        };
        let pace = Pace { frequency: HITS, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 10 };
        let mut pacer = Pacer::new(pace, begin, end, 0);
        let dues: Vec<_> = std::iter::from_fn(|| pacer.take()).map(|due| due.at).collect();

        let (report, intervals) = mpsc::channel();
        let window = Window { begin, end, interval: SECOND, slack: SLACK };
        let engine = Engine::start(window, LIMITS, move |interval| report.send(interval).unwrap()).unwrap();
        engine.run(&Assignment {
            test: String::from("a"),
            of_type,
            prepared: Prepared::Nothing,
            pace,
            seed: 0,
            made: begin,
        });
        let mut seconds = Vec::new();
        loop {
            let mut interval = intervals.recv_timeout(BOUND).expect("the engine ends");
            seconds.push(interval.tallies.remove("a").unwrap_or_default());
            if interval.last {
                break;
            }
        }
        assert_eq!(seconds.len(), 10);
        Self { dues, seconds, record: server.record() }
    }

    fn all(&self) -> Tally {
        self.part(0..self.seconds.len())
    }

    /// What ended in some of the seconds.
    fn part(&self, seconds: impl IntoIterator<Item = usize>) -> Tally {
        let mut part = Tally::default();
        seconds.into_iter().for_each(|second| part.merge(&self.seconds[second]));
        part
    }

    /// Expects the worst response times to be the open model's, within the `share` of them: who was due in the stall
    /// had to wait until `answered`, told its number and when the stall had ended; nobody else waited at all.
    #[track_caller]
    fn expect_tail(&self, share: f64, answered: impl Fn(usize, Instant) -> Instant) {
        let (began, ended) = self.record.stall();
        let model = sorted(self.dues.iter().enumerate().map(|(number, due)| match due {
            due if (began..ended).contains(due) => answered(number, ended).saturating_duration_since(*due),
            _ => Duration::ZERO,
        }));
        let response = self.all().response;
        let ours = [0.99, 0.999].map(|q| (q, response.quantile(q))).into_iter().chain([(1.0, response.max())]);
        for (quantile, ours) in ours {
            let model = exact(&model, quantile);
            let off = ours.as_secs_f64() / model.as_secs_f64() - 1.0;
            assert!(off.abs() <= share, "the quantile {quantile} is {ours:?}, the open model's {model:?}");
        }
    }

    /// Expects the median to be the open model's. A fifth of all hits is slow there; the median of all is what five of
    /// eight of the others stay below, who answer as they do when nothing stalls.
    #[track_caller]
    fn expect_median(&self) {
        let calm = self.part((0..STALL.0).chain(CALM..self.seconds.len()));
        let (ours, expect) = (self.all().response.quantile(0.5), calm.response.quantile(0.5 / 0.8));
        assert!(ours.abs_diff(expect) <= MEDIAN, "the median is {ours:?} where others make it {expect:?}");
        // Nor do those flatter the server: by its own stamps, it had not answered sooner.
        let (began, _) = self.record.stall();
        let before = self.dues.iter().zip(&self.record.answered).take_while(|(_, answered)| **answered < began);
        let served = sorted(before.map(|(due, answered)| answered.saturating_duration_since(*due)));
        let (ours, least) = (self.part(0..STALL.0).response.quantile(0.5) + MEDIAN, exact(&served, 0.5));
        assert!(ours >= least, "the median is {ours:?} when the server had answered after {least:?}");
    }
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times
}

/// The quantile of sorted times.
fn exact(sorted: &[Duration], quantile: f64) -> Duration {
    sorted[((quantile * sorted.len() as f64).ceil() as usize).max(1) - 1]
}

/// Each hit in a stall has a connection, which has two ends here.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn under_a_stall_response_times_are_what_the_open_model_gives() {
    let run = Run::with(4_000, STALL.1);
    // One after the other, in the order in which they had come.
    run.expect_tail(0.01, |number, _| run.record.answered[number]);
    run.expect_median();
    // Service time stands beside it: as nobody waited for a place, it tells the same.
    let all = run.all();
    assert_eq!((all.service.count(), all.blocked.max()), (HITS, Duration::ZERO));
    assert!(all.service.quantile(0.99) > seconds(1.8), "{:?}", all.service.quantiles());
}

#[test]
fn under_a_stall_hits_that_wait_for_a_place_tell_the_same() {
    let run = Run::with(10, STALL.0);
    run.expect_tail(0.05, |_, ended| ended);
    run.expect_median();
    // All but the ten in flight were blocked; service time alone would show next to nothing of it.
    let all = run.all();
    assert!(all.blocked.max() > seconds(1.9), "{:?}", all.blocked.quantiles());
    assert!(all.service.quantile(0.99) < seconds(0.1), "{:?}", all.service.quantiles());
    // A fifth of the hits was due in the stall. The others were moved to make room for them, and show none of it.
    assert!(all.response.quantile(0.79) < seconds(0.02), "{:?}", all.response.quantile(0.79));
    let calm = run.part(8..10);
    assert!(calm.blocked.quantile(0.9) < seconds(0.001), "{:?}", calm.blocked.quantiles());
    // Nor is it the generator's fault that too little was sent meanwhile.
    let unsent: Vec<_> = run.seconds.iter().map(|second| second.unsent).collect();
    assert!(unsent[STALL.0..=STALL.1].iter().all(|unsent| *unsent == 0), "{unsent:?}");
}
