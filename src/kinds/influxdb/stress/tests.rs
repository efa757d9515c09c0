//! Stress tests with clients that only pretend to send.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::kinds::influxdb::outlet::Fate;
use crate::kinds::influxdb::settings::Server;
use crate::target::{Failure, Reason};

/// So many points, in a line each.
struct Counting {
    count: u64,
    next: u64,
}

impl PointGenerator for Counting {
    fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
        lines.extend_from_slice(format!("m v={} {}", self.next, self.next + 1).as_bytes());
        self.next += 1;
        self.next <= self.count
    }

    fn time(&self) -> i64 {
        self.next.min(self.count).cast_signed()
    }
}

/// Remembers what it was sent, and says what it is told to.
struct Pretending<F> {
    batching: Batching,
    sent: Rc<RefCell<Vec<(u64, u32, String)>>>,
    most_at_once: Rc<Cell<u32>>,
    at_once: Cell<u32>,
    says: F,
}

impl<F: Fn(&Batch) -> Fate> Pretending<F> {
    fn new(size: u64, concurrency: u32, says: F) -> Self {
        let size = NonZeroU64::new(size).unwrap();
        let concurrency = NonZeroU32::new(concurrency).unwrap();
        Self {
            batching: Batching { size, concurrency, ..Batching::default() },
            sent: Rc::default(),
            most_at_once: Rc::default(),
            at_once: Cell::default(),
            says,
        }
    }
}

