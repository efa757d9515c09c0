//! InfluxDB as a destination, and VictoriaMetrics by the second write API: what arrived, by query.

use std::fs;
use std::path::PathBuf;

use chrono::DateTime;
use serde_json::Value;

use crate::parts::carbon::Carbon;
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::{Influx, Options, VictoriaMetrics};
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::server::free_tcp_port;

/// How long a run that begins at second 55 may take: its tests, sending, and the machine's share.
const SHORT: f64 = 5.0 + 5.0 + 2.0;

/// A sandbox whose test sends all of its minute's hits also in the last seconds of it.
fn hasty(url: &str, line: &str) -> Sandbox {
    let sandbox = sandbox(url, line);
    sandbox.settings("max_catch_up = 100\n");
    sandbox
}

/// Writes the destination `name`, which goes to the database `lab`.
fn destination(sandbox: &Sandbox, name: &str, influx: &Influx, more: &str) {
    sandbox.destination(name, &format!("kind = \"influxdb\"\nurl = \"{}\"\ndatabase = \"lab\"\n{more}", influx.url()));
}

/// The files of the destination `influx` in the spool's folder `folder`.
fn spooled(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    sandbox.files(&format!("state/spool/influx/{folder}"))
}

/// Why intervals were set aside.
fn reasons(sandbox: &Sandbox) -> Vec<String> {
    let files =
        spooled(sandbox, "rejected").into_iter().filter(|file| file.extension().is_some_and(|end| end == "reason"));
    files.map(|file| fs::read_to_string(sandbox.path("state/spool/influx/rejected").join(file)).unwrap()).collect()
}

/// A field of each summary of `test`, with its time in nanoseconds: by the destination `out`.
fn told(sandbox: &Sandbox, test: &str, field: impl Fn(&Value) -> Value) -> Vec<(Value, Value)> {
    let ns = |summary: &Value| {
        DateTime::parse_from_rfc3339(summary["start"].as_str().unwrap()).unwrap().timestamp_nanos_opt().unwrap()
    };
    sandbox.results().of(test).into_iter().map(|summary| (ns(summary).into(), field(summary))).collect()
}

/// The same by InfluxDB.
fn held(influx: &Influx, database: &str, test: &str, field: &str) -> Vec<(Value, Value)> {
    let rows = influx.rows(database, &format!("SELECT \"{field}\" FROM canihaz WHERE test = '{test}'"));
    rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
}

#[test]
fn what_arrives_is_what_was_measured_compressed_or_not() {
    let nginx = Nginx::start();
    let influx = Influx::start();
    influx.create("lab");
    influx.create("plain");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|influx,plain,out");
    sandbox.write("canihaz.toml", "host = \"web1.example.com\"\n");
    sandbox.http("back", &nginx.url("/500"), "");
    sandbox.test("b|back|60|influx,plain,out");
    sandbox.write(
        "types.d/queue.toml",
        "kind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"echo 'fine | queued=7 time=0.25s'\"]\n",
    );
    sandbox.test("q|queue|20|influx,plain,out");
    destination(&sandbox, "influx", &influx, "[tags]\ndc = \"Köln, 2\"\n");
    let plain = format!("kind = \"influxdb\"\nurl = \"{}/\"\ndatabase = \"plain\"\ngzip = false\n", influx.url());
    sandbox.destination("plain", &plain);
    let clock = Clock::at(46.0);
    sandbox.start(&clock).succeed(25.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);

    for database in ["lab", "plain"] {
        for test in ["a", "b", "q"] {
            for field in ["planned", "ok", "failed", "canceled", "missed", "stopped", "bytes_in", "bytes_out"] {
                let held = held(&influx, database, test, field);
                assert_eq!(held, told(&sandbox, test, |summary| summary[field].clone()), "{field} of {test}");
                assert_eq!(held.len(), 2, "intervals from second 40 and 50");
            }
            for latency in ["response", "service", "lag", "blocked"] {
                for quantile in ["mean", "p50", "p90", "p99", "p999", "max"] {
                    let field = format!("{latency}_{quantile}");
                    let expect = told(&sandbox, test, |summary| summary[latency][quantile].as_f64().into());
                    let held = held(&influx, database, test, &field).into_iter();
                    // InfluxDB shows 0.0 as 0.
                    let held: Vec<_> = held.map(|(time, value)| (time, value.as_f64().into())).collect();
                    assert_eq!(held, expect, "{field} of {test}");
                }
            }
        }
        assert_eq!(influx.number(database, "SELECT sum(ok) FROM canihaz WHERE test = 'a'"), 300.0);
        assert_eq!(influx.number(database, "SELECT sum(count) FROM canihaz_failures WHERE reason = 'status'"), 60.0);
        assert_eq!(influx.number(database, "SELECT sum(count) FROM canihaz_values WHERE value = 'queued'"), 20.0);
        assert_eq!(influx.number(database, "SELECT mean(mean) FROM canihaz_values WHERE unit = 's'"), 0.25);
        let last_run = held(&influx, database, "_runner", "last_run");
        assert_eq!(last_run.last().map(|(_, value)| value), Some(&clock.epoch().into()));
    }
    let series = influx.query("lab", "SHOW SERIES FROM canihaz WHERE test = 'a'");
    let expect = "canihaz,dc=Köln\\,\\ 2,host=web1_example_com,test=a,type=front";
    assert_eq!(series["results"][0]["series"][0]["values"], serde_json::json!([[expect]]));
    assert_eq!(sandbox.files("state/spool/influx/rejected").len() + spooled(&sandbox, "new").len(), 0);
}

