//! A follower's end of a partition's ring.
//!
//! ```text
//!          the ring has the place                 claimed: several items at once, one wake-up
//!   Away ─────────────────────────> Attached ──────────────> handed out, small ones joined
//!     ^                                │
//!     └── lapped, or sought elsewhere ─┘
//! ```
//! Invariants: what is handed out begins with the batch that holds the place asked for and is below where readers of what is
//! committed stop; nothing before the log start; an item without bytes is left to the log, and passed over
//! when the follower comes back behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use commitlog::take_batches;
use model::{Offset, Position};
use stdx::broadcast::{Polled, Reader, Waits};

use super::memory::Memory;
use super::partition::{Handed, Partition};
use super::reads::{look_through, offset_of};
use crate::{Fed, Feed, Fetched, ReadLimit};

/// Items claimed at once, at most.
const CLAIM_MAX: usize = 256;

/// Batches smaller than this are joined with those behind them: one copy of little costs less than one more
/// answer …
const JOIN_BELOW: usize = 32 << 10;

/// … up to so many bytes.
const JOINED_MAX: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct RingFeed {
    partition: Arc<Partition>,
    memory: Arc<Memory>,
    reader: Reader<Handed>,
    waits: Arc<Waits>,
    /// Where the ring stood when it was last looked at.
    seen: u64,
    attached: bool,
    /// Taken from the ring and not handed out, in order and without gaps.
    claimed: VecDeque<Handed>,
    /// After the last item claimed, or where it was attached.
    next: Offset,
    spin: u32,
}

impl RingFeed {
    /// A follower of a partition; `None` when that is closed.
    pub(crate) fn new(partition: Arc<Partition>, memory: Arc<Memory>) -> Option<Self> {
        let (reader, waits) = partition.follow()?;
        Some(Self {
            partition,
            memory,
            seen: reader.head(),
            reader,
            waits,
            attached: false,
            claimed: VecDeque::new(),
            next: Offset::ZERO,
            spin: 0,
        })
    }

    fn attach(&mut self, from: Offset) -> bool {
        if !self.attached && self.partition.attach(&mut self.reader, from) {
            self.attached = true;
            self.next = from;
        }
        self.attached
    }

    fn leave(&mut self) -> Fed {
        self.claimed.clear();
        self.attached = false;
        self.reader.detach();
        Fed::Log
    }

    /// Claims items until they have so many bytes.
    fn claim(&mut self, bytes: usize) -> Polled {
        let (claimed, mut room) = (&mut self.claimed, bytes);
        let polled = self.reader.poll(CLAIM_MAX, |item| {
            room = room.saturating_sub(item.bytes.as_ref().map_or(0, Bytes::len));
            claimed.push_back(item);
            room > 0
        });
        if let (Polled::Items(count), Some(first), Some(last)) =
            (polled, self.claimed.front(), self.claimed.back())
        {
            self.next = self.next.max(last.next);
            let waited = self.memory.clock.monotonic().saturating_sub(first.at);
            self.waits.note(waited, count);
        }
        polled
    }

    /// Hands out what was claimed at `from`, which the first item holds.
    fn hand_out(&mut self, from: Offset, limit: ReadLimit) -> Fed {
        let until = self.partition.until(true);
        let Some(first) = self.claimed.front().filter(|item| item.next <= until) else {
            return Fed::Log;
        };
        let Some(bytes) = first.bytes.clone() else {
            return Fed::Log;
        };
        if first.base < from || bytes.len() > limit.bytes {
            let part = take_batches(bytes, from, limit.bytes, limit.at_least_one, until);
            return match look_through(&part).next {
                Some(next) => self.fetched(part, next),
                None => Fed::Log,
            };
        }
        let (count, length) = self.to_join(until, limit.bytes.min(JOINED_MAX));
        if count <= 1 {
            let next = first.next;
            self.claimed.pop_front();
            return self.fetched(bytes, next);
        }
        let mut joined = self.memory.pool.take(length);
        let mut next = from;
        for item in self.claimed.drain(..count) {
            joined.extend_from_slice(item.bytes.as_deref().unwrap_or_default());
            next = item.next;
        }
        self.fetched(joined.freeze(), next)
    }

    /// How many of the claimed items, from the first on, are better handed out as one answer of at most `most`
    /// bytes, and how many bytes they have.
    fn to_join(&self, until: Offset, most: usize) -> (usize, usize) {
        let (mut count, mut length) = (0, 0);
        for item in &self.claimed {
            let size = item.bytes.as_ref().map_or(usize::MAX, Bytes::len);
            if size >= JOIN_BELOW || length + size > most || item.next > until {
                break;
            }
            count += 1;
            length += size;
        }
        (count, length)
    }

    fn fetched(&self, batches: Bytes, next: Offset) -> Fed {
        self.memory.metrics.handed(batches.len());
        Fed::Batches(Fetched {
            batches,
            next: next.into(),
            marks: self.partition.marks(),
            // Compaction touches nothing that is as new.
            hollow: false,
        })
    }
}

impl Feed for RingFeed {
    fn take(&mut self, from: Position, limit: ReadLimit) -> Fed {
        // Before everything else: what is published from here on wakes the next wait.
        self.seen = self.reader.head();
        let Some(from) = offset_of(from).filter(|from| *from >= self.partition.log_start()) else {
            return Fed::Log;
        };
        if !self.attach(from) {
            return Fed::Log;
        }
        loop {
            while self.claimed.front().is_some_and(|item| item.next <= from) {
                self.claimed.pop_front();
            }
            match self.claimed.front() {
                Some(first) if first.base <= from => return self.hand_out(from, limit),
                Some(_) => return self.leave(),
                None => {}
            }
            match self.claim(limit.bytes) {
                Polled::Items(_) => {}
                // The high watermark moves a moment before the ring does.
                Polled::Empty if from == self.next && self.partition.readable() <= from => {
                    return Fed::End;
                }
                Polled::Empty if from == self.next => return Fed::Log,
                Polled::Lapped { .. } => {
                    self.memory.metrics.lapped.inc();
                    return self.leave();
                }
                Polled::Empty | Polled::Closed => return self.leave(),
            }
        }
    }

    fn poll_published(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.spin > 0 {
            self.reader.spin_past(self.seen, self.spin);
        }
        let past = self.reader.poll_past(self.seen, context);
        past.map(|()| self.reader.head() > self.seen)
    }

    fn set_spin(&mut self, turns: u32) {
        self.spin = turns;
    }
}
