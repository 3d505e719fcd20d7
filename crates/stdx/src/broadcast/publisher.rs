//! The writing end of a ring.

use std::task::Waker;

use super::seats::Seats;
use super::slots::{Place, Slots};
use super::{Reader, Shared};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, fence};

/// The only one who writes into a ring; dropping it closes the ring. Readers still get what was published.
#[derive(Debug)]
pub struct Publisher<T: Clone> {
    shared: Arc<Shared<T>>,
    slots: Arc<Slots<T>>,
    head: u64,
    /// The place of the item of number `head`.
    next: Place,
    oldest: u64,
    /// Reused from burst to burst.
    wakers: Vec<Waker>,
}

impl<T: Clone> Publisher<T> {
    /// A ring of so many slots, at least one.
    pub fn new(capacity: usize) -> Self {
        let slots = Arc::new(Slots::new(capacity.max(1)));
        Self {
            shared: Arc::new(Shared {
                slots: Mutex::new(Arc::clone(&slots)),
                head: AtomicU64::new(0),
                oldest: AtomicU64::new(0),
                closed: AtomicBool::new(false),
                seats: Mutex::new(Seats::default()),
                waiting: AtomicUsize::new(0),
            }),
            next: slots.place(0),
            slots,
            head: 0,
            oldest: 0,
            wakers: Vec::new(),
        }
    }

    /// Slots there are.
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Items that are kept now, read or not.
    pub fn len(&self) -> usize {
        usize::try_from(self.head - self.oldest).unwrap_or(usize::MAX)
    }

    /// Nothing is kept now.
    pub fn is_empty(&self) -> bool {
        self.head == self.oldest
    }

    /// The number of the next item.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Readers there are.
    pub fn readers(&self) -> usize {
        self.shared.seats.lock().count()
    }

    /// Items the slowest reader has not taken, at most as many as are kept; 0 without a reader that takes.
    pub fn unread(&self) -> usize {
        let slowest = self.shared.seats.lock().slowest();
        let unread = slowest.map_or(0, |cursor| self.head.saturating_sub(cursor));
        usize::try_from(unread)
            .unwrap_or(usize::MAX)
            .min(self.len())
    }

    /// A reader that begins with the next item.
    pub fn subscribe(&self) -> Reader<T> {
        Reader::new(&self.shared, Arc::clone(&self.slots), self.head)
    }

    /// Publishes one item, and answers the one whose slot it took.
    pub fn publish(&mut self, item: T) -> Option<T> {
        let evicted = self.put(item);
        self.show();
        evicted
    }

    /// Publishes items as one burst, which wakes each reader that waits once.
    pub fn publish_all(&mut self, items: impl IntoIterator<Item = T>) {
        self.publish_each(items, drop);
    }

    /// As [`Publisher::publish_all`]; `evicted` gets the items whose slots were taken, oldest first.
    pub fn publish_each(&mut self, items: impl IntoIterator<Item = T>, mut evicted: impl FnMut(T)) {
        let before = self.head;
        for item in items {
            if let Some(old) = self.put(item) {
                evicted(old);
            }
        }
        if self.head != before {
            self.show();
        }
    }

    fn put(&mut self, item: T) -> Option<T> {
        if self.len() == self.capacity() {
            // Before the slot is taken: a reader that finds another item there must find that it was lapped.
            self.oldest += 1;
            self.shared.oldest.store(self.oldest, Ordering::Release);
        }
        let evicted = self.slots.put(self.next, item);
        self.head += 1;
        self.next = self.slots.after(self.next);
        evicted
    }

    /// Shows readers what was put, and wakes those who wait.
    fn show(&mut self) {
        self.shared.head.store(self.head, Ordering::Release);
        self.wake();
    }

    fn wake(&mut self) {
        // Against `Reader::poll_past`: either it sees what was stored before this fence, or this sees its waker.
        fence(Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        {
            let mut seats = self.shared.seats.lock();
            seats.wakers(&mut self.wakers);
            self.shared.waiting.store(0, Ordering::Relaxed);
        }
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Lets the oldest item go, and answers it.
    pub fn evict(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let number = self.oldest;
        self.oldest += 1;
        // Before the slot is emptied: a reader that finds it empty must find that it was lapped.
        self.shared.oldest.store(self.oldest, Ordering::Release);
        self.slots.take(number)
    }

    /// Lets the oldest item go if every reader that takes from the ring has taken it, and answers it.
    pub fn evict_read(&mut self) -> Option<T> {
        let slowest = self.shared.seats.lock().slowest();
        if slowest.is_some_and(|cursor| cursor <= self.oldest) {
            return None;
        }
        self.evict()
    }

    /// The number of the first kept item for which `before` is false; items must be in that order. The number
    /// of the next item if there is none.
    pub fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> u64 {
        let (mut low, mut high) = (self.oldest, self.head);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.slots.look(middle, &mut before) == Some(true) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// What `look` says of the item of that number, if it is kept.
    pub fn look<R>(&self, number: u64, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.slots.look(number, look)
    }

    /// Gives the ring another number of slots, at least one. The newest items that fit stay, under their numbers;
    /// `evicted` gets the others, oldest first.
    pub fn resize(&mut self, capacity: usize, mut evicted: impl FnMut(T)) {
        let capacity = capacity.max(1);
        if capacity == self.capacity() {
            return;
        }
        while self.len() > capacity {
            if let Some(old) = self.evict() {
                evicted(old);
            }
        }
        let next = Arc::new(Slots::new(capacity));
        for number in self.oldest..self.head {
            if let Some(item) = self.slots.get(self.slots.place(number)) {
                next.put(next.place(number), item);
            }
        }
        self.next = next.place(self.head);
        let old = std::mem::replace(&mut self.slots, Arc::clone(&next));
        *self.shared.slots.lock() = next;
        old.retire();
    }
}

impl<T: Clone> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.wake();
    }
}
