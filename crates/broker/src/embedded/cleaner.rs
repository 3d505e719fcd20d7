//! Compaction: on a thread of its own, the dirtiest partition first.
//!
//! Every `clean_interval` it looks at the partitions of compacted topics. One is due when more than
//! `min.cleanable.dirty.ratio` of what may be compacted is dirty, when a record waits for longer than
//! `max.compaction.lag.ms`, or when tombstones may go.
//!
//! Invariants: reading and writing keep to `clean_rate`; a partition that is damaged is not tried again in
//! this run, and one that failed does not keep the others from their turn; the thread ends as soon as
//! it is told to. Not here: how a log is compacted, which is `commitlog`'s.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use commitlog::{CleanOptions, Recovery};
use model::{PartitionId, TopicId};

use super::partition::Partition;
use super::retention::Bell;
use super::topics::Topic;
use super::{Drive, Shared, errors, events};
use crate::TopicConfig;

/// Partitions that cannot be compacted in this run, and why.
pub(crate) type Uncleanable = HashMap<(TopicId, PartitionId), Arc<str>>;

/// Compacts what is due every `clean_interval` until the bell rings.
pub(crate) fn run(shared: &Arc<Shared>, bell: &Bell) {
    while !bell.wait(shared.options.clean_interval) {
        turn(shared, bell);
    }
}

/// One that is due.
struct Due {
    topic: Arc<Topic>,
    partition: Arc<Partition>,
    ratio: f64,
}

/// Compacts every partition that is due once; answers the bytes that are gone.
pub(crate) fn turn(shared: &Shared, bell: &Bell) -> u64 {
    let mut gone = 0;
    for due in look(shared) {
        if shared.stopping() {
            break;
        }
        gone += one(shared, bell, &due);
    }
    gone
}

/// The partitions that are due, the dirtiest first.
fn look(shared: &Shared) -> Vec<Due> {
    let topics = shared.topics.load_full();
    let now = shared.options.clock.now();
    let mut uncleanable = shared.uncleanable.lock();
    uncleanable.retain(|(id, _), _| topics.live.values().any(|topic| topic.info.id == *id));
    let mut due = Vec::new();
    let mut dirtiest = 0.0_f64;
    for topic in topics.in_order() {
        let config = &topic.info.config;
        if !config.cleanup.policy.compacts() {
            continue;
        }
        let options = clean_options(shared, config);
        for partition in &topic.partitions {
            if uncleanable.contains_key(&(topic.info.id, partition.id().partition)) {
                continue;
            }
            let Some(found) = partition.dirtiness(&options, now) else {
                continue;
            };
            let ratio = found.ratio();
            dirtiest = dirtiest.max(ratio);
            if ratio > config.cleanup.dirty_ratio.get() || found.overdue {
                due.push(Due {
                    topic: Arc::clone(topic),
                    partition: Arc::clone(partition),
                    ratio,
                });
            }
        }
    }
    shared.metrics.clean_dirty_ratio.set(dirtiest);
    let count = i64::try_from(uncleanable.len()).unwrap_or(i64::MAX);
    shared.metrics.clean_uncleanable.set(count);
    due.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    due
}

fn one(shared: &Shared, bell: &Bell, due: &Due) -> u64 {
    let partition = &due.partition;
    let options = clean_options(shared, &due.topic.info.config);
    let clock = &shared.options.clock;
    let begun = clock.monotonic();
    let mut moved = 0;
    let mut pace = |bytes: u64| {
        moved += bytes;
        let elapsed = clock.monotonic().saturating_sub(begun);
        !shared.stopping() && !wait(shared, bell, moved, elapsed)
    };
    let now = clock.now();
    let cleaned = catch_unwind(AssertUnwindSafe(|| {
        commitlog::clean(&**partition, &options, now, &mut pace)
    }));
    let took = clock.monotonic().saturating_sub(begun);
    match cleaned {
        Ok(Ok(report)) => {
            events::cleaned(&shared.metrics, partition.id(), &report, took);
            report.bytes_before.saturating_sub(report.bytes_after)
        }
        Ok(Err(error)) => {
            let given_up = match error.recovery() {
                Recovery::Retry => false,
                Recovery::Reject | Recovery::Skip | Recovery::StopPartition => true,
            };
            let error = errors::of_log(partition.id(), error);
            failed(shared, due, &errors::reason(&error), given_up);
            shared.say_storage(partition, &error);
            0
        }
        Err(_) => {
            let what = "a panic in compaction";
            events::panicked(&shared.metrics, partition.id(), what);
            failed(shared, due, &what.into(), true);
            0
        }
    }
}

fn failed(shared: &Shared, due: &Due, reason: &Arc<str>, given_up: bool) {
    // A topic that was deleted meanwhile has nothing to fail.
    if shared.live(&due.topic.info.name).is_err() {
        return;
    }
    events::clean_failed(&shared.metrics, due.partition.id(), reason, given_up);
    if given_up {
        let key = (due.topic.info.id, due.partition.id().partition);
        let mut uncleanable = shared.uncleanable.lock();
        uncleanable.insert(key, Arc::clone(reason));
        let count = i64::try_from(uncleanable.len()).unwrap_or(i64::MAX);
        shared.metrics.clean_uncleanable.set(count);
    }
}

/// Waits until `moved` bytes are not more than the rate allows; answers whether the bell rang.
fn wait(shared: &Shared, bell: &Bell, moved: u64, elapsed: Duration) -> bool {
    let rate = shared.options.clean_rate.bytes();
    if rate == 0 || shared.options.drive == Drive::Manual {
        return false;
    }
    let due = Duration::from_secs_f64(moved as f64 / rate as f64);
    match due.checked_sub(elapsed) {
        Some(early) if early > Duration::from_millis(1) => bell.wait(early),
        _ => false,
    }
}

fn clean_options(shared: &Shared, config: &TopicConfig) -> CleanOptions {
    CleanOptions {
        min_lag: config.cleanup.min_lag,
        max_lag: config.cleanup.max_lag,
        delete_retention: config.cleanup.delete_retention,
        map_bytes: shared.options.clean_memory,
    }
}
