//! What a type of the kind `tcp` says: whom to connect to, and what is said there.

use std::time::Duration;

use bytes::Bytes;

use super::expect::Expect;
use crate::keys::Keys;
use crate::kinds::dial::Host;
use crate::kinds::timeout;

/// The most bytes that a step sends. They are kept in memory.
const MAX_SEND: u64 = 64 << 20;
/// The most steps of a hit.
const MAX_STEPS: usize = 100;

/// Everything about a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whom to connect to.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// Whether over TLS.
    pub tls: bool,
    /// What is said, in turn; nothing: the connection itself is the hit.
    pub steps: Vec<Step>,
    /// Whether a connection is used again.
    pub keep_alive: bool,
    /// How long a hit may take: name, connection, TLS, and all steps.
    pub timeout: Duration,
}

/// One exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What is sent first, which may be nothing.
    pub send: Bytes,
    /// What has to come then.
    pub expect: Option<Expect>,
    /// Whether only new connections have it.
    pub once: bool,
}

impl Settings {
    /// Reads the kind's own keys, and the files that they name; `None` when anything is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let address = keys.parsed("address", "an address as \"host:port\" or \"[::1]:port\"", address);
        let address = keys.required("address", address);
        let tls = keys.boolean("tls").unwrap_or(false);
        let keep_alive = keys.boolean("keep_alive").unwrap_or(false);
        let timeout = timeout(keys);
        let single = step(keys);
        let listed = keys.tables("step", MAX_STEPS, |keys| {
            let once = keys.boolean("once").unwrap_or(false);
            let step = step(keys);
            if step.is_none() && keys.is_sound() {
                keys.refuse("a step in which nothing is said", "\"send\" or \"expect\", or both");
            }
            step.map(|step| Step { once, ..step })
        });
        if single.is_some() && listed.is_some() {
            keys.refuse_key(
                "step",
                "\"step\" beside \"send\" or \"expect\"",
                "one of them: \"step\" for several exchanges",
            );
        }
        let steps: Vec<_> = match listed {
            Some(listed) => listed.into_iter().flatten().collect(),
            None => single.into_iter().collect(),
        };
        let (host, port) = address.filter(|_| keys.is_sound())?;
        check(keys, &steps, keep_alive);
        keys.is_sound().then_some(Self { host, port, tls, steps, keep_alive, timeout })
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(keys: &mut Keys<'_>, key: &'static str) -> Option<Bytes> {
    keys.parsed(key, "bytes as pairs of hexadecimal digits, as in \"01 ff\"", |text| {
        let bytes = text.split_ascii_whitespace().map(pairs).collect::<Option<Vec<_>>>()?.concat();
        (!bytes.is_empty()).then(|| bytes.into())
    })
}

fn pairs(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = *pair { Some(digit(high)? << 4 | digit(low)?) } else { None }).collect()
}

fn address(text: &str) -> Option<(Host, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let sound = port > 0 && (bracketed || !host.contains([':', '/', ' ', '\0', '[', ']']));
    Some((Host::parse(host).filter(|_| sound)?, port))
}

/// The keys of one exchange; `None` where there are none, or something is wrong.
fn step(keys: &mut Keys<'_>) -> Option<Step> {
    let text = keys.parsed("send", "a text, not an empty one", |text| {
        (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()))
    });
    let bytes = hex(keys, "send_hex");
    let file = keys.contents("send_file", MAX_SEND).map(Bytes::from);
    let mut sends = [text, bytes, file].into_iter().flatten();
    let send = sends.next();
    if sends.next().is_some() {
        keys.refuse("more than one thing to send", "one of \"send\", \"send_hex\" and \"send_file\"");
    }
    let expect = keys.table("expect", Expect::read);
    if send.is_none() && expect.is_none() {
        return None;
    }
    Some(Step { send: send.unwrap_or_default(), expect: expect.flatten(), once: false })
}

/// Refuses what the steps say together and can't be meant.
fn check(keys: &mut Keys<'_>, steps: &[Step], keep_alive: bool) {
    if steps.iter().skip_while(|step| step.once).any(|step| step.once) {
        keys.refuse_key("step", "a step with \"once\" behind one without", "those with \"once\" first");
    }
    let ends = |step: &Step| step.expect.as_ref().is_some_and(|expect| expect.until_close);
    if steps.iter().rev().skip(1).any(ends) {
        keys.refuse_key("step", "a step behind one with \"until_close\"", "\"until_close\" in the last step alone");
    }
    if keep_alive && steps.iter().any(ends) {
        keys.refuse_key("keep_alive", "\"keep_alive\" and \"until_close\"", "one of them");
    }
    if keep_alive && steps.iter().all(|step| step.once) {
        let right =
            "\"send\" or \"expect\", as there is nothing to say over a connection that is kept; or leave it out";
        keys.refuse_key("keep_alive", "\"keep_alive\" alone", right);
    }
}
