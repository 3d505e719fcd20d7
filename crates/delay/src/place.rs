//! One group in one partition: how far it is, and how late it was in the last five minutes.
//!
//! Only the first time that a group passes a record counts: after a reset to an earlier place what is read again
//! has no delay, though what waits has its age. A reset to a later place passes what is between, as a commit does:
//! the two cannot be told apart. The first commit of a group says where it begins and passes nothing.
//!
//! Ages of slices that went by are found when somebody commits or looks: while nobody commits, the oldest
//! waiting record is the same one, so its age at the end of each slice follows from one time.

use model::{Offset, Timestamp};

use crate::sketch::{Quantiles, Sketch};
use crate::timeline::Timeline;
use crate::window::{self, Window};

/// A group's place in a partition.
#[derive(Debug, Clone)]
pub struct Place {
    committed: Offset,
    /// The largest offset it committed: records before were passed once.
    furthest: Offset,
    window: Window,
    /// Slices before this one have their age.
    aged: i64,
}

/// What there is to say of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The next record to read.
    pub committed: Offset,
    /// How long ago the oldest record that waits became readable, in milliseconds; 0 where none waits,
    /// `None` where it is not known.
    pub age_ms: Option<u64>,
    /// Of the records passed in the window; `None` where there were none.
    pub delay: Option<Quantiles>,
    /// The slices in which there was something, oldest first.
    pub slices: Vec<SliceSeen>,
}

/// One slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceSeen {
    /// When it began.
    pub begin: Timestamp,
    /// Of the records passed in it.
    pub delay: Option<Quantiles>,
    /// The age at its end, or now in the slice that is not over.
    pub age_ms: Option<u64>,
}

impl SliceSeen {
    /// The one figure that a picture has room for: the 99th percentile of what was passed, or the age of what
    /// waits where that is more. In milliseconds.
    pub fn worst_ms(&self) -> Option<u64> {
        self.delay.map(|delay| delay.p99).max(self.age_ms)
    }
}

impl Place {
    /// A group that is at `committed`, with nothing in its window.
    pub fn new(committed: Offset, now: Timestamp) -> Self {
        Self {
            committed,
            furthest: committed,
            window: Window::default(),
            aged: window::number(now),
        }
    }

    /// The next record to read.
    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// The group committed `to` at `now`.
    pub fn commit(&mut self, to: Offset, now: Timestamp, timeline: &Timeline) {
        self.grow_old(timeline.time_of(self.committed), now);
        self.committed = to;
        if to <= self.furthest {
            return;
        }
        let number = window::number(now).max(self.aged);
        for (readable, count) in timeline.times(self.furthest, to) {
            let sketch = &mut self.window.slice(number).sketch;
            sketch.add(millis(readable, now), count);
        }
        self.furthest = to;
    }

    /// What was passed, by slice.
    pub fn sketches(&self) -> impl Iterator<Item = &Sketch> {
        self.window.iter().map(|(_, slice)| &slice.sketch)
    }

    /// What there is to say at `now`, of a partition whose oldest kept record is `log_start`.
    pub fn look(&mut self, log_start: Offset, now: Timestamp, timeline: &Timeline) -> Seen {
        let next = self.committed.max(log_start);
        let waiting = timeline.time_of(next);
        self.grow_old(waiting, now);
        let current = window::number(now).max(self.aged);
        self.window.forget(current);
        let age_ms = match waiting {
            Some(readable) => Some(millis(readable, now)),
            None if next >= timeline.end() => Some(0),
            None => None,
        };
        let mut slices: Vec<SliceSeen> = self
            .window
            .iter()
            .map(|(number, slice)| SliceSeen {
                begin: window::begin(number),
                delay: slice.sketch.quantiles(),
                age_ms: slice.age_ms,
            })
            .collect();
        if waiting.is_some() {
            let begin = window::begin(current);
            match slices.last_mut().filter(|slice| slice.begin == begin) {
                Some(slice) => slice.age_ms = age_ms,
                None => slices.push(SliceSeen {
                    begin,
                    delay: None,
                    age_ms,
                }),
            }
        }
        Seen {
            committed: self.committed,
            age_ms,
            delay: Quantiles::of(self.sketches()),
            slices,
        }
    }

