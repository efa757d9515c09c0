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
use crate::summary::{Measured, Summary};

/// What is sent between two pauses, as [weighed](weight): summaries, mostly.
/// One is at most sixteen datagrams, mostly three; Linux's default receive
/// buffer (208 KiB, the kernel's own overhead included) holds ninety.
const BURST: usize = 8;
/// As many values take the room of a summary without.
const VALUES: usize = 12;
/// As many counts of work do: each is two numbers where a value is three.
const COUNTS: usize = 18;
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
    let bursts = bursts(batch);
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

/// `batch` in parts that weigh at most [`BURST`] each, or are a single summary.
fn bursts(mut batch: &[Summary]) -> Vec<&[Summary]> {
    let mut bursts = Vec::new();
    while !batch.is_empty() {
        let mut left = BURST;
        let fits = |summary: &&Summary| left.checked_sub(weight(summary)).inspect(|rest| left = *rest).is_some();
        let (burst, rest) = batch.split_at(batch.iter().take_while(fits).count().max(1));
        bursts.push(burst);
        batch = rest;
    }
    bursts
}

/// How many summaries without phases, values and work are about as long as this one.
fn weight(summary: &Summary) -> usize {
    let Measured::Test(tally) = &summary.measured else { return 1 };
    let values = tally.values.as_ref().map_or(0, |values| values.iter().len());
    let counts = tally.work.as_ref().map_or(0, |work| work.named().len());
    1 + usize::from(tally.connections.is_some()) + values.div_ceil(VALUES) + counts.div_ceil(COUNTS)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::sample;
    use super::*;
    use crate::target::Value;
    use crate::values::MAX_NAMES;

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
    fn summaries_that_say_more_are_sent_with_fewer_at_a_time() {
        #[track_caller]
        fn check(batch: &[Summary], expect: &[usize]) {
            assert_eq!(bursts(batch).iter().map(|burst| burst.len()).collect::<Vec<_>>(), expect);
        }
        let [plain, rich] = [sample::runner(), sample::rich("a")];
        let working = sample::working("a", 1, [("points", 1), ("rejected", 0)]);
        assert_eq!([&plain, &rich, &working].map(weight), [1, 3, 2]);
        check(&[], &[]);
        check(&vec![plain.clone(); 17], &[8, 8, 1]);
        check(&vec![rich.clone(); 5], &[2, 2, 1]);
        check(&[rich.clone(), plain.clone(), plain.clone(), rich.clone(), plain, rich.clone()], &[4, 2]);
        let mut largest = rich;
        let Measured::Test(tally) = &mut largest.measured else { unreachable!("it is a test") };
        for number in 0..MAX_NAMES {
            let value = Value { name: format!("n{number}"), value: 1.0, unit: String::new() };
            tally.values.get_or_insert_default().record(&value);
        }
        assert_eq!(weight(&largest), 7);
        let Measured::Test(tally) = &mut largest.measured else { unreachable!("it is a test") };
        tally.work = Some(Box::new((0..MAX_NAMES).map(|number| (format!("n{number}"), 1)).collect()));
        assert_eq!(weight(&largest), 10);
        check(&vec![largest; 2], &[1, 1]);
    }

    #[test]
    fn without_time_nothing_is_sent() {
        let occasion = Occasion { until: Instant::now(), ..sample::occasion() };
        let refused = in_bursts(&[sample::test("a")], occasion, |_| panic!("nothing is to be sent"));
        assert!(matches!(refused, Err(Refusal::Retry(_))));
    }
}
