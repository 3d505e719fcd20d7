//! The deep check: every record of a batch, once, when it comes in.
//!
//! One bad record would make its partition unreadable for every consumer, so it is refused here.

use model::Timestamp;
use model::limits::INFLATED_BYTES_MAX;

use crate::{CheckedBatch, Error, Stamp, StampTime, TimestampKind};

/// What walking all records found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The largest timestamp of a record; some clients write another one into the header.
    pub max_timestamp: Timestamp,
    /// Bytes of all records, decompressed.
    pub inflated_bytes: usize,
    /// Records without a key, which a compacted topic cannot take.
    pub keyless: u32,
}

/// Walks every record: lengths, deltas in order, header names that are UTF-8, nothing left over. Records
/// that compaction took may be missing.
///
/// # Errors
/// [`Error::Record`], [`Error::LeftOver`], [`Error::Decompress`], [`Error::Inflated`].
pub fn validate_records(batch: &CheckedBatch) -> Result<Summary, Error> {
    validate(batch, INFLATED_BYTES_MAX)
}

fn validate(batch: &CheckedBatch, limit: usize) -> Result<Summary, Error> {
    let records = batch.records_within(limit)?;
    let mut iter = records.iter();
    let mut summary = Summary {
        max_timestamp: Timestamp::from_millis(-1),
        inflated_bytes: records.size(),
        keyless: 0,
    };
    let mut least = batch.base_offset();
    for (index, record) in (0..).zip(iter.by_ref()) {
        let record = record?;
        let wrong = |what| Error::Record { index, what };
        if record.offset < least || record.offset > batch.last_offset() {
            return Err(wrong("its offset delta is not its place in the batch"));
        }
        if record.timestamp.millis() < -1 {
            return Err(wrong("its timestamp is negative"));
        }
        record.headers.iter().check().map_err(wrong)?;
        summary.max_timestamp = summary.max_timestamp.max(record.timestamp);
        summary.keyless += u32::from(record.key.is_none());
        least = record.offset.next();
    }
    if !iter.rest().is_empty() {
        return Err(Error::LeftOver {
            count: iter.rest().len(),
        });
    }
    Ok(summary)
}

impl CheckedBatch {
    /// The batch after [`validate_records`], as a producer may send it: with a record for each of its
    /// offsets, and without what only compaction writes; with the largest timestamp in its header put right if
    /// the client wrote another (searches by time rely on it). Only then are its bytes copied.
    ///
    /// # Errors
    /// As [`validate_records`]; [`Error::Count`] when records are missing; [`Error::Horizon`].
    pub fn validated(self) -> Result<Self, Error> {
        let (batch, _) = self.validated_within(INFLATED_BYTES_MAX)?;
        Ok(batch)
    }

    /// As [`CheckedBatch::validated`], without inflating more than `limit` bytes; answers how many there were, too.
    ///
    /// # Errors
    /// As [`CheckedBatch::validated`]; [`Error::Inflated`] if there are more than `limit`.
    pub fn validated_within(mut self, limit: usize) -> Result<(Self, usize), Error> {
        let header = self.header();
        if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
            return Err(Error::Count {
                count: header.record_count,
                delta: header.last_offset_delta,
                bytes: self.size().saturating_sub(crate::HEADER_BYTES),
            });
        }
        if header.delete_horizon().is_some() {
            return Err(Error::Horizon);
        }
        let summary = validate(&self, limit)?;
        let inflated = summary.inflated_bytes;
        self.keyless = Some(summary.keyless);
        if self.timestamp_kind() == TimestampKind::LogAppend
            || self.max_timestamp() == summary.max_timestamp
        {
            return Ok((self, inflated));
        }
        let mut batch = self.restamped(&Stamp {
            base_offset: self.base_offset(),
            leader_epoch: self.leader_epoch(),
            time: StampTime::Max(summary.max_timestamp),
        });
        batch.keyless = self.keyless;
        Ok((batch, inflated))
    }
}
