//! `kind = "graphite"`: carbon's plaintext protocol, `NAME VALUE EPOCH` a line over TCP.
//!
//! A batch is one connection. Carbon never answers, so a batch is taken when
//! carbon, having read all up to our end, closes its own: a reset or silence
//! means that it may have read less. A point that is sent again lands where it
//! was.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Error, anyhow, bail};

use super::address::{self, in_words, resolve};
use super::{Destination, Occasion, Refusal, dotted};
use crate::keys::Keys;
use crate::summary::Summary;

/// Bytes written at once; what is left of the time is looked at in between.
const CHUNK: usize = 64 << 10;
/// The most bytes read, and thrown away, from something that answers although carbon does not.
const MAX_ANSWER: usize = 64 << 10;

/// Where lines go.
struct Graphite {
    address: String,
    prefix: String,
}

/// Reads `address`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let address = address::read(keys)?;
    let prefix = prefix.unwrap_or_else(|| dotted::PREFIX.to_owned());
    Some(Box::new(Graphite { address, prefix }))
}

impl Destination for Graphite {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let text = lines(batch, &self.prefix);
        let mut stream = connect(&self.address, occasion)?;
        write(&mut stream, text.as_bytes(), occasion).context("cannot send all").map_err(Refusal::Retry)?;
        wait_for_close(&mut stream, occasion).context("it has not confirmed by closing").map_err(Refusal::Retry)
    }
}

/// A batch as carbon reads it; each point has the time at which its interval began.
fn lines(batch: &[Summary], prefix: &str) -> String {
    let mut text = String::new();
    for summary in batch {
        let epoch = summary.start.timestamp();
        for (name, value) in dotted::metrics(prefix, summary) {
            writeln!(text, "{name} {value} {epoch}").expect("a String takes whatever is written to it");
        }
    }
    text
}

/// The first of the addresses that accepts; each has an equal part of the time that is left.
fn connect(address: &str, occasion: Occasion) -> Result<TcpStream, Refusal> {
    let addresses = resolve(address)?;
    let mut last = anyhow!("no time was left to send");
    let mut others = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for found in addresses {
        if occasion.is_over() {
            break;
        }
        let part = (occasion.left() / others).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&found, part) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = in_words(error).context("cannot connect"),
        }
        others -= 1;
    }
    Err(Refusal::Retry(last))
}

fn write(stream: &mut TcpStream, bytes: &[u8], occasion: Occasion) -> Result<(), Error> {
    for chunk in bytes.chunks(CHUNK) {
        let mut left = chunk;
        while !left.is_empty() {
            if occasion.is_over() {
                bail!("the time to send was over");
            }
            stream.set_write_timeout(Some(occasion.left()))?;
            match stream.write(left) {
                Ok(0) => bail!("the connection takes no more"),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(in_words(error)),
            }
        }
    }
    stream.shutdown(Shutdown::Write).map_err(in_words)
}

