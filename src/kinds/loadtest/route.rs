//! What a request's method and URL have in common with others of its kind: its route.
//!
//! `get https://bob:secret@Shop.example.com:443/orders/17?debug=1` is of the
//! route `GET https://shop.example.com/orders/:id`. Routes become tags of
//! metrics, so they hold no number or ID, nothing secret, and nothing long. A URL
//! is read as RFC 3986 has it, what isn't ASCII percent-encoded; of one that is
//! none there is only what can't be secret.

use super::ids::{self, is_digits};
use crate::routes::MAX_ROUTE;

/// The longest method that is one.
const MAX_METHOD: usize = 20;
/// What stands in place of a number or ID.
const ID: &str = ":id";
/// What stands in place of what isn't said.
const UNSAID: char = '…';
const HEX: &[u8; 16] = b"0123456789ABCDEF";
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
        ids::each_part(segment, &mut |text, is_id| self.text(if is_id { ID } else { text }));
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

#[cfg(test)]
mod tests {
    use super::*;

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
