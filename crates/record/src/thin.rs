//! Batches with fewer records than they had: what compaction makes of them.
//!
//! Invariants: a record that stays has its offset, time, key, value and headers to the byte; a batch keeps
//! its base offset and the number of offsets it stands for, its codec, producer and sequence. What is
//! left out is left out of the records alone, so that readers pass over it.
//!
//! A batch with tombstones says when they may go: the delete horizon takes the place of the base timestamp
//! (attribute 6), and the records' deltas count from it. Source: KIP-534. Not here: what stays (`commitlog`).

use bytes::Bytes;
use model::limits::BATCH_BYTES_MAX;
use model::{Offset, Timestamp};

use crate::builder::seal;
use crate::header::{HEADER_BYTES, HORIZON, Header, PREFIX_BYTES};
use crate::varint;
use crate::{CheckedBatch, Error, Record, Records, TimestampKind};

/// The most offsets one batch can stand for.
pub const OFFSETS_MAX: u64 = 0x7fff_ffff;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinned {
    /// Nothing changes.
    Same,
    /// No record stays.
    Empty,
    /// This takes its place.
    Batch(CheckedBatch),
}

/// A batch without records that stands for `offsets` offsets (1 to [`OFFSETS_MAX`]) from `base` on.
pub fn gap(base: Offset, offsets: u64, leader_epoch: i32) -> CheckedBatch {
    let delta = offsets.clamp(1, OFFSETS_MAX) - 1;
    without_records(Header {
        base_offset: base.as_i64(),
        length: 0,
        leader_epoch,
        crc: 0,
        attributes: 0,
        last_offset_delta: i32::try_from(delta).unwrap_or(i32::MAX - 1),
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
    })
}

#[expect(clippy::expect_used, reason = "it states its proof")]
fn without_records(mut header: Header) -> CheckedBatch {
    let mut bytes = vec![0; HEADER_BYTES];
    header.length = i32::try_from(HEADER_BYTES - PREFIX_BYTES).unwrap_or_default();
    seal(&mut bytes, &mut header);
    CheckedBatch::from_checked(Bytes::from(bytes), header).expect("codec 0 is one of ours")
}

impl CheckedBatch {
    /// The batch without its records: what a producer is known by, and nothing else. It is part of no
    /// transaction any more, since none of its records is.
    #[must_use]
    pub fn emptied(&self) -> Self {
        without_records(Header {
            attributes: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            record_count: 0,
            ..*self.header()
        })
    }

    /// The batch with those of its `records` that `keep` wants, and with `horizon` as its delete horizon if it is
    /// to get one.
    ///
    /// A batch that would become larger than a batch can be stays as it is: written with another
    /// encoder's effort, less can take more.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn thinned(
        &self,
        records: &Records,
        mut keep: impl FnMut(&Record<'_>) -> bool,
        horizon: Option<Timestamp>,
    ) -> Result<Thinned, Error> {
        let mut iter = records.iter();
        let mut body = Vec::new();
        let mut max = -1;
        let mut count = 0;
        let before = *self.header();
        let base = horizon.map_or(before.base_timestamp, Timestamp::millis);
        let shift = match before.timestamp_kind() {
            TimestampKind::Create => before.base_timestamp.saturating_sub(base),
            // Nobody looks at the deltas.
            TimestampKind::LogAppend => 0,
        };
        for index in 0.. {
            let whole = iter.rest();
            let Some(record) = iter.next() else { break };
            let record = record?;
            if !keep(&record) {
                continue;
            }
            let length = whole.len() - iter.rest().len();
            let bytes = whole.get(..length).unwrap_or_default();
            if shift == 0 {
                body.extend_from_slice(bytes);
            } else {
                shifted(bytes, shift, &mut body).ok_or(Error::Record {
                    index,
                    what: "its timestamp overflows",
                })?;
            }
            max = record.timestamp.millis().max(max);
            count += 1;
        }
        if count == 0 {
            return Ok(Thinned::Empty);
        }
        if count == before.record_count && horizon.is_none() {
            return Ok(Thinned::Same);
        }
        let mut bytes = vec![0; HEADER_BYTES];
        let compressed = self.compression().compress(&body, &mut bytes);
        if compressed.is_err() || bytes.len() > BATCH_BYTES_MAX {
            return Ok(Thinned::Same);
        }
        let mut header = Header {
            length: i32::try_from(bytes.len() - PREFIX_BYTES).unwrap_or(i32::MAX),
            base_timestamp: base,
            max_timestamp: match before.timestamp_kind() {
                TimestampKind::Create => max,
                TimestampKind::LogAppend => before.max_timestamp,
            },
            record_count: count,
            ..before
        };
        if horizon.is_some() {
            header.attributes |= HORIZON;
        }
        seal(&mut bytes, &mut header);
        Self::from_checked(Bytes::from(bytes), header).map(Thinned::Batch)
    }

    /// When compaction may remove the tombstones, or the marker, in the batch; `None` if it has not
    /// seen them yet.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.header().delete_horizon().map(Timestamp::from_millis)
    }
}

/// Appends the record in `bytes` with its timestamp delta `shift` larger.
fn shifted(bytes: &[u8], shift: i64, to: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes;
    varint::read_i32(&mut rest)?;
    let (attributes, mut rest) = rest.split_first()?;
    let delta = varint::read_i64(&mut rest)?.checked_add(shift)?;
    let size = 1 + varint::size(delta) + rest.len();
    varint::write(to, i64::try_from(size).ok()?);
    to.push(*attributes);
    varint::write(to, delta);
    to.extend_from_slice(rest);
    Some(())
}
