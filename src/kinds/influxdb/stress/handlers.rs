//! The handlers that print what they have heard.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::time::Duration;

use super::response::{Asked, Response, Responses, Written};
use super::timer::Timer;
use super::totals::{Totals, Worked};

/// Prints what became of batches, when all has been heard, and gives it back: requests by result, how long they took,
/// and the points a second that the database has taken. Prints nothing where there was none.
///
/// ```text
/// Total Requests: 201
///         Success: 200
///         Fail: 1 (1 connect)
/// Average Response Time: 6.9ms
///         50%: 6.1ms, 90%: 11.2ms, 99%: 17.4ms, Max: 21.3ms
/// Points: 1000000
/// Points Per Second: 683760
/// ```
pub async fn basic_write_handler(responses: Responses<Written>, timer: Timer) -> Totals {
    let totals = heard(responses).await;
    print(&written(&totals, timer.elapsed()));
    totals
}

/// Prints what became of queries, when all has been heard, and gives it back: by result, how long they took, and how
/// many rows came back. Prints nothing where there was none.
pub async fn basic_read_handler(responses: Responses<Asked>, _timer: Timer) -> Totals {
    let totals = heard(responses).await;
    print(&asked(&totals));
    totals
}

async fn heard<W: Worked>(mut responses: Responses<W>) -> Totals {
    let mut totals = Totals::default();
    while let Some(response) = responses.next().await {
        let response: Response<W> = response;
        totals.add(&response);
    }
    totals
}

fn written(totals: &Totals, elapsed: Duration) -> String {
    if totals.responses() == 0 {
        return String::new();
    }
    let mut text = format!("Total Requests: {}\n", totals.responses());
    // A string takes everything.
    let _ = results(totals, "Average Response Time", &mut text);
    let _ = writeln!(text, "Points: {}", totals.points());
    if totals.rejected() > 0 {
        let _ = writeln!(text, "Rejected Points: {}", totals.rejected());
    }
    let _ = writeln!(text, "Points Per Second: {:.0}\n", totals.points_per_second(elapsed));
    text
}

fn asked(totals: &Totals) -> String {
    if totals.responses() == 0 {
        return String::new();
    }
    let mut text = format!("Total Queries: {}\n", totals.responses());
    let _ = results(totals, "Average Query Response Time", &mut text);
    let _ = writeln!(text, "Rows: {}\n", totals.rows());
    text
}

fn results(totals: &Totals, mean: &str, text: &mut String) -> fmt::Result {
    writeln!(text, "\tSuccess: {}", totals.succeeded)?;
    write!(text, "\tFail: {}", totals.failed())?;
    for (place, (reason, count)) in totals.failures.iter().enumerate() {
        write!(text, "{}{count} {reason}", if place == 0 { " (" } else { ", " })?;
    }
    text.push_str(if totals.failures.is_empty() { "\n" } else { ")\n" });
    writeln!(text, "{mean}: {}", ms(totals.took.mean()))?;
    let [half, most, nearly_all] = [0.5, 0.9, 0.99].map(|share| ms(totals.took.quantile(share)));
    writeln!(text, "\t50%: {half}, 90%: {most}, 99%: {nearly_all}, Max: {}", ms(totals.took.max()))
}

fn ms(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1000.0)
}

fn print(text: &str) {
    // A closed pipe is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::influxdb::Fate;
    use crate::target::{Failure, Reason};

    #[test]
    fn points_a_second_are_those_that_were_taken_over_the_time_it_took() {
        let mut totals = Totals::default();
        assert_eq!(written(&totals, Duration::from_secs(1)), "");
        let took = Duration::from_millis(4);
        let whole = Written { points: 5000, fate: Fate::Done { rejected: 0 }, attempt: 1 };
        totals.add(&Response::new(whole, took));
        let lost = Written { fate: Fate::Undone, ..whole };
        totals.add(&Response::new(lost, 2 * took).failed(Failure::new(Reason::Connect, "refused")));
        let partial = Written { points: 100, fate: Fate::Done { rejected: 60 }, attempt: 1 };
        totals.add(&Response::new(partial, 3 * took).failed(Failure::new(Reason::Status, "400")));
        let expect = "Total Requests: 3\n\tSuccess: 1\n\tFail: 2 (1 connect, 1 status)\nAverage Response Time: \
                      8.0ms\n\t50%: 8.0ms, 90%: 12.0ms, 99%: 12.0ms, Max: 12.0ms\nPoints: 5040\nRejected Points: \
                      60\nPoints Per Second: 2520\n\n";
        assert_eq!(written(&totals, Duration::from_secs(2)), expect);
    }

    #[test]
    fn what_was_asked() {
        let mut totals = Totals::default();
        assert_eq!(asked(&totals), "");
        for rows in [7, 0, 2] {
            totals.add(&Response::new(Asked { rows }, Duration::from_millis(1)));
        }
        let expect = "Total Queries: 3\n\tSuccess: 3\n\tFail: 0\nAverage Query Response Time: 1.0ms\n\t50%: 1.0ms, \
                      90%: 1.0ms, 99%: 1.0ms, Max: 1.0ms\nRows: 9\n\n";
        assert_eq!(asked(&totals), expect);
    }
}
