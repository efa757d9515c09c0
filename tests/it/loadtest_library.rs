//! The library for authors of load tests, and the examples, called as an agent calls them, without the runner.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use canihaz::golo::Response;
use canihaz::loadtest::DEFAULT_SEQUENCE_ID;
use futures_util::future::join_all;
use nix::sys::signal::Signal;

use crate::parts::load_test::{Ended, LoadTest, example, outputs, python_example, trigger};
use crate::parts::nginx::Nginx;
use crate::parts::odd::{Odd, read_request};
use crate::parts::server::free_tcp_port;
use crate::parts::target::{Answer, Target};

/// How long something may take that takes no time.
const BOUND: Duration = Duration::from_secs(30);

/// The tests' own load test, which asks for this URL, and has these habits, separated by spaces.
fn odd(habits: &str, url: &str) -> Command {
    let mut command = example("odd_load_test");
    command.args([url, "as_is=yes"]).args(habits.split_whitespace());
    command
}

fn reason(response: &Response) -> &str {
    let tag = response.tags.iter().find(|tag| tag.key == "reason");
    tag.map_or("", |tag| &tag.value)
}

/// An example that gets `URL`: journeys and requests are what nginx counted, and one is found by the other.
async fn is_counted(load_test: LoadTest, nginx: &Nginx, journeys: usize) {
    let caller = load_test.caller().await;
    let mut ids = BTreeSet::new();
    for response in join_all((0..journeys).map(|_| trigger(&caller))).await {
        assert!(!response.error, "{response:?}");
        assert_eq!((response.job_name.as_str(), response.output.as_str()), ("shop", ""));
        assert!(response.duration > 0);
        assert_ne!(response.id, DEFAULT_SEQUENCE_ID);
        ids.insert(response.id);
    }
    assert_eq!(ids.len(), journeys);
    let ended = load_test.end(Signal::SIGTERM);
    assert!(ended.is_well(), "{}", ended.status);
    assert_eq!(ended.stderr, Vec::<String>::new());
    let outputs = ended.outputs();
    assert_eq!(outputs.len(), journeys);
    assert_eq!(outputs.iter().map(|output| output.sequence_id.clone()).collect::<BTreeSet<_>>(), ids);
    for output in outputs {
        assert_eq!((output.url.as_str(), output.method.as_str()), (nginx.url("/shop?q=1").as_str(), "GET"));
        assert_eq!((output.status, output.size, output.error), (200, 3, None));
        assert!(!output.duration.is_zero());
        let age = chrono::Utc::now() - output.timestamp;
        assert!(age >= chrono::TimeDelta::zero() && age.to_std().unwrap() < BOUND, "{age}");
    }
    assert_eq!(nginx.hits().iter().filter(|hit| hit.uri == "/shop?q=1").count(), journeys);
}

#[tokio::test]
async fn the_example_in_rust_is_counted_to_the_hit() {
    let nginx = Nginx::start();
    let mut command = example("magnum_api");
    command.arg(nginx.url("/shop?q=1"));
    is_counted(LoadTest::start(&command), &nginx, 50).await;
}

#[tokio::test]
async fn the_example_in_rust_is_counted_to_the_hit_over_tcp() {
    let nginx = Nginx::start();
    let mut command = example("magnum_api");
    command.arg(nginx.url("/shop?q=1"));
    is_counted(LoadTest::start_on_tcp(&command), &nginx, 50).await;
}

#[tokio::test]
async fn the_example_in_python_is_counted_to_the_hit() {
    let nginx = Nginx::start();
    let mut command = python_example("magnum_api.py");
    command.arg(nginx.url("/shop?q=1"));
    is_counted(LoadTest::start(&command), &nginx, 50).await;
}

#[tokio::test]
async fn the_example_in_python_is_counted_to_the_hit_over_tcp() {
    let nginx = Nginx::start();
    let mut command = python_example("magnum_api.py");
    command.arg(nginx.url("/shop?q=1"));
    is_counted(LoadTest::start_on_tcp(&command), &nginx, 50).await;
}

#[tokio::test]
async fn both_examples_say_that_a_status_or_no_answer_is_an_error() {
    let nginx = Nginx::start();
    let nobody = format!("http://127.0.0.1:{}/", free_tcp_port());
    for example in [example as fn(&str) -> Command, |name| python_example(&format!("{name}.py"))] {
        let run = async |url: &str| {
            let mut command = example("magnum_api");
            command.arg(url);
            let load_test = LoadTest::start(&command);
            let response = trigger(&load_test.caller().await).await;
            assert!(response.error);
            let [output] = load_test.end(Signal::SIGTERM).outputs().try_into().unwrap();
            assert_eq!(output.sequence_id, response.id);
            (output, response)
        };
        let (output, response) = run(&nginx.url("/500")).await;
        assert_eq!((output.status, output.size, output.error), (500, 3, None));
        assert!(response.output.contains("500"), "{}", response.output);
        let (output, response) = run(&nobody).await;
        assert_eq!((output.status, output.size), (0, -1));
        assert!(output.error.as_ref().unwrap().contains("Connection refused"), "{output:?}");
        assert!(response.output.contains("Connection refused"), "{}", response.output);
    }
}

