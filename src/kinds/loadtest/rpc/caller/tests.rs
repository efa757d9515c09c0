use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use hyper::HeaderMap;
use nix::sys::socket::{Backlog, listen};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::*;
use crate::golo::ResponseTag;
use crate::kinds::loadtest::rpc::answers;
use crate::kinds::loadtest::rpc::grpc::MAX_ANSWER;
use crate::kinds::loadtest::rpc::lines::MAX_OPENING;

/// Any stream, as what serves has no use for its type.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}
type AnyStream = Pin<Box<dyn Stream>>;

/// Where connections come in.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A call that came in.
struct Call {
    body: RecvStream,
    respond: SendResponse<Bytes>,
}

/// What is counted at the receiver.
#[derive(Default)]
struct Seen {
    connections: Cell<usize>,
    calls: Cell<usize>,
    /// How many are being answered.
    now: Cell<usize>,
    something: Notify,
}

/// As the engine's threads do it: a runtime that has no timers.
fn on_an_engine_thread(test: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let outcome = LocalSet::new().block_on(&runtime, async { spawn_local(test).await });
    outcome.unwrap();
}

fn add(count: &Cell<usize>, n: usize) {
    count.set(count.get() + n);
}

impl Listener {
    fn unix(path: &Path) -> (Self, Address) {
        (Self::Unix(UnixListener::bind(path).unwrap()), Address::Unix(path.to_owned()))
    }

    async fn tcp() -> (Self, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self::Tcp(listener), Address::Tcp(address))
    }

    async fn accept(&self) -> AnyStream {
        match self {
            Self::Unix(listener) => Box::pin(listener.accept().await.unwrap().0),
            Self::Tcp(listener) => Box::pin(listener.accept().await.unwrap().0),
        }
    }

    /// The next connection, with its handshake done.
    async fn accept_http_2(&self, streams: u32) -> Connection<AnyStream, Bytes> {
        let stream = self.accept().await;
        Builder::new().max_concurrent_streams(streams).handshake(stream).await.unwrap()
    }

    /// Serves until it is aborted: each call is a task that does `answer`.
    fn serve<F: Future<Output = ()> + 'static>(
        self,
        streams: u32,
        seen: &Rc<Seen>,
        answer: impl Fn(Call) -> F + Clone + 'static,
    ) -> JoinHandle<()> {
        let seen = Rc::clone(seen);
        spawn_local(async move {
            // Aborted with this one.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let mut connection = self.accept_http_2(streams).await;
                add(&seen.connections, 1);
                let (seen, answer) = (Rc::clone(&seen), answer.clone());
                connections.spawn_local(async move {
                    let here = Rc::new(Cell::new(0));
                    while let Some(Ok(call)) = connection.accept().await {
                        add(&seen.calls, 1);
                        let (seen, here, answer) = (Rc::clone(&seen), Rc::clone(&here), answer.clone());
                        spawn_local(async move {
                            add(&seen.now, 1);
                            add(&here, 1);
                            assert!(here.get() <= streams as usize);
                            seen.something.notify_one();
                            answer(Call::new(call)).await;
                            seen.now.set(seen.now.get() - 1);
                            here.set(here.get() - 1);
                            seen.something.notify_one();
                        });
                    }
                });
            }
        })
    }
}

impl Seen {
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.something.notified().await;
        }
    }
}

impl Call {
    fn new((request, respond): (Request<RecvStream>, SendResponse<Bytes>)) -> Self {
        let (head, body) = request.into_parts();
        assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/golo.Job/Trigger"));
        assert_eq!([&head.headers["te"], &head.headers["content-type"]], ["trailers", "application/grpc"]);
        Self { body, respond }
    }

    /// Which test it is for.
    async fn job(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(part) = self.body.data().await {
            said.extend_from_slice(&part.unwrap());
        }
        assert_eq!(said[..5], [0, 0, 0, 0, u8::try_from(said.len() - 5).unwrap()]);
        Context::decode(&said[5..]).unwrap().job_name
    }