#[test]
fn routes_of_requests_are_series_of_their_own_and_no_request_is_lost() {
    let nginx = Nginx::start();
    let mut influx = Influx::start();
    influx.create("lab");
    let sandbox = hasty(&nginx.url("/a"), "a|front|200|influx,carbon,out");
    destination(&sandbox, "influx", &influx, "");
    let port = free_tcp_port();
    sandbox.carbon(port, "");
    influx.stop();
    let first = Clock::at(55.0);
    sandbox.start(&first).wait(seconds(SHORT)).expect_code(0);

    // What waits is of hits that were one request each: as if they had been of three routes.
    let routes = ["GET https://shop/a,b=c d", "GET https://shop/a.b?c+d", "other"];
    for name in ["influx", "carbon"] {
        let new = format!("state/spool/{name}/new");
        for file in sandbox.files(&new) {
            let path = sandbox.path(&new).join(file);
            let text = fs::read_to_string(&path).unwrap();
            let mut summaries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for tally in summaries.iter_mut().filter_map(|summary| summary["measured"].get_mut("test")) {
                let route = serde_json::json!({
                    "duration": tally["response"], "statuses": { "200": 150, "0": 50 }, "errors": 50, "bytes": 300,
                });
                let [one, two, _] = routes;
                tally["routes"] = serde_json::json!({ "routes": { one: route, two: route }, "other": route });
            }
            // One file may be in both folders, and in the archive's way: this one alone is changed.
            fs::remove_file(&path).unwrap();
            let lines: Vec<_> = summaries.iter().map(|summary| format!("{summary}\n")).collect();
            fs::write(&path, lines.concat()).unwrap();
        }
    }
    influx.start_again();
    let carbon = Carbon::start_on(port, "60s");
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(SHORT);

    let p99 = held(&influx, "lab", "a", "response_p99")[0].1.as_f64();
    for route in routes {
        let of = format!("FROM canihaz_routes WHERE test = 'a' AND route = '{route}'");
        let fields = "requests, errors, bytes, status_200, status_0, duration_p99";
        let rows = influx.rows("lab", &format!("SELECT {fields} {of}"));
        let [row] = rows.as_slice() else { panic!("{rows:?} of {route}") };
        assert_eq!(row[1..6], [200, 50, 300, 150, 50].map(Value::from), "{route}");
        assert_eq!(row[6].as_f64(), p99, "{route}");
    }
    assert_eq!(influx.number("lab", "SELECT sum(requests) FROM canihaz_routes"), 600.0);

    let ms = p99.unwrap() * 1e3;
    // Two are one by their names.
    for (route, parts) in [("GET_https___shop_a_b_c_d", 2.0), ("other", 1.0)] {
        let path = format!("canihaz.box.a.routes.{route}");
        for (name, expect) in [("requests", 200.0), ("errors", 50.0), ("bytes", 300.0), ("status.0", 50.0)] {
            carbon.expect_points(&format!("{path}.{name}"), &first, &[(0, expect * parts)]);
        }
        let seen = carbon.points(&format!("{path}.duration.p99"), &first);
        assert!(seen.len() == 1 && (seen[0].1 - ms).abs() < 1e-3, "{seen:?} for {ms} ms");
    }
}

