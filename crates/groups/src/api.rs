//! What callers ask and what the coordinator answers, in the words of Kafka's classic group protocol
//! but without its wire structs.
//!
//! Invariants: every join, sync and store leaves exactly one answer with its ticket, at once or in a
//! later batch of actions.
//! Not here: encoding (`kafka-wire`), Kafka's error codes (`kafka-edge`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::GroupId;

use crate::consumer::{Changes, ConsumerAnswer, ConsumerState};
use crate::snapshot::Snapshot;
use crate::{Error, InstanceId, MemberId, StoreId, Ticket};

/// One way of assigning partitions that a member speaks, and what it tells its leader in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The assignor's name, e.g. `range`.
    pub name: Arc<str>,
    /// The member's metadata, opaque here (for consumers: its subscription).
    pub metadata: Bytes,
}

/// A member wants to be in the group's next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: GroupId,
    /// The member; empty when it has no id yet.
    pub member: MemberId,
    /// The name it chose for itself, if it is a static member.
    pub instance: Option<InstanceId>,
    /// What the client calls itself (`client.id`).
    pub client_id: Arc<str>,
    /// The address it connects from.
    pub client_host: Arc<str>,
    /// Without a heartbeat for this long it is out.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it. Version 0 has none: the session timeout stands in.
    pub rebalance_timeout: Duration,
    /// What the group is for: `consumer`, `connect`, ….
    pub protocol_type: Arc<str>,
    /// The ways of assigning it speaks, the preferred first.
    pub protocols: Vec<Protocol>,
    /// A new dynamic member is given its id first and must join again with it (version 4 and up).
    pub member_id_required: bool,
    /// The client understands [`JoinAnswer::skip_assignment`] (version 9 and up).
    pub may_skip_assignment: bool,
}

/// The group's new generation, as one member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The generation.
    pub generation: i32,
    /// What the group is for.
    pub protocol_type: Arc<str>,
    /// The way of assigning that was voted for.
    pub protocol: Arc<str>,
    /// Who assigns.
    pub leader: MemberId,
    /// The member's own id.
    pub member: MemberId,
    /// All members, for the leader; empty for everyone else.
    pub members: Vec<JoinedMember>,
    /// The leader need not assign: a static leader came back and nothing else changed.
    pub skip_assignment: bool,
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// Its metadata in the chosen protocol.
    pub metadata: Bytes,
}

/// A member asks for its assignment; the leader brings all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Who asks, and in which generation.
    pub by: MemberRef,
    /// What the member believes the group is for (version 5 and up).
    pub protocol_type: Option<Arc<str>>,
    /// What it believes was voted for (version 5 and up).
    pub protocol: Option<Arc<str>>,
    /// The assignments, from the leader; members left out get an empty one.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// What the group is for.
    pub protocol_type: Arc<str>,
    /// The way of assigning that was voted for.
    pub protocol: Arc<str>,
    /// What the leader assigned, opaque here; may be empty.
    pub assignment: Bytes,
}

/// Who speaks, and in which generation: the whole of a heartbeat, the identity part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    /// The group.
    pub group: GroupId,
    /// The member; empty for a consumer without group membership.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// Its generation; -1 for a consumer without group membership.
    pub generation: i32,
}

/// One member that leaves: by member id, or (empty member id) by instance id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The member id; empty to remove whoever holds the instance id.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// A rebalance waits for members to join.
    PreparingRebalance,
    /// The members are known, the leader's assignment is not.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// It is being deleted, or does not exist.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a group of either protocol is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedState {
    /// A group of the first protocol, or one that only committed offsets.
    Classic(GroupState),
    /// A group of the second protocol (KIP-848).
    Consumer(ConsumerState),
}

impl ListedState {
    /// Kafka's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classic(state) => state.as_str(),
            Self::Consumer(state) => state.as_str(),
        }
    }

    /// Kafka's name of the protocol.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }
}

/// A group as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group.
    pub group: GroupId,
    /// What it is doing.
    pub state: GroupState,
    /// Its generation; 0 before the first.
    pub generation: i32,
    /// What it is for; empty when no member ever said.
    pub protocol_type: Arc<str>,
    /// The way of assigning that was voted for; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members by id.
    pub members: Vec<MemberDescription>,
}

/// A member as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// The address it connects from.
    pub client_host: Arc<str>,
    /// Its metadata in the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}

