//! Group progress as records of `lantern.groups`: written, applied, kept short.
//!
//! Invariants: a commit is durable and in memory before it is answered; records are applied in log
//! order, whoever appended them; the topic holds at most a bounded multiple of its live records.
//!
//! Not here: what the records look like (`group_records`) and mean (`progress`).

use std::collections::BTreeSet;

use model::{GroupId, TopicName, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};

use super::group_records::{commit_key, commit_value};
use super::progress::{Applied, Progress};
use super::writer::Waiter;
use super::{Shared, delays, events};
use crate::{Commit, Durability, Error};

/// Bytes of records from which a batch of progress is closed and the next begun.
const BATCH_BYTES: usize = 256 << 10;

/// The topic is compacted when it holds more than so many records for each live one.
const STALE_RATIO: u64 = 4;

/// Stores `commits` of `group`; ready when they are durable.
pub(crate) async fn commit(
    shared: &Shared,
    group: &GroupId,
    commits: Vec<(TopicPartition, Commit)>,
) -> Result<(), Error> {
    for (of, _) in &commits {
        shared.partition(of)?;
    }
    let records = commits.iter().map(|(of, commit)| {
        let value = Some(commit_value(commit));
        (commit_key(group, of), value)
    });
    write(shared, records).await
}

/// Removes progress of `group`: in `of`, or all of it.
pub(crate) async fn forget(
    shared: &Shared,
    group: &GroupId,
    of: Option<Vec<TopicPartition>>,
) -> Result<(), Error> {
    let gone: Vec<TopicPartition> = {
        let progress = shared.progress()?;
        let known = progress.group(group).ok_or_else(|| Error::UnknownGroup {
            group: group.clone(),
        })?;
        match of {
            Some(of) => of.into_iter().filter(|of| known.contains_key(of)).collect(),
            None => known.keys().cloned().collect(),
        }
    };
    let records = gone.iter().map(|of| (commit_key(group, of), None));
    write(shared, records).await
}

/// Removes the progress of every group in topics that do not exist.
///
/// # Errors
/// Also when a failed flush has left progress of which nobody knows until the next start: it would be taken for progress in
/// a new topic of the same name.
pub(crate) async fn forget_topics_gone(shared: &Shared) -> Result<(), Error> {
    shared.groups.check_not_frozen()?;
    let topics = shared.topics.load_full();
    let gone = |topic: &TopicName| !topics.infos.contains_key(topic);
    let stale = stale_keys(&shared.progress.lock(), gone);
    write(shared, stale.into_iter().map(|key| (key, None))).await
}

/// Keys of progress, committed or staged, in topics for which `gone` says so.
fn stale_keys(progress: &Progress, gone: impl Fn(&TopicName) -> bool) -> Vec<Vec<u8>> {
    let committed = progress.commits_in(&gone);
    let mut keys = progress.staged().keys_in(&gone);
    keys.extend(committed.iter().map(|(group, of)| commit_key(group, of)));
    keys
}

/// Removes progress in topics whose deletion a crash interrupted. Only while the broker opens: it
/// writes without the writer, which does not run yet.
pub(crate) fn forget_at_open(shared: &Shared) -> Result<(), Error> {
    let topics = shared.topics.load_full();
    let gone = |topic: &TopicName| !topics.infos.contains_key(topic);
    let stale = stale_keys(&shared.progress.lock(), gone);
    let records = stale.into_iter().map(|key| (key, None::<Vec<u8>>));
    let now = shared.options.clock.now();
    let tombstones = batches(records, now);
    if tombstones.is_empty() {
        return Ok(());
    }
    append_here(shared, &tombstones)?;
    let mut progress = shared.progress.lock();
    for batch in &tombstones {
        apply_batch(&mut progress, batch);
    }
    Ok(())
}

/// Appends and flushes on this thread. Only where nothing else writes.
fn append_here(shared: &Shared, batches: &[CheckedBatch]) -> Result<(), Error> {
    let groups = &shared.groups;
    let now = shared.options.clock.now();
    // One batch after another: a log takes at most its segment in one append.
    for batch in batches {
        groups.write(std::slice::from_ref(batch), now)?;
    }
    groups.flush()?;
    groups.publish_flushed();
    Ok(())
}

