//! Old segments go, and memory nobody needs any more: on a thread of its own for each log directory, partition by partition.
//!
//! Invariants: only whole segments before the high watermark go; a failure in one partition does
//! not keep the others from their turn; the thread ends as soon as it is told to.
//!
//! Not here: which segments are old, which is `commitlog`'s.

use std::sync::Arc;
use std::time::Duration;

use model::Offset;
use parking_lot::{Condvar, Mutex};

use super::catalog::DATA_DIR;
use super::log_dirs::LogDir;
use super::{Shared, events};

/// Tells the retention threads to end.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }

    /// Waits for `time`; answers whether the bell rang.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.changed.wait_for(&mut rung, time);
        }
        *rung
    }
}

/// Applies retention in one log directory every `retention_interval` until the bell rings.
pub(crate) fn run(shared: &Arc<Shared>, log_dir: &Arc<LogDir>, bell: &Bell) {
    while !bell.wait(shared.options.retention_interval) {
        turn_in(shared, log_dir);
        if log_dir.number == DATA_DIR {
            let_memory_go(shared);
        }
    }
}

/// Lets go of what rings hold and everybody has read, and of buffers nobody used since the last time.
pub(crate) fn let_memory_go(shared: &Shared) {
    for topic in shared.topics.load_full().in_order() {
        for partition in &topic.partitions {
            partition.tick();
        }
    }
    shared.memory.pool.release_unused();
}

/// Applies retention to every partition once; answers the bytes removed.
pub(crate) fn turn(shared: &Shared) -> u64 {
    let log_dirs = shared.log_dirs.in_use();
    log_dirs.map(|log_dir| turn_in(shared, log_dir)).sum()
}

fn turn_in(shared: &Shared, log_dir: &Arc<LogDir>) -> u64 {
    let topics = shared.topics.load_full();
    let mut removed = 0;
    for topic in topics.in_order() {
        for partition in &topic.partitions {
            if !Arc::ptr_eq(partition.log_dir(), log_dir) || partition.check_readable().is_err() {
                continue;
            }
            let size = partition.size_bytes();
            match partition.retain(&topic.info.config, shared.options.clock.now()) {
                Ok(start) if start > Offset::ZERO && partition.size_bytes() < size => {
                    let bytes = size - partition.size_bytes();
                    removed += bytes;
                    events::retained(&shared.metrics, partition.id(), bytes);
                }
                Ok(_) => (),
                Err(error) => events::retention_failed(partition.id(), &error),
            }
        }
    }
    removed
}
