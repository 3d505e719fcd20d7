//! Why a request about a group is refused.
//!
//! Each variant has one counterpart in Kafka's protocol, named in its comment; the edge maps them by
//! an exhaustive match.

use std::time::Duration;

use model::{GroupId, TopicName};

use crate::{InstanceId, MemberId};

/// Why a request about a group is refused. The caller is to blame unless the comment says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `MEMBER_ID_REQUIRED`: join again with this member id. Not a failure, the first of two steps.
    #[error("join again as member '{member}'")]
    MemberIdRequired {
        /// The id made for the new member.
        member: MemberId,
    },
    /// `UNKNOWN_MEMBER_ID`: the group has no such member (any more).
    #[error("group '{group}' has no member '{member}'")]
    UnknownMember {
        /// The group.
        group: GroupId,
        /// The member asked about.
        member: MemberId,
    },
    /// `FENCED_INSTANCE_ID`: another process took over this instance id.
    #[error("instance '{instance}' of group '{group}' belongs to another member than '{member}'")]
    FencedInstance {
        /// The group.
        group: GroupId,
        /// The instance id.
        instance: InstanceId,
        /// The member that asked.
        member: MemberId,
    },
    /// `ILLEGAL_GENERATION`: the member speaks of another generation than the current one.
    #[error("group '{group}' is at generation {current}, not {asked}")]
    IllegalGeneration {
        /// The group.
        group: GroupId,
        /// The generation asked about.
        asked: i32,
        /// The current generation.
        current: i32,
    },
    /// `REBALANCE_IN_PROGRESS`: join again to take part.
    #[error("group '{group}' is rebalancing")]
    RebalanceInProgress {
        /// The group.
        group: GroupId,
    },
    /// `INCONSISTENT_GROUP_PROTOCOL`: protocol type or assignors do not fit those of the group.
    #[error("the protocols of the request do not fit those of group '{group}'")]
    InconsistentProtocol {
        /// The group.
        group: GroupId,
    },
    /// `INVALID_SESSION_TIMEOUT`: outside the configured bounds.
    #[error("a session timeout of {asked:?} is outside {min:?} to {max:?}")]
    InvalidSessionTimeout {
        /// What the client asked for.
        asked: Duration,
        /// The shortest allowed.
        min: Duration,
        /// The longest allowed.
        max: Duration,
    },
    /// `GROUP_MAX_SIZE_REACHED`: the group has as many members as it may have.
    #[error("group '{group}' has its {limit} members already")]
    GroupFull {
        /// The group.
        group: GroupId,
        /// Members allowed.
        limit: usize,
    },
    /// `GROUP_MAX_SIZE_REACHED` too, since clients take it as final: no more groups fit.
    #[error("there are {limit} groups already")]
    TooManyGroups {
        /// Groups allowed.
        limit: usize,
    },
    /// `GROUP_ID_NOT_FOUND`.
    #[error("group '{group}' does not exist")]
    UnknownGroup {
        /// The group.
        group: GroupId,
    },
    /// `NON_EMPTY_GROUP`: only a group without members can be deleted.
    #[error("group '{group}' has members (it is {state})")]
    NotEmpty {
        /// The group.
        group: GroupId,
        /// What it is doing.
        state: &'static str,
    },
    /// `GROUP_SUBSCRIBED_TO_TOPIC`: offsets of a topic that members read cannot be deleted.
    #[error("members of group '{group}' are subscribed to topic '{topic}'")]
    SubscribedToTopic {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
    },
    /// `COORDINATOR_NOT_AVAILABLE`: the group is being deleted, or its state could not be stored
    /// (Lantern or the machine is to blame). The same request may succeed a moment later.
    #[error("group '{group}' cannot be changed right now")]
    NotAvailable {
        /// The group.
        group: GroupId,
    },
    /// `GROUP_ID_NOT_FOUND`: the group has members of the first protocol, and members of the second
    /// cannot be among them; an empty group could be taken over.
    #[error(
        "group '{group}' has members of the classic protocol; it takes others when they are gone"
    )]
    OtherProtocol {
        /// The group.
        group: GroupId,
    },
    /// `FENCED_MEMBER_EPOCH`: the member must give up its partitions and join again.
    #[error("member '{member}' of group '{group}' is at epoch {current}, not {asked}")]
    FencedMemberEpoch {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// The epoch it speaks of.
        asked: i32,
        /// The epoch it is at.
        current: i32,
    },
    /// `STALE_MEMBER_EPOCH`: the member must learn its epoch by a heartbeat and ask again.
    #[error(
        "member '{member}' of group '{group}' is at epoch {current}, the request is of {asked}"
    )]
    StaleMemberEpoch {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// The epoch the request speaks of.
        asked: i32,
        /// The epoch it is at.
        current: i32,
    },
    /// `UNRELEASED_INSTANCE_ID`: another member uses the instance id and has not left.
    #[error("instance '{instance}' of group '{group}' is in use; its member must leave first")]
    UnreleasedInstance {
        /// The group.
        group: GroupId,
        /// The instance id.
        instance: InstanceId,
    },
    /// `UNSUPPORTED_ASSIGNOR`.
    #[error("there is no assignor '{asked}'; there are uniform and range")]
    UnsupportedAssignor {
        /// What was asked for.
        asked: String,
    },
    /// `INVALID_REGULAR_EXPRESSION`.
    #[error("'{pattern}' is no pattern of topics: {reason}")]
    InvalidRegex {
        /// Its first hundred characters.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `INVALID_REQUEST`: the request makes no sense, whatever the group.
    #[error("{problem}")]
    InvalidRequest {
        /// What is wrong with it.
        problem: &'static str,
    },
}