#[tokio::test]
async fn a_journey_that_panics_is_a_failed_hit_and_no_dead_process() {
    let nginx = Nginx::start();
    let load_test = LoadTest::start(&odd("panic_at=1", &nginx.url("/a")));
    let caller = load_test.caller().await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let response = trigger(&caller).await;
        assert!(response.error);
        assert_eq!((response.output.as_str(), reason(&response)), ("the journey panicked: on purpose", "panic"));
        ids.insert(response.id);
    }
    let ended = load_test.end(Signal::SIGTERM);
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(ended.outputs().into_iter().map(|output| output.sequence_id).collect::<BTreeSet<_>>(), ids);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("on purpose")).count(), 20, "{:#?}", ended.stderr);
}

#[tokio::test]
async fn a_journey_that_errs_says_why_with_its_sources() {
    let load_test = LoadTest::start(&odd("errs=yes", ""));
    let response = trigger(&load_test.caller().await).await;
    assert!(response.error);
    assert_eq!((response.output.as_str(), reason(&response)), ("the journey is sad: no cats", "other"));
    assert_eq!(response.id, "", "no request was made");
    assert_eq!(load_test.end(Signal::SIGTERM).stderr, Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_request_is_its_journeys_reason() {
    let nobody = format!("http://127.0.0.1:{}/", free_tcp_port());
    let cut_off = Odd::ending("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let babbling = Odd::start(|stream| stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").ok());
    let answering = Odd::ending("220 mail.example.com ESMTP\r\n\r\n");
    let nginx = Nginx::start();
    let at = |odd: &Odd, scheme: &str| format!("{scheme}://127.0.0.1:{}/", odd.port());
    let check = async |url: &str, expect: &str| {
        let load_test = LoadTest::start(&odd("", url));
        let response = trigger(&load_test.caller().await).await;
        assert_eq!(reason(&response), expect, "{response:?}");
        let [output] = load_test.end(Signal::SIGTERM).outputs().try_into().unwrap();
        let is_answer = expect == "status";
        assert_eq!((output.error.is_none(), output.status != 0, output.size >= 0), (is_answer, is_answer, is_answer));
        assert!(!output.error.unwrap_or_default().contains("://"), "the URL is told once");
    };
    check(&nobody, "connect").await;
    check("http://no-such-host.invalid/", "dns").await;
    check(&at(&babbling, "https"), "tls").await;
    check(&nginx.url("/500"), "status").await;
    check(&at(&cut_off, "http"), "body").await;
    check(&at(&answering, "http"), "protocol").await;
}

#[tokio::test]
async fn hundreds_of_journeys_at_once_print_whole_lines() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    // Longer than what a pipe takes in one piece by itself.
    let path = format!("/{}", "long/".repeat(1000));
    let load_test = LoadTest::start(&odd("steps=2", &target.url(&path)));
    let callers = [load_test.caller().await, load_test.caller().await];
    for _ in 0..3 {
        let journeys = callers.iter().flat_map(|caller| (0..150).map(|_| trigger(caller)));
        for response in join_all(journeys).await {
            assert!(!response.error, "{}", response.output.replace(&path, "/…"));
        }
    }
    let outputs = load_test.end(Signal::SIGTERM).outputs();
    assert_eq!(outputs.len(), 1800);
    let ids: BTreeSet<_> = outputs.iter().map(|output| &output.sequence_id).collect();
    assert_eq!(ids.len(), 900, "two requests a journey");
    assert_eq!(target.requests().len(), 1800);
}

#[tokio::test]
async fn a_call_that_is_taken_back_drops_its_journey_alone() {
    let nginx = Nginx::start();
    let load_test = LoadTest::start(&odd("stay_at=1", &nginx.url("/a")));
    let caller = load_test.caller().await;
    let dropped = |lines: &[String]| lines.iter().filter(|line| *line == "a journey was dropped").count();
    let both = [1, 2].map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move { trigger(&caller).await })
    });
    eventually(|| load_test.stdout().len() == 2).await;
    assert_eq!(dropped(&load_test.stderr()), 0);
    both[0].abort();
    eventually(|| dropped(&load_test.stderr()) == 1).await;
    assert!(!both[1].is_finished());
    let ended = load_test.end(Signal::SIGTERM);
    assert_eq!(dropped(&ended.stderr), 2, "the end gives up on the other");
    assert!(ended.status.success(), "{}", ended.status);
}

