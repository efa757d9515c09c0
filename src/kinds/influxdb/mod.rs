//! The kind `influxdb`: batches of points that a database is to take, and queries beside them.
//!
//! A type of this kind is a `stress.toml` of influx_stress: a provisioner that
//! sees to the database, a writer (a point generator and a client) and a reader
//! (a query generator and a client). A test of it is two in the engine: its
//! writer, whose hits are batches, under `NAME.write`, and its reader, whose
//! hits are queries, under `NAME.read`.
//!
//! Points are numbered, and all of a point follows from its number. So which
//! of them are written is kept as ranges of numbers, over all runs.

mod book;
mod clock;
mod digits;
mod ledger;
mod line;
mod loan;
mod lots;
mod mix;
mod outlet;
mod points;
mod provision;
mod query;
mod read;
mod rows;
mod session;
mod settings;
mod slots;
mod spelling;
mod stamp;
mod statements;
pub mod stress;
mod write;

pub use crate::kinds::dial::Host;
pub use clock::Clock;
pub use ledger::{Ledger, Wants};
pub use loan::{Batch, Loan, Newest};
pub use outlet::Fate;
pub use points::Points;
pub use provision::{End, Provisioner};
pub use query::{Hit, Query};
pub use read::ReadTarget;
pub use rows::Rows;
pub use session::{Session, Sessions};
pub use settings::{
    Address, Api, Client, Consistency, ContinuousQuery, Field, FieldType, Format, KEYS, LEAST, PointSettings,
    Precision, Provisioning, Reading, Reset, RetentionPolicy, Server, Settings, Tag, Writing,
};
pub use slots::Present;
pub use write::WriteTarget;
