//! canihaz
pub mod destinations;
pub mod fault;
pub mod gossip;
pub mod keys;
pub mod kinds;
pub mod latency;
pub mod pacer;
pub mod summary;
pub mod target;
pub mod trust;
pub mod worker;
