//! What becomes of a batch.
//!
//! ```text
//!  data     of an aborted transaction ── no record stays
//!           else: a record stays if it has no key, or none of its key comes after it,
//!                 unless it is a tombstone whose horizon is reached
//!           no record stays ── the producer's last batch ── stays without records
//!                           └─ another ── goes
//!  marker   records of its transaction are there, or it is the last of its producer ── stays
//!           else: gets a horizon, and goes when that is reached
//! ```

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use model::{Offset, Outcome, Timestamp};
use record::{CheckedBatch, Header, Record, Records, Thinned};

use super::OffsetMap;
use crate::transactions::{concerns, is_control};
use crate::{AbortedRange, Error};

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Fate {
    Stays,
    Goes,
    Becomes(CheckedBatch),
}

/// Which records were aborted.
#[derive(Debug)]
pub(super) struct Aborted {
    /// By producer, in order.
    ranges: HashMap<i64, Vec<(Offset, Offset)>>,
}

impl Aborted {
    pub(super) fn new(all: &[AbortedRange]) -> Self {
        let mut ranges: HashMap<i64, Vec<(Offset, Offset)>> = HashMap::new();
        for range in all {
            let of = ranges.entry(range.producer_id).or_default();
            of.push((range.first, range.last));
        }
        for of in ranges.values_mut() {
            of.sort_unstable();
        }
        Self { ranges }
    }

    /// Whether the records of a batch were.
    pub(super) fn has(&self, header: &Header) -> bool {
        if !concerns(header) {
            return false;
        }
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let ranges = self.ranges.get(&header.producer_id);
        ranges.is_some_and(|ranges| {
            let after = ranges.partition_point(|(first, _)| *first <= base);
            let range = after.checked_sub(1).and_then(|at| ranges.get(at));
            range.is_some_and(|(_, marker)| base < *marker)
        })
    }
}

/// What decides, from batch to batch in the order of the log.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) map: OffsetMap,
    /// The map knows every record before this.
    pub(super) until: Offset,
    aborted: Aborted,
    last_offsets: HashMap<i64, (i16, Option<Offset>)>,
    now: Timestamp,
    /// The horizon of what is first cleaned now.
    horizon: Timestamp,
    /// Producers with records of a transaction whose marker was not reached yet.
    open: HashSet<i64>,
    /// The first horizon that is still to be reached.
    pub(super) next_horizon: Option<Timestamp>,
    /// Markers of aborted transactions that went, since this was emptied last.
    pub(super) gone_markers: Vec<Offset>,
    pub(super) removed_records: u64,
}

impl Judge {
    pub(super) fn new(
        map: OffsetMap,
        until: Offset,
        aborted: Aborted,
        last_offsets: HashMap<i64, (i16, Option<Offset>)>,
        (now, horizon): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            map,
            until,
            aborted,
            last_offsets,
            now,
            horizon,
            open: HashSet::new(),
            next_horizon: None,
            gone_markers: Vec::new(),
            removed_records: 0,
        }
    }

    pub(super) fn judge(&mut self, header: &Header, bytes: &[u8]) -> Result<Fate, Error> {
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        if base >= self.until {
            return Ok(Fate::Stays);
        }
        if header.record_count == 0 {
            let stays = header.producer_id >= 0 && self.is_last(header);
            return Ok(if stays { Fate::Stays } else { Fate::Goes });
        }
        let malformed = |source| Error::Batch {
            offset: base,
            source,
        };
        let batch = CheckedBatch::parse(Bytes::copy_from_slice(bytes));
        let (batch, _) = batch.map_err(malformed)?;
        if is_control(header) {
            return self.judge_marker(&batch).map_err(malformed);
        }
        self.judge_data(&batch).map_err(malformed)
    }

    fn judge_marker(&mut self, batch: &CheckedBatch) -> Result<Fate, record::Error> {
        let has_records = self.open.remove(&batch.producer_id());
        if has_records || self.is_last(batch.header()) {
            return Ok(Fate::Stays);
        }
        match batch.delete_horizon() {
            Some(horizon) if horizon <= self.now => {
                if batch.outcome() == Some(Outcome::Abort) {
                    self.gone_markers.push(batch.base_offset());
                }
                Ok(Fate::Goes)
            }
            Some(horizon) => {
                self.note_horizon(horizon);
                Ok(Fate::Stays)
            }
            None => self.thin(batch, &batch.records()?, &[true], true),
        }
    }

    fn judge_data(&mut self, batch: &CheckedBatch) -> Result<Fate, record::Error> {
        if self.aborted.has(batch.header()) {
            return Ok(self.without_records(batch));
        }
        let reached = batch.delete_horizon().is_some_and(|at| at <= self.now);
        let records = batch.records()?;
        let mut keep = Vec::new();
        let (mut kept, mut tombstones) = (0_u32, false);
        for record in &records {
            let record = record?;
            let tombstone = record.key.is_some() && record.value.is_none();
            let stays = self.is_latest(&record) && !(tombstone && reached);
            kept += u32::from(stays);
            tombstones |= stays && tombstone;
            keep.push(stays);
        }
        if kept == 0 {
            return Ok(self.without_records(batch));
        }
        if concerns(batch.header()) {
            self.open.insert(batch.producer_id());
        }
        // Of a batch that the map knows in part something may still come after.
        let fresh =
            tombstones && batch.delete_horizon().is_none() && batch.next_offset() <= self.until;
        if tombstones && let Some(horizon) = batch.delete_horizon() {
            self.note_horizon(horizon);
        }
        if kept == batch.record_count() && !fresh {
            return Ok(Fate::Stays);
        }
        self.thin(batch, &records, &keep, fresh)
    }

    fn thin(
        &mut self,
        batch: &CheckedBatch,
        records: &Records,
        keep: &[bool],
        fresh: bool,
    ) -> Result<Fate, record::Error> {
        let mut keep = keep.iter();
        let stays = |_: &Record<'_>| keep.next().is_some_and(|stays| *stays);
        let horizon = fresh.then_some(self.horizon);
        Ok(match batch.thinned(records, stays, horizon)? {
            Thinned::Same => Fate::Stays,
            Thinned::Empty => self.without_records(batch),
            Thinned::Batch(thinned) => {
                if fresh {
                    self.note_horizon(self.horizon);
                }
                self.removed_records += u64::from(batch.record_count() - thinned.record_count());
                Fate::Becomes(thinned)
            }
        })
    }

    fn without_records(&mut self, batch: &CheckedBatch) -> Fate {
        self.removed_records += u64::from(batch.record_count());
        if batch.producer_id() >= 0 && self.is_last(batch.header()) {
            Fate::Becomes(batch.emptied())
        } else {
            Fate::Goes
        }
    }

    fn is_latest(&self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return true };
        record.offset >= self.until || self.map.get(key).is_none_or(|last| last <= record.offset)
    }

    /// Whether a producer is known by this batch: its last in its epoch, or the marker that began that.
    fn is_last(&self, header: &Header) -> bool {
        let Some((epoch, last)) = self.last_offsets.get(&header.producer_id) else {
            return false;
        };
        if header.producer_epoch != *epoch {
            return false;
        }
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        match last {
            Some(last) => base.plus(header.offsets()) == last.next(),
            None => is_control(header),
        }
    }

    fn note_horizon(&mut self, horizon: Timestamp) {
        // One that was reached, and stays for another reason, is nothing to wake up for.
        if horizon > self.now || horizon == self.horizon {
            let first = self
                .next_horizon
                .map_or(horizon, |first| first.min(horizon));
            self.next_horizon = Some(first);
        }
    }
}
