//! A farm: two workers side by side, and one gossiper that listens to both of them.
//!
//! Run it with `cargo run --example farm_with_gossips`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use canihaz::{Config, Error, Gossip, Gossiper, Gossips, Rate, Worker, farm};

/// Counts what each worker's hits gave back.
#[derive(Default)]
struct Answers(Mutex<BTreeMap<String, u64>>);

impl Gossiper for Answers {
    async fn listen(&self, worker: Config, mut gossips: Gossips) {
        while let Some(gossip) = gossips.next().await {
            if !matches!(gossip, Gossip::BeforeTarget(_)) {
                let mut answers = self.0.lock().expect("nobody panics while counting");
                *answers.entry(format!("{worker}: {gossip}")).or_default() += 1;
            }
        }
    }

    async fn stop(&self) {
        // Here a collector would send what it has kept.
    }
}

/// Takes its time: of its hits only some find a place.
async fn pay() -> Result<&'static str, &'static str> {
    tokio::time::sleep(Duration::from_millis(400)).await;
    Err("card declined")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let answers = Arc::new(Answers::default());
    let workers = [
        Worker::hire("browse", async || Ok::<_, Error>("a page")).gossips(Arc::clone(&answers)),
        Worker::hire("pay", pay).overtime(2).gossips(Arc::clone(&answers)),
    ];
    let tallies = farm(Rate::per_second(10), Duration::from_secs(1), &workers).await?;

    for (worker, tally) in workers.iter().zip(&tallies) {
        println!("{worker}: {} ok, {} failed, {} canceled", tally.ok, tally.failed, tally.canceled);
    }
    for (answer, times) in answers.0.lock().expect("nobody panics while counting").iter() {
        println!("{times} × {answer}");
    }
    Ok(())
}
