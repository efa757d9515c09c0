//! What a request's method and URL have in common with others of its kind: its route.
//!
//! `get https://bob:secret@Shop.example.com:443/orders/17?debug=1` is of the
//! route `GET https://shop.example.com/orders/:id`. Routes become tags of
//! metrics, so they hold no number or ID, nothing secret, and nothing long. A URL
//! is read as RFC 3986 has it, what isn't ASCII percent-encoded; of one that is
//! none there is only what can't be secret.

use std::borrow::Cow;

use crate::routes::MAX_ROUTE;

/// The longest method that is one.
const MAX_METHOD: usize = 20;
/// What stands in place of a number or ID.
const ID: &str = ":id";
/// What stands in place of what isn't said.
const UNSAID: char = '…';
/// How many digits a part of a word has at least to be a number like any other: `iphone-15` isn't one.
const MIN_DIGITS: usize = 4;
/// How many hexadecimal digits are an ID, at least, if there is a decimal one among them.
const MIN_HEX: usize = 8;
/// How many letters and digits are an ID, at least.
const MIN_TOKEN: usize = 16;
/// Where the parts of a UUID end, and its length.
const UUID: [usize; 5] = [8, 13, 18, 23, 36];
const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// Which letters follow a, b, c and so on in words: pairs that hardly any English word has are left out.
const FOLLOWERS: [&str; 26] = [
    "bcdfgiklmnprstuvwxyz",
    "aceilorstuy",
    "acehikloprstuy",
    "adegilnorsuvy",
    "abcdefghilmnopqrstuvwxy",
    "aefilorstuy",
    "aeghilmnorsu",
    "aeilmorstuy",
    "abcdefgklmnoprstvxz",
    "eou",
    "aeilnos",
    "acdefilopstuvy",
    "abeilmopsu",
    "acdefgiklnopstuvy",
    "abcdefgiklmnoprstuvwxy",
    "aehiloprstuy",
    "u",
    "abcdefgiklmnoprstuvwy",
    "acefhiklmopstuwy",
    "acdefhilmoprstuwy",
    "abcdefgilmnoprst",
    "aeio",
    "aehilnors",
    "ceipt",
    "aeimnopst",
    "aei",
];
/// Of letters whose words are shorter than this on average, nobody made words.
const SHORT: usize = 3;
/// Nor of those of which more than one pair in so many is in none.
const ODD: usize = 6;

/// The route of a request; at most [`MAX_ROUTE`] characters, of which none is a control character. A longer one is cut,
/// with `…` at its end.
pub fn route(method: &str, url: &str) -> String {
    let mut route = Route { text: String::with_capacity(64), characters: 0, is_full: false };
    let method = method.trim();
    match is_method(method) {
        true => {
            route.text(method);
            route.text.make_ascii_uppercase();
        }
        false => route.push('?'),
    }
    route.push(' ');
    route.url(url.trim());
    route.text
}

/// A route in the making.
struct Route {
    text: String,
    characters: usize,
    is_full: bool,
}

