//! Hits that lead elsewhere, keep cookies, or get more or less of a body than was said.

use std::sync::Mutex;

use super::*;

/// Answers each request with what `answer` makes of its path and its head, over connections that stay open.
fn answering(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared = Arc::new((answer, Arc::clone(&seen)));
    let (address, _) = server(move |connection, mut stream| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (answer, seen) = &*shared;
            while let Some(head) = read_head(&stream) {
                let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next());
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let text = answer(&path, &head);
                seen.0.lock().unwrap().push((connection, head + str::from_utf8(&body).unwrap()));
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
        });
    });
    (address, seen)
}

/// The requests so far: the connection, and all of the request.
#[derive(Default)]
struct Seen(Mutex<Vec<(usize, String)>>);

impl Seen {
    /// What was asked for over which connection, as in `0 GET /`.
    fn lines(&self) -> Vec<String> {
        let line = |(connection, request): &(usize, String)| {
            format!("{connection} {}", request.split(" HTTP").next().unwrap_or_default())
        };
        self.0.lock().unwrap().iter().map(line).collect()
    }

    /// The cookies of each request.
    fn cookies(&self) -> Vec<String> {
        let cookie = |(_, request): &(usize, String)| {
            let line = request.lines().find_map(|line| line.strip_prefix("Cookie: "));
            line.unwrap_or_default().to_owned()
        };
        self.0.lock().unwrap().iter().map(cookie).collect()
    }
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 4\r\n\r\ngone")
}

