//! What is known of one partition's log, and the check that its history is linearizable.
//!
//! In general such a check is a search over all orders of concurrent calls. For a log it is not: an
//! append answers with its offset and a read with its high watermark, so the answers themselves say
//! where each call stands in the one possible order (appends by offset, a read behind the records it
//! could see). A history is linearizable exactly if no call that began after another one ended stands
//! before it in that order, and since the order is total it is enough to compare pairs. Comparing with
//! the furthest place of all calls that had ended when this one began does it for all pairs at once:
//! that place is the [`Token`]'s `floor`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TopicPartition;

use super::compacted::{Keys, Rules};
use super::transactions::Transactions;
use crate::reading::Seen;
use crate::text;

/// What was true when a call began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// The log's generation: another one is another topic of that name.
    pub(crate) era: u64,
    /// Nothing this call answers may be before this offset.
    floor: u64,
    /// The same for the high watermark.
    seen_floor: u64,
    /// The same two, as long as the page cache is there.
    cached: (u64, u64),
    /// Which page cache.
    cache: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Value by offset: acknowledged as flushed, or seen where only flushed records are seen.
    certain: BTreeMap<u64, String>,
    /// Value by offset: there as long as the machine runs.
    cached: BTreeMap<u64, String>,
    /// When each value was sent first.
    sent: BTreeMap<String, Duration>,
    /// Markers by offset, of a log that is compacted, and when they were not there yet.
    markers: BTreeMap<u64, Duration>,
    /// When the log was compared last.
    compared: Duration,
    /// Ends of acknowledged appends and high watermarks read: those that a power cut keeps, and all.
    floor: u64,
    floor_cached: u64,
    seen: u64,
    seen_cached: u64,
    /// How often the page cache was lost.
    cache: u64,
    /// The system took clean pages back, maybe such as a failed sync never wrote: what readers of written records see may be in
    /// the broker's memory alone until the next start.
    pages_dropped: bool,
    /// The log start that was acknowledged, and the largest that was asked for.
    start: u64,
    start_asked: u64,
}

/// What a reader sees of a whole log, when nobody else is at work.
#[derive(Debug)]
pub(crate) struct Look<'s> {
    pub(crate) seen: &'s [Seen],
    pub(crate) start: u64,
    pub(crate) high_watermark: u64,
    /// Its topic shows flushed records only.
    pub(crate) certain: bool,
    /// Its start moves only when that is asked for.
    pub(crate) bounded: bool,
    /// Records may be missing.
    pub(crate) excused: bool,
    /// It is compacted.
    pub(crate) compacted: Option<Rules>,
}

impl Log {
    /// A call begins.
    pub(crate) fn begin(&self, era: u64) -> Token {
        Token {
            era,
            floor: self.floor,
            seen_floor: self.seen,
            cached: (self.floor_cached, self.seen_cached),
            cache: self.cache,
        }
    }

    /// What held when a call began and must hold still: floors of offsets and of high watermarks.
    fn floors(&self, token: Token) -> (u64, u64) {
        if token.cache == self.cache {
            let (floor, seen) = token.cached;
            (token.floor.max(floor), token.seen_floor.max(seen))
        } else {
            (token.floor, token.seen_floor)
        }
    }

    pub(crate) fn send(&mut self, now: Duration, values: &[String]) {
        for value in values {
            self.sent.entry(value.clone()).or_insert(now);
        }
    }

    /// An append was acknowledged at `base`.
    pub(crate) fn appended(
        &mut self,
        of: &TopicPartition,
        token: Token,
        base: u64,
        values: &[String],
        flushed: bool,
    ) {
        let (floor, _) = self.floors(token);
        assert!(
            base >= floor,
            "{of}: an append is at {base}, and began when {floor} was known"
        );
        let mut offset = base;
        for value in values {
            self.learn(of, offset, value, flushed);
            offset += 1;
        }
        if flushed {
            self.floor = self.floor.max(offset);
            self.seen = self.seen.max(offset);
        } else {
            self.floor_cached = self.floor_cached.max(offset);
        }
    }

    fn learn(&mut self, of: &TopicPartition, offset: u64, value: &str, certain: bool) {
        let known = self.certain.get(&offset).or(self.cached.get(&offset));
        assert!(
            known.is_none_or(|known| known == value),
            "{of} has {value} at {offset}, where {known:?} was"
        );
        let into = if certain {
            &mut self.certain
        } else {
            &mut self.cached
        };
        into.insert(offset, value.to_owned());
    }

    /// A read of what is published was answered.
    pub(crate) fn read(
        &mut self,
        of: &TopicPartition,
        token: Token,
        high_watermark: u64,
        seen: &[Seen],
        certain: bool,
    ) {
        let (_, floor) = self.floors(token);
        assert!(
            high_watermark >= floor,
            "{of}: a read saw the high watermark {high_watermark}, and began when {floor} was known"
        );
        for record in seen {
            let Some(value) = &record.value else { continue };
            assert!(
                record.offset < high_watermark,
                "{of}: {value} was read at {}, beyond {high_watermark}",
                record.offset
            );
            assert!(
                self.sent.contains_key(value),
                "{of} holds {value}, never sent"
            );
            if certain || !self.pages_dropped {
                self.learn(of, record.offset, value, certain);
            }
        }
        if certain {
            self.seen = self.seen.max(high_watermark);
            self.floor = self.floor.max(high_watermark);
        } else if !self.pages_dropped {
            self.seen_cached = self.seen_cached.max(high_watermark);
            self.floor_cached = self.floor_cached.max(high_watermark);
        }
    }

