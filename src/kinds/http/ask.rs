//! One of the requests of a type, as its file says it; and what is expected of the answer.
//!
//! A type says one request, or has a list of them; what one in the list doesn't
//! say is as the type says. What only one server is to hear (credentials, and
//! the name it goes by) is taken from the type only for the type's own server.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Method, Uri};

use super::expect::Expect;
use super::template::{Columns, Place, Template, Wrong};
use super::turns::MAX_WEIGHT;
use super::url::Url;
use super::values::Value;
use crate::AGENT;
use crate::credentials;
use crate::fault::quote;
use crate::keys::Keys;
use crate::kinds::dial::Host;
use crate::page::Key;

/// The largest body that is sent, in bytes. It is kept in memory.
const MAX_BODY: u64 = 64 << 20;
/// The headers that are one server's business.
const OF_ONE_SERVER: [HeaderName; 4] = [HOST, AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// What [`Said::read`] reads, `expect` apart.
pub const KEYS: &[Key] = &[
    Key { name: "url", meaning: "what is asked for", default: "needed, unless every `[[request]]` has one" },
    Key { name: "method", meaning: "how", default: "`\"GET\"`" },
    Key {
        name: "headers",
        meaning: "the request's headers; not `Content-Length`, `Transfer-Encoding`, `Connection`, which follow from other \
                  keys",
        default: "`Host`, and `User-Agent: canihaz/VERSION`",
    },
    Key { name: "body", meaning: "the request's body", default: "none" },
    Key { name: "body_file", meaning: "the file that has it, up to 64 MiB, and is sent as it is", default: "none" },
    Key { name: "body_template", meaning: "the file that has it, in which values change by hit", default: "none" },
    Key { name: "basic.user", meaning: "who asks, as Basic authentication has it", default: "none" },
    Key { name: "basic.password_file", meaning: "the file that has the password, in one line", default: "none" },
    Key { name: "bearer_file", meaning: "the file that has a token, in one line", default: "none" },
];

/// What [`Said::read_one`] reads.
pub const KEYS_OF_ONE: &[Key] = &[
    Key { name: "request", meaning: "several requests in turn; each can say what follows", default: "none" },
    Key { name: "request.weight", meaning: "how often it is sent, compared with the others", default: "1" },
    Key { name: "request.url", meaning: "what is asked for", default: "the type's" },
    Key { name: "request.method", meaning: "how", default: "the type's" },
    Key {
        name: "request.headers",
        meaning: "headers beside the type's, or in place of those of the same name",
        default: "the type's",
    },
    Key { name: "request.body", meaning: "its body; the type has none then", default: "none" },
    Key { name: "request.body_file", meaning: "as above", default: "none" },
    Key { name: "request.body_template", meaning: "as above", default: "none" },
    Key { name: "request.basic.*", meaning: "as above", default: "the type's, on the type's server" },
    Key { name: "request.bearer_file", meaning: "as above", default: "the type's, on the type's server" },
    Key { name: "request.expect.*", meaning: "as below, in place of all that the type expects", default: "the type's" },
];

/// A request, and what is expected of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// What is asked for; in its path, a `0` stands for each value that changes by hit.
    pub url: Url,
    /// Path and query.
    pub path: Template,
    /// How.
    pub method: Method,
    /// All headers of the request, those included that were not asked for.
    pub headers: HeaderMap<Template>,
    /// The request's body.
    pub body: Template,
    /// What is expected of the answer.
    pub expect: Expect,
    /// How often it is sent, compared with others of its list.
    pub weight: u16,
}

/// What a table says of a request: a type's own, or one of its list.
#[derive(Debug, Default)]
pub struct Said {
    address: Option<Address>,
    method: Option<Method>,
    headers: HeaderMap<Template>,
    authorization: Option<Template>,
    body: Option<Template>,
    expect: Option<Expect>,
    weight: Option<u16>,
}

/// The URL above that of a request.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// There can be none: it is a type's own.
    Top,
    /// The type has none.
    Missing,
    /// The type's is wrong, which was said.
    Wrong,
    /// The type's.
    Of(&'a Url),
}

/// A URL, and what changes in it.
#[derive(Clone, Debug)]
struct Address {
    url: Url,
    path: Template,
}

impl Ask {
    /// A plain GET of `/` from `address`.
    pub fn get(address: SocketAddr) -> Self {
        let authority = HeaderValue::try_from(address.to_string()).expect("an address is of visible ASCII");
        let (host, port) = (Host::Address(address.ip()), address.port());
        let url = Url { tls: false, host, port, authority, path: Uri::from_static("/") };
        Self::new(&url, Template::same("/"), Said::default(), true)
    }

