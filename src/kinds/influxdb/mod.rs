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

mod clock;
mod digits;
mod line;
mod mix;
mod points;
mod settings;
mod spelling;
mod stamp;

pub use clock::Clock;
pub use points::Points;
pub use settings::{
    Address, Api, Client, Consistency, ContinuousQuery, Field, FieldType, Format, PointSettings, Precision,
    Provisioning, Reading, Reset, RetentionPolicy, Server, Settings, Tag, Writing,
};
