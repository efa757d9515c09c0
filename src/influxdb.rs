//! A stress test of InfluxDB, or of what speaks its protocol, in a program of one's own.
//!
//! A [`StressTest`] has three parts, each of which may be missing:
//!
//! - a [`Provisioner`] sees to the database before anything is written;
//! - a [`Writer`] is a [`PointGenerator`] and an [`InfluxClient`]: it sends points, in batches, until there are none left;
//! - a [`Reader`] is a [`QueryGenerator`] and a [`QueryClient`]: it asks queries beside that.
//!
//! There is a basic one of each: [`BasicProvisioner`], [`BasicPointGenerator`], [`BasicClient`], [`BasicQuery`] and
//! [`BasicQueryClient`]; and [`StressTest::basic`] is made of them. [`start`](StressTest::start) takes two handlers,
//! which hear what becomes of each request: [`basic_write_handler`] and [`basic_read_handler`] print it, a [`Broadcast`]
//! is several handlers in one, a [`Report`] writes it into a database.
//!
//! ```no_run
//! use canihaz::influxdb::{BasicClient, PointGenerator, StressTest, Writer, basic_read_handler, basic_write_handler};
//!
//! /// A point a second, from 2023 on.
//! struct Steps(i64);
//!
//! impl PointGenerator for Steps {
//!     fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
//!         self.0 += 1;
//!         lines.extend_from_slice(format!("steps,leg=left n={}i {}", self.0, self.time()).as_bytes());
//!         self.0 <= 1_000_000
//!     }
//!
//!     fn time(&self) -> i64 {
//!         (1_700_000_000 + self.0) * 1_000_000_000
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), canihaz::influxdb::Error> {
//!     let client = BasicClient::to("localhost:8086", "lab")?;
//!     let mut test = StressTest::new().writer(Writer::new(Steps(0), client));
//!     let ended = test.start(basic_write_handler, basic_read_handler).await?;
//!     ended.write.result?;
//!     println!("{} points", ended.write.totals.points());
//!     Ok(())
//! }
//! ```
//!
//! - Points are generated when there is a place for their batch: memory grows with batch size and concurrency, not with
//!   points.
//! - A batch that may not be in the database is sent again until it is, or the client's patience is at its end. It is
//!   byte for byte the same, so points replace themselves. [`Fate`] says what counts as done. Points that the database
//!   refuses (a partial write) are not sent again, but counted as rejected.
//! - A stress test lives on one thread of a tokio runtime with I/O and time enabled, of any flavour; neither its parts
//!   nor its handlers need be `Send`. For more cores, start one on each of several threads.

#[doc(inline)]
pub use crate::kinds::influxdb::stress::{
    Asked, BasicClient, BasicPointGenerator, BasicProvisioner, BasicQuery, BasicQueryClient, Batch, Batching,
    Broadcast, Cause, Ended, Error, Half, InfluxClient, Pacing, PointGenerator, PointSource, Provisioner, QueryClient,
    QueryGenerator, QueryResponse, QuerySource, Reader, Report, Response, Responses, StressTest, Teller, Timer, Totals,
    Worked, WriteResponse, Writer, Written, basic_read_handler, basic_write_handler,
};
#[doc(inline)]
pub use crate::kinds::influxdb::{
    Address, Api, Client, Consistency, ContinuousQuery, Fate, Field, FieldType, Format, Host, PointSettings, Precision,
    Reading, RetentionPolicy, Server, Tag,
};
