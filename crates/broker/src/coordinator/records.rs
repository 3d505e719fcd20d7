//! Groups as records of `lantern.groups`: their keys, and reading all of them back.
//!
//! Invariants: the newest record of a key is its value, a record without value means that the group or
//! member is gone; a group is of the protocol its newest record is of; records of other kinds and
//! records that cannot be read are passed over, the latter counted.
//! Byte layout: `docs/format/groups.md`, `group-membership.md` and `group-consumers.md` beside it.

use std::collections::BTreeMap;

use groups::consumer::{ConsumerSnapshot, HeaderRecord, MemberRecord};
use groups::{MemberId, Snapshot};
use model::GroupId;
use model::limits::BATCH_BYTES_MAX;
use stdx::ByteSize;

use crate::table::{self, Table};
use crate::{Broker, Error, TopicConfig, TopicSpec, ensure_topic};

/// First byte of the key of a group snapshot.
const KIND: u8 = 2;
/// First byte of the key of a group of the second protocol.
const KIND_HEADER: u8 = 16;
/// First byte of the key of a member of such a group.
const KIND_MEMBER: u8 = 17;
const VERSION: u8 = 0;

/// What was found in the topic.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) groups: BTreeMap<GroupId, Snapshot>,
    pub(super) consumers: BTreeMap<GroupId, ConsumerSnapshot>,
}

/// ```text
///  0      1             2    3              3+g
/// ┌──────┬─────────────┬────┬──────────────┬──────────────────────────┐
/// │ kind │ version = 0 │ g  │ group, g B   │ member, rest (kind 17)   │
/// └──────┴─────────────┴────┴──────────────┴──────────────────────────┘
/// ```
pub(super) fn key(group: &GroupId) -> Vec<u8> {
    key_of(KIND, group, "")
}

/// The key of a group of the second protocol, laid out as [`key`].
pub(super) fn header_key(group: &GroupId) -> Vec<u8> {
    key_of(KIND_HEADER, group, "")
}

/// The key of a member of such a group, laid out as [`key`].
pub(super) fn member_key(group: &GroupId, member: &MemberId) -> Vec<u8> {
    key_of(KIND_MEMBER, group, member.as_str())
}

fn key_of(kind: u8, group: &GroupId, rest: &str) -> Vec<u8> {
    let id = group.as_str().as_bytes();
    let length = u8::try_from(id.len()).expect("a group id has at most 255 bytes");
    [&[kind, VERSION, length], id, rest.as_bytes()].concat()
}

/// What a key is to us.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Group(GroupId),
    Header(GroupId),
    Member(GroupId, MemberId),
    OtherKind,
    /// Of our kinds, but not as we write it.
    Unreadable,
}

fn parse_key(key: &[u8]) -> Key {
    let kind = match key {
        [kind @ (KIND | KIND_HEADER | KIND_MEMBER), ..] => *kind,
        _ => return Key::OtherKind,
    };
    let Some((group, rest)) = parse_ids(key) else {
        return Key::Unreadable;
    };
    match (kind, rest) {
        (KIND, "") => Key::Group(group),
        (KIND_HEADER, "") => Key::Header(group),
        (KIND_MEMBER, member) if !member.is_empty() => Key::Member(group, MemberId::new(member)),
        _ => Key::Unreadable,
    }
}

fn parse_ids(key: &[u8]) -> Option<(GroupId, &str)> {
    let (&[_, version, length], rest) = key.split_first_chunk()?;
    let (group, rest) = rest.split_at_checked(usize::from(length))?;
    let group = GroupId::new(std::str::from_utf8(group).ok()?).ok()?;
    let rest = std::str::from_utf8(rest).ok()?;
    (version == VERSION).then_some((group, rest))
}

/// Reads every snapshot from the topic, which is created if it is missing; answers also how many records could not be read.
pub(super) async fn load(broker: &dyn Broker) -> Result<(Loaded, u64), Error> {
    let config = TopicConfig {
        retention: None,
        batch_bytes: ByteSize::from_bytes(BATCH_BYTES_MAX as u64),
        ..TopicConfig::default()
    };
    let spec = TopicSpec {
        name: table::topic(),
        partitions: 1,
        config,
    };
    ensure_topic(broker, spec).await?;
    table::read(broker).await
}

impl Table for Loaded {
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        match parse_key(key) {
            Key::OtherKind => true,
            Key::Unreadable => false,
            Key::Group(group) => self.apply_group(group, value),
            Key::Header(group) => self.apply_header(group, value),
            Key::Member(group, member) => self.apply_member(group, member, value),
        }
    }
}

impl Loaded {
    fn apply_group(&mut self, group: GroupId, value: Option<&[u8]>) -> bool {
        match value.map(Snapshot::decode) {
            None => {
                self.groups.remove(&group);
            }
            Some(Ok(snapshot)) => {
                self.consumers.remove(&group);
                self.groups.insert(group, snapshot);
            }
            Some(Err(_)) => return false,
        }
        true
    }

    fn apply_header(&mut self, group: GroupId, value: Option<&[u8]>) -> bool {
        match value.map(HeaderRecord::decode) {
            None => {
                self.consumers.remove(&group);
            }
            Some(Ok(header)) => {
                self.groups.remove(&group);
                self.consumers.entry(group).or_default().header = Some(header);
            }
            Some(Err(_)) => return false,
        }
        true
    }

    /// Members stand after their group's record, or before it where compaction ordered them so.
    fn apply_member(&mut self, group: GroupId, member: MemberId, value: Option<&[u8]>) -> bool {
        match value.map(MemberRecord::decode) {
            None => {
                if let Some(known) = self.consumers.get_mut(&group) {
                    known.members.remove(&member);
                }
            }
            Some(Ok(record)) => {
                let known = self.consumers.entry(group).or_default();
                known.members.insert(member, record);
            }
            Some(Err(_)) => return false,
        }
        true
    }
}

/// Whether a record of the topic is one that a start can read, or of a kind that is not ours.
pub(crate) fn is_readable(key: &[u8], value: Option<&[u8]>) -> bool {
    Loaded::default().apply(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_group_and_other_kinds_are_left_alone() {
        let group: GroupId = "shop".parse().unwrap();
        assert_eq!(key(&group), b"\x02\x00\x04shop");
        assert_eq!(parse_key(&key(&group)), Key::Group(group.clone()));
        assert_eq!(
            parse_key(b"\x01\x00\x04shop\x00\x00\x00\x02orders"),
            Key::OtherKind
        );
        assert_eq!(parse_key(b""), Key::OtherKind);
        let member = MemberId::new("app-1");
        assert_eq!(member_key(&group, &member), b"\x11\x00\x04shopapp-1");
        assert_eq!(
            parse_key(&member_key(&group, &member)),
            Key::Member(group.clone(), member)
        );
        assert_eq!(parse_key(&header_key(&group)), Key::Header(group));
        for broken in [
            &b"\x02"[..],
            b"\x02\x00\x05shop",
            b"\x02\x01\x04shop",
            b"\x02\x00\x00",
            b"\x02\x00\x04shopper",
            b"\x10\x00\x04shopper",
            b"\x11\x00\x04shop",
            b"\x11\x00\x04shop\xff",
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
        ] {
            assert!(loaded.apply(&key(group), value.as_deref()));
        }
        assert!(!loaded.apply(&key(&a), Some(&[77])));
        assert_eq!(loaded.groups, BTreeMap::from([(a, snapshot(2))]));
    }
}
