//! What a type file of this kind can say, and what is said of one that is wrong.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::fault::Fault;
use crate::kinds::dial::Host;

/// The sample that influx_stress came with.
const SAMPLE: &str = "tests/data/influxdb/stress.toml";
/// A type that writes.
const WRITES: &str = r#"kind = "influxdb"
[write.point_generator.basic]
measurement = "cpu"
[[write.point_generator.basic.field]]
key = "value"
value = "float64"
[write.influx_client.basic]
addresses = ["localhost:8086"]
database = "lab"
"#;
/// A type that reads.
const READS: &str = r#"kind = "influxdb"
[read.query_generator.basic]
template = "SELECT 1"
[read.query_client.basic]
addresses = ["localhost:8086"]
database = "lab"
"#;

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SAMPLE);
    format!("kind = \"influxdb\"\n{}", fs::read_to_string(path).unwrap())
}

/// A folder with secrets.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("password", "sesame\n"), ("token", "t0ken\n")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(folder: &TempDir, text: &str) -> Result<Settings, Vec<String>> {
    let file = folder.path().join("my-influx.toml");
    let (types, faults) = crate::kinds::read("my-influx", &file, text);
    let show = |fault: &Fault| {
        let at = fault.at.map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
        format!("{at}{}: {}", fault.seen, fault.right)
    };
    let Some(types) = types else { return Err(faults.iter().map(show).collect()) };
    assert_eq!(faults, []);
    match &types[0].kind {
        crate::kinds::Kind::InfluxWrite(settings) | crate::kinds::Kind::InfluxRead(settings) => {
            Ok((**settings).clone())
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn good(text: &str) -> Settings {
    read(&folder(), text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

/// What is wrong with `text`, after `old` in it has become `new`.
#[track_caller]
fn wrong(text: &str, old: &str, new: &str, expect: &[&str]) {
    assert!(text.contains(old), "no {old}");
    let text = text.replacen(old, new, 1);
    assert_eq!(read(&folder(), &text).unwrap_err(), expect, "with {new}");
}

fn address(port: u16) -> Address {
    Address { host: Host::Name(String::from("localhost")), port }
}

#[test]
fn the_upstream_sample_parses_with_the_one_added_line() {
    let settings = good(&sample());
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    let expect = Settings {
        provisioning: Some(Provisioning {
            address: address(8086),
            ssl: false,
            database: String::from("stress"),
            reset: Reset::Nobody,
            retention_policies: Vec::new(),
            continuous_queries: Vec::new(),
        }),
        writing: Some(Writing {
            points: PointSettings {
                point_count: 100.try_into().ok(),
                series_count: 100_000.try_into().unwrap(),
                tick: Duration::from_secs(10),
                jitter: true,
                measurement: String::from("cpu"),
                start: Some(1_136_160_000_000_000_000),
                tags: vec![tag("host", "server"), tag("location", "us-west")],
                fields: vec![Field { key: String::from("value"), value: FieldType::Float64 }],
            },
            client: Client {
                addresses: vec![address(8086), address(1234), address(5678)],
                ssl: false,
                api: Api::V1 { database: String::from("stress"), retention_policy: None, consistency: None },
                precision: Precision::N,
                batch_size: 10_000.try_into().unwrap(),
                batch_interval: Duration::ZERO,
                concurrency: 10,
                format: Format::LineHttp,
                gzip: false,
            },
        }),
        reading: Some(Reading {
            template: String::from("SELECT count(value) FROM cpu where host='server-%v'"),
            query_count: 250.try_into().unwrap(),
            addresses: vec![address(8086)],
            ssl: false,
            database: String::from("stress"),
            query_interval: Duration::from_millis(100),
            concurrency: 1,
        }),
        server: Server { authorization: None, timeout: Duration::from_secs(10), dial: dial::Settings::default() },
    };
    assert_eq!(settings, expect);
}

#[test]
fn the_upstream_sample_is_two_tests() {
    let (types, _) = crate::kinds::read("x", Path::new("x.toml"), &sample());
    let parts: Vec<_> = types.unwrap().iter().map(|part| (part.part, part.overtime, part.frequency)).collect();
    assert_eq!(parts, [(Some("write"), 10, None), (Some("read"), 1, Some(600))]);
}

#[test]
fn what_is_not_said_has_a_default() {
    let Settings { writing, reading, provisioning, .. } = good(WRITES);
    let Writing { points, client } = writing.unwrap();
    assert_eq!((reading, provisioning), (None, None));
    assert_eq!((points.point_count, points.series_count.get(), points.start), (None, 1, None));
    assert_eq!((points.tick, points.jitter, points.tags), (Duration::from_secs(10), false, Vec::new()));
    assert_eq!((client.ssl, client.gzip, client.format), (false, false, Format::LineHttp));
    assert_eq!((client.precision, client.batch_size.get(), client.concurrency), (Precision::N, 5000, 1));
    assert_eq!(client.batch_interval, Duration::ZERO);
    let reading = good(READS).reading.unwrap();
    assert_eq!((reading.query_interval, reading.concurrency), (Duration::from_millis(100), 1));
    assert_eq!((reading.query_count.get(), reading.ssl), (1, false));
}

#[test]
fn what_goes_beyond_the_sample_is_read() {
    let more = r#"
reset_host = "web1"
[[provision.basic.retention_policy]]
name = "week"
duration = "7d"
shard_duration = "1d"
replication = 2
default = true
[[provision.basic.retention_policy]]
name = "ever"
duration = "INF"
[[provision.basic.continuous_query]]
name = "cpu_1m"
query = "SELECT mean(value) INTO cpu_1m FROM cpu GROUP BY time(1m), host"
resample = "EVERY 30s FOR 2m"
"#;
    let text = sample().replace("reset_database = true\n", &format!("reset_database = true{more}"));
    let provisioning = good(&text).provisioning.unwrap();
    assert_eq!(provisioning.reset, Reset::By(String::from("web1")));
    let policy = |name: &str, duration: &str, shard: Option<&str>, replication, default| RetentionPolicy {
        name: name.to_owned(),
        duration: duration.to_owned(),
        replication,
        shard_duration: shard.map(str::to_owned),
        default,
    };
    let policies = [policy("week", "7d", Some("1d"), 2, true), policy("ever", "INF", None, 1, false)];
    assert_eq!(provisioning.retention_policies, policies);
    let query = ContinuousQuery {
        name: String::from("cpu_1m"),
        query: String::from("SELECT mean(value) INTO cpu_1m FROM cpu GROUP BY time(1m), host"),
        resample: Some(String::from("EVERY 30s FOR 2m")),
    };
    assert_eq!(provisioning.continuous_queries, [query]);

    let text = WRITES.replace(
        "database = \"lab\"",
        "database = \"lab\"\nretention-policy = \"week\"\nconsistency = \"quorum\"\ngzip = true",
    );
    let client = good(&text).writing.unwrap().client;
    let api = Api::V1 {
        database: String::from("lab"),
        retention_policy: Some(String::from("week")),
        consistency: Some(Consistency::Quorum),
    };
    assert_eq!((client.api, client.gzip), (api, true));
}

#[test]
fn a_field_has_its_type_in_value_or_in_type() {
    for (name, value) in [
        ("float64", FieldType::Float64),
        ("int", FieldType::Int),
        ("bool", FieldType::Bool),
        ("string", FieldType::String),
    ] {
        for key in ["value", "type"] {
            let text = WRITES.replace("value = \"float64\"", &format!("{key} = \"{name}\""));
            assert_eq!(good(&text).writing.unwrap().points.fields[0].value, value, "{text}");
        }
    }
}

#[test]
fn the_precision_is_the_clients_or_the_generators() {
    #[track_caller]
    fn check(generator: &str, client: &str, expect: Precision) {
        let text = WRITES.replace("measurement", &format!("{generator}\nmeasurement"));
        let text = text.replace("database", &format!("{client}\ndatabase"));
        assert_eq!(good(&text).writing.unwrap().client.precision, expect, "{text}");
    }
    check("", "", Precision::N);
    check("", "precision = \"ms\"", Precision::Ms);
    check("precision = \"s\"", "", Precision::S);
    check("precision = \"u\"", "precision = \"u\"", Precision::U);
    check("", "format = \"graphite_tcp\"", Precision::S);
    check("precision = \"s\"", "format = \"graphite_udp\"\nprecision = \"s\"", Precision::S);
}

#[test]
fn who_asks_is_in_a_header_and_in_no_message() {
    let folder = folder();
    let check = |keys: &str, text: &str, expect: &str| {
        let settings = read(&folder, &format!("{keys}\n{text}")).unwrap();
        assert_eq!(settings.server.authorization.as_ref().unwrap(), expect, "{keys}");
        let shown = format!("{settings:?}");
        assert!(!shown.contains("sesame") && !shown.contains("t0ken") && !shown.contains(expect), "{shown}");
    };
    check("user = \"Aladdin\"\npassword_file = \"password\"", WRITES, "Basic QWxhZGRpbjpzZXNhbWU=");
    check("token_file = \"token\"", WRITES, "Token t0ken");
    let v2 = WRITES.replace("database = \"lab\"", "org = \"o\"\nbucket = \"b/autogen\"");
    check("token_file = \"token\"", &v2, "Token t0ken");
    let settings = read(&folder, &format!("token_file = \"token\"\n{v2}")).unwrap();
    let api = Api::V2 { org: String::from("o"), bucket: String::from("b/autogen") };
    assert_eq!(settings.writing.unwrap().client.api, api);
}

#[test]
fn what_is_over_tls_is_so_for_all_that_do_not_say_otherwise() {
    #[track_caller]
    fn check(sample: &str, expect: [bool; 3]) {
        let Settings { provisioning, writing, reading, .. } = good(sample);
        let seen = [provisioning.unwrap().ssl, writing.unwrap().client.ssl, reading.unwrap().ssl];
        assert_eq!(seen, expect, "{sample}");
    }
    let over = sample().replace("ssl = false", "ssl = true");
    check(&sample(), [false, false, false]);
    check(&over, [true, true, true]);
    check(
        &over
            .replace("query_count", "enabled = true\nquery_count")
            .replace("query_interval", "ssl = false\nquery_interval"),
        [true, true, false],
    );
    check(&sample().replace("reset_database", "ssl = true\nreset_database"), [true, false, false]);
    check(&format!("insecure = true\n{over}"), [true, true, true]);
}

#[test]
fn a_part_that_is_switched_off_is_left_out() {
    let sample = sample();
    let off = |table: &str| {
        let at = sample.find(&format!("[{table}]\n")).unwrap();
        let (before, from) = sample.split_at(at);
        let from = from.replacen("enabled = true", "enabled = false", 1);
        let settings = good(&format!("{before}{from}"));
        [settings.provisioning.is_some(), settings.writing.is_some(), settings.reading.is_some()]
    };
    assert_eq!(off("provision.basic"), [false, true, true]);
    assert_eq!(off("write.point_generator.basic"), [true, false, true]);
    assert_eq!(off("write.influx_client.basic"), [true, false, true]);
    assert_eq!(off("read.query_client.basic"), [true, true, false]);
    let off = sample.replace("template =", "enabled = false\ntemplate =");
    assert!(good(&off).reading.is_none());
    let no_keys =
        sample.replace("enabled = true\n      addresses = [\"localhost:8086\"]\n      database", "enabled = false\n#");
    assert!(good(&no_keys).reading.is_none());
    let (write, read) = (sample.find("[write]").unwrap(), sample.find("[read]").unwrap());
    let settings = good(&format!("{}{}", &sample[..write], &sample[read..]));
    assert!(settings.writing.is_none() && settings.reading.is_some());
    let settings = good(&sample[..read]);
    assert!(settings.writing.is_some() && settings.reading.is_none());
}

#[test]
fn a_type_that_does_nothing_is_a_fault() {
    let sample = sample();
    let nothing = "nothing to write, and nothing to read: [write.point_generator.basic] with [write.influx_client.basic], \
                   or [read.query_generator.basic] with [read.query_client.basic], without \"enabled = false\"";
    let check = |text: &str, expect: &str| assert_eq!(read(&folder(), text).unwrap_err(), [expect], "{text}");
    check("kind = \"influxdb\"", nothing);
    check(&sample[..sample.find("[write]").unwrap()], nothing);
    check(&sample.replace("enabled = true", "enabled = false"), nothing);
    check(&READS.replace("template", "enabled = false\ntemplate"), nothing);
    let without = |text: &str, table: &str| {
        let (before, from) = text.split_at(text.find(&format!("[{table}")).unwrap());
        let behind = from.split_once("\n[read").or(from.split_once("\n[write")).map_or("", |(_, behind)| behind);
        let name = if text == READS { "read" } else { "write" };
        if behind.is_empty() { before.to_owned() } else { format!("{before}[{name}{behind}") }
    };
    check(
        &without(READS, "read.query_client"),
        "2:2: [read.query_generator.basic] without [read.query_client.basic]: both of them, or \"enabled = false\" in \
         the one",
    );
    check(
        &without(READS, "read.query_generator"),
        "2:2: [read.query_client.basic] without [read.query_generator.basic]: both of them, or \"enabled = false\" in \
         the one",
    );
    check(
        &WRITES[..WRITES.find("[write.influx").unwrap()],
        "2:2: [write.point_generator.basic] without [write.influx_client.basic]: both of them, or \"enabled = false\" \
         in the one",
    );
}

#[test]
fn a_misspelled_key_is_told_at_each_level() {
    let sample = sample();
    let check = |old: &str, new: &str, expect: &str| wrong(&sample, old, new, &[expect]);
    let near = "the nearest known one is";
    check(
        "kind = \"influxdb\"\n",
        "kind = \"influxdb\"\ntokn_file = \"x\"\n",
        &format!("2:1: unknown key \"tokn_file\": {near} \"token_file\""),
    );
    let pairs = [
        ("  reset_database", "  reset_datbase", "7:5: ", "provision.basic.reset_datbase", "reset_database"),
        ("series_count", "serie_count", "14:7: ", "write.point_generator.basic.serie_count", "series_count"),
        ("batch_size", "batchsize", "36:7: ", "write.influx_client.basic.batchsize", "batch_size"),
        ("query_interval", "query_intervall", "53:7: ", "read.query_client.basic.query_intervall", "query_interval"),
    ];
    for (old, new, at, key, known) in pairs {
        check(old, new, &format!("{at}unknown key \"{key}\": {near} \"{known}\""));
    }
    check(
        "query_count = 250",
        "query_cnt = 250\nquery_count = 250",
        "46:7: unknown key \"read.query_generator.basic.query_cnt\": the nearest known one is \"query_count\"",
    );
    wrong(
        WRITES,
        "value = \"float64\"",
        "value = \"float64\"\nvalu = 1",
        &["7:1: unknown key \"write.point_generator.basic.field[1].valu\": the nearest known one is \"value\""],
    );
    wrong(
        WRITES,
        "[write.influx_client.basic]",
        "[write.influx_clint.x]\n[write.influx_client.basik]\n[write.influx_client.basic]",
        &[
            "7:8: unknown key \"write.influx_clint\": the nearest known one is \"influx_client\"",
            "8:22: unknown key \"write.influx_client.basik\": the nearest known one is \"basic\"",
        ],
    );
    wrong(
        WRITES,
        "[write.influx_client.basic]",
        "[writ]\n[write.influx_client.basic]",
        &["7:2: unknown key \"writ\": the nearest known one is \"write\""],
    );
}

#[test]
fn what_is_wrong_with_the_sample_is_told_with_its_place() {
    let sample = sample();
    let check = |old: &str, new: &str, expect: &str| wrong(&sample, old, new, &[expect]);
    let basic = |table: &str, key: &str| format!("\"{table}.basic.{key}\" can't be this");
    let points = |key: &str| basic("write.point_generator", key);
    let client = |key: &str| basic("write.influx_client", key);
    let (number, time) = ("a whole number from", "a time with its unit, as in \"100ms\" or \"1m30s\", from");

    let overtime = "2:12: \"overtime\" in a type of the kind \"influxdb\": \"concurrency\" in [write.influx_client.basic] and \
                    [read.query_client.basic], which is the same for this kind";
    check("kind = \"influxdb\"\n", "kind = \"influxdb\"\novertime = 5\n", overtime);

    let date =
        "a date as in \"2006-Jan-02\", \"2006-01-02\" or \"2006-01-02T15:04:05Z\", from 1678 to 2261; or \"now\"";
    for wrong in ["2006-Jan-32", "02/01/2006", "today", ""] {
        check("2006-Jan-02", wrong, &format!("18:20: {} string: {date}", points("start_date")));
    }
    check("\"2006-Jan-02\"", "2006-01-02", &format!("18:20: {} datetime: {date}", points("start_date")));
    for wrong in ["10", "10 parsecs", "-10s", "0s", "0", "8761h"] {
        check(
            "tick = \"10s\"",
            &format!("tick = \"{wrong}\""),
            &format!("15:14: {} string: {time} 1ns to 8760h", points("tick")),
        );
    }
    check("tick = \"10s\"", "tick = 10", &format!("15:14: {} integer: {time} 1ns to 8760h", points("tick")));
    check(
        "point_count = 100",
        "point_count = 0",
        &format!("13:21: {} integer: {number} 1 to 10000000000", points("point_count")),
    );
    check("100000", "100000001", &format!("14:22: {} integer: {number} 1 to 100000000", points("series_count")));
    check("jitter = true", "jitter = 1", &format!("16:16: {} integer: true or false", points("jitter")));
    let beyond = "18:20: time stamps that end beyond the year 2262: an earlier date, a shorter \"tick\", or a lower \
                  \"point_count\"";
    check("point_count = 100", "point_count = 1000000000", beyond);

    let precision = "\"n\" or \"u\" or \"ms\" or \"s\"";
    for (wrong, right) in [
        ("h", precision),
        ("", precision),
        ("ns", "\"n\", for the v2 API as well, which calls it \"ns\""),
        ("us", "\"u\", for the v2 API as well, which calls it \"us\""),
    ] {
        let new = format!("precision = \"{wrong}\"");
        check("precision = \"n\"", &new, &format!("35:19: {} string: {right}", client("precision")));
    }
    let format = "\"line_http\" or \"line_udp\" or \"graphite_tcp\" or \"graphite_udp\"";
    check("\"line_http\"", "\"line_https\"", &format!("40:16: {} string: {format}", client("format")));
    check("\"0s\"", "\"often\"", &format!("37:24: {} string: {time} 0s to 1m", client("batch_interval")));
    check("\"0s\"", "\"61s\"", &format!("37:24: {} string: {time} 0s to 1m", client("batch_interval")));
    for wrong in ["0", "1000001"] {
        check(
            "10000\n",
            &format!("{wrong}\n"),
            &format!("36:20: {} integer: {number} 1 to 1000000", client("batch_size")),
        );
    }
    check(
        "concurrency = 10\n",
        "concurrency = 10001\n",
        &format!("38:21: {} integer: {number} 1 to 10000", client("concurrency")),
    );
    check(
        "concurrency = 1\n",
        "concurrency = 0\n",
        &format!("54:21: {} integer: {number} 1 to 10000", basic("read.query_client", "concurrency")),
    );

    let addresses = "a list of 1 to 64 addresses, as in [\"host:8086\"], without http://";
    for wrong in ["http://localhost:8086", "localhost", "localhost:0", "<node1_ip>:8086"] {
        check("localhost:1234", wrong, &format!("33:19: {} array: {addresses}", client("addresses")));
        let address = "an address as \"host:port\", without http://";
        check(
            "address = \"localhost:8086\"",
            &format!("address = \"{wrong}\""),
            &format!("5:15: {} string: {address}", basic("provision", "address")),
        );
    }
    check(
        "[\"localhost:8086\"]",
        "[]",
        &format!("51:19: \"read.query_client.basic.addresses\" has 0 addresses: {addresses}"),
    );
    check(
        "[\"localhost:8086\"]",
        "\"localhost:8086\"",
        &format!("51:19: {} string: {addresses}", basic("read.query_client", "addresses")),
    );
    check(
        "query_interval = \"100ms\"",
        "query_interval = \"0s\"",
        "53:24: \"read.query_client.basic.query_interval\" can't be this string: more than none: it says how often is asked, as \
         nothing else does; 1us is the least",
    );
    check(
        "query_interval = \"100ms\"",
        "query_interval = \"2m\"",
        &format!("53:24: {} string: {time} 1us to 1m", basic("read.query_client", "query_interval")),
    );
    let no_list = "[[write.point_generator.basic.field]]\n        key = \"value\"\n        value = \"float64\"\n";
    check(no_list, "", "11:28: no key \"write.point_generator.basic.field\": it can't be left out");
    for (line, key, table, at) in [
        ("      measurement = \"cpu\"\n", "measurement", "write.point_generator", "11:28"),
        ("      database = \"stress\"\n      precision", "database", "write.influx_client", "31:26"),
        ("    database = \"stress\"\n    reset", "database", "provision", "3:14"),
    ] {
        let rest = line.split_once('\n').unwrap().1;
        check(line, rest, &format!("{at}: no key \"{table}.basic.{key}\": it can't be left out"));
    }
    check("query_count = 250", "", "44:27: no key \"read.query_generator.basic.query_count\": it can't be left out");
}

#[test]
fn what_is_wrong_beyond_the_sample_is_told_with_its_place() {
    let sample = sample();
    let policy = "\n[[provision.basic.retention_policy]]\nname = \"a\"\nduration = \"7d\"\n";
    let query =
        "\n[[provision.basic.continuous_query]]\nname = \"a\"\nquery = \"SELECT x INTO y FROM z GROUP BY time(1m)\"\n";
    let provision = |more: &str, expect: &str| {
        wrong(&sample, "reset_database = true\n", &format!("reset_database = true\n{more}"), &[expect]);
    };
    let more = |of: &str, old: &str, new: &str, expect: &str| provision(&of.replacen(old, new, 1), expect);
    let kept = "a time as InfluxDB writes it, at least an hour, as in \"7d\" or \"1h30m\"; or \"INF\"";
    for wrong in ["7", "59m", "0s", "7d; DROP DATABASE stress", "1.5d"] {
        let expect = format!("11:12: \"provision.basic.retention_policy[1].duration\" can't be this string: {kept}");
        more(policy, "7d", wrong, &expect);
    }
    more(
        policy,
        "name = \"a\"\n",
        "",
        "9:1: no key \"provision.basic.retention_policy[1].name\": it can't be left out",
    );
    let shard = "12:18: \"provision.basic.retention_policy[1].shard_duration\" can't be this string: a time as InfluxDB writes \
                 it, at least an hour, as in \"7d\" or \"1h30m\"";
    provision(&format!("{policy}shard_duration = \"INF\""), shard);
    let shard = "12:18: a shard that has more time than is kept: at most \"duration\"";
    provision(&format!("{policy}shard_duration = \"8d\""), shard);
    provision(
        &format!("{policy}{policy}"),
        "14:8: \"provision.basic.retention_policy[2].name\" is another one's: a name of its own",
    );
    let default = "default = true\n";
    let other = policy.replace("\"a\"", "\"b\"");
    provision(&format!("{policy}{default}{other}{default}"), "17:11: a second policy with \"default\": one of them");
    provision(
        "retention_policy = []",
        "8:1: \"provision.basic.retention_policy\" has 0 tables: tables, as in [[provision.basic.retention_policy]], from 1 to 100",
    );
    let continuous = "a query as in \"SELECT mean(value) INTO cpu_1m FROM cpu GROUP BY time(1m)\"";
    for wrong in ["", "SELECT x FROM z GROUP BY time(1m)", "DROP DATABASE x"] {
        let expect = format!("11:9: \"provision.basic.continuous_query[1].query\" can't be this string: {continuous}");
        more(query, "SELECT x INTO y FROM z GROUP BY time(1m)", wrong, &expect);
    }
    for wrong in ["30s", "EVERY", "FOR 2m EVERY 30s", "EVERY 0s"] {
        let expect = "12:12: \"provision.basic.continuous_query[1].resample\" can't be this string: \"EVERY 30s\", \"FOR 2m\" or \
                      \"EVERY 30s FOR 2m\"";
        provision(&format!("{query}resample = \"{wrong}\""), expect);
    }
    let host = "8:14: \"provision.basic.reset_host\" can't be this string: a server's name of 1 to 255 characters without \
                spaces or slashes";
    provision("reset_host = \"a b\"", host);
}

#[test]
fn what_does_not_go_together_is_told() {
    let write = |old: &str, new: &str, expect: &[&str]| wrong(WRITES, old, new, expect);
    let measurement = "measurement = \"cpu\"";
    let tag = "[[write.point_generator.basic.tag]]\nkey = \"host\"\nvalue = \"server\"\n";
    let field = "[[write.point_generator.basic.field]]";
    let database = "database = \"lab\"";

    // Points among themselves.
    write(
        measurement,
        "measurement = \"cpu\"\nseries_count = 2",
        &[
            "4:16: several series and no tag that tells them apart: a [[write.point_generator.basic.tag]], whose value is \
         numbered by series; or one series",
        ],
    );
    write(
        field,
        &format!("{tag}{tag}{field}"),
        &["8:7: \"write.point_generator.basic.tag[2].key\" is another one's: a key of its own"],
    );
    write(
        field,
        &format!("{field}\nkey = \"value\"\nvalue = \"int\"\n{field}"),
        &["8:7: \"write.point_generator.basic.field[2].key\" is another one's: a key of its own"],
    );
    let time = "another name, as \"time\" is the time stamp's";
    write(
        "key = \"value\"",
        "key = \"time\"",
        &[&format!("5:7: \"write.point_generator.basic.field[1].key\" can't be this string: {time}")],
    );
    write(
        field,
        &format!("{}{field}", tag.replace("\"host\"", "\"time\"")),
        &[&format!("5:7: \"write.point_generator.basic.tag[1].key\" can't be this string: {time}")],
    );
    let part = "a text of 1 to 256 bytes, without control characters, that doesn't end in a backslash";
    for wrong in ["", "a\\nb", "a\\\\"] {
        write(
            "\"cpu\"",
            &format!("\"{wrong}\""),
            &[&format!("3:15: \"write.point_generator.basic.measurement\" can't be this string: {part}")],
        );
        write(
            field,
            &format!("{}{field}", tag.replace("server", wrong)),
            &[&format!("6:9: \"write.point_generator.basic.tag[1].value\" can't be this string: {part}")],
        );
    }
    write(
        "\"cpu\"",
        "\"#cpu\"",
        &[
            "3:15: \"write.point_generator.basic.measurement\" can't be this string: no # first, as that line would be a comment",
        ],
    );
    write(
        field,
        &format!("{}{field}", tag.replace("server", "%hots%-1")),
        &["6:9: \"write.point_generator.basic.tag[1].value\" can't be this string: %host% for this server's name"],
    );
    write(
        "\"float64\"",
        "\"float\"",
        &[
            "6:9: \"write.point_generator.basic.field[1].value\" can't be this string: \"float64\" or \"int\" or \"bool\" or \"string\"",
        ],
    );
    write(
        "\"float64\"",
        "\"float64\"\ntype = \"int\"",
        &["7:8: \"value\" and \"type\", which are the same: one of them"],
    );
    write(
        "value = \"float64\"",
        "",
        &["4:1: no key \"write.point_generator.basic.field[1].value\": it can't be left out"],
    );

    // Points and their client.
    let with = |points: &str, client: &str, expect: &[&str]| {
        let text = WRITES.replace(database, &format!("{database}\n{client}"));
        wrong(&text, measurement, &format!("{measurement}\n{points}"), expect);
    };
    for (tick, precision) in [("999ms", "s"), ("999us", "ms"), ("1ns", "u")] {
        let unit = if precision == "u" { "us" } else { precision };
        with(
            &format!("tick = \"{tick}\""),
            &format!("precision = \"{precision}\""),
            &[&format!(
                "4:8: a tick of less than a unit of the precision: at least \"1{unit}\", or a finer \"precision\""
            )],
        );
    }
    with(
        "precision = \"s\"",
        "precision = \"n\"",
        &["4:13: a precision other than that of [write.influx_client.basic]: the same in both, or that one alone"],
    );
    let graphite = "format = \"graphite_tcp\"";
    with(
        "",
        &format!("{graphite}\nprecision = \"ms\""),
        &["12:13: a precision that Graphite doesn't have: \"s\": Graphite's time stamps are seconds"],
    );
    with(
        "precision = \"n\"",
        graphite,
        &["4:13: a precision that Graphite doesn't have: \"s\": Graphite's time stamps are seconds"],
    );
    with(
        "tick = \"1ms\"",
        graphite,
        &["4:8: a tick of less than a unit of the precision: at least \"1s\", or a finer \"precision\""],
    );
    with("start_date = \"1969-12-31\"", graphite, &["4:14: a date before 1970 for Graphite: 1970, or later"]);
    let text = WRITES.replace("\"float64\"", "\"string\"");
    wrong(
        &text,
        database,
        &format!("{database}\n{graphite}"),
        &["6:9: a field of text for Graphite, which has numbers alone: another type, or a \"format\" of lines"],
    );

    // The client's keys among themselves.
    let client = |keys: &str, expect: &[&str]| write(database, keys, expect);
    for (key, value) in
        [("ssl", "true"), ("gzip", "true"), ("consistency", "\"any\""), ("retention_policy", "\"week\"")]
    {
        for format in ["line_udp", "graphite_tcp", "graphite_udp"] {
            let at = 11 + key.len();
            client(
                &format!("{database}\nformat = \"{format}\"\n{key} = {value}"),
                &[&format!(
                    "11:{}: \"{key}\" with this \"format\": \"line_http\", or without it: only requests have it",
                    at - 7
                )],
            );
        }
    }
    client(
        &format!("{database}\nconcurrency = 1001\nbatch_size = 10000"),
        &["10:15: more than 10000000 points on their way, in memory: less, \"batch_size\" times \"concurrency\""],
    );
    client(
        &format!("{database}\nconsistency = \"most\""),
        &[
            "10:15: \"write.influx_client.basic.consistency\" can't be this string: \"any\" or \"one\" or \"quorum\" or \"all\"",
        ],
    );
    client(
        &format!("{database}\nretention_policy = \"a\"\nretention-policy = \"a\""),
        &["11:20: \"retention_policy\" and \"retention-policy\", which are the same: one of them"],
    );
    client("", &["7:22: no key \"write.influx_client.basic.database\": it can't be left out"]);
    client(
        "org = \"o\"\nbucket = \"b\"",
        &["9:7: \"org\" without \"token_file\": the file that has the token, at the top: the v2 API asks for one"],
    );
    client(
        "org = \"\"\nbucket = \"b\"",
        &[
            "9:7: \"write.influx_client.basic.org\" can't be this string: a name of 1 to 256 bytes, without control characters",
            "9:7: \"org\" without \"token_file\": the file that has the token, at the top: the v2 API asks for one",
        ],
    );
    let with_token = |keys: &str, expect: &[&str]| {
        let text = WRITES.replace("kind = \"influxdb\"", "token_file = \"token\"\nkind = \"influxdb\"");
        wrong(&text, database, keys, expect);
    };
    with_token("org = \"o\"", &["8:22: no key \"write.influx_client.basic.bucket\": it can't be left out"]);
    with_token("bucket = \"o\"", &["8:22: no key \"write.influx_client.basic.org\": it can't be left out"]);
    let v2 = "org = \"o\"\nbucket = \"b\"";
    with_token(
        &format!("{database}\n{v2}"),
        &["11:7: \"org\" beside \"database\": \"database\" for the v1 API, or \"org\" and \"bucket\" for v2"],
    );
    for (key, at) in [("consistency", 15), ("retention_policy", 20)] {
        with_token(
            &format!("{v2}\n{key} = \"any\""),
            &[&format!(
                "12:{at}: \"{key}\" beside \"org\": \"database\" in place of \"org\" and \"bucket\", or neither: the v2 API \
                      doesn't know it"
            )],
        );
    }
    with_token(
        &format!("{v2}\nformat = \"line_udp\""),
        &["10:7: \"org\" with this \"format\": \"line_http\", or without it: only requests have it"],
    );

    // Who asks, and how connections are got.
    let top =
        |keys: &str, expect: &[&str]| write("kind = \"influxdb\"", &format!("{keys}\nkind = \"influxdb\""), expect);
    top("user = \"me\"", &["1:8: \"user\" without \"password_file\": both of them"]);
    top("password_file = \"password\"", &["1:17: \"password_file\" without \"user\": both of them"]);
    top(
        "user = \"a:b\"\npassword_file = \"password\"",
        &["1:8: \"user\" can't be this string: a user's name of 1 to 256 bytes, without a colon or control characters"],
    );
    top(
        "user = \"me\"\npassword_file = \"password\"\ntoken_file = \"token\"",
        &["3:14: \"token_file\" beside \"user\" or \"password_file\": one of both ways"],
    );
    top("token_file = \"none\"", &["1:14: the file \"token_file\" names does not exist: a file was expected here"]);
    top(
        "timeout = \"51s\"",
        &["1:11: \"timeout\" can't be this string: a time with its unit, as in \"250ms\" or \"5s\", from 1ms to 50s"],
    );
    top("insecure = true", &["1:12: \"insecure\" without \"ssl\": \"ssl = true\", or none of the keys for TLS"]);
    let text = WRITES.replace("kind = ", "resolve = \"unix:/run/influx.sock\"\nkind = ");
    wrong(
        &text,
        database,
        &format!("{database}\nformat = \"line_udp\""),
        &["11:10: datagrams to a unix socket: \"line_http\" or \"graphite_tcp\", or \"resolve\" with an address"],
    );
    let text = WRITES.replace(database, &format!("{database}\nssl = true"));
    wrong(
        &text,
        "localhost:8086",
        "a..b:8086",
        &["8:13: a host that no certificate can be of: a name that DNS knows, or \"server_name\""],
    );
}

#[test]
fn what_is_wrong_with_a_query_is_told() {
    let check = |old: &str, new: &str, expect: &str| wrong(READS, old, new, &[expect]);
    let template = "3:12: \"read.query_generator.basic.template\" can't be this string";
    check("SELECT 1", "SELECT %nwo%", &format!("{template}: %now% in place of %nwo%; or %% for a percent sign"));
    let longer = "%v or %now% or %time% in place of a longer word; or %% for a percent sign";
    check("SELECT 1", "SELECT /%very_long_word_here%/", &format!("{template}: {longer}"));
    check("SELECT 1", "SELECT %d", &format!("{template}: %v in place of %d; or %% for a percent sign"));
    check(
        "SELECT 1",
        " ",
        &format!(
            "{template}: a query, in which %v is a number, %now% the present and %time% the writer's newest time stamp"
        ),
    );
    let no_writer = "3:12: %time% in a query, and nothing is written: a writer, whose newest time stamp that is, or %now%, the \
                     present";
    check("SELECT 1", "SELECT %time%", no_writer);
    check("SELECT 1", "SELECT %v", "2:23: no key \"read.query_generator.basic.query_count\": it can't be left out");
    check("addresses = ", "address = \"a:1\"\naddresses = ", "5:11: \"address\" beside \"addresses\": one of them");
    let both = format!("{WRITES}{}", READS.replace("kind = \"influxdb\"\n", "").replace("SELECT 1", "SELECT %time%"));
    assert!(good(&both).reading.is_some());
    let off = both.replace("measurement", "enabled = false\nmeasurement");
    assert!(read(&folder(), &off).unwrap_err()[0].contains("nothing is written"));
    let one = READS.replace("addresses = [\"localhost:8086\"]", "address = \"localhost:8086\"");
    assert_eq!(good(&one).reading.unwrap().addresses, [address(8086)]);
}

#[test]
fn no_value_is_in_a_message() {
    let text =
        sample().replace("\"cpu\"", "\"se\\nsame\"").replace("localhost", "ses ame").replace("\"stress\"", "\"\"");
    let text = text.replace("\"100ms\"", "\"sesame\"").replace("\"10s\"", "\"sesame\"").replace("\"n\"", "\"sesame\"");
    let faults = read(&folder(), &text).unwrap_err();
    assert!(faults.len() > 8 && !faults.iter().any(|fault| fault.contains("sesame")), "{faults:#?}");
}

#[test]
fn the_sample_in_etc_is_sound() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/types.d/influx.toml");
    let text = fs::read_to_string(path).unwrap();
    let settings = good(&text);
    assert!(settings.provisioning.is_some() && settings.writing.is_some() && settings.reading.is_some());
    // What it only tells of is as sound as what it says.
    let told =
        text.replace("\n# enabled = false", "\n").replace("\n# reset", "\nreset").replace("\n# point", "\npoint");
    let told =
        told.replace("\n# start_date", "\nstart_date").replace("\n# tick", "\ntick").replace("\n# jitter", "\njitter");
    let settings = good(&told.replace("\n# gzip", "\ngzip").replace("\n# ssl", "\nssl"));
    let Writing { points, client } = settings.writing.unwrap();
    assert!(points.jitter && points.start.is_some() && points.point_count.is_some() && client.gzip && client.ssl);
    assert_eq!(settings.provisioning.unwrap().reset, Reset::By(String::from("web1")));
}
