//! A group's state as it is stored, and its bytes.
//!
//! Invariants: `decode(encode(x)) == x`; bytes that are not a snapshot are an error, never a panic and
//! never more memory than a small multiple of their length.
//! Not here: where they are kept (`broker::coordinator`), and anything that ends with the process:
//! who waits for what, pending members. Byte layout: `docs/format/group-membership.md`.
//!
//! ```text
//! version u8 = 0 | generation i32 | flags u8 (1: protocol, 2: leader) | protocol type str
//!   | [protocol str] | [leader str] | members u32, each:
//!   id str | flags u8 (1: instance) | [instance str] | client id str | client host str
//!   | session ms u32 | rebalance ms u32 | seniority u64
//!   | protocols u32, each: name str, metadata bytes | assignment bytes
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::api::Protocol;
use crate::{InstanceId, MemberId};

const VERSION: u8 = 0;
const HAS_FIRST: u8 = 1;
const HAS_SECOND: u8 = 2;

/// What of a group survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its generation.
    pub generation: i32,
    /// What it is for; empty when no member ever said.
    pub protocol_type: Arc<str>,
    /// What was voted for; `None` without members.
    pub protocol: Option<Arc<str>>,
    /// Who assigns; `None` without members.
    pub leader: Option<MemberId>,
    /// Its members by id.
    pub members: Vec<MemberSnapshot>,
}

/// What of a member survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSnapshot {
    /// Its id.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// The address it connected from.
    pub client_host: Arc<str>,
    /// Without a heartbeat for this long it is out; stored in whole milliseconds.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it; stored in whole milliseconds.
    pub rebalance_timeout: Duration,
    /// The smallest has been a member for longest.
    pub seniority: u64,
    /// What it speaks.
    pub protocols: Vec<Protocol>,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A version this program does not know.
    #[error("group snapshot has version {found}, this Lantern reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The bytes end early.
    #[error("group snapshot ends inside its {field}")]
    Truncated {
        /// What was being read.
        field: &'static str,
    },
    /// A text that is not UTF-8.
    #[error("group snapshot has a {field} that is not UTF-8")]
    Text {
        /// What was being read.
        field: &'static str,
    },
    /// Bytes are left over.
    #[error("group snapshot is followed by {count} stray bytes")]
    Stray {
        /// How many.
        count: usize,
    },
    /// The leader is none of the members, or there is one without members.
    #[error("group snapshot names a leader that is no member")]
    Leader,
}

impl Snapshot {
    /// The snapshot as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.generation.to_be_bytes());
        let flags = if self.protocol.is_some() {
            HAS_FIRST
        } else {
            0
        } | if self.leader.is_some() { HAS_SECOND } else { 0 };
        out.push(flags);
        put(&mut out, self.protocol_type.as_bytes());
        if let Some(protocol) = &self.protocol {
            put(&mut out, protocol.as_bytes());
        }
        if let Some(leader) = &self.leader {
            put(&mut out, leader.as_str().as_bytes());
        }
        put_count(&mut out, self.members.len());
        for member in &self.members {
            member.encode(&mut out);
        }
        out
    }

    /// The snapshot in `bytes`.
    ///
    /// # Errors
    /// [`SnapshotError`], naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Input::new(bytes);
        let version = input.byte("version")?;
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let generation = i32::from_be_bytes(input.array("generation")?);
        let flags = input.byte("flags")?;
        let protocol_type = input.text("protocol type")?.into();
        let protocol = input
            .optional(flags & HAS_FIRST, "protocol")?
            .map(Arc::from);
        let leader = input
            .optional(flags & HAS_SECOND, "leader")?
            .map(MemberId::new);
        let mut members = Vec::new();
        for _ in 0..input.count("members")? {
            members.push(MemberSnapshot::decode(&mut input)?);
        }
        input.end()?;
        let leads = |leader: &MemberId| members.iter().any(|m| m.member == *leader);
        if !leader.as_ref().map_or(members.is_empty(), leads) {
            return Err(SnapshotError::Leader);
        }
        Ok(Self {
            generation,
            protocol_type,
            protocol,
            leader,
            members,
        })
    }
}