#[test]
fn a_server_that_is_down_gets_it_later_and_what_comes_twice_is_there_once() {
    let nginx = Nginx::start();
    let mut influx = Influx::start();
    influx.create("lab");
    let sandbox = hasty(&nginx.url("/a"), "a|front|200|influx,out");
    destination(&sandbox, "influx", &influx, "");
    influx.stop();
    let first = Clock::at(55.0);
    let ended = sandbox.start(&first).wait(seconds(SHORT));
    ended.expect_code(0);
    assert!(ended.stderr.contains("what it did not take is kept"), "{}", ended.stderr);
    assert_eq!(nginx.seconds("/a", &first).len(), 200, "the tests are unaffected");
    let waiting = spooled(&sandbox, "new");
    assert!(!waiting.is_empty());
    let new = sandbox.path("state/spool/influx/new");
    let kept: Vec<_> = waiting.iter().map(|file| (file, fs::read(new.join(file)).unwrap())).collect();

    influx.start_again();
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(SHORT);
    let all = held(&influx, "lab", "a", "ok");
    assert_eq!(all, told(&sandbox, "a", |summary| summary["ok"].clone()));
    assert_eq!(influx.number("lab", "SELECT sum(ok) FROM canihaz"), 400.0);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());

    // As if the answer had been lost.
    for (file, bytes) in kept {
        fs::write(new.join(file), bytes).unwrap();
    }
    sandbox.start(&Clock::in_minute(2, 57.0)).succeed(SHORT);
    assert_eq!(held(&influx, "lab", "a", "ok")[..all.len()], all);
    assert_eq!(influx.number("lab", "SELECT sum(ok) FROM canihaz"), 600.0);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
}

#[test]
fn a_user_with_a_password_from_a_file_is_let_in_and_nobody_else() {
    let nginx = Nginx::start();
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.create("lab");
    influx.query("", "CREATE USER canihaz WITH PASSWORD 'pa ss:w0rd'");
    influx.query("", "GRANT WRITE ON lab TO canihaz");
    let sandbox = hasty(&nginx.url("/a"), "a|front|100|influx,out");
    sandbox.write("destinations.d/influx.password", "pa ss:w0rd\n");
    destination(&sandbox, "influx", &influx, "user = \"canihaz\"\npassword_file = \"influx.password\"\n");
    sandbox.start(&Clock::at(57.0)).succeed(SHORT);
    assert_eq!(influx.number("lab", "SELECT sum(ok) FROM canihaz"), 100.0);

    sandbox.write("destinations.d/influx.password", "another\n");
    let ended = sandbox.start(&Clock::in_minute(1, 57.0)).wait(seconds(SHORT));
    ended.expect_code(0);
    assert_eq!(influx.number("lab", "SELECT sum(ok) FROM canihaz"), 100.0);
    assert_eq!(reasons(&sandbox), ["it answered 401 Unauthorized: \"authorization failed\"\n"]);
    assert!(!ended.stderr.contains("another"), "{}", ended.stderr);
}

#[test]
fn what_is_refused_for_good_is_set_aside_with_the_servers_words() {
    let nginx = Nginx::start();
    let influx = Influx::start();
    let sandbox = hasty(&nginx.url("/a"), "a|front|100|influx,out");
    destination(&sandbox, "influx", &influx, "");
    let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(SHORT));
    ended.expect_code(0);
    assert!(ended.stderr.contains("is set aside: it answered 404 Not Found"), "{}", ended.stderr);
    assert_eq!(reasons(&sandbox), ["it answered 404 Not Found: \"database not found: \\\"lab\\\"\"\n"]);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
    assert_eq!(spooled(&sandbox, "rejected").len(), 2, "the interval, and the reason beside it");
    assert_eq!(sandbox.results().total("a", "ok"), 100);
}

