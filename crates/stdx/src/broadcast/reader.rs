//! The reading end of a ring.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Shared;
use super::seats::AWAY;
use super::slots::Slots;
use crate::sync::{Arc, AtomicU64, Ordering, fence, spin_loop};

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// So many items, at least one.
    Items(usize),
    /// Nothing new.
    Empty,
    /// What would be next has left the ring, which begins at this number now. The cursor has not moved:
    /// [`Reader::attach`] goes on there.
    Lapped {
        /// The number of the oldest item kept.
        resume_at: u64,
    },
    /// Nothing new, and nothing more to come.
    Closed,
}

/// One who reads a ring, at a pace of its own.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    slots: Arc<Slots<T>>,
    cursor: u64,
    /// The cursor as the publisher sees it, [`AWAY`] if it should not.
    told: Arc<AtomicU64>,
    seat: usize,
}

impl<T> Reader<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>, slots: Arc<Slots<T>>, cursor: u64) -> Self {
        let told = Arc::new(AtomicU64::new(cursor));
        let seat = shared.seats.lock().take(Arc::clone(&told));
        Self {
            shared: Arc::clone(shared),
            slots,
            cursor,
            told,
            seat,
        }
    }

    /// The number of the item it takes next.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The number of the next item to be published.
    pub fn head(&self) -> u64 {
        self.shared.head.load(Ordering::Acquire)
    }

    /// Goes on with that item, and counts among those who take from the ring.
    pub fn attach(&mut self, number: u64) {
        self.cursor = number;
        self.told.store(number, Ordering::Release);
    }

    /// Takes nothing from the ring until [`Reader::attach`]: nobody need regard its cursor. It may still wait.
    pub fn detach(&mut self) {
        self.told.store(AWAY, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether an item of number `seen` or later is there, or none will ever be.
    fn is_past(&self, seen: u64) -> bool {
        self.head() > seen || self.is_closed()
    }

    /// Ready when an item of number `seen` or later is published, or the ring is closed. `seen` is what
    /// [`Reader::head`] said before the reader looked, or its cursor.
    pub fn poll_past(&mut self, seen: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.is_past(seen) {
            return Poll::Ready(());
        }
        {
            let mut seats = self.shared.seats.lock();
            if seats.wait(self.seat, context.waker()) {
                self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Against `Publisher::wake`: either this sees what it published, or it sees the waker.
        fence(Ordering::SeqCst);
        if !self.is_past(seen) {
            return Poll::Pending;
        }
        let mut seats = self.shared.seats.lock();
        if seats.stop_waiting(self.seat) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Poll::Ready(())
    }

    /// Waits as [`Reader::poll_past`] tells. Dropping the future is no harm.
    pub fn past(&mut self, seen: u64) -> Published<'_, T> {
        Published { reader: self, seen }
    }

    /// Looks for an item of number `seen` or later so many times without giving up the processor; answers
    /// whether there is one, or the ring is closed. For threads that have a processor of their own.
    pub fn spin_past(&self, seen: u64, turns: u32) -> bool {
        for _ in 0..turns {
            if self.is_past(seen) {
                return true;
            }
            spin_loop();
        }
        self.is_past(seen)
    }
}

impl<T: Clone> Reader<T> {
    /// Takes items one after another, at most `max`, as long as `take` answers that it wants more.
    pub fn poll(&mut self, max: usize, mut take: impl FnMut(T) -> bool) -> Polled {
        let closed = self.is_closed();
        let head = self.head();
        if self.cursor >= head {
            // What was published before it was closed was seen after that.
            return if closed {
                Polled::Closed
            } else {
                Polled::Empty
            };
        }
        let until = head.min(self.cursor.saturating_add(max as u64));
        let first = self.cursor;
        let mut place = self.slots.place(first);
        while self.cursor < until {
            let Some(item) = self.slots.get(place) else {
                if self.slots.is_moved() {
                    self.slots = Arc::clone(&self.shared.slots.lock());
                    place = self.slots.place(self.cursor);
                    continue;
                }
                break;
            };
            self.cursor += 1;
            place = self.slots.after(place);
            if !take(item) {
                break;
            }
        }
        if self.cursor == first && max > 0 {
            let resume_at = self.shared.oldest.load(Ordering::Acquire);
            debug_assert!(resume_at > self.cursor, "an item is missing");
            return Polled::Lapped { resume_at };
        }
        self.told.store(self.cursor, Ordering::Release);
        let taken = self.cursor - first;
        Polled::Items(usize::try_from(taken).unwrap_or(usize::MAX))
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut seats = self.shared.seats.lock();
        if seats.leave(self.seat) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Waits until something is published: see [`Reader::past`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Published<'a, T> {
    reader: &'a mut Reader<T>,
    seen: u64,
}

impl<T> Future for Published<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let seen = self.seen;
        self.reader.poll_past(seen, context)
    }
}
