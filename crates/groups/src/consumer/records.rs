//! What of a group is stored, and its bytes: one record for the group, one for each member.
//!
//! Invariants: `decode(encode(x)) == x`; bytes that are no record are an error, never a panic and never
//! more memory than a small multiple of their length. Byte layout: `docs/format/group-consumers.md`.
//! Not here: keys and where they are kept (`broker::coordinator`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{PartitionId, TopicId};

use super::{Assignment, Assignor};
use crate::snapshot::{Input, SnapshotError, put, put_count, put_millis};
use crate::{InstanceId, MemberId};

const VERSION: u8 = 0;

const HAS_INSTANCE: u8 = 1;
const HAS_RACK: u8 = 2;
const HAS_REGEX: u8 = 4;
const HAS_ASSIGNOR: u8 = 8;

/// The group's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRecord {
    /// Its epoch.
    pub epoch: i32,
    /// The epoch its target was computed for.
    pub target_epoch: i32,
    /// Fingerprint of the topics and partition counts the target was computed for.
    pub fingerprint: u64,
}

/// A member's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// The address it connected from.
    pub client_host: Arc<str>,
    /// How long it may take to give partitions back; stored in whole milliseconds.
    pub rebalance_timeout: Duration,
    /// The topics it reads by name, sorted.
    pub names: Vec<Arc<str>>,
    /// And those that match this pattern.
    pub regex: Option<Arc<str>>,
    /// The assignor it wishes for.
    pub assignor: Option<Assignor>,
    /// Its epoch.
    pub epoch: i32,
    /// Its epoch before the last step.
    pub previous_epoch: i32,
    /// What it owns.
    pub assigned: Assignment,
    /// What it owns and was asked to give back.
    pub revoking: Assignment,
    /// What it should own.
    pub target: Assignment,
}

/// A whole group as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerSnapshot {
    /// Its own record; `None` when it could not be read.
    pub header: Option<HeaderRecord>,
    /// Its members.
    pub members: BTreeMap<MemberId, MemberRecord>,
}

impl HeaderRecord {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.target_epoch.to_be_bytes());
        out.extend(self.fingerprint.to_be_bytes());
        out
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`SnapshotError`], naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = open(bytes)?;
        let header = Self {
            epoch: i32::from_be_bytes(input.array("epoch")?),
            target_epoch: i32::from_be_bytes(input.array("target epoch")?),
            fingerprint: u64::from_be_bytes(input.array("fingerprint")?),
        };
        input.end()?;
        Ok(header)
    }
}

impl MemberRecord {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [
            (HAS_INSTANCE, self.instance.as_ref().map(InstanceId::as_str)),
            (HAS_RACK, self.rack.as_deref()),
            (HAS_REGEX, self.regex.as_deref()),
            (HAS_ASSIGNOR, self.assignor.map(Assignor::as_str)),
        ];
        let present = texts.iter().filter(|(_, text)| text.is_some());
        let mut out = vec![VERSION, present.fold(0, |flags, (flag, _)| flags | flag)];
        for text in texts.into_iter().filter_map(|(_, text)| text) {
            put(&mut out, text.as_bytes());
        }
        put(&mut out, self.client_id.as_bytes());
        put(&mut out, self.client_host.as_bytes());
        put_millis(&mut out, self.rebalance_timeout);
        put_count(&mut out, self.names.len());
        for name in &self.names {
            put(&mut out, name.as_bytes());
        }
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.previous_epoch.to_be_bytes());
        for partitions in [&self.assigned, &self.revoking, &self.target] {
            put_assignment(&mut out, partitions);
        }
        out
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`SnapshotError`], naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = open(bytes)?;
        let flags = input.byte("member flags")?;
        let instance = input.optional(flags & HAS_INSTANCE, "instance id")?;
        let rack = input.optional(flags & HAS_RACK, "rack")?;
        let regex = input.optional(flags & HAS_REGEX, "pattern")?;
        let assignor = input.optional(flags & HAS_ASSIGNOR, "assignor")?;
        let client_id = input.text("client id")?.into();
        let client_host = input.text("client host")?.into();
        let rebalance_timeout = input.millis("rebalance timeout")?;
        let mut names = Vec::new();
        for _ in 0..input.count("topic names")? {
            names.push(input.text("topic name")?.into());
        }
        let record = Self {
            instance: instance.map(InstanceId::new),
            rack: rack.map(Arc::from),
            client_id,
            client_host,
            rebalance_timeout,
            names,
            regex: regex.map(Arc::from),
            // An assignor of a later version counts as none.
            assignor: assignor.and_then(Assignor::named),
            epoch: i32::from_be_bytes(input.array("epoch")?),
            previous_epoch: i32::from_be_bytes(input.array("previous epoch")?),
            assigned: assignment(&mut input)?,
            revoking: assignment(&mut input)?,
            target: assignment(&mut input)?,
        };
        input.end()?;
        Ok(record)
    }
}