    fn head(&mut self, status: u16, headers: &[(&'static str, &str)], end: bool) -> SendStream<Bytes> {
        let mut head = hyper::Response::new(());
        *head.status_mut() = status.try_into().unwrap();
        *head.headers_mut() = map(headers);
        self.respond.send_response(head, end).unwrap()
    }

    /// Says that and a status, all in order.
    fn answer(mut self, response: &Response) {
        let mut stream = self.head(200, &[("content-type", "application/grpc")], false);
        stream.send_data(framed(response), false).unwrap();
        stream.send_trailers(map(&[("grpc-status", "0")])).unwrap();
    }

    /// Waits until it is broken off.
    async fn broken_off(mut self) -> Code {
        poll_fn(|cx| self.respond.poll_reset(cx)).await.unwrap_or(Code::NO_ERROR)
    }
}

fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn framed(response: &Response) -> Bytes {
    let message = response.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

fn reason_of(result: Result<Response, Trouble>) -> (Reason, String) {
    let failure = Failure::from(result.unwrap_err());
    (failure.reason, failure.detail)
}

/// What becomes of one call that is answered so.
fn hear<F: Future<Output = ()> + 'static>(
    answer: impl Fn(Call) -> F + Clone + 'static,
    check: impl FnOnce(Result<Response, Trouble>) + 'static,
) {
    on_an_engine_thread(async move {
        let (listener, address) = Listener::tcp().await;
        let seen = Rc::default();
        let serving = listener.serve(100, &seen, answer);
        check(Caller::new(address, "job").trigger().await);
        assert_eq!(seen.calls.get(), 1);
        serving.abort();
    });
}

#[test]
fn an_answer_comes_back_over_either_socket() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        for (listener, address) in [Listener::unix(&folder.path().join("s")), Listener::tcp().await] {
            let seen = Rc::default();
            let serving = listener.serve(100, &seen, async |mut call| {
                let job_name = call.job().await;
                call.answer(&Response { id: String::from("x"), job_name, duration: 7, ..Response::default() });
            });
            let caller = Caller::new(address, "shop.böse");
            for _ in 0..3 {
                let response = caller.trigger().await.unwrap();
                assert_eq!((&*response.id, &*response.job_name, response.duration), ("x", "shop.böse", 7));
                assert_eq!(failure_of(&response), None);
            }
            assert_eq!((seen.connections.get(), seen.calls.get()), (1, 3));
            serving.abort();
        }
    });
}

#[test]
fn a_journey_fails_for_the_reason_that_the_load_test_names() {
    #[track_caller]
    fn check(tags: &[(&str, &str)], output: &str, expect: (Reason, &str)) {
        let tags = tags.iter().map(|(key, value)| ResponseTag { key: (*key).into(), value: (*value).into() });
        let said = Response { error: true, output: output.into(), tags: tags.collect(), ..Response::default() };
        let failure = failure_of(&said).unwrap();
        assert_eq!((failure.reason, failure.detail.as_str()), expect);
        assert_eq!(failure_of(&Response { error: false, ..said }), None);
    }
    check(&[], "no basket\n", (Reason::Other, "\"no basket\""));
    check(&[("url", "/"), ("reason", "panic")], "boom", (Reason::Panic, "\"boom\""));
    check(&[("reason", "status")], "", (Reason::Status, "the load test did not say why"));
    check(&[("reason", "weather")], "a\x07", (Reason::Other, "\"a\\u{7}\""));
    let long = format!("\"{}…\"", "x".repeat(200));
    check(&[("REASON", "panic")], &"x".repeat(10_000), (Reason::Other, &long));
}

#[test]
fn a_status_other_than_ok_is_told_with_its_message() {
    async fn unknown(mut call: Call) {
        let said = [
            ("content-type", "application/grpc"),
            ("grpc-status", "2"),
            ("grpc-message", "Exception calling application: %22b%C3%B6se%22"),
        ];
        call.head(200, &said, true);
    }
    async fn late(mut call: Call) {
        let mut stream = call.head(200, &[("content-type", "application/grpc+proto")], false);
        stream.send_trailers(map(&[("grpc-status", "4")])).unwrap();
    }
    hear(unknown, |result| {
        let expect = "gRPC status 2 (Unknown): \"Exception calling application: \\\"böse\\\"\"";
        assert_eq!(reason_of(result), (Reason::Other, String::from(expect)));
    });
    hear(late, |result| {
        assert_eq!(reason_of(result), (Reason::Timeout, String::from("gRPC status 4 (DeadlineExceeded)")));
    });
}

