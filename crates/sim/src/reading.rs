//! Records as clients see them.

use broker::{Broker, Error, Marks, ReadLimit};
use bytes::Bytes;
use model::{Offset, TopicPartition};
use record::Batches;

use crate::life::Life;
use crate::text;

/// One offset that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: u64,
    /// What it says; `None` for the marker of a transaction.
    pub(crate) value: Option<String>,
}

/// What whole batches hold. Of those that compaction emptied nothing.
///
/// # Panics
/// When the bytes are not batches as they were sent, which nobody may be served.
pub(crate) fn decode(of: &TopicPartition, batches: &Bytes) -> Vec<Seen> {
    let mut seen = Vec::new();
    for batch in Batches::new(batches.clone()) {
        let batch = batch.unwrap_or_else(|error| panic!("{of} serves what is no batch: {error}"));
        if batch.is_control() && batch.record_count() > 0 {
            let (first, last) = (batch.base_offset().get(), batch.last_offset().get());
            seen.extend((first..=last).map(|offset| Seen {
                offset,
                value: None,
            }));
            continue;
        }
        let records = batch
            .records()
            .unwrap_or_else(|error| panic!("{of} serves a batch without records: {error}"));
        for record in &records {
            let record = record.unwrap_or_else(|error| panic!("{of} serves no record: {error}"));
            seen.push(Seen {
                offset: record.offset.get(),
                value: Some(text::of(&record)),
            });
        }
    }
    seen
}

/// The same of all that a log has there: each batch begins where the one before it ends, whatever compaction took.
pub(crate) fn decode_all(of: &TopicPartition, batches: &Bytes) -> Vec<Seen> {
    let mut next = None;
    for batch in Batches::new(batches.clone()).flatten() {
        let base = batch.base_offset();
        assert!(
            next.is_none_or(|next| next == base),
            "{of} serves {base:?} behind what ends at {next:?}"
        );
        next = Some(batch.next_offset());
    }
    decode(of, batches)
}

/// A position as the offset it is.
pub(crate) fn offset(position: model::Position) -> u64 {
    u64::try_from(position.bits()).unwrap_or(u64::MAX)
}

/// All of a log, when nobody else is at work. Passes over damage, which the oracle is told of.
pub(crate) async fn read_all(life: &Life<'_>, of: &TopicPartition) -> Option<(Marks, Vec<Seen>)> {
    let marks = match life.call(life.broker.marks(of)).await {
        Ok(marks) => marks,
        Err(Error::Corrupt { reason, .. }) => {
            life.world.oracle.borrow_mut().damage(of, &reason);
            return None;
        }
        Err(Error::UnknownTopic { .. } | Error::UnknownPartition { .. }) => return None,
        Err(other) => panic!("the marks of {of}: {other:?}"),
    };
    let (start, end) = (offset(marks.log_start), offset(marks.high_watermark));
    let mut all = Vec::new();
    let mut from = start;
    while from < end {
        let limit = ReadLimit {
            bytes: 2_000,
            at_least_one: true,
        };
        match life
            .call(life.broker.read(of, Offset::new(from).into(), limit))
            .await
        {
            Ok(fetched) => {
                let seen = decode_all(of, &fetched.batches);
                all.extend(seen.into_iter().filter(|record| record.offset >= from));
                let next = offset(fetched.next);
                assert!(next > from, "{of}: nothing is read at {from}, before {end}");
                from = next;
            }
            Err(Error::Corrupt { reason, until, .. }) => {
                life.world.oracle.borrow_mut().damage(of, &reason);
                from = until.map_or(end, offset).max(from + 1);
            }
            Err(other) => panic!("reading {of} at {from}: {other:?}"),
        }
    }
    Some((marks, all))
}
