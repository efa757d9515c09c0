//! What a run has of a test of this kind: its points, those of them that it was lent, and a database that is seen to.
//!
//! A test's writer and reader are got ready on threads of their own and share
//! one session, so that the database is seen to once. A type that is changed in
//! the middle of a minute begins another one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::ledger::{Ledger, Wants};
use super::line::HOST;
use super::loan::{Batch, Loan};
use super::points::Points;
use super::provision::{End, Provisioner};
use super::settings::{Api, Client, Provisioning, Reading, Reset, Server, Settings, Writing};
use super::slots::Present;
use crate::fault::quote;
use crate::minute::LAST_START;
use crate::ranges::Ranges;
use crate::unpoisoned::lock;

/// How long a minute of hits is.
const MINUTE: Duration = Duration::from_secs(60);

/// One test.
#[derive(Debug)]
pub struct Session {
    test: String,
    /// Its type's name.
    type_name: String,
    settings: Arc<Settings>,
    points: Option<Points>,
    /// What its run was lent, once it was.
    loan: OnceLock<Loan>,
    /// Held while that is made or extended, of which one is enough.
    lending: Mutex<()>,
    /// The newest time stamp of points that were to be sent, in nanoseconds since 1970.
    newest: AtomicI64,
    /// The minute that the run owns, or is about to, counted from 1970.
    minute: u64,
    /// What came of seeing to the database, once that is over.
    provisioned: Mutex<Option<Result<(), String>>>,
}

/// All tests of a run.
#[derive(Debug)]
pub struct Sessions {
    state: PathBuf,
    run: String,
    host: String,
    /// All that there were; the last one of a test is the one that is run now.
    all: Mutex<Vec<Arc<Session>>>,
    is_stopped: AtomicBool,
}