fn open(bytes: &[u8]) -> Result<Input<'_>, SnapshotError> {
    let mut input = Input::new(bytes);
    match input.byte("version")? {
        VERSION => Ok(input),
        found => Err(SnapshotError::Version { found }),
    }
}

fn put_assignment(out: &mut Vec<u8>, partitions: &Assignment) {
    put_count(out, partitions.topics().len());
    for (topic, numbers) in partitions.topics() {
        out.extend(topic.bytes());
        put_count(out, numbers.len());
        for number in numbers {
            out.extend(number.get().to_be_bytes());
        }
    }
}

fn assignment(input: &mut Input<'_>) -> Result<Assignment, SnapshotError> {
    let mut partitions = Assignment::new();
    for _ in 0..input.count("topics")? {
        let topic = TopicId::from_bytes(input.array("topic id")?);
        for _ in 0..input.count("partitions")? {
            let number = u32::from_be_bytes(input.array("partition")?);
            partitions.insert(topic, PartitionId::new(number));
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partitions() -> impl Strategy<Value = Assignment> {
        prop::collection::vec((0..4_u8, 0..9_u32), 0..6).prop_map(|all| {
            let all = all.into_iter();
            all.map(|(t, p)| (TopicId::from_bytes([t; 16]), PartitionId::new(p)))
                .collect()
        })
    }

    fn member() -> impl Strategy<Value = MemberRecord> {
        let text = || "[a-zü]{0,6}".prop_map(|text| Arc::<str>::from(text.as_str()));
        let maybe = || prop::option::of("[a-zü]{0,6}");
        (
            (maybe(), maybe(), maybe(), text(), text()),
            prop::collection::vec(text(), 0..3),
            prop::option::of(prop::sample::select(Assignor::ALL.to_vec())),
            (any::<u32>(), any::<i32>(), any::<i32>()),
            (partitions(), partitions(), partitions()),
        )
            .prop_map(|(texts, names, assignor, numbers, sets)| MemberRecord {
                instance: texts.0.map(|text| text.as_str().into()),
                rack: texts.1.map(|text| text.as_str().into()),
                regex: texts.2.map(|text| text.as_str().into()),
                client_id: texts.3,
                client_host: texts.4,
                rebalance_timeout: Duration::from_millis(numbers.0.into()),
                names,
                assignor,
                epoch: numbers.1,
                previous_epoch: numbers.2,
                assigned: sets.0,
                revoking: sets.1,
                target: sets.2,
            })
    }

    proptest! {
        #[test]
        fn what_is_stored_reads_back(record in member()) {
            let bytes = record.encode();
            prop_assert_eq!(MemberRecord::decode(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                prop_assert!(MemberRecord::decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(bytes);
            drop(MemberRecord::decode(&versioned));
            drop(HeaderRecord::decode(&versioned));
        }
    }

    #[test]
    fn headers_read_back_and_strangers_are_refused() {
        let header = HeaderRecord {
            epoch: 7,
            target_epoch: 6,
            fingerprint: u64::MAX - 1,
        };
        let mut bytes = header.encode();
        assert_eq!(bytes.len(), 17);
        assert_eq!(HeaderRecord::decode(&bytes), Ok(header));
        bytes.push(0);
        assert_eq!(
            HeaderRecord::decode(&bytes),
            Err(SnapshotError::Stray { count: 1 })
        );
        bytes[0] = 9;
        assert_eq!(
            HeaderRecord::decode(&bytes),
            Err(SnapshotError::Version { found: 9 })
        );
    }
}
