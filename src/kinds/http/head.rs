//! What an answer's head says, beyond where its body ends.

use std::rc::Rc;

use bytes::Bytes;

use super::decode::Coding;

/// A status, and what of the headers matters to whoever asked.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The status, from 100 to 999.
    pub status: u16,
    /// How the body is compressed; `None` also where nobody wants to look into it.
    pub coding: Option<Coding>,
    wants: Wants,
    /// What few answers have; shared, as a head that came before is a copy of it.
    noted: Option<Rc<Noted>>,
}

/// What of the headers matters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wants {
    /// Whether redirects are followed.
    pub redirects: bool,
    /// Whether cookies are kept.
    pub cookies: bool,
    /// Whether a compressed body is looked into.
    pub coding: bool,
}

#[derive(Clone, Debug, Default)]
struct Noted {
    location: Option<Bytes>,
    cookies: Vec<Bytes>,
}

impl Head {
    /// A head of which the status is known, for somebody who wants so much of the rest.
    pub fn new(status: u16, wants: Wants) -> Self {
        Self { status, wants, ..Self::default() }
    }

    /// Takes note of a header, if it matters.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        let Wants { redirects, cookies, coding } = self.wants;
        if redirects && is_redirect(self.status) && name.eq_ignore_ascii_case("location") {
            self.noted().location = Some(Bytes::copy_from_slice(value));
        } else if cookies && name.eq_ignore_ascii_case("set-cookie") {
            self.noted().cookies.push(Bytes::copy_from_slice(value));
        } else if coding && name.eq_ignore_ascii_case("content-encoding") {
            self.coding = Coding::and_then(self.coding, value);
        }
    }

    /// Where to ask instead, as it was said; `None` also where nobody would.
    pub fn location(&self) -> Option<&Bytes> {
        self.noted.as_ref()?.location.as_ref()
    }

    /// The cookies that are to be kept, as they were said.
    pub fn cookies(&self) -> &[Bytes] {
        self.noted.as_ref().map_or(&[], |noted| &noted.cookies)
    }

    fn noted(&mut self) -> &mut Noted {
        Rc::make_mut(self.noted.get_or_insert_default())
    }
}

/// Whether the status asks to go elsewhere. 300 leaves a choice, 304 and 305 mean something else.
const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_noted() {
        #[track_caller]
        fn check(status: u16, wants: Wants, expect: (bool, usize, Option<Coding>)) {
            let mut head = Head::new(status, wants);
            for (name, value) in
                [("LOCATION", "/b"), ("Set-Cookie", "a=b"), ("set-cookie", "c=d"), ("content-Encoding", "gzip")]
            {
                head.note(name, value.as_bytes());
            }
            assert_eq!((head.location().is_some(), head.cookies().len(), head.coding), expect, "{status} {wants:?}");
            assert_eq!(head.noted.is_some(), expect.0 || expect.1 > 0);
        }
        let nothing = Wants::default();
        check(302, nothing, (false, 0, None));
        check(302, Wants { redirects: true, ..nothing }, (true, 0, None));
        check(200, Wants { redirects: true, ..nothing }, (false, 0, None));
        for status in [300, 304, 305, 306] {
            check(status, Wants { redirects: true, ..nothing }, (false, 0, None));
        }
        check(200, Wants { cookies: true, ..nothing }, (false, 2, None));
        check(200, Wants { coding: true, ..nothing }, (false, 0, Some(Coding::Gzip)));
    }
}
