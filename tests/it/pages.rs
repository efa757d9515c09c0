//! What `canihazctl keys` says.

use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::run::Ended;
use crate::parts::sandbox::Sandbox;

fn keys(arguments: &[&str]) -> Ended {
    let sandbox = Sandbox::new();
    let mut command = sandbox.ctl();
    command.arg("keys").args(arguments);
    sandbox.start_command(command, &Clock::real()).wait(seconds(10.0))
}

#[test]
fn keys_of_a_kind_come_before_those_of_every_kind() {
    let ended = keys(&["http"]);
    ended.expect_silence();
    let [own, common] = ["keys of http:\n  url ", "\nkeys of every kind:\n  kind "].map(|text| ended.stdout.find(text));
    assert!(own == Some(0) && common.is_some(), "{}", ended.stdout);
}

#[test]
fn keys_of_no_kind_are_a_wrong_argument() {
    let ended = keys(&["htp"]);
    ended.expect_code(64);
    assert!(ended.stderr.contains("'http'"), "{}", ended.stderr);
}
