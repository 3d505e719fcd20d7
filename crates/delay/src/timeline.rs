//! When the records of one partition became readable: offsets to times, in bounded memory.
//!
//! A span says that the records before `until`, from where the span before it ends, became readable between
//! `first` and `last`; they are all taken as readable at `first`. Publishes within [`GRAIN_MS`] share one.
//! When there are too many spans, neighbours become one where that hides least: where the time between
//! them is a 64th of how long ago they were, or as much more as is needed.
//!
//! Invariants: offsets and times of spans only grow; a record is never said to have become readable later
//! than it did, so no delay is too small. Error: a delay is too large by at most 5 ms, and for records that
//! waited long by at most a 64th of that (while [`SPANS_MAX`] suffice, which they do for a week of constant
//! traffic; unwatched partitions with their [`SPANS_UNWATCHED`] know their past less finely).

use std::collections::VecDeque;

use model::{Offset, Timestamp};

/// Spans of a partition on which some group commits: 24 KiB.
pub const SPANS_MAX: usize = 1_024;

/// Spans of a partition on which nobody has committed yet: 768 bytes.
pub const SPANS_UNWATCHED: usize = 32;

/// Publishes closer than this share a span, in milliseconds.
const GRAIN_MS: i64 = 5;

/// How fine the past is kept at best: a span is this many times shorter than it is old.
const FINE: i64 = 64;

/// The times of one partition's records.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Nothing is known of records before.
    from: Offset,
    spans: VecDeque<Span>,
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    until: Offset,
    first: Timestamp,
    last: Timestamp,
}

impl Timeline {
    /// Of a partition whose high watermark is `from`: nothing is known of what is before.
    pub const fn new(from: Offset) -> Self {
        Self {
            from,
            spans: VecDeque::new(),
            most: SPANS_UNWATCHED,
        }
    }

    /// Somebody commits on this partition: its past is kept finely from now on.
    pub fn watched(&mut self) {
        self.most = SPANS_MAX;
    }

    /// The first offset not known to be readable.
    pub fn end(&self) -> Offset {
        self.spans.back().map_or(self.from, |span| span.until)
    }

    /// The first offset whose time is known.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// Records before `until` became readable by `now`.
    pub fn published(&mut self, until: Offset, now: Timestamp) {
        if until <= self.end() {
            return;
        }
        if let Some(newest) = self.spans.back_mut() {
            let now = now.max(newest.last);
            if now.millis().saturating_sub(newest.first.millis()) < GRAIN_MS {
                (newest.until, newest.last) = (until, now);
                return;
            }
        }
        let now = self.spans.back().map_or(now, |newest| now.max(newest.last));
        self.spans.push_back(Span {
            until,
            first: now,
            last: now,
        });
        if self.spans.len() > self.most {
            self.shorten(now);
        }
    }

    /// What is known of records before [`from`](Self::from) from elsewhere: from `from` on, those before each offset
    /// became readable at the time beside it. Both must grow; what does not is passed over.
    pub fn learn(&mut self, from: Offset, known: &[(Offset, Timestamp)]) {
        if from >= self.from {
            return;
        }
        let bound = self.spans.front().map_or(Timestamp::MAX, |span| span.first);
        let mut learned: Vec<Span> = Vec::new();
        for (until, at) in known {
            let at = (*at).min(bound);
            let before = learned.last();
            let at = before.map_or(at, |before| at.max(before.last));
            let until = (*until).min(self.from);
            if until > before.map_or(from, |before| before.until) {
                learned.push(Span {
                    until,
                    first: at,
                    last: at,
                });
            }
        }
        let Some(last) = learned.last_mut() else {
            return;
        };
        last.until = self.from;
        for span in learned.into_iter().rev() {
            self.spans.push_front(span);
        }
        self.from = from;
        if let Some(newest) = self.spans.back().filter(|_| self.spans.len() > self.most) {
            self.shorten(newest.last);
        }
    }

    /// When the record at `offset` became readable; `None` when it has not, or is before what is known.
    pub fn time_of(&self, offset: Offset) -> Option<Timestamp> {
        if offset < self.from {
            return None;
        }
        let at = self.spans.partition_point(|span| span.until <= offset);
        self.spans.get(at).map(|span| span.first)
    }

