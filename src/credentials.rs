//! Who asks: the header `Authorization`, of what a file says and of the secrets that it names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use crate::keys::Keys;

/// The most bytes of a user's name for InfluxDB.
const MAX_USER: usize = 256;

/// What the table `key` with a `user` and a `password_file` makes of a header `Authorization`: `None` where it isn't
/// there, or is wrong. It is in no debug output.
pub fn basic(keys: &mut Keys<'_>, key: &'static str) -> Option<HeaderValue> {
    let together = keys.table(key, |keys| {
        let right = "a user's name, without a colon";
        let user = keys.parsed("user", right, |user| can_be_user(user).then(|| user.to_owned()));
        let user = keys.required("user", user);
        let password = keys.secret("password_file");
        let password = keys.required("password_file", password);
        Some([user?.as_bytes(), b":", &password?].concat())
    });
    basic_header(&together??)
}

/// What the key `bearer_file` makes of it: `None` where it isn't there, or is wrong. It is in no debug output.
pub fn bearer(keys: &mut Keys<'_>) -> Option<HeaderValue> {
    secret_header(&[b"Bearer ", keys.secret("bearer_file")?.as_slice()].concat())
}

/// What the keys `user` and `password_file`, or `token_file`, make of it, as InfluxDB has them: `None` where none is
/// there, or something is wrong. It is in no debug output.
pub fn user_or_token(keys: &mut Keys<'_>) -> Option<HeaderValue> {
    let [has_user, has_password, has_token] = ["user", "password_file", "token_file"].map(|key| keys.has(key));
    let right = "a user's name of 1 to 256 bytes, without a colon or control characters";
    let user = keys.parsed("user", right, |user| {
        ((1..=MAX_USER).contains(&user.len()) && can_be_user(user)).then(|| user.to_owned())
    });
    let password = keys.secret("password_file");
    let token = keys.secret("token_file");
    if has_token && (has_user || has_password) {
        let seen = "\"token_file\" beside \"user\" or \"password_file\"";
        keys.refuse_key("token_file", seen, "one of both ways");
        return None;
    }
    if has_user != has_password {
        let (key, other) = if has_user { ("user", "password_file") } else { ("password_file", "user") };
        keys.refuse_key(key, format!("\"{key}\" without \"{other}\""), "both of them");
    }
    match token {
        Some(token) => secret_header(&[b"Token ", token.as_slice()].concat()),
        None => basic_header(&[user?.as_bytes(), b":", &password?].concat()),
    }
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

/// Whether basic authorization can tell such a name from the password behind it.
fn can_be_user(name: &str) -> bool {
    !name.contains(|c: char| c == ':' || c.is_control())
}
