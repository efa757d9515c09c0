//! What a type of the kind `http` says: what it asks, in turn, and what holds for all of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, COOKIE, HOST};

use super::ask::{Ask, Base, Said};
use super::follow::Redirects;
use super::h2;
use super::rows::Rows;
use super::template::{Columns, Template};
use super::turns::MAX_REQUESTS;
use super::values::{RowOrder, Table};
use crate::keys::Keys;
use crate::kinds::dial;
use crate::kinds::timeout;
use crate::page::Key;

/// The largest file of values, in bytes. They are kept in memory, once for all threads.
const MAX_CSV: u64 = 64 << 20;

/// What [`Settings::read`] reads, requests apart.
pub const KEYS: &[Key] = &[
    Key { name: "csv", meaning: "a file of values, up to 64 MiB, of which each hit has a row", default: "none" },
    Key { name: "csv_order", meaning: "which row: that of the hit's number, or any", default: "turn" },
    Key { name: "keep_alive", meaning: "`false`: a new connection for each hit", default: "`true`" },
    Key {
        name: "http2",
        meaning: "whether HTTP/2 is spoken: where an https server agrees, never, or always, also in the clear",
        default: "`\"alpn\"`",
    },
    Key {
        name: "cookies",
        meaning: "`true`: each connection keeps its cookies; not with `keep_alive = false` or a header `Cookie`",
        default: "`false`",
    },
    Key {
        name: "compressed",
        meaning: "`true`: asks for compressed bodies; not with a header `Accept-Encoding`",
        default: "`false`",
    },
];

/// Everything about a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is asked, in turn; at least one.
    pub asks: Vec<Ask>,
    /// Where values come from that change by hit.
    pub table: Option<Table>,
    /// How long a hit may take: name, connection, TLS, request and the answer's last byte.
    pub timeout: Duration,
    /// Whether a connection is used again.
    pub keep_alive: bool,
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// How far redirects are followed.
    pub redirects: Redirects,
    /// Whether each connection keeps cookies.
    pub cookies: bool,
    /// How connections are got.
    pub dial: dial::Settings,
}

/// When HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Http2 {
    /// Where a server chooses it in the TLS handshake; HTTP/1.1 elsewhere, and in the clear.
    #[default]
    Alpn,
    /// Never.
    Never,
    /// Always: a server that doesn't speak it fails the hits.
    PriorKnowledge,
}

impl Http2 {
    /// The values of the key `http2`.
    const NAMES: &[(&str, Self)] =
        &[("alpn", Self::Alpn), ("never", Self::Never), ("prior-knowledge", Self::PriorKnowledge)];

    /// Whether it may be spoken to a server over `tls`, or in the clear.
    pub const fn may_be_spoken(self, tls: bool) -> bool {
        match self {
            Self::Alpn => tls,
            Self::Never => false,
            Self::PriorKnowledge => true,
        }
    }
}

impl Settings {
    /// Reads the kind's own keys, and the files that they name; `None` when anything is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let rows = rows(keys);
        let columns = match &rows {
            None => Columns::None,
            Some(None) => Columns::Any,
            Some(Some(rows)) => Columns::Of(rows),
        };
        let order = keys.choice("csv_order", &[("turn", RowOrder::Turn), ("random", RowOrder::Random)]);
        if order.is_some() && rows.is_none() {
            keys.refuse_key("csv_order", "an order and no key \"csv\"", "the file that has the rows");
        }
        let keep_alive = keys.boolean("keep_alive").unwrap_or(true);
        let http2 = keys.choice("http2", Http2::NAMES).unwrap_or_default();
        let timeout = timeout(keys);
        let redirects = Redirects::read(keys);
        let dial = dial::Settings::read_with_proxy(keys);
        let asks = asks(keys, columns, keep_alive);
        check_http2(keys, http2, asks.as_deref().unwrap_or_default(), &dial);
        let cookies = cookies(keys, asks.as_deref().unwrap_or_default(), keep_alive);
        let compressed = compressed(keys, asks.as_deref().unwrap_or_default());
        let mut asks = asks.filter(|_| keys.is_sound())?;
        for ask in asks.iter_mut().filter(|_| compressed) {
            ask.headers.insert(ACCEPT_ENCODING, Template::same("gzip, br"));
        }
        let table = rows.flatten().map(|rows| Table { rows: Arc::new(rows), order: order.unwrap_or_default() });
        Some(Self { asks, table, timeout, keep_alive, http2, redirects, cookies, dial })
    }

    /// A plain GET of `/` from `address`.
    pub fn get(address: SocketAddr, timeout: Duration) -> Self {
        let dial = dial::Settings::default();
        let (asks, redirects) = (vec![Ask::get(address)], Redirects::default());
        let http2 = Http2::Never;
        Self { asks, table: None, timeout, keep_alive: true, http2, redirects, cookies: false, dial }
    }
}

