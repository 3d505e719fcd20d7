//! The one writer of a disk: gathers waiting appends of all partitions, writes them, flushes each
//! touched file once, then answers everybody.
//!
//! ```text
//!  appends ──> queue ──drain──> write each batch at the end of its log ──> queue empty,
//!              ^                (acks=1 is answered here)      │           or bytes or age bound?
//!              └──────────────────── more came meanwhile ──────┘ no            │ yes
//!                                                                              v
//!              acks=all is answered <── publish high watermark <── one flush per touched file
//! ```
//!
//! Natural batching: while one round flushes, the next one gathers by itself, so load makes rounds
//! larger and idleness makes them immediate; no timer holds an append back.
//!
//! Invariants: appends to one partition happen in the order they were queued; nothing is answered
//! or published before it is as safe as it was asked to be; a failed flush freezes its partition
//! and no other; a panic in one partition is fenced there. Records of `lantern.groups` are applied
//! to the state in memory after their flush, in log order, before their append is answered.
//!
//! Not here: what is in a log (`commitlog`), and who waits (`queue`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use record::CheckedBatch;
use tokio::sync::oneshot;

use super::partition::{Landed, Partition};
use super::queue::Woken;
use super::{Shared, events};
use crate::{Appended, Durability, Error};

/// One append on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) partition: Arc<Partition>,
    pub(crate) batches: Vec<CheckedBatch>,
    pub(crate) durability: Durability,
    pub(crate) reply: Reply,
    pub(crate) cost: u32,
}

/// Where the answer to an append goes. A caller that went away does not undo it.
pub(crate) type Reply = oneshot::Sender<Result<Appended, Error>>;

