//! Since when the records wait that groups had not passed when the broker stopped, from the log.
//!
//! A few batches between the oldest committed offset and the high watermark are looked at, and each says when it
//! was written by its largest timestamp; what lies between two of them is taken as written with the first. It
//! happens once, on a thread of its own, since it reads the disk and nobody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Offset, Timestamp, TopicPartition};

use super::super::Shared;
use super::super::partition::{Partition, Times};
use crate::ReadLimit;

/// Batches looked at in one partition.
const PROBES: u64 = 16;

/// Learns the past of every partition that somebody has not read to its end.
pub(crate) fn run(shared: &Shared) {
    let mut oldest: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for (_, of, place) in shared.places.lock().iter() {
        let known = oldest.entry(of.clone()).or_insert(place.committed());
        *known = (*known).min(place.committed());
    }
    for (of, committed) in oldest {
        if shared.stopping() {
            return;
        }
        if let Ok(partition) = shared.partition(&of)
            && let Some(times) = partition.times()
        {
            of_partition(&partition, times, committed);
        }
    }
}

fn of_partition(partition: &Arc<Partition>, times: &Times, committed: Offset) {
    let until = times.timeline().from();
    let from = committed.max(partition.log_start());
    if from >= until {
        return;
    }
    let start = times.now();
    let mut known: Vec<(Offset, Timestamp)> = Vec::new();
    let mut at = from;
    let step = (until.since(from) / PROBES).max(1);
    let mut before = None;
    while at < until {
        let Some((end, written)) = probe(partition, at, until) else {
            break;
        };
        if let Some(before) = before.replace(written.min(start)) {
            known.push((at, before));
        }
        at = end.max(at.plus(step));
    }
    if let Some(last) = before {
        known.push((until, last));
        times.timeline().learn(from, &known);
    }
}

/// Where the batch that holds `at` ends, and when it was written.
fn probe(partition: &Partition, at: Offset, until: Offset) -> Option<(Offset, Timestamp)> {
    let one = ReadLimit {
        bytes: 1,
        at_least_one: true,
    };
    // What cannot be read is not learned from; whoever reads it is told.
    let bytes = partition.read(at, one, until).ok()?;
    let header = record::Header::read(&bytes).ok()?;
    let last = header
        .base_offset
        .checked_add(i64::from(header.last_offset_delta))?;
    let written = (header.max_timestamp >= 0).then_some(header.max_timestamp)?;
    Some((
        Offset::from_i64(last)?.next(),
        Timestamp::from_millis(written),
    ))
}
