//! When batches go out, where to and how, seen from the other side.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::posts::{Post, Posts, TAKEN};
use super::{Stress, expect_first, load, provision, read};
use crate::parts::certificates::Authority;
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::{Influx, Options, VictoriaMetrics};
use crate::parts::nginx::Nginx;
use crate::parts::points::{START, TICK, numbers};
use crate::parts::sandbox::Sandbox;

/// How long a connection rests.
const INTERVAL: Duration = Duration::from_millis(150);

/// Runs the end of a minute.
#[track_caller]
fn run(sandbox: &Sandbox, minute: i64) {
    sandbox.start(&Clock::in_minute(minute, 57.0)).succeed(12.0);
}

/// All lines that came, with how often each did.
fn lines(posts: &[Post]) -> BTreeMap<String, u32> {
    let mut lines = BTreeMap::new();
    for post in posts {
        let text = String::from_utf8(post.body.clone()).expect("lines are text");
        text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
    }
    lines
}

#[test]
fn canceled_batches_lose_no_points() {
    let posts = Posts::answering(TAKEN, Duration::from_millis(200));
    let sandbox = load(&Stress { top: "when_busy = \"cancel\"", ..Stress::to(&posts.port()) }, 300);
    for minute in 0..2 {
        run(&sandbox, minute);
    }
    let results = sandbox.results();
    results.expect_planned("load.write", 600);
    let (ok, canceled) = (results.total("load.write", "ok"), results.total("load.write", "canceled"));
    assert!(ok > 10 && canceled > 300 && ok + canceled == 600, "{results}");
    assert_eq!(sandbox.results().work("load.write", "points"), ok * 100);
    // One after the other from the first on, each once.
    let all = posts.all();
    let lines = lines(&all);
    assert_eq!((all.len() as u64, lines.len() as u64), (ok, ok * 100));
    assert!(lines.values().all(|times| *times == 1));
    let last = lines.keys().filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).max();
    assert_eq!(last, Some(START + TICK * (ok as i64 * 10)), "no tick is left out");
}

#[test]
fn batch_interval_is_the_least_gap_on_a_connection() {
    let posts = Posts::answering(TAKEN, Duration::from_millis(10));
    let port = posts.port();
    // Two addresses of one server have connections of their own.
    for ports in [vec![port], vec![port; 2]] {
        let before = posts.all().len();
        let client = "batch_interval = \"150ms\"\nconcurrency = 3";
        let sandbox = load(&Stress { addresses: &ports, client, ..Stress::to(&port) }, 600);
        run(&sandbox, 0);
        expect_rests(&sandbox, &posts.all()[before..], 3 * ports.len());
    }
}

#[test]
fn batch_interval_is_the_least_gap_of_datagrams_however_many_are_due() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let lines = thread::spawn(move || {
        let (mut lines, mut datagram) = (0, vec![0; 1 << 16]);
        // An empty one is the last.
        while let Ok(length @ 1..) = socket.recv(&mut datagram) {
            lines += datagram[..length].iter().filter(|byte| **byte == b'\n').count();
        }
        lines
    });
    let client = "format = \"line_udp\"\nbatch_interval = \"20ms\"\nconcurrency = 1";
    // Ten are due in a millisecond, and each is over as soon as it began.
    let sandbox = load(&Stress { client, ..Stress::to(&port) }, 600_000);
    run(&sandbox, 0);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], ("127.0.0.1", port)).unwrap();
    let (came, written) = (lines.join().unwrap() as u64, sandbox.results().work("load.write", "points"));
    assert!(came <= written, "{came} of {written}");
    // Three seconds have room for 150 batches.
    assert!((5_000..=15_100).contains(&written), "{written}");
}

/// Expects that connections, at most so many, rest.
#[track_caller]
fn expect_rests(sandbox: &Sandbox, posts: &[Post], most: usize) {
    let results = sandbox.results();
    results.expect_planned("load.write", 600);
    let mut connections = BTreeMap::<usize, Vec<Post>>::new();
    for post in posts {
        connections.entry(post.connection).or_default().push(post.clone());
    }
    assert!(connections.len() <= most, "{}", connections.len());
    let mut all = 0;
    for posts in connections.values() {
        all += posts.len();
        for pair in posts.windows(2) {
            // A connection may change places with another, which has rested as long.
            let gap = pair[1].came.duration_since(pair[0].answered);
            assert!(gap >= INTERVAL, "{gap:?}");
        }
    }
    // As many as find room in three seconds, and not many less.
    assert!((30..=60).contains(&all), "{all}");
    assert_eq!(results.work("load.write", "points"), all as u64 * 100);
    assert_eq!(results.total("load.write", "missed"), 600 - all as u64, "{results}");
}

#[test]
fn addresses_take_turns() {
    let servers = [0; 3].map(|_| Posts::answering(TAKEN, Duration::ZERO));
    let ports = servers.each_ref().map(Posts::port);
    let sandbox = load(&Stress { addresses: &ports, client: "concurrency = 2", ..Stress::to(&0) }, 300);
    run(&sandbox, 0);
    assert_eq!(servers.each_ref().map(|server| server.all().len()), [100; 3]);
    let all: Vec<_> = servers.iter().flat_map(Posts::all).collect();
    assert_eq!(lines(&all).len(), 30_000);
}

