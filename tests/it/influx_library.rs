//! The library `canihaz::influxdb` against Debian's InfluxDB: what is reported is what the database holds.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use canihaz::influxdb::{
    BasicClient, BasicPointGenerator, BasicProvisioner, BasicQuery, BasicQueryClient, Broadcast, ContinuousQuery,
    Error, Fate, Field, FieldType, Format, PointGenerator, PointSettings, Precision, Reader, Report, Response,
    Responses, RetentionPolicy, Server, StressTest, Tag, Timer, Totals, Writer, Written, basic_read_handler,
    basic_write_handler,
};

use crate::parts::influx::{Influx, Options};

/// For how long a batch is sent again while a server is away, at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many points of one series.
struct Steps {
    count: i64,
    next: i64,
    field: &'static str,
}

impl Steps {
    fn new(count: i64) -> Self {
        Self { count, next: 0, field: "n" }
    }
}

impl PointGenerator for Steps {
    fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
        self.next += 1;
        lines.extend_from_slice(format!("steps {}={}i {}", self.field, self.next, self.time()).as_bytes());
        self.next <= self.count
    }

    fn time(&self) -> i64 {
        1_700_000_000_000_000_000 + self.next
    }
}

fn address(influx: &Influx) -> String {
    format!("127.0.0.1:{}", influx.port)
}

