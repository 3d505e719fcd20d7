//! The sparse index of one segment: an entry per 4 to 64 KiB, for offsets and times alike.
//!
//! A cache, never evidence: whoever follows an entry checks the batch found there. It may be kept in
//! a file beside the segment, never synced; one that is doubtful is rebuilt from the log.
//!
//! ```text
//!  "LNIX" │ version 1 (u32) │ base offset (u64) │ log bytes covered (u64) │ entries (u32) │
//!  { offset - base (u32) │ position (u32) │ largest timestamp before it (i64) }* │ crc32c (u32)
//! ```

use model::{Offset, Timestamp};

use crate::wire::{self, Fields};

/// Bytes of log between two entries, at least, in a segment's first 8 MiB. A read begins at an entry, so half an interval is read in
/// vain.
const INTERVAL_MIN: u64 = 4 << 10;
/// The same from 128 MiB on: a full segment of 256 MiB has 10,000 entries.
const INTERVAL_MAX: u64 = 64 << 10;
/// Between those, the interval is such a part of what is before it.
const INTERVAL_PART: u64 = 2_048;

const MAGIC: [u8; 4] = *b"LNIX";
const VERSION: u32 = 1;
const ENTRY_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: u32,
    position: u32,
    /// The largest timestamp of all batches before this one in the segment.
    max_before: i64,
}

/// The index of one segment. Entries grow in all three fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    max: Option<i64>,
}

impl Index {
    /// Notes a batch; batches come in order.
    pub(crate) fn push(
        &mut self,
        segment: Offset,
        base: Offset,
        position: u64,
        max_timestamp: Timestamp,
    ) {
        let max = self.max.unwrap_or(i64::MIN);
        let interval = (position / INTERVAL_PART).clamp(INTERVAL_MIN, INTERVAL_MAX);
        let due = self
            .entries
            .last()
            .is_none_or(|last| position.saturating_sub(u64::from(last.position)) >= interval);
        let narrow = (u32::try_from(base.since(segment)), u32::try_from(position));
        if let (true, (Ok(offset), Ok(position))) = (due, narrow) {
            self.entries.push(Entry {
                offset,
                position,
                max_before: max,
            });
        }
        self.max = Some(max.max(max_timestamp.millis()));
    }

    /// A place at or before the batch that holds `offset`: its base offset and position.
    pub(crate) fn by_offset(&self, segment: Offset, offset: Offset) -> (Offset, u64) {
        let relative = u32::try_from(offset.since(segment)).unwrap_or(u32::MAX);
        let after = self
            .entries
            .partition_point(|entry| entry.offset <= relative);
        self.place(segment, after)
    }

    /// A place before which every timestamp is smaller than `time`.
    pub(crate) fn by_time(&self, segment: Offset, time: Timestamp) -> (Offset, u64) {
        let after = self
            .entries
            .partition_point(|entry| entry.max_before < time.millis());
        self.place(segment, after)
    }

    fn place(&self, segment: Offset, after: usize) -> (Offset, u64) {
        match after.checked_sub(1).and_then(|last| self.entries.get(last)) {
            Some(entry) => (
                segment.plus(u64::from(entry.offset)),
                u64::from(entry.position),
            ),
            None => (segment, 0),
        }
    }

    /// The index as it was when the segment had `size` bytes with times up to `max_timestamp`.
    pub(crate) fn until(&self, size: u64, max_timestamp: Timestamp) -> Self {
        let length = self
            .entries
            .partition_point(|entry| u64::from(entry.position) < size);
        Self {
            entries: self.entries.iter().take(length).copied().collect(),
            max: self.max.map(|_| max_timestamp.millis()),
        }
    }

    /// Notes that there are batches up to this time which were not pushed, so that later entries tell the truth
    /// about what is before them.
    pub(crate) fn reach(&mut self, max_timestamp: Timestamp) {
        let max = self.max.unwrap_or(i64::MIN);
        self.max = Some(max.max(max_timestamp.millis()));
    }