    /// Gives each slice that is over the age that its oldest waiting record had at its end.
    fn grow_old(&mut self, waiting: Option<Timestamp>, now: Timestamp) {
        let current = window::number(now);
        if current <= self.aged {
            return;
        }
        let first = self.aged.max(window::oldest(current));
        self.aged = current;
        let Some(readable) = waiting else { return };
        for number in first.max(window::number(readable))..current {
            let age = millis(readable, window::begin(number + 1));
            if age > 0 {
                self.window.slice(number).age_ms = Some(age);
            }
        }
    }
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn offset(offset: u64) -> Offset {
        Offset::new(offset)
    }

    fn look(place: &mut Place, now: i64, timeline: &Timeline) -> Seen {
        place.look(Offset::ZERO, at(now), timeline)
    }

    /// Slices as `second: records p99 / age`.
    fn slices(seen: &Seen) -> Vec<String> {
        let text = |slice: &SliceSeen| {
            let delay = slice
                .delay
                .map_or("-".to_owned(), |it| format!("{}x{}", it.records, it.p99));
            let age = slice.age_ms.map_or("-".to_owned(), |age| age.to_string());
            format!("{}: {delay} {age}", slice.begin.millis() / SECOND)
        };
        seen.slices.iter().map(text).collect()
    }

    #[test]
    fn a_window_slides_by_slices_and_forgets_after_five_minutes() {
        let mut timeline = Timeline::new(Offset::ZERO);
        let mut place = Place::new(Offset::ZERO, at(0));
        for second in 0..400_u32 {
            let now = i64::from(second) * SECOND;
            let end = offset(u64::from(second) * 10 + 10);
            timeline.published(end, at(now));
            place.commit(end, at(now + 10), &timeline);
            let seen = look(&mut place, now + 10, &timeline);
            // The slice that is being filled, and the 29 before it.
            let first = (second / 10).saturating_sub(29) * 10;
            let delay = seen.delay.unwrap();
            assert_eq!(
                delay.records,
                u64::from(second - first + 1) * 10,
                "{second}"
            );
            assert_eq!((delay.p50, delay.p99), (10, 10));
            let slices = u32::try_from(seen.slices.len()).unwrap();
            assert_eq!(slices, second / 10 - first / 10 + 1);
            assert_eq!(seen.age_ms, Some(0));
        }
        let seen = look(&mut place, 691 * SECOND, &timeline);
        assert_eq!(seen.delay.map(|it| it.records), None, "all of it is past");
        assert_eq!(seen.slices, []);
    }

    #[test]
    fn a_group_that_stands_still_grows_old() {
        let mut timeline = Timeline::new(Offset::ZERO);
        let mut place = Place::new(Offset::ZERO, at(0));
        timeline.published(offset(5), at(4 * SECOND));
        place.commit(offset(3), at(6 * SECOND), &timeline);
        let seen = look(&mut place, 35 * SECOND, &timeline);
        assert_eq!(
            slices(&seen),
            [
                "0: 3x2047 6000",
                "10: - 16000",
                "20: - 26000",
                "30: - 31000"
            ]
        );
        assert_eq!(seen.age_ms, Some(31_000));
        // It goes on: what waited has its delay, and nothing waits.
        place.commit(offset(5), at(36 * SECOND), &timeline);
        let seen = look(&mut place, 55 * SECOND, &timeline);
        assert_eq!(
            slices(&seen),
            [
                "0: 3x2047 6000",
                "10: - 16000",
                "20: - 26000",
                "30: 2x32767 -"
            ]
        );
        assert_eq!(seen.age_ms, Some(0));
        assert_eq!(seen.slices[3].worst_ms(), Some(32_767));
        assert_eq!(seen.slices[1].worst_ms(), Some(16_000));
        // A record comes, nobody looks for an hour: the window is full of its age.
        timeline.published(offset(6), at(60 * SECOND));
        let seen = look(&mut place, 3_600 * SECOND, &timeline);
        assert_eq!(seen.slices.len(), 30);
        assert_eq!(seen.slices[0].age_ms, Some((3_320 - 60) * 1_000));
        assert_eq!(seen.slices[29].age_ms, Some((3_600 - 60) * 1_000));
    }