impl MemberSnapshot {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.member.as_str().as_bytes());
        out.push(if self.instance.is_some() {
            HAS_FIRST
        } else {
            0
        });
        if let Some(instance) = &self.instance {
            put(out, instance.as_str().as_bytes());
        }
        put(out, self.client_id.as_bytes());
        put(out, self.client_host.as_bytes());
        put_millis(out, self.session_timeout);
        put_millis(out, self.rebalance_timeout);
        out.extend(self.seniority.to_be_bytes());
        put_count(out, self.protocols.len());
        for protocol in &self.protocols {
            put(out, protocol.name.as_bytes());
            put(out, &protocol.metadata);
        }
        put(out, &self.assignment);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, SnapshotError> {
        let member = MemberId::new(input.text("member id")?);
        let flags = input.byte("member flags")?;
        let instance = input
            .optional(flags & HAS_FIRST, "instance id")?
            .map(InstanceId::new);
        let client_id = input.text("client id")?.into();
        let client_host = input.text("client host")?.into();
        let session_timeout = input.millis("session timeout")?;
        let rebalance_timeout = input.millis("rebalance timeout")?;
        let seniority = u64::from_be_bytes(input.array("seniority")?);
        let mut protocols = Vec::new();
        for _ in 0..input.count("protocols")? {
            let name = input.text("protocol name")?.into();
            let metadata = Bytes::copy_from_slice(input.bytes("protocol metadata")?);
            protocols.push(Protocol { name, metadata });
        }
        let assignment = Bytes::copy_from_slice(input.bytes("assignment")?);
        Ok(Self {
            member,
            instance,
            client_id,
            client_host,
            session_timeout,
            rebalance_timeout,
            seniority,
            protocols,
            assignment,
        })
    }
}

pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a request is smaller than 4 GiB");
    out.extend(count.to_be_bytes());
}

pub(crate) fn put_millis(out: &mut Vec<u8>, span: Duration) {
    out.extend(
        u32::try_from(span.as_millis())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
}

/// The bytes not yet read.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Ends the reading.
    pub(crate) fn end(&self) -> Result<(), SnapshotError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(SnapshotError::Stray { count }),
        }
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], SnapshotError> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(SnapshotError::Truncated { field })?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, SnapshotError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(crate) fn count(&mut self, field: &'static str) -> Result<u32, SnapshotError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn millis(&mut self, field: &'static str) -> Result<Duration, SnapshotError> {
        Ok(Duration::from_millis(self.count(field)?.into()))
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], SnapshotError> {
        let truncated = SnapshotError::Truncated { field };
        let Ok(length) = usize::try_from(self.count(field)?) else {
            return Err(truncated);
        };
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, SnapshotError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| SnapshotError::Text { field })
    }

    pub(crate) fn optional(
        &mut self,
        flag: u8,
        field: &'static str,
    ) -> Result<Option<&'a str>, SnapshotError> {
        if flag == 0 {
            Ok(None)
        } else {
            self.text(field).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member() -> impl Strategy<Value = MemberSnapshot> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let text = || "[a-zü]{0,6}";
        let protocol = (text(), bytes()).prop_map(|(name, metadata)| Protocol {
            name: name.as_str().into(),
            metadata,
        });
        (
            (text(), prop::option::of(text()), text(), text()),
            (any::<u32>(), any::<u32>(), any::<u64>()),
            prop::collection::vec(protocol, 0..3),
            bytes(),
        )
            .prop_map(|(names, numbers, protocols, assignment)| MemberSnapshot {
                member: names.0.as_str().into(),
                instance: names.1.map(|name| name.as_str().into()),
                client_id: names.2.as_str().into(),
                client_host: names.3.as_str().into(),
                session_timeout: Duration::from_millis(numbers.0.into()),
                rebalance_timeout: Duration::from_millis(numbers.1.into()),
                seniority: numbers.2,
                protocols,
                assignment,
            })
    }

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        (
            any::<i32>(),
            prop::option::of("[a-z]{0,6}"),
            prop::collection::vec(member(), 0..4),
        )
            .prop_map(|(generation, protocol, members)| Snapshot {
                generation,
                protocol_type: "consumer".into(),
                protocol: protocol.map(|name| name.as_str().into()),
                leader: members.last().map(|member| member.member.clone()),
                members,
            })
    }

    proptest! {
        #[test]
        fn what_is_stored_reads_back(snapshot in snapshot()) {
            let bytes = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
            for cut in 0..bytes.len() {
                prop_assert!(Snapshot::decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(bytes);
            drop(Snapshot::decode(&versioned));
        }
    }

    #[test]
    fn a_lying_count_is_refused_before_any_memory_is_taken() {
        let mut bytes = vec![VERSION, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        bytes.extend(u32::MAX.to_be_bytes());
        assert_eq!(
            Snapshot::decode(&bytes),
            Err(SnapshotError::Truncated { field: "member id" })
        );
        assert_eq!(
            Snapshot::decode(&[9]),
            Err(SnapshotError::Version { found: 9 })
        );
    }
}
