//! Load tests of go-lo's second version, unchanged: at their own port, silent, with an answer that tells of a request.

use super::{expect_counted, load_test, run, sandbox, script};
use crate::parts::nginx::Nginx;
use crate::parts::server::free_tcp_port;

/// Runs one, and expects a request a hit, whether it prints it, too, or not.
#[track_caller]
fn a_request_a_hit(prints: &[&str]) {
    let (nginx, sandbox, port) = (Nginx::start(), sandbox(), free_tcp_port().to_string());
    let url = nginx.url("/golo");
    let args: Vec<_> = [port.as_str(), url.as_str()].iter().chain(prints).copied().collect();
    let more = format!("rpc_addr = \"127.0.0.1:{port}\"\novertime = 4\n");
    load_test(&sandbox, "golo", &script(&sandbox, "golo_v2.py"), &args, &more);
    sandbox.test("a|golo|240|out");
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 240);
    if prints.is_empty() {
        assert!(expect_counted(&results, "a", 240, &nginx) > 20, "{results}");
    }
    let ok = results.total("a", "ok");
    assert_eq!((nginx.hits().len() as u64, results.work("a", "requests")), (ok, ok), "{results}");
    for summary in results.of("a") {
        let routes = summary["routes"].as_object().unwrap();
        for route in routes.values() {
            assert_eq!(route["statuses"], serde_json::json!({ "200": route["requests"] }), "{summary}");
            assert_eq!(route["bytes"].as_u64(), route["requests"].as_u64().map(|requests| 3 * requests), "{summary}");
            assert_eq!(route["errors"], 0, "{summary}");
        }
    }
}

#[test]
fn what_golos_second_version_answers_is_a_request_a_hit() {
    a_request_a_hit(&[]);
}

#[test]
fn what_is_printed_and_answered_counts_once() {
    a_request_a_hit(&["prints"]);
}
