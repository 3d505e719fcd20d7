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
//! (Many files with little to flush share one flush of the journal instead.)
//!
//! Natural batching: while one round flushes, the next one gathers by itself, so load makes rounds
//! larger and idleness makes them immediate; no timer holds an append back.
//!
//! Invariants: appends to one partition happen in the order they were queued; nothing is answered
//! or published before it is as safe as it was asked to be; a failed flush freezes its partition
//! and no other; a panic in one partition is fenced there. Records of `lantern.groups` are applied
//! to the state in memory after their flush, in log order, before their append is answered.
//!
//! Not here: what is in a log (`commitlog`), who waits (`queue`), flushing several files at once
//! (`flusher`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use model::Position;
use record::CheckedBatch;

use super::beside::Beside;
use super::flusher::{self, Flusher};
use super::partition::{Landed, Partition};
use super::queue::Woken;
use super::replies::Reply;
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

/// An append that is written and waits for its partition's flush.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) appended: Appended,
    pub(crate) reply: Reply,
    /// Kept only where records are applied to state after the flush.
    pub(crate) batches: Vec<CheckedBatch>,
}

/// Partitions that may wait for their lazy flush; beyond that the writer does it.
const LAZY_MAX: usize = 1_024;

/// Bytes of appends that are joined into one write at most: a larger one gains nothing.
const RUN_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    flusher: Flusher,
    /// Reused from round to round.
    jobs: Vec<Job>,
    /// Partitions written in this round whose flush somebody waits for.
    dirty: Vec<Arc<Partition>>,
    /// Partitions that may stay in the page cache until then.
    lazy: Vec<(Duration, Arc<Partition>)>,
    /// Who flushes these: they have much to flush, and nobody waits for it.
    lazily: Beside<Arc<Partition>>,
}