fn wait_for_close(stream: &mut TcpStream, occasion: Occasion) -> Result<(), Error> {
    let mut answer = [0; 1024];
    let mut seen = 0;
    while seen <= MAX_ANSWER {
        if occasion.is_over() {
            bail!("the time to send was over");
        }
        stream.set_read_timeout(Some(occasion.left()))?;
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(read) => seen += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(in_words(error)),
        }
    }
    bail!("it answers, which carbon does not")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::super::sample;
    use super::*;

    /// Delivers to a listener whose first connection `serve` has, and gives back what both came to.
    fn deliver<T: Send>(
        batch: &[Summary],
        prefix: &str,
        occasion: Occasion,
        serve: impl FnOnce(TcpStream) -> T + Send,
    ) -> (Result<(), Refusal>, T) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        thread::scope(|scope| {
            let served = scope.spawn(move || serve(listener.accept().expect("somebody connects").0));
            let delivered =
                Graphite { address: address.clone(), prefix: String::from(prefix) }.deliver(batch, occasion);
            // Should nobody have connected, somebody does now.
            drop(TcpStream::connect(address));
            (delivered, served.join().expect("it does not panic"))
        })
    }

    fn in_a_moment() -> Occasion {
        Occasion { until: Instant::now() + Duration::from_millis(200), ..sample::occasion() }
    }

    #[test]
    fn lines_are_name_value_and_the_start_of_the_interval() {
        let batch = [sample::runner(), sample::later(sample::runner(), 60)];
        assert_eq!(
            lines(&batch, "lab"),
            "lab.web-1_example_com._runner.config_errors 2 1767268800\n\
             lab.web-1_example_com._runner.runs_skipped 1 1767268800\n\
             lab.web-1_example_com._runner.spool_dropped 0 1767268800\n\
             lab.web-1_example_com._runner.last_run 1767268800 1767268800\n\
             lab.web-1_example_com._runner.config_errors 2 1767268860\n\
             lab.web-1_example_com._runner.runs_skipped 1 1767268860\n\
             lab.web-1_example_com._runner.spool_dropped 0 1767268860\n\
             lab.web-1_example_com._runner.last_run 1767268800 1767268860\n"
        );
    }

    #[test]
    fn a_test_that_is_a_part_of_one_has_a_folder_in_its_folder() {
        let lines = lines(&[sample::working("load.write", 1, [("points", 50)])], "canihaz");
        for line in [
            "canihaz.web-1_example_com.load.write.response.p99 1.1 1767268800",
            "canihaz.web-1_example_com.load.write.work.points 50 1767268800",
            "canihaz.web-1_example_com.load.write.work.points_per_second 5 1767268800",
        ] {
            assert!(lines.lines().any(|seen| seen == line), "{line} in {lines}");
        }
    }

    #[test]
    fn taken_is_what_was_read_to_its_end() {
        let batch: Vec<_> = (0..20).map(|number| sample::test(&format!("t{number}"))).collect();
        let (delivered, read) = deliver(&batch, "canihaz", sample::occasion(), |mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it is text");
            text
        });
        delivered.expect("it was read to its end");
        assert_eq!(read, lines(&batch, "canihaz"));
    }

    #[test]
    fn anything_else_is_worth_another_try() {
        #[track_caller]
        fn check(what: &str, serve: impl FnOnce(TcpStream) + Send) {
            let began = Instant::now();
            let (delivered, ()) = deliver(&[sample::test("a")], "canihaz", in_a_moment(), serve);
            assert!(matches!(delivered, Err(Refusal::Retry(_))), "{what}: {delivered:?}");
            assert!(began.elapsed() < Duration::from_secs(3), "{what}");
        }
        check("closes without having read", |stream| {
            stream.peek(&mut [0; 1]).expect("something arrives");
        });
        check("accepts and hangs", |stream| {
            thread::sleep(Duration::from_millis(400));
            drop(stream);
        });
        check("answers without end", |mut stream| while stream.write(&[b'x'; 4096]).is_ok() {});
        check("answers now and then", |mut stream| {
            while stream.write(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
    }

    #[test]
    fn who_does_not_read_a_large_batch_does_not_hold_it_up() {
        // Long names make more of it than the buffers on the way hold.
        let prefix = "p".repeat(1 << 18);
        let (delivered, ()) = deliver(&[sample::test("a")], &prefix, in_a_moment(), |stream| {
            thread::sleep(Duration::from_millis(600));
            drop(stream);
        });
        let refusal = delivered.expect_err("nobody reads");
        assert_eq!(refusal.to_string(), "cannot send all: the time to send was over");
    }

    #[test]
    fn where_nobody_listens_it_is_worth_another_try() {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a port is free").to_string();
        let mut graphite = Graphite { address, prefix: String::from("canihaz") };
        let refusal = graphite.deliver(&[sample::runner()], sample::occasion()).expect_err("nobody listens");
        assert!(matches!(refusal, Refusal::Retry(_)));
        assert!(refusal.to_string().starts_with("cannot connect: "), "{refusal}");
    }
}
