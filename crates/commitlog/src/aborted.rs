//! Which ranges of a log were aborted: what readers of committed records must leave out.
//!
//! A cache, never evidence: it is the replay of the log's markers, and the checkpoint carries it only
//! so that a start need not scan. Memory keeps the newest [`RANGES_MAX`] ranges. Who reads older
//! records than those cover makes one walk over the log's batches, which is exact, and keeps what it
//! found as a page, so that reading on costs no walk per read.
//!
//! Invariant: [`AbortedIndex::find`] answers all ranges or none.

use std::collections::VecDeque;

use model::Offset;

use crate::reader::walk_batches;
use crate::transactions::{Transactions, concerns};
use crate::wire::Fields;
use crate::{Error, LogReader};
use record::CheckedBatch;

/// Ranges kept in memory per log, and in the page of what is older: 24 bytes each.
pub(crate) const RANGES_MAX: usize = 16_384;

/// Records of one aborted transaction in a log: those of this producer, marked as part of a
/// transaction, in `first..last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedRange {
    /// Whose records.
    pub producer_id: i64,
    /// The first of them.
    pub first: Offset,
    /// The marker after the last.
    pub last: Offset,
}

impl AbortedRange {
    fn touches(&self, from: Offset, until: Offset) -> bool {
        self.last >= from && self.first < until
    }
}

#[derive(Debug, Default)]
pub(crate) struct AbortedIndex {
    /// By marker.
    ranges: VecDeque<AbortedRange>,
    /// Ranges whose marker is before this may be missing.
    complete_from: Offset,
    page: Option<Page>,
}

/// Ranges that were forgotten, found again.
#[derive(Debug)]
struct Page {
    from: Offset,
    until: Offset,
    ranges: Vec<AbortedRange>,
}

impl AbortedIndex {
    pub(crate) fn push(&mut self, range: AbortedRange) {
        if self.ranges.len() >= RANGES_MAX
            && let Some(oldest) = self.ranges.pop_front()
        {
            self.complete_from = oldest.last.next();
        }
        self.ranges.push_back(range);
    }

    /// All ranges that touch `from..until`, or `None` when that is not known.
    pub(crate) fn find(&self, from: Offset, until: Offset) -> Option<Vec<AbortedRange>> {
        if from >= self.complete_from {
            let begin = self.ranges.partition_point(|range| range.last < from);
            let ranges = self.ranges.iter().skip(begin);
            return Some(touching(ranges, from, until));
        }
        let page = self.page.as_ref()?;
        let inside = page.from <= from && until <= page.until;
        inside.then(|| touching(page.ranges.iter(), from, until))
    }

    /// Forgets what lies wholly before `log_start`.
    pub(crate) fn start_at(&mut self, log_start: Offset) {
        let gone = self.ranges.partition_point(|range| range.last < log_start);
        self.ranges.drain(..gone);
        if self
            .page
            .as_ref()
            .is_some_and(|page| page.until <= log_start)
        {
            self.page = None;
        }
    }

    /// Forgets ranges whose markers are gone: a reader who is told of one would wait for its marker,
    /// and leave out what the producer wrote after it.
    pub(crate) fn forget(&mut self, markers: &[Offset]) {
        self.ranges
            .retain(|range| markers.binary_search(&range.last).is_err());
        self.page = None;
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.complete_from.get().to_le_bytes());
        let count = u32::try_from(self.ranges.len()).unwrap_or(u32::MAX);
        to.extend_from_slice(&count.to_le_bytes());
        for range in &self.ranges {
            to.extend_from_slice(&range.producer_id.to_le_bytes());
            to.extend_from_slice(&range.first.get().to_le_bytes());
            to.extend_from_slice(&range.last.get().to_le_bytes());
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let mut decoded = Self {
            complete_from: Offset::new(fields.u64()?),
            ..Self::default()
        };
        for _ in 0..fields.u32()? {
            decoded.push(AbortedRange {
                producer_id: fields.i64()?,
                first: Offset::new(fields.u64()?),
                last: Offset::new(fields.u64()?),
            });
        }
        Some(decoded)
    }
}

fn touching<'a>(
    ranges: impl Iterator<Item = &'a AbortedRange>,
    from: Offset,
    until: Offset,
) -> Vec<AbortedRange> {
    ranges
        .filter(|range| range.touches(from, until))
        .copied()
        .collect()
}