    /// The bytes to keep beside `covered` bytes of the segment.
    pub(crate) fn encode(&self, segment: Offset, covered: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.entries.len() * ENTRY_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&segment.get().to_le_bytes());
        bytes.extend_from_slice(&covered.to_le_bytes());
        let max = self.max.unwrap_or(i64::MIN);
        bytes.extend_from_slice(&max.to_le_bytes());
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.position.to_le_bytes());
            bytes.extend_from_slice(&entry.max_before.to_le_bytes());
        }
        wire::seal(&mut bytes);
        bytes
    }

    /// How many bytes of this segment the index in `bytes` covers, if it is whole.
    pub(crate) fn covers(bytes: &[u8], segment: Offset) -> Option<u64> {
        let mut fields = Fields(wire::unseal(bytes)?);
        let right = fields.take() == Some(MAGIC)
            && fields.u32() == Some(VERSION)
            && fields.u64() == Some(segment.get());
        let covered = right.then(|| fields.u64())??;
        Self::decode(bytes, segment, covered).map(|_| covered)
    }

    /// The index in `bytes` if it is whole and covers exactly this much of this segment.
    pub(crate) fn decode(bytes: &[u8], segment: Offset, covered: u64) -> Option<Self> {
        let mut fields = Fields(wire::unseal(bytes)?);
        let right = fields.take() == Some(MAGIC)
            && fields.u32() == Some(VERSION)
            && fields.u64() == Some(segment.get())
            && fields.u64() == Some(covered);
        if !right {
            return None;
        }
        let max = fields.i64()?;
        let count = usize::try_from(fields.u32()?).ok()?;
        if fields.0.len() != count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(Entry {
                offset: fields.u32()?,
                position: fields.u32()?,
                max_before: fields.i64()?,
            });
        }
        let grows = entries.is_sorted_by(|one, next| {
            one.offset < next.offset
                && one.position < next.position
                && one.max_before <= next.max_before
        });
        let within = |last: &Entry| u64::from(last.position) < covered;
        if !grows || !entries.last().is_none_or(within) {
            return None;
        }
        Some(Self {
            max: (max != i64::MIN).then_some(max),
            entries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for batch in 0..10_u64 {
            let time = Timestamp::from_millis(i64::try_from(1_000 + batch).unwrap());
            index.push(
                Offset::new(100),
                Offset::new(100 + batch * 5),
                batch * 3_000,
                time,
            );
        }
        index
    }

    #[test]
    fn a_place_is_at_or_before_what_is_looked_for() {
        let index = index();
        let by_offset = |offset| index.by_offset(Offset::new(100), Offset::new(offset)).1;
        assert_eq!(
            [
                by_offset(100),
                by_offset(109),
                by_offset(110),
                by_offset(149)
            ],
            [0, 0, 6_000, 24_000]
        );
        let by_time = |time| {
            index
                .by_time(Offset::new(100), Timestamp::from_millis(time))
                .1
        };
        assert_eq!(
            [by_time(0), by_time(1_001), by_time(1_002), by_time(9_999)],
            [0, 0, 6_000, 24_000]
        );
    }

    #[test]
    fn the_index_of_a_full_segment_is_small_and_leads_near() {
        let mut index = Index::default();
        let (size, full) = (1_000, 256_u64 << 20);
        for batch in 0..full / size {
            index.push(
                Offset::ZERO,
                Offset::new(batch),
                batch * size,
                Timestamp::from_millis(0),
            );
        }
        assert!(index.entries.len() < 10_500, "{}", index.entries.len());
        for batch in (0..full / size).step_by(97) {
            let (base, position) = index.by_offset(Offset::ZERO, Offset::new(batch));
            assert_eq!(base.get() * size, position);
            let before = batch * size - position;
            let near = (batch * size / 1_024).clamp(2 * INTERVAL_MIN, INTERVAL_MAX + size);
            assert!(
                before <= near,
                "{before} bytes before that of {}",
                batch * size
            );
        }
    }

    #[test]
    fn a_kept_index_is_taken_only_for_the_same_bytes_of_log() {
        let index = index();
        let bytes = index.encode(Offset::new(100), 30_000);
        assert_eq!(Index::decode(&bytes, Offset::new(100), 30_000), Some(index));
        assert_eq!(Index::decode(&bytes, Offset::new(100), 30_001), None);
        assert_eq!(Index::decode(&bytes, Offset::new(101), 30_000), None);
        for cut in 0..bytes.len() {
            assert_eq!(Index::decode(&bytes[..cut], Offset::new(100), 30_000), None);
        }
        let mut flipped = bytes.clone();
        flipped[40] ^= 1;
        assert_eq!(Index::decode(&flipped, Offset::new(100), 30_000), None);
    }

    #[test]
    fn an_index_that_does_not_grow_or_leads_out_of_the_segment_is_none_whatever_its_checksum() {
        let sealed = |change: fn(&mut Vec<Entry>)| {
            let mut index = index();
            change(&mut index.entries);
            let bytes = index.encode(Offset::new(100), 30_000);
            Index::decode(&bytes, Offset::new(100), 30_000)
        };
        assert!(sealed(|_| ()).is_some());
        assert_eq!(sealed(|entries| entries[4].position = 30_000), None);
        assert_eq!(sealed(|entries| entries[1].position = 0), None);
        assert_eq!(sealed(|entries| entries.swap(1, 2)), None);
        assert_eq!(sealed(|entries| entries[3].max_before = i64::MIN), None);
    }
}