/// An append that is written and waits for its partition's flush.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) appended: Appended,
    pub(crate) reply: Option<Reply>,
    /// Kept only where records are applied to state after the flush.
    pub(crate) batches: Vec<CheckedBatch>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// Reused from round to round.
    jobs: Vec<Job>,
    /// Partitions written in this round whose flush somebody waits for.
    dirty: Vec<Arc<Partition>>,
    /// Partitions that may stay in the page cache until then.
    lazy: Vec<(Duration, Arc<Partition>)>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            jobs: Vec::new(),
            dirty: Vec::new(),
            lazy: Vec::new(),
        }
    }

    /// Writes until the queue is closed and empty, then flushes what is left.
    pub(crate) fn run(mut self) {
        loop {
            let woken = self.shared.queue.wait(self.next_lazy());
            if woken == Woken::Closed {
                break;
            }
            self.round();
        }
        self.flush_lazy(None);
    }

    /// Gathers, writes, flushes and answers once; answers how many appends there were.
    pub(crate) fn round(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let options = &shared.options;
        let start = options.clock.monotonic();
        let (mut count, mut bytes, mut cost) = (0, 0, 0);
        while shared.queue.drain(&mut self.jobs) > 0 {
            count += self.jobs.len();
            let mut jobs = std::mem::take(&mut self.jobs);
            for job in jobs.drain(..) {
                cost += usize::try_from(job.cost).unwrap_or(usize::MAX);
                bytes += self.write(job);
            }
            self.jobs = jobs;
            let age = options.clock.monotonic().saturating_sub(start);
            if bytes >= options.flush_bytes.as_usize() || age >= options.flush_age {
                break;
            }
        }
        self.flush_dirty();
        self.flush_lazy(Some(options.clock.monotonic()));
        shared.queue.release(cost);
        if count > 0 {
            shared.metrics.round_appends.observe(count as f64);
            super::groups::compact_if_due(&shared);
        }
        count
    }

    /// Flushes everything that is written and not flushed.
    pub(crate) fn flush_all(&mut self) {
        self.flush_dirty();
        self.flush_lazy(None);
    }

    /// Appends one job's batches; answers their bytes.
    fn write(&mut self, job: Job) -> usize {
        let partition = Arc::clone(&job.partition);
        let now = self.shared.options.clock.now();
        let bytes: usize = job.batches.iter().map(CheckedBatch::size).sum();
        let landed = catch_unwind(AssertUnwindSafe(|| partition.write(&job.batches, now)))
            .unwrap_or_else(|_| Err(self.fence(&partition, "the writer panicked in an append")));
        let landed = match landed {
            Ok(landed) => landed,
            Err(error) => {
                self.shared.refused(&partition, &error);
                let _ = job.reply.send(Err(error));
                return 0;
            }
        };
        self.shared.landed(&landed.appended, &job.batches, bytes);
        self.settle(&partition, job, &landed);
        bytes
    }

    /// Answers what may be answered now, and remembers the rest for the flush.
    fn settle(&mut self, partition: &Arc<Partition>, job: Job, landed: &Landed) {
        let Job {
            batches,
            durability,
            reply,
            ..
        } = job;
        let applies = partition.is_groups();
        let waits = applies || (durability == Durability::Flushed && !landed.flushed);
        if partition.publishes_written() {
            partition.publish_written();
        }
        let reply = if waits {
            Some(reply)
        } else {
            let _ = reply.send(Ok(landed.appended));
            None
        };
        if waits {
            partition.wait_for_flush(Waiter {
                appended: landed.appended,
                reply,
                batches: if applies { batches } else { Vec::new() },
            });
        }
        if landed.flushed && !applies {
            return;
        }
        if waits || !partition.publishes_written() {
            if partition.mark_dirty() {
                self.dirty.push(Arc::clone(partition));
            }
        } else if partition.mark_lazy() {
            let due = self.shared.options.clock.monotonic() + self.shared.options.lazy_flush;
            self.lazy.push((due, Arc::clone(partition)));
        }
    }

    fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for partition in dirty.drain(..) {
            self.flush(&partition);
        }
        self.dirty = dirty;
    }

    /// Flushes lazy partitions that are due at `now`, or all of them.
    fn flush_lazy(&mut self, now: Option<Duration>) {
        let mut index = 0;
        while let Some((due, _)) = self.lazy.get(index) {
            if now.is_none_or(|now| *due <= now) {
                let (_, partition) = self.lazy.swap_remove(index);
                partition.unmark_lazy();
                self.flush(&partition);
            } else {
                index += 1;
            }
        }
    }

    /// How long until the first lazy flush is due.
    fn next_lazy(&self) -> Option<Duration> {
        let now = self.shared.options.clock.monotonic();
        let first = self.lazy.iter().map(|(due, _)| *due).min()?;
        Some(first.saturating_sub(now))
    }

    fn flush(&self, partition: &Arc<Partition>) {
        let clock = &self.shared.options.clock;
        let start = clock.monotonic();
        let flushed = catch_unwind(AssertUnwindSafe(|| partition.flush()))
            .unwrap_or_else(|_| Err(self.fence(partition, "the writer panicked in a flush")));
        let took = clock.monotonic().saturating_sub(start);
        self.shared.metrics.flushes.inc();
        self.shared
            .metrics
            .flush_seconds
            .observe(took.as_secs_f64());
        let waiters = partition.take_waiters();
        match flushed {
            Ok(()) => {
                if partition.is_groups() {
                    super::groups::apply(&self.shared, &waiters);
                }
                partition.publish_flushed();
                for waiter in waiters {
                    if let Some(reply) = waiter.reply {
                        let _ = reply.send(Ok(waiter.appended));
                    }
                }
            }
            Err(error) => {
                self.shared.refused(partition, &error);
                for reply in waiters.into_iter().filter_map(|waiter| waiter.reply) {
                    let _ = reply.send(Err(partition.refused()));
                }
            }
        }
    }

    fn fence(&self, partition: &Partition, what: &'static str) -> Error {
        events::panicked(&self.shared.metrics, partition.id(), what);
        partition.freeze(what)
    }
}
