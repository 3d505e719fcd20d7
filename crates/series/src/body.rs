//! The samples of one series: sealed chunks in order, and one that grows.
//!
//! Invariants: chunks are disjoint and sorted by time, the growing one is the newest, and no timestamp
//! is there twice. A late sample rewrites the one chunk it falls into, so readers always find plain
//! sorted chunks and pay nothing for lateness.

use std::sync::Arc;

use crate::chunk::{CHUNK_SAMPLES, Chunk, Encoder};
use crate::value::same_value;

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the newest now.
    InOrder,
    /// It was put between older ones.
    Late,
    /// It was there already.
    Same,
    /// Its timestamp was there with another value, which stays.
    Other,
}

#[derive(Debug, Default)]
pub(crate) struct Body {
    sealed: Vec<Arc<Chunk>>,
    head: Encoder,
    /// The watches that want to hear of this series.
    pub(crate) watches: Vec<u32>,
}

impl Body {
    /// An empty body of a series that `watches` want to hear of.
    pub(crate) fn watched_by(watches: Vec<u32>) -> Self {
        Self {
            watches,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.count == 0 && self.sealed.is_empty()
    }

    /// Timestamps of the oldest and the newest sample.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let head = (self.head.count > 0).then(|| (self.head.first, self.head.last()));
        match (self.sealed.first(), self.sealed.last(), head) {
            (Some(first), _, Some(head)) => Some((first.first, head.1)),
            (Some(first), Some(last), None) => Some((first.first, last.last)),
            (_, _, head) => head,
        }
    }

    pub(crate) fn append(&mut self, timestamp: i64, value: f64) -> Taken {
        if self.head.count == 0 {
            if self
                .sealed
                .last()
                .is_some_and(|chunk| chunk.last >= timestamp)
            {
                return self.insert_sealed(timestamp, value);
            }
        } else if timestamp <= self.head.last() {
            return self.insert(timestamp, value);
        }
        if self.head.count >= CHUNK_SAMPLES {
            self.sealed.push(Arc::new(self.head.snapshot()));
            self.head = self.head.successor();
        }
        self.head.push(timestamp, value);
        Taken::InOrder
    }

    /// Takes chunks that were another body's; false if there are samples already, or if these are out of order.
    pub(crate) fn adopt(&mut self, chunks: Vec<Chunk>) -> bool {
        let in_order = chunks.windows(2).all(|pair| pair[0].last < pair[1].first);
        if !self.is_empty() || !in_order {
            return false;
        }
        self.sealed = chunks.into_iter().map(Arc::new).collect();
        true
    }

    /// Takes in a sample that is not newer than the newest.
    fn insert(&mut self, timestamp: i64, value: f64) -> Taken {
        if timestamp == self.head.last() {
            return same_or_other(self.head.last_value(), value);
        }
        if self
            .sealed
            .last()
            .is_some_and(|chunk| chunk.last >= timestamp)
        {
            return self.insert_sealed(timestamp, value);
        }
        let mut samples: Vec<(i64, f64)> = self.head.snapshot().iter().collect();
        let taken = insert_into(&mut samples, timestamp, value);
        if taken == Taken::Late {
            let mut head = self.head.successor();
            for (timestamp, value) in samples {
                head.push(timestamp, value);
            }
            self.head = head;
        }
        taken
    }

    /// Takes in a sample that is not newer than the sealed chunks.
    fn insert_sealed(&mut self, timestamp: i64, value: f64) -> Taken {
        let after = self
            .sealed
            .partition_point(|chunk| chunk.first <= timestamp);
        let room = |chunk: &Chunk| chunk.count < CHUNK_SAMPLES;
        let inside = after > 0 && self.sealed[after - 1].last >= timestamp;
        let target = if inside || (after > 0 && room(&self.sealed[after - 1])) {
            after - 1
        } else if self.sealed.get(after).is_some_and(|chunk| room(chunk)) {
            after
        } else {
            let alone = Chunk::of(&[(timestamp, value)]);
            self.sealed.insert(after, Arc::new(alone));
            return Taken::Late;
        };
        let mut samples: Vec<(i64, f64)> = self.sealed[target].iter().collect();
        let taken = insert_into(&mut samples, timestamp, value);
        if taken == Taken::Late {
            if samples.len() > CHUNK_SAMPLES as usize {
                let second = samples.split_off(samples.len() / 2);
                self.sealed.insert(target + 1, Arc::new(Chunk::of(&second)));
            }
            self.sealed[target] = Arc::new(Chunk::of(&samples));
        }
        taken
    }