#[test]
fn an_answer_that_is_no_grpc_is_of_another_protocol() {
    #[track_caller]
    fn check<F: Future<Output = ()> + 'static>(answer: impl Fn(Call) -> F + Clone + 'static, expect: &'static str) {
        hear(answer, move |result| assert_eq!(reason_of(result), (Reason::Protocol, String::from(expect))));
    }
    check(async |mut call| drop(call.head(404, &[], true)), "HTTP status 404 where gRPC has 200");
    check(
        async |mut call| drop(call.head(200, &[("content-type", "text/html")], true)),
        "an answer whose content-type isn't application/grpc",
    );
    check(
        async |mut call| {
            let mut stream = call.head(200, &[("content-type", "application/grpc")], false);
            stream.send_data(framed(&Response::default()), true).unwrap();
        },
        "an answer without a gRPC status",
    );
    check(
        async |mut call| drop(call.head(200, &[("content-type", "application/grpc"), ("grpc-status", "0")], true)),
        "an answer whose message isn't there",
    );
    check(
        async |mut call| {
            let mut stream = call.head(200, &[("content-type", "application/grpc")], false);
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x02garbage"), false).unwrap();
            stream.send_trailers(map(&[("grpc-status", "0")])).unwrap();
        },
        "an answer whose message isn't as long as it says, or not the only one",
    );
}

#[test]
fn an_answer_that_is_too_large_is_not_kept() {
    fn answered(output: usize) -> impl Fn(Call) -> Pin<Box<dyn Future<Output = ()>>> + Clone {
        move |call| {
            Box::pin(async move { call.answer(&Response { output: "x".repeat(output), ..Response::default() }) })
        }
    }
    hear(answered(MAX_ANSWER - 5), |result| assert_eq!(result.unwrap().output.len(), MAX_ANSWER - 5));
    hear(answered(MAX_ANSWER), |result| {
        let expect = "the answer has more than 4194304 bytes, the most that is read";
        assert_eq!(reason_of(result), (Reason::Body, String::from(expect)));
    });
}

#[test]
fn as_many_connections_are_opened_as_the_calls_in_flight_need() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = Listener::unix(&folder.path().join("s"));
        let (seen, all_here) = (Rc::<Seen>::default(), Rc::new(Notify::new()));
        let answered = Rc::clone(&all_here);
        let serving = listener.serve(10, &seen, move |call: Call| {
            let answered = Rc::clone(&answered);
            async move {
                answered.notified().await;
                call.answer(&Response::default());
            }
        });
        let caller = Rc::new(Caller::new(address, "job"));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let caller = Rc::clone(&caller);
            calls.spawn_local(async move { caller.trigger().await });
        }
        seen.until(|seen| seen.now.get() == 100).await;
        assert_eq!(seen.connections.get(), 10);
        // The next ones find no place, and get those that become free first.
        for _ in 0..10 {
            let caller = Rc::clone(&caller);
            calls.spawn_local(async move { caller.trigger().await });
        }
        seen.until(|seen| seen.now.get() == 110).await;
        all_here.notify_waiters();
        while let Some(answer) = calls.join_next().await {
            answer.unwrap().unwrap();
        }
        assert_eq!((seen.connections.get(), seen.calls.get()), (11, 110));
        serving.abort();
    });
}