/// One line of a list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// The group.
    pub group: GroupId,
    /// What it is for; empty when no member ever said.
    pub protocol_type: Arc<str>,
    /// What it is doing.
    pub state: ListedState,
    /// How many members it has.
    pub members: usize,
}

/// What the caller has to do after telling the coordinator something. In order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer the join request with this ticket.
    AnswerJoin {
        /// Which request.
        ticket: Ticket,
        /// The answer.
        result: Result<JoinAnswer, Error>,
    },
    /// Answer the sync request with this ticket.
    AnswerSync {
        /// Which request.
        ticket: Ticket,
        /// The answer.
        result: Result<SyncAnswer, Error>,
    },
    /// Store the group's state, then call [`Coordinator::stored`](crate::Coordinator::stored).
    ///
    /// A later store of the same group replaces an earlier one that has not begun.
    Store {
        /// To be handed back.
        id: StoreId,
        /// The group.
        group: GroupId,
        /// Its state; `None` when the group is gone.
        snapshot: Option<Snapshot>,
    },
    /// Answer the heartbeat of the second protocol with this ticket.
    AnswerConsumer {
        /// Which request.
        ticket: Ticket,
        /// The answer.
        result: Result<ConsumerAnswer, Error>,
    },
    /// Store these changes of a group of the second protocol, all or none of them, then call
    /// [`Coordinator::stored`](crate::Coordinator::stored).
    StoreConsumer {
        /// To be handed back.
        id: StoreId,
        /// The group.
        group: GroupId,
        /// What changed.
        changes: Changes,
    },
    /// Something worth a log line and a counter happened.
    Note(Note),
}

/// Something that happened to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A rebalance began.
    Rebalancing {
        /// The group.
        group: GroupId,
        /// The generation it ends.
        generation: i32,
        /// Why.
        reason: Reason,
    },
    /// All members joined; the leader now assigns.
    Joined {
        /// The group.
        group: GroupId,
        /// The new generation.
        generation: i32,
        /// How many members it has.
        members: usize,
    },
    /// The assignment is stored and given out.
    Stable {
        /// The group.
        group: GroupId,
        /// The generation.
        generation: i32,
        /// How many members it has.
        members: usize,
    },
    /// The last member is gone.
    Emptied {
        /// The group.
        group: GroupId,
        /// The generation.
        generation: i32,
    },
    /// A member was removed without having asked for it.
    MemberRemoved {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// Why.
        reason: Reason,
    },
    /// A new process took over an instance id.
    InstanceTakenOver {
        /// The group.
        group: GroupId,
        /// The instance id.
        instance: InstanceId,
        /// The member id it had.
        old: MemberId,
        /// The member id it has now.
        new: MemberId,
    },
    /// The group was forgotten: empty for long, deleted, or never more than an attempt.
    Forgotten {
        /// The group.
        group: GroupId,
    },
}

/// Why a rebalance began or a member was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A member that was not there before joined.
    MemberJoined,
    /// A member joined again with other protocols, or the leader joined again.
    MemberRejoined,
    /// A static member came back while the assignment was being made, or with other protocols.
    StaticMemberReplaced,
    /// A member left.
    MemberLeft,
    /// A member sent no heartbeat in time.
    SessionExpired,
    /// A member did not join again in time.
    JoinExpired,
    /// A member did not ask for its assignment in time.
    SyncExpired,
    /// The assignment could not be stored.
    StoreFailed,
    /// A member reads other topics than before.
    SubscriptionChanged,
    /// Topics that are read appeared, grew or vanished.
    TopicsChanged,
    /// Members wish for another assignor.
    AssignorChanged,
    /// A member did not give partitions back in time.
    RevocationExpired,
}

impl Reason {
    /// The reason in a few words, for logs and label values.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemberJoined => "member joined",
            Self::MemberRejoined => "member rejoined",
            Self::StaticMemberReplaced => "static member replaced",
            Self::MemberLeft => "member left",
            Self::SessionExpired => "session expired",
            Self::JoinExpired => "join expired",
            Self::SyncExpired => "sync expired",
            Self::StoreFailed => "store failed",
            Self::SubscriptionChanged => "subscription changed",
            Self::TopicsChanged => "topics changed",
            Self::AssignorChanged => "assignor changed",
            Self::RevocationExpired => "revocation expired",
        }
    }
}
