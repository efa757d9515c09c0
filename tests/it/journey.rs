//! What `canihazctl journey` says.

use std::fs;

use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::run::Ended;
use crate::parts::sandbox::Sandbox;

const ID: &str = "c276c8c7-6fec-4aa9-b6bd-4de12a49a9bb";

fn journey(sandbox: &Sandbox, id: &str) -> Ended {
    let mut command = sandbox.ctl();
    command.args(["journey", id]);
    sandbox.start_command(command, &Clock::real()).wait(seconds(10.0))
}

#[test]
fn a_journey_is_printed_by_its_sequence_id() {
    let sandbox = Sandbox::new();
    let line = format!("{{\"sequenceID\":\"{ID}\",\"test\":\"shop\",\"duration\":7,\"requests\":[]}}\n");
    fs::create_dir(sandbox.path("state/journeys")).unwrap();
    fs::write(sandbox.path("state/journeys/20261121T0327Z.1.shop.jsonl"), &line).unwrap();
    for id in [ID, &format!(" {} ", ID.to_uppercase())] {
        let ended = journey(&sandbox, id);
        ended.expect_silence();
        assert_eq!(ended.stdout, line);
    }
    let ended = journey(&sandbox, "another");
    ended.expect_code(1);
    let words = "canihazctl: no journey \"another\": it is not among the slowest 100 of any minute and load test since \
                 2026-11-21 03:27 UTC\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", words));
}
