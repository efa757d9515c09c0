//! The provisioner against the real InfluxDB: what it makes, and what it says where it can't.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use canihaz::kinds::influxdb::{
    Address, ContinuousQuery, End, Host, Provisioner, Provisioning, Reset, RetentionPolicy, Server,
};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::parts::influx::{Influx, Options, VictoriaMetrics};

fn provisioning(port: u16, database: &str) -> Provisioning {
    Provisioning {
        address: Address { host: Host::parse("127.0.0.1").unwrap(), port },
        ssl: false,
        database: database.to_owned(),
        reset: Reset::Never,
        retention_policies: Vec::new(),
        continuous_queries: Vec::new(),
    }
}

fn policy(name: &str, duration: &str, shard_duration: Option<&str>, default: bool) -> RetentionPolicy {
    let [name, duration] = [name, duration].map(str::to_owned);
    RetentionPolicy { name, duration, replication: 1, shard_duration: shard_duration.map(str::to_owned), default }
}

fn query(name: &str, query: &str, resample: Option<&str>) -> ContinuousQuery {
    let [name, query] = [name, query].map(str::to_owned);
    ContinuousQuery { name, query, resample: resample.map(str::to_owned) }
}

/// How a server is spoken to by somebody, or by nobody in particular.
fn server(user: Option<(&str, &str)>) -> Server {
    let basic = |(name, password)| format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
    let authorization = user.map(|user| HeaderValue::try_from(basic(user)).unwrap());
    Server { authorization, timeout: Duration::from_secs(10), dial: Default::default() }
}

/// Provisions; a failure in words.
fn provision(settings: &Provisioning, server: &Server) -> Result<End, String> {
    let provisioner = Provisioner::new(settings, server).unwrap();
    provisioner.provision(|| false).map_err(|error| format!("{error:#}"))
}

