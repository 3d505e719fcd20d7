//! What members of the second protocol ask and are answered, without wire structs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::GroupId;

use super::Assignment;
use crate::{InstanceId, MemberId};

/// The epoch with which a member leaves.
pub const LEAVES: i32 = -1;

/// The epoch with which a static member leaves and means to return.
pub const LEAVES_FOR_NOW: i32 = -2;

/// One heartbeat. `None` in an optional field means "as I said before".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member; empty when the coordinator should choose its id (version 0 only).
    pub member: MemberId,
    /// Its epoch; 0 joins, [`LEAVES`] and [`LEAVES_FOR_NOW`] leave.
    pub epoch: i32,
    /// The name it chose for itself, if it is a static member.
    pub instance: Option<InstanceId>,
    /// Where it runs. Kept and shown; no assignor looks at it.
    pub rack: Option<Arc<str>>,
    /// What the client calls itself (`client.id`).
    pub client_id: Arc<str>,
    /// The address it connects from.
    pub client_host: Arc<str>,
    /// How long it may take to give partitions back.
    pub rebalance_timeout: Option<Duration>,
    /// The topics it reads by name.
    pub names: Option<Vec<Arc<str>>>,
    /// And those whose whole name matches this pattern; empty for none.
    pub regex: Option<Arc<str>>,
    /// The assignor it wishes for.
    pub assignor: Option<Arc<str>>,
    /// The partitions it owns.
    pub owned: Option<Assignment>,
    /// Whether the coordinator may make the member's id (version 0).
    pub may_lack_id: bool,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerAnswer {
    /// Its id.
    pub member: MemberId,
    /// Its epoch from now on; as asked when it left.
    pub epoch: i32,
    /// When to send the next heartbeat.
    pub heartbeat_interval: Duration,
    /// The partitions it may own from now on; `None` when that has not changed.
    pub assignment: Option<Assignment>,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerState {
    /// It has no members.
    Empty,
    /// The target is older than the group.
    Assigning,
    /// Some member is on its way to the target.
    Reconciling,
    /// Every member has its target.
    Stable,
    /// It is being deleted.
    Dead,
}

impl ConsumerState {
    /// Kafka's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for ConsumerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A group as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// The group.
    pub group: GroupId,
    /// What it is doing.
    pub state: ConsumerState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch its target was computed for.
    pub target_epoch: i32,
    /// The assignor that is used.
    pub assignor: &'static str,
    /// Its members by id.
    pub members: Vec<ConsumerMemberDescription>,
}

/// A member as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    /// Its id.
    pub member: MemberId,
    /// The name it chose for itself.
    pub instance: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// The epoch it follows; [`LEAVES_FOR_NOW`] while a static member is away.
    pub epoch: i32,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// The address it connects from.
    pub client_host: Arc<str>,
    /// The topics it reads by name.
    pub names: Vec<Arc<str>>,
    /// And those that match this pattern.
    pub regex: Option<Arc<str>>,
    /// What it owns, without what it is asked to give back.
    pub assigned: Assignment,
    /// What it is asked to give back.
    pub revoking: Assignment,
    /// What it should own.
    pub target: Assignment,
}
