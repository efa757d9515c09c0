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
            if reset {
                provisioner.drop_database()?;
            }
            provisioner.provision(|| is_stopped.load(Ordering::Relaxed))
        });
        match provisioning.await?? {
            End::Done => Ok(()),
            End::Stopped => Err("stopped".into()),
        }
    }
}
