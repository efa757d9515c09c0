//! The main job, as it is lived: cron starts the runner each minute.

use crate::parts::arrivals::{earliest, expect_even, latest};
use crate::parts::carbon::Carbon;
use crate::parts::clock::Clock;
use crate::parts::cron::{cron, minutes};
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::sandbox;

/// When cron has started its jobs, in seconds of the minute: it wakes a second late on purpose, at any fraction.
const CRON: f64 = 2.5;

#[test]
fn cron_600_a_minute_for_two_minutes_to_the_hit() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let cron = cron(&sandbox);
    let clock = Clock::real();
    clock.wait_for(60.0);
    minutes(&sandbox, 2);
    assert!(clock.now() > 175.0, "two whole minutes");
    // The third minute's run has not begun: what nginx has is what two of them sent.
    let arrived = nginx.hits();
    for number in [1, 2] {
        let minute = clock.later(number);
        let seconds: Vec<f64> =
            arrived.iter().map(|hit| minute.second(hit.at)).filter(|second| (0.0..60.0).contains(second)).collect();
        assert_eq!(seconds.len(), 600, "minute {number}");
        assert!(earliest(&seconds) < CRON, "the first at {}", earliest(&seconds));
        assert!(latest(&seconds) < 59.95, "the last at {}", latest(&seconds));
        expect_even(&seconds, 59.9, 6);
    }
    let results = sandbox.results();
    results.expect_no_twins();
    assert_eq!(results.total("a", "ok"), arrived.len() as u64, "{results}");
    assert_eq!(cron.mails(), Vec::<String>::new(), "nothing on stderr, nothing on stdout, nothing mailed");
}

#[test]
fn by_hand_beside_cron_no_point_overwrites() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("60s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|carbon,out");
    sandbox.carbon(carbon.port, "");
    let cron = cron(&sandbox);
    let minute = Clock::real().later(1);
    minute.wait_for(20.0);
    sandbox.start(&Clock::real()).succeed(55.0);
    minutes(&sandbox, 2);
    sandbox.write("stop", "enough\n");

    let arrived = nginx.seconds("/a", &minute);
    assert_eq!(arrived.iter().filter(|second| (0.0..60.0).contains(*second)).count(), 600, "both send all");
    carbon.expect_points("canihaz.box.a.hits.ok", &minute, &[(0, 300.0)]);
    carbon.expect_points("canihaz.box-2.a.hits.ok", &minute, &[(0, 300.0)]);
    sandbox.results().expect_no_twins();
    assert_eq!(sandbox.results().total("a", "ok"), 600);
    assert_eq!(cron.mails(), Vec::<String>::new());
}