#[test]
fn one_of_the_addresses_that_is_gone_costs_no_point() {
    let influx = Influx::start();
    influx.create("lab");
    let ports = [influx.port, crate::parts::server::free_tcp_port()];
    let sandbox = load(&Stress { addresses: &ports, client: "concurrency = 2", ..Stress::to(&0) }, 300);
    run(&sandbox, 0);
    let results = sandbox.results();
    assert_eq!((results.total("load.write", "ok"), results.failures("load.write", "connect")), (150, 150), "{results}");
    let written = sandbox.results().work("load.write", "points");
    assert_eq!((written, numbers(&influx, "lab").len()), (15_000, 15_000));
    run(&sandbox, 1);
    // The last batch may be the other one's.
    let held = numbers(&influx, "lab");
    assert!(held.len() == 30_000 && held.range(..29_800).count() == 29_800, "{:?}", held.last());
}

#[test]
fn gzip_is_what_the_head_says_and_is_taken() {
    let posts = Posts::answering(TAKEN, Duration::ZERO);
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = load(&Stress { client: "gzip = true", ..Stress::to(&posts.port()) }, 30);
    run(&sandbox, 0);
    for Post { head, body, .. } in posts.all() {
        assert!(head.contains("\r\ncontent-encoding: gzip\r\n"), "{head}");
        let mut text = String::new();
        GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
        assert!(text.lines().count() == 100 && body.len() < text.len() / 3, "{}", body.len());
    }
    let sandbox = load(&Stress { client: "gzip = true", ..Stress::to(&influx.port) }, 30);
    run(&sandbox, 0);
    assert_eq!(sandbox.results().work("load.write", "points"), 3000);
    expect_first(&influx, "lab", 3000);
}

#[test]
fn a_user_and_password_from_a_file_write_read_and_provision() {
    let influx = Influx::with(Options { admin: Some(("root", "s3cret, \"quoted\"")), ..Options::default() });
    let query = "SELECT count(value) FROM cpu WHERE host='server-%v'";
    let rest = format!("{}{}", provision(influx.port, ""), read(influx.port, query));
    let top = "user = \"root\"\npassword_file = \"../password\"";
    let sandbox = load(&Stress { top, rest: &rest, ..Stress::to(&influx.port) }, 30);
    sandbox.write("password", "s3cret, \"quoted\"\n");
    run(&sandbox, 0);
    let results = sandbox.results();
    assert_eq!((results.total("load.write", "ok"), results.total("load.read", "ok")), (30, 240), "{results}");
    expect_first(&influx, "lab", 3000);
}

#[test]
fn the_second_write_api_is_counted_by_query() {
    let victoria = VictoriaMetrics::start();
    let top = "token_file = \"../token\"";
    for (gzip, minute) in [("", 0), ("\ngzip = true", 1)] {
        let client = format!("org = \"o\"\nbucket = \"b\"\nprecision = \"ms\"{gzip}");
        let sandbox = load(&Stress { top, points: "", client: &client, ..Stress::to(&victoria.port) }, 60);
        sandbox.replace("types.d/stress.toml", "measurement = \"cpu\"", &format!("measurement = \"cpu{minute}\""));
        sandbox.write("token", "t0ken\n");
        for minute in 2 * minute..2 * minute + 2 {
            run(&sandbox, minute);
        }
        assert_eq!(sandbox.results().work("load.write", "points"), 2 * 60 * 100);
        let series = victoria.series(&format!("cpu{minute}_value"));
        let values: usize = series.iter().map(|one| one["values"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!((series.len(), values), (10, 2 * 60 * 100));
    }
}

#[test]
fn tls_is_spoken_to_write_read_and_provision() {
    let influx = Influx::start();
    let front = format!("location ~ ^/(write|query) {{ proxy_pass http://127.0.0.1:{}; }}", influx.port);
    let nginx = Nginx::with_tls_and(&front, None);
    let port: u16 = nginx.tls_url("").rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    let query = "SELECT count(value) FROM cpu WHERE host='server-%v'";
    let rest = format!("{}{}", provision(port, ""), read(port, query));
    let authority = nginx.certificate();
    let top = format!("ca_file = \"{}\"", authority.display());
    let stress = Stress { top: &top, client: "ssl = true", rest: &rest, ..Stress::to(&port) };
    let sandbox = load(&stress, 30);
    // Its certificate holds from now on.
    run(&sandbox, 600);
    let results = sandbox.results();
    assert_eq!((results.total("load.write", "ok"), results.total("load.read", "ok")), (30, 240), "{results}");
    expect_first(&influx, "lab", 3000);

    // A certificate that nobody has vouched for.
    let other = Authority::new();
    sandbox.replace("types.d/stress.toml", &authority.display().to_string(), &other.file().display().to_string());
    let ended = sandbox.start(&Clock::in_minute(601, 57.0)).wait(seconds(12.0));
    ended.expect_code(0);
    assert!(ended.stderr.contains(&format!("https://127.0.0.1:{port}: cannot make")), "{}", ended.stderr);
    sandbox.replace("types.d/stress.toml", &provision(port, ""), "");
    run(&sandbox, 602);
    let results = sandbox.results();
    assert_eq!((results.failures("load.write", "tls"), results.failures("load.read", "tls")), (30, 240), "{results}");
    assert_eq!(influx.count("lab", "cpu", "value"), 3000);
}
