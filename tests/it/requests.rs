//! Several requests in turn, and values that change by hit, as counted and seen on the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use canihaz::engine::{Assignment, Engine, Limits, Window};
use canihaz::kinds::{self, Prepared};
use canihaz::pacer::{Arrivals, Pace};
use canihaz::summary::Tally;

use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::target::{Answer, Request, Target};

/// Three requests, of which the first is sent as often as the others together, and half as often again.
const LIST: &str = "[[request]]\nurl = \"/a\"\nweight = 3\n[[request]]\nurl = \"/b?x=1\"\n[[request]]\nurl = \"/c\"\n";

/// Runs a minute's last three seconds.
#[track_caller]
fn run(sandbox: &Sandbox) {
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
}

fn server() -> Target {
    Target::start(Answer::ok(Duration::ZERO))
}

/// How often each was asked for.
fn count<'a>(asked: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    asked.fold(BTreeMap::new(), |mut counts, asked| {
        *counts.entry(asked).or_default() += 1;
        counts
    })
}

/// What a request has in a header, where it has it.
fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let header = |line: &'a String| line.split_once(": ").filter(|(seen, _)| seen.eq_ignore_ascii_case(name));
    request.head.iter().find_map(header).map(|(_, value)| value)
}

fn path(request: &Request) -> &str {
    request.head[0].split(' ').nth(1).unwrap()
}

#[test]
fn requests_are_sent_by_their_weights() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/"), "a|front|600|out");
    sandbox.http("front", &nginx.url("/"), LIST);
    sandbox.start(&Clock::at(50.0)).succeed(20.0);
    let hits = nginx.hits();
    let counts = count(hits.iter().map(|hit| hit.uri.as_str()));
    assert_eq!(counts, BTreeMap::from([("/a", 360), ("/b?x=1", 120), ("/c", 120)]));
    assert_eq!(sandbox.results().total("a", "ok"), 600);
}

#[test]
fn requests_are_sent_by_their_weights_over_two_threads() {
    const FREQUENCY: u64 = 1200;
    let nginx = Nginx::start();
    let text = format!("kind = \"http\"\nurl = \"{}\"\novertime = 4\n{LIST}", nginx.url("/"));
    let of_type = kinds::read("front", Path::new("front.toml"), &text).0.unwrap().remove(0);

    let begin = Instant::now();
    let (interval, slack) = (Duration::from_millis(500), Duration::from_micros(430));
    let window = Window { begin, end: begin + seconds(3.0), interval, slack };
    // A thread is to have too much with more than 10 hits a second.
    let limits = Limits { threads: 2, rate_of_a_thread: FREQUENCY / 60 / 2 };
    let (told, reported) = mpsc::channel();
    let engine = Engine::start(window, limits, move |interval| told.send(interval).unwrap()).unwrap();
    // So short a minute is all catching up.
    let pace = Pace { frequency: FREQUENCY, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 1000 };
    engine.run(&Assignment {
        test: String::from("a"),
        of_type,
        prepared: Prepared::Nothing,
        pace,
        seed: 1,
        made: begin,
    });
    assert_eq!(engine.threads(), 2);
    let mut tally = Tally::default();
    loop {
        let interval = reported.recv_timeout(Duration::from_secs(20)).unwrap();
        interval.tallies.values().for_each(|part| tally.merge(part));
        if interval.last {
            break;
        }
    }

    let hits = nginx.hits();
    let counts = count(hits.iter().map(|hit| hit.uri.as_str()));
    assert_eq!((hits.len() as u64, tally.ok + tally.missed), (tally.ok, FREQUENCY), "{:?}", tally.failures);
    // A machine that stalls in the last moment of so short a minute leaves no time for the last.
    assert!(tally.missed <= FREQUENCY / 100, "{} missed", tally.missed);
    for (uri, share) in [("/a", 3), ("/b?x=1", 1), ("/c", 1)] {
        let missing = (FREQUENCY * share / 5).checked_sub(counts[uri]);
        assert!(missing.is_some_and(|missing| missing <= tally.missed), "{counts:?}, {} missed", tally.missed);
    }
}

#[test]
fn turns_come_in_order_and_each_request_is_its_own() {
    let target = server();
    let sandbox = sandbox(&target.url("/"), "a|front|120|out");
    sandbox.write("types.d/order.json", "{\"item\": \"{{n}}\"}");
    sandbox.http(
        "front",
        &target.url("/base?x=y"),
        "headers = { X-All = \"type\", X-Both = \"type\" }\n\
         [[request]]\nweight = 2\n\
         [[request]]\nurl = \"/order\"\nmethod = \"POST\"\nheaders = { X-Both = \"own\" }\nbody_file = \"order.json\"\n",
    );
    run(&sandbox);
    let requests = target.requests();
    assert!(requests.len() > 10, "{}", requests.len());
    for (number, request) in requests.iter().enumerate() {
        assert_eq!(header(request, "X-All"), Some("type"));
        let seen = (request.head[0].as_str(), header(request, "X-Both"), request.body.as_str());
        let expect = match number % 3 {
            1 => ("POST /order HTTP/1.1", Some("own"), "{\"item\": \"{{n}}\"}"),
            _ => ("GET /base?x=y HTTP/1.1", Some("type"), ""),
        };
        assert_eq!(seen, expect, "{number}");
    }
}

