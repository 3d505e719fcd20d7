//! The in-process class: one thread hands numbers to one to four others, which each see every one of them.
//!
//! Rings and broadcasts hand one item to all readers; a channel has one reader, so there it is one channel for each and the
//! producer sends to all. Readers check that no number is missing or out of order. "Busy" adds a thread that only
//! computes: on few cores it shows who spins. To add a peer: a function as below and a line in [`PEERS`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use disruptor::{BusySpin, Producer, build_single_producer};
use stdx::broadcast::{Polled, Publisher};
use tokio::runtime::Builder;
use tokio::sync::{broadcast, mpsc};

/// Items a ring or channel holds.
const CAPACITY: usize = 8_192;
/// How often a reader that yields looks again before it sleeps: crossbeam's receivers do much the same.
const YIELDS: u32 = 20;
/// Sends between two looks at the clock.
const STRIDE: u64 = 1_024;

/// What is handed over: a number in 8 bytes, or in 256.
pub(super) trait Item: Copy + Default + Send + Sync + 'static {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Item for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

/// 256 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Large([u64; 32]);

impl Item for Large {
    fn of(number: u64) -> Self {
        Self([number; 32])
    }

    fn number(&self) -> u64 {
        self.0[31]
    }
}

/// Hands over for a while; answers how many items each reader got.
type Hand = fn(readers: usize, span: Duration) -> Result<u64>;

/// A way to hand over, at both sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct InProcess {
    /// As `--against` has it.
    pub(super) flag: &'static str,
    pub(super) name: &'static str,
    small: Hand,
    large: Hand,
}

pub(super) const PEERS: [InProcess; 6] = [
    InProcess {
        flag: "lantern",
        name: "Lantern's ring",
        small: with_ring::<u64, 0>,
        large: with_ring::<Large, 0>,
    },
    InProcess {
        flag: "lantern",
        name: "Lantern's ring (yields, then sleeps)",
        small: with_ring::<u64, YIELDS>,
        large: with_ring::<Large, YIELDS>,
    },
    InProcess {
        flag: "disruptor",
        name: "disruptor (spins)",
        small: with_disruptor::<u64>,
        large: with_disruptor::<Large>,
    },
    InProcess {
        flag: "crossbeam",
        name: "crossbeam bounded channels",
        small: with_crossbeam::<u64>,
        large: with_crossbeam::<Large>,
    },
    InProcess {
        flag: "tokio",
        name: "tokio broadcast",
        small: with_broadcast::<u64>,
        large: with_broadcast::<Large>,
    },
    InProcess {
        flag: "tokio",
        name: "tokio mpsc channels",
        small: with_mpsc::<u64>,
        large: with_mpsc::<Large>,
    },
];

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) bytes: usize,
    pub(super) readers: usize,
    pub(super) busy: bool,
}

/// Items a second that every reader got.
pub(super) fn measure(peer: InProcess, case: Case, span: Duration) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let busy = case.busy.then(|| {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut number = 1_u64;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..1_000 {
                    number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005));
                }
            }
        })
    });
    let started = Instant::now();
    let hand = if case.bytes == 8 {
        peer.small
    } else {
        peer.large
    };
    let result = hand(case.readers, span);
    let took = started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    if let Some(busy) = busy {
        let _ = busy.join();
    }
    Ok(result? as f64 / took)
}

/// Counts up as long as numbers come in order.
#[derive(Debug, Default)]
struct Check {
    next: u64,
    wrong: bool,
}

impl Check {
    fn see(&mut self, item: &impl Item) {
        self.wrong |= item.number() != self.next;
        self.next += 1;
    }

    /// How many came; an error unless all of `sent` came in order.
    fn end(&self, sent: u64) -> Result<()> {
        ensure!(
            !self.wrong && self.next == sent,
            "a reader got {} of {sent} items, or got them out of order",
            self.next
        );
        Ok(())
    }
}

/// Sends until the span is over; how many.
fn drive<T: Item>(span: Duration, mut send: impl FnMut(T)) -> u64 {
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < span {
        for _ in 0..STRIDE {
            send(T::of(sent));
            sent += 1;
        }
    }
    sent
}

fn joined(readers: Vec<JoinHandle<Check>>, sent: u64) -> Result<u64> {
    for reader in readers {
        let check = reader.join();
        ensure!(check.is_ok(), "a reader has panicked");
        check.unwrap_or_default().end(sent)?;
    }
    Ok(sent)
}

/// Dropping the producer, at the end, waits for the readers.
fn drive_ring<T: Item>(mut producer: impl Producer<T>, span: Duration) -> u64 {
    drive(span, |item: T| producer.publish(|slot| *slot = item))
}

fn with_disruptor<T: Item>(readers: usize, span: Duration) -> Result<u64> {
    let counts: Vec<Arc<AtomicU64>> = (0..readers).map(|_| Arc::default()).collect();
    // A handler is dropped with its thread, so what it found goes out through an atomic.
    let handler = |at: usize| {
        let count = counts.get(at).map(Arc::clone).unwrap_or_default();
        let mut check = Check::default();
        move |item: &T, _: i64, end_of_batch: bool| {
            check.see(item);
            if end_of_batch {
                let seen = if check.wrong { u64::MAX } else { check.next };
                count.store(seen, Ordering::Release);
            }
        }
    };
    let ring = build_single_producer(CAPACITY, T::default, BusySpin);
    let first = ring.handle_events_with(handler(0));
    let sent = match readers {
        1 => drive_ring(first.build(), span),
        2 => drive_ring(first.handle_events_with(handler(1)).build(), span),
        3 => {
            let more = first.handle_events_with(handler(1));
            drive_ring(more.handle_events_with(handler(2)).build(), span)
        }
        _ => {
            let more = first
                .handle_events_with(handler(1))
                .handle_events_with(handler(2));
            drive_ring(more.handle_events_with(handler(3)).build(), span)
        }
    };
    for count in counts {
        let seen = count.load(Ordering::Acquire);
        ensure!(
            seen == sent,
            "a reader got {seen} of {sent} items, or out of order"
        );
    }
    Ok(sent)
}