pub(crate) async fn write(
    shared: &Shared,
    records: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Result<(), Error> {
    let now = shared.options.clock.now();
    let batches = batches(records, now);
    if batches.is_empty() {
        return Ok(());
    }
    shared
        .enqueue(&shared.groups, batches, Durability::Flushed)
        .await
        .map(|_| ())
}

/// Packs key-value records into batches.
fn batches<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    records: impl Iterator<Item = (K, Option<V>)>,
    now: model::Timestamp,
) -> Vec<CheckedBatch> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(Compression::None);
    for (key, value) in records {
        let value = value.as_ref().map(AsRef::as_ref);
        builder.push(now, Some(key.as_ref()), value, &[]);
        if builder.size() >= BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(Compression::None));
            batches.push(full.build());
        }
    }
    if !builder.is_empty() {
        batches.push(builder.build());
    }
    batches
}

/// Applies flushed batches of the groups partition to the state in memory.
pub(crate) fn apply(shared: &Shared, waiters: &[Waiter]) {
    let mut progress = shared.progress.lock();
    let mut unreadable = 0;
    for waiter in waiters.iter().filter(|waiter| !waiter.appended.duplicate) {
        for batch in &waiter.batches {
            unreadable += apply_batch(&mut progress, batch);
        }
    }
    let moved = progress.take_moves();
    drop(progress);
    delays::note(shared, moved);
    if unreadable > 0 {
        events::group_record_unreadable(unreadable);
    }
}

/// Applies one batch; answers how many of its records could not be read.
pub(crate) fn apply_batch(progress: &mut Progress, batch: &CheckedBatch) -> u64 {
    let Ok(records) = batch.records() else {
        return u64::from(batch.record_count());
    };
    let mut unreadable = 0;
    for record in &records {
        let applied = match record {
            Ok(record) => record
                .key
                .map_or(Applied::Unreadable, |key| progress.apply(key, record.value)),
            Err(_) => Applied::Unreadable,
        };
        unreadable += u64::from(applied == Applied::Unreadable);
    }
    unreadable
}

/// Called by the writer between two rounds: when most records of the topic are stale, appends the
/// live ones and removes everything before them.
///
/// Nothing else appends while this runs, and everything appended before is applied, so the snapshot
/// is the state and no commit can fall between the two.
pub(crate) fn compact_if_due(shared: &Shared) {
    let groups = &shared.groups;
    let records = groups.end().since(groups.log_start());
    if records < shared.options.groups_records_max {
        return;
    }
    let live = {
        let progress = shared.progress.lock();
        let live = u64::try_from(progress.len()).unwrap_or(u64::MAX);
        if records / STALE_RATIO < live.max(1) {
            return;
        }
        let live = progress.live().map(|(key, value)| (key, Some(value)));
        batches(live, shared.options.clock.now())
    };
    match replace_by(shared, &live) {
        Ok(()) => {
            let after = groups.end().since(groups.log_start());
            events::groups_compacted(&shared.metrics, records, after);
        }
        Err(error) => events::groups_compaction_failed(&error),
    }
}

fn replace_by(shared: &Shared, snapshot: &[CheckedBatch]) -> Result<(), Error> {
    let until = shared.groups.end();
    append_here(shared, snapshot)?;
    shared.groups.delete_before(until).map(|_| ())
}

/// The stored progress of `group` in `of`, or everywhere.
pub(crate) fn committed(
    shared: &Shared,
    group: &GroupId,
    of: Option<Vec<TopicPartition>>,
) -> Result<Vec<(TopicPartition, Option<Commit>)>, Error> {
    let progress = shared.progress()?;
    let known = progress.group(group);
    let answer = match of {
        Some(of) => of
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|of| {
                let commit = known.and_then(|known| known.get(&of)).cloned();
                (of, commit)
            })
            .collect(),
        None => known
            .into_iter()
            .flatten()
            .map(|(of, commit)| (of.clone(), Some(commit.clone())))
            .collect(),
    };
    Ok(answer)
}