impl Sessions {
    /// None yet, for the run `run` on the server `host`, which keeps in the folder `state` what later runs have to know.
    pub fn new(state: &Path, run: &str, host: &str) -> Self {
        Self {
            state: state.to_owned(),
            run: run.to_owned(),
            host: host.to_owned(),
            all: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// What is waited for where a test with these settings isn't ready yet, and what would help.
    pub fn wait_for(settings: &Settings) -> String {
        match &settings.provisioning {
            Some(Provisioning { address, database, .. }) => format!(
                "the database {} at {address} is not seen to; the server has to run, and the address and `ssl` to be its \
                 own",
                quote(database)
            ),
            None => "other runs have the place where its writer is".to_owned(),
        }
    }

    /// Gets a test ready that writes so many batches a minute: sees to the database, and takes points out.
    ///
    /// # Errors
    /// The database can't be seen to, or no points can be taken out.
    pub fn to_write(
        &self,
        test: &str,
        type_name: &str,
        settings: &Arc<Settings>,
        frequency: u64,
    ) -> anyhow::Result<Arc<Session>> {
        let session = self.session(test, type_name, settings);
        self.provision(&session)?;
        self.lend(&session, frequency)?;
        Ok(session)
    }

    /// Gets a test ready that reads: sees to the database.
    ///
    /// # Errors
    /// The database can't be seen to.
    pub fn to_read(&self, test: &str, type_name: &str, settings: &Arc<Settings>) -> anyhow::Result<Arc<Session>> {
        let session = self.session(test, type_name, settings);
        self.provision(&session)?;
        Ok(session)
    }

    /// Files which points are done, by loan.
    ///
    /// # Errors
    /// What couldn't be written. The next time all of it is, or when they are closed.
    pub fn file(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        self.each_loan(|_, loan| done.get(&loan.number()).map_or(Ok(()), |done| loan.acknowledge(done)))
    }

    /// No hit follows: files which points are done, too, and leaves the others to other runs. Says so, once, where there
    /// are none left.
    ///
    /// # Errors
    /// What couldn't be written.
    pub fn close(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        let none = Ranges::default();
        self.each_loan(|session, loan| {
            let total = session.points.as_ref().and_then(Points::count);
            let is_told = loan.close(done.get(&loan.number()).unwrap_or(&none), total)?;
            if let Some(total) = total.filter(|_| is_told) {
                let (test, name) = (&session.test, &session.type_name);
                log::warn!("test {test}: all {total} points of type {name} are written: the writer is done");
            }
            Ok(())
        })
    }

    /// Says nothing more to a provisioner's server.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// The session of a test of this type with these settings.
    fn session(&self, test: &str, type_name: &str, settings: &Arc<Settings>) -> Arc<Session> {
        let mut all = lock(&self.all);
        let is_same = |session: &&Arc<Session>| session.type_name == type_name && session.settings == *settings;
        if let Some(session) = latest(&all, test).filter(is_same) {
            return Arc::clone(session);
        }
        let session = Arc::new(Session::new(test, type_name, settings, &self.host));
        all.push(Arc::clone(&session));
        session
    }

    /// Takes out the points that so many batches a minute need, or those that are missing: a test may be got ready at
    /// another frequency, and before it is ready at the first.
    fn lend(&self, session: &Arc<Session>, frequency: u64) -> anyhow::Result<()> {
        let Session { test, type_name, settings, .. } = &**session;
        let (Some(writing), Some(points)) = (&settings.writing, &session.points) else {
            bail!("nothing is to be written")
        };
        let _lending = lock(&session.lending);
        let wants = wants(writing, points, frequency);
        if let Some(loan) = session.loan.get() {
            if let Err(error) = loan.extend(&wants) {
                log::error!("test {test}: no more points can be taken out ({error}): hits that find none are stopped");
            }
            return Ok(());
        }
        let ledger = self.ledger(type_name, writing)?;
        let lent = ledger.borrow(&format!("{}.{test}", self.run), &wants);
        let (loan, newest) = lent.context("no points can be taken out")?;
        if let Some(newest) = newest {
            session.see(points.stamp(newest.number, newest.clock.as_ref()));
        }
        session.loan.get_or_init(|| loan);
        Ok(())
    }

    /// Sees to the database of a session, unless that was done.
    fn provision(&self, session: &Session) -> anyhow::Result<()> {
        let Some(provisioning) = &session.settings.provisioning else { return Ok(()) };
        let mut provisioned = lock(&session.provisioned);
        let come =
            provisioned.get_or_insert_with(|| self.see_to(provisioning, session).map_err(|error| format!("{error:#}")));
        come.clone().map_err(anyhow::Error::msg)
    }

    fn see_to(&self, provisioning: &Provisioning, session: &Session) -> anyhow::Result<()> {
        let Session { type_name: name, settings, .. } = session;
        let provisioner = Provisioner::new(provisioning, &settings.server)?;
        match (&provisioning.reset, &settings.writing) {
            (Reset::Never, _) => {}
            (_, None) => {
                log::info!(
                    "type {name}: reset_database is passed over: there is no first point that it could come before"
                );
            }
            (Reset::By(host), Some(writing)) if *host == self.host => {
                let what = format!("{} {}", provisioning.address, provisioning.database);
                let drop = || {
                    ensure!(!self.is_stopped(), "stopped");
                    provisioner.drop_database()
                };
                if self.ledger(name, writing)?.reset_once(&what, drop)? {
                    log::info!("type {name}: the database was dropped, as reset_database says");
                }
            }
            (Reset::By(host), Some(_)) => {
                let host = quote(host);
                log::info!(
                    "type {name}: reset_database is passed over: it is for {host}, which reset_host names, to do"
                );
            }
            // Once the database is there: what the type meant before goes on until then.
            (Reset::Nobody, Some(_)) => {}
        }
        match provisioner.provision(|| self.is_stopped())? {
            End::Done => {}
            End::Stopped => bail!("stopped"),
        }
        if let (Reset::Nobody, Some(writing)) = (&provisioning.reset, &settings.writing)
            && self.ledger(name, writing)?.tell_of_reset()?
        {
            log::warn!(
                "type {name}: \"reset_database\" is passed over: add \"reset_host\", the name of the one server that is \
                 to drop the database, or leave it out"
            );
        }
        Ok(())
    }

    /// Where it is kept how far a type has got.
    fn ledger(&self, type_name: &str, writing: &Writing) -> anyhow::Result<Ledger> {
        let identity = identity(writing, &self.host);
        // While its database was seen to, or others had the ledger, the type may have been changed: then the points that
        // it means now would begin again.
        let is_meant = || {
            let all = lock(&self.all);
            let latest =
                all.iter().rfind(|session| session.type_name == type_name && session.settings.writing.is_some());
            let latest = latest.and_then(|session| session.settings.writing.as_ref());
            latest.is_none_or(|writing| self::identity(writing, &self.host) == identity)
        };
        let opened = Ledger::open(&self.state, type_name, &identity, is_meant);
        opened.with_context(|| format!("how far type {type_name} has got can't be kept in {}", self.state.display()))
    }

    /// Does something with every loan; the first error of any.
    fn each_loan(&self, mut each: impl FnMut(&Session, &Loan) -> io::Result<()>) -> io::Result<()> {
        // Not held while the ledger is waited for: whoever has that may be asking what is meant.
        let all = lock(&self.all).clone();
        let loans = all.iter().filter_map(|session| Some((session, session.loan.get()?)));
        loans.map(|(session, loan)| each(session, loan)).fold(Ok(()), io::Result::and)
    }
}

impl Session {
    fn new(test: &str, type_name: &str, settings: &Arc<Settings>, host: &str) -> Self {
        let points = settings
            .writing
            .as_ref()
            .map(|Writing { points, client }| Points::new(points, client.precision, client.format, host));
        let start = settings.writing.as_ref().and_then(|writing| writing.points.start);
        Self {
            test: test.to_owned(),
            type_name: type_name.to_owned(),
            settings: Arc::clone(settings),
            points,
            loan: OnceLock::new(),
            lending: Mutex::default(),
            newest: AtomicI64::new(start.unwrap_or_else(now)),
            minute: u64::try_from(now() / MINUTE.as_nanos() as i64).unwrap_or(0),
            provisioned: Mutex::default(),
        }
    }

    /// How servers are spoken to.
    pub fn server(&self) -> &Server {
        &self.settings.server
    }

    /// Where points go, and what was lent of them; `None` where nothing is written.
    pub fn writer(&self) -> Option<(&Client, &Loan)> {
        Some((&self.settings.writing.as_ref()?.client, self.loan.get()?))
    }

    /// What is read; `None` where nothing is.
    pub fn reading(&self) -> Option<&Reading> {
        self.settings.reading.as_ref()
    }

    /// Adds the points of a batch to `lines`.
    pub fn write(&self, batch: &Batch, lines: &mut Vec<u8>) {
        let Some(points) = &self.points else { return };
        let clock = batch.clock.as_ref();
        points.write(batch.numbers.clone(), clock, lines);
        if let Some(last) = batch.numbers.clone().next_back() {
            self.see(points.stamp(last, clock));
        }
    }

    /// Points with this time stamp are sent, or about to be.
    fn see(&self, stamp: i64) {
        self.newest.fetch_max(stamp, Ordering::Relaxed);
    }

    /// The newest time stamp of points that were sent, or are about to be, in nanoseconds since 1970.
    pub fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The number of a query among those of all minutes, of its number in this one.
    pub fn query_number(&self, number: u64) -> u64 {
        let frequency = self.reading().map_or(0, Reading::frequency);
        self.minute.wrapping_mul(frequency).wrapping_add(number)
    }
}

/// The session of a test that is run now.
fn latest<'a>(all: &'a [Arc<Session>], test: &str) -> Option<&'a Arc<Session>> {
    all.iter().rfind(|session| session.test == test)
}