impl Route {
    fn url(&mut self, url: &str) {
        let (url, behind) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        match url.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let scheme = scheme.to_ascii_lowercase();
                self.text(&scheme);
                self.text("://");
                self.place(&scheme, rest, behind);
            }
            _ if url.starts_with("//") => {
                self.text("//");
                self.place("", &url[2..], behind);
            }
            _ if url.starts_with('/') => self.path(url),
            _ => match url.split_once(':') {
                Some((scheme, path)) if scheme.eq_ignore_ascii_case("unix") && path.starts_with('/') => {
                    self.text("unix:");
                    self.path(path);
                }
                // Without a scheme it may be anything: with an @ somewhere, a password may lie on either side of it.
                _ if url.is_empty() || url.contains('@') || url.contains(":/") => self.push('?'),
                _ => self.place("", url, behind),
            },
        }
    }

    /// Host, port and path; `behind` them is the query.
    fn place(&mut self, scheme: &str, rest: &str, behind: &str) {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
        let (host, port) = match host_and_port.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (host_and_port, ""),
        };
        let is_local = authority.is_empty() && default_port(scheme).is_none();
        let is_port = port.is_empty() || (is_digits(port) && port.parse::<u16>().is_ok());
        let may_go_on = path.is_empty() && behind.contains('@');
        if !(is_local || is_host(host)) || !is_port || may_go_on {
            // What was taken for host, path and query may be parts of user and password.
            self.push(UNSAID);
            return;
        }
        match host.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            true => self.text(host),
            false => self.text(&host.to_lowercase()),
        }
        if !port.is_empty() && default_port(scheme) != Some(port) {
            self.push(':');
            self.text(port);
        }
        self.path(if path.is_empty() { "/" } else { path });
    }

    fn path(&mut self, path: &str) {
        for (number, segment) in path.split('/').enumerate() {
            if self.is_full {
                return;
            }
            if number > 0 {
                self.push('/');
            }
            // Behind a semicolon are sessions.
            self.segment(segment.split(';').next().unwrap_or_default());
        }
    }

    fn segment(&mut self, segment: &str) {
        if !segment.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'%' | b'@'))
            && segment.len() < MIN_TOKEN
        {
            self.text(segment);
            return;
        }
        match decoded(segment) {
            Some(plain) if has_id(&plain) => self.text(ID),
            Some(_) => self.text(segment),
            None if is_id(segment) => self.text(ID),
            None if is_version(segment) => self.text(segment),
            None => parts(segment, &mut |text, is_id| self.text(if is_id { ID } else { text })),
        }
    }

    fn text(&mut self, text: &str) {
        if text.len() + self.characters < MAX_ROUTE && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.text.push_str(text);
            self.characters += text.len();
            return;
        }
        for c in text.chars() {
            if self.is_full {
                return;
            }
            if c.is_ascii() {
                self.push(c);
                continue;
            }
            // So that metrics' names, which are ASCII, differ as well.
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let digits = [byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)]));
                ['%', digits[0], digits[1]].into_iter().for_each(|c| self.push(c));
            }
        }
    }

    fn push(&mut self, c: char) {
        if self.is_full {
            return;
        }
        if self.characters == MAX_ROUTE {
            self.text.pop();
            self.text.push(UNSAID);
            self.is_full = true;
            return;
        }
        // The one blank is that behind the method.
        let is_shown = c.is_ascii_graphic() || c == UNSAID;
        let is_blank = c == ' ' && !self.text.contains(' ');
        self.text.push(if is_shown || is_blank { c } else { '_' });
        self.characters += 1;
    }
}

fn is_method(method: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_METHOD).contains(&method.len()) && method.bytes().all(is_token)
}

fn is_scheme(scheme: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.len() <= MAX_METHOD && scheme.bytes().all(is_of_one)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            let (address, zone) = address.split_once('%').unwrap_or((address, "x"));
            let is_of_zone = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            address.contains(':')
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
                && !zone.is_empty()
                && zone.bytes().all(is_of_zone)
        }
        None => !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_')),
    }
}

/// The port of those schemes that need a host, as well.
fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "http" | "ws" => Some("80"),
        "https" | "wss" => Some("443"),
        "ftp" => Some("21"),
        _ => None,
    }
}

/// What the percent signs of a segment mean; `None` where it has none.
fn decoded(segment: &str) -> Option<Cow<'static, str>> {
    if !segment.contains('%') {
        return None;
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(segment.len());
    let mut bytes = segment.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = match (first, digit(rest.first()), digit(rest.get(1))) {
            (b'%', Some(high), Some(low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                &rest[2..]
            }
            _ => {
                plain.push(*first);
                rest
            }
        };
    }
    Some(Cow::Owned(String::from_utf8_lossy(&plain).into_owned()))
}