    /// Records before `until` may go from now on.
    pub(crate) fn ask_start(&mut self, until: u64) {
        self.start_asked = self.start_asked.max(until);
    }

    pub(crate) fn started(&mut self, of: &TopicPartition, asked: u64, start: u64) {
        assert!(
            start >= asked,
            "{of} starts at {start} after deleting before {asked}"
        );
        self.start = self.start.max(start);
    }

    /// Known values in `[from, until)`.
    pub(crate) fn certain(&self, from: u64, until: u64) -> impl Iterator<Item = u64> + '_ {
        self.certain
            .range(from..until.max(from))
            .map(|(offset, _)| *offset)
    }

    /// Clean pages are gone, and the process goes on.
    pub(crate) fn drop_pages(&mut self) {
        self.lose_cache();
        self.pages_dropped = true;
    }

    pub(crate) fn lose_cache(&mut self) {
        self.cache += 1;
        self.cached.clear();
        self.floor_cached = 0;
        self.seen_cached = 0;
    }

    /// Compares the whole log with what is known. Answers how much compaction took.
    pub(super) fn check(
        &mut self,
        of: &TopicPartition,
        look: &Look<'_>,
        transactions: &Transactions,
    ) -> u64 {
        let Look {
            start,
            high_watermark,
            certain,
            excused,
            ..
        } = *look;
        self.pages_dropped = false;
        self.check_start(of, look);
        let found = self.check_order(of, look);
        if excused {
            self.certain.retain(|offset, value| {
                let there = found.get(offset);
                assert!(
                    there.is_none_or(|there| there == value),
                    "{of} shows {there:?} at {offset}, where {value} was"
                );
                there.is_some()
            });
            self.lose_cache();
            self.floor = 0;
            self.seen = 0;
        }
        let known = || {
            let certain = self.certain.range(start..);
            let known = certain.chain(self.cached.range(start..));
            known.map(|(offset, value)| (*offset, value))
        };
        let keys = look
            .compacted
            .map(|rules| Keys::new(rules, transactions, &found, &self.sent, known()));
        let mut gone = 0;
        for (offset, value) in known() {
            let there = found.get(&offset);
            let missing = there.is_none()
                && keys
                    .as_ref()
                    .is_some_and(|keys| keys.may_miss(offset, value));
            assert!(
                missing || there == Some(value),
                "{of} lost {value} at {offset}: there is {there:?}, and it ends at {high_watermark}"
            );
            let keys = keys.as_ref().filter(|_| missing && !excused);
            let back = keys.and_then(|keys| keys.came_back(offset, value));
            assert!(
                back.is_none(),
                "{of}: {value} is gone from {offset}, and what it stood for is back at {back:?}"
            );
            gone += u64::from(missing);
        }
        if let Some(keys) = &keys {
            Self::check_markers(&mut self.markers, self.compared, of, look, keys);
        }
        self.compared = look.compacted.map_or(self.compared, |rules| rules.now);
        let floor = self
            .floor
            .max(self.floor_cached)
            .max(self.seen)
            .max(self.seen_cached);
        assert!(
            high_watermark >= floor,
            "{of} ends at {high_watermark}, {floor} was known"
        );
        let into = if certain {
            &mut self.certain
        } else {
            &mut self.cached
        };
        into.extend(found);
        if certain {
            self.floor = self.floor.max(high_watermark);
            self.seen = self.seen.max(high_watermark);
        }
        gone
    }

    fn check_start(&mut self, of: &TopicPartition, look: &Look<'_>) {
        let start = look.start;
        if look.bounded && !look.excused {
            assert!(
                start >= self.start,
                "{of} starts at {start}, acknowledged was {}",
                self.start
            );
            assert!(
                start <= self.start_asked.max(self.start),
                "{of} starts at {start}, asked for was at most {}",
                self.start_asked
            );
        }
        self.start = start;
    }

    /// Nothing is there that was not sent, nothing twice, nothing in another order, and there are no gaps but those of
    /// compaction. Answers what is there.
    fn check_order(&self, of: &TopicPartition, look: &Look<'_>) -> BTreeMap<u64, String> {
        let gaps = look.excused || look.compacted.is_some();
        let mut next = None;
        let mut found = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for record in look.seen {
            let offset = record.offset;
            assert!(
                gaps || next.is_none_or(|next| next == offset),
                "{of} has a gap before {offset}"
            );
            next = Some(offset + 1);
            // A marker.
            let Some(value) = &record.value else { continue };
            assert!(
                self.sent.contains_key(value),
                "{of} holds {value} at {offset}, never sent"
            );
            if let Some(first) = places.insert(value, offset) {
                panic!("{of} holds {value} twice, at {first} and at {offset}");
            }
            let (client, number) = text::origin(value);
            if let Some(before) = last.insert(client, number) {
                assert!(
                    before < number,
                    "{of}: {value} at {offset} is behind {client}.{before}"
                );
            }
            found.insert(offset, value.clone());
        }
        found
    }

    fn check_markers(
        markers: &mut BTreeMap<u64, Duration>,
        compared: Duration,
        of: &TopicPartition,
        look: &Look<'_>,
        keys: &Keys<'_>,
    ) {
        let there = look.seen.iter().filter(|record| record.value.is_none());
        let there: Vec<u64> = there.map(|record| record.offset).collect();
        markers.retain(|offset, since| {
            let stays = there.binary_search(offset).is_ok();
            assert!(
                stays || *offset < look.start || look.excused || keys.may_miss_marker(*since),
                "{of} lost the marker at {offset} too early"
            );
            stays
        });
        for offset in there {
            markers.entry(offset).or_insert(compared);
        }
    }
}
