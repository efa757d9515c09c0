//! What values that change by hit cost: processor time of the thread that hits, a hit, in turns with a type that has none.
//!
//! - *written*: putting the request together, and nothing else.
//! - *a hit*: all of it, against a server on another thread; and the difference to the same hit without values, as the
//!   median over pairs that were measured one after the other.
//!
//! What has to hold: a type without values pays nothing, and one with a value at most 1 µs a hit.

mod served;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use canihaz::kinds::http::HttpTarget;
use canihaz::kinds::{self, Kind};
use canihaz::target::Target;
use nix::time::{ClockId, clock_gettime};

/// How many hits, and how many writings, are measured at once.
const HITS: u64 = 10_000;
const WRITINGS: u64 = 200_000;
/// How many pairs there are of each.
const PAIRS: usize = 21;
/// The rows of the file of values.
const ROWS: usize = 10_000;

/// What a type says beside its server: the name of the row, the path, and the rest of the file.
const TYPES: &[(&str, &str, &str)] = &[
    ("none", "/a", ""),
    ("none, and a body", "/a", "method = \"POST\"\nbody = '{\"id\":1234567}'\n"),
    ("n in the url", "/{{n}}", ""),
    ("uuid in a header", "/a", "headers = { X-Id = \"{{uuid}}\" }\n"),
    ("now in a header", "/a", "headers = { X-At = \"{{now}}\" }\n"),
    ("now_rfc3339 in a header", "/a", "headers = { X-At = \"{{now_rfc3339}}\" }\n"),
    ("a column in the url", "/a?q={{csv.name}}", "csv = \"users.csv\"\n"),
    ("uuid in a body", "/a", "method = \"POST\"\nbody = '{\"id\":\"{{uuid}}\"}'\n"),
    (
        "six, everywhere",
        "/{{n}}?q={{csv.name}}",
        "method = \"POST\"\ncsv = \"users.csv\"\nheaders = { X-Id = \"{{uuid}}\", X-At = \"{{now}}\" }\n\
         body = '{\"id\":\"{{uuid}}\",\"name\":\"{{csv.name|json}}\"}'\n",
    ),
    ("three requests in turn", "/", "[[request]]\nweight = 3\n[[request]]\nurl = \"/b\"\n[[request]]\nurl = \"/c\"\n"),
];

fn main() {
    let address = served::serve();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let rows: String = (0..ROWS).map(|row| format!("{row},somebody & {row}\n")).collect();
    std::fs::write(folder.path().join("users.csv"), format!("id,name\n{rows}")).expect("a file can be written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are descriptors");

    let none = target(folder.path(), address, TYPES[0]);
    println!("median of {PAIRS} pairs            written       a hit   more than without");
    for row in TYPES {
        let other = target(folder.path(), address, *row);
        let written = median((0..PAIRS).map(|_| write(&other)));
        let pairs: Vec<_> = (0..PAIRS).map(|_| (hit(&runtime, &none), hit(&runtime, &other))).collect();
        let a_hit = median(pairs.iter().map(|(_, other)| *other));
        let more = median(pairs.iter().map(|(none, other)| other - none));
        println!("{:<26} {written:>7.0} ns {:>8.2} µs {:>10.2} µs", row.0, a_hit / 1e3, more / 1e3);
    }
}

fn target(folder: &Path, address: SocketAddr, (_, path, text): (&str, &str, &str)) -> HttpTarget {
    let text = format!("kind = \"http\"\nurl = \"http://{address}{path}\"\n{text}");
    let (read, faults) = kinds::read("front", &folder.join("front.toml"), &text);
    assert_eq!(faults, []);
    let Some(Kind::Http(settings)) = read.and_then(|mut read| read.pop()).map(|read| read.kind) else {
        panic!("it is a type of this kind")
    };
    HttpTarget::new(&settings).expect("no root certificates are needed")
}

/// What putting a request together takes, in ns.
fn write(target: &HttpTarget) -> f64 {
    let before = spent();
    let bytes: usize = (0..WRITINGS).map(|number| target.request_size(std::hint::black_box(number))).sum();
    std::hint::black_box(bytes);
    (spent() - before).as_nanos() as f64 / WRITINGS as f64
}

/// What a hit takes, in ns of this thread.
fn hit(runtime: &tokio::runtime::Runtime, target: &HttpTarget) -> f64 {
    runtime.block_on(async {
        // Opens the connection.
        target.hit(0).await;
        let before = spent();
        for number in 0..HITS {
            let outcome = target.hit(number).await;
            assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
        }
        (spent() - before).as_nanos() as f64 / HITS as f64
    })
}

/// The processor time that this thread has had.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock is always there").into()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
