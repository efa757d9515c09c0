//! A first worker: hits an async closure a hundred times a second, and says what it found.
//!
//! Run it with `cargo run --example first_worker`.

use std::time::Duration;

use canihaz::{Error, Rate, Worker};

/// What is tested: any async function will do. This one takes longer now and then.
async fn bake(pie: u64) -> Result<String, String> {
    let minutes = if pie.is_multiple_of(10) { 30 } else { 3 };
    tokio::time::sleep(Duration::from_millis(minutes)).await;
    if pie == 13 { Err(String::from("burnt")) } else { Ok(format!("pie {pie}")) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let worker = Worker::hire("baker", canihaz::numbered(bake)).overtime(10);
    let tally = worker.work(Rate::per_second(100), Duration::from_millis(500)).await?;

    println!("{worker}: {} ok, {} failed, {} canceled", tally.ok, tally.failed, tally.canceled);
    for (reason, hits) in &tally.failures {
        println!("  {hits} failed: {reason}");
    }
    for (name, share) in [("half", 0.5), ("90 %", 0.9), ("99 %", 0.99)] {
        println!("  {name} took at most {:?}", tally.response.quantile(share));
    }
    println!("  the longest took {:?}", tally.response.max());
    Ok(())
}