    fn new(url: &Url, path: Template, said: Said, keep_alive: bool) -> Self {
        let method = said.method.unwrap_or_default();
        let mut headers = HeaderMap::default();
        headers.insert(HOST, Template::same(Bytes::copy_from_slice(url.authority.as_bytes())));
        headers.insert(USER_AGENT, Template::same(AGENT));
        // Replaces those two where it has them.
        headers.extend(said.headers);
        if let Some(authorization) = said.authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        // Servers may insist on it where a body is usual; where none is, it would be a surprise.
        if said.body.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            let mut length = Template::default();
            match said.body.as_ref().map_or_else(|| Some(Bytes::new()), Template::as_same) {
                Some(body) => length.push(body.len().to_string().as_bytes()),
                None => length.push_value(Value::BodyLength),
            }
            headers.insert(CONTENT_LENGTH, length);
        }
        if !keep_alive {
            headers.insert(CONNECTION, Template::same("close"));
        }
        let (body, expect) = (said.body.unwrap_or_default(), said.expect.unwrap_or_default());
        Self { url: url.clone(), path, method, headers, body, expect, weight: said.weight.unwrap_or(1) }
    }
}

impl Said {
    /// Reads the keys of a request, and the files that they name.
    pub fn read(keys: &mut Keys<'_>, base: Base<'_>, columns: Columns<'_>) -> Self {
        let address = address(keys, base, columns);
        let method = keys.parsed("method", "a method in capitals, as in \"GET\"; not CONNECT", method);
        let headers = headers(keys, columns);
        let body = body(keys, columns);
        let authorization = authorization(keys, &headers).map(Template::same);
        let expect = keys.table("expect", Expect::read);
        Self { address, method, headers, authorization, body, expect, weight: None }
    }

    /// Reads one of a list, which has a weight as well.
    pub fn read_one(keys: &mut Keys<'_>, base: Base<'_>, columns: Columns<'_>) -> Self {
        let weight = keys.integer("weight", 1, MAX_WEIGHT.into()).and_then(|weight| u16::try_from(weight).ok());
        Self { weight, ..Self::read(keys, base, columns) }
    }

    /// Its URL, where it says one.
    pub fn url(&self) -> Option<&Url> {
        self.address.as_ref().map(|address| &address.url)
    }

    /// Whether it has something that only one server is to hear.
    pub fn is_for_one_server(&self) -> bool {
        self.authorization.is_some() || OF_ONE_SERVER.iter().any(|name| self.headers.contains_key(name))
    }

    /// The request that this says; `None` when it has no URL.
    pub fn ask(self, keep_alive: bool) -> Option<Ask> {
        let Address { url, path } = self.address.clone()?;
        Some(Ask::new(&url, path, self, keep_alive))
    }

    /// The request that this says in the list of a type; `None` when neither has a URL.
    pub fn ask_under(self, of_type: &Self, keep_alive: bool) -> Option<Ask> {
        let Address { url, path } = self.address.clone().or_else(|| of_type.address.clone())?;
        let mut headers = of_type.headers.clone();
        // Among the headers, so that whatever the request says replaces it.
        if let Some(authorization) = &of_type.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if !of_type.url().is_some_and(|of_type| of_type.is_of_the_server_of(&url)) {
            OF_ONE_SERVER.iter().for_each(|name| _ = headers.remove(name));
        }
        headers.extend(self.headers);
        let method = self.method.or_else(|| of_type.method.clone());
        let expect = self.expect.or_else(|| of_type.expect.clone());
        Some(Ask::new(&url, path, Self { headers, method, expect, ..self }, keep_alive))
    }
}

impl Address {
    /// Takes a URL apart; `None` where it is none.
    fn of(whole: &Template) -> Option<Result<Self, Wrong>> {
        let example = whole.example();
        let host = example.find("://")? + "://".len();
        let end = example[host..].find(['/', '?', '#']).map_or(example.len(), |end| host + end);
        let Some(rest) = whole.without(end) else {
            let right = "a server that is always the same; values in path and query alone";
            return Some(Err(Wrong::new("has a value before its path", right)));
        };
        let url = Url::parse(&example)?;
        let path = if rest.as_same().is_some() {
            Template::same(url.path.path_and_query().map_or("/", |path| path.as_str()).to_owned())
        } else {
            // A query may follow the host at once; in a request there is always a path.
            let mut path = Template::same(if example[end..].starts_with('/') { "" } else { "/" });
            path.extend(&rest);
            path
        };
        Some(Ok(Self { url, path }))
    }
}

