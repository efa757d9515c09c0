//! What points cost to make: processor time a point, beside `write!` and, as a floor, copying what is made.
//!
//! Measured in turns, in one thread, in batches of 5,000 from 100,000 series; the row of the figure is the first one:
//! two tags, one float field, and at most 15 ns. Allocations are counted over a whole round once the buffer has its
//! room, and memory is all that is held for the type, its buffer aside.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::Write;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use canihaz::kinds::influxdb::{Clock, Field, FieldType, Format, PointSettings, Points, Precision, Tag};
use nix::time::{ClockId, clock_gettime};

/// How many series there are, how many points a batch has, and how many batches are measured at once.
const SERIES: u64 = 100_000;
const BATCH: u64 = 5_000;
const BATCHES: u64 = 20;
/// How often each is measured.
const ROUNDS: usize = 41;
/// 2006-01-02, in nanoseconds.
const START: i64 = 1_136_160_000_000_000_000;

/// Counts what is allocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "there is no safe way to count what is allocated")]
// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A way to append the points of a batch.
type Way = Box<dyn Fn(u64, &mut Vec<u8>)>;

fn main() {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let figure = points(false, SERIES, FIELD, Format::LineHttp);
    let memory = ALLOCATED.load(Ordering::Relaxed) - before + size_of_val(&figure) as u64;

    let mut copied = Vec::new();
    figure.write(0..BATCH, None, &mut copied);
    let clock = Clock { first: 0, base: START, batch: BATCH, gap: 1_000_000_000, series: SERIES, step: 1 };
    let ways: Vec<(&str, Way)> = vec![
        ("one float field", way(figure, None)),
        ("with jitter", way(points(true, SERIES, FIELD, Format::LineHttp), None)),
        ("by the clock", way(points(false, SERIES, FIELD, Format::LineHttp), Some(clock))),
        ("one series", way(points(false, 1, FIELD, Format::LineHttp), None)),
        ("float, int, bool, string", way(points(false, SERIES, FIELDS, Format::LineHttp), None)),
        ("graphite", way(points(false, SERIES, FIELD, Format::GraphiteTcp), None)),
        ("write!", Box::new(formatted)),
        ("copied", Box::new(move |_, into| into.extend_from_slice(&copied))),
    ];
    let mut buffers: Vec<Vec<u8>> = ways.iter().map(|_| Vec::new()).collect();
    let mut times = vec![Vec::new(); ways.len()];
    let mut allocations = vec![0; ways.len()];
    for _ in 0..=ROUNDS {
        for (index, (_, way)) in ways.iter().enumerate() {
            let (time, allocated) = round(way, &mut buffers[index]);
            times[index].push(time);
            allocations[index] = allocated;
        }
    }
    let medians: Vec<_> = times.into_iter().map(|times| median(times.into_iter().skip(1))).collect();
    let peer = ways.iter().position(|(name, _)| *name == "write!").map_or(0.0, |index| medians[index]);
    println!("median of {ROUNDS} rounds         a point   of write!   allocations a batch");
    for ((name, _), (time, allocations)) in ways.iter().zip(medians.iter().zip(allocations)) {
        let a_batch = allocations as f64 / BATCHES as f64;
        println!("{name:<26} {time:>7.1} ns {:>10.2} {a_batch:>21.1}", time / peer);
    }
    println!("{SERIES} series: {memory} bytes");
}

const FIELD: &[(&str, FieldType)] = &[("value", FieldType::Float64)];
const FIELDS: &[(&str, FieldType)] =
    &[("value", FieldType::Float64), ("count", FieldType::Int), ("up", FieldType::Bool), ("state", FieldType::String)];

fn points(jitter: bool, series: u64, fields: &[(&str, FieldType)], format: Format) -> Points {
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    let settings = PointSettings {
        point_count: None,
        series_count: NonZeroU64::new(series).expect("there are series"),
        tick: Duration::from_secs(10),
        jitter,
        measurement: "cpu".to_owned(),
        start: Some(START),
        tags: vec![tag("host", "server"), tag("location", "us-west")],
        fields: fields.iter().map(|(key, value)| Field { key: (*key).to_owned(), value: *value }).collect(),
    };
    Points::new(&settings, Precision::N, format, "web-1")
}

fn way(points: Points, clock: Option<Clock>) -> Way {
    Box::new(move |first, into| points.write(first..first + BATCH, clock.as_ref(), into))
}

/// The same lines, but for the values, by the standard library's means.
fn formatted(first: u64, into: &mut Vec<u8>) {
    let [measurement, host, server, location, place, value] =
        black_box(["cpu", "host", "server", "location", "us-west", "value"]);
    for number in first..first + BATCH {
        let (series, stamp) = (number % SERIES, START + (number / SERIES + 1) as i64 * 10_000_000_000);
        let any = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let any = (any * 1000) >> 32;
        writeln!(into, "{measurement},{host}={server}-{series},{location}={place} {value}={any} {stamp}")
            .expect("a buffer takes whatever is written to it");
    }
}

/// What a point takes, in ns of this thread, and how much was allocated.
fn round(way: &Way, buffer: &mut Vec<u8>) -> (f64, u64) {
    let (before, allocated) = (spent(), ALLOCATIONS.load(Ordering::Relaxed));
    for batch in 0..BATCHES {
        buffer.clear();
        way(black_box(batch * BATCH), buffer);
        black_box(&buffer);
    }
    let time = (spent() - before).as_nanos() as f64 / (BATCHES * BATCH) as f64;
    (time, ALLOCATIONS.load(Ordering::Relaxed) - allocated)
}

/// The processor time that this thread has had.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock is always there").into()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