#[tokio::test]
async fn a_request_that_is_given_up_is_told() {
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&begun);
    let stuck = Odd::start(move |stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").ok()?;
        begins.fetch_add(1, Ordering::Relaxed);
        // Until the other side breaks off.
        stream.read(&mut [0]).ok().map(drop)
    });
    let url = format!("http://127.0.0.1:{}/", stuck.port());
    let load_test = LoadTest::start(&odd("", &url));
    let caller = load_test.caller().await;
    let journeys: Vec<_> = (0..300)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { trigger(&caller).await })
        })
        .collect();
    eventually(|| begun.load(Ordering::Relaxed) == 300).await;
    for journey in &journeys {
        journey.abort();
    }
    drop(caller);
    eventually(|| load_test.stdout().len() == 300).await;
    for output in outputs(&load_test.stdout()) {
        assert_eq!((output.status, output.size), (0, -1));
        assert_eq!(output.error.as_deref(), Some("given up before its end"));
        assert!(output.duration > Duration::ZERO && output.duration < BOUND);
    }
    // It lives, and serves whoever comes.
    let next = load_test.caller().await;
    let journey = tokio::spawn(async move { trigger(&next).await });
    eventually(|| begun.load(Ordering::Relaxed) == 301).await;
    assert!(!journey.is_finished());
    assert!(load_test.end(Signal::SIGINT).status.success());
}

#[tokio::test]
async fn a_request_is_timed_until_its_bodys_last_byte() {
    const PAUSE: Duration = Duration::from_millis(200);
    let slow = Odd::start(|stream| {
        loop {
            read_request(stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").ok()?;
            thread::sleep(PAUSE);
            stream.write_all(b"3\r\nend\r\n0\r\n\r\n").ok()?;
        }
    });
    let load_test = LoadTest::start(&odd("", &format!("http://127.0.0.1:{}/", slow.port())));
    let response = trigger(&load_test.caller().await).await;
    let [output] = load_test.end(Signal::SIGTERM).outputs().try_into().unwrap();
    assert_eq!((output.status, output.size), (200, 7));
    assert!(output.duration >= PAUSE, "{output}");
    assert!(u128::from(response.duration) >= output.duration.as_nanos(), "the journey is longer than its request");
}

#[tokio::test]
async fn a_client_of_ones_own_is_asked_by() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let url = target.url("/").replace("127.0.0.1", "joe:secret@127.0.0.1");
    let load_test = LoadTest::start(&odd("own_client=yes", &url));
    assert!(!trigger(&load_test.caller().await).await.error);
    let [request] = target.requests().try_into().unwrap();
    assert!(request.head.iter().any(|line| line.eq_ignore_ascii_case("x-cats: 13")), "{request:?}");
    assert!(request.head.iter().any(|line| line.to_lowercase().starts_with("authorization: basic ")), "{request:?}");
    let [output] = load_test.end(Signal::SIGTERM).outputs().try_into().unwrap();
    assert_eq!(output.url, target.url("/"), "no password is printed");
}

#[tokio::test]
async fn an_agent_that_reads_no_more_breaks_nothing() {
    let nginx = Nginx::start();
    let load_test = LoadTest::start_unheard(&odd("steps=2", &nginx.url("/a")));
    let caller = load_test.caller().await;
    for response in join_all((0..50).map(|_| trigger(&caller))).await {
        assert!(!response.error, "{response:?}");
    }
    let ended = load_test.end(Signal::SIGTERM);
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(ended.stderr, Vec::<String>::new());
    assert_eq!(nginx.hits().iter().filter(|hit| hit.uri == "/a").count(), 100);
}

#[tokio::test]
async fn other_lines_are_left_as_they_are() {
    let load_test = LoadTest::start(&odd("half=hello steps=0", ""));
    assert!(!trigger(&load_test.caller().await).await.error);
    assert_eq!(load_test.end(Signal::SIGTERM).stdout, ["hello"]);
}

#[test]
fn an_end_leaves_no_socket() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut load_test = LoadTest::start(&odd("half=hello steps=0", ""));
        let socket = load_test.socket().to_owned();
        assert!(socket.exists());
        let folder = load_test.keep_folder();
        assert!(load_test.end(signal).status.success());
        assert!(!socket.exists());
        drop(folder);
    }
}

#[test]
fn who_cannot_listen_says_why() {
    #[track_caller]
    fn check(told: &str, expect: &str) {
        let ended = Ended::told(odd("half=hello steps=0", ""), told);
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(ended.stdout, Vec::<String>::new());
        assert!(ended.stderr.join("\n").contains(expect), "{:#?}", ended.stderr);
    }
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listening.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _taken = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let path = format!("unix:{}", path.display());
    check("9999", "CANIHAZ_RPC_ADDR can't be \"9999\": unix:/PATH, or HOST:PORT with a port from 1");
    check(&path, &format!("cannot listen on {path}: somebody else listens there"));
    check(&format!("unix:{}", folder.path().display()), "there is a file, and not a socket");
    check(&taken, &format!("cannot listen on {taken}: somebody else listens there"));
    check("no-such-host.invalid:80", "cannot listen on no-such-host.invalid:80");
}

async fn eventually(mut is: impl FnMut() -> bool) {
    tokio::time::timeout(BOUND, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it becomes true");
}
