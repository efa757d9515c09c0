//! Sending summaries as datagrams: where to, and how fast.
//!
//! Nothing tells a sender of UDP that the receiver's buffer is full, so a
//! backlog is sent in bursts that fit one, with pauses for the receiver to
//! read in.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::address::resolve;
use super::{Occasion, Refusal};
use crate::summary::Summary;

/// Summaries sent between two pauses. A summary is at most eight datagrams,
/// mostly three; Linux's default receive buffer (208 KiB, the kernel's own
/// overhead included) holds ninety.
const BURST: usize = 8;
/// How long a receiver has to read a burst.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket connected to the first address of `address` that there is a route to.
///
/// # Errors
/// [`Refusal::Retry`] when it does not resolve or there is no route.
pub(super) fn connect(address: &str) -> Result<UdpSocket, Refusal> {
    let mut last = anyhow!("its address can't be reached");
    for found in resolve(address)? {
        let socket = match found.is_ipv4() {
            true => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            false => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        };
        match socket.and_then(|socket| socket.connect(found).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = anyhow!(error).context("its address can't be reached"),
        }
    }
    Err(Refusal::Retry(last))
}

/// Hands `batch` to `send` burst by burst. The pauses are shortened where the
/// occasion's time would not do: once some of a batch is out, all of it goes.
///
/// # Errors
/// The first one of `send`; [`Refusal::Retry`] when there is no time to begin with.
pub(super) fn in_bursts(
    batch: &[Summary],
    occasion: Occasion,
    mut send: impl FnMut(&[Summary]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if occasion.is_over() {
        return Err(Refusal::Retry(anyhow!("no time was left to send")));
    }
    let bursts = u32::try_from(batch.len().div_ceil(BURST)).context("a batch is not that large");
    let pause = PAUSE.min(occasion.left() / bursts.map_err(Refusal::Final)?.max(1));
    for (number, burst) in batch.chunks(BURST).enumerate() {
        if number > 0 {
            thread::sleep(pause);
        }
        send(burst)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::sample;
    use super::*;

    #[test]
    fn a_batch_goes_out_in_order_in_bursts_within_its_time() {
        let batch: Vec<_> = (0..200).map(|number| Summary { test: format!("t{number}"), ..sample::runner() }).collect();
        let occasion = Occasion { until: Instant::now() + Duration::from_millis(50), ..sample::occasion() };
        let (mut names, mut largest) = (Vec::new(), 0);
        in_bursts(&batch, occasion, |burst| {
            largest = largest.max(burst.len());
            names.extend(burst.iter().map(|summary| summary.test.clone()));
            Ok(())
        })
        .expect("nothing refuses");
        assert_eq!(names, batch.iter().map(|summary| summary.test.clone()).collect::<Vec<_>>());
        assert_eq!(largest, BURST);
        assert!(occasion.until.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn without_time_nothing_is_sent() {
        let occasion = Occasion { until: Instant::now(), ..sample::occasion() };
        let refused = in_bursts(&[sample::test("a")], occasion, |_| panic!("nothing is to be sent"));
        assert!(matches!(refused, Err(Refusal::Retry(_))));
    }
}