impl LogReader {
    /// Walks the log from its start to find every range that touches `from..until`, and as much
    /// beyond as a page holds.
    pub(crate) fn page_of_aborted(
        &self,
        from: Offset,
        until: Offset,
    ) -> Result<Vec<AbortedRange>, Error> {
        let end = self.marks().high_watermark;
        let mut walk = Walk {
            from,
            until,
            page_until: None,
            state: Transactions::default(),
            ranges: Vec::new(),
        };
        let damage = self.shared.damage();
        for segment in self.shared.segments() {
            let start = (segment.base(), 0);
            let done = walk_batches(&segment, &damage, start, end, |header, bytes| {
                if walk.is_done(Offset::from_i64(header.base_offset).unwrap_or_default()) {
                    return Ok(Some(()));
                }
                if concerns(header) {
                    walk.see(header, bytes);
                }
                Ok(None)
            })?;
            if done.is_some() {
                break;
            }
        }
        let found = touching(walk.ranges.iter(), from, until);
        self.shared.aborted.write().page = Some(Page {
            from,
            until: walk.page_until.unwrap_or(end),
            ranges: walk.ranges,
        });
        Ok(found)
    }
}

struct Walk {
    from: Offset,
    until: Offset,
    /// Where the page ends, once it is full: only transactions that began before matter from there.
    page_until: Option<Offset>,
    state: Transactions,
    ranges: Vec<AbortedRange>,
}

impl Walk {
    fn is_done(&mut self, at: Offset) -> bool {
        if self.page_until.is_none() && self.ranges.len() >= RANGES_MAX && at >= self.until {
            self.page_until = Some(at);
        }
        let Some(until) = self.page_until else {
            return false;
        };
        self.state.unstable().is_none_or(|first| first >= until)
    }

    fn see(&mut self, header: &record::Header, bytes: &[u8]) {
        let outcome = outcome_of(header, bytes);
        let aborted = self.state.replay(header, outcome);
        let until = self.page_until.unwrap_or(Offset::new(u64::MAX));
        if let Some(range) = aborted.filter(|range| range.touches(self.from, until)) {
            self.ranges.push(range);
        }
    }
}

/// What the batch in `bytes` marks the end of, if it is a marker.
pub(crate) fn outcome_of(header: &record::Header, bytes: &[u8]) -> Option<model::Outcome> {
    if !crate::transactions::is_control(header) {
        return None;
    }
    let (batch, _) = CheckedBatch::parse(bytes::Bytes::copy_from_slice(bytes)).ok()?;
    batch.outcome()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> AbortedRange {
        AbortedRange {
            producer_id: 1,
            first: Offset::new(first),
            last: Offset::new(last),
        }
    }

    #[test]
    fn ranges_that_touch_what_is_read_are_found() {
        let mut index = AbortedIndex::default();
        for (first, last) in [(0, 3), (5, 6), (2, 9), (12, 14)] {
            index.push(range(first, last));
        }
        let find = |from, until| {
            let found = index.find(Offset::new(from), Offset::new(until)).unwrap();
            found
                .iter()
                .map(|range| range.first.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(find(0, 20), [0, 5, 2, 12]);
        assert_eq!(find(4, 5), [2], "one that began before and ends after");
        assert_eq!(find(3, 12), [0, 5, 2], "its marker is read too");
        assert_eq!(find(10, 12), []);
    }

    #[test]
    fn what_has_no_room_is_said_to_be_unknown_and_what_is_gone_is_forgotten() {
        let mut index = AbortedIndex::default();
        let count = u64::try_from(RANGES_MAX).unwrap() + 10;
        for number in 0..count {
            index.push(range(2 * number, 2 * number + 1));
        }
        assert_eq!(index.ranges.len(), RANGES_MAX);
        assert!(index.find(Offset::new(5), Offset::new(9)).is_none());
        assert!(index.find(Offset::new(20), Offset::new(30)).is_some());
        let mut bytes = Vec::new();
        index.encode(&mut bytes);
        let mut decoded = AbortedIndex::decode(&mut Fields(&bytes)).unwrap();
        assert_eq!(decoded.ranges, index.ranges);
        assert!(decoded.find(Offset::new(5), Offset::new(9)).is_none());
        decoded.start_at(Offset::new(2 * count - 3));
        assert_eq!(decoded.ranges.len(), 2);
    }
}
