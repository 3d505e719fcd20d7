//! What it costs to know which version of a listener is in force, while versions change.
//!
//! A running listener has a copy of its own and is told of a new one between two turns of its loop; on the way of a record
//! there is no lock and no atomic operation. Beside that the ways in which it could look each time: at tokio's watch channel,
//! through `arc_swap`, and under `parking_lot::RwLock`. The version is a stand-in of the same shape (shared, and a flag);
//! what changes cost the real thing is in `native`, under load.
//!
//! `cargo bench -p dispatch --bench route`; with `--test` it reads a few.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::watch;

/// As large as what a listener looks at: a spec, who is called, and whether it pauses.
#[derive(Clone)]
struct Version {
    spec: Arc<[u64; 64]>,
    paused: bool,
}

impl Version {
    fn new(number: u64) -> Self {
        Self {
            spec: Arc::new([number; 64]),
            paused: number == u64::MAX,
        }
    }

    fn used(&self) -> u64 {
        if self.paused { 0 } else { self.spec[7] }
    }
}

/// How often versions change.
#[derive(Clone, Copy)]
enum Changes {
    Never,
    EveryMillisecond,
    WithoutPause,
}

const ALL: [Changes; 3] = [
    Changes::Never,
    Changes::EveryMillisecond,
    Changes::WithoutPause,
];

/// Nanoseconds a read takes while `write` changes the version, and how often it did.
fn time(
    reads: u64,
    changes: Changes,
    write: impl Fn(u64) + Send + 'static,
    mut read: impl FnMut() -> u64,
) -> (f64, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let changed = Arc::new(AtomicU64::new(0));
    let (told, count) = (Arc::clone(&stop), Arc::clone(&changed));
    let writer = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            match changes {
                Changes::Never => std::thread::park(),
                Changes::EveryMillisecond => std::thread::park_timeout(Duration::from_millis(1)),
                Changes::WithoutPause => (),
            }
            if !matches!(changes, Changes::Never) {
                write(1 + count.fetch_add(1, Ordering::Relaxed));
            }
        }
    });
    let start = Instant::now();
    let mut sum = 0;
    for _ in 0..reads {
        sum += black_box(read());
    }
    let took = start.elapsed();
    black_box(sum);
    stop.store(true, Ordering::Relaxed);
    writer.thread().unpark();
    writer.join().unwrap();
    let each = took.as_secs_f64() * 1e9 / reads as f64;
    (each, changed.load(Ordering::Relaxed))
}

/// The median of several.
fn median(mut run: impl FnMut() -> (f64, u64)) -> (f64, u64) {
    let mut runs: Vec<_> = (0..5).map(|_| run()).collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs[2]
}

/// Told of changes once in so many records, as a loop that takes a batch at a time.
fn own_copy(reads: u64, changes: Changes, records: u64) -> (f64, u64) {
    let (sender, mut receiver) = watch::channel(Version::new(0));
    let mut now = receiver.borrow_and_update().clone();
    let mut left = 0;
    let write = move |number| drop(sender.send_replace(Version::new(number)));
    time(reads, changes, write, || {
        if left == 0 {
            left = records;
            if receiver.has_changed().unwrap_or(false) {
                now = receiver.borrow_and_update().clone();
            }
        }
        left -= 1;
        now.used()
    })
}

fn watched(reads: u64, changes: Changes) -> (f64, u64) {
    let (sender, receiver) = watch::channel(Version::new(0));
    let write = move |number| drop(sender.send_replace(Version::new(number)));
    time(reads, changes, write, || receiver.borrow().used())
}

fn swapped(reads: u64, changes: Changes) -> (f64, u64) {
    let shared = Arc::new(ArcSwap::from_pointee(Version::new(0)));
    let writer = Arc::clone(&shared);
    let write = move |number| writer.store(Arc::new(Version::new(number)));
    time(reads, changes, write, || shared.load().used())
}

fn locked(reads: u64, changes: Changes) -> (f64, u64) {
    let shared = Arc::new(RwLock::new(Version::new(0)));
    let writer = Arc::clone(&shared);
    let write = move |number| {
        let next = Version::new(number);
        let before = std::mem::replace(&mut *writer.write(), next);
        drop(before);
    };
    time(reads, changes, write, || shared.read().used())
}

type Way = (&'static str, fn(u64, Changes) -> (f64, u64));

const WAYS: [Way; 5] = [
    ("own copy, told once in 100", |reads, changes| {
        own_copy(reads, changes, 100)
    }),
    ("own copy, told each time", |reads, changes| {
        own_copy(reads, changes, 1)
    }),
    ("tokio watch, borrowed", watched),
    ("arc_swap", swapped),
    ("parking_lot RwLock", locked),
];

fn main() {
    let brief = std::env::args().any(|argument| argument == "--test");
    let reads = if brief { 10_000 } else { 20_000_000 };
    println!(
        "ns a read, median of 5           no change   1 a ms   without pause (changes a second)"
    );
    for (name, way) in WAYS {
        print!("{name:<30}");
        for changes in ALL {
            let (each, changed) = median(|| way(reads, changes));
            print!("  {each:>9.2}");
            if matches!(changes, Changes::WithoutPause) {
                let seconds = each * reads as f64 / 1e9;
                print!("  ({:.0})", changed as f64 / seconds);
            }
        }
        println!();
    }
}