impl<F: Fn(&Batch) -> Fate> InfluxClient for Pretending<F> {
    async fn send(&self, batch: &Batch) -> WriteResponse {
        self.at_once.set(self.at_once.get() + 1);
        self.most_at_once.set(self.most_at_once.get().max(self.at_once.get()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.at_once.set(self.at_once.get() - 1);
        let lines = String::from_utf8(batch.lines().to_vec()).unwrap();
        assert_eq!(lines.lines().count() as u64, batch.points());
        assert!(lines.ends_with('\n'));
        self.sent.borrow_mut().push((batch.number(), batch.attempt(), lines));
        let fate = (self.says)(batch);
        let response = Response::new(Written { points: 0, fate, attempt: 0 }, Duration::from_millis(1));
        match fate {
            Fate::Done { rejected: 0 } => response,
            _ => response.failed(Failure::new(Reason::Status, "503")),
        }
    }

    fn batching(&self) -> Batching {
        self.batching
    }
}

/// Asks nobody.
struct Mute(Rc<RefCell<Vec<(u64, String)>>>);

impl QueryClient for Mute {
    async fn query(&self, number: u64, query: &str) -> QueryResponse {
        self.0.borrow_mut().push((number, query.to_owned()));
        Response::new(Asked { rows: 2 }, Duration::from_millis(1))
    }
}

fn done(_: &Batch) -> Fate {
    Fate::Done { rejected: 0 }
}

async fn count<W>(mut responses: Responses<W>, _timer: Timer) -> u64 {
    let mut count = 0;
    while responses.next().await.is_some() {
        count += 1;
    }
    count
}

fn counting(count: u64) -> Counting {
    Counting { count, next: 0 }
}

#[tokio::test(start_paused = true)]
async fn each_point_is_sent_once_the_last_partial_batch_included() {
    for (points, size, concurrency, batches) in [(1003, 100, 3, 11), (100, 100, 3, 1), (0, 7, 1, 0), (5, 7, 20, 1)] {
        let client = Pretending::new(size, concurrency, done);
        let (sent, most) = (Rc::clone(&client.sent), Rc::clone(&client.most_at_once));
        let mut test = StressTest::new().writer(Writer::new(counting(points), client));
        let ended = test.start(count, count).await.unwrap();
        assert_eq!((ended.write.handled.unwrap(), ended.read.handled.unwrap()), (batches, 0));
        assert_eq!((ended.write.totals.points(), ended.write.totals.responses()), (points, batches));
        let lines: String = sent.borrow().iter().map(|(_, _, lines)| lines.as_str()).collect();
        let expect: String = (0..points).map(|number| format!("m v={number} {}\n", number + 1)).collect();
        assert_eq!(lines, expect);
        assert_eq!(u64::from(most.get()), batches.min(concurrency.into()));
        // The generator is at its end, and stays there.
        assert_eq!(test.start(count, count).await.unwrap().write.totals.responses(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_is_sent_again_unchanged_half_a_second_later_each_time() {
    let says = |batch: &Batch| if batch.number() == 1 && batch.attempt() < 4 { Fate::Undone } else { done(batch) };
    let client = Pretending::new(10, 1, says);
    let sent = Rc::clone(&client.sent);
    let begin = Instant::now();
    let mut test = StressTest::new().writer(Writer::new(counting(25), client));
    let ended = test.start(count, count).await.unwrap();
    ended.write.result.unwrap();
    let totals = ended.write.totals;
    assert_eq!((totals.points(), totals.succeeded, totals.failures[&Reason::Status]), (25, 3, 3));
    assert_eq!(ended.write.handled.unwrap(), 6);
    let sent = sent.borrow();
    let again: Vec<_> = sent.iter().filter(|(number, ..)| *number == 1).collect();
    assert_eq!(again.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(again.iter().all(|(_, _, lines)| *lines == again[0].2));
    // Half a second, one, one and a half.
    assert_eq!(begin.elapsed().as_millis() / 100, 30);
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_patience_says_how_many_points_may_be_missing() {
    let mut client = Pretending::new(10, 2, |_| Fate::Undone);
    client.batching.patience = Duration::from_secs(2);
    let sent = Rc::clone(&client.sent);
    let mut test = StressTest::new().writer(Writer::new(counting(1000), client));
    let ended = test.start(count, count).await.unwrap();
    assert!(matches!(ended.write.result, Err(Error::GaveUp { points: 20, ref last }) if last.reason == Reason::Status));
    assert_eq!(ended.write.totals.points(), 0);
    // 500, 1000 ms; another 1500 would have been too much. And no other batch was begun.
    let attempts: BTreeMap<u64, u32> = sent.borrow().iter().map(|(number, attempt, _)| (*number, *attempt)).collect();
    assert_eq!(attempts, BTreeMap::from([(0, 3), (1, 3)]));
}

#[tokio::test(start_paused = true)]
async fn rejected_points_are_told_and_not_sent_again() {
    let client = Pretending::new(10, 1, |batch| Fate::Done { rejected: batch.number() * 4 });
    let sent = Rc::clone(&client.sent);
    let mut test = StressTest::new().writer(Writer::new(counting(20), client));
    let handler = async |mut responses: Responses<Written>, _| {
        let mut rejected = Vec::new();
        while let Some(response) = responses.next().await {
            rejected.push((response.work.rejected(), response.success()));
        }
        rejected
    };
    let ended = test.start(handler, count).await.unwrap();
    assert_eq!(ended.write.handled.unwrap(), [(0, true), (4, false)]);
    assert_eq!((ended.write.totals.points(), ended.write.totals.rejected()), (16, 4));
    assert_eq!(sent.borrow().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_interval_lies_between_the_batches_of_a_place() {
    let mut client = Pretending::new(1, 2, done);
    client.batching.interval = Duration::from_secs(10);
    let begin = Instant::now();
    let mut test = StressTest::new().writer(Writer::new(counting(6), client));
    let ended = test.start(count, count).await.unwrap();
    assert_eq!(ended.write.totals.points(), 6);
    // Only after that is it known that there are no more points.
    assert_eq!((ended.write.timer.elapsed().as_secs(), begin.elapsed().as_secs()), (20, 30));

    let mut client = Pretending::new(2, 2, done);
    client.batching.interval = Duration::from_secs(10);
    let begin = Instant::now();
    let mut test = StressTest::new().writer(Writer::new(counting(11), client));
    let ended = test.start(count, count).await.unwrap();
    assert_eq!((ended.write.totals.points(), ended.write.totals.responses()), (11, 6));
    // The last batch isn't a whole one.
    assert_eq!((ended.write.timer.elapsed().as_secs(), begin.elapsed().as_secs()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_query_interval_lies_between_the_queries_of_a_place() {
    let mut test = StressTest::new().reader(Reader::new(BasicQuery::new("%v", 5), Mute(Rc::default())));
    let ended = test.start(count, count).await.unwrap();
    assert_eq!((ended.read.handled.unwrap(), ended.read.timer.elapsed().as_millis()), (5, 400));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_where_provisioning_fails() {
    struct Broken;
    impl Provisioner for Broken {
        async fn provision(&mut self) -> Result<(), Cause> {
            Err("the disk is full".into())
        }
    }
    let client = Pretending::new(1, 2, done);
    let sent = Rc::clone(&client.sent);
    let mut test = StressTest::new().provisioner(Broken).writer(Writer::new(counting(6), client));
    let was_called = Cell::new(false);
    let handler = async |_: Responses<Written>, _| was_called.set(true);
    let error = test.start(handler, count).await.unwrap_err();
    assert_eq!(error.to_string(), "provisioning failed: the disk is full");
    assert!(sent.borrow().is_empty() && !was_called.get());
    assert_eq!(test.writer.unwrap().point_generator.next, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_or_leaves_changes_nothing_about_the_result() {
    let test = || StressTest::new().writer(Writer::new(counting(100_000), Pretending::new(10, 2, done)));
    let panics = async |mut responses: Responses<Written>, _| {
        responses.next().await;
        panic!("on purpose");
    };
    let ended = test().start(panics, count).await.unwrap();
    assert!(matches!(ended.write.handled, Err(Error::HandlerPanicked)));
    ended.write.result.unwrap();
    assert_eq!(ended.write.totals.points(), 100_000);

    let leaves = async |mut responses: Responses<Written>, _| responses.next().await.unwrap().work.points;
    let ended = test().start(leaves, count).await.unwrap();
    assert_eq!((ended.write.handled.unwrap(), ended.write.totals.points()), (10, 100_000));
    assert_eq!(ended.write.unheard, 9_999);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_the_end_without_listening_is_told_no_more() {
    let test = || StressTest::new().writer(Writer::new(counting(1000), Pretending::new(1, 2, done)));
    let waits = async |responses: Responses<Written>, timer: Timer| {
        while timer.end().is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        count(responses, timer).await
    };
    let ended = test().start(waits, count).await.unwrap();
    assert_eq!((ended.write.totals.points(), ended.write.handled.unwrap() + ended.write.unheard), (1000, 1000));

    let handlers = Broadcast::new().register(waits).register(async |responses, timer| {
        assert_eq!(count(responses, timer).await, 1000);
    });
    let ended = test().start(async |responses, timer| handlers.handle(responses, timer).await, count).await.unwrap();
    ended.write.handled.unwrap();
    assert_eq!((ended.write.totals.points(), ended.write.unheard), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_slows_its_half_and_loses_nothing() {
    let client = Pretending::new(1, 5, done);
    let sent = Rc::clone(&client.sent);
    let mut test = StressTest::new().writer(Writer::new(counting(2000), client));
    let slow = async |mut responses: Responses<Written>, timer: Timer| {
        let mut heard = 0;
        while responses.next().await.is_some() {
            heard += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(sent.borrow().len() < heard + 300, "that many don't wait");
        }
        assert!(timer.end().is_some());
        heard
    };
    let ended = test.start(slow, count).await.unwrap();
    assert_eq!((ended.write.handled.unwrap(), ended.write.totals.points()), (2000, 2000));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_seven_seconds_a_response_is_not_deaf_to_ten_at_once() {
    let client = Pretending::new(1, 10, done);
    let mut test = StressTest::new().writer(Writer::new(counting(400), client));
    let slow = async |mut responses: Responses<Written>, _timer| {
        let mut heard = 0;
        while responses.next().await.is_some() {
            heard += 1;
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        heard
    };
    let ended = test.start(slow, count).await.unwrap();
    assert_eq!((ended.write.handled.unwrap(), ended.write.unheard), (400, 0));
}

#[tokio::test(start_paused = true)]
async fn queries_know_the_writers_time_and_are_asked_beside_it() {
    let asked = Rc::<RefCell<Vec<_>>>::default();
    let mut client = Pretending::new(10, 1, done);
    client.batching.interval = Duration::from_millis(130);
    let mut test = StressTest::new()
        .writer(Writer::new(counting(30), client))
        .reader(Reader::new(BasicQuery::new("%v %time%", 4), Mute(Rc::clone(&asked))));
    let ended = test.start(count, count).await.unwrap();
    assert_eq!((ended.read.handled.unwrap(), ended.read.totals.rows(), ended.write.totals.points()), (4, 8, 30));
    let expect = [(0, "0 10"), (1, "1 10"), (2, "2 20"), (3, "3 30")];
    assert_eq!(*asked.borrow(), expect.map(|(number, query)| (number, query.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn all_handlers_of_a_broadcast_hear_all_whatever_one_of_them_does() {
    let heard = RefCell::new([0; 3]);
    let (one, other) = (Cell::new(0), Cell::new(0));
    let note = async |to: &Cell<u64>, mut responses: Responses<Written>| {
        while responses.next().await.is_some() {
            to.set(to.get() + 1);
        }
    };
    let handlers = Broadcast::new()
        .register(async |responses, _timer| note(&one, responses).await)
        .register(async |mut responses: Responses<Written>, _timer| {
            responses.next().await;
            heard.borrow_mut()[0] += 1;
        })
        .register(async |responses, _timer| note(&other, responses).await)
        .register(async |_responses, _timer| panic!("on purpose"));
    let mut test = StressTest::new().writer(Writer::new(counting(1000), Pretending::new(1, 2, done)));
    let ended = test.start(async |responses, timer| handlers.handle(responses, timer).await, count).await.unwrap();
    assert!(matches!(ended.write.handled, Err(Error::HandlerPanicked)));
    assert_eq!((one.get(), other.get(), heard.borrow()[0], ended.write.totals.points()), (1000, 1000, 1, 1000));
    // Nobody is left, or was there at all.
    for handlers in [Broadcast::new(), Broadcast::new().register(async |_responses, _timer| {})] {
        let mut test = StressTest::new().writer(Writer::new(counting(1000), Pretending::new(1, 2, done)));
        let ended = test.start(async |responses, timer| handlers.handle(responses, timer).await, count).await.unwrap();
        ended.write.handled.unwrap();
        assert_eq!(ended.write.totals.points(), 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn three_deaf_handlers_of_a_broadcast_keep_nothing_from_the_others() {
    let deaf = async |responses: Responses<Written>, timer: Timer| {
        while timer.end().is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        count(responses, timer).await
    };
    let heard = Cell::new(0);
    let handlers = Broadcast::new()
        .register(deaf)
        .register(deaf)
        .register(deaf)
        .register(async |responses, timer| heard.set(count(responses, timer).await));
    let mut test = StressTest::new().writer(Writer::new(counting(1000), Pretending::new(1, 2, done)));
    let ended = test.start(async |responses, timer| handlers.handle(responses, timer).await, count).await.unwrap();
    assert_eq!((heard.get(), ended.write.unheard), (1000, 0));
    // What had found room is heard by them afterwards.
    assert_eq!(ended.write.handled.unwrap(), 1000 - 256);
}

#[tokio::test(start_paused = true)]
async fn a_report_gives_up_before_it_is_deaf_and_what_it_does_not_hear_is_counted() {
    // For how long its database is away; how many points are written of 3000 responses (or else given up), and how many
    // of those aren't heard.
    for (away, expect) in [(0, (Ok(3000), 0)), (10, (Ok(3000), 0)), (40, (Err(1000), 2000)), (7200, (Err(1000), 2000))]
    {
        let test = || StressTest::new().writer(Writer::new(counting(3000), Pretending::new(1, 10, done)));
        let report = async |responses: Responses<Written>, _timer| {
            let begin = Instant::now();
            let says = move |batch: &Batch| if begin.elapsed().as_secs() < away { Fate::Undone } else { done(batch) };
            match report::write(&Pretending::new(1, 1, says), "", responses).await {
                Ok(totals) => Ok(totals.points()),
                Err(Error::GaveUp { points, .. }) => Err(points),
                Err(other) => panic!("{other}"),
            }
        };
        let begin = Instant::now();
        let ended = test().start(report, count).await.unwrap().write;
        assert_eq!((ended.handled.unwrap(), ended.unheard), expect, "{away}");

        let (written, heard) = (Cell::new(Ok(0)), Cell::new(0));
        let handlers = Broadcast::new()
            .register(async |responses, timer| written.set(report(responses, timer).await))
            .register(async |responses, timer| heard.set(count(responses, timer).await));
        let ended = test().start(async |responses, timer| handlers.handle(responses, timer).await, count).await;
        let ended = ended.unwrap().write;
        assert_eq!((written.get(), ended.handled.unwrap()), expect, "{away}");
        assert_eq!((heard.get(), ended.unheard), (3000, 0));
        // Neither has kept the writer for long.
        assert!(begin.elapsed() < 2 * broadcast::MAX_DEAF, "{away}");
    }
}

#[test]
fn addresses_and_credentials() {
    for text in ["localhost:8086", "10.0.0.1:1", "[::1]:8086"] {
        assert_eq!(server::address(text).unwrap().to_string(), text);
    }
    for text in ["", "localhost", "localhost:0", "localhost:x", "http://localhost:8086", ":8086", "a b:1"] {
        let error = server::address(text).unwrap_err();
        assert!(matches!(&error, Error::Address(seen) if seen == text), "{error}");
    }
    let server = Server::default().with_user("root", "s3cret").unwrap();
    assert_eq!(server.authorization.unwrap(), "Basic cm9vdDpzM2NyZXQ=");
    assert_eq!(Server::default().with_token("abc").unwrap().authorization.unwrap(), "Token abc");
    assert!(matches!(Server::default().with_user("a:b", "c"), Err(Error::Credentials)));
    assert!(matches!(Server::default().with_token("a\nb"), Err(Error::Credentials)));
}

#[test]
fn the_template_is_the_sample_of_influx_stress() {
    let test = StressTest::basic();
    let provisioner = test.provisioner.unwrap();
    assert!(
        provisioner.reset && provisioner.address.to_string() == "localhost:8086" && provisioner.database == "stress"
    );
    let Writer { mut point_generator, influx_client } = test.writer.unwrap();
    assert_eq!(point_generator.count(), Some(10_000_000));
    let (size, concurrency) = (influx_client.batching().size.get(), influx_client.batching().concurrency.get());
    assert_eq!((size, concurrency, influx_client.batching().interval), (5000, 10, Duration::ZERO));
    let mut lines = Vec::new();
    assert_eq!(point_generator.generate_many(100_018, &mut lines), 100_018);
    let lines = String::from_utf8(lines).unwrap();
    let last = lines.lines().last().unwrap();
    // The eighteenth series at the second tick, moved by less than one.
    assert!(last.starts_with("cpu,host=server-17,location=us-west value="), "{last}");
    let stamp: u64 = last.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((1_136_160_020_000_000_000..1_136_160_030_000_000_000).contains(&stamp), "{last}");
    let Reader { mut query_generator, query_client } = test.reader.unwrap();
    let queries: Vec<_> = std::iter::from_fn(|| query_generator.generate(0)).collect();
    assert_eq!(queries.len(), 250);
    assert_eq!(queries[249], "SELECT count(value) FROM cpu where host='server-249'");
    assert_eq!(query_client.pacing(), Pacing { concurrency: NonZeroU32::MIN, interval: Duration::from_millis(100) });
}

#[test]
fn a_stress_toml_of_influx_stress_is_read_and_what_is_off_is_left_out() {
    let sample = include_str!("../../../../tests/data/influxdb/stress.toml");
    let test = StressTest::from_toml(sample).unwrap();
    assert_eq!(test.writer.unwrap().influx_client.settings.addresses.len(), 3);
    let off = sample.replacen("enabled = true", "enabled = false", 1);
    assert!(StressTest::from_toml(&off).unwrap().provisioner.is_none());
    assert!(StressTest::from_toml(&format!("kind = \"influxdb\"\n{sample}")).is_ok());
    let reset = |by: &str| {
        let text = sample.replace("reset_database = true", &format!("reset_database = true\nreset_host = \"{by}\""));
        StressTest::from_toml(&text).unwrap().provisioner.unwrap().reset
    };
    assert!(reset(&crate::hostname::hostname()) && !reset("somebody-else"));
    let Error::Settings(faults) = StressTest::from_toml(&sample.replace("2006-Jan-02", "yesterday")).unwrap_err()
    else {
        panic!("its settings are wrong")
    };
    assert_eq!(faults.len(), 1);
    assert!(matches!(StressTest::from_toml("nonsense"), Err(Error::Settings(faults)) if faults.len() == 1));
}