/// Writes batches of so many points.
fn client(port: u16, size: u64) -> BasicClient {
    let mut client = BasicClient::to(&format!("127.0.0.1:{port}"), "lab").unwrap();
    client.settings.batch_size = NonZeroU64::new(size).unwrap();
    client.settings.concurrency = 2;
    client.patience = PATIENCE;
    client
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

async fn totals(mut responses: Responses<Written>, _timer: Timer) -> Totals {
    let mut totals = Totals::default();
    while let Some(response) = responses.next().await {
        totals.add(&response);
    }
    totals
}

#[test]
fn count_by_query_equals_what_was_reported_the_last_partial_batch_included() {
    let influx = Influx::start();
    let mut test = StressTest::new()
        .provisioner(BasicProvisioner::to(&address(&influx), "lab").unwrap())
        .writer(Writer::new(Steps::new(10_007), client(influx.port, 1000)));
    let ended = block_on(test.start(totals, basic_read_handler)).unwrap();
    ended.write.result.unwrap();
    let heard = ended.write.handled.unwrap();
    assert_eq!((heard.points(), heard.responses(), heard.failed()), (10_007, 11, 0));
    assert_eq!(ended.write.totals.points(), 10_007);
    assert_eq!(influx.count("lab", "steps", "n"), 10_007);
    assert_eq!(influx.number("lab", "SELECT sum(n) FROM steps"), 10_007.0 * 10_008.0 / 2.0);
    assert!(heard.bytes_out > 300_000 && heard.bytes_in > 0);
}

#[test]
fn the_basic_stress_test_with_small_numbers() {
    let influx = Influx::start();
    influx.create("stress");
    influx.write("stress", "old v=1 1");
    let mut test = small_basic(&influx);
    let ended = block_on(test.start(basic_write_handler, basic_read_handler)).unwrap();
    ended.write.result.unwrap();
    ended.read.result.unwrap();
    let (written, read) = (ended.write.handled.unwrap(), ended.read.handled.unwrap());
    assert_eq!((written.points(), written.responses(), written.failed()), (1010, 11, 0));
    assert_eq!((read.responses(), read.failed()), (5, 0));
    assert_eq!(influx.count("stress", "cpu", "value"), 1010);
    // A series has a point each ten seconds, from the start on, and was asked for.
    assert_eq!(influx.number("stress", "SELECT count(value) FROM cpu WHERE host = 'server-100'"), 10.0);
    // The database was dropped first.
    assert_eq!(influx.count("stress", "old", "v"), 0);
}

/// The basic test, with 10 points in each of 101 series and five queries.
fn small_basic(influx: &Influx) -> StressTest {
    let at: Vec<_> = vec![BasicProvisioner::to(&address(influx), "stress").unwrap().address];
    let mut test = StressTest::basic();
    let settings = PointSettings {
        point_count: NonZeroU64::new(10),
        series_count: NonZeroU64::new(101).unwrap(),
        tick: Duration::from_secs(10),
        jitter: true,
        measurement: String::from("cpu"),
        start: Some(1_136_160_000_000_000_000),
        tags: vec![Tag { key: String::from("host"), value: String::from("server") }],
        fields: vec![Field { key: String::from("value"), value: FieldType::Float64 }],
    };
    test.provisioner.as_mut().unwrap().address = at[0].clone();
    let writer = test.writer.as_mut().unwrap();
    writer.point_generator = BasicPointGenerator::new(&settings, Precision::N, Format::LineHttp);
    writer.influx_client.settings.addresses = at.clone();
    writer.influx_client.settings.batch_size = NonZeroU64::new(100).unwrap();
    let reader = test.reader.as_mut().unwrap();
    reader.query_generator = BasicQuery::new("SELECT count(value) FROM cpu where host='server-%v'", 5);
    reader.query_client.settings.addresses = at;
    reader.query_client.settings.query_interval = Duration::from_millis(5);
    test
}

#[test]
fn points_without_a_start_are_stamped_with_the_present() {
    let influx = Influx::start();
    influx.create("lab");
    let settings = PointSettings {
        point_count: NonZeroU64::new(30),
        series_count: NonZeroU64::new(100).unwrap(),
        tick: Duration::from_secs(10),
        jitter: false,
        measurement: String::from("cpu"),
        start: None,
        tags: vec![Tag { key: String::from("host"), value: String::from("server") }],
        fields: vec![Field { key: String::from("value"), value: FieldType::Int }],
    };
    let mut client = client(influx.port, 250);
    client.settings.precision = Precision::Ms;
    let generator = BasicPointGenerator::new(&settings, Precision::Ms, Format::LineHttp);
    let mut test = StressTest::new().writer(Writer::new(generator, client));
    let ended = block_on(test.start(totals, basic_read_handler)).unwrap();
    assert_eq!(ended.write.totals.points(), 3000);
    let query = "SELECT count(value) FROM cpu WHERE time > now() - 1m AND time < now() + 1m";
    assert_eq!(influx.number("lab", query), 3000.0);
}

#[test]
fn points_go_over_graphite_and_in_datagrams_too() {
    let influx = Influx::with(Options {
        udp: Some("udp"),
        graphite: Some(("graphite", &["host.measurement.field"])),
        ..Options::default()
    });
    for (format, port, database) in [
        ("line_udp", influx.udp_port, "udp"),
        ("graphite_tcp", influx.graphite_tcp_port, "graphite"),
        ("graphite_udp", influx.graphite_udp_port, "graphite"),
    ] {
        let text = format!(
            r#"
            [write.point_generator.basic]
            point_count = 3
            series_count = 70
            tick = "1s"
            start_date = "2006-Jan-02"
            measurement = "{format}"
            tag = [{{ key = "host", value = "server" }}]
            field = [{{ key = "value", value = "int" }}]
            [write.influx_client.basic]
            addresses = ["127.0.0.1:{port}"]
            database = "{database}"
            batch_size = 100
            format = "{format}"
            "#
        );
        // A datagram's points have stamps in nanoseconds, Graphite's in seconds.
        let mut test = StressTest::from_toml(&text).unwrap();
        let ended = block_on(test.start(totals, basic_read_handler)).unwrap();
        ended.write.result.unwrap();
        assert_eq!((ended.write.totals.points(), ended.write.totals.responses()), (210, 3), "{format}");
        influx.expect_count(database, format, "value", 210);
    }
}

#[test]
fn a_provisioner_that_fails_returns_its_error_and_nothing_is_written() {
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.create("lab");
    let server = Server::default().with_user("root", "s3cret").unwrap();
    let test = |provisioner: BasicProvisioner| {
        let mut client = client(influx.port, 10);
        client.server = server.clone();
        StressTest::new().provisioner(provisioner).writer(Writer::new(Steps::new(100), client))
    };
    let provisioner = BasicProvisioner::to(&address(&influx), "lab").unwrap();
    let was_called = Cell::new(false);
    let handler = async |_: Responses<Written>, _| was_called.set(true);
    let error = block_on(test(provisioner.clone()).start(handler, basic_read_handler)).unwrap_err();
    assert!(matches!(error, Error::Provisioning(_)), "{error}");
    assert!(error.to_string().contains("401"), "{error}");
    assert!(!was_called.get());
    assert_eq!(influx.count("lab", "steps", "n"), 0);

    let provisioner = BasicProvisioner { server: server.clone(), ..provisioner };
    let ended = block_on(test(provisioner).start(totals, basic_read_handler)).unwrap();
    assert_eq!((ended.write.totals.points(), influx.count("lab", "steps", "n")), (100, 100));
}

#[test]
fn provisioning_twice_is_harmless_and_a_reset_drops() {
    let influx = Influx::start();
    let mut provisioner = BasicProvisioner::to(&address(&influx), "lab").unwrap();
    provisioner.retention_policies.push(RetentionPolicy {
        name: String::from("week"),
        duration: String::from("7d"),
        replication: 1,
        shard_duration: None,
        default: true,
    });
    provisioner.continuous_queries.push(ContinuousQuery {
        name: String::from("by_minute"),
        query: String::from("SELECT mean(n) AS n INTO by_minute FROM steps GROUP BY time(1m)"),
        resample: None,
    });
    let mut test = StressTest::new().provisioner(provisioner);
    for _ in 0..2 {
        block_on(test.start(totals, basic_read_handler)).unwrap();
        assert_eq!(influx.write("lab", "old v=1").0, 204);
        assert_eq!(influx.count("lab", "old", "v"), 1);
        assert!(influx.query("lab", "SHOW CONTINUOUS QUERIES").to_string().contains("by_minute"));
        influx.query("lab", "DROP MEASUREMENT old");
    }
    assert_eq!(influx.write("lab", "old v=1").0, 204);
    test.provisioner.as_mut().unwrap().reset = true;
    block_on(test.start(totals, basic_read_handler)).unwrap();
    assert_eq!(influx.count("lab", "old", "v"), 0);
}

#[test]
fn everything_is_there_after_the_server_was_away() {
    let mut influx = Influx::start();
    influx.create("lab");
    let port = influx.port;
    let (told_half, is_half) = mpsc::channel();
    let (told_away, is_away) = mpsc::channel();
    let (told_failed, is_failed) = mpsc::channel();
    let writing = thread::spawn(move || {
        let mut test = StressTest::new().writer(Writer::new(Steps::new(2050), client(port, 100)));
        let handler = async |mut responses: Responses<Written>, _: Timer| {
            let (mut points, mut is_told) = (0, false);
            while let Some(response) = responses.next().await {
                points += response.work.acknowledged();
                if !response.success() {
                    // The other side listens for the first one alone.
                    let _ = told_failed.send(());
                }
                if points >= 500 && !is_told {
                    is_told = true;
                    told_half.send(()).unwrap();
                    // Nothing else happens on this thread until it is gone.
                    is_away.recv().unwrap();
                }
            }
            points
        };
        let ended = block_on(test.start(handler, basic_read_handler)).unwrap();
        ended.write.result.unwrap();
        (ended.write.handled.unwrap(), ended.write.totals)
    });
    is_half.recv().unwrap();
    influx.kill();
    told_away.send(()).unwrap();
    is_failed.recv().unwrap();
    influx.start_again();
    let (heard, totals) = writing.join().unwrap();
    assert_eq!((heard, totals.points(), totals.rejected()), (2050, 2050, 0));
    assert!(totals.failed() > 0, "it was away");
    assert_eq!(influx.count("lab", "steps", "n"), 2050);
}

#[test]
fn addresses_take_turns_and_a_batch_that_failed_goes_to_the_next() {
    let influx = Influx::start();
    influx.create("lab");
    let mut client = client(influx.port, 100);
    // Nobody listens there.
    let gone = BasicClient::to("127.0.0.1:1", "lab").unwrap().settings.addresses;
    client.settings.addresses.extend(gone);
    client.settings.concurrency = 4;
    let mut test = StressTest::new().writer(Writer::new(Steps::new(1000), client));
    let ended = block_on(test.start(totals, basic_read_handler)).unwrap();
    ended.write.result.unwrap();
    let heard = ended.write.handled.unwrap();
    assert_eq!((heard.succeeded, heard.failed(), heard.points()), (10, 5, 1000));
    assert_eq!(influx.count("lab", "steps", "n"), 1000);
}

#[test]
fn points_that_the_database_refuses_are_counted_and_not_sent_again() {
    let influx = Influx::start();
    influx.create("lab");
    // Whether types conflict is a matter of a week, to this version.
    influx.write("lab", "steps n=1.5 1700000000000000000");
    let mut client = client(influx.port, 100);
    client.settings.gzip = true;
    let mut test = StressTest::new().writer(Writer::new(Steps::new(250), client));
    let handler = async |mut responses: Responses<Written>, _: Timer| {
        let mut fates = Vec::new();
        while let Some(Response { work, failure, .. }) = responses.next().await {
            assert!(failure.unwrap().detail.contains("field type conflict"));
            fates.push((work.points, work.fate));
        }
        fates
    };
    let ended = block_on(test.start(handler, basic_read_handler)).unwrap();
    ended.write.result.unwrap();
    let mut fates = ended.write.handled.unwrap();
    fates.sort_by_key(|(points, _)| *points);
    assert_eq!(fates, [50, 100, 100].map(|points| (points, Fate::Done { rejected: points })));
    assert_eq!((ended.write.totals.points(), ended.write.totals.rejected()), (0, 250));
    assert_eq!(influx.count("lab", "steps", "n"), 1);
}

#[test]
fn a_handler_that_panics_or_leaves_keeps_nothing_from_the_database() {
    let influx = Influx::start();
    influx.create("lab");
    let test = |field| {
        let steps = Steps { field, ..Steps::new(30_000) };
        StressTest::new().writer(Writer::new(steps, client(influx.port, 10)))
    };
    let panics = async |mut responses: Responses<Written>, _: Timer| {
        responses.next().await;
        panic!("on purpose");
    };
    let ended = block_on(test("a").start(panics, basic_read_handler)).unwrap();
    assert!(matches!(ended.write.handled, Err(Error::HandlerPanicked)));
    assert_eq!((ended.write.totals.points(), influx.count("lab", "steps", "a")), (30_000, 30_000));

    let leaves = async |mut responses: Responses<Written>, _: Timer| responses.next().await.unwrap().work.points;
    let ended = block_on(test("b").start(leaves, basic_read_handler)).unwrap();
    assert_eq!(ended.write.handled.unwrap(), 10);
    assert_eq!((ended.write.totals.points(), influx.count("lab", "steps", "b")), (30_000, 30_000));
}

#[test]
fn the_reader_counts_rows_and_failures() {
    let influx = Influx::start();
    influx.create("lab");
    let lines: String = (1..=20).map(|i| format!("m,host=h{} v={i} {i}\n", i % 4)).collect();
    assert_eq!(influx.write("lab", &lines).0, 204);
    let asking = |template: &str| {
        let mut client = BasicQueryClient::to(&address(&influx), "lab").unwrap();
        client.settings.concurrency = 3;
        client.settings.query_interval = Duration::ZERO;
        let mut test = StressTest::new().reader(Reader::new(BasicQuery::new(template, 6), client));
        let ended = block_on(test.start(totals, basic_read_handler)).unwrap();
        ended.read.result.unwrap();
        let heard = ended.read.handled.unwrap();
        assert_eq!(heard.responses(), ended.read.totals.responses());
        (heard.responses(), heard.failed(), heard.rows())
    };
    // Hosts 0 to 3 have five points each, 4 and 5 none.
    assert_eq!(asking("SELECT v FROM m WHERE host = 'h%v' AND time <= %time%"), (6, 0, 20));
    assert_eq!(asking("SELECT nonsense(v) FROM m"), (6, 6, 0));
}

#[test]
fn a_report_has_a_point_a_response() {
    let influx = Influx::start();
    influx.create("lab");
    influx.create("reports");
    let report = Report::to(BasicClient::to(&address(&influx), "reports").unwrap()).tag("run", "first one");
    let handlers = Broadcast::new().register(totals).register(async |responses, _timer: Timer| {
        report.handle("write", responses).await.unwrap();
    });
    let mut test = StressTest::new().writer(Writer::new(Steps::new(12_345), client(influx.port, 10)));
    let ended =
        block_on(test.start(async |responses, timer| handlers.handle(responses, timer).await, basic_read_handler));
    assert_eq!(ended.unwrap().write.totals.points(), 12_345);
    let query = "SELECT count(response_time) FROM performance WHERE run = 'first one' AND method = 'write'";
    assert_eq!(influx.number("reports", query), 1235.0);
}

#[test]
fn a_report_has_nanoseconds_over_a_client_that_has_sent_seconds_and_no_tag_without_a_value() {
    let influx = Influx::start();
    influx.create("lab");
    let mut client = client(influx.port, 10);
    client.settings.precision = Precision::S;
    let mut seconds = StressTest::new().writer(Writer::new(Steps::new(1), client));
    // A stamp in nanoseconds is beyond all seconds.
    assert_eq!(block_on(seconds.start(totals, basic_read_handler)).unwrap().write.totals.rejected(), 1);

    let report = Report::to(seconds.writer.unwrap().influx_client).tag("run", "");
    let mut test = StressTest::new().writer(Writer::new(Steps::new(100), self::client(influx.port, 10)));
    let handler = async |responses, _timer: Timer| report.handle("", responses).await;
    let reported = block_on(test.start(handler, basic_read_handler)).unwrap().write.handled.unwrap().unwrap();
    assert_eq!((reported.points(), reported.rejected()), (10, 0));
    let query = "SELECT count(response_time) FROM performance WHERE time > now() - 1h";
    assert_eq!(influx.number("lab", query), 10.0);
}

#[test]
fn the_example_influx_stress_writes_what_it_says() {
    let influx = Influx::start();
    let built = Path::new(env!("CARGO_BIN_EXE_canihaz")).with_file_name("examples").join("influx_stress");
    let output = Command::new(&built)
        .arg(address(&influx))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` makes it", built.display()));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for line in ["Total Requests: 13", "\tFail: 0", "Points: 12300", "Total Queries: 5", "12300 points and 5 queries"] {
        assert!(said.lines().any(|l| l == line), "{line} in {said}");
    }
    assert_eq!(influx.count("bees", "pollen", "mg"), 12_300);
}
