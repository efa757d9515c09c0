//! `kind = "udp"`: one JSON datagram a summary.
//!
//! Sent is taken: nobody answers a datagram. The one thing that is heard is a
//! refusal (ICMP: nobody listens at that port), and only for datagrams sent
//! before. One that has arrived by the end of the batch, as it always has from
//! this very machine, makes the batch worth another try: it carries its own
//! times, so a repeated delivery is the same point. One that arrives later is
//! not waited for. Of more routes than a datagram holds, the last are told as
//! one.

use std::io;
use std::net::UdpSocket;

use anyhow::anyhow;

use super::address::{self, in_words};
use super::{Destination, Occasion, Refusal, datagrams, json};
use crate::keys::Keys;
use crate::summary::{Measured, Summary};

/// The most bytes of a datagram over IPv4: 65,535 less 20 of IP and 8 of UDP.
const MAX_DATAGRAM: usize = 65_507;

/// Where datagrams go.
struct Udp {
    address: String,
    prefix: Option<String>,
    /// Whether it was said already that a datagram doesn't hold all routes.
    has_shortened: bool,
}

/// Reads `address`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let address = address::read(keys)?;
    Some(Box::new(Udp { address, prefix, has_shortened: false }))
}

impl Destination for Udp {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let socket = datagrams::connect(&self.address)?;
        socket.set_write_timeout(Some(occasion.left())).map_err(retry)?;
        let datagrams: Vec<_> = batch.iter().map(|summary| self.datagram(summary)).collect();
        datagrams::in_bursts(&datagrams, String::len, occasion, |burst| {
            burst.iter().try_for_each(|datagram| send(&socket, datagram.as_bytes()))
        })?;
        socket.take_error().map_err(retry)?.map_or(Ok(()), |error| Err(retry(error)))
    }
}

impl Udp {
    /// The summary, with as many of its routes as a datagram holds: the others are counted as `other`.
    fn datagram(&mut self, summary: &Summary) -> String {
        let whole = json::object(summary, self.prefix.as_deref());
        let Measured::Test(tally) = &summary.measured else { return whole };
        let Some(routes) = tally.routes.as_deref().filter(|_| whole.len() > MAX_DATAGRAM) else { return whole };
        let with = |most: usize| {
            let mut short = summary.clone();
            if let Measured::Test(tally) = &mut short.measured
                && let Some(routes) = &mut tally.routes
            {
                routes.shorten(most);
            }
            json::object(&short, self.prefix.as_deref())
        };
        let all: Vec<usize> = (1..=routes.len()).collect();
        let most = all.partition_point(|most| with(*most).len() <= MAX_DATAGRAM);
        if !std::mem::replace(&mut self.has_shortened, true) {
            let test = &summary.test;
            log::warn!(
                "a datagram holds {most} routes of the test {test}, \"other\" has the rest; this is said once a run"
            );
        }
        with(most)
    }
}

fn send(socket: &UdpSocket, datagram: &[u8]) -> Result<(), Refusal> {
    if datagram.len() > MAX_DATAGRAM {
        let bytes = datagram.len();
        return Err(Refusal::Final(anyhow!("{bytes} bytes are too many for a datagram, which holds {MAX_DATAGRAM}")));
    }
    socket.send(datagram).map(|_| ()).map_err(retry)
}

fn retry(error: io::Error) -> Refusal {
    Refusal::Retry(match error.kind() {
        io::ErrorKind::ConnectionRefused => anyhow!("nobody listens at its address"),
        _ => in_words(error).context("cannot send"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sample;
    use super::*;
    use crate::routes::{OTHER, Request};

    fn udp(address: String) -> Udp {
        Udp { address, prefix: Some(String::from("lab")), has_shortened: false }
    }

    #[test]
    fn each_summary_is_a_datagram_of_json() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("it takes a time-out");
        let mut udp = udp(receiver.local_addr().expect("it is bound").to_string());
        let batch = [sample::test("a"), sample::working("load.write", 1, [("points", 5)]), sample::runner()];
        udp.deliver(&batch, sample::occasion()).expect("somebody listens");
        let mut buffer = [0; MAX_DATAGRAM];
        for name in ["lab.a", "lab.load.write", "lab._runner"] {
            let length = receiver.recv(&mut buffer).expect("a datagram was sent");
            let value: serde_json::Value = serde_json::from_slice(&buffer[..length]).expect("it is JSON");
            assert_eq!((&value["test_name"], &value["test_epoch"]), (&name.into(), &1_767_268_800.into()));
        }
    }

    #[test]
    fn where_nobody_listens_it_is_worth_another_try() {
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free");
        for batch in [vec![sample::test("a")], vec![sample::test("a"); 3]] {
            let refusal = udp(address.to_string()).deliver(&batch, sample::occasion()).expect_err("it is refused");
            assert_eq!(refusal.to_string(), "nobody listens at its address");
            assert!(matches!(refusal, Refusal::Retry(_)));
        }
    }

    #[test]
    fn of_more_routes_than_a_datagram_holds_the_rest_is_other() {
        let mut udp = udp(String::new());
        let mut routes = |length: usize, statuses: u16| {
            let routes: Vec<_> =
                (0..60).map(|number| format!("GET https://h/{number:02}{}", "é".repeat(length))).collect();
            let routes: Vec<_> = routes.iter().map(|route| (route.as_str(), 2)).collect();
            let mut summary = sample::routed("shop", &routes);
            let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
            let routes = tally.routes.as_mut().expect("it has some");
            let other = |status| Request { route: OTHER, duration: Duration::ZERO, status, size: None, is_error: true };
            (100..600).for_each(|status| routes.record(&other(status)));
            for route in (0..60).map(|number| format!("GET https://h/{number:02}{}", "é".repeat(length))) {
                (100..100 + statuses).for_each(|status| routes.record(&Request { route: &route, ..other(status) }));
            }
            let datagram = udp.datagram(&summary);
            assert!(datagram.len() <= MAX_DATAGRAM);
            let mut value: serde_json::Value = serde_json::from_str(&datagram).expect("it is JSON");
            let serde_json::Value::Object(routes) = value["routes"].take() else { panic!("it has routes") };
            let requests = routes.values().map(|route| route["requests"].as_u64().expect("it is a count")).sum::<u64>();
            assert_eq!(
                (requests, routes["other"]["statuses"]["599"].as_u64()),
                (500 + 60 * (2 + u64::from(statuses)), Some(1))
            );
            (routes.len() - 1, datagram.len())
        };
        assert_eq!(routes(1, 70).0, 50, "they fit");
        let (some, bytes) = routes(186, 100);
        assert!((30..50).contains(&some) && bytes > MAX_DATAGRAM - 2000, "{some} in {bytes} bytes");
        assert!(udp.has_shortened);
    }

    #[test]
    fn what_no_datagram_holds_is_final() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let mut udp = udp(receiver.local_addr().expect("it is bound").to_string());
        let summary = Summary { host: "h".repeat(70_000), ..sample::test("a") };
        let refusal = udp.deliver(&[summary], sample::occasion()).expect_err("it is too large");
        assert!(matches!(refusal, Refusal::Final(_)), "{refusal}");
    }
}
