//! The embedded broker's [`TransactionalLog`].
//!
//! Invariants: markers take the same way as appends (queue, writer, flush), so that they stand in the
//! log after everything their transaction wrote; staged progress and what it becomes are in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use commitlog::AbortedRange;
use model::{GroupId, Offset, Outcome, Position, Producer, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};

use super::broker::blocking;
use super::group_records::{commit_key, commit_value};
use super::staged::staged_key;
use super::{Shared, groups, reads};
use crate::{
    Aborted, AppendsFuture, BrokerFuture, Commit, Committed, Durability, Error, Fetched,
    ProducerStatus, ReadLimit, TransactionalLog, Unfinished,
};

/// There is one coordinator, and it is always the same.
const COORDINATOR_EPOCH: i32 = 0;

/// Bytes of records from which a batch of settled progress is closed.
const BATCH_BYTES: usize = 256 << 10;

impl TransactionalLog for Arc<Shared> {
    fn enlist(&self, producer: Producer, to: &TopicPartition) -> Result<(), Error> {
        self.partition(to)?.enlist(producer);
        Ok(())
    }

    fn end(
        &self,
        producer: Producer,
        outcome: Outcome,
        of: Vec<TopicPartition>,
    ) -> AppendsFuture<'_> {
        end(self, producer, outcome, &of)
    }

    fn read_committed<'a>(
        &'a self,
        at: &'a TopicPartition,
        from: Position,
        limit: ReadLimit,
    ) -> BrokerFuture<'a, Committed> {
        Box::pin(read_committed(self, at, from, limit))
    }

    fn stage<'a>(
        &'a self,
        producer: Producer,
        group: &'a GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> BrokerFuture<'a, ()> {
        Box::pin(async move {
            for (of, _) in &commits {
                self.partition(of)?;
            }
            let records = commits.iter().map(|(of, commit)| {
                let key = staged_key(producer.id, group, of);
                (key, Some(commit_value(commit)))
            });
            groups::write(self, records).await
        })
    }

    fn settle(&self, of: i64, outcome: Outcome) -> BrokerFuture<'_, ()> {
        Box::pin(async move {
            let batches = settling(self, of, outcome)?;
            if batches.is_empty() {
                return Ok(());
            }
            let settled = self.enqueue(&self.groups, batches, Durability::Flushed);
            settled.await.map(|_| ())
        })
    }

    fn staged(&self, group: &GroupId) -> Result<BTreeSet<TopicPartition>, Error> {
        Ok(self.progress()?.staged().partitions(group))
    }

    fn producers<'a>(&'a self, of: &'a TopicPartition) -> BrokerFuture<'a, Vec<ProducerStatus>> {
        Box::pin(async move {
            let partition = self.partition(of)?;
            partition.check_readable()?;
            let (known, open) = blocking(self, move || Ok(partition.producers())).await?;
            let status = known.into_iter().map(|known| {
                let open = open
                    .iter()
                    .find(|open| open.producer.id == known.producer.id);
                ProducerStatus {
                    producer: known.producer,
                    last_sequence: known.last_sequence,
                    last_used: known.last_used,
                    open_since: open.map(|open| open.first.into()),
                }
            });
            Ok(status.collect())
        })
    }

    fn unfinished(&self) -> BrokerFuture<'_, BTreeMap<i64, Unfinished>> {
        let shared = Arc::clone(self);
        Box::pin(blocking(self, move || unfinished(&shared)))
    }
}

fn end<'a>(
    shared: &'a Shared,
    producer: Producer,
    outcome: Outcome,
    of: &[TopicPartition],
) -> AppendsFuture<'a> {
    let now = shared.options.clock.now();
    let marker = record::marker(producer, outcome, COORDINATOR_EPOCH, now);
    let append = |of| {
        let partition = shared.partition(of).map_err(Err)?;
        partition.check_readable().map_err(Err)?;
        Ok((partition, vec![marker.clone()], Durability::Flushed))
    };
    shared.enqueue_all(of.iter().map(append))
}

async fn read_committed(
    shared: &Arc<Shared>,
    at: &TopicPartition,
    from: Position,
    limit: ReadLimit,
) -> Result<Committed, Error> {
    let partition = shared.partition(at)?;
    let warm = reads::warm(shared, &partition, from, limit, true)?;
    let fetched = if let Some(fetched) = warm {
        fetched
    } else {
        let (work, partition) = (Arc::clone(shared), Arc::clone(&partition));
        blocking(shared, move || {
            reads::cold(&work, &partition, from, limit, true)
        })
        .await?
    };
    let aborted = aborted_in(shared, &partition, from, &fetched).await?;
    // What is before the log's start was forgotten; it must not be taken for committed.
    partition.offset_to_read(from, partition.marks())?;
    Ok(Committed { fetched, aborted })
}

async fn aborted_in(
    shared: &Arc<Shared>,
    partition: &Arc<super::partition::Partition>,
    from: Position,
    fetched: &Fetched,
) -> Result<Vec<Aborted>, Error> {
    // The batch that holds `from` may begin before it.
    let first = record::Header::read(&fetched.batches).map(|header| header.base_offset);
    let (Ok(first), Some(until)) = (first, reads::offset_of(fetched.next)) else {
        return Ok(Vec::new());
    };
    let first = Offset::from_i64(first).unwrap_or_default();
    let first = first.min(reads::offset_of(from).unwrap_or_default());
    let known = partition.aborted_in_memory(first, until)?;
    let ranges = if let Some(ranges) = known {
        ranges
    } else {
        let partition = Arc::clone(partition);
        blocking(shared, move || partition.aborted(first, until)).await?
    };
    let told = |range: AbortedRange| Aborted {
        producer_id: range.producer_id,
        first: range.first.into(),
        last: range.last.into(),
    };
    Ok(ranges.into_iter().map(told).collect())
}

/// The batches that settle what a producer staged. A commit and the removal of what was staged are
/// never in two batches: a crash between two of them leaves the rest to be settled again.
fn settling(shared: &Shared, of: i64, outcome: Outcome) -> Result<Vec<CheckedBatch>, Error> {
    let staged = shared.progress()?.staged().of(of);
    let now = shared.options.clock.now();
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(Compression::None);
    for ((group, place), commit) in staged {
        if outcome == Outcome::Commit && shared.partition(&place).is_ok() {
            let value = commit_value(&commit);
            builder.push(now, Some(&commit_key(&group, &place)), Some(&value), &[]);
        }
        builder.push(now, Some(&staged_key(of, &group, &place)), None, &[]);
        if builder.size() >= BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(Compression::None));
            batches.push(full.build());
        }
    }
    if !builder.is_empty() {
        batches.push(builder.build());
    }
    Ok(batches)
}

fn unfinished(shared: &Shared) -> Result<BTreeMap<i64, Unfinished>, Error> {
    let mut found: BTreeMap<i64, Unfinished> = BTreeMap::new();
    let topics = shared.topics.load_full();
    for topic in topics.in_order() {
        for partition in &topic.partitions {
            let (_, open) = partition.producers();
            for open in open {
                let unfinished = found.entry(open.producer.id).or_default();
                unfinished.epoch = unfinished.epoch.max(open.producer.epoch);
                unfinished.partitions.insert(partition.id().clone());
            }
        }
    }
    for id in shared.progress()?.staged().producers() {
        found.entry(id).or_default().staged = true;
    }
    Ok(found)
}
