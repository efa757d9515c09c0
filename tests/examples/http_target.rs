//! The runner's own HTTP target in a worker: it keeps its connections, counts
//! bytes at the socket and knows why a request failed. What it hits here is
//! the runner's loopback server, of whose answers every fourth is an error.
//!
//! Run it with `cargo run --example http_target`.

use std::time::Duration;

use canihaz::kinds::{http, loopback};
use canihaz::{Rate, force};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let timeout = Duration::from_secs(5);
    let server = loopback::Server::start(&loopback::Settings {
        latency: Duration::from_millis(2),
        errors: 0.25,
        body_size: 1000,
        timeout,
    })?;
    let target = http::HttpTarget::new(&http::Settings::get(server.address(), timeout))?;

    // Two workers, 20 requests a second each.
    let tally = force(Rate::per_second(20), Duration::from_secs(1), target).of(2).await?;

    println!("{} requests: {} ok, {} failed", tally.planned(), tally.ok, tally.failed);
    for (reason, hits) in &tally.failures {
        println!("  {hits} failed: {reason}");
    }
    println!("  {} bytes received, {} sent", tally.bytes_in, tally.bytes_out);
    println!("  response p99 {:?}, service p99 {:?}", tally.response.quantile(0.99), tally.service.quantile(0.99));
    Ok(())
}