#[test]
fn a_full_disk_keeps_what_would_be_a_new_series_for_later() {
    let nginx = Nginx::start();
    let mut influx = Influx::with(Options { disk: Some(16 << 20), ..Options::default() });
    influx.create("lab");
    // What it is to take then goes into a shard that is there.
    let clock = Clock::at(57.0);
    assert_eq!(influx.write("lab", &format!("other ok=1 {}000000000", clock.epoch())).0, 204);
    influx.fill_disk();
    // What room is left in pages that it has already is for series of others.
    let others: String = (0..5000).map(|n| format!("other,n={n} ok=1 {}000000000\n", clock.epoch())).collect();
    let (status, words) = influx.write("lab", &others);
    assert!(status == 400 && words.contains("no space left on device"), "{status} {words}");
    let sandbox = hasty(&nginx.url("/a"), "a|front|100|influx,out");
    destination(&sandbox, "influx", &influx, "");
    let ended = sandbox.start(&clock).wait(seconds(SHORT));
    ended.expect_code(0);
    assert!(ended.stderr.contains("it answered 400 Bad Request"), "{}", ended.stderr);
    assert_eq!(spooled(&sandbox, "rejected"), Vec::<PathBuf>::new());
    assert_eq!(spooled(&sandbox, "new").len(), 1);

    // Its disk is as long-lived as itself.
    influx.kill();
    influx.start_again();
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(SHORT);
    assert_eq!(held(&influx, "lab", "a", "ok"), told(&sandbox, "a", |summary| summary["ok"].clone()));
    assert_eq!(influx.number("lab", "SELECT sum(ok) FROM canihaz"), 200.0);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
}

#[test]
fn a_conflict_of_types_is_set_aside_and_the_other_points_are_taken() {
    let nginx = Nginx::start();
    let influx = Influx::start();
    influx.create("lab");
    // Somebody has written the field as another type, as of a time in the same shard.
    let clock = Clock::at(57.0);
    let earlier = format!("canihaz,test=theirs ok=0.5 {}000000000", clock.epoch());
    assert_eq!(influx.write("lab", &earlier).0, 204);
    let sandbox = hasty(&nginx.url("/500"), "a|front|100|influx");
    destination(&sandbox, "influx", &influx, "");
    sandbox.start(&clock).wait(seconds(SHORT)).expect_code(0);
    let reasons = reasons(&sandbox);
    assert_eq!(reasons.len(), 1);
    for words in ["it answered 400 Bad Request: \"partial write: field type conflict: ", "\\\"ok\\\"", " dropped=1\"\n"]
    {
        assert!(reasons[0].contains(words), "{words} in {reasons:?}");
    }
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
    assert_eq!(influx.count("lab", "canihaz", "last_run"), 1);
    assert_eq!(influx.number("lab", "SELECT sum(count) FROM canihaz_failures"), 100.0);

    // Nothing but what the conflict was about is in its way then.
    influx.query("", "DROP DATABASE lab");
    influx.create("lab");
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(SHORT);
    assert_eq!(influx.number("lab", "SELECT sum(failed) FROM canihaz"), 100.0);
}

#[test]
fn the_second_write_api_takes_it_with_a_token() {
    let victoria = VictoriaMetrics::start();
    // VictoriaMetrics asks for no token.
    let door = Nginx::with(&format!(
        "location /influx/ {{ if ($http_authorization != 'Token s3cret') {{ return 401 'no'; }} \
         proxy_pass {}/; }}",
        victoria.url()
    ));
    let sandbox = hasty(&door.url("/500"), "a|front|100|influx,out");
    sandbox.write("destinations.d/token", "s3cret\n");
    let text = format!(
        "kind = \"influxdb\"\nurl = \"{}\"\norg = \"ours\"\nbucket = \"lab\"\ntoken_file = \"token\"\nprefix = \"lab\"\n\
         [tags]\ndc = \"a, b=c\"\n",
        door.url("/influx")
    );
    sandbox.destination("influx", &text);
    let clock = Clock::at(57.0);
    sandbox.start(&clock).succeed(SHORT);
    assert_eq!(reasons(&sandbox), Vec::<String>::new());
    assert_eq!(victoria.sum("lab_failed"), 100.0);
    assert_eq!(victoria.sum("lab_failures_count"), 100.0);
    assert_eq!(victoria.sum("lab_last_run"), clock.epoch() as f64);
    let told = told(&sandbox, "a", |summary| summary["response"]["p99"].clone());
    let series = victoria.series("lab_response_p99");
    assert_eq!(series[0]["values"], serde_json::json!([told[0].1]));
    assert_eq!(series[0]["timestamps"], serde_json::json!([(clock.epoch() + 50) * 1000]));
    for (label, value) in [("host", "box"), ("test", "a"), ("type", "front"), ("dc", "a, b=c")] {
        assert_eq!(series[0]["metric"][label], value, "{}", series[0]);
    }

    sandbox.write("destinations.d/token", "wr0ng\n");
    sandbox.start(&Clock::in_minute(1, 57.0)).wait(seconds(SHORT)).expect_code(0);
    assert_eq!(reasons(&sandbox), ["it answered 401 Unauthorized: \"no\"\n"]);
}