    /// The chunks that may have samples within `[from, to]`.
    pub(crate) fn chunks(&self, from: i64, to: i64) -> Vec<Arc<Chunk>> {
        let start = self.sealed.partition_point(|chunk| chunk.last < from);
        let count = self.sealed[start..].partition_point(|chunk| chunk.first <= to);
        let head = self.head.count > 0 && self.head.first <= to && self.head.last() >= from;
        let mut chunks = Vec::with_capacity(count + usize::from(head));
        chunks.extend_from_slice(&self.sealed[start..start + count]);
        if head {
            chunks.push(Arc::new(self.head.snapshot()));
        }
        chunks
    }

    /// The newest sample, if it is within `[from, to]`; the quick answer for "now".
    pub(crate) fn newest(&self) -> Option<(i64, f64)> {
        (self.head.count > 0).then(|| (self.head.last(), self.head.last_value()))
    }

    /// Drops the chunks that end before `cutoff`. Returns the samples dropped.
    pub(crate) fn drop_before(&mut self, cutoff: i64) -> u64 {
        let count = self.sealed.partition_point(|chunk| chunk.last < cutoff);
        let mut dropped: u64 = self.sealed.drain(..count).map(|c| u64::from(c.count)).sum();
        if self.sealed.is_empty() && self.head.count > 0 && self.head.last() < cutoff {
            dropped += u64::from(self.head.count);
            self.head = Encoder::default();
        }
        dropped
    }

    /// Samples held and the bytes they take.
    pub(crate) fn size(&self) -> (u64, usize) {
        let count = self
            .sealed
            .iter()
            .map(|chunk| u64::from(chunk.count))
            .sum::<u64>();
        let bytes = self
            .sealed
            .iter()
            .map(|chunk| chunk.heap_bytes())
            .sum::<usize>();
        let bytes = bytes + self.head.heap_bytes() + self.sealed.capacity() * 8;
        (count + u64::from(self.head.count), bytes)
    }
}

fn same_or_other(there: f64, given: f64) -> Taken {
    if same_value(there, given) {
        Taken::Same
    } else {
        Taken::Other
    }
}

fn insert_into(samples: &mut Vec<(i64, f64)>, timestamp: i64, value: f64) -> Taken {
    match samples.binary_search_by_key(&timestamp, |(t, _)| *t) {
        Ok(at) => same_or_other(samples[at].1, value),
        Err(at) => {
            samples.insert(at, (timestamp, value));
            Taken::Late
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn read(body: &Body) -> Vec<(i64, f64)> {
        let chunks = body.chunks(i64::MIN, i64::MAX);
        chunks.iter().flat_map(|chunk| chunk.iter()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_order_reads_like_a_map(
            items in prop::collection::vec((0_i64..2_000, 0_i32..3), 0..900),
            cutoff in 0_i64..2_000,
        ) {
            let mut body = Body::default();
            let mut map = BTreeMap::new();
            for (timestamp, value) in items {
                let value = f64::from(value);
                let expected = match map.get(&timestamp) {
                    Some(there) => same_or_other(*there, value),
                    None if map.last_key_value().is_none_or(|(t, _)| *t < timestamp) => Taken::InOrder,
                    None => Taken::Late,
                };
                map.entry(timestamp).or_insert(value);
                prop_assert_eq!(body.append(timestamp, value), expected);
            }
            prop_assert_eq!(read(&body), map.iter().map(|(t, v)| (*t, *v)).collect::<Vec<_>>());
            let before = read(&body).len() as u64;
            let dropped = body.drop_before(cutoff);
            let left = read(&body);
            prop_assert_eq!(before - dropped, left.len() as u64);
            let kept: Vec<_> = left.into_iter().filter(|(t, _)| *t >= cutoff).collect();
            let wanted: Vec<_> = map.range(cutoff..).map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(kept, wanted);
        }

        #[test]
        fn backwards_fills_chunks(count in 1_i64..1_000) {
            let mut body = Body::default();
            for timestamp in (0..count).rev() {
                body.append(timestamp, 1.0);
            }
            prop_assert_eq!(read(&body).len(), usize::try_from(count).unwrap());
            prop_assert!(body.sealed.len() <= 1 + read(&body).len() / 100);
        }
    }
}