#[test]
fn a_hit_that_waits_takes_the_first_place_that_becomes_free() {
    on_an_engine_thread(async {
        let (listener, address) = Listener::tcp().await;
        let caller = Rc::new(Caller::new(address, "job"));
        let trigger = || {
            let caller = Rc::clone(&caller);
            spawn_local(async move { caller.trigger().await })
        };
        let first = trigger();
        let mut connection = listener.accept_http_2(1).await;
        let call = Call::new(connection.accept().await.unwrap().unwrap());
        let second = trigger();
        // The second connection is there, but nothing is said on it.
        let _silent = listener.accept().await;
        call.answer(&Response::default());
        let call = Call::new(connection.accept().await.unwrap().unwrap());
        first.await.unwrap().unwrap();
        call.answer(&Response::default());
        let serving = spawn_local(async move { while connection.accept().await.is_some() {} });
        second.await.unwrap().unwrap();
        serving.abort();
    });
}

#[test]
fn a_call_that_is_dropped_is_broken_off_and_no_other() {
    on_an_engine_thread(async {
        let (listener, address) = Listener::tcp().await;
        let (seen, codes) = (Rc::<Seen>::default(), Rc::new(RefCell::new(Vec::new())));
        let (heard, go_on) = (Rc::clone(&codes), Rc::new(Notify::new()));
        let answered = Rc::clone(&go_on);
        let serving = listener.serve(100, &seen, move |mut call: Call| {
            let (heard, answered) = (Rc::clone(&heard), Rc::clone(&answered));
            async move {
                let reset = poll_fn(|cx| call.respond.poll_reset(cx));
                tokio::select! {
                    code = reset => heard.borrow_mut().push(code.unwrap()),
                    () = answered.notified() => call.answer(&Response::default()),
                }
            }
        });
        let caller = Rc::new(Caller::new(address, "job"));
        let mut calls = Vec::new();
        for _ in 0..3 {
            let caller = Rc::clone(&caller);
            calls.push(spawn_local(async move { caller.trigger().await }));
        }
        seen.until(|seen| seen.now.get() == 3).await;
        calls.pop().unwrap().abort();
        seen.until(|seen| seen.now.get() == 2).await;
        assert_eq!(*codes.borrow(), [Code::CANCEL]);
        go_on.notify_waiters();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!((seen.connections.get(), seen.calls.get()), (1, 3));
        serving.abort();
    });
}

#[test]
fn a_hit_that_gives_up_while_it_waits_leaves_its_place_to_others() {
    on_an_engine_thread(async {
        let (listener, address) = Listener::tcp().await;
        let caller = Rc::new(Caller::new(address, "job"));
        let trigger = || {
            let caller = Rc::clone(&caller);
            spawn_local(async move { caller.trigger().await })
        };
        let (first, second) = (trigger(), trigger());
        let stream = listener.accept().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let mut connection: Connection<_, Bytes> = Builder::new().handshake(stream).await.unwrap();
        Call::new(connection.accept().await.unwrap().unwrap()).answer(&Response::default());
        let serving = spawn_local(async move { while connection.accept().await.is_some() {} });
        second.await.unwrap().unwrap();
        serving.abort();
    });
}

#[test]
fn connections_end_with_their_caller() {
    on_an_engine_thread(async {
        let (listener, address) = Listener::tcp().await;
        let caller = Caller::new(address, "job");
        let serving = async {
            let mut connection = listener.accept_http_2(100).await;
            Call::new(connection.accept().await.unwrap().unwrap()).answer(&Response::default());
            connection
        };
        let (mut connection, ()) = tokio::join!(
            async {
                let mut connection = serving.await;
                // Says what is to be said, until the caller is gone.
                while let Some(Ok(_)) = connection.accept().await {}
                connection
            },
            async {
                caller.trigger().await.unwrap();
                drop(caller);
            }
        );
        assert!(poll_fn(|cx| connection.poll_closed(cx)).await.is_ok());
    });
}

#[test]
fn a_program_that_dies_in_the_midst_of_a_call_has_had_it() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = Listener::unix(&folder.path().join("s"));
        let seen = Rc::<Seen>::default();
        let serving = listener.serve(100, &seen, async |call: Call| _ = call.broken_off().await);
        let caller = Rc::new(Caller::new(address, "job"));
        let call = spawn_local({
            let caller = Rc::clone(&caller);
            async move { caller.trigger().await }
        });
        seen.until(|seen| seen.now.get() == 1).await;
        serving.abort();
        let (reason, detail) = reason_of(call.await.unwrap());
        assert_eq!(reason, Reason::Other, "{detail}");
        assert!(detail.starts_with("the connection ended without an answer: "), "{detail}");
        // It is not called again, and while nobody listens a hit fails at once.
        assert_eq!(seen.calls.get(), 1);
        let (reason, detail) = reason_of(caller.trigger().await);
        assert_eq!(reason, Reason::Connect, "{detail}");
        assert!(detail.contains("nobody takes calls at unix:/"), "{detail}");
    });
}

