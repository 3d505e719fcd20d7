//! Finding records by time, exactly: the index leads to the batch, its records decide.

use bytes::Bytes;
use model::{Offset, Timestamp};
use record::{CheckedBatch, Record};

use crate::reader::walk_batches;
use crate::segment::Segment;
use crate::{Error, LogReader, Marks};

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
}

impl LogReader {
    /// The first readable record, in offset order, whose timestamp is `time` or later. Damaged
    /// batches are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Batch`].
    pub fn find_time(&self, time: Timestamp) -> Result<Option<Found>, Error> {
        let marks = self.marks();
        let damage = self.shared.damage();
        for segment in self.shared.segments() {
            let summary = segment.summary();
            if summary.next <= marks.log_start || summary.max_timestamp < time {
                continue;
            }
            let start = segment.by_time(time, &damage)?;
            self.shared.note_index(&segment);
            let found = walk_batches(
                &segment,
                &damage,
                start,
                marks.high_watermark,
                |header, bytes| {
                    if header.max_timestamp < time.millis() {
                        return Ok(None);
                    }
                    first_record(bytes, |record| {
                        record.offset >= marks.log_start && record.timestamp >= time
                    })
                },
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The readable record with the largest timestamp, the first of them if there are several.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Batch`].
    pub fn max_timestamp(&self) -> Result<Option<Found>, Error> {
        let marks = self.marks();
        let damage = self.shared.damage();
        let mut best: Option<Found> = None;
        for segment in self.shared.segments() {
            let summary = segment.summary();
            if summary.next <= marks.log_start || segment.base() >= marks.high_watermark {
                continue;
            }
            if best.is_some_and(|best| best.timestamp >= summary.max_timestamp) {
                continue;
            }
            let found = if within(&segment, marks) {
                let start = segment.by_offset(summary.max_batch, &damage)?;
                walk_batches(&segment, &damage, start, summary.next, |header, bytes| {
                    if header.max_timestamp < summary.max_timestamp.millis() {
                        return Ok(None);
                    }
                    first_record(bytes, |record| record.timestamp >= summary.max_timestamp)
                })?
            } else {
                max_between(&segment, &damage, marks)?
            };
            self.shared.note_index(&segment);
            if let Some(found) = found
                && best.is_none_or(|best| found.timestamp > best.timestamp)
            {
                best = Some(found);
            }
        }
        Ok(best)
    }
}

/// Whether all of a segment is readable, so that its summary speaks for it.
fn within(segment: &Segment, marks: Marks) -> bool {
    segment.base() >= marks.log_start && segment.summary().next <= marks.high_watermark
}

/// Looks at every batch between the marks.
fn max_between(
    segment: &Segment,
    damage: &[crate::Damage],
    marks: Marks,
) -> Result<Option<Found>, Error> {
    let mut best: Option<Found> = None;
    let start = segment.by_offset(marks.log_start, damage)?;
    walk_batches(
        segment,
        damage,
        start,
        marks.high_watermark,
        |header, bytes| -> Result<Option<()>, Error> {
            if best.is_some_and(|best| best.timestamp.millis() >= header.max_timestamp) {
                return Ok(None);
            }
            for_each(bytes, |record| {
                if record.offset >= marks.log_start
                    && best.is_none_or(|best| record.timestamp > best.timestamp)
                {
                    best = Some(found(&record));
                }
                false
            })?;
            Ok(None)
        },
    )?;
    Ok(best)
}

fn found(record: &Record<'_>) -> Found {
    Found {
        offset: record.offset,
        timestamp: record.timestamp,
    }
}

fn first_record(
    bytes: &[u8],
    wanted: impl Fn(&Record<'_>) -> bool,
) -> Result<Option<Found>, Error> {
    let mut first = None;
    for_each(bytes, |record| {
        if wanted(&record) {
            first = Some(found(&record));
        }
        first.is_some()
    })?;
    Ok(first)
}

/// Calls `visit` with every record of the batch until it answers true.
fn for_each(bytes: &[u8], mut visit: impl FnMut(Record<'_>) -> bool) -> Result<(), Error> {
    let batch = CheckedBatch::parse(Bytes::copy_from_slice(bytes));
    let (batch, _) = batch.map_err(|source| Error::Batch {
        offset: Offset::ZERO,
        source,
    })?;
    let malformed = |source| Error::Batch {
        offset: batch.base_offset(),
        source,
    };
    for record in &batch.records().map_err(malformed)? {
        if visit(record.map_err(malformed)?) {
            break;
        }
    }
    Ok(())
}
