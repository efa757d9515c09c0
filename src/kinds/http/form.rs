//! A request with blanks, filled in for each hit; or one that has none, and is sent as it stands.

use std::cell::RefCell;
use std::ops::Deref;

use hyper::Method;

use super::ask::Ask;
use super::request::{Body, Request};
use super::template::Template;
use super::values::Source;

/// What a hit's request is made from.
#[derive(Debug)]
pub enum Form {
    /// The request of every hit.
    Same(Request),
    /// One in which something changes.
    Blank(Blank),
}

/// A request in which something changes.
#[derive(Debug)]
pub struct Blank {
    head: Template,
    body: Template,
    idempotent: bool,
    is_head: bool,
    /// Requests of hits that are over, whose memory the next ones have: never more than were in flight at once.
    #[expect(clippy::vec_box, reason = "a hit's future would be larger by a request that most have no use for")]
    spare: RefCell<Vec<Box<Request>>>,
}

/// The request of one hit.
#[derive(Debug)]
pub enum Filled<'a> {
    /// One that is all hits'.
    Same(&'a Request),
    /// One of its own, `None` once that has been given back.
    Own(Option<Box<Request>>, &'a Blank),
}

impl Form {
    /// The form of what is asked.
    pub fn new(ask: &Ask) -> Self {
        let mut head = Template::same(format!("{} ", ask.method));
        head.extend(&ask.path);
        head.push(b" HTTP/1.1\r\n");
        for (name, value) in &ask.headers {
            head.push(name.as_str().as_bytes());
            head.push(b": ");
            head.extend(value);
            head.push(b"\r\n");
        }
        head.push(b"\r\n");
        let (idempotent, is_head) = (ask.method.is_idempotent(), ask.method == Method::HEAD);
        match (head.as_same(), ask.body.as_same()) {
            (Some(head), Some(body)) => {
                Self::Same(Request { head: head.into(), body: Body::Same(body), idempotent, is_head })
            }
            _ => {
                let body = ask.body.clone();
                Self::Blank(Blank { head, body, idempotent, is_head, spare: RefCell::default() })
            }
        }
    }

    /// The request of the hit of this number.
    pub fn fill(&self, number: u64, values: &Source) -> Filled<'_> {
        match self {
            Self::Same(request) => Filled::Same(request),
            Self::Blank(blank) => blank.fill(number, values),
        }
    }
}

impl Blank {
    fn fill(&self, number: u64, values: &Source) -> Filled<'_> {
        let mut request = self.spare.borrow_mut().pop().unwrap_or_else(|| self.request());
        let mut hit = values.hit(number);
        if let Body::Written(body) = &mut request.body {
            body.clear();
            self.body.write(&mut hit, body);
        }
        hit.body_length = request.body.len();
        request.head.clear();
        self.head.write(&mut hit, &mut request.head);
        Filled::Own(Some(request), self)
    }

    /// A request to be written.
    fn request(&self) -> Box<Request> {
        let body = self.body.as_same().map_or_else(|| Body::Written(Vec::new()), Body::Same);
        Box::new(Request { head: Vec::new(), body, idempotent: self.idempotent, is_head: self.is_head })
    }
}

impl Deref for Filled<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        match self {
            Self::Same(request) => request,
            Self::Own(request, _) => request.as_ref().expect("it is given back when it is dropped, and not before"),
        }
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        if let Self::Own(request, blank) = self {
            blank.spare.borrow_mut().extend(request.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::h2::Translated;
    use super::*;
    use crate::keys;
    use crate::kinds::http::Settings;

    /// The form of the type's only request.
    fn form(text: &str) -> Form {
        let text = format!("url = \"http://host/a/{{{{n}}}}?b=c\"\n{text}");
        let source =
            keys::Source { file: Path::new("x.toml"), text: &text, quotes_values: false, now: "", now_unknown: "" };
        let (settings, faults) = source.read(Settings::read);
        assert_eq!(faults, []);
        Form::new(&settings.flatten().unwrap().asks[0])
    }

    fn shown(request: &Request) -> String {
        let head = String::from_utf8(request.head.clone()).unwrap();
        head.replace(crate::AGENT, "us") + std::str::from_utf8(&request.body).unwrap()
    }

    #[test]
    fn a_hit_has_a_request_of_its_own() {
        let form = form("method = \"PUT\"\nheaders = { X-Id = \"{{n}}\" }\nbody = \"<{{n}}>\"\n");
        let values = Source::new(None);
        let (first, second) = (form.fill(7, &values), form.fill(1000, &values));
        let expect = |n: &str, length| {
            format!(
                "PUT /a/{n}?b=c HTTP/1.1\r\nhost: host\r\nuser-agent: us\r\nx-id: {n}\r\ncontent-length: {length}\r\n\r\n\
                 <{n}>"
            )
        };
        assert_eq!((shown(&first), shown(&second)), (expect("7", 3), expect("1000", 6)));
        assert!(first.idempotent && !first.is_head);
        drop(second);
        drop(first);
        assert_eq!(shown(&form.fill(8, &values)), expect("8", 3));
    }

    #[test]
    fn memory_is_used_again() {
        let form = form("method = \"POST\"\nbody = \"{{uuid}}\"\n");
        let values = Source::new(None);
        let places = |request: &Request| (request.head.as_ptr(), request.body.as_ptr());
        let first = places(&form.fill(0, &values));
        for number in 1..100 {
            assert_eq!(places(&form.fill(number, &values)), first);
        }
    }

    #[test]
    fn a_body_without_blanks_is_not_copied() {
        let form = form("method = \"POST\"\nbody = \"same\"\n");
        let values = Source::new(None);
        let (first, second) = (form.fill(0, &values), form.fill(1, &values));
        assert_eq!(first.body.as_ptr(), second.body.as_ptr());
        assert!(matches!(first.body, Body::Same(_)));
        assert!(shown(&first).ends_with("content-length: 4\r\n\r\nsame"));
    }

    #[test]
    fn the_same_is_said_in_http_2() {
        let form =
            form("method = \"POST\"\nbody = \"{{n}}\"\nkeep_alive = false\nheaders = { X-N = \"{{n}}\", A = \"b\" }\n");
        let filled = form.fill(12, &Source::new(None));
        let request = Translated::default().head(&filled.head, true).unwrap();
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "https://host/a/12?b=c"));
        let headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let agent = crate::AGENT;
        assert_eq!(headers, [("user-agent", agent), ("x-n", "12"), ("a", "b"), ("content-length", "2")]);
        assert_eq!(filled.body.bytes(), "12");
    }
}