/// The file of values: `None` where there is none, `Some(None)` where there is one that can't be used.
fn rows(keys: &mut Keys<'_>) -> Option<Option<Rows>> {
    let there = keys.has("csv");
    let Some(bytes) = keys.contents("csv", MAX_CSV) else { return there.then_some(None) };
    match Rows::parse(&bytes) {
        Ok(rows) => Some(Some(rows)),
        Err(wrong) => {
            let seen = format!("the file {} names {}", keys.name("csv"), wrong.seen);
            keys.refuse_key("csv", seen, wrong.right);
            Some(None)
        }
    }
}

/// The type's own request, or those of its list.
fn asks(keys: &mut Keys<'_>, columns: Columns<'_>, keep_alive: bool) -> Option<Vec<Ask>> {
    let (has_url, has_list) = (keys.has("url"), keys.has("request"));
    let first = |names: &[&'static str]| names.iter().copied().find(|name| keys.has(name));
    let (body, secret) = (first(&["body", "body_file", "body_template"]), first(&["basic", "bearer_file"]));
    let said = Said::read(keys, Base::Top, columns);
    if let Some(key) = body.filter(|_| has_list) {
        keys.refuse_key(key, "a body beside a list of requests", "a body in each request that has one");
    }
    if has_list && !has_url && said.is_for_one_server() {
        let right = "the \"url\" of that server, or these in the requests to it";
        let seen = "authorization, Host or Cookie that are for one server, and no \"url\"";
        keys.refuse_key(secret.unwrap_or("headers"), seen, right);
    }
    let base = match (has_url, said.url()) {
        (false, _) => Base::Missing,
        (true, None) => Base::Wrong,
        (true, Some(url)) => Base::Of(url),
    };
    let list = keys.tables("request", MAX_REQUESTS, |keys| {
        let one = Said::read_one(keys, base, columns);
        if !has_url {
            let url = one.url().map(drop);
            keys.required("url", url);
        }
        one
    });
    if !has_list {
        let url = said.url().map(drop);
        keys.required("url", url);
        return said.ask(keep_alive).map(|ask| vec![ask]);
    }
    let list = list?;
    list.into_iter().map(|one| one.ask_under(&said, keep_alive)).collect()
}

/// Refuses what HTTP/2 can't do, where it may be spoken.
fn check_http2(keys: &mut Keys<'_>, http2: Http2, asks: &[Ask], dial: &dial::Settings) {
    // A template's host is seen when it is asked for.
    let host = |ask: &Ask| ask.headers.get(HOST).and_then(Template::as_same);
    let is_wrong =
        |ask: &Ask| http2.may_be_spoken(ask.url.tls) && !host(ask).is_none_or(|host| h2::can_be_asked(&host));
    if asks.iter().any(is_wrong) {
        let right = "a host that HTTP/2 can ask for, as in \"host:81\"; or http2 = \"never\"";
        keys.refuse_key("headers", "the value of header \"Host\"", right);
    }
    if http2 == Http2::PriorKnowledge && dial.proxy().is_some() && asks.iter().any(|ask| !ask.url.tls) {
        keys.refuse_key("http2", "\"prior-knowledge\" through a proxy in the clear", "https, or no proxy");
    }
}

/// Whether cookies are kept, each connection's for itself.
fn cookies(keys: &mut Keys<'_>, asks: &[Ask], keep_alive: bool) -> bool {
    let cookies = keys.boolean("cookies").unwrap_or(false);
    if cookies && asks.iter().any(|ask| ask.headers.contains_key(COOKIE)) {
        keys.refuse_key("cookies", "\"cookies\" and the header Cookie", "one of them");
    }
    if cookies && !keep_alive {
        keys.refuse_key("cookies", "\"cookies\" without \"keep_alive\"", "one of them: cookies are a connection's");
    }
    cookies
}

/// Whether compressed bodies are asked for.
fn compressed(keys: &mut Keys<'_>, asks: &[Ask]) -> bool {
    let compressed = keys.boolean("compressed").unwrap_or(false);
    if compressed && asks.iter().any(|ask| ask.headers.contains_key(ACCEPT_ENCODING)) {
        keys.refuse_key("compressed", "\"compressed\" and the header Accept-Encoding", "one of them");
    }
    compressed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hyper::header::AUTHORIZATION;

    use super::*;
    use crate::AGENT;
    use crate::keys::Source;
    use crate::kinds::http::template::{Place, Template};
    use crate::kinds::http::url::Url;

    fn read(file: &Path, text: &str) -> Result<Settings, Vec<String>> {
        let source = Source { file, text, quotes_values: false, now: "", now_unknown: "" };
        let (settings, faults) = source.read(Settings::read);
        match settings.flatten() {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect()),
        }
    }

    #[track_caller]
    fn good(text: &str) -> Settings {
        read(Path::new("x.toml"), &format!("url = \"http://host/\"\n{text}")).unwrap()
    }

    #[test]
    fn headers_are_the_types_and_ours() {
        #[track_caller]
        fn check(text: &str, expect: &[(&str, &str)]) {
            let settings = good(text);
            let headers: Vec<_> = settings.asks[0].headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
            let expect: Vec<_> =
                expect.iter().map(|(name, value)| (*name, Template::same(value.to_string()))).collect();
            let expect: Vec<_> = expect.iter().map(|(name, value)| (*name, value)).collect();
            assert_eq!(headers, expect, "{text}");
        }
        check("", &[("host", "host"), ("user-agent", AGENT)]);
        check(
            "headers = { Host = \"other\", Accept = \"a\", User-Agent = \"me\" }",
            &[("host", "other"), ("user-agent", "me"), ("accept", "a")],
        );
        check("keep_alive = false", &[("host", "host"), ("user-agent", AGENT), ("connection", "close")]);
        check("body = \"12345\"", &[("host", "host"), ("user-agent", AGENT), ("content-length", "5")]);
        check("method = \"POST\"", &[("host", "host"), ("user-agent", AGENT), ("content-length", "0")]);
    }

    #[test]
    fn statuses_are_numbers_and_classes() {
        assert_eq!(good("").asks[0].expect.status, [200..=399]);
        assert_eq!(good("expect = { status = [201, \"5xx\"] }").asks[0].expect.status, [201..=201, 500..=599]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            let faults = read(Path::new("x.toml"), &format!("url = \"http://host/\"\n{text}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(expect), "{faults:?}");
        }
        check("method = \"get\"", "a method in capitals");
        check("method = \"CONNECT\"", "not CONNECT");
        check("headers = { \"a b\" = \"c\" }", "the name of header \"a b\": letters");
        check("headers = { a = \"b\\nc\" }", "the value of header \"a\": no control characters");
        check("headers = { Content-Length = \"7\" }", "follows from body");
        check("body = \"x\"\nbody_file = \"/dev/null\"", "the file \"body_file\" names is a device");
        check("timeout = \"51s\"", "from 1ms to 50s");
        check("keep_alive = 1", "true or false");
        check("http2 = \"h2\"", "\"alpn\" or \"never\" or \"prior-knowledge\"");
        check("http2 = \"prior-knowledge\"\nproxy = \"http://proxy\"", "https, or no proxy");
        check("http2 = \"prior-knowledge\"\nheaders = { Host = \"a b\" }", "a host that HTTP/2 can ask for");
        check("bearer_file = \"/nowhere\"", "does not exist");
        check("basic = { user = \"a\" }", "no key \"basic.password_file\"");
        check("expect = { status = [] }", "an empty list");
        check("expect = { status = [99] }", "from 100 to 599");
        check("expect = { status = [\"6xx\"] }", "from 100 to 599");
        check("expect = { status = [\"+2xx\"] }", "from 100 to 599");
        check("expect = { body = \"\" }", "not an empty one");
        check("expect = { body_max = -1 }", "a number of bytes");
    }

    #[test]
    fn a_url_is_taken_apart_around_its_values() {
        #[track_caller]
        fn check(url: &str, path: &str, example: &str) {
            let settings = read(Path::new("x.toml"), &format!("url = \"{url}\"")).unwrap();
            let ask = &settings.asks[0];
            assert_eq!(ask.path, Template::parse(path, Place::Url, Columns::None).unwrap(), "{url}");
            assert_eq!(ask.url.path, example, "{url}");
        }
        check("http://host", "/", "/");
        check("http://host?a=b", "/?a=b", "/?a=b");
        check("http://host/{{n}}", "/{{n}}", "/0");
        check("http://host?{{n}}", "/?{{n}}", "/?0");
        check("http://host/a?b={{uuid}}&c={{ n }}", "/a?b={{uuid}}&c={{n}}", "/a?b=0&c=0");
        check("http://host/{{{{n}}", "/{{{{n}}", "/{{n}}");
    }

    #[test]
    fn what_is_wrong_with_values_and_lists_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        write("good.csv", b"id,sec ret\n1,fine\n2,\"a\nb\"\n");
        write("ragged.csv", b"id,secret\n1\n");
        write("binary", b"\xff{{n}}");
        write("token", b"sesame\n");
        let check = |text: &str, expect: &[&str]| {
            let faults = read(&folder.path().join("x.toml"), text).unwrap_err();
            assert_eq!(faults, expect, "{text}");
        };
        let url = "url = \"http://h/\"\n";
        let with_url = |text: &str, expect: &[&str]| check(&format!("{url}{text}"), expect);
        let server = "a server that is always the same; values in path and query alone";
        check("url = \"http://{{n}}/\"", &[&format!("\"url\" has a value before its path: {server}")]);
        check("url = \"http://h{{n}}\"", &[&format!("\"url\" has a value before its path: {server}")]);
        check("url = \"http://h:{{n}}/\"", &[&format!("\"url\" has a value before its path: {server}")]);
        check("url = \"{{uuid}}\"", &[&format!("\"url\" can't be this string: {}", Url::RIGHT)]);
        check("url = \"/path\"", &[&format!("\"url\" can't be this string: {}", Url::RIGHT)]);
        check(
            "url = \"http://h/{{uid}}\"",
            &["\"url\" has {{uid}}, which is not known: the nearest known one is {{uuid}}"],
        );
        with_url(
            "headers = { a = \"{{nw}}\" }",
            &["the value of header \"a\" has {{nw}}, which is not known: the nearest known one is {{n}}"],
        );
        with_url(
            "body = \"{{csv.id}}\"",
            &["\"body\" has a column and there is no key \"csv\": the file to take it from"],
        );
        with_url(
            "csv = \"good.csv\"\nbody = \"{{csv.di}}\"",
            &["\"body\" has {{csv.di}}, which is not known: the nearest known one is {{csv.id}}"],
        );
        with_url(
            "csv = \"good.csv\"\nheaders = { a = \"{{csv.sec ret}}\" }",
            &["a value of row 2 for header \"a\": no control characters in a column that a header has"],
        );
        // Nothing is said twice.
        with_url(
            "csv = \"ragged.csv\"\nbody = \"{{csv.id}}\"",
            &[
                "the file \"csv\" names has 1 values in line 2 and 2 columns: as many values in each line as the first one \
             names",
            ],
        );
        with_url(
            "csv = \"none.csv\"\nbody = \"{{csv.id}}\"",
            &["the file \"csv\" names does not exist: a file was expected here"],
        );
        with_url("csv_order = \"random\"", &["an order and no key \"csv\": the file that has the rows"]);
        with_url(
            "body_template = \"binary\"",
            &["the file \"body_template\" names is not UTF-8: UTF-8, or \"body_file\", which is sent as it is"],
        );
        with_url("body = \"\"\nbody_template = \"good.csv\"", &["\"body\" and \"body_template\": one of them"]);
        with_url(
            "[[request]]\nweight = 0",
            &["\"request[1].weight\" can't be this integer: a whole number from 1 to 1000"],
        );
        with_url("request = []", &["\"request\" has 0 tables: tables, as in [[request]], from 1 to 100"]);
        with_url(
            "body = \"x\"\n[[request]]",
            &["a body beside a list of requests: a body in each request that has one"],
        );
        with_url(
            "[[request]]\nurl = \"path\"",
            &[&format!("\"request[1].url\" can't be this string: {}; or a path, as in \"/path?query\"", Url::RIGHT)],
        );
        with_url("[[reqeust]]", &["unknown key \"reqeust\": the nearest known one is \"request\""]);
        with_url(
            "[[request]]\ntimeout = \"1s\"",
            &["unknown key \"request[1].timeout\": the known ones are weight, url, method, headers, body, body_file, \
             body_template, basic, bearer_file, expect"],
        );
        check("[[request]]", &["no key \"request[1].url\": it can't be left out"]);
        check(
            "[[request]]\nurl = \"/path\"",
            &[&format!(
                "\"request[1].url\" is a path, and the type has no \"url\" that it could be a path of: {}",
                Url::RIGHT
            )],
        );
        check(
            "url = 1\n[[request]]\n[[request]]\nurl = \"/path\"",
            &[&format!("\"url\" can't be this integer: {}", Url::RIGHT)],
        );
        check(
            "bearer_file = \"token\"\n[[request]]\nurl = \"http://h/\"",
            &[
                "authorization, Host or Cookie that are for one server, and no \"url\": the \"url\" of that server, or these \
             in the requests to it",
            ],
        );
    }

    #[test]
    fn what_a_request_says_is_in_place_of_what_the_type_says() {
        let folder = tempfile::tempdir().unwrap();
        for (name, secret) in [("type", "Open"), ("own", "sesame")] {
            std::fs::write(folder.path().join(name), secret).unwrap();
        }
        let check = |of_type: &str, own: &str, expect: &[&str]| {
            let text = format!("url = \"http://host/\"\n{of_type}\n[[request]]\n{own}\n");
            let settings = read(&folder.path().join("x.toml"), &text).unwrap();
            let all = settings.asks[0].headers.iter().skip(2);
            let seen: Vec<_> = all.map(|(name, value)| format!("{name}: {}", value.example())).collect();
            assert_eq!(seen, expect, "{text}");
        };
        check("headers = { A = \"1\", B = \"2\" }", "headers = { b = \"3\", c = \"4\" }", &["a: 1", "b: 3", "c: 4"]);
        let bearer = "authorization: Bearer sesame";
        check("", "bearer_file = \"own\"", &[bearer]);
        check("bearer_file = \"type\"", "bearer_file = \"own\"", &[bearer]);
        check("headers = { Authorization = \"type\" }", "bearer_file = \"own\"", &[bearer]);
        check("bearer_file = \"type\"", "headers = { Authorization = \"own\" }", &["authorization: own"]);
        check("basic = { user = \"a\", password_file = \"type\" }", "bearer_file = \"own\"", &[bearer]);
        check("bearer_file = \"own\"", "", &[bearer]);
        check("bearer_file = \"own\"", "url = \"http://host:80/x\"", &[bearer]);
        check("bearer_file = \"own\"", "url = \"http://host:81/x\"", &[]);
        check("bearer_file = \"own\"", "url = \"https://host:80/x\"", &[]);
        check("method = \"POST\"", "", &["content-length: 0"]);
        check("method = \"POST\"", "method = \"GET\"", &[]);
        check("method = \"POST\"", "body = \"{{n}}\"", &["content-length: 0"]);
    }

    #[test]
    fn what_is_the_same_compares_equal() {
        let text = "headers = { a = \"{{uuid}}\" }\n[[request]]\nweight = 2\n[[request]]\n";
        assert_eq!(good(text), good(text));
        assert_ne!(good(text), good(&text.replace("uuid", "n")));
        assert_ne!(good(text), good(&text.replace('2', "3")));
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(folder.path().join("secret"), "sesame\n").unwrap();
        std::fs::write(folder.path().join("two"), "a\nb\n").unwrap();
        std::fs::write(folder.path().join("body"), "a\nb\n").unwrap();
        let read = |text: &str| read(&file, &format!("url = \"http://host/\"\n{text}"));

        let basic = read("basic = { user = \"Aladdin\", password_file = \"secret\" }").unwrap();
        assert_eq!(basic.asks[0].headers[AUTHORIZATION], Template::same("Basic QWxhZGRpbjpzZXNhbWU="));
        let bearer = read("bearer_file = \"secret\"").unwrap();
        assert_eq!(bearer.asks[0].headers[AUTHORIZATION], Template::same("Bearer sesame"));
        assert!(!format!("{bearer:?}").contains("sesame"));
        assert_eq!(read("body_file = \"body\"").unwrap().asks[0].body, Template::same("a\nb\n"));

        let colon = read("basic = { user = \"a:b\", password_file = \"secret\" }").unwrap_err();
        assert!(colon[0].contains("without a colon"), "{colon:?}");
        assert!(read("bearer_file = \"two\"").unwrap_err()[0].contains("one line"));
        let both = read("bearer_file = \"secret\"\nheaders = { Authorization = \"x\" }").unwrap_err();
        assert!(both[0].contains("one of them"), "{both:?}");
        let both = read("body_file = \"body\"\nbody = \"x\"").unwrap_err();
        assert!(both[0].contains("one of them"), "{both:?}");
    }
}