#[test]
fn values_change_by_hit_in_url_headers_and_body() {
    let target = server();
    let sandbox = sandbox(&target.url("/"), "a|front|120|out");
    sandbox.write("types.d/users.csv", "id,name\r\n1,ann & bob\r\n2,\"zoë \"\"z\"\"\"\r\n3,\r\n");
    sandbox.http(
        "front",
        &target.url("/{{csv.id}}?q={{csv.name}}&n={{n}}"),
        "method = \"POST\"\ncsv = \"users.csv\"\nheaders = { X-Id = \"{{uuid}}\", X-Name = \"<{{csv.name}}>\" }\n\
         body = '{\"id\":\"{{uuid}}\",\"name\":\"{{csv.name|json}}\",\"at\":{{now}},\"o\":{\"ms\":{{now_ms}}}}'\n",
    );
    run(&sandbox);
    let requests = target.requests();
    assert!(requests.len() > 10, "{}", requests.len());
    let rows = [("1", "ann%20%26%20bob", "ann & bob"), ("2", "zo%C3%AB%20%22z%22", "zoë \"z\""), ("3", "", "")];
    let mut ids = BTreeSet::new();
    for (number, request) in requests.iter().enumerate() {
        let (row, encoded, name) = rows[number % 3];
        assert_eq!(path(request), format!("/{row}?q={encoded}&n={number}"));
        assert_eq!(header(request, "X-Name"), Some(format!("<{name}>").as_str()));
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["name"], name);
        assert_eq!(header(request, "X-Id"), body["id"].as_str());
        assert_eq!(header(request, "Content-Length"), Some(request.body.len().to_string().as_str()));
        assert_eq!(body["o"]["ms"].as_u64().unwrap() / 1000, body["at"].as_u64().unwrap());
        assert!(ids.insert(body["id"].as_str().unwrap().to_owned()), "{body} came twice");
    }
    assert_eq!(sandbox.results().total("a", "ok"), requests.len() as u64);
}

#[test]
fn a_template_file_is_filled_in_and_a_body_file_is_not() {
    let target = server();
    let sandbox = sandbox(&target.url("/"), "a|front|60|out");
    sandbox.write("types.d/order.json", "{\"n\": {{n}}, \"other\": \"{{{{item}}\"}\n");
    sandbox.http(
        "front",
        &target.url("/"),
        "method = \"POST\"\n[[request]]\nbody_file = \"order.json\"\n[[request]]\nbody_template = \"order.json\"\n",
    );
    run(&sandbox);
    let requests = target.requests();
    assert_eq!(requests[0].body, "{\"n\": {{n}}, \"other\": \"{{{{item}}\"}\n");
    assert_eq!(requests[1].body, "{\"n\": 1, \"other\": \"{{item}}\"}\n");
}

#[test]
fn what_one_server_is_to_hear_no_other_does() {
    let (own, other) = (server(), server());
    let sandbox = sandbox(&own.url("/"), "a|front|120|out");
    sandbox.write("types.d/token", "s3cret\n");
    sandbox.write("types.d/other", "0ther\n");
    sandbox.http(
        "front",
        &own.url("/"),
        &format!(
            "bearer_file = \"token\"\nheaders = {{ Cookie = \"a=b\", Host = \"shop\", Accept = \"text/html\" }}\n\
             [[request]]\nurl = \"/relative\"\n[[request]]\nurl = \"{}\"\n[[request]]\nurl = \"{}\"\n\
             [[request]]\nurl = \"{}\"\nbearer_file = \"other\"\n",
            own.url("/absolute"),
            other.url("/bare"),
            other.url("/named")
        ),
    );
    run(&sandbox);
    let secrets = |request: &Request| {
        let [authorization, cookie, host, accept] =
            ["Authorization", "Cookie", "Host", "Accept"].map(|name| header(request, name).map(str::to_owned));
        (authorization, cookie, host.unwrap(), accept.unwrap())
    };
    let text = |text: &str| Some(text.to_owned());
    let (own_requests, other_requests) = (own.requests(), other.requests());
    assert!(own_requests.len() > 3 && other_requests.len() > 3);
    for request in own_requests {
        assert!(["/relative", "/absolute"].contains(&path(&request)));
        assert_eq!(secrets(&request), (text("Bearer s3cret"), text("a=b"), "shop".into(), "text/html".into()));
    }
    for request in other_requests {
        let authorization = if path(&request) == "/named" { text("Bearer 0ther") } else { None };
        let host = other.url("").split_off("http://".len());
        assert_eq!(secrets(&request), (authorization, None, host, "text/html".into()));
    }
}

#[test]
fn each_request_has_its_own_expectation() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/"), "a|front|120|out");
    sandbox.http(
        "front",
        &nginx.url("/"),
        "expect = { status = [200] }\n[[request]]\nurl = \"/fine\"\n\
         [[request]]\nurl = \"/500\"\nexpect = { status = [500] }\n[[request]]\nurl = \"/500\"\n",
    );
    run(&sandbox);
    let results = sandbox.results();
    let (ok, failed) = (results.total("a", "ok"), results.failures("a", "status"));
    assert_eq!(ok + failed, nginx.hits().len() as u64, "{results}");
    assert_eq!(failed, (ok + failed) / 3, "{results}");
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_its_place() {
    let sandbox = sandbox("http://127.0.0.1:1/", "a|front|60|out");
    sandbox.http("front", "http://127.0.0.1:1/", "[[request]]\n\n[[request]]\nurl = \"/{{nn}}\"\n");
    let checked = sandbox.ctl().arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    let expect = "front.toml:6:7: \"request[2].url\" has {{nn}}, which is not known: the nearest known one is {{n}};";
    assert!(said.contains(expect), "{said}");
}
