//! Keys and values of the records in `lantern.groups`.
//!
//! Invariants: the first byte of every key is its kind; a key is one thing for ever and the newest
//! record of a key is the truth; a record without value removes its key; kinds this file does not
//! know are kept as bytes.
//!
//! Format: `docs/format/groups.md`. Not here: what the records mean together (`progress`).

use model::{GroupId, PartitionId, Position, Timestamp, TopicName, TopicPartition};

use crate::Commit;

/// Key kind: a group's progress in one partition.
pub const KIND_COMMIT: u8 = 1;

/// Key kind: a group's members and assignment, written by the coordinator.
pub const KIND_GROUP: u8 = 2;

/// Version byte of commit keys and values.
const VERSION: u8 = 0;

/// Bytes before the metadata text in a commit's value.
const COMMIT_HEAD: usize = 1 + 16 + 4 + 8;

/// ```text
/// key of a commit
///  0      1      2     3              3+g        7+g
/// ┌──────┬──────┬─────┬──────────────┬──────────┬───────────────┐
/// │ kind │ vers │ g   │ group, g B   │ part u32 │ topic, rest   │   big endian
/// └──────┴──────┴─────┴──────────────┴──────────┴───────────────┘
/// ```
pub(crate) fn commit_key(group: &GroupId, of: &TopicPartition) -> Vec<u8> {
    let id = group.as_str().as_bytes();
    let topic = of.topic.as_str().as_bytes();
    let mut key = Vec::with_capacity(7 + id.len() + topic.len());
    key.push(KIND_COMMIT);
    key.push(VERSION);
    key.push(u8::try_from(id.len()).expect("a group id has at most 255 bytes"));
    key.extend_from_slice(id);
    key.extend_from_slice(&of.partition.get().to_be_bytes());
    key.extend_from_slice(topic);
    key
}

const _: () = assert!(
    model::limits::GROUP_ID_BYTES_MAX <= u8::MAX as usize,
    "the length of a group id is one byte of the key"
);

/// Reads a key made by [`commit_key`]; `None` when it is none.
pub(crate) fn parse_commit_key(key: &[u8]) -> Option<(GroupId, TopicPartition)> {
    let (&[kind, version, length], rest) = key.split_first_chunk()?;
    if (kind, version) != (KIND_COMMIT, VERSION) {
        return None;
    }
    let (group, rest) = rest.split_at_checked(usize::from(length))?;
    let (partition, topic) = rest.split_first_chunk()?;
    let group = GroupId::new(std::str::from_utf8(group).ok()?).ok()?;
    let topic = TopicName::new(std::str::from_utf8(topic).ok()?).ok()?;
    let partition = PartitionId::new(u32::from_be_bytes(*partition));
    Some((group, TopicPartition::new(topic, partition)))
}

/// ```text
/// value of a commit
///  0      1               17              21        29
/// ┌──────┬───────────────┬───────────────┬─────────┬──────────────────┐
/// │ vers │ position u128 │ leader ep i32 │ at i64  │ metadata, rest   │   big endian
/// └──────┴───────────────┴───────────────┴─────────┴──────────────────┘
/// ```
pub(crate) fn commit_value(commit: &Commit) -> Vec<u8> {
    let mut value = Vec::with_capacity(COMMIT_HEAD + commit.metadata.len());
    value.push(VERSION);
    value.extend_from_slice(&commit.position.bits().to_be_bytes());
    value.extend_from_slice(&commit.leader_epoch.unwrap_or(-1).to_be_bytes());
    value.extend_from_slice(&commit.at.millis().to_be_bytes());
    value.extend_from_slice(commit.metadata.as_bytes());
    value
}

/// Reads a value made by [`commit_value`]; `None` when it is none.
pub(crate) fn parse_commit_value(value: &[u8]) -> Option<Commit> {
    let (&version, rest) = value.split_first()?;
    if version != VERSION {
        return None;
    }
    let (position, rest) = rest.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (at, metadata) = rest.split_first_chunk()?;
    let epoch = i32::from_be_bytes(*epoch);
    Some(Commit {
        position: Position::from_bits(u128::from_be_bytes(*position)),
        leader_epoch: (epoch >= 0).then_some(epoch),
        at: Timestamp::from_millis(i64::from_be_bytes(*at)),
        metadata: std::str::from_utf8(metadata).ok()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts() -> impl Strategy<Value = (GroupId, TopicPartition)> {
        ("\\PC{1,40}", "[a-zA-Z0-9_-]{1,40}", any::<u32>()).prop_map(|(group, topic, number)| {
            (
                GroupId::new(&group).unwrap(),
                TopicPartition::new(topic.parse().unwrap(), PartitionId::new(number)),
            )
        })
    }

    proptest! {
        #[test]
        fn keys_round_trip((group, of) in parts()) {
            let key = commit_key(&group, &of);
            prop_assert_eq!(parse_commit_key(&key), Some((group, of)));
        }

        #[test]
        fn values_round_trip(bits in any::<u128>(), epoch in 0..i32::MAX, some: bool, at: i64, metadata in "\\PC{0,20}") {
            let commit = Commit {
                position: Position::from_bits(bits),
                leader_epoch: some.then_some(epoch),
                at: Timestamp::from_millis(at),
                metadata,
            };
            prop_assert_eq!(parse_commit_value(&commit_value(&commit)), Some(commit));
        }

        #[test]
        fn other_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_commit_key(&bytes);
            let _ = parse_commit_value(&bytes);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format_page() {
        let of = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(2));
        let key = commit_key(&GroupId::new("shop").unwrap(), &of);
        assert_eq!(key, b"\x01\x00\x04shop\x00\x00\x00\x02orders");
        let commit = Commit {
            position: Position::from_bits(258),
            leader_epoch: None,
            metadata: "note".to_owned(),
            at: Timestamp::from_millis(1),
        };
        let mut value = vec![0; 17];
        (value[15], value[16]) = (1, 2);
        value.extend_from_slice(&[0xff; 4]);
        value.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        value.extend_from_slice(b"note");
        assert_eq!(commit_value(&commit), value);
    }
}
