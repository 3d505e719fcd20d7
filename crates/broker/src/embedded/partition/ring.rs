//! A partition's broadcast ring as its publisher: what was published last, for followers inside the process.
//!
//! Invariants: the batches in it follow one another without a gap, up to `end`; it holds at most
//! [`Memory::ring_bytes`] of them, and when all rings together hold too much it keeps less; what it does not hold is in the
//! log. An item without bytes says "look in the log": a batch of a transaction, whose fate the log knows, one that is too
//! large, or one that was written before anybody followed.
//!
//! Not here: readers (`feed`), how many slots are right (`stdx::broadcast::Sizing`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Offset;
use stdx::broadcast::{Publisher, Reader, Sizing, Waits};

use super::publishing::Staged;
use crate::embedded::memory::Memory;

/// How often the occupancy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was published by one append: `[base, next)`.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    /// `None`: the log has it.
    pub(crate) bytes: Option<Bytes>,
    /// When, by the broker's monotonic clock.
    pub(crate) at: Duration,
}

impl Handed {
    fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }
}

/// What metrics tell of a ring.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RingLevels {
    pub(crate) slots: usize,
    pub(crate) unread: usize,
}

#[derive(Debug)]
pub(super) struct Ring {
    publisher: Publisher<Handed>,
    memory: Arc<Memory>,
    /// After the last batch that was published.
    end: Offset,
    /// Bytes it holds.
    bytes: usize,
    sizing: Sizing,
    waits: Arc<Waits>,
    looked: Duration,
    /// Nothing was published since the last [`Ring::tick`].
    idle: bool,
}

impl Ring {
    /// An empty ring of a partition that is readable up to `end`.
    pub(super) fn new(memory: &Arc<Memory>, end: Offset) -> Self {
        let now = memory.clock.monotonic();
        let (slots, most) = memory.slots;
        Self {
            publisher: Publisher::new(slots),
            memory: Arc::clone(memory),
            end,
            bytes: 0,
            sizing: Sizing::new(slots, most, now),
            waits: Arc::default(),
            looked: now,
            idle: true,
        }
    }

    /// A reader that is not attached yet, and where it counts how long things waited.
    pub(super) fn subscribe(&self) -> (Reader<Handed>, Arc<Waits>) {
        let mut reader = self.publisher.subscribe();
        reader.detach();
        (reader, Arc::clone(&self.waits))
    }

    /// Attaches a reader whose next record is `from`, if the ring has it or it is the next to be published.
    pub(super) fn attach(&self, reader: &mut Reader<Handed>, from: Offset) -> bool {
        if from == self.end {
            reader.attach(self.publisher.head());
            return true;
        }
        let number = self.publisher.partition_point(|item| item.next <= from);
        let holds = self.publisher.look(number, |item| item.base <= from);
        if holds == Some(true) {
            reader.attach(number);
        }
        holds == Some(true)
    }

    pub(super) fn levels(&self) -> RingLevels {
        RingLevels {
            slots: self.publisher.capacity(),
            unread: self.publisher.unread(),
        }
    }

    /// Publishes what was staged, and wakes who waits; answers whether anybody follows still.
    pub(super) fn publish(&mut self, staged: impl Iterator<Item = Staged>) -> bool {
        let now = self.memory.clock.monotonic();
        self.idle = false;
        let followed = !self.is_look_due(now) || self.look(now);
        let limit = self.memory.ring_bytes;
        let (mut more, mut less, mut end) = (0, 0, self.end);
        let items = staged.map(|staged| {
            let bytes = staged.bytes.filter(|bytes| bytes.len() <= limit);
            more += bytes.as_ref().map_or(0, Bytes::len);
            end = end.max(staged.next);
            Handed {
                base: staged.base,
                next: staged.next,
                bytes,
                at: now,
            }
        });
        self.publisher.publish_each(items, |old| less += old.size());
        self.end = end;
        self.bytes += more;
        self.memory.hold(more);
        self.went(less);
        self.keep_to_bounds();
        followed
    }

    fn is_look_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.looked) >= LOOK_EVERY
    }

    /// Looks at the readers now and then; answers whether there are any.
    fn look(&mut self, now: Duration) -> bool {
        self.looked = now;
        let capacity = self.publisher.capacity();
        self.sizing.note(self.publisher.unread(), capacity);
        self.size(now);
        self.publisher.readers() > 0
    }

    /// Gives the ring another number of slots, when it is time.
    fn size(&mut self, now: Duration) {
        if !self.sizing.is_due(now) {
            return;
        }
        let capacity = self.publisher.capacity();
        let next = self.sizing.end_window(now, self.waits.take_p99(), capacity);
        if next != capacity {
            let mut less = 0;
            self.publisher.resize(next, |old| less += old.size());
            self.went(less);
            self.memory.metrics.resized(next > capacity);
        }
    }

    fn keep_to_bounds(&mut self) {
        while self.bytes > self.memory.ring_bytes {
            let Some(old) = self.publisher.evict() else {
                break;
            };
            self.went(old.size());
        }
        while self.memory.is_short()
            && let Some(old) = self.publisher.evict_read()
        {
            self.went(old.size());
        }
        // Nobody is slowed, so those who are behind are sent to the log.
        while self.memory.is_short()
            && let Some(old) = self.publisher.evict()
        {
            self.went(old.size());
        }
    }

    /// So many bytes left the ring.
    fn went(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.memory.let_go(bytes);
    }

    /// Now and then, also when nothing is published: lets go of what everybody has read, and of slots nobody
    /// needs. Answers whether anybody follows still.
    pub(super) fn tick(&mut self) -> bool {
        self.size(self.memory.clock.monotonic());
        if std::mem::replace(&mut self.idle, true) {
            while let Some(old) = self.publisher.evict_read() {
                self.went(old.size());
            }
        }
        self.publisher.readers() > 0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.memory.let_go(self.bytes);
    }
}