    /// How many records of `[from, to)` became readable when, the oldest first. Those of which nothing is known
    /// are left out.
    pub fn times(&self, from: Offset, to: Offset) -> impl Iterator<Item = (Timestamp, u64)> + '_ {
        let mut begin = from.max(self.from);
        let first = self.spans.partition_point(|span| span.until <= begin);
        let spans = self.spans.range(first..);
        spans
            .map_while(move |span| {
                if begin >= to {
                    return None;
                }
                let until = span.until.min(to);
                let count = until.since(begin);
                begin = until.max(begin);
                Some((span.first, count))
            })
            .filter(|(_, count)| *count > 0)
    }

    /// Joins neighbours until a quarter of the room is free.
    fn shorten(&mut self, now: Timestamp) {
        let wanted = self.most * 3 / 4;
        let mut fine = FINE;
        while self.spans.len() > wanted {
            let mut kept: VecDeque<Span> = VecDeque::with_capacity(self.most + 1);
            for span in self.spans.drain(..) {
                if let Some(before) = kept.back_mut() {
                    let age = now.millis().saturating_sub(span.last.millis());
                    let wide = span.last.millis().saturating_sub(before.first.millis());
                    // Below one in `FINE` there is nothing left to compare with: any two are joined.
                    if fine == 0 || wide.saturating_mul(fine) <= age {
                        (before.until, before.last) = (span.until, span.last);
                        continue;
                    }
                }
                kept.push_back(span);
            }
            self.spans = kept;
            if fine == 0 {
                return;
            }
            fine /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn offset(offset: u64) -> Offset {
        Offset::new(offset)
    }

    fn times(timeline: &Timeline, from: u64, to: u64) -> Vec<(i64, u64)> {
        let times = timeline.times(offset(from), offset(to));
        times.map(|(at, count)| (at.millis(), count)).collect()
    }

    #[test]
    fn records_have_the_time_of_their_publish() {
        let mut timeline = Timeline::new(offset(10));
        timeline.published(offset(20), at(100));
        timeline.published(offset(25), at(104));
        timeline.published(offset(30), at(105));
        timeline.published(offset(30), at(500));
        assert_eq!(times(&timeline, 0, 99), [(100, 15), (105, 5)]);
        assert_eq!(times(&timeline, 12, 27), [(100, 13), (105, 2)]);
        assert_eq!(times(&timeline, 30, 40), []);
        assert_eq!(timeline.time_of(offset(9)), None);
        assert_eq!(timeline.time_of(offset(24)), Some(at(100)));
        assert_eq!(timeline.time_of(offset(30)), None);
        assert_eq!(timeline.end(), offset(30));
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let mut timeline = Timeline::new(Offset::ZERO);
        timeline.published(offset(1), at(1_000));
        timeline.published(offset(2), at(200));
        timeline.published(offset(3), at(1_010));
        assert_eq!(times(&timeline, 0, 3), [(1_000, 2), (1_010, 1)]);
    }

    #[test]
    fn what_was_before_can_be_learned() {
        let mut timeline = Timeline::new(offset(100));
        timeline.published(offset(110), at(5_000));
        // Times that go back, and one in the future, are of clocks that were wrong.
        let known = [(50, 1_000), (60, 900), (80, 9_000)].map(|(to, time)| (offset(to), at(time)));
        timeline.learn(offset(40), &known);
        assert_eq!(
            times(&timeline, 0, 110),
            [(1_000, 10), (1_000, 10), (5_000, 40), (5_000, 10)]
        );
        assert_eq!(timeline.from(), offset(40));
        timeline.learn(offset(45), &known);
        assert_eq!(timeline.from(), offset(40), "once is enough");
    }

    proptest! {
        /// Whatever came when: no record is said to be younger than it is, and none much older.
        #[test]
        fn no_delay_is_too_small_and_none_much_too_large(
            // Runs of publishes: how many, how far apart.
            runs in prop::collection::vec((1_u64..400, prop::sample::select(vec![0_i64, 1, 7, 50, 1_000, 60_000])), 1..40),
            wait in prop::sample::select(vec![0_i64, 3, 1_000, 3_600_000]),
        ) {
            let mut timeline = Timeline::new(Offset::ZERO);
            timeline.watched();
            let mut truth = Vec::new();
            let mut now = 0;
            for (count, apart) in runs {
                for _ in 0..count {
                    now += apart;
                    truth.push(now);
                    timeline.published(offset(truth.len() as u64), at(now));
                }
            }
            prop_assert!(timeline.spans.len() <= SPANS_MAX);
            let asked = now + wait;
            let mut seen = 0;
            for (said, count) in timeline.times(Offset::ZERO, offset(u64::MAX)) {
                for _ in 0..count {
                    let (exact, found) = (asked - truth[seen], asked - said.millis());
                    prop_assert!(exact <= found, "record {}: {} {}", seen, exact, found);
                    // Twice the usual: paces that change this much may take more room than there is at one in `FINE`.
                    prop_assert!(found <= exact + GRAIN_MS + exact * 2 / FINE, "record {}: {} {}", seen, exact, found);
                    prop_assert_eq!(timeline.time_of(offset(seen as u64)), Some(said));
                    seen += 1;
                }
            }
            prop_assert_eq!(seen, truth.len(), "every record has a time");
        }

        /// With little room it is coarse, not wrong.
        #[test]
        fn an_unwatched_partition_stays_small(apart in prop::collection::vec(0_i64..10_000, 1..500)) {
            let mut timeline = Timeline::new(Offset::ZERO);
            let mut now = 0;
            for (count, apart) in apart.iter().enumerate() {
                now += apart;
                timeline.published(offset(count as u64 + 1), at(now));
                prop_assert!(timeline.spans.len() <= SPANS_UNWATCHED);
                prop_assert!(timeline.time_of(offset(count as u64)).is_some_and(|said| said <= at(now)));
            }
            prop_assert_eq!(timeline.times(Offset::ZERO, offset(u64::MAX)).map(|(_, count)| count).sum::<u64>(), apart.len() as u64);
        }
    }

    #[test]
    fn a_week_of_constant_traffic_stays_fine() {
        let mut timeline = Timeline::new(Offset::ZERO);
        timeline.watched();
        // Ever further apart, so that the test is short: the age of a span is what counts.
        let (mut now, mut count) = (0, 0);
        while now < 7 * 86_400_000 {
            now += 5 + now / 2_000;
            count += 1;
            timeline.published(offset(count), at(now));
        }
        assert!(timeline.spans.len() <= SPANS_MAX);
    }
}
