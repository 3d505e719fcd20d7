//! Making durable what a round wrote, and answering who waits for it.
//!
//! Partitions with little to flush share one sync of the journal (`journaling`). The others are
//! flushed by themselves, several at once: one fdatasync waits for the disk, and a journalling file system
//! lets many that wait at the same time share one commit of its own journal. So they are handed to a
//! few helper threads, and this one takes part. Helpers start with the first round that needs them.
//!
//! Invariants: [`Flusher::flush`] returns when every partition given is flushed and its waiters are
//! answered; each partition is flushed once, by one thread; a panic is fenced in its partition.
//!
//! Not here: which partitions are dirty (`writer`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::journaling::Journaling;
use super::log_dirs::LogDir;
use super::partition::Partition;
use super::writer::Waiter;
use super::{Drive, Shared, events, groups};
use crate::Error;

#[derive(Debug)]
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    journaling: Journaling,
    pool: Arc<Pool>,
    helpers: Vec<JoinHandle<()>>,
    helpers_max: usize,
}

#[derive(Debug, Default)]
struct Pool {
    inside: Mutex<Inside>,
    /// There is work, or no more will come.
    work: Condvar,
    /// Nothing is left to do.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    todo: Vec<Arc<Partition>>,
    busy: usize,
    closed: bool,
}

impl Flusher {
    pub(crate) fn new(shared: Arc<Shared>, log_dir: Arc<LogDir>) -> Self {
        let helpers_max = match shared.options.drive {
            Drive::Manual => 0,
            Drive::Threads => shared.options.flush_threads.saturating_sub(1),
        };
        Self {
            journaling: Journaling::new(Arc::clone(&shared), log_dir),
            shared,
            pool: Arc::default(),
            helpers: Vec::new(),
            helpers_max,
        }
    }

    /// Makes all of `dirty` durable and answers who waits for them; leaves `dirty` empty.
    pub(crate) fn flush(&mut self, dirty: &mut Vec<Arc<Partition>>) {
        let shared = Arc::clone(&self.shared);
        self.journaling.commit(dirty, |partition| {
            fenced(&shared, partition, || answer(&shared, partition));
        });
        self.flush_each(dirty);
    }

    /// Flushes each of `dirty` by itself.
    pub(crate) fn flush_each(&mut self, dirty: &mut Vec<Arc<Partition>>) {
        self.start(dirty.len().saturating_sub(1));
        if self.helpers.is_empty() || dirty.len() <= 1 {
            for partition in dirty.drain(..) {
                flush(&self.shared, &partition);
            }
            return;
        }
        self.pool.inside.lock().todo.append(dirty);
        self.pool.work.notify_all();
        while self.pool.take_one(&self.shared) {}
        let mut inside = self.pool.inside.lock();
        while inside.busy > 0 || !inside.todo.is_empty() {
            self.pool.done.wait(&mut inside);
        }
    }

    /// Starts helpers until there are `wanted`, or as many as may be. A thread the system refuses
    /// is done without.
    fn start(&mut self, wanted: usize) {
        while self.helpers.len() < wanted.min(self.helpers_max) {
            let (shared, pool) = (Arc::clone(&self.shared), Arc::clone(&self.pool));
            let helper = std::thread::Builder::new()
                .name("lantern-flush".to_owned())
                .spawn(move || pool.run(&shared));
            match helper {
                Ok(helper) => self.helpers.push(helper),
                Err(error) => {
                    events::helper_refused(&error);
                    self.helpers_max = self.helpers.len();
                }
            }
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.pool.inside.lock().closed = true;
        self.pool.work.notify_all();
        for helper in self.helpers.drain(..) {
            // Panics are fenced inside.
            let _ended = helper.join();
        }
    }
}

impl Pool {
    fn run(&self, shared: &Shared) {
        loop {
            {
                let mut inside = self.inside.lock();
                while inside.todo.is_empty() && !inside.closed {
                    self.work.wait(&mut inside);
                }
                if inside.todo.is_empty() {
                    return;
                }
            }
            while self.take_one(shared) {}
        }
    }

    /// Flushes one partition of those to do; answers whether there was one.
    fn take_one(&self, shared: &Shared) -> bool {
        let partition = {
            let mut inside = self.inside.lock();
            let Some(partition) = inside.todo.pop() else {
                return false;
            };
            inside.busy += 1;
            partition
        };
        flush(shared, &partition);
        let mut inside = self.inside.lock();
        inside.busy -= 1;
        if inside.busy == 0 && inside.todo.is_empty() {
            self.done.notify_all();
        }
        true
    }
}

/// Flushes one partition, publishes its high watermark and answers who waits for it.
fn flush(shared: &Shared, partition: &Arc<Partition>) {
    fenced(shared, partition, || flush_unfenced(shared, partition));
}

/// Flushes one partition beside the writer: nobody waits for it, and what it has is published already.
pub(super) fn settle(shared: &Shared, partition: &Arc<Partition>) {
    fenced(shared, partition, || {
        let clock = &shared.options.clock;
        let start = clock.monotonic();
        let settled = partition.settle();
        let took = clock.monotonic().saturating_sub(start).as_secs_f64();
        shared.metrics.flushes.inc();
        shared.metrics.flush_seconds.observe(took);
        if let Err(error) = settled {
            refuse(shared, partition, &error);
        }
    });
}

fn fenced(shared: &Shared, partition: &Arc<Partition>, work: impl FnOnce()) {
    let what = "a panic in a flush";
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        events::panicked(&shared.metrics, partition.id(), what);
        let error = partition.freeze(what);
        refuse(shared, partition, &error);
    }
}

fn flush_unfenced(shared: &Shared, partition: &Arc<Partition>) {
    let clock = &shared.options.clock;
    let start = clock.monotonic();
    let flushed = partition.flush();
    let took = clock.monotonic().saturating_sub(start).as_secs_f64();
    shared.metrics.flushes.inc();
    shared.metrics.flush_seconds.observe(took);
    if let Err(error) = flushed {
        return refuse(shared, partition, &error);
    }
    answer(shared, partition);
}

/// Publishes what is durable now, and answers who waits for it.
fn answer(shared: &Shared, partition: &Partition) {
    let waiters = partition.take_waiters();
    if partition.is_groups() {
        groups::apply(shared, &waiters);
    }
    partition.publish_flushed();
    let answered = |waiter: Waiter| waiter.reply.send(Ok(waiter.appended));
    wake(shared, waiters.into_iter().filter_map(answered));
}

fn refuse(shared: &Shared, partition: &Partition, error: &Error) {
    shared.refused(partition, error);
    let waiters = partition.take_waiters().into_iter();
    let refused = |waiter: Waiter| waiter.reply.send(Err(partition.refused()));
    wake(shared, waiters.filter_map(refused));
}

/// Wakes those whose last answer this was, together.
fn wake(shared: &Shared, answered: impl Iterator<Item = Waker>) {
    shared.bell.ring(&mut answered.collect());
}
