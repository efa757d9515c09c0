//! A compiled load test: a journey of one request. Its URL is the first argument, which the test's type gives it.
//!
//! The runner starts it, as README shows. By hand, `cargo run --example magnum_api -- http://localhost:8765/` waits
//! on 127.0.0.1:9999 for an agent.

use canihaz::loadtest::{Error, Runner, Server, client, do_request, new_sequence_id, start_listener};

struct MagnumApi {
    url: String,
}

impl Runner for MagnumApi {
    async fn run(&self) -> Result<(), Error> {
        let sequence_id = new_sequence_id();
        let request = client().get(&self.url).build()?;
        do_request(&sequence_id, request).await?.error_for_status()?;
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).ok_or("what URL?")?;
    start_listener(Server::new(MagnumApi { url }))
}