/// The jobs of one partition, in order.
#[derive(Debug)]
struct Lane {
    partition: Arc<Partition>,
    jobs: Vec<Job>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            flusher: Flusher::new(Arc::clone(&shared)),
            lazily: Beside::new(
                Arc::clone(&shared),
                "lantern-lazy",
                LAZY_MAX,
                flusher::settle,
            ),
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
        self.flush_all();
    }

    /// Gathers, writes, flushes and answers once; answers how many appends there were.
    pub(crate) fn round(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let options = &shared.options;
        let start = options.clock.monotonic();
        let (mut count, mut bytes, mut cost) = (0, 0, 0);
        while shared.queue.drain(&mut self.jobs) > 0 {
            count += self.jobs.len();
            for lane in self.lanes(&mut cost) {
                bytes += self.write_lane(lane);
            }
            let age = options.clock.monotonic().saturating_sub(start);
            if bytes >= options.flush_bytes.as_usize() || age >= options.flush_age {
                break;
            }
        }
        self.flusher.flush(&mut self.dirty);
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
        self.flusher.flush(&mut self.dirty);
        self.flush_lazy(None);
    }

    /// The jobs drained, by partition in the order of their first ones; adds up what they cost.
    fn lanes(&mut self, cost: &mut usize) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = Vec::new();
        for job in self.jobs.drain(..) {
            *cost += usize::try_from(job.cost).unwrap_or(usize::MAX);
            let known = lanes.get_mut(job.partition.slot());
            if let Some(lane) = known.filter(|lane| Arc::ptr_eq(&lane.partition, &job.partition)) {
                lane.jobs.push(job);
                continue;
            }
            job.partition.set_slot(lanes.len());
            lanes.push(Lane {
                partition: Arc::clone(&job.partition),
                jobs: vec![job],
            });
        }
        lanes
    }

    /// Writes one partition's jobs, as many at once as can be; answers their bytes.
    fn write_lane(&mut self, lane: Lane) -> usize {
        let Lane { partition, jobs } = lane;
        let mut jobs = jobs.into_iter().peekable();
        let mut written = 0;
        while let Some(first) = jobs.next() {
            let mut bytes = first.bytes();
            let mut run = vec![first];
            if joins(&run[0]) {
                while let Some(job) =
                    jobs.next_if(|job| joins(job) && bytes + job.bytes() <= RUN_BYTES_MAX)
                {
                    bytes += job.bytes();
                    run.push(job);
                }
            }
            written += self.write_run(&partition, run);
        }
        written
    }

    /// Writes jobs in one append if there are several, and one by one if that fails, so that each
    /// has its own answer.
    fn write_run(&mut self, partition: &Arc<Partition>, mut run: Vec<Job>) -> usize {
        if run.len() > 1 {
            let mut all = Vec::with_capacity(run.len());
            let counts: Vec<usize> = run.iter().map(|job| job.batches.len()).collect();
            for job in &mut run {
                all.append(&mut job.batches);
            }
            let landed = self.append(partition, &all);
            let mut all = all.into_iter();
            for (job, count) in run.iter_mut().zip(counts) {
                job.batches = all.by_ref().take(count).collect();
            }
            if let Ok(landed) = landed {
                return self.settle_run(partition, run, &landed);
            }
        }
        run.into_iter().map(|job| self.write(partition, job)).sum()
    }

    /// Gives each job of a run its part of what was appended.
    fn settle_run(&mut self, partition: &Arc<Partition>, run: Vec<Job>, landed: &Landed) -> usize {
        let mut base = landed.appended.base_offset;
        let mut bytes = 0;
        for job in run {
            let deltas = job.batches.iter().map(CheckedBatch::last_offset_delta);
            let end = base.plus(deltas.map(|delta| u64::from(delta) + 1).sum());
            let appended = Appended {
                base_offset: base,
                next: end.into(),
                ..landed.appended
            };
            base = end;
            bytes += job.bytes();
            self.settle(partition, job, appended, landed.flushed);
        }
        debug_assert_eq!(Position::from(base), landed.appended.next, "a run adds up");
        bytes
    }

    /// Appends one job's batches; answers their bytes.
    fn write(&mut self, partition: &Arc<Partition>, job: Job) -> usize {
        match self.append(partition, &job.batches) {
            Ok(landed) => {
                let bytes = job.bytes();
                self.settle(partition, job, landed.appended, landed.flushed);
                bytes
            }
            Err(error) => {
                self.shared.refused(partition, &error);
                job.reply.send(Err(error));
                0
            }
        }
    }

    fn append(
        &self,
        partition: &Arc<Partition>,
        batches: &[CheckedBatch],
    ) -> Result<Landed, Error> {
        let now = self.shared.options.clock.now();
        let what = "a panic in an append";
        catch_unwind(AssertUnwindSafe(|| partition.write(batches, now))).unwrap_or_else(|_| {
            events::panicked(&self.shared.metrics, partition.id(), what);
            Err(partition.freeze(what))
        })
    }

    /// Answers what may be answered now, and remembers the rest for the flush.
    fn settle(&mut self, partition: &Arc<Partition>, job: Job, appended: Appended, flushed: bool) {
        self.shared
            .landed(partition, &appended, &job.batches, job.bytes());
        let applies = partition.is_groups();
        let waits = applies || (job.durability == Durability::Flushed && !flushed);
        let shows = partition.publishes_written();
        if shows {
            partition.publish_written();
        }
        if waits {
            partition.wait_for_flush(Waiter {
                appended,
                reply: job.reply,
                batches: if applies { job.batches } else { Vec::new() },
            });
        } else {
            job.reply.send(Ok(appended));
        }
        if flushed && !waits {
            return;
        }
        if waits || !shows {
            if partition.mark_dirty() {
                self.dirty.push(Arc::clone(partition));
            }
        } else if partition.mark_lazy() {
            let due = self.shared.options.clock.monotonic() + self.shared.options.lazy_flush;
            self.lazy.push((due, Arc::clone(partition)));
        }
    }

    /// Flushes lazy partitions that are due at `now`, beside this thread if that can be; or all of them, here.
    fn flush_lazy(&mut self, now: Option<Duration>) {
        let mut due = Vec::new();
        self.lazy.retain(|(at, partition)| {
            let later = now.is_some_and(|now| *at > now);
            if !later {
                partition.unmark_lazy();
                let partition = Arc::clone(partition);
                let given = match now {
                    Some(_) => self.lazily.give(partition),
                    None => Err(partition),
                };
                due.extend(given.err());
            }
            later
        });
        self.flusher.flush_each(&mut due);
    }

    /// How long until the first lazy flush is due.
    fn next_lazy(&self) -> Option<Duration> {
        let now = self.shared.options.clock.monotonic();
        let first = self.lazy.iter().map(|(due, _)| *due).min()?;
        Some(first.saturating_sub(now))
    }
}

impl Job {
    fn bytes(&self) -> usize {
        self.batches.iter().map(CheckedBatch::size).sum()
    }
}

/// Whether an append may be written together with others. Batches of idempotent producers may be
/// retries, and only an append of their own says where the first ones are.
fn joins(job: &Job) -> bool {
    job.batches.iter().all(|batch| batch.producer_id() < 0)
}
