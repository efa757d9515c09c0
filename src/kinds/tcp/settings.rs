//! What a type of the kind `tcp` says: whom to connect to, and what is said there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::expect::Expect;
use crate::keys::Keys;
use crate::kinds::dial::{self, Host, Way, socket_path};
use crate::kinds::timeout;
use crate::page::Key;

/// The most bytes that a step sends. They are kept in memory.
const MAX_SEND: u64 = 64 << 20;
/// What `address` takes.
const ADDRESS: &str = "an address as \"host:port\", \"[::1]:port\" or \"unix:/path\"";
/// The most steps of a hit.
const MAX_STEPS: usize = 100;

/// What [`Settings::read`] reads, `expect` and the way to the server apart.
pub const KEYS: &[Key] = &[
    Key { name: "address", meaning: "whom to connect to", default: "needed" },
    Key { name: "tls", meaning: "`true`: over TLS", default: "`false`" },
    Key { name: "keep_alive", meaning: "`true`: connections are used again", default: "`false`" },
    Key { name: "send", meaning: "what is sent; a line's end is `\\r\\n` in most protocols", default: "none" },
    Key { name: "send_hex", meaning: "the same, as bytes that are no text", default: "none" },
    Key { name: "send_file", meaning: "the file that has it, up to 64 MiB", default: "none" },
];

/// What each table of the list `step` has.
pub const STEP_KEYS: &[Key] = &[
    Key { name: "step.send", meaning: "what is sent in this step", default: "none" },
    Key { name: "step.send_hex", meaning: "the same, as bytes that are no text", default: "none" },
    Key { name: "step.send_file", meaning: "the file that has it, up to 64 MiB", default: "none" },
    Key { name: "step.expect.*", meaning: "what has to come then, as in `expect`", default: "none" },
    Key {
        name: "step.once",
        meaning: "`true`: only over new connections, for greetings and logins; before all other steps",
        default: "false",
    },
];

/// Everything about a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whom to connect to; whom the certificate has to be of, where that is a unix socket.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// How connections are got.
    pub dial: dial::Settings,
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

enum Address {
    Port(Host, u16),
    Socket(Arc<Path>),
}

impl Settings {
    /// Reads the kind's own keys, and the files that they name; `None` when anything is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let address = keys.parsed("address", ADDRESS, address);
        let address = keys.required("address", address);
        let tls = keys.boolean("tls").unwrap_or(false);
        let keep_alive = keys.boolean("keep_alive").unwrap_or(false);
        let timeout = timeout(keys);
        let mut dial = dial::Settings::read(keys);
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
        let address = address.filter(|_| keys.is_sound())?;
        let (host, port) = match address {
            Address::Port(host, port) => {
                if tls && dial.server_name.is_none() && host.server_name().is_err() {
                    keys.refuse_key("address", "a host that no certificate can be of", "a name that DNS knows");
                }
                (host, port)
            }
            Address::Socket(path) => {
                if dial.way != Way::Host {
                    keys.refuse_key("resolve", "\"resolve\" beside a unix socket", "one of them");
                }
                dial.way = Way::Socket(path);
                (Host::Name(String::from("localhost")), 0)
            }
        };
        if !tls
            && (dial.insecure || dial.authorities.is_some() || dial.identity.is_some() || dial.server_name.is_some())
        {
            // Who believes that this is encrypted would be wrong.
            keys.refuse("keys for TLS without \"tls\"", "\"tls = true\", or none of them");
        }
        check(keys, &steps, keep_alive);
        keys.is_sound().then_some(Self { host, port, dial, tls, steps, keep_alive, timeout })
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

fn address(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Address::Socket);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let sound = port > 0 && (bracketed || !host.contains([':', '/', ' ', '\0', '[', ']']));
    Some(Address::Port(Host::parse(host).filter(|_| sound)?, port))
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
    if send.as_ref().is_some_and(Bytes::is_empty) {
        keys.refuse_key("send_file", "an empty file", "one that has something to send");
    }
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
