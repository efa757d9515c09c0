//! What sees to the database first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Cause, Error};
use crate::hostname::hostname;
use crate::kinds::influxdb::provision::{self, End};
use crate::kinds::influxdb::settings::{Address, ContinuousQuery, Provisioning, Reset, RetentionPolicy, Server};

/// Sees to a database before anything is written.
///
/// ```
/// use canihaz::influxdb::{Cause, Provisioner};
///
/// /// Hopes that somebody else has seen to it.
/// struct Hope;
///
/// impl Provisioner for Hope {
///     async fn provision(&mut self) -> Result<(), Cause> {
///         Err("nobody has".into())
///     }
/// }
/// ```
pub trait Provisioner {
    /// Has the database be as it should be.
    ///
    /// # Errors
    /// Whatever keeps it from that: nothing is written then.
    fn provision(&mut self) -> impl Future<Output = Result<(), Cause>>;
}

/// Makes a database, with its retention policies and continuous queries. Done again, that does no harm.
///
/// ```
/// use canihaz::influxdb::{BasicProvisioner, ContinuousQuery};
///
/// let mut provisioner = BasicProvisioner::to("localhost:8086", "stress")?;
/// provisioner.continuous_queries.push(ContinuousQuery {
///     name: "by_minute".into(),
///     query: "SELECT mean(value) INTO by_minute FROM cpu GROUP BY time(1m)".into(),
///     resample: None,
/// });
/// # Ok::<_, canihaz::influxdb::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BasicProvisioner {
    /// The server that it is done to.
    pub address: Address,
    /// Whether that is over TLS.
    pub ssl: bool,
    /// The database that is to be there.
    pub database: String,
    /// Whether it is dropped first, with every point in it. Not by default.
    pub reset: bool,
    /// What it keeps for how long.
    pub retention_policies: Vec<RetentionPolicy>,
    /// What it computes on its own.
    pub continuous_queries: Vec<ContinuousQuery>,
    /// How the server is spoken to, and by whom.
    pub server: Server,
}

/// Tells what goes on elsewhere that nobody waits for it any more, when dropped.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl BasicProvisioner {
    /// Makes a database at `host:port`.
    ///
    /// # Errors
    /// [`Error::Address`]
    pub fn to(address: &str, database: &str) -> Result<Self, Error> {
        Ok(Self {
            address: super::server::address(address)?,
            ssl: false,
            database: database.to_owned(),
            reset: false,
            retention_policies: Vec::new(),
            continuous_queries: Vec::new(),
            server: Server::default(),
        })
    }

    /// A provisioner that does as the settings of a type say.
    pub(super) fn new(settings: Provisioning, server: Server) -> Self {
        let Provisioning { address, ssl, database, reset, retention_policies, continuous_queries } = settings;
        let reset = match reset {
            Reset::Never => false,
            // In a fleet it is one server's; here it is asked for by whoever starts the test.
            Reset::By(host) => host == hostname(),
            Reset::Nobody => true,
        };
        Self { address, ssl, database, reset, retention_policies, continuous_queries, server }
    }

    fn settings(&self) -> Provisioning {
        Provisioning {
            address: self.address.clone(),
            ssl: self.ssl,
            database: self.database.clone(),
            // That is ours to decide.
            reset: Reset::Never,
            retention_policies: self.retention_policies.clone(),
            continuous_queries: self.continuous_queries.clone(),
        }
    }
}

impl Provisioner for BasicProvisioner {
    /// On a thread of its own, as it blocks; where the future is dropped, the statement under way is the last one.
    async fn provision(&mut self) -> Result<(), Cause> {
        let (settings, server, reset) = (self.settings(), self.server.clone(), self.reset);
        let is_stopped = Arc::<AtomicBool>::default();
        let _stop = Stop(Arc::clone(&is_stopped));
        let provisioning = tokio::task::spawn_blocking(move || {
            let provisioner = provision::Provisioner::new(&settings, &server)?;
            let is_stopped = || is_stopped.load(Ordering::Relaxed);
            if reset && !is_stopped() {
                provisioner.drop_database()?;
            }
            provisioner.provision(is_stopped)
        });
        match provisioning.await?? {
            End::Done => Ok(()),
            End::Stopped => Err("stopped".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::runtime;
    use tokio::task::spawn_blocking;

    use super::*;

    #[test]
    fn nothing_is_dropped_for_a_provisioner_that_nobody_waits_for_any_more() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let mut provisioner = BasicProvisioner::to(&server.local_addr().unwrap().to_string(), "stress").unwrap();
        provisioner.reset = true;
        provisioner.server.timeout = Duration::from_millis(100);
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (go_on, is_busy) = mpsc::channel::<()>();
            let busy = spawn_blocking(move || is_busy.recv());
            // It has to wait for its thread, and is dropped before its turn.
            assert!(provisioner.provision().now_or_never().is_none());
            drop(go_on);
            assert!(busy.await.unwrap().is_err());
            spawn_blocking(|| {}).await.unwrap();
        });
        assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
