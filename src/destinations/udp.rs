//! `kind = "udp"`: one JSON datagram a summary.
//!
//! Sent is taken: nobody answers a datagram. The one thing that is heard is a
//! refusal (ICMP: nobody listens at that port), and only for datagrams sent
//! before. One that has arrived by the end of the batch, as it always has from
//! this very machine, makes the batch worth another try: it carries its own
//! times, so a repeated delivery is the same point. One that arrives later is
//! not waited for.

use std::io;
use std::net::UdpSocket;

use anyhow::anyhow;

use super::address::{self, in_words};
use super::{Destination, Occasion, Refusal, datagrams, json};
use crate::keys::Keys;
use crate::summary::Summary;

/// The most bytes of a datagram over IPv4: 65,535 less 20 of IP and 8 of UDP.
const MAX_DATAGRAM: usize = 65_507;

/// Where datagrams go.
struct Udp {
    address: String,
    prefix: Option<String>,
}

/// Reads `address`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let address = address::read(keys)?;
    Some(Box::new(Udp { address, prefix }))
}

impl Destination for Udp {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let socket = datagrams::connect(&self.address)?;
        socket.set_write_timeout(Some(occasion.left())).map_err(retry)?;
        datagrams::in_bursts(batch, occasion, |burst| {
            burst.iter().try_for_each(|summary| send(&socket, json::object(summary, self.prefix.as_deref()).as_bytes()))
        })?;
        socket.take_error().map_err(retry)?.map_or(Ok(()), |error| Err(retry(error)))
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

    fn udp(address: String) -> Udp {
        Udp { address, prefix: Some(String::from("lab")) }
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
    fn what_no_datagram_holds_is_final() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let mut udp = udp(receiver.local_addr().expect("it is bound").to_string());
        let summary = Summary { host: "h".repeat(70_000), ..sample::test("a") };
        let refusal = udp.deliver(&[summary], sample::occasion()).expect_err("it is too large");
        assert!(matches!(refusal, Refusal::Final(_)), "{refusal}");
    }
}