/// Gives `each` the parts of a segment, all of it, and whether they are IDs, as in `order-4711.json`.
fn parts(segment: &str, each: &mut impl FnMut(&str, bool)) {
    for (group, behind) in split(segment, |c| is_of_token(c) || is_point(c)) {
        match is_id(group) {
            true => each(group, true),
            false => parts_of_group(group, each),
        }
        each(behind, false);
    }
}

/// The parts of what has nothing like brackets and quotes in it.
fn parts_of_group(group: &str, each: &mut impl FnMut(&str, bool)) {
    let mut pieces = group.split('.');
    let first = pieces.next().unwrap_or_default();
    let is_stem = is_digits(first) && pieces.all(|piece| piece.bytes().all(|byte| byte.is_ascii_alphabetic()));
    for (number, (piece, behind)) in split(group, |c| !is_point(c)).enumerate() {
        if is_id_of_parts(piece) || (number == 0 && is_stem) {
            each(piece, true);
        } else {
            for (word, behind) in split(piece, |c| c.is_ascii_alphanumeric()) {
                each(word, is_part_id(word));
                each(behind, false);
            }
        }
        each(behind, false);
    }
}

/// Parts of such characters, each with the one behind it that isn't.
fn split(text: &str, is_of_part: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = (&str, &str)> {
    let ends = text.split_inclusive(move |c| !is_of_part(c));
    ends.map(move |end| end.split_at(end.trim_end_matches(|c| !is_of_part(c)).len()))
}

/// Whether IDs that are no UUIDs may have it.
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=' | '~' | '/')
}

/// Whether it is between IDs, and in times and lists of numbers.
fn is_point(c: char) -> bool {
    matches!(c, '.' | ':' | ',')
}

/// Whether a number or ID is anywhere in it.
fn has_id(text: &str) -> bool {
    let mut has_one = false;
    parts(text, &mut |_, is_id| has_one |= is_id);
    has_one || is_id(text) || (!is_version(text) && text.split(|c: char| !c.is_alphanumeric()).any(is_digits))
}

/// Whether a segment is an ID as a whole.
fn is_id(segment: &str) -> bool {
    let numbers = segment.strip_prefix(['-', '+']).unwrap_or(segment);
    // Dates, times, lists of numbers.
    let is_numbers = numbers.starts_with(|c: char| c.is_ascii_digit())
        && numbers.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b':' | b'_' | b'~' | b'+'));
    // As RFC 3339 has them.
    let is_time = numbers.bytes().take_while(u8::is_ascii_digit).count() >= MIN_DIGITS
        && numbers.contains('T')
        && numbers.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'+' | b'T' | b'Z'));
    // Somebody's address of mail.
    let is_somebody = || segment.find('@').is_some_and(|at| at > 0 && at + 1 < segment.len());
    is_numbers || is_time || is_uuid(segment) || is_somebody()
}

/// `v1`, `2.0`, `v1.12.3`: a few short numbers, and one of them alone only behind a `v`.
fn is_version(segment: &str) -> bool {
    let numbers = segment.strip_prefix(['v', 'V']).unwrap_or(segment);
    let mut count = 0;
    let are_short = numbers.split('.').all(|number| {
        count += 1;
        number.len() <= 3 && is_digits(number)
    });
    are_short && count <= 3 && (count > 1 || numbers.len() < segment.len())
}

/// Whether it is an ID, all of it, that may have other characters than letters and digits in it.
fn is_id_of_parts(piece: &str) -> bool {
    if is_uuid(piece) {
        return true;
    }
    let bytes = piece.as_bytes();
    bytes.len() >= MIN_TOKEN
        && piece.chars().all(is_of_token)
        && bytes.iter().any(u8::is_ascii_alphabetic)
        && match bytes.iter().any(u8::is_ascii_digit) {
            true => !piece.split(|c: char| !c.is_ascii_alphanumeric()).all(is_word),
            false => is_jumbled(bytes),
        }
}

