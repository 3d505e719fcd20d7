//! The two hot calls: an append's way into the queue, and reads from memory or the disk.
//!
//! Invariants: a read returns whole batches as they were appended, shared, never copied out of the
//! memory tail; a read that needs the disk is told apart before it touches it.

use std::sync::Arc;

use model::{Offset, Position, TopicName, TopicPartition};
use record::{CheckedBatch, Compression, HEADER_BYTES};

use super::Shared;
use super::partition::Partition;
use crate::{Append, Appended, AppendsFuture, Durability, Error, Fetched, ReadLimit};

pub(crate) async fn append(
    shared: &Shared,
    to: &TopicPartition,
    batches: Vec<CheckedBatch>,
    durability: Durability,
) -> Result<Appended, Error> {
    match admit(shared, to, &batches)? {
        Admitted::Nothing(appended) => Ok(appended),
        Admitted::To(partition) => shared.enqueue(&partition, batches, durability).await,
    }
}

pub(crate) fn append_each(shared: &Shared, appends: Vec<Append>) -> AppendsFuture<'_> {
    let append = |append: Append| {
        let Append {
            to,
            batches,
            durability,
        } = append;
        match admit(shared, &to, &batches).map_err(Err)? {
            Admitted::To(partition) => Ok((partition, batches, durability)),
            Admitted::Nothing(appended) => Err(Ok(appended)),
        }
    };
    shared.enqueue_all(appends.into_iter().map(append))
}

/// What becomes of an append before it is queued.
enum Admitted {
    /// It goes there.
    To(Arc<Partition>),
    /// There is nothing to append.
    Nothing(Appended),
}

fn admit(
    shared: &Shared,
    to: &TopicPartition,
    batches: &[CheckedBatch],
) -> Result<Admitted, Error> {
    let topics = shared.topics.load();
    let (topic, partition) = topics.find(to)?;
    let limit = topic.info.config.batch_bytes.as_usize();
    if batches.iter().any(CheckedBatch::is_control) {
        return Err(Error::ControlBatch {
            partition: to.clone(),
        });
    }
    if let Some(large) = batches.iter().find(|batch| batch.size() > limit) {
        return Err(Error::BatchTooLarge {
            topic: to.topic.clone(),
            size: large.size(),
            limit,
        });
    }
    if topic.info.config.cleanup.policy.compacts() {
        check_keys(&to.topic, batches)?;
    }
    partition.check_readable()?;
    if batches.is_empty() {
        return Ok(Admitted::Nothing(partition.nothing_appended()));
    }
    Ok(Admitted::To(Arc::clone(partition)))
}

/// Records without a key that an error lists.
const KEYLESS_LISTED_MAX: usize = 1_000;

/// Bytes inflated to list them: this is a thread that serves others.
const KEYLESS_INFLATED_MAX: usize = 256 << 10;

/// Refuses records without a key: compaction could not tell what they outdate. A batch whose records were walked
/// where it came in is not inflated again, but to list what is wrong with it.
fn check_keys(topic: &TopicName, batches: &[CheckedBatch]) -> Result<(), Error> {
    let mut keyless = Vec::new();
    let mut bad = false;
    let mut number = 0;
    let mut left = KEYLESS_INFLATED_MAX;
    for batch in batches {
        let first = number;
        number += batch.record_count();
        let records = match batch.keyless() {
            Some(0) => continue,
            Some(_) if batch.compression() != Compression::None => {
                bad = true;
                batch.records_within(left)
            }
            _ => batch.records(),
        };
        // What is not legible was refused where it came in; what is too much is refused unlisted.
        let Ok(records) = records else {
            left = 0;
            continue;
        };
        left = left.saturating_sub(records.size());
        for (number, record) in (first..).zip(records.iter().flatten()) {
            if record.key.is_none() {
                bad = true;
                if keyless.len() < KEYLESS_LISTED_MAX {
                    keyless.push(number);
                }
            }
        }
    }
    if !bad {
        return Ok(());
    }
    Err(Error::Keyless {
        topic: topic.clone(),
        records: keyless,
    })
}

/// Reads from memory; `None` when the disk is needed.
pub(crate) fn warm(
    shared: &Shared,
    partition: &Partition,
    from: Position,
    limit: ReadLimit,
    committed: bool,
) -> Result<Option<Fetched>, Error> {
    let marks = partition.marks();
    let offset = partition.offset_to_read(from, marks)?;
    let until = partition.until(committed);
    if offset >= until {
        return Ok(Some(Fetched {
            batches: bytes::Bytes::new(),
            next: from,
            marks,
            hollow: false,
        }));
    }
    let batches = partition.read_memory(offset, limit, until)?;
    Ok(batches.map(|batches| fetched(shared, partition, offset, batches)))
}

/// Reads from the disk; blocks.
pub(crate) fn cold(
    shared: &Shared,
    partition: &Partition,
    from: Position,
    limit: ReadLimit,
    committed: bool,
) -> Result<Fetched, Error> {
    let offset = partition.offset_to_read(from, partition.marks())?;
    let batches = partition.read(offset, limit, partition.until(committed))?;
    shared.metrics.cold_reads.inc();
    Ok(fetched(shared, partition, offset, batches))
}

fn fetched(shared: &Shared, partition: &Partition, from: Offset, batches: bytes::Bytes) -> Fetched {
    let seen = look_through(&batches);
    let next = seen.next.unwrap_or(from);
    if !batches.is_empty() {
        shared.metrics.reads.inc();
        let bytes = u64::try_from(batches.len()).unwrap_or(u64::MAX);
        shared.metrics.read_bytes.inc_by(bytes);
        partition.tally().read(next.since(from), bytes);
    }
    Fetched {
        next: next.into(),
        batches,
        marks: partition.marks(),
        hollow: seen.hollow,
    }
}

/// Bytes before the batch length field ends.
const LENGTH_END: usize = 12;

/// What the headers of batches say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The offset after the last of them.
    pub(crate) next: Option<Offset>,
    /// One of them has no records.
    pub(crate) hollow: bool,
}

/// Looks at the headers of `batches`, and at nothing else.
pub(crate) fn look_through(batches: &[u8]) -> Seen {
    let mut rest = batches;
    let mut seen = Seen::default();
    while let Some(head) = rest.first_chunk::<HEADER_BYTES>() {
        let field = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        let base = (u64::from(field(0)) << 32) | u64::from(field(4));
        seen.next = Some(Offset::new(base + u64::from(field(23)) + 1));
        seen.hollow |= field(57) == 0;
        let length = usize::try_from(field(LENGTH_END - 4)).unwrap_or(usize::MAX);
        match rest.get(LENGTH_END.saturating_add(length)..) {
            Some(behind) => rest = behind,
            None => return Seen { next: None, ..seen },
        }
    }
    seen
}

/// The offset of a position, if it can be one.
pub(crate) fn offset_of(position: Position) -> Option<Offset> {
    u64::try_from(position.bits()).ok().map(Offset::new)
}
