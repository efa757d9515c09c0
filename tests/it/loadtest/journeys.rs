//! The slowest journeys of a minute, which people can look for.

use std::time::Duration;

use serde_json::Value;

use super::{end, odd, sandbox};
use crate::parts::clock::Clock;
use crate::parts::target::{Answer, Target};

/// How long the slowest request takes.
const SLOWEST: Duration = Duration::from_millis(500);

#[test]
fn the_slowest_journeys_are_kept_whole_and_found_by_their_ids() {
    let (target, sandbox) = (Target::start(Answer::ok(SLOWEST).once()), sandbox());
    odd(&sandbox, "front", &target.url(""), "steps=3", "");
    sandbox.test("a|front|240|out");
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    let ok = results.total("a", "ok");

    let requests = target.requests();
    assert_eq!(requests.len() as u64, 3 * ok);
    let path = |request: &crate::parts::target::Request| request.head[0].split(' ').nth(1).unwrap().to_owned();
    let id = |path: &str| path.split(['/', '?']).nth(2).unwrap().to_owned();
    let [file] = &sandbox.files("state/journeys")[..] else { panic!("{:?}", sandbox.files("state/journeys")) };
    let kept = std::fs::read_to_string(sandbox.path("state/journeys").join(file)).unwrap();
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept.len() as u64, ok.min(100));
    let slowest = id(&path(&requests[0]));
    assert_eq!(kept[0]["sequenceID"], slowest.as_str(), "{}", kept[0]);
    let durations: Vec<_> = kept.iter().map(|journey| journey["duration"].as_u64().unwrap()).collect();
    assert!(durations.is_sorted_by(|one, other| one >= other) && durations[0] >= SLOWEST.as_nanos() as u64);

    for journey in [&kept[0], kept.last().unwrap()] {
        let id_of_journey = journey["sequenceID"].as_str().unwrap();
        let found = sandbox.ctl().args(["journey", id_of_journey]).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(&found, journey);
        let urls: Vec<_> = found["requests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|request| request["url"].as_str().unwrap().to_owned())
            .collect();
        let asked: Vec<_> = requests.iter().map(path).filter(|path| id(path) == id_of_journey).collect();
        assert_eq!(urls, asked.iter().map(|path| target.url(path)).collect::<Vec<_>>());
        assert_eq!(urls.len(), 3);
    }
    let none = sandbox.ctl().args(["journey", "00000000-0000-4000-8000-000000000000"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
}
