//! Showing what was written: the high watermark moves, and whoever waits for that hears of it.
//!
//! ```text
//!   write ──> staged ──> readable moves ──┬─> ring: followers in this process take the batches
//!                                         ├─> wants: long polls whose bytes are there
//!                                         └─> watch: everybody else
//! ```
//! Invariants: `readable` is stored before anybody is told, so a woken reader finds what it was woken for; who comes
//! between the two is told by being late: it compares what it saw with `readable` under the lock.
//! Each of the three exists from the first time somebody asks for it, so partitions nobody follows cost nothing.
//!
//! Lock order: `publishing`, then `staged`; neither together with `inside`, which may be held while the disk works.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use commitlog::Chunk;
use model::{Offset, Position};
use record::CheckedBatch;
use stdx::broadcast::{Reader, Waits};
use tokio::sync::watch;

use super::Partition;
use super::ring::{Handed, Ring, RingLevels};
use super::stable::STABLE;
use super::wanted::Wants;
use crate::embedded::reads::offset_of;
use crate::{Demand, Wanted, Wish};

/// What one append wrote: `[base, next)`, not shown yet.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) base: Offset,
    pub(super) next: Offset,
    pub(super) size: usize,
    /// Kept where somebody follows, and nothing of it is part of a transaction.
    pub(super) bytes: Option<Bytes>,
}

/// Who is told.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    watch: Option<watch::Sender<Position>>,
    ring: Option<Ring>,
    wants: Wants,
    closed: bool,
    /// Reused from one publish to the next.
    burst: Vec<Staged>,
}

impl Partition {
    /// Keeps what was just written until it is shown.
    pub(super) fn stage_newest(&self, newest: Option<Chunk>, batches: &[CheckedBatch]) {
        let Some(chunk) = newest else { return };
        let plain = |batch: &CheckedBatch| !crate::committed::concerns_transactions(batch.header());
        let handed = self.followed.load(Ordering::Relaxed) && batches.iter().all(plain);
        self.staged.lock().push_back(Staged {
            base: chunk.base,
            next: chunk.next,
            size: chunk.bytes.len(),
            bytes: handed.then_some(chunk.bytes),
        });
    }

    pub(crate) fn publishes_written(&self) -> bool {
        self.publishes_written.load(Ordering::Relaxed)
    }

    /// Shows readers everything written. Writer only.
    pub(crate) fn publish_written(&self) {
        let end = self.end();
        if self.unstable.load(Ordering::Relaxed) != STABLE
            && let Some(log) = &mut self.inside.lock().log
        {
            log.settle_transactions(end);
            self.note_unstable(log);
        }
        self.publish(end);
    }

    /// Shows readers everything flushed. Writer only.
    pub(crate) fn publish_flushed(&self) {
        let mut inside = self.inside.lock();
        let durable = inside.log.as_mut().map(|log| {
            let durable = log.marks().durable;
            log.settle_transactions(durable);
            self.note_unstable(log);
            durable
        });
        drop(inside);
        if let Some(durable) = durable {
            self.publish(durable);
        }
    }

    fn publish(&self, until: Offset) {
        // Before anybody can commit past it.
        if let Some(times) = &self.times {
            times.published(until);
        }
        if self.readable.fetch_max(until.get(), Ordering::AcqRel) >= until.get() {
            return;
        }
        let mut publishing = self.publishing.lock();
        let Publishing {
            watch,
            ring,
            wants,
            burst,
            ..
        } = &mut *publishing;
        {
            let mut staged = self.staged.lock();
            let shown = staged.partition_point(|staged| staged.next <= until);
            burst.extend(staged.drain(..shown));
        }
        wants.published(burst, until, self.stable(until));
        let followed = match ring {
            Some(ring) => ring.publish(burst.drain(..)),
            None => true,
        };
        burst.clear();
        if !followed {
            *ring = None;
            self.followed.store(false, Ordering::Relaxed);
        }
        if let Some(sender) = watch {
            sender.send_replace(until.into());
        }
    }

    /// A watch on the high watermark; closed when the partition is.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        let mut publishing = self.publishing.lock();
        match &publishing.watch {
            Some(sender) => sender.subscribe(),
            None if publishing.closed => watch::channel(self.readable().into()).1,
            None => {
                // Under the lock: a publish that stored a newer mark waits to send it.
                let (sender, receiver) = watch::channel(self.readable().into());
                publishing.watch = Some(sender);
                receiver
            }
        }
    }

    /// Counts what is published from now on towards `demand`.
    pub(crate) fn want(&self, wish: Wish, demand: &Arc<Demand>) -> Wanted {
        let mut publishing = self.publishing.lock();
        if publishing.closed {
            return Wanted::Closed;
        }
        // Under the lock: a publish that stored a newer mark waits to count.
        let readable = self.readable();
        if Position::from(readable) > wish.seen {
            return Wanted::Ready;
        }
        let from = offset_of(wish.seen).unwrap_or(readable);
        let stable = wish.committed.then(|| self.stable(readable));
        publishing.wants.add(demand, from, wish.room, stable);
        Wanted::Counting
    }

    /// A reader of what is published from now on, not attached; `None` when the partition is closed.
    pub(crate) fn follow(&self) -> Option<(Reader<Handed>, Arc<Waits>)> {
        let mut publishing = self.publishing.lock();
        if publishing.closed {
            return None;
        }
        if publishing.ring.is_none() {
            // Under the lock: what a publish under way has staged comes into the ring, and is before its end.
            self.followed.store(true, Ordering::Relaxed);
            publishing.ring = Some(Ring::new(&self.memory, self.readable()));
        }
        publishing.ring.as_ref().map(Ring::subscribe)
    }

    /// Attaches a reader whose next record is `from`, if the ring has it or it is the next to be published.
    pub(crate) fn attach(&self, reader: &mut Reader<Handed>, from: Offset) -> bool {
        let publishing = self.publishing.lock();
        let ring = publishing.ring.as_ref();
        ring.is_some_and(|ring| ring.attach(reader, from))
    }

    /// Lets go of what followers need no more; now and then.
    pub(crate) fn tick(&self) {
        let mut publishing = self.publishing.lock();
        if publishing.ring.as_mut().is_some_and(|ring| !ring.tick()) {
            publishing.ring = None;
            self.followed.store(false, Ordering::Relaxed);
        }
    }

    /// What metrics tell of its ring, if it has one.
    pub(crate) fn ring_levels(&self) -> Option<RingLevels> {
        self.publishing.lock().ring.as_ref().map(Ring::levels)
    }

    /// Nothing is shown any more, and who waits hears of it.
    pub(super) fn stop_publishing(&self) {
        self.staged.lock().clear();
        let mut publishing = self.publishing.lock();
        publishing.wants.end();
        *publishing = Publishing {
            closed: true,
            ..Publishing::default()
        };
    }
}
