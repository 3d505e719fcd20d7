//! A transaction's state as the value of a record.
//!
//! ```text
//!  0      1       2             10      12        20        22           26        34
//! ┌──────┬───────┬─────────────┬───────┬─────────┬─────────┬────────────┬─────────┬─────────┐
//! │ vers │ phase │ producer id │ epoch │ last id │ last ep │ timeout ms │ started │ updated │
//! ├──────┴───────┴─────────────┴───────┴─────────┴─────────┴────────────┴─────────┴─────────┤
//! │ topics u32 { length u8, name, partitions u32 { number u32 }* }*                         │
//! │ groups u32 { length u8, id }*                                            big endian     │
//! └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Phases: 0 empty, 1 open, 2 ending by commit, 3 ending by abort, 4 ended by commit, 5 ended by
//! abort. `last` is -1, -1 for none. Format page: `docs/format/transactions.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{GroupId, Outcome, PartitionId, Producer, Timestamp, TopicName, TopicPartition};

use crate::{Phase, Transaction};

const VERSION: u8 = 0;

impl Phase {
    const fn number(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Open => 1,
            Self::Ending(Outcome::Commit) => 2,
            Self::Ending(Outcome::Abort) => 3,
            Self::Ended(Outcome::Commit) => 4,
            Self::Ended(Outcome::Abort) => 5,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Empty,
            1 => Self::Open,
            2 => Self::Ending(Outcome::Commit),
            3 => Self::Ending(Outcome::Abort),
            4 => Self::Ended(Outcome::Commit),
            5 => Self::Ended(Outcome::Abort),
            _ => return None,
        })
    }
}

impl Transaction {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = vec![VERSION, self.phase.number()];
        let nobody = Producer::new(-1, -1);
        for producer in [self.producer, self.last.unwrap_or(nobody)] {
            to.extend_from_slice(&producer.id.to_be_bytes());
            to.extend_from_slice(&producer.epoch.to_be_bytes());
        }
        let timeout = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        to.extend_from_slice(&timeout.to_be_bytes());
        to.extend_from_slice(&self.started.millis().to_be_bytes());
        to.extend_from_slice(&self.updated.millis().to_be_bytes());
        let mut partitions = self.partitions.iter().peekable();
        let topics: BTreeSet<&TopicName> = self.partitions.iter().map(|of| &of.topic).collect();
        put_count(&mut to, topics.len());
        for topic in topics {
            put_text(&mut to, topic.as_str());
            let at = to.len();
            put_count(&mut to, 0);
            let mut count: u32 = 0;
            while let Some(of) = partitions.next_if(|of| of.topic == *topic) {
                to.extend_from_slice(&of.partition.get().to_be_bytes());
                count += 1;
            }
            if let Some(place) = to.get_mut(at..at + 4) {
                place.copy_from_slice(&count.to_be_bytes());
            }
        }
        put_count(&mut to, self.groups.len());
        for group in &self.groups {
            put_text(&mut to, group.as_str());
        }
        to
    }

    /// Reads what [`Transaction::encode`] wrote; `None` when it is nothing of the kind.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let [version, phase] = fields.take()?;
        if version != VERSION {
            return None;
        }
        let phase = Phase::from_number(phase)?;
        let producer = fields.producer()?;
        let last = fields.producer()?;
        let timeout = Duration::from_millis(fields.count()?.into());
        let started = Timestamp::from_millis(i64::from_be_bytes(fields.take()?));
        let updated = Timestamp::from_millis(i64::from_be_bytes(fields.take()?));
        let mut partitions = BTreeSet::new();
        for _ in 0..fields.count()? {
            let topic = TopicName::new(fields.text()?).ok()?;
            for _ in 0..fields.count()? {
                let number = PartitionId::new(fields.count()?);
                partitions.insert(TopicPartition::new(topic.clone(), number));
            }
        }
        let mut groups = BTreeSet::new();
        for _ in 0..fields.count()? {
            groups.insert(GroupId::new(fields.text()?).ok()?);
        }
        fields.0.is_empty().then_some(Self {
            producer,
            last: Some(last).filter(|last| last.id >= 0),
            timeout,
            phase,
            partitions,
            groups,
            started,
            updated,
        })
    }
}

fn put_count(to: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    to.extend_from_slice(&count.to_be_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    to.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    to.extend_from_slice(text.as_bytes());
}

const _: () = assert!(
    model::limits::GROUP_ID_BYTES_MAX < 256,
    "the length of a group id is one byte"
);
const _: () = assert!(
    model::limits::TOPIC_NAME_BYTES_MAX < 256,
    "the length of a topic's name is one byte"
);

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn count(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn producer(&mut self) -> Option<Producer> {
        let id = i64::from_be_bytes(self.take()?);
        Some(Producer::new(id, i16::from_be_bytes(self.take()?)))
    }

    fn text(&mut self) -> Option<&'a str> {
        let [length] = self.take()?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Transaction> {
        let places = prop::collection::btree_set(("[a-c]{1,3}", 0..5_u32), 0..9);
        let groups = prop::collection::btree_set("\\PC{1,9}", 0..4);
        let last = prop::option::of((0..i64::MAX, 0..i16::MAX));
        let times = (any::<i64>(), any::<i64>(), any::<u32>());
        (0..6_u8, any::<(i64, i16)>(), last, times, places, groups).prop_map(
            |(phase, producer, last, (started, updated, timeout), places, groups)| Transaction {
                producer: Producer::new(producer.0, producer.1),
                last: last.map(|(id, epoch)| Producer::new(id, epoch)),
                timeout: Duration::from_millis(timeout.into()),
                phase: Phase::from_number(phase).unwrap(),
                partitions: places
                    .iter()
                    .map(|(topic, number)| {
                        TopicPartition::new(topic.parse().unwrap(), PartitionId::new(*number))
                    })
                    .collect(),
                groups: groups.iter().map(|id| GroupId::new(id).unwrap()).collect(),
                started: Timestamp::from_millis(started),
                updated: Timestamp::from_millis(updated),
            },
        )
    }

    proptest! {
        #[test]
        fn states_round_trip(state in some()) {
            prop_assert_eq!(Transaction::decode(&state.encode()), Some(state));
        }

        #[test]
        fn other_bytes_are_refused_and_never_panic(
            state in some(),
            cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let bytes = state.encode();
            prop_assert_eq!(Transaction::decode(&bytes[..cut.index(bytes.len())]), None);
            let _ = Transaction::decode(&noise);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format_page() {
        let orders = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(2));
        let state = Transaction {
            producer: Producer::new(7, 1),
            last: None,
            timeout: Duration::from_mins(1),
            phase: Phase::Open,
            partitions: [orders].into(),
            groups: [GroupId::new("shop").unwrap()].into(),
            started: Timestamp::from_millis(1),
            updated: Timestamp::from_millis(2),
        };
        let expected = [
            &[0, 1][..],
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 1],
            &[0xff; 10],
            &[0, 0, 0xea, 0x60],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            b"\0\0\0\x01\x06orders\0\0\0\x01\0\0\0\x02",
            b"\0\0\0\x01\x04shop",
        ];
        assert_eq!(state.encode(), expected.concat());
    }
}