/// The values of all rows of an answer's first series.
fn rows(influx: &Influx, query: &str) -> Vec<Value> {
    influx.query("", query)["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default()
}

/// The continuous queries of `lab`, each with its text.
fn queries(influx: &Influx) -> Vec<Value> {
    let answer = influx.query("", "SHOW CONTINUOUS QUERIES");
    let series = answer["results"][0]["series"].as_array().unwrap();
    series.iter().find(|one| one["name"] == "lab").unwrap()["values"].as_array().cloned().unwrap_or_default()
}

#[test]
fn provisioning_twice_is_harmless() {
    let influx = Influx::start();
    let settings = Provisioning {
        retention_policies: vec![policy("week", "7d", None, true), policy("ever", "INF", Some("2w"), false)],
        continuous_queries: vec![
            query("means", "SELECT mean(v) INTO \"ever\".means FROM m GROUP BY time(1m), *", None),
            query("sums", "SELECT sum(v)  INTO sums FROM \"m\" GROUP BY time(5m)", Some("EVERY 1m FOR 10m")),
        ],
        ..provisioning(influx.port, "lab")
    };
    let seen = || {
        let databases = rows(&influx, "SHOW DATABASES");
        (databases, rows(&influx, "SHOW RETENTION POLICIES ON \"lab\""), queries(&influx))
    };
    assert_eq!(provision(&settings, &server(None)), Ok(End::Done));
    let first = seen();
    assert_eq!(first.0, [json!(["lab"])]);
    assert_eq!(
        first.1,
        [
            json!(["autogen", "0s", "168h0m0s", 1, false]),
            json!(["week", "168h0m0s", "24h0m0s", 1, true]),
            json!(["ever", "0s", "336h0m0s", 1, false]),
        ]
    );
    assert_eq!(first.2.len(), 2, "{:?}", first.2);

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert_eq!(influx.write("lab", &format!("m v=1 {now}\nm v=2 {}", now - 1)).0, 204);
    for _ in 0..2 {
        assert_eq!(provision(&settings, &server(None)), Ok(End::Done));
        assert_eq!(seen(), first);
        assert_eq!(influx.count("lab", "m", "v"), 2);
    }
}

#[test]
fn a_policy_that_is_another_one_is_altered() {
    let influx = Influx::start();
    let check = |policy: RetentionPolicy, expect: Value| {
        let settings = Provisioning { retention_policies: vec![policy], ..provisioning(influx.port, "lab") };
        // What the second one finds is as it should be.
        for _ in 0..2 {
            assert_eq!(provision(&settings, &server(None)), Ok(End::Done));
            assert_eq!(rows(&influx, "SHOW RETENTION POLICIES ON \"lab\"")[1], expect, "{settings:?}");
        }
    };
    check(policy("p", "7d", None, false), json!(["p", "168h0m0s", "24h0m0s", 1, false]));
    check(policy("p", "60d", None, false), json!(["p", "1440h0m0s", "24h0m0s", 1, false]));
    check(policy("p", "52w", None, false), json!(["p", "8736h0m0s", "168h0m0s", 1, false]));
    check(policy("p", "2h", None, false), json!(["p", "2h0m0s", "1h0m0s", 1, false]));
    check(policy("p", "2h", None, true), json!(["p", "2h0m0s", "1h0m0s", 1, true]));
    check(policy("p", "INF", Some("1d"), true), json!(["p", "0s", "24h0m0s", 1, true]));
    check(
        RetentionPolicy { replication: 2, ..policy("p", "INF", Some("1d"), true) },
        json!(["p", "0s", "24h0m0s", 2, true]),
    );

    let mut settings = provisioning(influx.port, "lab");
    let mut refused = |policy: RetentionPolicy, expect: &str| {
        settings.retention_policies = vec![policy];
        let error = provision(&settings, &server(None)).unwrap_err();
        let step = "cannot make the retention policy \"p\" of \"lab\": ";
        assert!(error.starts_with(&format!("http://127.0.0.1:{}: {step}", influx.port)), "{error}");
        assert!(error.contains(expect), "{error}");
    };
    refused(policy("p", "10m", None, false), "it says \"retention policy duration must be at least 1h0m0s\"");
    refused(policy("p", "1d", Some("2d"), false), "it says \"retention policy duration must be greater than");
    refused(
        policy("p", "weekly", None, false),
        "400 Bad Request: it says \"error parsing query: found weekly, expected",
    );
    refused(policy("p", "1d; DROP DATABASE lab", None, false), "is no duration as InfluxDB writes it");
    refused(policy("p", "1d", Some(""), false), "\"\" is no duration");
    assert_eq!(rows(&influx, "SHOW DATABASES"), [json!(["lab"])]);
}

#[test]
fn a_continuous_query_that_is_another_one_is_made_anew() {
    let influx = Influx::start();
    let mut settings = provisioning(influx.port, "lab");
    let mut check = |query: ContinuousQuery, expect: &str| {
        settings.continuous_queries = vec![query];
        assert_eq!(provision(&settings, &server(None)), Ok(End::Done));
        let queries = queries(&influx);
        assert!(queries.len() == 1 && queries[0][1].as_str().unwrap().contains(expect), "{expect}: {queries:?}");
    };
    let text = "SELECT mean(v) INTO means FROM m GROUP BY time(1m)";
    check(query("q", text, None), "ON lab BEGIN SELECT mean(v)");
    check(query("q", "SELECT max(v) INTO means FROM m GROUP BY time(1m)", None), "max(v)");
    check(query("q", text, Some("EVERY 30s")), "RESAMPLE EVERY 30s BEGIN SELECT mean(v)");
    check(query("q", text, None), "ON lab BEGIN SELECT mean(v)");

    // What is wrong takes nothing away.
    let before = queries(&influx);
    for (text, expect) in [
        (
            "SELECT mean(v) FROM m GROUP BY time(1m)",
            "400 Bad Request: it says \"error parsing query: found FROM, expected INTO",
        ),
        ("SELECT mean(v) INTO none.autogen.x FROM m GROUP BY time(1m)", "it says \"database not found: none\""),
    ] {
        let settings =
            Provisioning { continuous_queries: vec![query("q", text, None)], ..provisioning(influx.port, "lab") };
        let error = provision(&settings, &server(None)).unwrap_err();
        let step = "cannot make the continuous query \"q\" of \"lab\": ";
        assert!(error.contains(step) && error.contains(expect), "{error}");
        assert_eq!(queries(&influx), before);
    }
}

#[test]
fn names_may_have_quotes_and_spaces() {
    let influx = Influx::start();
    let name = "my \"lab\"; DROP DATABASE kept --";
    influx.create("kept");
    let settings = Provisioning {
        retention_policies: vec![policy("a \"p\"", "1d", None, true)],
        continuous_queries: vec![query("a \"q\"", "SELECT mean(v) INTO m2 FROM m GROUP BY time(1m)", None)],
        ..provisioning(influx.port, name)
    };
    for _ in 0..2 {
        assert_eq!(provision(&settings, &server(None)), Ok(End::Done));
        assert_eq!(rows(&influx, "SHOW DATABASES"), [json!(["kept"]), json!([name])]);
    }
    let changed = Provisioning {
        retention_policies: vec![policy("a \"p\"", "2d", None, true)],
        continuous_queries: vec![query("a \"q\"", "SELECT max(v) INTO m2 FROM m GROUP BY time(1m)", None)],
        ..settings
    };
    assert_eq!(provision(&changed, &server(None)), Ok(End::Done));
    Provisioner::new(&changed, &server(None)).unwrap().drop_database().unwrap();
    assert_eq!(rows(&influx, "SHOW DATABASES"), [json!(["kept"])]);

    let error = provision(&provisioning(influx.port, "a/b\n"), &server(None)).unwrap_err();
    assert!(error.ends_with("cannot make the database \"a/b\\n\": it says \"invalid name\""), "{error}");
}

#[test]
fn a_database_is_dropped_with_its_points_also_when_it_is_not_there() {
    let influx = Influx::start();
    let settings = provisioning(influx.port, "lab");
    let (server, there) = (server(None), |influx: &Influx| !rows(influx, "SHOW DATABASES").is_empty());
    let provisioner = Provisioner::new(&settings, &server).unwrap();
    provisioner.drop_database().unwrap();
    assert_eq!(provision(&settings, &server), Ok(End::Done));
    assert_eq!(influx.write("lab", "m v=1 1").0, 204);
    provisioner.drop_database().unwrap();
    assert!(!there(&influx));
    assert_eq!(provision(&settings, &server), Ok(End::Done));
    assert_eq!((there(&influx), influx.count("lab", "m", "v")), (true, 0));
}

#[test]
fn a_stop_ends_it_between_two_steps() {
    let influx = Influx::start();
    let settings = Provisioning {
        retention_policies: ["a", "b", "c"].map(|name| policy(name, "1d", None, false)).into(),
        ..provisioning(influx.port, "lab")
    };
    let asked = std::cell::Cell::new(0);
    let stops_after = |steps: u32| {
        asked.set(0);
        let stopped = || asked.replace(asked.get() + 1) >= steps;
        Provisioner::new(&settings, &server(None)).unwrap().provision(stopped).unwrap()
    };
    assert_eq!(stops_after(0), End::Stopped);
    assert!(rows(&influx, "SHOW DATABASES").is_empty());
    assert_eq!(stops_after(2), End::Stopped);
    assert_eq!(rows(&influx, "SHOW RETENTION POLICIES ON lab").len(), 2, "autogen and a");
    assert_eq!(stops_after(4), End::Done);
}

#[test]
fn whoever_may_not_is_told_so() {
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.query("", "CREATE USER \"writer\" WITH PASSWORD 'w'");
    let settings = provisioning(influx.port, "lab");
    assert_eq!(provision(&settings, &server(Some(("root", "s3cret")))), Ok(End::Done));
    let check = |user: Option<(&str, &str)>, expect: &str| {
        let error = provision(&settings, &server(user)).unwrap_err();
        let place = format!("http://127.0.0.1:{}: cannot make the database \"lab\": ", influx.port);
        assert!(error.starts_with(&place) && error.contains(expect), "{error}");
        assert!(!error.contains("wr0ng") && !error.contains("Basic"), "{error}");
    };
    let right = "; the user and password, or the token, have to be right";
    check(Some(("root", "wr0ng")), &format!("401 Unauthorized: it says \"authorization failed\"{right}"));
    check(None, &format!("401 Unauthorized: it says \"unable to parse authentication credentials\"{right}"));
    check(Some(("writer", "w")), "; the user has to be an administrator, or `[provision.basic]` has to be left out");
    let writer = server(Some(("writer", "w")));
    let error = Provisioner::new(&settings, &writer).unwrap().drop_database().unwrap_err();
    assert!(format!("{error:#}").contains("cannot drop the database \"lab\": 403 Forbidden"), "{error:#}");
}

#[test]
fn a_server_that_is_gone_or_silent_is_told_within_the_timeout() {
    let mut influx = Influx::start();
    let settings = provisioning(influx.port, "lab");
    influx.kill();
    let error = provision(&settings, &server(None)).unwrap_err();
    assert!(error.contains("Connection refused (os error 111); the server has to run, and the address"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = provisioning(silent.local_addr().unwrap().port(), "lab");
    let begun = Instant::now();
    let server = Server { timeout: Duration::from_millis(200), ..server(None) };
    let error = provision(&settings, &server).unwrap_err();
    assert!(error.contains("cannot make the database \"lab\": no answer after 200ms; the server has to"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_server_without_databases_agrees_to_any() {
    let victoria = VictoriaMetrics::start();
    assert_eq!(provision(&provisioning(victoria.port, "lab"), &server(None)), Ok(End::Done));
}
