//! A user and a password, as HTTP's basic authorization has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use crate::keys::Keys;

/// What the table `key` with a `user` and a `password_file` makes of a header `Authorization`: `None` where it isn't
/// there, or is wrong. It is in no debug output.
pub fn basic(keys: &mut Keys<'_>, key: &'static str) -> Option<HeaderValue> {
    let together = keys.table(key, |keys| {
        let user = keys.parsed("user", "a user's name, without a colon", |user| {
            (!user.contains(|c: char| c == ':' || c.is_control())).then(|| user.to_owned())
        });
        let user = keys.required("user", user);
        let password = keys.secret("password_file");
        let password = keys.required("password_file", password);
        Some([user?.as_bytes(), b":", &password?].concat())
    });
    basic_header(&together??)
}

/// What says who asks, of `user:password`; `None` only where a header can't have it. It is in no debug output.
pub fn basic_header(together: &[u8]) -> Option<HeaderValue> {
    secret_header(format!("Basic {}", STANDARD.encode(together)).as_bytes())
}

/// A header that is in no debug output; `None` where there are control characters in it.
pub fn secret_header(value: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
