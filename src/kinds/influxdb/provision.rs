//! Sees to the database before anything is written: it is there, with what it keeps for how long, and what it
//! computes on its own.
//!
//! Done again, it does no harm: what is there as it should be stays, with its
//! points. Whether a database is dropped first is not decided here.

use anyhow::{Context, ensure};

use super::settings::{ContinuousQuery, Provisioning, RetentionPolicy, Server};
use super::statements::{Refusal, Statements, identifier};
use crate::fault::quote;

/// Provisions as `[provision.basic]` says.
#[derive(Debug)]
pub struct Provisioner<'a> {
    settings: &'a Provisioning,
    statements: Statements,
}

/// How provisioning ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// All is there.
    Done,
    /// It was to stop before that.
    Stopped,
}

/// One thing that has to be there.
#[derive(Clone, Copy)]
enum Step<'a> {
    Database,
    Policy(&'a RetentionPolicy),
    Query(&'a ContinuousQuery),
}

impl<'a> Provisioner<'a> {
    /// Gets ready to speak to the server, as `server` says.
    ///
    /// # Errors
    /// TLS is spoken, and the host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(settings: &'a Provisioning, server: &Server) -> anyhow::Result<Self> {
        let statements = Statements::to(&settings.address, settings.ssl, server)?;
        Ok(Self { settings, statements })
    }

    /// Drops the database, with every point in it; one that isn't there is none to drop.
    ///
    /// # Errors
    /// Which server doesn't do it, what it says, and what would be right.
    pub fn drop_database(&self) -> anyhow::Result<()> {
        let database = &self.settings.database;
        let dropped = self.statements.execute(&format!("DROP DATABASE {}", identifier(database)));
        dropped.with_context(|| format!("{}: cannot drop the database {}", self.statements.server(), quote(database)))
    }

    /// Makes the database, its retention policies and its continuous queries what they should be. Between two of
    /// them, `is_stopped` is asked whether to go on. Each takes at most three times the type's timeout.
    ///
    /// # Errors
    /// Which server doesn't do it, what it says, and what would be right. What was done before that stays.
    pub fn provision(&self, is_stopped: impl Fn() -> bool) -> anyhow::Result<End> {
        let Provisioning { retention_policies, continuous_queries, .. } = self.settings;
        let policies = retention_policies.iter().map(Step::Policy);
        for step in std::iter::once(Step::Database).chain(policies).chain(continuous_queries.iter().map(Step::Query)) {
            if is_stopped() {
                return Ok(End::Stopped);
            }
            self.take(step)
                .with_context(|| format!("{}: cannot make {}", self.statements.server(), self.what(step)))?;
        }
        Ok(End::Done)
    }

    fn take(&self, step: Step<'_>) -> anyhow::Result<()> {
        match step {
            Step::Database => {
                let database = identifier(&self.settings.database);
                Ok(self.statements.execute(&format!("CREATE DATABASE {database}"))?)
            }
            Step::Policy(policy) => self.keep(policy),
            Step::Query(query) => Ok(self.compute(query)?),
        }
    }

    /// Has a retention policy be there. One that is there already is another one where the server says so.
    fn keep(&self, policy: &RetentionPolicy) -> anyhow::Result<()> {
        let shard = policy.shard_duration.as_ref();
        for duration in [Some(&policy.duration), shard].into_iter().flatten() {
            // It stands in a statement as it is.
            let is_sound = !duration.is_empty() && duration.chars().all(char::is_alphanumeric);
            ensure!(is_sound, "{} is no duration as InfluxDB writes it (\"7d\", \"INF\")", quote(duration));
        }
        let [name, database] = [&policy.name, &self.settings.database].map(|name| identifier(name));
        let rest = format!("{name} ON {database} DURATION {} REPLICATION {}", policy.duration, policy.replication);
        let default = if policy.default { " DEFAULT" } else { "" };
        let created = shard.map_or_else(String::new, |shard| format!(" SHARD DURATION {shard}"));
        match self.statements.execute(&format!("CREATE RETENTION POLICY {rest}{created}{default}")) {
            Err(refusal) if refusal.is_taken() => {
                // Of no length, a shard has the length that goes with the duration, as in a policy that is new; what
                // isn't said would stay as it was.
                let shard = shard.map_or("0s", String::as_str);
                let altered = format!("ALTER RETENTION POLICY {rest} SHARD DURATION {shard}{default}");
                Ok(self.statements.execute(&altered)?)
            }
            created => Ok(created?),
        }
    }

    /// Has a continuous query be there. The server itself compares it with one of its name, as it alone knows how it
    /// has written down the other one.
    fn compute(&self, query: &ContinuousQuery) -> Result<(), Refusal> {
        let [name, database] = [&query.name, &self.settings.database].map(|name| identifier(name));
        let resample = query.resample.as_ref().map_or_else(String::new, |resample| format!("RESAMPLE {resample} "));
        let create = format!("CREATE CONTINUOUS QUERY {name} ON {database} {resample}BEGIN {} END", query.query);
        match self.statements.execute(&create) {
            Err(refusal) if refusal.is_taken() => {
                self.statements.execute(&format!("DROP CONTINUOUS QUERY {name} ON {database}"))?;
                self.statements.execute(&create)
            }
            created => created,
        }
    }

    fn what(&self, step: Step<'_>) -> String {
        let database = quote(&self.settings.database);
        match step {
            Step::Database => format!("the database {database}"),
            Step::Policy(policy) => format!("the retention policy {} of {database}", quote(&policy.name)),
            Step::Query(query) => format!("the continuous query {} of {database}", quote(&query.name)),
        }
    }
}