#[test]
fn a_program_that_was_started_again_is_found_by_the_next_hit() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let seen = Rc::<Seen>::default();
        let caller = Caller::new(Address::Unix(path.clone()), "job");
        for starts in 1..=3 {
            let (listener, _) = Listener::unix(&path);
            let serving = listener.serve(100, &seen, async |call: Call| call.answer(&Response::default()));
            caller.trigger().await.unwrap();
            caller.trigger().await.unwrap();
            assert_eq!((seen.connections.get(), seen.calls.get()), (starts, 2 * starts));
            serving.abort();
            serving.await.unwrap_err();
            std::fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn a_call_of_which_nothing_was_written_is_made_anew() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = Listener::unix(&folder.path().join("s"));
        let caller = Caller::new(address, "job");
        let one_answer = async || {
            let mut trigger = std::pin::pin!(caller.trigger());
            let mut connection = tokio::select! {
                biased;
                answer = &mut trigger => panic!("{answer:?}"),
                connection = listener.accept_http_2(100) => connection,
            };
            loop {
                tokio::select! {
                    biased;
                    answer = &mut trigger => break answer.map(|_| connection),
                    call = connection.accept() => Call::new(call.unwrap().unwrap()).answer(&Response::default()),
                }
            }
        };
        let connection = one_answer().await.unwrap();
        // Nobody has looked at the connection since it has ended, when the next call is begun on it.
        drop(connection);
        let _connection = one_answer().await.unwrap();
    });
}

/// Answers the calls of each connection as told, one after the other, and leaves them alone after that.
fn left(plan: Vec<Vec<Leave>>, check: impl FnOnce(Vec<Result<Response, Trouble>>) + 'static) {
    on_an_engine_thread(async move {
        let (listener, address) = Listener::tcp().await;
        let calls: usize = 3;
        let serving = spawn_local(async move {
            let mut rest = Vec::new();
            for plan in plan {
                let mut plan = VecDeque::from(plan);
                let mut connection = listener.accept_http_2(100).await;
                while let Some(leave) = plan.pop_front() {
                    let mut call = Call::new(connection.accept().await.unwrap().unwrap());
                    match leave {
                        Leave::After => {
                            call.answer(&Response::default());
                            connection.graceful_shutdown();
                        }
                        Leave::Refusing => call.respond.send_reset(Code::REFUSED_STREAM),
                        Leave::Broken(code) => call.respond.send_reset(code),
                        Leave::Not => call.answer(&Response::default()),
                    }
                }
                rest.push(spawn_local(async move { while connection.accept().await.is_some() {} }));
            }
            std::future::pending::<()>().await;
        });
        let caller = Caller::new(address, "job");
        let mut heard = Vec::new();
        for _ in 0..calls {
            heard.push(caller.trigger().await);
        }
        check(heard);
        serving.abort();
    });
}

enum Leave {
    After,
    Refusing,
    Broken(Code),
    Not,
}

#[test]
fn a_program_that_leaves_in_peace_costs_no_hit() {
    let plan = vec![vec![Leave::After], vec![Leave::After], vec![Leave::Not]];
    left(plan, |heard| assert!(heard.iter().all(Result::is_ok), "{heard:?}"));
}

#[test]
fn a_call_that_is_refused_is_made_once_more_over_another_connection() {
    use Leave::{Not, Refusing};
    left(vec![vec![Refusing], vec![Not, Refusing], vec![Refusing], vec![Not]], |heard| {
        let [first, second, third] = heard.try_into().unwrap();
        assert!(first.is_ok() && third.is_ok());
        assert_eq!(reason_of(second).0, Reason::Other);
    });
}

