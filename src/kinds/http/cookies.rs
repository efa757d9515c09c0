//! The cookies of one connection: each is one user, and a new one is a new user.
//!
//! RFC 6265 as far as it matters to a single server: what came over a
//! connection goes back over it and nowhere else, so that `Domain` has nothing
//! to say. `Path`, `Secure`, `Max-Age` and `Expires` are obeyed.

use std::cmp::Reverse;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use chrono::{NaiveDate, NaiveDateTime};

/// The most cookies of a connection; of more, the oldest go.
const MAX_COOKIES: usize = 50;
/// The largest cookie, name and value together, in bytes; a larger one is not taken.
const MAX_COOKIE: usize = 4 << 10;
/// The longest that a cookie lasts: far longer than a connection.
const MAX_AGE: u64 = 24 * 60 * 60;

/// What is kept of the cookies.
#[derive(Debug, Default)]
pub struct Jar {
    /// Those with longer paths first, then the older ones.
    cookies: Vec<Cookie>,
    /// The numbers of cookies so far, by which their age is told.
    made: u64,
    /// A request's head with the cookies in it; kept, as the next one is as long.
    head: Vec<u8>,
}

#[derive(Debug)]
struct Cookie {
    /// `name=value`.
    pair: Bytes,
    name: usize,
    path: Bytes,
    /// `None`: with the connection.
    ends: Option<Instant>,
    made: u64,
}

/// Both clocks: one by which servers tell when a cookie ends, one by which it does.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock.
    pub wall: SystemTime,
    /// The clock that isn't set.
    pub clock: Instant,
}

impl Now {
    /// It.
    pub fn read() -> Self {
        Self { wall: SystemTime::now(), clock: Instant::now() }
    }
}

impl Jar {
    /// Takes the cookies that came with an answer to the request for `path`, over TLS or not.
    pub fn take(&mut self, lines: &[Bytes], path: &[u8], tls: bool, now: Now) {
        for line in lines {
            self.take_one(line, path, tls, now);
        }
    }

    /// What the header `Cookie` of a request for `path` says; `None` when there is nothing to say.
    #[cfg(test)]
    pub fn value(&self, path: &[u8], now: Now) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        self.write(path, now, &mut value);
        (!value.is_empty()).then_some(value)
    }

    /// A request's head, which ends with an empty line, with the cookies that belong to it.
    pub fn dress<'a>(&'a mut self, head: &'a [u8], now: Now) -> &'a [u8] {
        let Some(lines) = head.strip_suffix(b"\r\n") else { return head };
        let mut dressed = std::mem::take(&mut self.head);
        dressed.clear();
        dressed.extend_from_slice(lines);
        dressed.extend_from_slice(b"Cookie: ");
        let before = dressed.len();
        self.write(path_of(head), now, &mut dressed);
        let is_bare = dressed.len() == before;
        dressed.extend_from_slice(b"\r\n\r\n");
        self.head = dressed;
        if is_bare { head } else { &self.head }
    }

    fn write(&self, path: &[u8], now: Now, to: &mut Vec<u8>) {
        let begin = to.len();
        for cookie in self.cookies.iter().filter(|cookie| cookie.is_for(path, now)) {
            if to.len() > begin {
                to.extend_from_slice(b"; ");
            }
            to.extend_from_slice(&cookie.pair);
        }
    }

    fn take_one(&mut self, line: &Bytes, path: &[u8], tls: bool, now: Now) {
        let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let Some((name, value)) = parts.next().and_then(|pair| divide(pair, b'=')) else { return };
        let size = name.len() + value.len();
        if name.is_empty() || size > MAX_COOKIE || [name, value].concat().iter().any(u8::is_ascii_control) {
            return;
        }
        let mut cookie = Cookie {
            pair: [name, b"=", value].concat().into(),
            name: name.len(),
            path: Bytes::copy_from_slice(folder_of(path)),
            ends: None,
            made: self.made,
        };
        let mut max_age = None;
        for part in parts {
            let (name, value) = divide(part, b'=').unwrap_or((part, b""));
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("path") {
                let path = if value.starts_with(b"/") { value } else { folder_of(path) };
                cookie.path = Bytes::copy_from_slice(path);
            } else if is("secure") && !tls {
                // Who can read along could have made it.
                return;
            } else if is("max-age") {
                max_age = seconds(value).or(max_age);
            } else if is("expires") {
                let until = date(value).map(|date| date.duration_since(now.wall).unwrap_or_default());
                cookie.ends = until.map(|until| now.clock + until.min(Duration::from_secs(MAX_AGE))).or(cookie.ends);
            }
        }
        // Max-Age has precedence.
        cookie.ends = max_age.map(|age| now.clock + age).or(cookie.ends);
        let same = self.cookies.iter().position(|other| other.name() == cookie.name() && other.path == cookie.path);
        if let Some(same) = same {
            // It stays where it was among those with its path.
            cookie.made = self.cookies.remove(same).made;
        }
        if cookie.has_ended(now) {
            return;
        }
        if self.cookies.len() == MAX_COOKIES
            && let Some(oldest) = (0..MAX_COOKIES).min_by_key(|at| self.cookies[*at].made)
        {
            self.cookies.remove(oldest);
        }
        self.made += 1;
        self.cookies.push(cookie);
        self.cookies.sort_by_key(|cookie| (Reverse(cookie.path.len()), cookie.made));
    }
}

