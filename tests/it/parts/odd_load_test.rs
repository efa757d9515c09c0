//! A load test that is run by the tests alone: its first argument says what its journeys do, the second where.

use std::io::Write;
use std::time::Duration;

use canihaz::loadtest::reqwest::header::{HeaderMap, HeaderValue};
use canihaz::loadtest::{
    Error, Runner, Server, client, client_builder, do_request, new_sequence_id, set_client, start_listener,
};

struct Odd {
    journey: String,
    url: String,
}

impl Odd {
    async fn request(&self, sequence_id: &str) -> Result<String, Error> {
        let request = client().get(&self.url).build()?;
        Ok(do_request(sequence_id, request).await?.error_for_status()?.text().await?)
    }
}

/// Says on standard error that a journey was dropped.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "a journey was dropped");
    }
}

impl Runner for Odd {
    async fn run(&self) -> Result<(), Error> {
        let sequence_id = new_sequence_id();
        match self.journey.as_str() {
            "requests" => drop(self.request(&sequence_id).await?),
            "two-requests" => {
                self.request(&sequence_id).await?;
                self.request(&sequence_id).await?;
            }
            "panics" => {
                self.request(&sequence_id).await?;
                panic!("on {}", "purpose");
            }
            "errs" => Err(Sad(std::io::Error::other("no cats")))?,
            "never-ends" => {
                let _dropped = Dropped;
                self.request(&sequence_id).await?;
                tokio::time::sleep(Duration::MAX).await;
            }
            "talks" => println!("this is no output"),
            journey => Err(format!("no journey {journey:?}"))?,
        }
        Ok(())
    }
}

/// An error that has a source.
#[derive(Debug)]
struct Sad(std::io::Error);

impl std::fmt::Display for Sad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the journey is sad")
    }
}

impl std::error::Error for Sad {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let [journey, url] = [arguments.next(), arguments.next()].map(Option::unwrap_or_default);
    if arguments.next().as_deref() == Some("own-client") {
        let headers = HeaderMap::from_iter([("x-cats".parse()?, HeaderValue::from_static("13"))]);
        set_client(client_builder().default_headers(headers).build()?);
    }
    start_listener(Server::new(Odd { journey, url }))
}
