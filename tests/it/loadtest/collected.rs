//! Requests on their way to a collector: what was printed arrives, as it was, once.

use std::collections::BTreeSet;

use super::{odd, run, sandbox};
use crate::parts::collector::Collector;
use crate::parts::nginx::Nginx;

#[test]
fn what_a_load_test_has_printed_is_at_the_collector_to_the_request() {
    let (nginx, collector, sandbox) = (Nginx::start(), Collector::start(), sandbox());
    odd(&sandbox, "front", &nginx.url(""), "steps=3 fail_at=5", "overtime = 4\n");
    sandbox.destination("magnum", &format!("kind = \"collector\"\nurl = \"{}\"\n", collector.url("shop")));
    sandbox.test("a|front|120|out,magnum");
    // One whose requests nobody has asked for.
    odd(&sandbox, "back", &nginx.url("/b"), "", "");
    sandbox.test("b|back|60|out");
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 120);
    let pushed = collector.pushed("shop");
    assert!(pushed.len() > 60, "{results}");
    assert_eq!(pushed.len() as u64, results.work("a", "requests"), "{results}");
    let text = |output: &serde_json::Value, key: &str| output[key].as_str().unwrap().to_owned();
    let urls: BTreeSet<_> = pushed.iter().map(|output| text(output, "url")).collect();
    let arrived = nginx.hits().into_iter().filter(|hit| !hit.uri.starts_with("/b/a/")).map(|hit| nginx.url(&hit.uri));
    assert_eq!(urls, arrived.collect());
    assert_eq!(urls.len(), pushed.len(), "none twice");
    for output in &pushed {
        assert!(text(output, "url").contains(&text(output, "sequenceID")), "{output}");
        assert_eq!((&output["status"], &output["size"]), (&200.into(), &3.into()), "{output}");
    }
    assert_eq!(results.work("a", "uncollected"), 0, "{results}");
}