/// Serves as a program does whose handlers don't heed that a call was broken off: it has its place for good, and what
/// comes beyond `streams` is refused.
fn serve_heedless(listener: Listener, streams: usize, seen: &Rc<Seen>, go_on: &Rc<Notify>) -> JoinHandle<()> {
    let (seen, go_on) = (Rc::clone(seen), Rc::clone(go_on));
    spawn_local(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let mut connection = listener.accept_http_2(u32::try_from(streams).unwrap()).await;
            add(&seen.connections, 1);
            let (seen, go_on) = (Rc::clone(&seen), Rc::clone(&go_on));
            connections.spawn_local(async move {
                let here = Rc::new(Cell::new(0));
                while let Some(Ok(call)) = connection.accept().await {
                    let mut call = Call::new(call);
                    add(&seen.calls, 1);
                    if here.get() == streams {
                        call.respond.send_reset(Code::REFUSED_STREAM);
                        continue;
                    }
                    add(&here, 1);
                    let (seen, here, go_on) = (Rc::clone(&seen), Rc::clone(&here), Rc::clone(&go_on));
                    spawn_local(async move {
                        add(&seen.now, 1);
                        seen.something.notify_one();
                        tokio::select! {
                            _ = poll_fn(|cx| call.respond.poll_reset(cx)) => {}
                            () = go_on.notified() => {
                                call.answer(&Response::default());
                                here.set(here.get() - 1);
                            }
                        }
                        seen.now.set(seen.now.get() - 1);
                        seen.something.notify_one();
                    });
                }
                seen.connections.set(seen.connections.get() - 1);
                seen.something.notify_one();
            });
        }
    })
}

#[test]
fn places_that_a_program_has_not_freed_yet_cost_no_call() {
    #[track_caller]
    fn check(limit: usize, lines: usize, dropped_on_each: usize, more: usize) {
        on_an_engine_thread(async move {
            let folder = tempfile::tempdir().unwrap();
            let (listener, address) = Listener::unix(&folder.path().join("s"));
            let (seen, go_on) = (Rc::<Seen>::default(), Rc::new(Notify::new()));
            let serving = serve_heedless(listener, limit, &seen, &go_on);
            let caller = Rc::new(Caller::new(address, "job"));
            let trigger = || {
                let caller = Rc::clone(&caller);
                spawn_local(async move { caller.trigger().await })
            };
            // They wait in turn, so each so many in a row are on one connection.
            let calls: Vec<_> = (0..limit * lines).map(|_| trigger()).collect();
            seen.until(|seen| seen.now.get() == limit * lines).await;
            assert_eq!(seen.connections.get(), lines);
            let (dropped, kept): (Vec<_>, Vec<_>) =
                calls.into_iter().enumerate().partition(|(at, _)| at % limit < dropped_on_each);
            for (_, call) in dropped {
                call.abort();
            }
            seen.until(|seen| seen.now.get() == kept.len()).await;
            let mut others = tokio::task::JoinSet::new();
            for _ in 0..more {
                others.spawn_local(trigger());
            }
            tokio::select! {
                () = seen.until(|seen| seen.now.get() == kept.len() + more) => {}
                ended = others.join_next() => panic!("{ended:?}"),
            }
            // What has no call any more, and takes none, is closed.
            let still = if kept.is_empty() { 0 } else { lines };
            seen.until(|seen| seen.connections.get() == still + more.div_ceil(limit)).await;
            go_on.notify_waiters();
            for (_, call) in kept {
                call.await.unwrap().unwrap();
            }
            while let Some(answer) = others.join_next().await {
                answer.unwrap().unwrap().unwrap();
            }
            serving.abort();
        });
    }
    check(1, 1, 1, 1);
    check(1, 1, 1, 2);
    // However many have such places, as after a stall that broke off every call.
    check(1, 10, 1, 1);
    check(10, 10, 10, 1);
    check(10, 10, 1, 1);
    check(10, 10, 1, 10);
    check(10, 10, 3, 35);
}

