//! An error in words, and in one word.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use tokio::time::error::Elapsed;

use super::runner::Panicked;
use crate::fault::head;
use crate::target::{Failure, Reason};

/// The most that is told of an error, in bytes.
const MAX_WORDS: usize = 8 << 10;

/// An error with all its sources: `error sending request: tcp connect error: Connection refused`.
pub(super) fn words(error: &(dyn StdError + 'static)) -> String {
    let mut words = String::new();
    for error in chain(error) {
        let more = error.to_string();
        // Some say what their sources say.
        if words.ends_with(&more) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&more);
    }
    words.truncate(head(&words, MAX_WORDS).len());
    words
}

/// Why a journey failed, as far as its error tells.
pub(super) fn reason(error: &(dyn StdError + 'static)) -> Reason {
    chain(error).find_map(reason_of).unwrap_or(Reason::Other)
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| error.source())
}

fn reason_of(error: &(dyn StdError + 'static)) -> Option<Reason> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.reason);
    }
    if error.is::<Panicked>() {
        return Some(Reason::Panic);
    }
    if error.is::<Elapsed>() {
        return Some(Reason::Timeout);
    }
    error.downcast_ref::<reqwest::Error>().map(reason_of_request)
}

fn reason_of_request(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        return Reason::Timeout;
    }
    if error.is_status() {
        return Reason::Status;
    }
    if error.is_dns() {
        return Reason::Dns;
    }
    if error.is_connect() {
        return if chain(error).any(is_tls) { Reason::Tls } else { Reason::Connect };
    }
    if error.is_body() || error.is_decode() {
        return Reason::Body;
    }
    let parse = chain(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse);
    if parse { Reason::Protocol } else { Reason::Other }
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    error.is::<rustls::Error>() || error.downcast_ref::<io::Error>().is_some_and(is_of_tls)
}

/// Whether there is an error of TLS in it, at any depth: as a source an I/O error doesn't show what is in it, but the
/// source of that.
fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_of_tls))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<dyn StdError + Send + Sync>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Layer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn an_error_is_told_with_its_sources() {
        #[track_caller]
        fn check(error: &Layer, expect: &str) {
            assert_eq!(words(error), expect);
        }
        check(&Layer("alone", None), "alone");
        check(
            &Layer("above", Some(Layer("below", Some("at the bottom".into())).into())),
            "above: below: at the bottom",
        );
        check(&Layer("above: below", Some("below".into())), "above: below");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let long = "ö".repeat(MAX_WORDS);
        assert_eq!(words(&*Box::<dyn StdError + Send + Sync>::from(long.clone())).len(), MAX_WORDS);
        let odd = format!("x{long}");
        assert_eq!(words(&*Box::<dyn StdError + Send + Sync>::from(odd)).len(), MAX_WORDS - 1);
    }

    #[test]
    fn a_reason_is_found_at_any_depth() {
        #[track_caller]
        fn check(error: Box<dyn StdError + Send + Sync>, expect: Reason) {
            assert_eq!(reason(&*error), expect, "{error}");
            assert_eq!(reason(&Layer("above", Some(error))), expect);
        }
        check("words".into(), Reason::Other);
        check(Failure::new(Reason::Body, "no cats").into(), Reason::Body);
        check(Panicked(String::from("on purpose")).into(), Reason::Panic);
    }

    #[tokio::test]
    async fn time_that_is_over_is_a_timeout() {
        let over = tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(reason(&over), Reason::Timeout);
    }
}