/// The present, in nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// When the last hit of the minute begins that it is at `now`, in nanoseconds since 1970: of the next minute once it has.
fn last_start(now: i64) -> i64 {
    let [minute, last] = [MINUTE, LAST_START].map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let into = now.rem_euclid(minute);
    let left = if into < last { last - into } else { minute + last - into };
    now.saturating_add(left)
}

/// The most that so many batches a minute can send.
fn wants(writing: &Writing, points: &Points, frequency: u64) -> Wants {
    let Writing { points: settings, client } = writing;
    let batch = client.batch_size.get();
    let now = now();
    let present = settings.start.is_none().then(|| Present {
        now,
        until: last_start(now),
        step: client.precision.unit(),
        series: settings.series_count.get(),
        batch,
    });
    Wants { points: frequency.saturating_mul(batch), total: points.count(), present }
}

/// What makes points others: numbers begin anew with them. It is kept in files: another version of canihaz has to say the
/// same of the same points.
fn identity(writing: &Writing, host: &str) -> String {
    let Writing { points, client } = writing;
    let tags: Vec<_> = points.tags.iter().map(|tag| (&tag.key, &tag.value)).collect();
    let host = points.tags.iter().any(|tag| tag.value.contains(HOST)).then_some(host);
    let tick = u64::try_from(points.tick.as_nanos()).unwrap_or(u64::MAX);
    let by_tick = points.start.map(|start| (start, tick, points.jitter));
    let goes_to = match &client.api {
        Api::V1 { database, retention_policy, .. } => (database, retention_policy.as_ref()),
        Api::V2 { org, bucket } => (org, Some(bucket)),
    };
    let series = points.series_count.get();
    json!([points.measurement, tags, host, series, by_tick, client.precision.name(), goes_to]).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::kinds;
    use crate::kinds::Kind;

    /// What a server says that has executed a statement.
    const EXECUTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"results\":[{}]}";
    const LAB: &str = "[write.influx_client.basic]\naddresses = [\"h:1\"]\ndatabase = \"lab\"\nbatch_size = 1";

    #[track_caller]
    fn settings(more: &str) -> Arc<Settings> {
        let text = format!(
            "kind = \"influxdb\"\n[write.point_generator.basic]\nmeasurement = \"cpu\"\nseries_count = 3\n\
             tag = [{{ key = \"host\", value = \"s\" }}]\nfield = [{{ key = \"v\", value = \"int\" }}]\n{more}"
        );
        let (read, faults) = kinds::read("x", Path::new("x.toml"), &text);
        assert_eq!(faults, []);
        match read.unwrap().remove(0).kind {
            Kind::InfluxWrite(settings) => settings,
            other => panic!("{other:?} writes nothing"),
        }
    }

    fn sessions(state: &Path) -> Sessions {
        Sessions::new(state, "20261121T0327Z.1", "web1")
    }

    /// Takes all there is.
    fn numbers(session: &Session) -> Ranges {
        let (_, loan) = session.writer().unwrap();
        std::iter::from_fn(|| loan.take(1)).map(|batch| (batch.numbers.clone(), batch.done()).0).collect()
    }

    /// What the book of a type says of its loans.
    fn loans(state: &Path, type_name: &str) -> serde_json::Value {
        let book = fs::read(state.join(format!("influxdb/{type_name}.json"))).unwrap();
        serde_json::from_slice::<serde_json::Value>(&book).unwrap()["loans"].take()
    }

    fn provision(server: &TcpListener, more: &str) -> String {
        format!("[provision.basic]\naddress = \"{}\"\ndatabase = \"lab\"\n{more}", server.local_addr().unwrap())
    }

    #[test]
    fn what_is_left_of_a_minute_ends_with_its_last_hit() {
        for (now, expect) in [(0.0, 59.9), (50.0, 59.9), (59.89, 59.9), (59.9, 119.9), (60.0, 119.9), (61.0, 119.9)] {
            let [now, expect] = [now, expect].map(|seconds| (seconds * 1e9) as i64);
            assert_eq!(last_start(now), expect, "{now}");
        }
        assert_eq!(last_start(i64::MAX), i64::MAX);
    }

    #[test]
    fn a_test_that_is_got_ready_by_several_at_once_has_one_loan_and_the_most_that_is_wanted() {
        let state = tempfile::tempdir().unwrap();
        let (sessions, settings, all) = (sessions(state.path()), settings(LAB), Barrier::new(8));
        thread::scope(|scope| {
            for thread in 1..=8 {
                let (sessions, settings, all) = (&sessions, &settings, &all);
                scope.spawn(move || {
                    all.wait();
                    sessions.to_write("load", "x", settings, 10 * thread).unwrap();
                });
            }
        });
        assert_eq!(loans(state.path(), "x").as_object().unwrap().len(), 1);
        let session = sessions.to_write("load", "x", &settings, 1).unwrap();
        assert_eq!(Vec::from(numbers(&session)), [(0, 80)]);
    }

    #[test]
    fn what_cannot_be_lent_leaves_what_was() {
        let state = tempfile::tempdir().unwrap();
        let (sessions, settings) = (sessions(state.path()), settings(LAB));
        sessions.to_write("load", "x", &settings, 6).unwrap();
        // Root can write anywhere, but not over a folder.
        let full = state.path().join("influxdb/x.json.partial");
        fs::create_dir(&full).unwrap();
        let session = sessions.to_write("load", "x", &settings, 8).unwrap();
        assert_eq!(Vec::from(numbers(&session)), [(0, 6)]);
        fs::remove_dir(&full).unwrap();
        let session = sessions.to_write("load", "x", &settings, 8).unwrap();
        assert_eq!(Vec::from(numbers(&session)), [(6, 8)]);
    }

    #[test]
    fn a_type_that_cannot_be_closed_holds_no_other_up_and_can_be_tried_again() {
        let state = tempfile::tempdir().unwrap();
        let (sessions, settings) = (sessions(state.path()), settings(LAB));
        let of_types = ["a", "b"].map(|name| sessions.to_write(name, name, &settings, 10).unwrap());
        let done = |numbers: &[(u64, u64)]| -> BTreeMap<u64, Ranges> {
            let loans = of_types.iter().map(|session| session.writer().unwrap().1.number());
            loans.map(|loan| (loan, numbers.to_vec().into())).collect()
        };
        let full = state.path().join("influxdb/a.json.partial");
        fs::create_dir(&full).unwrap();
        sessions.file(&done(&[(0, 3)])).unwrap_err();
        sessions.close(&done(&[(3, 5)])).unwrap_err();
        assert_eq!(["a", "b"].map(|name| loans(state.path(), name).as_object().unwrap().len()), [1, 0]);
        fs::remove_dir(&full).unwrap();
        sessions.close(&BTreeMap::new()).unwrap();
        for name in ["a", "b"] {
            let next = self::sessions(state.path()).to_write(name, name, &settings, 10).unwrap();
            assert_eq!(Vec::from(numbers(&next)), [(5, 15)], "{name}");
        }
    }

    #[test]
    fn a_type_that_is_changed_while_its_database_is_seen_to_takes_nothing_from_what_it_is_now() {
        let state = tempfile::tempdir().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sessions, before) = (sessions(state.path()), settings(&format!("{LAB}\n{}", provision(&server, ""))));
        let after = settings(&LAB.replace("lab", "other"));
        thread::scope(|scope| {
            let late = scope.spawn(|| sessions.to_write("load", "x", &before, 10));
            let (mut connection, _) = server.accept().unwrap();
            let session = sessions.to_write("load", "x", &after, 10).unwrap();
            assert!(connection.read(&mut [0; 4096]).unwrap() > 0);
            connection.write_all(EXECUTED).unwrap();
            assert!(format!("{:#}", late.join().unwrap().unwrap_err()).ends_with("it was changed"));
            let loan = session.writer().unwrap().1.number();
            sessions.close(&[(loan, numbers(&session))].into()).unwrap();
        });
        let next = self::sessions(state.path()).to_write("load", "x", &after, 10).unwrap();
        assert_eq!(Vec::from(numbers(&next)), [(10, 20)]);
    }

    #[test]
    fn after_a_stop_no_database_is_dropped() {
        let state = tempfile::tempdir().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let reset = "reset_database = true\nreset_host = \"web1\"";
        let (sessions, settings) = (sessions(state.path()), settings(&format!("{LAB}\n{}", provision(&server, reset))));
        sessions.stop();
        // Closed at once, a connection is a failure that comes soon.
        server.set_nonblocking(true).unwrap();
        let error = thread::scope(|scope| {
            let late = scope.spawn(|| sessions.to_write("load", "x", &settings, 10).unwrap_err());
            while !late.is_finished() {
                assert!(server.accept().is_err(), "somebody is spoken to");
                thread::yield_now();
            }
            late.join().unwrap()
        });
        assert!(error.to_string().ends_with("is not reset: stopped"), "{error}");
    }

    #[test]
    fn what_makes_points_others_is_said_as_it_always_was() {
        #[track_caller]
        fn check(points: &str, client: &str, expect: &str) {
            let client = format!("[write.influx_client.basic]\naddresses = [\"h:1\"]\n{client}");
            let settings = settings(&format!("{points}\n{client}"));
            assert_eq!(identity(settings.writing.as_ref().unwrap(), "web1"), expect);
        }
        let v1 = "database = \"lab\"";
        check("", v1, r#"["cpu",[["host","s"]],null,3,null,"n",["lab",null]]"#);
        // How they are sent makes no others.
        let way = "database = \"lab\"\nbatch_size = 7\nconcurrency = 3\nconsistency = \"any\"\ngzip = true";
        check("", way, r#"["cpu",[["host","s"]],null,3,null,"n",["lab",null]]"#);
        let past = "start_date = \"1970-Jan-02\"\ntick = \"5s\"\njitter = true\npoint_count = 7";
        let other = "database = \"lab\"\nretention_policy = \"week\"\nprecision = \"s\"";
        check(past, other, r#"["cpu",[["host","s"]],null,3,[86400000000000,5000000000,true],"s",["lab","week"]]"#);
    }
}