impl Cookie {
    fn name(&self) -> &[u8] {
        &self.pair[..self.name]
    }

    fn has_ended(&self, now: Now) -> bool {
        self.ends.is_some_and(|ends| ends <= now.clock)
    }

    /// Whether it belongs to a request for `path`: one that is its own, or lies beneath it.
    fn is_for(&self, path: &[u8], now: Now) -> bool {
        let beneath = |rest: &[u8]| rest.is_empty() || rest[0] == b'/' || self.path.ends_with(b"/");
        !self.has_ended(now) && path.strip_prefix(&*self.path).is_some_and(beneath)
    }
}

/// The path that a request's head asks for, without its query.
pub fn path_of(head: &[u8]) -> &[u8] {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    // What a proxy is asked has the origin before it.
    let path = match target.starts_with(b"/") {
        true => target,
        false => {
            let host = memchr::memmem::find(target, b"://").map_or(0, |at| at + 3);
            let end = memchr::memchr2(b'/', b'?', &target[host..]).map_or(target.len(), |at| host + at);
            &target[end..]
        }
    };
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path.is_empty() { b"/" } else { path }
}

/// The path up to its last slash, which is what a cookie without one is for.
fn folder_of(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        None | Some(0) => b"/",
        Some(at) => &path[..at],
    }
}

/// What stands before and behind the first `by`.
fn divide(text: &[u8], by: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(by, text)?;
    Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
}

/// What `Max-Age` says.
fn seconds(value: &[u8]) -> Option<Duration> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = if sound { str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX) } else { return None };
    Some(Duration::from_secs(if digits.len() < value.len() { 0 } else { number.min(MAX_AGE) }))
}

