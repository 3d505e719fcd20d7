//! Handing items over: one producer, one to four readers, items of 8 and 256 bytes and shared ones, in bursts of 1 and 64.
//!
//! `cargo bench -p stdx --bench broadcast`. Producer and readers are threads; nobody waits for anybody, so a reader
//! that is lapped goes on where the ring begins: the time is that of the producer, and what readers missed is shown.
//! `park` rows let the reader sleep between bursts: one wake-up each.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it saw"
)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stdx::broadcast::{Polled, Publisher, Reader};

const CAPACITY: usize = 4_096;

/// How a reader waits when there is nothing.
#[derive(Clone, Copy)]
enum Wait {
    Spin,
    Park,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn read<T: Clone>(mut reader: Reader<T>, wait: Wait) -> u64 {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut got = 0;
    loop {
        match reader.poll(256, |_| true) {
            Polled::Items(count) => got += count as u64,
            Polled::Lapped { resume_at } => reader.attach(resume_at),
            Polled::Closed => return got,
            Polled::Empty => match wait {
                Wait::Spin => {
                    reader.spin_past(reader.cursor(), 1_000);
                }
                Wait::Park => {
                    let cursor = reader.cursor();
                    let mut context = Context::from_waker(&waker);
                    while reader.poll_past(cursor, &mut context) == Poll::Pending {
                        std::thread::park();
                    }
                }
            },
        }
    }
}

/// Publishes so many items and answers how long that took; adds up what readers got.
fn run<T: Clone + Send + 'static>(
    item: &T,
    items: u64,
    burst: u64,
    readers: usize,
    wait: Wait,
    got: &mut (u64, u64),
) -> Duration {
    let mut publisher = Publisher::new(CAPACITY);
    let reading: Vec<_> = (0..readers)
        .map(|_| {
            let reader = publisher.subscribe();
            std::thread::spawn(move || read(reader, wait))
        })
        .collect();
    let start = Instant::now();
    let mut left = items;
    while left > 0 {
        let count = left.min(burst);
        publisher.publish_all((0..count).map(|_| item.clone()));
        left -= count;
    }
    let took = start.elapsed();
    drop(publisher);
    for reader in reading {
        got.0 += reader.join().unwrap();
        got.1 += items;
    }
    took
}

fn group<T: Clone + Send + 'static>(criterion: &mut Criterion, name: &str, item: &T) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for (waits, wait) in [("spin", Wait::Spin), ("park", Wait::Park)] {
        for (readers, burst) in [(1, 1), (1, 64), (2, 64), (4, 64)] {
            let mut got = (0, 0);
            let id = BenchmarkId::new(waits, format!("{readers} readers, bursts of {burst}"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|items| run(item, items, burst, readers, wait, &mut got));
            });
            println!(
                "    readers got {:.1} % from the ring",
                got.0 as f64 * 100.0 / (got.1 as f64).max(1.0)
            );
        }
    }
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    group(criterion, "broadcast 8 B", &7_u64);
    group(criterion, "broadcast 256 B", &[7_u64; 32]);
    group(criterion, "broadcast shared", &Arc::new([7_u64; 32]));
}

criterion_group!(broadcast, benches);
criterion_main!(broadcast);
