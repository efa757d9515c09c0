//! Hits on little servers that speak HTTP/2 frame by frame, right or wrong.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Condvar, Mutex};
use std::task::Poll;

use futures_util::future::join_all;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const HTTP_1_1_REQUIRED: u32 = 13;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:status: 200`, as HPACK has it.
const STATUS_200: &[u8] = &[0x88];
const PRIOR: &str = "http2 = \"prior-knowledge\"\n";

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The server's side of a connection.
struct Peer<S> {
    io: S,
    /// Frames that were read while others were looked for.
    early: VecDeque<Frame>,
}

impl<S: Read + Write> Peer<S> {
    /// Hears the other side's hello; `None` when there is none.
    fn hear(mut io: S) -> Option<Self> {
        let mut preface = [0; PREFACE.len()];
        io.read_exact(&mut preface).ok()?;
        assert_eq!(preface, PREFACE);
        Some(Self { io, early: VecDeque::new() })
    }

    /// Says hello, too, and how many streams there may be.
    fn greet(io: S, streams: Option<u32>) -> Option<Self> {
        let mut peer = Self::hear(io)?;
        peer.settings(streams)?;
        Some(peer)
    }

    fn settings(&mut self, streams: Option<u32>) -> Option<()> {
        let streams = streams.map_or(Vec::new(), |most| [[0, 3].as_slice(), &most.to_be_bytes()].concat());
        self.send(SETTINGS, 0, 0, &streams)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.io.write_all(&[&head, payload].concat()).ok()
    }

    /// The next frame, once those that ask for an answer have got it; `None` at the end.
    fn read(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.io.read_exact(&mut head).ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.io.read_exact(&mut payload).ok()?;
            match kind {
                SETTINGS | PING if flags & ACK == 0 => {
                    let back = if kind == PING { payload.as_slice() } else { &[] };
                    self.send(kind, ACK, 0, back)?;
                }
                _ => return Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload }),
            }
        }
    }

    /// The next frame of a kind.
    fn next(&mut self, kind: u8) -> Option<Frame> {
        if let Some(at) = self.early.iter().position(|frame| frame.kind == kind) {
            return self.early.remove(at);
        }
        loop {
            match self.read()? {
                frame if frame.kind == kind => return Some(frame),
                frame => self.early.push_back(frame),
            }
        }
    }

    /// The stream of the next request.
    fn request(&mut self) -> Option<u32> {
        self.next(HEADERS).map(|frame| frame.stream)
    }

    /// `ok`.
    fn answer(&mut self, stream: u32) -> Option<()> {
        self.send(HEADERS, END_HEADERS, stream, STATUS_200)?;
        self.send(DATA, END_STREAM, stream, b"ok")
    }

    fn reset(&mut self, stream: u32, code: u32) -> Option<()> {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    fn go_away(&mut self, last: u32, code: u32) -> Option<()> {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// Reads until the other side ends it.
    fn wait_for_end(&mut self) -> Option<()> {
        while self.read().is_some() {}
        Some(())
    }
}

/// A header that HPACK neither knows nor keeps.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        // Lengths from 127 on continue, seven bits a byte.
        let mut length = vec![u8::try_from(text.len().min(127)).unwrap()];
        if let Some(mut rest) = text.len().checked_sub(127) {
            while rest >= 128 {
                length.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            length.push(u8::try_from(rest).unwrap());
        }
        [&length, text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

/// Serves connections side by side, each with its number.
fn peers(
    streams: Option<u32>,
    serve: impl Fn(usize, &mut Peer<TcpStream>) -> Option<()> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let serve = Arc::new(serve);
    server(move |number, stream| {
        let serve = Arc::clone(&serve);
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || Peer::greet(stream, streams).and_then(|mut peer| serve(number, &mut peer)));
    })
}

fn prior(address: SocketAddr, text: &str) -> HttpTarget {
    target(address, &format!("{PRIOR}{text}"))
}

#[tokio::test]
async fn answers_and_what_they_are_counted_as() {
    type Answer = fn(&mut Peer<TcpStream>, u32) -> Option<()>;
    async fn check(name: &str, answer: Answer, text: &str, expect: Option<Reason>) {
        let (address, _) = peers(None, move |_, peer| {
            loop {
                let stream = peer.request()?;
                answer(peer, stream)?;
            }
        });
        let outcome = prior(address, text).hit(0).await;
        assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), expect, "{name}: {outcome:?}");
        if let Some(failure) = outcome.failure {
            println!("{name}: {failure}");
        }
    }
    fn begin(peer: &mut Peer<TcpStream>, stream: u32, more: &[u8]) -> Option<()> {
        peer.send(HEADERS, END_HEADERS, stream, &[STATUS_200, more].concat())
    }

    check("ok", Peer::answer, "expect = { body = \"ok\", body_max = 2 }", None).await;
    check("no body", |peer, id| peer.send(HEADERS, END_HEADERS | END_STREAM, id, STATUS_200), "", None).await;
    let hints: Answer = |peer, id| {
        peer.send(HEADERS, END_HEADERS, id, &header(":status", "103"))?;
        peer.answer(id)
    };
    check("early hints", hints, "", None).await;
    let trailers: Answer = |peer, id| {
        begin(peer, id, &[])?;
        peer.send(DATA, 0, id, b"ok")?;
        peer.send(HEADERS, END_HEADERS | END_STREAM, id, &header("a", "b"))
    };
    check("trailers", trailers, "expect = { body = \"ok\" }", None).await;
    let parts: Answer = |peer, id| {
        begin(peer, id, &[])?;
        [&b"nee"[..], b"", b"dle"].into_iter().try_for_each(|part| peer.send(DATA, 0, id, part))?;
        peer.send(DATA, END_STREAM, id, b"")
    };
    check("text across frames", parts, "expect = { body = \"needle\" }", None).await;
    let to_head: Answer = |peer, id| {
        peer.send(HEADERS, END_HEADERS | END_STREAM, id, &[STATUS_200, &header("content-length", "9")].concat())
    };
    check("head", to_head, "method = \"HEAD\"", None).await;
    let long: Answer = |peer, id| {
        let block = [STATUS_200, &header("a", &"x".repeat(30_000))].concat();
        peer.send(HEADERS, END_STREAM, id, &block[..16_000])?;
        peer.send(CONTINUATION, END_HEADERS, id, &block[16_000..])
    };
    check("long header", long, "", None).await;

    let status = Some(Reason::Status);
    let missing: Answer = |peer, id| peer.send(HEADERS, END_HEADERS | END_STREAM, id, &header(":status", "404"));
    check("not found", missing, "", status).await;
    check("not as listed", Peer::answer, "expect = { status = [201] }", status).await;

    let body = Some(Reason::Body);
    check("other text", Peer::answer, "expect = { body = \"no\" }", body).await;
    check("too large", Peer::answer, "expect = { body_max = 1 }", body).await;
    let endless: Answer = |peer, id| {
        begin(peer, id, &[])?;
        loop {
            peer.send(DATA, 0, id, &[b'x'; 4096])?;
        }
    };
    check("endless", endless, "expect = { body_max = \"1MiB\" }", body).await;
    let short: Answer = |peer, id| {
        begin(peer, id, &header("content-length", "3"))?;
        peer.send(DATA, END_STREAM, id, b"ok")
    };
    check("too short", short, "", body).await;
    let too_long: Answer = |peer, id| {
        begin(peer, id, &header("content-length", "1"))?;
        peer.send(DATA, END_STREAM, id, b"ok")
    };
    check("too long", too_long, "", body).await;
    let reset: Answer = |peer, id| {
        begin(peer, id, &[])?;
        peer.send(DATA, 0, id, b"o")?;
        peer.reset(id, INTERNAL_ERROR)
    };
    check("reset in the body", reset, "", body).await;
    let leaving: Answer = |peer, id| {
        begin(peer, id, &[])?;
        peer.go_away(id, PROTOCOL_ERROR)?;
        None
    };
    check("GOAWAY and the end in the body", leaving, "", body).await;
    let closing: Answer = |peer, id| begin(peer, id, &[]).and(None);
    check("closed in the body", closing, "", body).await;
    check("wrong and cut off", closing, "expect = { status = [201] }", status).await;

    let protocol = Some(Reason::Protocol);
    check("RST_STREAM: PROTOCOL_ERROR", |peer, id| peer.reset(id, PROTOCOL_ERROR), "", protocol).await;
    check("RST_STREAM: HTTP_1_1_REQUIRED", |peer, id| peer.reset(id, HTTP_1_1_REQUIRED), "", protocol).await;
    check("GOAWAY in anger", |peer, _| peer.go_away(0, PROTOCOL_ERROR), "", protocol).await;
    check("GOAWAY in anger at it", |peer, id| peer.go_away(id, PROTOCOL_ERROR).and(None), "", protocol).await;
    check("no frame", |peer, _| peer.send(DATA, 0, 0, b"ok"), "", protocol).await;
    check("body before the head", |peer, id| peer.send(DATA, END_STREAM, id, b"ok"), "", protocol).await;
    check("no status", |peer, id| peer.send(HEADERS, END_HEADERS, id, &header("a", "b")), "", protocol).await;
    check("no HPACK", |peer, id| peer.send(HEADERS, END_HEADERS, id, &[0xff; 64]), "", protocol).await;
    let too_long: Answer = |peer, id| {
        let block = [STATUS_200, &header("a", &"x".repeat(100_000))].concat();
        peer.send(HEADERS, END_STREAM, id, &block[..16_000])?;
        let mut rest = block[16_000..].chunks(16_000).peekable();
        while let Some(part) = rest.next() {
            peer.send(CONTINUATION, if rest.peek().is_none() { END_HEADERS } else { 0 }, id, part)?;
        }
        Some(())
    };
    check("head too large", too_long, "", protocol).await;
    let endless: Answer = |peer, id| {
        peer.send(HEADERS, 0, id, STATUS_200)?;
        loop {
            peer.send(CONTINUATION, 0, id, &header("a", &"x".repeat(8000)))?;
        }
    };
    check("endless head", endless, "", protocol).await;

    let other = Some(Reason::Other);
    check("RST_STREAM: CANCEL", |peer, id| peer.reset(id, CANCEL), "", other).await;
    check("RST_STREAM: INTERNAL_ERROR", |peer, id| peer.reset(id, INTERNAL_ERROR), "", other).await;
    check("RST_STREAM: REFUSED_STREAM", |peer, id| peer.reset(id, REFUSED_STREAM), "", other).await;
    check("GOAWAY in peace, every time", |peer, _| peer.go_away(0, NO_ERROR), "", other).await;
    check("GOAWAY in peace, and the end", |peer, id| peer.go_away(id, NO_ERROR).and(None), "", other).await;
    check("closed", |_, _| None, "", other).await;

    let timeout = Some(Reason::Timeout);
    check("silent", |_, _| Some(()), "timeout = \"50ms\"", timeout).await;
    let drip: Answer = |peer, id| {
        begin(peer, id, &[])?;
        loop {
            peer.send(DATA, 0, id, b"x")?;
            thread::sleep(Duration::from_millis(5));
        }
    };
    check("a drip", drip, "timeout = \"50ms\"", timeout).await;
}

#[tokio::test]
async fn servers_that_speak_something_else() {
    // What a server of HTTP/1.1 makes of the preface.
    for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "220 mail.example.com ESMTP\r\n"] {
        let (address, accepted) = server(move |_, mut stream| {
            read_head(&stream).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            wait_for_end(stream);
        });
        assert_failed(&prior(address, "").hit(0).await, Reason::Protocol);
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_failed(&prior(nobody, "").hit(0).await, Reason::Connect);
    let (silent, _) = server(|_, stream| wait_for_end(stream));
    assert_failed(&prior(silent, "timeout = \"20ms\"").hit(0).await, Reason::Timeout);
}

#[tokio::test]
async fn what_a_server_has_refused_is_sent_once_more() {
    for method in ["GET", "POST"] {
        // Over another connection, where it is answered; or refused again, which is the end of it.
        for (refusing, expect, asked) in [(1, None, 2), (9, Some(Reason::Other), 2)] {
            let count = Arc::new(AtomicUsize::new(0));
            let asked_there = Arc::clone(&count);
            let (address, accepted) = peers(None, move |number, peer| {
                loop {
                    let stream = peer.request()?;
                    asked_there.fetch_add(1, Ordering::SeqCst);
                    if number < refusing { peer.reset(stream, REFUSED_STREAM)? } else { peer.answer(stream)? }
                }
            });
            let outcome = prior(address, &format!("method = \"{method}\"")).hit(0).await;
            assert_eq!(outcome.failure.map(|failure| failure.reason), expect, "{method}");
            assert_eq!(count.load(Ordering::SeqCst), asked, "{method}");
            assert_eq!(accepted.load(Ordering::SeqCst), 2, "{method}");
        }
    }
}

#[tokio::test]
async fn a_server_that_leaves_in_peace_fails_no_hit_and_gets_each_once() {
    const A_CONNECTION: u32 = 7;
    let processed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&processed);
    let (address, _) = peers(None, move |_, peer| {
        let mut last = 0;
        for _ in 0..A_CONNECTION {
            last = peer.request()?;
        }
        // Leaves, and answers those that it has taken only then.
        peer.go_away(last, NO_ERROR)?;
        for taken in 0..A_CONNECTION {
            count.fetch_add(1, Ordering::SeqCst);
            peer.answer(2 * taken + 1)?;
        }
        // Closed at once, the requests that nobody reads would have it reset.
        peer.wait_for_end()
    });
    let target = prior(address, "method = \"POST\"");
    // All at once, of which each connection takes seven; then one after the other.
    for outcome in join_all((0..70).map(|number| target.hit(number))).await {
        assert_ok(&outcome);
    }
    assert_eq!(processed.load(Ordering::SeqCst), 70);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_fails_no_hit() {
    for (method, says_so) in [("GET", false), ("POST", false), ("POST", true)] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |_, stream| {
            let end = stream.try_clone().unwrap();
            let mut peer = Peer::greet(stream, None).unwrap();
            let id = peer.request().unwrap();
            peer.answer(id).unwrap();
            if says_so {
                peer.go_away(id, NO_ERROR).unwrap();
            }
            // Without a reset for what was not read.
            end.shutdown(std::net::Shutdown::Write).unwrap();
            tell.send(()).unwrap();
            peer.wait_for_end();
        });
        let target = prior(address, &format!("method = \"{method}\""));
        for number in 0..50 {
            assert_ok(&target.hit(number).await);
            told.recv().await.unwrap();
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 50, "{method}");
    }
}

#[tokio::test]
async fn only_what_is_idempotent_is_asked_again_over_an_idle_connection() {
    for (method, expect, asked) in [("GET", None, 3), ("POST", Some(Reason::Other), 2)] {
        let count = Arc::new(AtomicUsize::new(0));
        let asked_there = Arc::clone(&count);
        let (address, _) = peers(None, move |_, peer| {
            let id = peer.request()?;
            asked_there.fetch_add(1, Ordering::SeqCst);
            peer.answer(id)?;
            peer.request()?;
            asked_there.fetch_add(1, Ordering::SeqCst);
            None
        });
        let target = prior(address, &format!("method = \"{method}\""));
        assert_ok(&target.hit(0).await);
        let outcome = target.hit(1).await;
        assert_eq!(outcome.failure.map(|failure| failure.reason), expect, "{method}");
        assert_eq!(count.load(Ordering::SeqCst), asked, "{method}");
    }
}

/// Answers no request before so many are open, on however many connections.
fn answering_together(streams: Option<u32>, together: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let open = Arc::new((Mutex::new(0), Condvar::new()));
    peers(streams, move |_, peer| {
        let (count, changed) = &*open;
        // Streams that are open, as a client may open more at any time: one that reads, and one that answers.
        let (tell, told) = std::sync::mpsc::channel();
        let mut answering = Peer { io: peer.io.try_clone().unwrap(), early: VecDeque::new() };
        let open = Arc::clone(&open);
        thread::spawn(move || {
            let (count, changed) = &*open;
            for stream in told {
                let all = changed.wait_while(count.lock().unwrap(), |count| *count < together).unwrap();
                drop(all);
                if answering.answer(stream).is_none() {
                    return;
                }
            }
        });
        loop {
            let stream = peer.request()?;
            *count.lock().unwrap() += 1;
            changed.notify_all();
            tell.send(stream).ok()?;
        }
    })
}

#[tokio::test]
async fn a_thousand_hits_in_flight_take_a_few_connections() {
    for (streams, connections) in [(Some(128), 1..=10), (None, 1..=10), (Some(1000), 1..=10)] {
        let (address, accepted) = answering_together(streams, 1000);
        let target = prior(address, "");
        for outcome in join_all((0..1000).map(|number| target.hit(number))).await {
            assert_ok(&outcome);
        }
        let accepted = accepted.load(Ordering::SeqCst);
        assert!(connections.contains(&accepted), "{accepted} connections with {streams:?}");
    }
}

#[tokio::test]
async fn a_server_has_no_more_streams_than_it_takes() {
    const MOST: usize = 4;
    let together = Arc::new(AtomicUsize::new(0));
    let most_together = Arc::clone(&together);
    let (address, accepted) = peers(Some(4), move |_, peer| {
        let mut open = VecDeque::new();
        loop {
            if open.is_empty() {
                open.push_back(peer.request()?);
            }
            // What comes back behind all that was sent before.
            peer.send(PING, 0, 0, &[0; 8])?;
            peer.next(PING)?;
            while let Some(at) = peer.early.iter().position(|frame| frame.kind == HEADERS) {
                open.extend(peer.early.remove(at).map(|frame| frame.stream));
            }
            most_together.fetch_max(open.len(), Ordering::SeqCst);
            peer.answer(open.pop_front()?)?;
        }
    });
    let target = prior(address, "");
    // Has heard how many then; those that come before take what a server should take.
    assert_ok(&target.hit(0).await);
    for outcome in join_all((0..200).map(|number| target.hit(number))).await {
        assert_ok(&outcome);
    }
    assert_eq!(together.load(Ordering::SeqCst), MOST);
    assert!(accepted.load(Ordering::SeqCst) <= 200 / MOST, "{accepted:?}");
}

#[tokio::test]
async fn a_server_that_refuses_what_came_before_it_was_heard_fails_no_hit() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let serve = move |peer: &mut Peer<TcpStream>| -> Option<()> {
        let mut taken = vec![peer.request()?];
        peer.settings(Some(2))?;
        // What comes back behind all that was sent before.
        peer.send(PING, 0, 0, &[0; 8])?;
        peer.next(PING)?;
        while let Some(at) = peer.early.iter().position(|frame| frame.kind == HEADERS) {
            let stream = peer.early.remove(at)?.stream;
            if taken.len() < 2 {
                taken.push(stream);
            } else {
                count.fetch_add(1, Ordering::SeqCst);
                peer.reset(stream, REFUSED_STREAM)?;
            }
        }
        taken.into_iter().try_for_each(|stream| peer.answer(stream))?;
        loop {
            let stream = peer.request()?;
            peer.answer(stream)?;
        }
    };
    let serve = Arc::new(serve);
    let (address, _) = server(move |_, stream| {
        let serve = Arc::clone(&serve);
        thread::spawn(move || Peer::hear(stream).and_then(|mut peer| serve(&mut peer)));
    });
    let target = prior(address, "method = \"POST\"");
    for outcome in join_all((0..50).map(|number| target.hit(number))).await {
        assert_ok(&outcome);
    }
    assert_eq!(refused.load(Ordering::SeqCst), 48);
}

#[tokio::test]
async fn a_hit_that_is_dropped_ends_its_stream_and_nothing_else() {
    const DROPPED: usize = 3000;
    let resets = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&resets);
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, accepted) = peers(None, move |_, peer| {
        // The first one is answered once all the others were broken off.
        let first = peer.request()?;
        tell.send(()).ok()?;
        for _ in 0..DROPPED {
            let stream = peer.request()?;
            tell.send(()).ok()?;
            // Answers that come later than is remembered what was broken off are refused once more.
            loop {
                let reset = peer.next(RST_STREAM)?;
                if reset.payload == CANCEL.to_be_bytes() {
                    assert_eq!(reset.stream, stream);
                    break;
                }
            }
            count.fetch_add(1, Ordering::SeqCst);
            // Too late.
            peer.answer(stream)?;
        }
        peer.answer(first)?;
        let last = peer.request()?;
        peer.answer(last)?;
        peer.wait_for_end()
    });
    let target = prior(address, "");
    let mut first = std::pin::pin!(target.hit(0));
    tokio::select! {
        outcome = &mut first => panic!("it was answered: {outcome:?}"),
        asked = told.recv() => asked.unwrap(),
    }
    for number in 0..DROPPED {
        let hit = target.hit(1 + number as u64);
        tokio::select! {
            outcome = &mut first => panic!("it was answered: {outcome:?}"),
            outcome = hit => panic!("it was answered: {outcome:?}"),
            asked = told.recv() => asked.unwrap(),
        }
    }
    assert_ok(&first.await);
    assert_ok(&target.hit(9999).await);
    assert_eq!(resets.load(Ordering::SeqCst), DROPPED);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_last_hit_of_a_connection_breaks_off_its_stream_as_it_goes() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, _) = peers(None, move |_, peer| {
        peer.request()?;
        let reset = peer.next(RST_STREAM)?;
        tell.send(reset.payload).ok()
    });
    let target = prior(address, "timeout = \"50ms\"");
    assert_failed(&target.hit(0).await, Reason::Timeout);
    assert_eq!(told.recv().await.unwrap(), CANCEL.to_be_bytes());
}

/// Whether a hit isn't over, once polled.
async fn is_pending(hit: &mut (impl Future<Output = Outcome> + Unpin)) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *hit).poll(cx).is_pending())).await
}

#[tokio::test]
async fn who_waits_for_a_connection_goes_on_when_its_opener_does_not() {
    // The first handshake gets no answer.
    let (address, accepted, roots) = alpn_server(&["h2"], 1);
    let target = target_of(&format!("https://{address}/"), "", roots);
    let (mut opener, mut others) = (Box::pin(target.hit(0)), [1, 2, 3].map(|number| Box::pin(target.hit(number))));
    assert!(is_pending(&mut opener).await);
    for other in &mut others {
        assert!(is_pending(other).await);
    }
    drop(opener);
    for outcome in join_all(others).await {
        assert_ok(&outcome);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_waits_for_a_connection_that_cannot_be_had_fails_as_its_opener() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = prior(nobody, "");
    for outcome in join_all((0..500).map(|number| target.hit(number))).await {
        assert_failed(&outcome, Reason::Connect);
    }
}

#[tokio::test]
async fn a_connection_a_hit_where_asked() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, accepted) = peers(None, move |_, peer| {
        let id = peer.request()?;
        peer.answer(id)?;
        // Says goodbye.
        let left = peer.next(GOAWAY)?;
        tell.send(left.payload[4..8].to_vec()).ok()
    });
    let target = prior(address, "keep_alive = false");
    for number in 0..20 {
        assert_ok(&target.hit(number).await);
        assert_eq!(told.recv().await.unwrap(), NO_ERROR.to_be_bytes());
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 20);
}

/// Counts what goes through.
struct Counted {
    stream: TcpStream,
    moved: Arc<[AtomicU64; 2]>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.moved[0].fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.stream.write(buffer)?;
        self.moved[1].fetch_add(written as u64, Ordering::SeqCst);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

#[tokio::test]
async fn bodies_are_sent_whole_and_hits_together_count_every_byte() {
    const SIZE: usize = 200_000;
    const HITS: usize = 20;
    let moved = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let count = Arc::clone(&moved);
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, accepted) = server(move |_, stream| {
        let mut peer = Peer::greet(Counted { stream, moved: Arc::clone(&count) }, None).unwrap();
        let (mut bodies, mut answered) = (std::collections::BTreeMap::<u32, usize>::new(), 0);
        while answered < HITS {
            let frame = peer.read().unwrap();
            if frame.kind == DATA {
                assert!(frame.payload.iter().all(|byte| *byte == b'b'));
                let length = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                if !frame.payload.is_empty() {
                    peer.send(8, 0, 0, &length).unwrap();
                    peer.send(8, 0, frame.stream, &length).unwrap();
                }
                *bodies.entry(frame.stream).or_default() += frame.payload.len();
                if frame.flags & END_STREAM != 0 {
                    assert_eq!(bodies[&frame.stream], SIZE);
                    peer.answer(frame.stream).unwrap();
                    answered += 1;
                }
            }
        }
        peer.wait_for_end();
        tell.send(()).unwrap();
    });
    let target = prior(address, &format!("method = \"POST\"\nbody = \"{}\"", "b".repeat(SIZE)));
    let mut sum = [0, 0];
    for outcome in join_all((0..HITS as u64).map(|number| target.hit(number))).await {
        assert_ok(&outcome);
        sum = [sum[0] + outcome.bytes_out, sum[1] + outcome.bytes_in];
    }
    drop(target);
    told.recv().await.unwrap();
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert_eq!(sum, [&moved[0], &moved[1]].map(|count| count.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn many_large_answers_come_at_once() {
    // Three times what the connection's window holds, of which no stream's holds its part.
    let (address, _) = answering_large(7 << 20);
    let target = prior(address, &format!("expect = {{ body_max = {} }}", 7 << 20));
    for outcome in join_all((0..7).map(|number| target.hit(number))).await {
        assert_ok(&outcome);
    }
}

/// Answers each request with so large a body, by h2's own server, as that minds windows.
fn answering_large(size: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    server(move |_, stream| {
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let mut connection = ::h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
                    body.reserve_capacity(size);
                    body.send_data(bytes::Bytes::from(vec![b'x'; size]), true).unwrap();
                }
            });
        });
    })
}

/// Speaks TLS and offers these protocols: HTTP/2 where that is agreed on, else HTTP/1.1. On the first `mute` connections
/// it says nothing.
fn alpn_server(offers: &'static [&'static str], mute: usize) -> (SocketAddr, Arc<AtomicUsize>, RootCertStore) {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("../../../../tests/data/tls/localhost.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../../tests/data/tls/localhost.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let (address, accepted) = server(move |number, mut stream| {
        let config = Arc::clone(&config);
        thread::spawn(move || {
            if number < mute {
                wait_for_end(&stream);
            }
            let mut connection = ServerConnection::new(config).unwrap();
            connection.complete_io(&mut stream).ok()?;
            let speaks_h2 = connection.alpn_protocol() == Some(b"h2");
            let mut stream = StreamOwned::new(connection, stream);
            if speaks_h2 {
                let mut peer = Peer::greet(stream, None)?;
                loop {
                    let id = peer.request()?;
                    peer.answer(id)?;
                }
            }
            while read_head(&mut stream).is_some() {
                stream.write_all(OK.as_bytes()).ok()?;
            }
            Some(())
        });
    });
    (address, accepted, roots)
}

#[tokio::test]
async fn what_is_spoken_over_tls_is_agreed_on() {
    async fn check(offers: &'static [&'static str], text: &str, expect: Result<usize, Reason>) {
        let (address, accepted, roots) = alpn_server(offers, 0);
        let target = target_of(&format!("https://{address}/"), text, roots);
        // Some at once, and some more.
        for _ in 0..2 {
            for outcome in join_all((0..5).map(|number| target.hit(number))).await {
                match expect {
                    Ok(_) => assert_ok(&outcome),
                    Err(reason) => assert_failed(&outcome, reason),
                }
            }
        }
        if let Ok(connections) = expect {
            assert_eq!(accepted.load(Ordering::SeqCst), connections, "{offers:?} {text}");
        }
    }
    let both: &[&str] = &["h2", "http/1.1"];
    check(both, "", Ok(1)).await;
    check(both, "http2 = \"alpn\"", Ok(1)).await;
    check(both, "http2 = \"prior-knowledge\"", Ok(1)).await;
    check(both, "http2 = \"never\"", Ok(5)).await;
    check(&["http/1.1"], "", Ok(5)).await;
    check(&[], "", Ok(5)).await;
    check(both, "keep_alive = false", Ok(10)).await;
    check(&["http/1.1"], "keep_alive = false", Ok(10)).await;
    check(&["http/1.1"], "http2 = \"prior-knowledge\"", Err(Reason::Tls)).await;
    check(&[], "http2 = \"prior-knowledge\"", Err(Reason::Protocol)).await;
    check(&["h2"], "http2 = \"never\"", Err(Reason::Tls)).await;
}

#[tokio::test]
async fn a_new_connection_has_its_phases() {
    let (address, _, roots) = alpn_server(&["h2"], 0);
    let target = target_of(&format!("https://{address}/"), "", roots);
    let first = target.hit(0).await;
    assert_ok(&first);
    let phases = first.phases.unwrap();
    assert!(phases.tls.is_some() && phases.connect.is_some() && phases.first_byte.is_some(), "{phases:?}");
    assert!(first.ended.is_some());
    assert!(target.hit(1).await.phases.is_none());
}

#[test]
fn hits_that_share_wake_ups_are_all_answered() {
    let (address, accepted) = peers(None, |_, peer| {
        loop {
            let id = peer.request()?;
            peer.answer(id)?;
        }
    });
    let (tally, _) = share_wakeups(prior(address, ""), 2000, Duration::from_secs(3));
    expect_hits(&tally, 2000, 0);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert!(tally.service.quantile(0.5) < Duration::from_millis(5), "{:?}", tally.service.quantile(0.5));
}
