//! What a reader of committed records does not see: control batches and aborted transactions.
//!
//! The server says in each answer which transactions that reach into it were aborted, by producer and
//! first offset; a control batch with key type 0 ends such a transaction. Source: KIP-98.

use std::collections::BTreeSet;

use kafka_wire::messages::fetch_response::AbortedTransaction;
use record::CheckedBatch;

/// An aborted transaction that an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer: i64,
    pub(crate) first_offset: i64,
}

impl From<AbortedTransaction> for Aborted {
    fn from(told: AbortedTransaction) -> Self {
        Self {
            producer: told.producer_id.0,
            first_offset: told.first_offset,
        }
    }
}

/// The batches that hold records of users, without those of `aborted` transactions.
pub(crate) fn visible(batches: Vec<CheckedBatch>, mut aborted: Vec<Aborted>) -> Vec<CheckedBatch> {
    aborted.sort_by_key(|one| one.first_offset);
    let mut begins = aborted.into_iter().peekable();
    let mut open = BTreeSet::new();
    let mut visible = Vec::with_capacity(batches.len());
    for batch in batches {
        while let Some(begun) =
            begins.next_if(|one| one.first_offset <= batch.last_offset().as_i64())
        {
            open.insert(begun.producer);
        }
        if batch.is_control() {
            if is_abort(&batch) {
                open.remove(&batch.producer_id());
            }
        } else if !(batch.is_transactional() && open.contains(&batch.producer_id())) {
            visible.push(batch);
        }
    }
    visible
}

/// Whether a control batch ends a transaction by aborting it: its key is a version and a type.
fn is_abort(batch: &CheckedBatch) -> bool {
    let Ok(records) = batch.records() else {
        return false;
    };
    let first = records.iter().next().and_then(Result::ok);
    let key = first.and_then(|record| record.key);
    key.and_then(|key| key.get(2..4)) == Some(&[0, 0])
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes, BytesMut};
    use model::Timestamp;
    use record::{BatchBuilder, Compression};

    use super::*;

    const CONTROL: i16 = 0x20;

    /// `p1:a p1:abort p:x` at offsets 0, 1, 2: batches of one record each.
    fn batches(text: &str) -> Vec<CheckedBatch> {
        let make = |(offset, word): (u64, &str)| {
            let (producer, what) = word.split_once(':').unwrap();
            let producer: Option<i64> = producer.strip_prefix('p').unwrap().parse().ok();
            let end = match what {
                "abort" => Some([0, 0, 0, 0]),
                "commit" => Some([0, 0, 0, 1]),
                _ => None,
            };
            let mut builder = BatchBuilder::new(Compression::None);
            let key = end.as_ref().map(|key| &key[..]);
            builder.push(Timestamp::from_millis(1), key, Some(what.as_bytes()), &[]);
            if let Some(id) = producer {
                builder.producer(id, 0, 0).transactional();
            }
            let mut bytes = BytesMut::from(&builder.build().into_bytes()[..]);
            bytes[..8].copy_from_slice(&offset.to_be_bytes());
            if end.is_some() {
                let mut attributes = &mut bytes[21..23];
                attributes.put_i16(0x10 | CONTROL);
                let crc = crc32c::crc32c(&bytes[21..]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            CheckedBatch::parse(Bytes::from(bytes)).unwrap().0
        };
        (0..).zip(text.split(' ')).map(make).collect()
    }

    fn check(text: &str, aborted: &[(i64, i64)], expected: &str) {
        let aborted = aborted.iter().map(|(producer, first_offset)| Aborted {
            producer: *producer,
            first_offset: *first_offset,
        });
        let seen: Vec<String> = visible(batches(text), aborted.collect())
            .iter()
            .map(|batch| {
                let records = batch.records().unwrap();
                let value = records.iter().next().unwrap().unwrap().value.unwrap();
                String::from_utf8(value.to_vec()).unwrap()
            })
            .collect();
        assert_eq!(seen.join(" "), expected, "{text}");
    }

    #[test]
    fn aborted_records_and_the_marks_of_transactions_are_not_seen() {
        check("p:a p1:b p1:commit p:c", &[], "a b c");
        check("p:a p1:b p1:abort p:c", &[(1, 1)], "a c");
        check("p1:a p2:b p1:abort p2:commit", &[(1, 0)], "b");
        check("p1:a p1:abort p1:b p1:commit", &[(1, 0)], "b");
        check(
            "p1:a p1:abort p1:b p1:abort p1:c p1:commit",
            &[(1, 2), (1, 0)],
            "c",
        );
    }
}
