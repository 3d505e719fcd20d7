//! Markers: the control batches that end a transaction in one partition.
//!
//! ```text
//! one record   key    version 0 (i16) │ 0 = abort, 1 = commit (i16)
//!              value  version 0 (i16) │ the coordinator's epoch (i32)     big endian
//! ```
//! Only a broker writes them, and no client may: where batches come in, [`CheckedBatch::is_control`]
//! is refused. Source: Kafka's `ControlRecordType` and `EndTransactionMarker`, KIP-98.

use model::{Outcome, Producer, Timestamp};

use crate::{BatchBuilder, CheckedBatch, Compression};

/// The version of keys and values.
const VERSION: i16 = 0;

/// The marker that ends the transaction of `producer` in the partition it is appended to.
pub fn marker(
    producer: Producer,
    outcome: Outcome,
    coordinator_epoch: i32,
    now: Timestamp,
) -> CheckedBatch {
    let kind: i16 = match outcome {
        Outcome::Abort => 0,
        Outcome::Commit => 1,
    };
    let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
    let value = [
        &VERSION.to_be_bytes()[..],
        &coordinator_epoch.to_be_bytes()[..],
    ]
    .concat();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(now, Some(&key), Some(&value), &[]);
    builder.producer(producer.id, producer.epoch, -1);
    builder.transactional().control();
    builder.build()
}

impl CheckedBatch {
    /// How the transaction ends that this batch marks the end of; `None` when it is no marker, or of
    /// a kind that nobody knows.
    pub fn outcome(&self) -> Option<Outcome> {
        if !self.is_control() {
            return None;
        }
        let records = self.records().ok()?;
        let first = records.iter().next()?.ok()?;
        let kind = first.key?.get(2..4)?;
        match i16::from_be_bytes(kind.try_into().ok()?) {
            0 => Some(Outcome::Abort),
            1 => Some(Outcome::Commit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_what_kafka_writes() {
        let now = Timestamp::from_millis(7);
        for (outcome, kind) in [(Outcome::Abort, 0), (Outcome::Commit, 1)] {
            let batch = marker(Producer::new(9, 3), outcome, 5, now);
            assert!(batch.is_control() && batch.is_transactional());
            assert_eq!((batch.producer_id(), batch.producer_epoch()), (9, 3));
            assert_eq!(batch.base_sequence(), -1);
            assert_eq!(batch.outcome(), Some(outcome));
            let records = batch.records().unwrap();
            let record = records.iter().next().unwrap().unwrap();
            assert_eq!(record.key, Some(&[0, 0, 0, kind][..]));
            assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 5][..]));
        }
    }

    #[test]
    fn other_batches_mark_nothing() {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), Some(&[0, 0, 0, 1]), None, &[]);
        assert_eq!(builder.build().outcome(), None);
        assert_eq!(builder.control().build().outcome(), Some(Outcome::Commit));
        let mut unknown = BatchBuilder::new(Compression::None);
        unknown.push(Timestamp::from_millis(1), Some(&[0, 0, 0, 9]), None, &[]);
        assert_eq!(unknown.control().build().outcome(), None);
        let mut bare = BatchBuilder::new(Compression::None);
        bare.push(Timestamp::from_millis(1), None, None, &[]);
        assert_eq!(bare.control().build().outcome(), None);
    }
}
