//! Where a program is fetched from: an https URL, which may have secrets in it.

use std::fmt;

use reqwest::Url;

use super::SIGNATURE;

/// The most of a URL that a message shows, in characters.
const MAX_SHOWN: usize = 300;

/// An https URL. It is shown without user, password and query.
#[derive(Clone, Eq, PartialEq)]
pub struct Location(Url);

impl Location {
    /// Whether a text is a URL at all, not a path.
    pub fn is_one(text: &str) -> bool {
        text.contains("://")
    }

    /// Understands a URL.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RIGHT: &str = "a URL as in \"https://host/path\" or \"https://host:8443/path?query\", without fragment";
        let url = Url::parse(text).map_err(|_| RIGHT)?;
        match url.scheme() {
            "https" if url.host_str().is_some_and(|host| !host.is_empty()) && url.fragment().is_none() => Ok(Self(url)),
            "http" => Err("https://, as with http:// anybody on the way could send another program"),
            _ => Err(RIGHT),
        }
    }

    /// Where the signature of what is here is: beside it.
    pub fn signature(&self) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{SIGNATURE}", self.0.path()));
        Self(url)
    }

    /// What the program is called.
    pub fn name(&self) -> String {
        let last = self.0.path_segments().and_then(|mut segments| segments.next_back());
        last.filter(|name| !name.is_empty()).or(self.0.host_str()).unwrap_or_default().to_owned()
    }

    /// All of it, with its secrets.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// A URL without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let shown = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    shown.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_https_is_fetched_and_no_secret_shown() {
        #[track_caller]
        fn check(text: &str, expect: Result<[&str; 3], &str>) {
            let read = Location::parse(text).map(|at| [at.to_string(), at.signature().0.to_string(), at.name()]);
            match (read, expect) {
                (Ok(read), Ok(expect)) => assert_eq!(read, expect),
                (Err(right), Err(expect)) => assert!(right.contains(expect), "{text}: {right}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
        check("https://host/a/b", Ok(["https://host/a/b", "https://host/a/b.minisig", "b"]));
        check("https://host:8443", Ok(["https://host:8443/", "https://host:8443/.minisig", "host"]));
        check(
            "https://me:secret@host/a%20b?token=secret",
            Ok(["https://host/a%20b", "https://me:secret@host/a%20b.minisig?token=secret", "a%20b"]),
        );
        check("HTTPS://[::1]:81/x", Ok(["https://[::1]:81/x", "https://[::1]:81/x.minisig", "x"]));
        check("http://host/a", Err("https://, as with http://"));
        check("ftp://host/a", Err("a URL as in"));
        check("https://", Err("a URL as in"));
        check("https://host/a#b", Err("a URL as in"));
        check("x https://host/a", Err("a URL as in"));
        let debug = format!("{:?}", Location::parse("https://me:secret@host/?secret").unwrap());
        assert!(!debug.contains("secret"), "{debug}");
    }
}