fn address(keys: &mut Keys<'_>, base: Base<'_>, columns: Columns<'_>) -> Option<Address> {
    let right = match base {
        Base::Top => Url::RIGHT.to_owned(),
        Base::Missing | Base::Wrong | Base::Of(_) => format!("{}; or a path, as in \"/path?query\"", Url::RIGHT),
    };
    let read = keys.parsed("url", &right, |text| {
        let mut whole = match Template::parse(text, Place::Url, columns) {
            Ok(template) => template,
            Err(wrong) => return Some(Err(wrong)),
        };
        if text.starts_with('/') && !matches!(base, Base::Top) {
            let mut under = match base {
                Base::Of(url) => Template::same(url.origin()),
                // Any will do: it was said that the type's is wrong.
                Base::Wrong => Template::same("http://host"),
                Base::Top | Base::Missing => {
                    let seen = "is a path, and the type has no \"url\" that it could be a path of";
                    return Some(Err(Wrong::new(seen, Url::RIGHT)));
                }
            };
            under.extend(&whole);
            whole = under;
        }
        Address::of(&whole)
    });
    understood(keys, "url", read?)
}

fn method(text: &str) -> Option<Method> {
    let method: Method = text.parse().ok()?;
    // Methods are case-sensitive: `get` would be sent as it is, and refused by every server.
    let capitals = !text.contains(|c: char| c.is_ascii_lowercase());
    (capitals && method != Method::CONNECT).then_some(method)
}

/// The headers that the table names.
fn headers(keys: &mut Keys<'_>, columns: Columns<'_>) -> HeaderMap<Template> {
    let mut headers = HeaderMap::default();
    for (name, value) in keys.texts("headers").unwrap_or_default() {
        let seen = |what: &str| format!("{what} of header {}", quote(&name));
        let Ok(header) = name.parse::<HeaderName>() else {
            keys.refuse_key("headers", seen("the name"), "letters, digits and dashes");
            continue;
        };
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&header) {
            keys.refuse_key("headers", seen("the value"), "it follows from body and keep_alive, leave it out");
            continue;
        }
        let value = match Template::parse(&value, Place::Header, columns) {
            Ok(value) => value,
            Err(wrong) => {
                keys.refuse_key("headers", format!("{} {}", seen("the value"), wrong.seen), wrong.right);
                continue;
            }
        };
        let sound = |text: &[u8]| HeaderValue::from_bytes(text).is_ok();
        if !sound(value.example().as_bytes()) {
            keys.refuse_key("headers", seen("the value"), "no control characters");
        } else if let Columns::Of(rows) = columns
            && let Some(row) = value.columns().find_map(|at| (0..rows.count()).find(|row| !sound(rows.value(*row, at))))
        {
            let seen = format!("a value of row {} for header {}", row + 1, quote(&name));
            keys.refuse_key("headers", seen, "no control characters in a column that a header has");
        } else {
            headers.append(header, value);
        }
    }
    headers
}

/// The body: a text, in which values may change, or a file, which is sent as it is, or in which they may.
fn body(keys: &mut Keys<'_>, columns: Columns<'_>) -> Option<Template> {
    let text = keys.text("body");
    let file = keys.contents("body_file", MAX_BODY);
    let template = keys.contents("body_template", MAX_BODY);
    let given = [("body", text.is_some()), ("body_file", file.is_some()), ("body_template", template.is_some())];
    let mut given = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        keys.refuse_key(second, format!("\"{first}\" and \"{second}\""), "one of them");
    }
    if let Some(file) = file {
        return Some(Template::same(file));
    }
    let (key, text) = match (text, template.map(String::from_utf8)) {
        (_, Some(Err(_))) => {
            let seen = format!("the file {} names is not UTF-8", keys.name("body_template"));
            keys.refuse_key("body_template", seen, "UTF-8, or \"body_file\", which is sent as it is");
            return None;
        }
        (_, Some(Ok(template))) => ("body_template", template),
        (Some(text), None) => ("body", text),
        (None, None) => return None,
    };
    understood(keys, key, Template::parse(&text, Place::Body, columns))
}

/// The header `Authorization`, where the table has `basic` or `bearer_file`.
fn authorization(keys: &mut Keys<'_>, headers: &HeaderMap<Template>) -> Option<Vec<u8>> {
    let basic = credentials::basic(keys, "basic");
    let bearer = credentials::bearer(keys);
    let ways = [basic.is_some(), bearer.is_some(), headers.contains_key(AUTHORIZATION)];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        let key = if basic.is_some() { "basic" } else { "bearer_file" };
        keys.refuse_key(key, "two of \"basic\", \"bearer_file\" and the header Authorization", "one of them");
    }
    basic.or(bearer).map(|header| header.as_bytes().to_vec())
}

/// What was understood of `key`, or a fault.
fn understood<T>(keys: &mut Keys<'_>, key: &'static str, read: Result<T, Wrong>) -> Option<T> {
    read.map_err(|Wrong { seen, right }| keys.refuse_key(key, format!("{} {seen}", keys.name(key)), right)).ok()
}
