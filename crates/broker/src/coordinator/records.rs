//! Group snapshots as records of `lantern.groups`: their keys, and reading all of them back.
//!
//! Invariants: the newest record of a key is its value, a record without value means that the group is
//! gone; records of other kinds and records that cannot be read are passed over, the latter counted.
//! Byte layout: `docs/format/groups.md` and `docs/format/group-membership.md`.

use std::collections::BTreeMap;

use bytes::Bytes;
use groups::Snapshot;
use model::limits::{BATCH_BYTES_MAX, GROUPS_TOPIC};
use model::{GroupId, PartitionId, TopicName, TopicPartition};
use record::Batches;
use stdx::ByteSize;

use crate::{Broker, Error, Place, ReadLimit, TopicConfig, TopicSpec, ensure_topic};

/// First byte of the key of a group snapshot.
const KIND: u8 = 2;
const VERSION: u8 = 0;

/// Bytes per read while loading.
const READ_BYTES: usize = 1 << 20;

/// What was found in the topic.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) groups: BTreeMap<GroupId, Snapshot>,
    /// Records of our kind that are not what we write.
    pub(super) unreadable: u64,
}

pub(super) fn topic() -> TopicName {
    TopicName::new(GROUPS_TOPIC).expect("our own topic names are valid")
}

pub(super) fn partition() -> TopicPartition {
    TopicPartition::new(topic(), PartitionId::new(0))
}

/// ```text
///  0          1             2    3
/// ┌──────────┬─────────────┬────┬──────────────┐
/// │ kind = 2 │ version = 0 │ g  │ group, g B   │
/// └──────────┴─────────────┴────┴──────────────┘
/// ```
pub(super) fn key(group: &GroupId) -> Vec<u8> {
    let id = group.as_str().as_bytes();
    let length = u8::try_from(id.len()).expect("a group id has at most 255 bytes");
    [&[KIND, VERSION, length], id].concat()
}

/// What a key is to us.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Group(GroupId),
    OtherKind,
    /// Of our kind, but not as we write it.
    Unreadable,
}

fn parse_key(key: &[u8]) -> Key {
    let id = match key {
        [KIND, VERSION, length, id @ ..] if usize::from(*length) == id.len() => id,
        [KIND, ..] => return Key::Unreadable,
        _ => return Key::OtherKind,
    };
    let group = std::str::from_utf8(id)
        .ok()
        .and_then(|id| GroupId::new(id).ok());
    group.map_or(Key::Unreadable, Key::Group)
}

/// Reads every snapshot from the topic, which is created if it is missing.
pub(super) async fn load(broker: &dyn Broker) -> Result<Loaded, Error> {
    let config = TopicConfig {
        retention: None,
        batch_bytes: ByteSize::from_bytes(BATCH_BYTES_MAX as u64),
        ..TopicConfig::default()
    };
    ensure_topic(
        broker,
        TopicSpec {
            name: topic(),
            partitions: 1,
            config,
        },
    )
    .await?;
    loop {
        match read_all(broker).await {
            // Compaction moved the log's start while we read: its snapshot is complete, read that.
            Err(Error::OutOfRange { .. }) => (),
            answer => return answer,
        }
    }
}

async fn read_all(broker: &dyn Broker) -> Result<Loaded, Error> {
    let partition = partition();
    let mut loaded = Loaded::default();
    let Some(start) = broker.find(&partition, Place::Earliest).await? else {
        return Ok(loaded);
    };
    let mut next = start.position;
    loop {
        let limit = ReadLimit {
            bytes: READ_BYTES,
            at_least_one: true,
        };
        let fetched = broker.read(&partition, next, limit).await?;
        if fetched.batches.is_empty() {
            return Ok(loaded);
        }
        loaded.apply(fetched.batches);
        next = fetched.next;
    }
}

impl Loaded {
    fn apply(&mut self, batches: Bytes) {
        for batch in Batches::new(batches) {
            let Ok(records) = batch.and_then(|batch| batch.records()) else {
                self.unreadable += 1;
                continue;
            };
            for record in &records {
                match record {
                    Ok(record) => self.apply_record(record.key.unwrap_or_default(), record.value),
                    Err(_) => self.unreadable += 1,
                }
            }
        }
    }

    fn apply_record(&mut self, key: &[u8], value: Option<&[u8]>) {
        let group = match parse_key(key) {
            Key::Group(group) => group,
            Key::OtherKind => return,
            Key::Unreadable => {
                self.unreadable += 1;
                return;
            }
        };
        match value.map(Snapshot::decode) {
            None => {
                self.groups.remove(&group);
            }
            Some(Ok(snapshot)) => {
                self.groups.insert(group, snapshot);
            }
            Some(Err(_)) => self.unreadable += 1,
        }
    }
}

/// Whether a record of the topic is one that a start can read, or of a kind that is not ours.
pub(crate) fn is_readable(key: &[u8], value: Option<&[u8]>) -> bool {
    let mut alone = Loaded::default();
    alone.apply_record(key, value);
    alone.unreadable == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_group_and_other_kinds_are_left_alone() {
        let group: GroupId = "shop".parse().unwrap();
        assert_eq!(key(&group), b"\x02\x00\x04shop");
        assert_eq!(parse_key(&key(&group)), Key::Group(group));
        assert_eq!(
            parse_key(b"\x01\x00\x04shop\x00\x00\x00\x02orders"),
            Key::OtherKind
        );
        assert_eq!(parse_key(b""), Key::OtherKind);
        for broken in [
            &b"\x02"[..],
            b"\x02\x00\x05shop",
            b"\x02\x01\x04shop",
            b"\x02\x00\x00",
        ] {
            assert_eq!(parse_key(broken), Key::Unreadable, "{broken:?}");
        }
    }

    #[test]
    fn the_newest_value_of_a_group_counts() {
        let snapshot = |generation| Snapshot {
            generation,
            protocol_type: "consumer".into(),
            protocol: None,
            leader: None,
            members: Vec::new(),
        };
        let (a, b): (GroupId, GroupId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut loaded = Loaded::default();
        for (group, value) in [
            (&a, Some(snapshot(1).encode())),
            (&b, Some(snapshot(5).encode())),
            (&a, Some(snapshot(2).encode())),
            (&b, None),
            (&a, Some(vec![77])),
        ] {
            loaded.apply_record(&key(group), value.as_deref());
        }
        assert_eq!(loaded.groups, BTreeMap::from([(a, snapshot(2))]));
        assert_eq!(loaded.unreadable, 1);
    }
}
