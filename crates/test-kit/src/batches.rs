//! Record batches in few words.

use bytes::Bytes;
use model::{Offset, Producer, Timestamp};
use record::{BatchBuilder, Batches, CheckedBatch, Compression};

/// The timestamp records get unless a test says another.
pub const WHEN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A batch of these values, stamped [`WHEN`].
pub fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> CheckedBatch {
    batch_at(WHEN, values)
}

/// A batch of these values, stamped `at`.
pub fn batch_at<V: AsRef<[u8]>>(
    at: Timestamp,
    values: impl IntoIterator<Item = V>,
) -> CheckedBatch {
    builder(at, values).build()
}

/// A batch of an idempotent producer.
pub fn batch_of<V: AsRef<[u8]>>(
    (producer, epoch, sequence): (i64, i16, i32),
    values: impl IntoIterator<Item = V>,
) -> CheckedBatch {
    let mut builder = builder(WHEN, values);
    builder.producer(producer, epoch, sequence);
    builder.build()
}

/// A batch of a transaction.
pub fn batch_in_transaction<V: AsRef<[u8]>>(
    producer: Producer,
    sequence: i32,
    values: impl IntoIterator<Item = V>,
) -> CheckedBatch {
    let mut builder = builder(WHEN, values);
    builder.producer(producer.id, producer.epoch, sequence);
    builder.transactional().build()
}

fn builder<V: AsRef<[u8]>>(at: Timestamp, values: impl IntoIterator<Item = V>) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(at, None, Some(value.as_ref()), &[]);
    }
    builder
}

/// Offset and value of every record in concatenated batches.
///
/// # Panics
/// When the bytes are not whole batches of text values.
pub fn records(batches: &Bytes) -> Vec<(Offset, String)> {
    let mut found = Vec::new();
    for batch in Batches::new(batches.clone()) {
        let batch = batch.unwrap();
        for record in &batch.records().unwrap() {
            let record = record.unwrap();
            let value = record.value.map(<[u8]>::to_vec).unwrap_or_default();
            found.push((record.offset, String::from_utf8(value).unwrap()));
        }
    }
    found
}

/// The values alone.
pub fn values(batches: &Bytes) -> Vec<String> {
    records(batches)
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}
