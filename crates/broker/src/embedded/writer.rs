//! The one writer of a log directory, and so of a disk: gathers waiting appends of all partitions, writes them, flushes each
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
//! larger and idleness makes them immediate; no timer holds an append back. Where nothing is flushed rounds would be too
//! small for what waking costs, so under a load of small appends the writer lets others run before each.
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
use std::task::Waker;
use std::thread;
use std::time::Duration;

use model::Position;
use record::CheckedBatch;
use smallvec::SmallVec;

use super::beside::Beside;
use super::flusher::{self, Flusher};
use super::log_dirs::LogDir;
use super::partition::{Landed, LazyFlush, Partition};
use super::queue::Woken;
use super::replies::Reply;
use super::{Shared, events};
use crate::{Appended, Durability, Error};

/// The batches of one append. One lies in its job: memory that comes from a caller's thread and goes back from the writer's
/// is dear.
pub(crate) type Batches = SmallVec<[CheckedBatch; 1]>;

/// One append on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) partition: Arc<Partition>,
    pub(crate) batches: Batches,
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
    pub(crate) batches: Batches,
}

/// Partitions that may wait for their lazy flush; beyond that the writer does it.
const LAZY_MAX: usize = 1_024;

/// Bytes of appends that are joined into one write at most: a larger one gains nothing.
const RUN_BYTES_MAX: usize = 1 << 20;