/// Whether a part without anything but letters and digits is an ID.
fn is_part_id(part: &str) -> bool {
    let bytes = part.as_bytes();
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    if bytes.iter().all(u8::is_ascii_digit) {
        return bytes.len() >= MIN_DIGITS;
    }
    let number = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    number >= MIN_HEX
        || (bytes.len() >= MIN_HEX && has_digit && bytes.iter().all(u8::is_ascii_hexdigit))
        || (bytes.len() >= MIN_TOKEN && if has_digit { !is_word(part) } else { is_jumbled(bytes) })
}

/// Letters, and behind them a few digits at most, in no stranger case than a word's: `oauth2`, `Page12`, `TOP`, `42`.
fn is_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut bytes = letters.bytes();
    let first_is_upper = bytes.next().is_none_or(|byte| byte.is_ascii_uppercase());
    let (mut upper, mut lower) = (true, true);
    for byte in bytes {
        upper &= byte.is_ascii_uppercase();
        lower &= byte.is_ascii_lowercase();
    }
    part.len() - letters.len() < MIN_DIGITS && (lower || (upper && first_is_upper))
}

/// Whether letters of both cases are no words, as those of `getOrdersOfCustomer` and `XMLHttpRequest` are.
fn is_jumbled(text: &[u8]) -> bool {
    let (mut letters, mut words, mut pairs, mut odd, mut is_mixed) = (0, 0, 0, 0, false);
    for (at, letter) in text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphabetic()) {
        let before = at.checked_sub(1).map(|at| text[at]).filter(u8::is_ascii_alphabetic);
        let rises = letter.is_ascii_uppercase() && before.is_some_and(|before| before.is_ascii_lowercase());
        let falls = letter.is_ascii_uppercase() && text.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        is_mixed |= rises;
        letters += 1;
        match before {
            Some(before) if !rises && !falls => {
                let followers = FOLLOWERS[usize::from(before.to_ascii_lowercase() - b'a')];
                pairs += 1;
                odd += usize::from(!followers.as_bytes().contains(&letter.to_ascii_lowercase()));
            }
            _ => words += 1,
        }
    }
    is_mixed && (letters < SHORT * words || pairs < ODD * odd)
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == UUID[4]
        && bytes.iter().enumerate().all(|(at, byte)| match UUID.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(bits: u128) -> String {
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    #[test]
    fn a_route_is_a_method_and_what_urls_have_in_common() {
        #[track_caller]
        fn check(method: &str, url: &str, expect: &str) {
            assert_eq!(route(method, url), expect);
        }
        check("GET", "https://shop.example.com/orders/17", "GET https://shop.example.com/orders/:id");
        check("get", "HTTPS://Shop.Example.com:443/Orders", "GET https://shop.example.com/Orders");
        check("POST", "http://h:80", "POST http://h/");
        check("POST", "http://h:8080?a=b", "POST http://h:8080/");
        check("PATCH", "https://h:80/a/", "PATCH https://h:80/a/");
        check("GET", "http://h/a#b?c", "GET http://h/a");
        check("GET", "http://h/a;jsessionid=1A2B/b;c", "GET http://h/a/b");
        check("GET", "http://[2001:DB8::1]:8080/x", "GET http://[2001:db8::1]:8080/x");
        check("GET", "http://[fe80::1%25eth0]/x", "GET http://[fe80::1%25eth0]/x");
        check("GET", "ws://h:80/s", "GET ws://h/s");
        check("GET", "http://Ünna.example/straße/ü", "GET http://%C3%BCnna.example/stra%C3%9Fe/%C3%BC");
        check("GET", "http://h/a%20b/%C3%BC", "GET http://h/a%20b/%C3%BC");
        check("GET", "/orders/17", "GET /orders/:id");
        check("GET", "//H/orders", "GET //h/orders");
        check("GET", "localhost:8080/orders/1", "GET localhost:8080/orders/:id");
        check("GET", "h/x", "GET h/x");
        check("GET", "unix:/run/app.sock", "GET unix:/run/app.sock");
        check("GET", "unix:///run/app.sock:/v1/orders/5", "GET unix:///run/app.sock:/v1/orders/:id");
        check("SUBSCRIBE", "nats://h:4222/a", "SUBSCRIBE nats://h:4222/a");
        check("m-search", "http://h/", "M-SEARCH http://h/");
    }

    #[test]
    fn what_is_no_method_or_url_is_not_said() {
        #[track_caller]
        fn check(method: &str, url: &str, expect: &str) {
            assert_eq!(route(method, url), expect);
        }
        check("", "", "? ?");
        check("GET /", "http://h/", "? http://h/");
        check(&"M".repeat(21), "http://h/", "? http://h/");
        check("GET", "http://", "GET http://…");
        check("GET", "http:///x", "GET http://…");
        check("GET", "http://h:port/x", "GET http://…");
        check("GET", "http://h:99999/x", "GET http://…");
        check("GET", "http://h:+80/x", "GET http://…");
        check("GET", "http://a b/x", "GET http://…");
        check("GET", "http://[::1/x", "GET http://…");
        check("GET", "://h/x", "GET ?");
        check("GET", "h\\x", "GET …");
        check("GET", "http://h/a\nb\tc\u{0}\u{1b}[2J\u{202e}d e", "GET http://h/a_b_c__[2J%E2%80%AEd_e");
    }

    #[test]
    fn nothing_of_user_password_and_query_is_in_a_route() {
        #[track_caller]
        fn check(url: &str, expect: &str) {
            assert_eq!(route("GET", url), format!("GET {expect}"));
        }
        check("http://user:secret@host/", "http://host/");
        check("http://user@host", "http://host/");
        check("http://user:pa@ss@host/", "http://host/");
        check("http://user:pa:ss@host:8080/x", "http://host:8080/x");
        check("//user:pw@host/x?y", "//host/x");
        check("http://us?er:pw@host/", "http://…");
        check("http://h/?mail=bob@example.com", "http://h/");
        check("http://user:pa?ss@host/", "http://…");
        check("http://user:pa#ss@host/", "http://…");
        check("http://user:pa/ss@host/x", "http://…");
        check("http://user:pa\\ss@host/x", "http://host/x");
        check("http://user%3Apw%40host/x", "http://…");
        check("http://user:pw@", "http://…");
        check("http://user:pw@/x", "http://…");
        check("unix://user:pw@/x", "unix://…");
        check("user:pw@host/x", "?");
        check("user:12/34@host/x", "?");
        check("mailto:bob@example.com", "?");
        check("data:text/plain,secret", "…");
        check("user:/pw", "?");
        check("http://h/x?token=secret", "http://h/x");
        check("http://h/users/bob@example.com/x", "http://h/users/:id/x");
        check("http://h/users/bob%40example.com/x", "http://h/users/:id/x");
        check("http://h/@scope/x", "http://h/@scope/x");

        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let parts = ["http", ":", "/", "//", "@", "?", "#", "\\", "%", "[", "]", "host", " ", "\n", ".", ";"];
            let text = |random: &mut fastrand::Rng| -> String {
                (0..random.usize(..4)).map(|_| parts[random.usize(..parts.len())]).collect()
            };
            let (user, password, query) = (text(&mut random), text(&mut random), text(&mut random));
            let url = format!(
                "http://{}:se{}cret@host/?a={}secret",
                user.replace(['/', '?', '#', '\\'], ""),
                password,
                query
            );
            let found = route("GET", &url);
            assert!(!found.contains("se") && !found.contains("cret"), "{url:?} is of {found:?}");
        }
    }

    #[test]
    fn numbers_and_ids_are_not_told_apart() {
        #[track_caller]
        fn check(segment: &str, expect: &str) {
            assert_eq!(route("GET", &format!("http://h/a/{segment}/b")), format!("GET http://h/a/{expect}/b"));
        }
        for id in [
            "0",
            "42",
            "-42",
            "20261121",
            "2026-11-21",
            "2026-11-21T03:27:00Z",
            "2026-11-21T03:27:00.25+02:00",
            "20261121T032700Z",
            "2026-11-21T03%3A27%3A00Z",
            "1,2,3",
            "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb",
            "C276C8C7-6FEC-5AA9-B6BD-4DE12A49A9BB",
            "c276c8c76fec5aa9b6bd4de12a49a9bb",
            "deadbee1",
            "507f1f77bcf86cd799439011",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "0ujtsYcgvSTl8PAuAdqWYSMnLOv",
            "cus_9s6XKzkNRiz8i3",
            "dGhpcyBpcyBhbiBJRA9=",
            "V1StGXR8_Z5jdHi6B-myT",
            "kZqWbRtYvNcXsLpMhGfD",
            "kZqWbRtY-vNcXsLp_MhGfD",
            "bot123456789",
            "%31%37",
            "%7B17%7D",
            "x%2F17",
            "c276c8c7%2D6fec-5aa9-b6bd-4de12a49a9bb",
            "aB3dE5fG%2FhJ7kL9mN",
            "aB3dE5fG%2bhJ7kL9mN",
        ] {
            check(id, ":id");
        }
        for word in [
            "",
            "orders",
            "v1",
            "v2.1",
            "2.0",
            "V1.12.3",
            "index.html",
            "oauth2",
            "s3",
            "utf8",
            "sha256",
            "h264",
            "Page12",
            "deadbeef",
            "facade",
            "iphone-15",
            "top-10-places-to-see",
            "how-to-write-a-load-test",
            "oauth2-authorization-server",
            ".well-known",
            "getOrdersOfCustomerByName",
            "XMLHttpRequestGetURLs",
            "jquery-3.6.0.min.js",
            "internationalization",
            "a+b",
            "~bob",
            "*",
            "%E2%82%AC",
            "Orders(Customer='Bob',Sort=name)",
            "urn:isbn",
            "batch:delete-all-orders-of-customers",
            "RtcPeerConnectionIceEvent",
        ] {
            check(word, word);
        }
        check("12345.json", ":id.json");
        check("7.json", ":id.json");
        check("48.1374", "48.:id");
        check("c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb.png", ":id.png");
        check("abcdefab-cdef-abcd-efab-cdefabcdef12.png", ":id.png");
        check("main.3f2a9b1c.js", "main.:id.js");
        check("order-12345", "order-:id");
        check("id=17", "id=17");
        check("id=1700", "id=:id");
        check("Orders(1700)", "Orders(:id)");
        check("Orders(17)", "Orders(:id)");
        check("Orders(17,18)", "Orders(:id)");
        check("Orders('2026-11-21T03:27:00Z')", "Orders(':id')");
        check("größe-4711", "gr%C3%B6%C3%9Fe-:id");
    }

    #[test]
    fn ids_and_secrets_beside_other_characters_are_not_in_a_route() {
        #[track_caller]
        fn check(before: &str, behind: &str, expect: &str) {
            for id in [
                "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb",
                "C276C8C7-6FEC-5AA9-B6BD-4DE12A49A9BB",
                "V1StGXR8_Z5jdHi6B-myT",
                "AAE-x3k_3ZqHd-TcvCH1vGWJ_xfSeofSAs0K-PALDsaw",
                "kZqWbRtY-vNcXsLp_MhGfD",
            ] {
                let found = route("GET", &format!("http://h/{before}{id}{behind}/x"));
                assert_eq!(found, format!("GET http://h/{expect}/x"), "of {id}");
            }
        }
        check("Orders(", ")", "Orders(:id)");
        check("Orders('", "')", "Orders(':id')");
        check("Orders(Key='", "',Part=b)", "Orders(Key=':id',Part=b)");
        check("urn:uuid:", "", "urn:uuid::id");
        check("x:", "", "x::id");
        check("a,", "", "a,:id");
        check("", ",a.json", ":id,a.json");
        check("ü", "ü", "%C3%BC:id%C3%BC");
        check("bot123456789:", "", ":id::id");
    }

    #[test]
    fn random_ids_beside_any_punctuation_are_never_in_a_route() {
        const OF_TOKENS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_0123456789";
        let mut random = fastrand::Rng::with_seed(17);
        let mut beside: Vec<_> =
            (b'!'..=b'~').filter(u8::is_ascii_punctuation).map(|c| char::from(c).to_string()).collect();
        // By itself it would eat two characters.
        beside.iter_mut().filter(|c| *c == "%").for_each(|c| c.push_str("25"));
        let mut bare = 0;
        for _ in 0..50_000 {
            let token = |random: &mut fastrand::Rng, length| -> String {
                (0..length).map(|_| char::from(OF_TOKENS[random.usize(..OF_TOKENS.len())])).collect()
            };
            let id = match random.u8(..3) {
                0 => uuid(random.u128(..)),
                1 => uuid(random.u128(..)).to_uppercase(),
                _ => {
                    let length = random.usize(16..44);
                    token(&mut random, length)
                }
            };
            let (before, behind) = (&beside[random.usize(..beside.len())], &beside[random.usize(..beside.len())]);
            let found = route("GET", &format!("http://h/x{before}{id}{behind}x/y"));
            // Whatever eight of its characters.
            if (0..=id.len() - 8).any(|at| found.contains(&id[at..at + 8])) {
                assert!(!id.bytes().any(|byte| byte.is_ascii_digit()), "{id} is in {found}");
                bare += 1;
            }
        }
        // Letters alone may be taken for words.
        assert!(bare <= 1, "{bare}");
    }

    #[test]
    fn sequence_ids_in_any_form_are_never_in_a_route() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..2_000 {
            let bits = random.u128(..);
            let uuid = uuid(bits);
            for id in [&uuid, &uuid.to_uppercase(), &uuid.replace('-', ""), &bits.to_string()] {
                assert_eq!(route("GET", &format!("http://h/{id}/x")), "GET http://h/:id/x", "{id}");
                let with = route("GET", &format!("http://h/order-{id}.json"));
                assert!(with.len() < 36, "{id} is in {with}");
            }
        }
    }

    #[test]
    fn routes_are_short() {
        #[track_caller]
        fn check(url: &str, expect: &str) {
            let route = route("GET", url);
            assert!(route.chars().count() <= MAX_ROUTE);
            assert_eq!(route, expect);
        }
        let room = MAX_ROUTE - "GET http://h/".len();
        check(&format!("http://h/{}", "é".repeat(100)), &format!("GET http://h/{}…", "%C3%A9".repeat(room / 6)));
        let [fits, long] = [room, room + 1].map(|length| "a".repeat(length));
        check(&format!("http://h/{fits}"), &format!("GET http://h/{fits}"));
        check(&format!("http://h/{long}"), &format!("GET http://h/{}…", &fits[1..]));
        check(&format!("http://h/{}", "a/".repeat(40_000)), &format!("GET http://h/{}…", "a/".repeat(93)));
    }

    #[test]
    fn anything_has_a_route_that_can_be_shown() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..20_000 {
            let url: String = (0..random.usize(..40)).map(|_| random.char(..)).collect();
            let route = route(&url, &url);
            assert!(route.chars().count() <= MAX_ROUTE && !route.contains(char::is_control), "{url:?} is of {route:?}");
            assert_eq!(route.matches(char::is_whitespace).count(), 1, "{url:?} is of {route:?}");
        }
    }
}
