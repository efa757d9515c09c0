//! Times under a server that stalls: what the open model gives, whoever holds up whom.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use canihaz::engine::{Assignment, Engine, Window};
use canihaz::kinds::http::Settings;
use canihaz::kinds::{Kind, Type};
use canihaz::pacer::{Arrivals, Pace, Pacer};
use canihaz::shift::WhenBusy;
use canihaz::summary::Tally;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::parts::deadline::seconds;
use crate::parts::stalling::{Record, Stalling};

/// 1,000 a second for 10 s.
const HITS: u64 = 10_000;
const RUN: Duration = Duration::from_secs(10);
/// The server answers nothing from second 3 to second 5.
const STALL: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(2));
/// How long the engine, and each hit, may take at the most.
const BOUND: Duration = Duration::from_secs(30);
/// What the median may be off by.
const MEDIAN: Duration = Duration::from_micros(100);

/// What came of a run, and what the server knows of it.
struct Run {
    /// When each hit was due by the plan.
    dues: Vec<Instant>,
    tally: Tally,
    record: Record,
}

impl Run {
    /// Runs against a server that stalls, with at most `overtime` hits in flight.
    fn with(overtime: u32) -> Self {
        raise_descriptors();
        let begin = Instant::now() + seconds(0.2);
        let end = begin + RUN;
        let (from, long) = STALL;
        let server = Stalling::start(begin + from, long);
        let of_type = Type {
            name: String::from("stalling"),
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
        let window = Window { begin, end, interval: RUN };
        let engine = Engine::start(window, move |interval| report.send(interval).unwrap()).unwrap();
        engine.run(Assignment { test: String::from("a"), of_type, pace, seed: 0, made: begin });
        let mut tally = Tally::default();
        loop {
            let interval = intervals.recv_timeout(BOUND).expect("the engine ends");
            interval.tallies.values().for_each(|more| tally.merge(more));
            if interval.last {
                break;
            }
        }
        let record = server.record();
        assert_eq!((tally.ok, tally.planned()), (HITS, HITS), "{:?}", tally.results());
        assert_eq!((dues.len(), record.answered.len()), (10_000, 10_000));
        Self { dues, tally, record }
    }

    /// The open model's response times, sorted: who was due in the stall waited for its end, nobody else at all.
    fn model(&self) -> Vec<Duration> {
        let (began, ended) = self.record.stalled.expect("it has stalled");
        let waited = |due: &Instant| if *due >= began { ended.saturating_duration_since(*due) } else { Duration::ZERO };
        let mut times: Vec<_> = self.dues.iter().map(waited).collect();
        times.sort_unstable();
        times
    }

    /// Expects the worst response times to be the model's, within the `share` of them.
    #[track_caller]
    fn expect_tail(&self, share: f64) {
        let model = self.model();
        let response = &self.tally.response;
        let ours = [0.99, 0.999].map(|q| (q, response.quantile(q))).into_iter().chain([(1.0, response.max())]);
        for (quantile, ours) in ours {
            let model = exact(&model, quantile);
            let off = ours.as_secs_f64() / model.as_secs_f64() - 1.0;
            assert!(off.abs() <= share, "the quantile {quantile} is {ours:?}, the open model's {model:?}");
        }
    }
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
    let run = Run::with(4_000);
    run.expect_tail(0.01);
    // What the server itself knows of those that didn't stall, too: from each due to its answer.
    let mut served: Vec<_> =
        run.dues.iter().zip(&run.record.answered).map(|(due, at)| at.saturating_duration_since(*due)).collect();
    served.sort_unstable();
    let (median, expect) = (run.tally.response.quantile(0.5), exact(&served, 0.5));
    assert!(median.abs_diff(expect) <= MEDIAN, "the median is {median:?}, the server's {expect:?}");
    // Service time stands beside it: as nobody waited for a place, it tells the same but for our own lag.
    assert_eq!(run.tally.service.count(), HITS);
    assert!(run.tally.service.quantile(0.99) > seconds(1.8), "{:?}", run.tally.service.quantiles());
    assert_eq!(run.tally.blocked.max(), Duration::ZERO);
}

#[test]
fn under_a_stall_hits_that_wait_for_a_place_tell_the_same() {
    let run = Run::with(10);
    run.expect_tail(0.05);
    // All but the ten in flight were blocked; who looks at service time alone sees next to nothing of it.
    assert!(run.tally.blocked.max() > seconds(1.9), "{:?}", run.tally.blocked.quantiles());
    assert!(run.tally.service.quantile(0.99) < seconds(0.1), "{:?}", run.tally.service.quantiles());
    // A fifth of the hits was due in the stall. The others were moved, and show none of it.
    let response = &run.tally.response;
    assert!(response.quantile(0.79) < seconds(0.02), "{:?}", response.quantile(0.79));
    let (median, parts) = (response.quantile(0.5), [&run.tally.service, &run.tally.lag].map(|part| part.quantile(0.5)));
    assert!(median <= parts[0] + parts[1] + MEDIAN, "the median is {median:?}, service and lag are {parts:?}");
}
