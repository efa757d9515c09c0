//! A stress test of InfluxDB with points of its own, in a database of its own: what bees bring home, a point a bee and
//! minute. It asks how much that was while it writes, and says what it found.
//!
//! Run it with `cargo run --example influx_stress`, or with another address behind `--` than `localhost:8086`. The
//! database `bees` is made, and nothing is dropped.

use std::error::Error;
use std::io::Write;
use std::num::NonZeroU64;
use std::time::Duration;

use canihaz::influxdb::{
    BasicClient, BasicProvisioner, BasicQuery, BasicQueryClient, Broadcast, PointGenerator, Reader, StressTest, Writer,
    basic_read_handler, basic_write_handler,
};

/// The bees of a hive, of which each comes home once a minute.
struct Bees {
    bees: u64,
    minutes: u64,
    next: u64,
}

impl PointGenerator for Bees {
    fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
        let (bee, number) = (self.next % self.bees, self.next);
        self.next += 1;
        // A vector takes everything.
        let _ = write!(lines, "pollen,bee=b{bee} mg={}i {}", number * number % 17, self.time());
        number < self.bees * self.minutes
    }

    fn time(&self) -> i64 {
        let minute = self.next.saturating_sub(1) / self.bees;
        (1_700_000_000 + 60 * minute.cast_signed()) * 1_000_000_000
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| String::from("localhost:8086"));
    let mut client = BasicClient::to(&address, "bees")?;
    client.settings.batch_size = NonZeroU64::new(1000).ok_or("a batch has points")?;
    client.settings.concurrency = 2;
    client.patience = Duration::from_secs(30);
    let mut asking = BasicQueryClient::to(&address, "bees")?;
    asking.settings.query_interval = Duration::from_millis(20);

    let mut test = StressTest::new()
        .provisioner(BasicProvisioner::to(&address, "bees")?)
        .writer(Writer::new(Bees { bees: 123, minutes: 100, next: 0 }, client))
        .reader(Reader::new(
            BasicQuery::new("SELECT sum(mg) FROM pollen WHERE bee = 'b%v' AND time <= %time%", 5),
            asking,
        ));

    // Two handlers: one prints the sums, the other each failure.
    let handlers = Broadcast::new().register(basic_write_handler).register(async |mut responses, _timer| {
        while let Some(response) = responses.next().await {
            if let Some(failure) = response.failure {
                eprintln!("batch not as it should be, attempt {}: {failure}", response.work.attempt);
            }
        }
    });
    let ended =
        test.start(async |responses, timer| handlers.handle(responses, timer).await, basic_read_handler).await?;

    println!("{} points and {} queries", ended.write.totals.points(), ended.read.totals.responses());
    ended.write.result?;
    ended.read.result?;
    Ok(())
}