#[test]
fn more_connections_are_opened_than_a_listener_keeps_waiting() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = Listener::unix(&folder.path().join("s"));
        let Listener::Unix(socket) = &listener else { unreachable!() };
        listen(socket, Backlog::new(i32::try_from(MAX_OPENING).unwrap()).unwrap()).unwrap();
        let seen = Rc::<Seen>::default();
        let serving = listener.serve(1, &seen, async |call: Call| call.answer(&Response::default()));
        let caller = Rc::new(Caller::new(address, "job"));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let caller = Rc::clone(&caller);
            calls.spawn_local(async move { caller.trigger().await });
        }
        while let Some(answer) = calls.join_next().await {
            answer.unwrap().unwrap();
        }
        serving.abort();
    });
}

#[test]
fn a_call_that_is_broken_off_is_not_made_again() {
    let plan = vec![vec![Leave::Broken(Code::PROTOCOL_ERROR), Leave::Broken(Code::INTERNAL_ERROR), Leave::Not]];
    left(plan, |heard| {
        let [first, second, third] = heard.try_into().unwrap();
        assert_eq!([first, second].map(|heard| reason_of(heard).0), [Reason::Protocol, Reason::Other]);
        assert!(third.is_ok());
    });
}

/// What a probe and a call make of somebody who says that, and closes the connection.
fn say(said: &'static [u8], expect_reason: Reason, expect: &'static str) {
    on_an_engine_thread(async move {
        let (listener, address) = Listener::tcp().await;
        let serving = spawn_local(async move {
            loop {
                let mut stream = listener.accept().await;
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                stream.write_all(said).await.unwrap();
                stream.shutdown().await.unwrap();
                // It reads on, so that what it has said isn't lost.
                spawn_local(async move { while stream.read(&mut preface).await.is_ok_and(|read| read > 0) {} });
            }
        });
        let probed = answers(&address).await.unwrap_err().to_string();
        assert!(probed.contains(expect), "{probed}");
        let (reason, detail) = reason_of(Caller::new(address, "job").trigger().await);
        assert_eq!((reason, detail), (expect_reason, probed));
        serving.abort();
    });
}

#[test]
fn who_speaks_another_protocol_is_told_so() {
    say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Reason::Protocol, "speaks HTTP/1, not gRPC");
    say(b"220 mail.example.org ESMTP, and what else one says there\r\n", Reason::Protocol, "speaks no good HTTP/2");
    say(b"\0\0\0\x01\0\0\0\0\0", Reason::Protocol, "speaks no good HTTP/2");
    say(b"", Reason::Connect, "has closed the connection unasked");
}

#[test]
fn a_probe_finds_who_answers() {
    on_an_engine_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let nobody = answers(&Address::Unix(path.clone())).await.unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);
        let (listener, address) = Listener::unix(&path);
        let seen = Rc::default();
        let serving = listener.serve(100, &seen, async |call: Call| call.answer(&Response::default()));
        answers(&address).await.unwrap();
        assert_eq!(seen.calls.get(), 0);
        serving.abort();
        serving.await.unwrap_err();
        let refused = answers(&address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_says_nothing_is_waited_for_as_long_as_the_caller_likes() {
    on_an_engine_thread(async {
        let (listener, address) = Listener::tcp().await;
        let caller = Caller::new(address.clone(), "job");
        let mut preface = [0; 24];
        let mut heard = async |stream: &mut AnyStream| stream.read_exact(&mut preface).await.unwrap();
        tokio::select! {
            answered = answers(&address) => panic!("{answered:?}"),
            _ = async { heard(&mut listener.accept().await).await } => {}
        }
        let mut stream = tokio::select! {
            answered = caller.trigger() => panic!("{answered:?}"),
            stream = async {
                let mut stream = listener.accept().await;
                heard(&mut stream).await;
                stream
            } => stream,
        };
        // What is being opened is there for the next hit; it goes with the caller.
        tokio::select! {
            biased;
            answered = caller.trigger() => panic!("{answered:?}"),
            () = std::future::ready(()) => {}
        }
        drop(caller);
        while stream.read(&mut preface).await.is_ok_and(|read| read > 0) {}
    });
}
