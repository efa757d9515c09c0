//! Sending datagrams: where to, and how fast.
//!
//! Nothing tells a sender of UDP that the receiver's buffer is full, so a
//! backlog, or a summary that has much to say, is sent in bursts that fit one,
//! with pauses for the receiver to read in.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::address::resolve;
use super::{Occasion, Refusal};

/// The bytes that are sent between two pauses: eight summaries, mostly, in some fifteen datagrams; Linux's default
/// receive buffer (208 KiB, the kernel's own overhead included) holds ninety. A larger piece is sent alone.
const BURST: usize = 20 << 10;
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

/// Hands `pieces`, of so many bytes each, to `send` burst by burst. The pauses are shortened where the occasion's
/// time would not do: once some of them are out, all of them go.
///
/// # Errors
/// The first one of `send`; [`Refusal::Retry`] when there is no time to begin with.
pub(super) fn in_bursts<P>(
    pieces: &[P],
    bytes: impl Fn(&P) -> usize,
    occasion: Occasion,
    mut send: impl FnMut(&[P]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if occasion.is_over() {
        return Err(Refusal::Retry(anyhow!("no time was left to send")));
    }
    let bursts = bursts(pieces, bytes);
    let count = u32::try_from(bursts.len()).context("a batch is not that large");
    let pause = PAUSE.min(occasion.left() / count.map_err(Refusal::Final)?.max(1));
    for (number, burst) in bursts.into_iter().enumerate() {
        if number > 0 {
            thread::sleep(pause);
        }
        send(burst)?;
    }
    Ok(())
}

/// `pieces` in parts of at most [`BURST`] bytes each, or of a single piece.
fn bursts<P>(mut pieces: &[P], bytes: impl Fn(&P) -> usize) -> Vec<&[P]> {
    let mut bursts = Vec::new();
    while !pieces.is_empty() {
        let mut left = BURST;
        let fits = |piece: &&P| left.checked_sub(bytes(piece)).inspect(|rest| left = *rest).is_some();
        let (burst, rest) = pieces.split_at(pieces.iter().take_while(fits).count().max(1));
        bursts.push(burst);
        pieces = rest;
    }
    bursts
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::sample;
    use super::*;

    #[test]
    fn pieces_go_out_in_order_in_bursts_within_their_time() {
        let pieces: Vec<usize> = (0..200).collect();
        let occasion = Occasion { until: Instant::now() + Duration::from_millis(50), ..sample::occasion() };
        let (mut sent, mut largest) = (Vec::new(), 0);
        in_bursts(
            &pieces,
            |_| BURST / 8,
            occasion,
            |burst| {
                largest = largest.max(burst.len());
                sent.extend_from_slice(burst);
                Ok(())
            },
        )
        .expect("nothing refuses");
        assert_eq!(sent, pieces);
        assert_eq!(largest, 8);
        assert!(occasion.until.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn large_pieces_are_sent_with_fewer_at_a_time() {
        #[track_caller]
        fn check(pieces: &[usize], expect: &[usize]) {
            assert_eq!(bursts(pieces, |bytes| *bytes).iter().map(|burst| burst.len()).collect::<Vec<_>>(), expect);
        }
        check(&[], &[]);
        check(&[BURST], &[1]);
        check(&[BURST / 8; 17], &[8, 8, 1]);
        check(&[BURST / 2, BURST / 2, 1], &[2, 1]);
        check(&[1, 3 * BURST, 1, 1], &[1, 1, 2]);
        check(&[0; 5], &[5]);
    }

    #[test]
    fn without_time_nothing_is_sent() {
        let occasion = Occasion { until: Instant::now(), ..sample::occasion() };
        let refused = in_bursts(&[1], |_| 1, occasion, |_| panic!("nothing is to be sent"));
        assert!(matches!(refused, Err(Refusal::Retry(_))));
    }
}