/// Wakes a sender that waits for room. A ring without a log behind it needs one here: what is lapped is lost.
#[derive(Debug)]
struct Gate {
    closed: AtomicBool,
    sender: thread::Thread,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            closed: AtomicBool::new(false),
            sender: thread::current(),
        })
    }

    /// There may be room: a reader says so after each helping.
    fn open(&self) {
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) && self.closed.swap(false, Ordering::Relaxed) {
            self.sender.unpark();
        }
    }

    /// Sleeps until there is room; answers how much.
    fn wait(&self, mut room: impl FnMut() -> usize) -> usize {
        loop {
            let now = room();
            if now > 0 {
                return now;
            }
            self.closed.store(true, Ordering::Relaxed);
            // Against `open`: either this sees the room, or that sees that it is waited for.
            fence(Ordering::SeqCst);
            let now = room();
            if now > 0 {
                return now;
            }
            thread::park();
        }
    }
}

/// As Lantern uses it, but that the sender waits for the slowest reader: here nobody has a log to fetch from what was lapped.
fn with_ring<T: Item, const LOOKS: u32>(readers: usize, span: Duration) -> Result<u64> {
    let mut publisher = Publisher::new(CAPACITY);
    let gate = Gate::new();
    let mut threads = Vec::new();
    for _ in 0..readers {
        let mut reader = publisher.subscribe();
        let gate = Arc::clone(&gate);
        let waiting = Builder::new_current_thread().build()?;
        threads.push(thread::spawn(move || {
            let mut check = Check::default();
            loop {
                let seen = reader.cursor();
                let polled = reader.poll(CAPACITY, |item: T| {
                    check.see(&item);
                    true
                });
                match polled {
                    Polled::Items(_) => gate.open(),
                    Polled::Empty => {
                        let there = (0..LOOKS).any(|_| {
                            thread::yield_now();
                            reader.head() > seen
                        });
                        if !there {
                            waiting.block_on(reader.past(seen));
                        }
                    }
                    Polled::Lapped { .. } | Polled::Closed => return check,
                }
            }
        }));
    }
    let mut room = 0;
    let sent = drive(span, |item: T| {
        if room == 0 {
            room = gate.wait(|| CAPACITY - publisher.unread());
        }
        room -= 1;
        publisher.publish(item);
    });
    drop(publisher);
    joined(threads, sent)
}

fn with_crossbeam<T: Item>(readers: usize, span: Duration) -> Result<u64> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..readers {
        let (sender, receiver) = crossbeam_channel::bounded::<T>(CAPACITY);
        senders.push(sender);
        threads.push(thread::spawn(move || {
            let mut check = Check::default();
            receiver.iter().for_each(|item| check.see(&item));
            check
        }));
    }
    let sent = drive(span, |item: T| {
        for sender in &senders {
            let _ = sender.send(item);
        }
    });
    drop(senders);
    joined(threads, sent)
}

fn with_mpsc<T: Item>(readers: usize, span: Duration) -> Result<u64> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..readers {
        let (sender, mut receiver) = mpsc::channel::<T>(CAPACITY);
        senders.push(sender);
        threads.push(thread::spawn(move || {
            let mut check = Check::default();
            while let Some(item) = receiver.blocking_recv() {
                check.see(&item);
            }
            check
        }));
    }
    let sent = drive(span, |item: T| {
        for sender in &senders {
            let _ = sender.blocking_send(item);
        }
    });
    drop(senders);
    joined(threads, sent)
}

fn with_broadcast<T: Item>(readers: usize, span: Duration) -> Result<u64> {
    let (sender, _) = broadcast::channel::<T>(CAPACITY);
    let mut threads = Vec::new();
    for _ in 0..readers {
        let mut receiver = sender.subscribe();
        threads.push(thread::spawn(move || {
            let mut check = Check::default();
            while let Ok(item) = receiver.blocking_recv() {
                check.see(&item);
            }
            check
        }));
    }
    let mut room = 0;
    let sent = drive(span, |item: T| {
        // A slow reader would lose items: the sender waits for room, as all others here do.
        while room == 0 {
            room = CAPACITY - sender.len();
            if room == 0 {
                thread::yield_now();
            }
        }
        room -= 1;
        let _ = sender.send(item);
    });
    drop(sender);
    joined(threads, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_gets_every_item_of_every_peer() {
        for peer in PEERS {
            for (bytes, readers) in [(8, 1), (256, 3)] {
                let case = Case {
                    bytes,
                    readers,
                    busy: false,
                };
                let rate = measure(peer, case, Duration::from_millis(20)).unwrap();
                assert!(rate > 0.0, "{} {case:?}", peer.name);
            }
        }
    }

    #[test]
    fn a_missing_and_a_swapped_item_are_found() {
        let check = |numbers: &[u64]| {
            let mut check = Check::default();
            for number in numbers {
                check.see(number);
            }
            check.end(3)
        };
        assert!(check(&[0, 1, 2]).is_ok());
        assert!(check(&[0, 2]).is_err() && check(&[0, 2, 1]).is_err() && check(&[0, 1]).is_err());
    }
}
