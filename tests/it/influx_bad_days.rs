//! The kind `influxdb` on bad days: whatever a database does, what is reported is what it has, and nothing is left out.

mod changes;
mod database;
mod hostile;
mod midminute;
mod pace;
mod posts;
mod provisioner;
mod stops;

use crate::parts::influx::Influx;
use crate::parts::points::{SERIES, numbers};
use crate::parts::sandbox::Sandbox;

/// What a type says whose points have time stamps of their own.
const PAST: &str = "start_date = \"2006-Jan-02\"\ntick = \"10s\"";

/// A type that writes batches of 100 points.
struct Stress<'a> {
    /// Where to.
    addresses: &'a [u16],
    /// The database.
    database: &'a str,
    /// More keys of the file, before its tables.
    top: &'a str,
    /// More keys of the point generator.
    points: &'a str,
    /// More keys of the client.
    client: &'a str,
    /// More tables.
    rest: &'a str,
}

impl<'a> Stress<'a> {
    /// One that writes to the database `lab` of a server.
    fn to(address: &'a u16) -> Self {
        let addresses = std::slice::from_ref(address);
        Self { addresses, database: "lab", top: "", points: PAST, client: "", rest: "" }
    }

    /// Writes its file.
    fn write(&self, sandbox: &Sandbox, name: &str) {
        let Self { database, top, points, client, rest, .. } = self;
        let addresses: Vec<_> = self.addresses.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        // Databases of the v2 API are buckets.
        let database = if client.contains("bucket") { String::new() } else { format!("database = \"{database}\"") };
        let text = format!(
            "kind = \"influxdb\"\n{top}\n\
             [write.point_generator.basic]\nseries_count = {SERIES}\nmeasurement = \"cpu\"\n{points}\n\
             tag = [{{ key = \"host\", value = \"server\" }}, {{ key = \"location\", value = \"us-west\" }}]\n\
             field = [{{ key = \"value\", value = \"float64\" }}]\n\
             [write.influx_client.basic]\naddresses = {addresses:?}\nbatch_size = 100\n{database}\n{client}\n{rest}"
        );
        sandbox.write(&format!("types.d/{name}.toml"), text);
    }
}

/// A sandbox whose runs catch up with all that a minute has left, with the destination `out`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.settings("max_catch_up = 1000");
    sandbox.out();
    sandbox
}

/// A sandbox with the type `stress` and the test `load` of it, so many batches a minute.
fn load(stress: &Stress<'_>, frequency: u64) -> Sandbox {
    let sandbox = sandbox();
    stress.write(&sandbox, "stress");
    sandbox.test(&format!("load|stress|{frequency}|out"));
    sandbox
}

/// What sees to the database `lab`.
fn provision(port: u16, more: &str) -> String {
    format!("[provision.basic]\naddress = \"127.0.0.1:{port}\"\ndatabase = \"lab\"\n{more}\n")
}

/// What reads four times a second.
fn read(port: u16, query: &str) -> String {
    format!(
        "[read.query_generator.basic]\nquery_count = 10\ntemplate = \"{query}\"\n\
         [read.query_client.basic]\naddresses = [\"127.0.0.1:{port}\"]\ndatabase = \"lab\"\n\
         query_interval = \"250ms\"\nconcurrency = 1\n"
    )
}

/// Expects that a database has the first so many points, and no other.
#[track_caller]
fn expect_first(influx: &Influx, database: &str, count: u64) {
    let held = numbers(influx, database);
    let gap = (0..count).find(|number| !held.contains(number));
    let (held, last) = (held.len() as u64, held.last());
    assert_eq!((gap, held), (None, count), "the first that is missing, and how many there are; the last is {last:?}");
}