/// A round of so many appends means that more are about to come, from threads that may wait for this one's processor: it lets
/// them run, for what comes together shares a write, a flush and a wake-up. One append by itself waits for nobody.
const BUSY_APPENDS: usize = 2;
/// So many rounds are still counted as busy after that one: a single append between others is no sign of rest.
const BUSY_ROUNDS: u32 = 8;
/// Bytes of an append from which on sharing saves too little to wait for.
const SMALL_BYTES: usize = 4 << 10;
/// How often it lets others run before a busy round.
const GATHER_YIELDS: u32 = 2;
/// And before it sleeps after one.
const IDLE_YIELDS: u32 = 5;

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// Whose logs it writes.
    log_dir: Arc<LogDir>,
    flusher: Flusher,
    /// Rounds still to come that count as busy.
    busy: u32,
    /// Reused from round to round, as are the next three.
    jobs: Vec<Job>,
    /// What is written in one append.
    batches: Vec<CheckedBatch>,
    /// What was written and waits for the flush.
    waiters: Vec<Waiter>,
    /// Callers that were answered and still sleep.
    answered: Vec<Waker>,
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
    pub(crate) fn new(shared: Arc<Shared>, log_dir: Arc<LogDir>) -> Self {
        Self {
            flusher: Flusher::new(Arc::clone(&shared), Arc::clone(&log_dir)),
            lazily: Beside::new(
                Arc::clone(&shared),
                "lantern-lazy",
                LAZY_MAX,
                flusher::settle,
            ),
            shared,
            log_dir,
            busy: 0,
            jobs: Vec::new(),
            batches: Vec::new(),
            waiters: Vec::new(),
            answered: Vec::new(),
            dirty: Vec::new(),
            lazy: Vec::new(),
        }
    }

    /// Writes until the queue is closed and empty, then flushes what is left.
    pub(crate) fn run(mut self) {
        loop {
            if self.busy > 0 {
                self.look_again();
            }
            let woken = self.log_dir.queue.wait(self.next_lazy());
            if woken == Woken::Closed {
                break;
            }
            if self.busy > 0 {
                (0..GATHER_YIELDS).for_each(|_| thread::yield_now());
            }
            self.round();
        }
        self.flush_all();
    }

    /// Lets others run instead of sleeping, as long as that brings nothing: to be woken is dear for both.
    fn look_again(&self) {
        for _ in 0..IDLE_YIELDS {
            if self.log_dir.queue.len() > 0 {
                return;
            }
            thread::yield_now();
        }
    }

    /// Gathers, writes, flushes and answers once; answers how many appends there were.
    pub(crate) fn round(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let (options, log_dir) = (&shared.options, Arc::clone(&self.log_dir));
        let start = options.clock.monotonic();
        let (mut count, mut bytes, mut cost) = (0, 0, 0);
        while log_dir.queue.drain(&mut self.jobs) > 0 {
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
        log_dir.queue.release(cost);
        if count > 0 {
            shared.metrics.round_appends.observe(count as f64);
            if log_dir.number == shared.groups.log_dir().number {
                super::groups::compact_if_due(&shared);
            }
        }
        self.busy = match count {
            _ if bytes > count * SMALL_BYTES => 0,
            BUSY_APPENDS.. => BUSY_ROUNDS,
            _ => self.busy.saturating_sub(1),
        };
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
        self.shared.bell.ring(&mut self.answered);
        written
    }

    /// Writes jobs in one append if there are several, and one by one if that fails, so that each
    /// has its own answer.
    fn write_run(&mut self, partition: &Arc<Partition>, run: Vec<Job>) -> usize {
        if run.len() > 1 {
            let mut all = std::mem::take(&mut self.batches);
            all.extend(run.iter().flat_map(|job| job.batches.iter().cloned()));
            let landed = self.append(partition, &all);
            all.clear();
            self.batches = all;
            if let Ok(landed) = landed {
                return self.settle_run(partition, run, &landed);
            }
        }
        run.into_iter().map(|job| self.write(partition, job)).sum()
    }

    /// Gives each job of a run its part of what was appended.
    fn settle_run(&mut self, partition: &Arc<Partition>, run: Vec<Job>, landed: &Landed) -> usize {
        let written = self.show(partition, &run, landed);
        let mut base = landed.appended.base_offset;
        for job in run {
            let deltas = job.batches.iter().map(CheckedBatch::last_offset_delta);
            let end = base.plus(deltas.map(|delta| u64::from(delta) + 1).sum());
            let appended = Appended {
                base_offset: base,
                next: end.into(),
                ..landed.appended
            };
            base = end;
            self.answer(partition, job, appended, landed.flushed);
        }
        debug_assert_eq!(Position::from(base), landed.appended.next, "a run adds up");
        self.flush_later(partition, landed.flushed);
        written
    }

    /// Appends one job's batches; answers their bytes.
    fn write(&mut self, partition: &Arc<Partition>, job: Job) -> usize {
        match self.append(partition, &job.batches) {
            Ok(landed) => {
                let written = self.show(partition, std::slice::from_ref(&job), &landed);
                self.answer(partition, job, landed.appended, landed.flushed);
                self.flush_later(partition, landed.flushed);
                written
            }
            Err(error) => {
                self.shared.refused(partition, &error);
                self.answered.extend(job.reply.send(Err(error)));
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

    /// Counts what one append wrote, and shows it if it may be seen unflushed; answers its bytes.
    fn show(&self, partition: &Partition, jobs: &[Job], landed: &Landed) -> usize {
        let batches = jobs.iter().flat_map(|job| &job.batches);
        let records = batches.map(|batch| u64::from(batch.record_count())).sum();
        let bytes = jobs.iter().map(Job::bytes).sum();
        let count = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
        let duplicate = landed.appended.duplicate;
        self.shared
            .landed(partition, count, duplicate, (records, bytes));
        if partition.publishes_written() {
            partition.publish_written();
        }
        bytes
    }

    /// Answers a job now, if it may be, or with the flush.
    fn answer(&mut self, partition: &Partition, job: Job, appended: Appended, flushed: bool) {
        let applies = partition.is_groups();
        if applies || (job.durability == Durability::Flushed && !flushed) {
            self.waiters.push(Waiter {
                appended,
                reply: job.reply,
                batches: if applies { job.batches } else { Batches::new() },
            });
        } else {
            self.answered.extend(job.reply.send(Ok(appended)));
        }
    }

    /// Sees to the flush of what an append wrote, for those who wait for it and for readers.
    fn flush_later(&mut self, partition: &Arc<Partition>, flushed: bool) {
        let waits = !self.waiters.is_empty();
        if flushed && !waits {
            return;
        }
        if waits || !partition.publishes_written() {
            if partition.wait_for_flush(&mut self.waiters) {
                self.dirty.push(Arc::clone(partition));
            }
            return;
        }
        match partition.mark_lazy() {
            LazyFlush::Listed => {}
            LazyFlush::Later => {
                let due = self.shared.options.clock.monotonic() + self.shared.options.lazy_flush;
                self.lazy.push((due, Arc::clone(partition)));
            }
            LazyFlush::Now => {
                let refused = self.lazily.give(Arc::clone(partition)).err();
                self.flusher.flush_each(&mut refused.into_iter().collect());
            }
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