/// A server that leads from `/path` to `/1`, `/2` and so on to `/last`, which is found.
fn leading(last: u32) -> (SocketAddr, Arc<Seen>) {
    answering(move |path, _| {
        let number = path[1..].parse().unwrap_or(0);
        if number == last { OK.to_owned() } else { redirect(&format!("/{}", number + 1)) }
    })
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_the_type_says() {
    async fn check(last: u32, redirects: u64, expect: Option<Reason>, asked: usize) {
        let (address, seen) = leading(last);
        let target = target(address, &format!("redirects = {redirects}\n[expect]\nbody = \"ok\"\nstatus = [200]"));
        for hit in 1..=2 {
            let outcome = target.hit(0).await;
            let failure = outcome.failure.as_ref();
            assert_eq!(failure.map(|failure| failure.reason), expect, "{last} {redirects}: {outcome:?}");
            if redirects > 0 && expect.is_some() {
                assert_eq!(failure.unwrap().detail, format!("redirected more than {redirects} times"));
            }
            assert_eq!(seen.lines().len(), hit * asked);
            // All of it is the hit's.
            let received = OK.len() * usize::from(expect.is_none()) + redirect("/1").len() * (asked - 1);
            let last = redirect("/1").len() * usize::from(expect.is_some());
            assert_eq!(outcome.bytes_in, (received + last) as u64);
            assert_eq!(outcome.phases.is_some(), hit == 1);
        }
        assert!(seen.lines().iter().all(|line| line.starts_with("0 ")), "one connection: {:?}", seen.lines());
    }
    check(0, 0, None, 1).await;
    check(1, 0, Some(Reason::Status), 1).await;
    check(0, 3, None, 1).await;
    check(1, 3, None, 2).await;
    check(3, 3, None, 4).await;
    check(4, 3, Some(Reason::Status), 4).await;
    check(9, 9, None, 10).await;
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let (address, seen) = answering(|_, _| redirect("/path"));
    let failed = target(address, "redirects = 20").hit(0).await;
    assert_failed(&failed, Reason::Status);
    assert_eq!(seen.lines().len(), 21);
}

#[tokio::test]
async fn a_redirect_is_an_answer_where_none_are_followed_or_it_says_not_where_to() {
    let (address, seen) = answering(|_, _| redirect("/1"));
    assert_ok(&target(address, "").hit(0).await);
    assert_eq!(seen.lines().len(), 1);

    for head in
        ["302 Found", "304 Not Modified\r\nLocation: /", "300 Choices\r\nLocation: /", "201 Made\r\nLocation: /"]
    {
        let (address, seen) = answering(move |_, _| format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n"));
        assert_ok(&target(address, "redirects = 3").hit(0).await);
        assert_eq!(seen.lines().len(), 1, "{head}");
    }
}

#[tokio::test]
async fn other_servers_have_connections_of_their_own() {
    let (there, seen_there) = answering(|_, _| OK.to_owned());
    let (here, seen_here) = answering(move |_, _| redirect(&format!("http://{there}/there")));
    let target = target(here, "redirects = 1\nheaders = { X-Key = \"s3cret\" }");
    for number in 0..3 {
        let outcome = target.hit(number).await;
        assert_ok(&outcome);
        let sent = seen_here.0.lock().unwrap()[0].1.len() + seen_there.0.lock().unwrap()[0].1.len();
        assert_eq!(outcome.bytes_out, sent as u64);
    }
    assert_eq!(seen_here.lines(), ["0 GET /path"; 3]);
    assert_eq!(seen_there.lines(), ["0 GET /there"; 3]);
    assert!(seen_there.0.lock().unwrap().iter().all(|(_, head)| !head.contains("s3cret")));
}

#[tokio::test]
async fn where_a_redirect_leads_may_be_wrong() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = async |location: String, reason: Reason| {
        let (address, seen) = answering(move |_, _| redirect(&location));
        let failed = target(address, "redirects = 3").hit(0).await;
        assert_failed(&failed, reason);
        // It was over when that was known, not when the first answer had come.
        assert_eq!(failed.ended.is_some(), reason == Reason::Status);
        assert_eq!(seen.lines().len(), 1);
    };
    check(format!("http://{nobody}/"), Reason::Connect).await;
    check(String::from("http://127.0.0.2/"), Reason::Status).await;
    check(String::from("ftp://127.0.0.1/"), Reason::Status).await;
    check(String::from("http://[/"), Reason::Status).await;
}

#[tokio::test]
async fn a_large_body_of_a_redirect_is_not_read_on() {
    let (address, accepted) = server(|connection, mut stream| {
        read_head(&stream).unwrap();
        if connection == 1 {
            stream.write_all(OK.as_bytes()).unwrap();
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nTransfer-Encoding: chunked\r\n\r\n");
        thread::spawn(move || while stream.write_all(b"4\r\nmore\r\n").is_ok() {});
    });
    let outcome = target(address, "redirects = 1").hit(0).await;
    assert_ok(&outcome);
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_redirect_that_is_cut_off_is_a_fault_of_its_body() {
    let (address, _) = server(|_, mut stream| {
        read_head(&stream).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 9\r\n\r\n");
    });
    assert_failed(&target(address, "redirects = 3").hit(0).await, Reason::Body);
}

#[tokio::test]
async fn a_form_is_posted_once_and_its_answer_fetched() {
    let (address, seen) = answering(|path, _| match path {
        "/path" => redirect("/done").replace("302 Found", "303 See Other"),
        _ => OK.to_owned(),
    });
    assert_ok(&target(address, "redirects = 1\nmethod = \"POST\"\nbody = \"a=b\"").hit(0).await);
    assert_eq!(seen.lines(), ["0 POST /path", "0 GET /done"]);
}

#[tokio::test]
async fn one_time_out_is_for_all_of_a_hit() {
    let (address, seen) = answering(|path, _| {
        thread::sleep(Duration::from_millis(80));
        redirect(if path == "/a" { "/b" } else { "/a" })
    });
    let failed = target(address, "redirects = 20\ntimeout = \"200ms\"").hit(0).await;
    assert_failed(&failed, Reason::Timeout);
    assert!(failed.ended.is_none() && seen.lines().len() < 4);
}

/// Gives each connection a cookie with its number, for as long as it hasn't one.
fn counting() -> (SocketAddr, Arc<Seen>) {
    let made = AtomicUsize::new(0);
    answering(move |_, head| match head.contains("Cookie: ") {
        true => OK.to_owned(),
        false => {
            let number = made.fetch_add(1, Ordering::SeqCst);
            format!("HTTP/1.1 200 OK\r\nSet-Cookie: user={number}; Path=/\r\nContent-Length: 2\r\n\r\nok")
        }
    })
}

#[tokio::test]
async fn a_connection_is_a_user_or_cookies_are_none() {
    let (address, seen) = counting();
    let user = target(address, "cookies = true");
    for number in 0..3 {
        assert_ok(&user.hit(number).await);
    }
    assert_eq!(seen.cookies(), ["", "user=0", "user=0"]);
    // Two at once are two users.
    let (one, two) = tokio::join!(user.hit(3), user.hit(4));
    assert_ok(&one);
    assert_ok(&two);
    let mut cookies = seen.cookies().split_off(3);
    cookies.sort();
    assert_eq!(cookies, ["", "user=0"]);

    let (address, seen) = counting();
    let nobody = target(address, "");
    for number in 0..3 {
        assert_ok(&nobody.hit(number).await);
    }
    assert_eq!(seen.cookies(), ["", "", ""]);
}

#[tokio::test]
async fn a_cookie_that_comes_with_a_redirect_is_there_when_it_is_followed() {
    let (address, seen) = answering(|path, _| match path {
        "/path" => redirect("/in").replace("Content", "Set-Cookie: session=7; Path=/; HttpOnly\r\nContent"),
        _ => OK.to_owned(),
    });
    assert_ok(&target(address, "redirects = 1\ncookies = true").hit(0).await);
    assert_eq!(seen.cookies(), ["", "session=7"]);
}

#[tokio::test]
async fn what_follows_an_answer_is_none_of_it() {
    let check = async |answer: &'static str, text: &str, reason: Option<Reason>| {
        let (address, accepted) = server(move |_, mut stream| {
            thread::spawn(move || {
                while read_head(&stream).is_some() {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        });
        let target = target(address, text);
        for number in 0..2 {
            let outcome = target.hit(number).await;
            assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), reason, "{answer}: {outcome:?}");
        }
        let expect = if answer == OK { 1 } else { 2 };
        assert_eq!(accepted.load(Ordering::SeqCst), expect, "{answer}: such a connection is not used again");
    };
    check(OK, "", None).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", "", Some(Reason::Body)).await;
    check("HTTP/1.1 204 OK\r\n\r\nok", "", Some(Reason::Body)).await;
    check("HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nok", "", Some(Reason::Status)).await;
    check("HTTP/1.1 101 Up\r\n\r\n\x01\x02", "expect.status = [101]", None).await;
    check("HTTP/1.1 302 Up\r\nLocation: /\r\nContent-Length: 0\r\n\r\nok", "redirects = 2", Some(Reason::Body)).await;
}

#[tokio::test]
async fn a_body_without_end_ends_with_its_bound_or_the_time_out() {
    let (address, _) = server(|_, mut stream| {
        thread::spawn(move || {
            read_head(&stream).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"4\r\nmore\r\n").is_ok() {}
        });
    });
    assert_failed(&target(address, "expect.body_max = 100000").hit(0).await, Reason::Body);
    assert_failed(&target(address, "timeout = \"100ms\"").hit(0).await, Reason::Timeout);
}
