//! One member of a group: who it is, what it speaks, what it waits for.
//!
//! Invariants: a member waits for at most one answer; `deadline` says when it is given up, and does
//! not count while the member waits for an answer, unless it is new (then it cannot send heartbeats
//! and nobody would notice that it is gone).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::api::{JoinRequest, JoinedMember, MemberDescription, Protocol};
use crate::{InstanceId, MemberId, Ticket};

/// The answer a member waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    Nothing,
    Join(Ticket),
    Sync(Ticket),
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<Protocol>,
    /// What the leader assigned in the last stable generation.
    pub(crate) assignment: Bytes,
    pub(crate) awaits: Awaits,
    /// It never got an answer to its first join.
    pub(crate) is_new: bool,
    /// It asked for its assignment in this generation.
    pub(crate) synced: bool,
    /// When it is given up for lost.
    pub(crate) deadline: Duration,
    /// Counts up with each member of the group: the smallest has been there for longest.
    pub(crate) seniority: u64,
}

impl Member {
    pub(crate) fn new(id: MemberId, request: &JoinRequest, seniority: u64) -> Self {
        Self {
            id,
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: owned(&request.protocols),
            assignment: Bytes::new(),
            awaits: Awaits::Nothing,
            is_new: true,
            synced: false,
            deadline: Duration::ZERO,
            seniority,
        }
    }

    pub(crate) fn awaits_join(&self) -> bool {
        matches!(self.awaits, Awaits::Join(_))
    }

    /// Whether it is given up at `now`.
    pub(crate) fn is_expired(&self, now: Duration) -> bool {
        (self.is_new || self.awaits == Awaits::Nothing) && self.deadline <= now
    }

    /// When to look at it again; `None` while an answer is owed to it.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        (self.is_new || self.awaits == Awaits::Nothing).then_some(self.deadline)
    }

    /// A sign of life: the session starts anew.
    pub(crate) fn touch(&mut self, now: Duration) {
        self.deadline = now + self.session_timeout;
    }

    /// Whether `protocols` are the ones it has, in the same order with the same metadata.
    pub(crate) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Its metadata in `protocol`; empty if it does not speak it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|spoken| &*spoken.name == protocol)
            .map(|spoken| spoken.metadata.clone())
            .unwrap_or_default()
    }

    pub(crate) fn joined(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            member: self.id.clone(),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// What administrators see; `protocol` is `None` unless the group is stable.
    pub(crate) fn describe(&self, protocol: Option<&str>) -> MemberDescription {
        MemberDescription {
            member: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|name| self.metadata(name)).unwrap_or_default(),
            assignment: protocol
                .map(|_| self.assignment.clone())
                .unwrap_or_default(),
        }
    }
}

/// A copy that does not keep the request's whole frame alive for as long as the member lives.
pub(crate) fn owned(protocols: &[Protocol]) -> Vec<Protocol> {
    protocols
        .iter()
        .map(|protocol| Protocol {
            name: protocol.name.clone(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
