//! Records become batches, one at a time for each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_client::{Load, Sender, partition_of};
use model::PartitionId;
use record::{BatchBuilder, Compression};

use super::record::Record;
use super::tally::{Span, Tally};

/// Bytes of a batch before compression; a larger record goes alone.
pub(super) const BYTES_MAX: usize = 900 << 10;

/// What a record takes in a batch beside its bytes, at most, without headers.
const RECORD_OVERHEAD: usize = 32;

/// How batches are made.
#[derive(Debug)]
pub(super) struct Options {
    /// Of the topic, at least one.
    pub(super) partitions: Vec<PartitionId>,
    pub(super) compression: Compression,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
}

/// Batches that are being filled.
#[derive(Debug)]
pub(super) struct Batches {
    sender: Sender,
    tally: Arc<Tally>,
    options: Options,
    filling: BTreeMap<PartitionId, Filling>,
    /// Where records without a key go until their batch leaves.
    turn: usize,
    next_tag: u64,
}

#[derive(Debug)]
struct Filling {
    batch: BatchBuilder,
    span: Span,
}

impl Batches {
    pub(super) fn new(sender: Sender, tally: Arc<Tally>, options: Options) -> Self {
        Self {
            sender,
            tally,
            options,
            filling: BTreeMap::new(),
            turn: 0,
            next_tag: 0,
        }
    }

    /// Adds a record, after sending the batch that has no room for it; what is wrong with it otherwise.
    pub(super) async fn push(&mut self, line: u64, record: &Record) -> Result<(), String> {
        let partition = self.partition(record)?;
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let of_headers = headers.iter();
        let of_headers = of_headers.map(|(name, value)| name.len() + length(*value) + 10);
        let size = length(key) + length(value) + of_headers.sum::<usize>() + RECORD_OVERHEAD;
        let full = self.filling.get(&partition).is_some_and(|filling| {
            let batch = &filling.batch;
            batch.len() >= self.options.records_max || batch.size() + size > self.options.bytes_max
        });
        if full {
            self.send(partition).await;
        }
        self.tally.took(length(key) + length(value));
        let compression = self.options.compression;
        let filling = self.filling.entry(partition).or_insert_with(|| Filling {
            batch: BatchBuilder::new(compression),
            span: Span {
                first: line,
                last: line,
                records: 0,
            },
        });
        filling.batch.push(record.timestamp, key, value, &headers);
        filling.span.last = line;
        filling.span.records += 1;
        Ok(())
    }

    fn partition(&self, record: &Record) -> Result<PartitionId, String> {
        let all = &self.options.partitions;
        if let Some(number) = record.partition {
            let wanted = PartitionId::new(number);
            if !all.contains(&wanted) {
                return Err(format!(
                    "there is no partition {number}: the topic has {}, numbered from 0",
                    all.len()
                ));
            }
            return Ok(wanted);
        }
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        Ok(match &record.key {
            Some(key) => partition_of(key, count),
            None => all[self.turn % all.len()],
        })
    }

    /// Sends every batch, full or not.
    pub(super) async fn send_all(&mut self) {
        while let Some(partition) = self.filling.keys().next().copied() {
            self.send(partition).await;
        }
    }

    async fn send(&mut self, partition: PartitionId) {
        let Some(Filling { batch, span }) = self.filling.remove(&partition) else {
            return;
        };
        if self.options.partitions[self.turn % self.options.partitions.len()] == partition {
            self.turn += 1;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        self.tally.sent(tag, span);
        let load = Load {
            partition,
            batch,
            tag,
        };
        self.sender.send(load).await;
    }
}