/// What `Expires` says, in whichever form: RFC 6265, 5.1.1.
fn date(value: &[u8]) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut day, mut month, mut year, mut time) = (None, None, None, None);
    let text = str::from_utf8(value).ok()?.to_ascii_lowercase();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty()) {
        let mut clock = word.split(':').map(|part| part.parse::<u32>().ok());
        if let (None, [Some(Some(hour)), Some(Some(minute)), Some(Some(second)), None]) =
            (time, [clock.next(), clock.next(), clock.next(), clock.next()])
        {
            time = Some((hour, minute, second));
        } else if let (None, 1..=2, Ok(number)) = (day, word.len(), word.parse::<u32>()) {
            day = Some(number);
        } else if let (None, Some(at)) = (month, MONTHS.iter().position(|name| word.starts_with(name))) {
            month = u32::try_from(at + 1).ok();
        } else if let (None, 2 | 4, Ok(number)) = (year, word.len(), word.parse::<i32>()) {
            year = Some(match (word.len(), number) {
                (2, 0..=69) => 2000 + number,
                (2, _) => 1900 + number,
                _ => number,
            });
        }
    }
    let (hour, minute, second) = time?;
    let date: NaiveDateTime = NaiveDate::from_ymd_opt(year?, month?, day?)?.and_hms_opt(hour, minute, second)?;
    let since = u64::try_from(date.and_utc().timestamp()).unwrap_or(0);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21, 09:30:00 UTC.
    const WALL: u64 = 1_795_253_400;

    fn now(after: u64) -> Now {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let clock = *BEGIN.get_or_init(Instant::now) + Duration::from_secs(after);
        Now { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(WALL + after), clock }
    }

    fn jar(lines: &[&str], path: &str, tls: bool) -> Jar {
        let mut jar = Jar::default();
        let lines: Vec<Bytes> = lines.iter().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
        jar.take(&lines, path.as_bytes(), tls, now(0));
        jar
    }

    #[test]
    fn cookies_go_back_to_where_they_belong() {
        #[track_caller]
        fn check(lines: &[&str], path: &str, expect: &str) {
            let value = jar(lines, "/shop/cart", true).value(path.as_bytes(), now(10)).unwrap_or_default();
            assert_eq!(String::from_utf8(value).unwrap(), expect, "{lines:?} {path}");
        }
        check(&["a=b"], "/shop/cart", "a=b");
        check(&["a=b"], "/shop", "a=b");
        check(&["a=b"], "/shops", "");
        check(&["a=b"], "/", "");
        check(&["a=b; Path=/"], "/", "a=b");
        check(&["a=b; path = / ; HttpOnly; SameSite=Lax"], "/x", "a=b");
        check(&["a=b; Path=x"], "/shop/x", "a=b");
        check(&["a=b; Path=/x/"], "/x/y", "a=b");
        check(&["a=b; Path=/x/"], "/x", "");
        check(&["a=b; Domain=elsewhere.example; Path=/"], "/", "a=b");
        check(&["a=b", "c=d"], "/shop/", "a=b; c=d");
        check(&["a=b; Path=/", "c=d"], "/shop/", "c=d; a=b");
        check(&["a=b", "c=d", "a=e"], "/shop/", "a=e; c=d");
        check(&["a=b=c; Path=/"], "/", "a=b=c");
        check(&["a=\"b c\"; Path=/"], "/", "a=\"b c\"");
        check(&["a=; Path=/"], "/", "a=");
        check(&["a"], "/shop/", "");
        check(&["=b"], "/shop/", "");
        check(&["a=b\tc"], "/shop/", "");
        check(&[""], "/shop/", "");
        // Which end, and when.
        check(&["a=b", "a=; Max-Age=0"], "/shop/", "");
        check(&["a=b", "a=; Max-Age=-1"], "/shop/", "");
        check(&["a=b; Max-Age=11"], "/shop/", "a=b");
        check(&["a=b; Max-Age=10"], "/shop/", "");
        check(&["a=b; Max-Age=99999999999999999999999"], "/shop/", "a=b");
        check(&["a=b; Max-Age=soon"], "/shop/", "a=b");
        check(&["a=b; Expires=Sat, 21 Nov 2026 09:30:11 GMT"], "/shop/", "a=b");
        check(&["a=b; Expires=Sat, 21 Nov 2026 09:30:10 GMT"], "/shop/", "");
        check(&["a=b; Expires=Thu, 01-Jan-1970 00:00:00 GMT"], "/shop/", "");
        check(&["a=b; Expires=Thursday, 01-Jan-70 00:00:00 GMT"], "/shop/", "");
        check(&["a=b; Expires=Sat Nov 21 09:30:05 2026"], "/shop/", "");
        check(&["a=b; Expires=Thu, 01 Jan 1960 00:00:00 GMT"], "/shop/", "");
        check(&["a=b; Expires=never"], "/shop/", "a=b");
        check(&["a=b; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=60"], "/shop/", "a=b");
    }

    #[test]
    fn what_is_secure_needs_tls() {
        for (tls, expect) in [(true, Some(b"a=b".to_vec())), (false, None)] {
            assert_eq!(jar(&["a=b; Secure"], "/", tls).value(b"/", now(0)), expect);
        }
    }

    #[test]
    fn a_jar_has_its_bounds() {
        let lines: Vec<String> = (0..=MAX_COOKIES).map(|number| format!("a{number}=b")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let value = String::from_utf8(jar(&lines, "/", true).value(b"/", now(0)).unwrap()).unwrap();
        assert_eq!(value.split("; ").count(), MAX_COOKIES);
        assert!(!value.contains("a0=") && value.ends_with(&format!("a{MAX_COOKIES}=b")), "{value}");

        for (length, is_taken) in [(MAX_COOKIE - 1, true), (MAX_COOKIE, false)] {
            let jar = jar(&[&format!("a={}", "x".repeat(length))], "/", true);
            assert_eq!(jar.value(b"/", now(0)).is_some(), is_taken);
        }
    }

    #[test]
    fn a_head_is_dressed() {
        #[track_caller]
        fn check(head: &str, expect: &str) {
            let mut jar = jar(&["a=b", "c=d; Path=/x"], "/", true);
            for _ in 0..2 {
                assert_eq!(str::from_utf8(jar.dress(head.as_bytes(), now(0))).unwrap(), expect);
            }
        }
        check("GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\nCookie: a=b\r\n\r\n");
        check("GET /x?y HTTP/1.1\r\n\r\n", "GET /x?y HTTP/1.1\r\nCookie: c=d; a=b\r\n\r\n");
        let mut none = Jar::default();
        assert_eq!(none.dress(b"GET / HTTP/1.1\r\n\r\n", now(0)), b"GET / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn paths_are_found_in_heads() {
        #[track_caller]
        fn check(target: &str, expect: &str) {
            let head = format!("GET {target} HTTP/1.1\r\n\r\n");
            assert_eq!(str::from_utf8(path_of(head.as_bytes())).unwrap(), expect);
        }
        check("/", "/");
        check("/a/b?c/d", "/a/b");
        check("/a?b=http://c/d", "/a");
        check("http://host/a?b", "/a");
        check("http://host?b", "/");
        check("http://host", "/");
        check("*", "/");
    }

    #[test]
    fn noise_makes_no_panic() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut jar = Jar::default();
        for _ in 0..20_000 {
            let mut line = b"a=b; Path=/x; Expires=Sat, 21 Nov 2026 09:30:10 GMT; Max-Age=7; Secure".to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..line.len());
                line[at] = if random.bool() { random.u8(..) } else { b";=,: -9"[random.usize(..7)] };
            }
            jar.take(&[line.into()], b"/x/y", true, now(0));
            assert!(jar.cookies.len() <= MAX_COOKIES);
            assert!(jar.value(b"/x/y", now(0)).is_none_or(|value| !value.contains(&b'\n')));
        }
    }
}