    #[test]
    fn only_the_first_time_counts() {
        let mut timeline = Timeline::new(Offset::ZERO);
        timeline.published(offset(10), at(0));
        let mut place = Place::new(offset(4), at(0));
        place.commit(offset(8), at(100), &timeline);
        place.commit(offset(2), at(200), &timeline);
        assert_eq!(look(&mut place, 300, &timeline).age_ms, Some(300));
        place.commit(offset(8), at(1_000), &timeline);
        let seen = look(&mut place, 1_000, &timeline);
        assert_eq!(seen.delay.unwrap().records, 4);
        place.commit(offset(10), at(1_000), &timeline);
        assert_eq!(look(&mut place, 1_000, &timeline).delay.unwrap().records, 6);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let mut timeline = Timeline::new(offset(10));
        let mut place = Place::new(offset(5), at(0));
        assert_eq!(look(&mut place, 10, &timeline).age_ms, None, "5 to 10 wait");
        place.commit(offset(10), at(20), &timeline);
        let seen = look(&mut place, 30, &timeline);
        assert_eq!((seen.age_ms, seen.delay), (Some(0), None));
        // Retention removed what waited: the oldest is the first one kept.
        timeline.published(offset(20), at(40));
        timeline.published(offset(30), at(1_000));
        let seen = place.look(offset(25), at(1_500), &timeline);
        assert_eq!(seen.age_ms, Some(500));
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let mut timeline = Timeline::new(Offset::ZERO);
        let mut place = Place::new(Offset::ZERO, at(100 * SECOND));
        timeline.published(offset(2), at(100 * SECOND));
        place.commit(offset(1), at(50 * SECOND), &timeline);
        let seen = look(&mut place, 101 * SECOND, &timeline);
        assert_eq!(slices(&seen), ["100: 1x0 1000"]);
    }

    proptest! {
        /// Against every record's own delay, over commits of any size at any time.
        #[test]
        fn quantiles_are_those_of_the_records_in_the_window(
            steps in prop::collection::vec((1_usize..50, 0_i64..4_000, 0_usize..70, 0_i64..9_000), 1..120),
        ) {
            let mut timeline = Timeline::new(Offset::ZERO);
            timeline.watched();
            let mut place = Place::new(Offset::ZERO, at(0));
            let (mut published, mut passed) = (Vec::new(), Vec::new());
            let mut now = 0;
            for (more, then, take, later) in steps {
                now += then;
                published.extend(std::iter::repeat_n(now, more));
                timeline.published(offset(published.len() as u64), at(now));
                now += later;
                let to = published.len().min(passed.len() + take);
                for published in &published[passed.len()..to] {
                    passed.push((now, now.abs_diff(*published)));
                }
                place.commit(offset(to as u64), at(now), &timeline);
            }
            let seen = look(&mut place, now, &timeline);
            let oldest = window::begin(window::oldest(window::number(at(now)))).millis();
            let mut delays: Vec<u64> = passed.iter().filter(|(at, _)| *at >= oldest).map(|(_, delay)| *delay).collect();
            delays.sort_unstable();
            match seen.delay {
                None => prop_assert!(delays.is_empty()),
                Some(found) => {
                    prop_assert_eq!(found.records, delays.len() as u64);
                    for (percent, found) in [(50, found.p50), (90, found.p90), (99, found.p99)] {
                        let exact = delays[(delays.len() * percent).div_ceil(100) - 1];
                        // Of the sketch a sixteenth; of the timeline 5 ms and a 64th.
                        let most = exact + 5 + exact / 64;
                        prop_assert!(exact <= found && found <= most + most / 16, "{}: {} {}", percent, exact, found);
                    }
                }
            }
            let age = published.get(passed.len()).map_or(0, |record| now.abs_diff(*record));
            let found = seen.age_ms.unwrap();
            prop_assert!(age <= found && found <= age + 5 + age / 64, "{} {}", age, found);
        }
    }
}
