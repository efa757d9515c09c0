//! What the tests are made of: the program in a sandbox with a clock of its own, and the real servers around it.

pub mod arrivals;
pub mod carbon;
pub mod certificates;
pub mod clock;
pub mod collector;
pub mod cron;
pub mod deadline;
pub mod frames;
pub mod influx;
pub mod lines;
pub mod load_test;
pub mod namespace;
pub mod nginx;
pub mod odd;
pub mod points;
pub mod preload;
pub mod processes;
pub mod results;
pub mod run;
pub mod sandbox;
pub mod server;
pub mod sink;
pub mod stalling;
pub mod statsd;
pub mod target;
pub mod tls;
