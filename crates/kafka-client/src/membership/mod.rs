//! One member of a consumer group, by the classic protocol.
//!
//! ```text
//!            ┌── MemberIdRequired: again with the id ──┐
//! join ──> JoinGroup ──> (leader: assign) ──> SyncGroup ──> member of a generation
//!            ↑                                                │ heartbeat every third of the session
//!            └──────── Beat::Rebalance ───────────────────────┘
//! ```
//! The member gives up its partitions before it joins again (the eager way). The caller drives it:
//! heartbeats, commits and joining again are its calls, so that it decides what happens in between.
//! Source: Kafka's JoinGroup, SyncGroup, Heartbeat, LeaveGroup; KIP-394 (member id required).
//!
//! Not here: reading ([`crate::Reader`]); static members; the protocol of KIP-848.

mod assignor;
pub(crate) mod protocol;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_wire::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::messages::leave_group_request::MemberIdentity;
use kafka_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_wire::{Api, ErrorCode, StrBytes};
use model::{GroupId, Offset, TopicName, TopicPartition};
use tokio::time::sleep;

use crate::admin::{Committer, wire_group};
use crate::cluster::{BACKOFF, PATIENCE};
use crate::error::check;
use crate::{Admin, Cluster, Connection, Error, Options};
use assignor::{Assignor, Subscriptions};

/// Kafka's name for groups of consumers.
const CONSUMER: &str = "consumer";

/// LeaveGroup names several members since this version.
const SEVERAL_LEAVE_SINCE: i16 = 3;

/// How a member behaves.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// A member that is silent for so long is out. Default 45 s, as Kafka's consumer has it.
    pub session_timeout: Duration,
    /// How long others are waited for when the group changes. Default 60 s.
    pub rebalance_timeout: Duration,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_mins(1),
        }
    }
}

/// What a heartbeat heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Everything stays.
    Steady,
    /// The group changes: commit, then [`Member::rejoin`]. The partitions are still this member's.
    Rebalance,
    /// The group went on without this member, whose partitions others read now: [`Member::rejoin`].
    Lost,
}

/// A member of a consumer group.
#[derive(Debug)]
pub struct Member {
    cluster: Cluster,
    group: GroupId,
    topics: Vec<TopicName>,
    options: MemberOptions,
    coordinator: Connection,
    id: StrBytes,
    generation: i32,
    assigned: Vec<TopicPartition>,
}

impl Member {
    /// Joins `group` to read `topics`; ready when there is an assignment.
    ///
    /// # Errors
    /// [`Error::Refused`], with `InconsistentGroupProtocol` when the members have no way to assign in
    /// common with this one; those of [`Cluster::coordinator`].
    pub async fn join(
        cluster: &Cluster,
        group: GroupId,
        topics: Vec<TopicName>,
        options: MemberOptions,
    ) -> Result<Self, Error> {
        let coordinator = open_coordinator(cluster, &group, &options).await?;
        let mut member = Self {
            cluster: cluster.clone(),
            group,
            topics,
            options,
            coordinator,
            id: StrBytes::new(),
            generation: -1,
            assigned: Vec::new(),
        };
        member.rejoin().await?;
        Ok(member)
    }

    /// The partitions it is to read, in order.
    pub fn assigned(&self) -> &[TopicPartition] {
        &self.assigned
    }

    /// How often to call [`Member::heartbeat`].
    pub fn heartbeat_interval(&self) -> Duration {
        (self.options.session_timeout / 3).min(Duration::from_secs(3))
    }

    /// Joins again, after a [`Beat`] that asks for it; ready when there is a new assignment.
    ///
    /// # Errors
    /// As [`Member::join`].
    pub async fn rejoin(&mut self) -> Result<(), Error> {
        let began = tokio::time::Instant::now();
        loop {
            let error = match self.try_join().await {
                Ok(assigned) => {
                    self.assigned = assigned;
                    self.assigned.sort();
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.code() {
                Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => continue,
                Some(
                    ErrorCode::UnknownMemberId
                    | ErrorCode::IllegalGeneration
                    | ErrorCode::FencedInstanceId,
                ) => {
                    self.id = StrBytes::new();
                    continue;
                }
                _ if error.is_passing() && began.elapsed() < PATIENCE => (),
                _ => return Err(error),
            }
            sleep(BACKOFF).await;
            // The coordinator may be another one now, or still be starting.
            if let Ok(found) = open_coordinator(&self.cluster, &self.group, &self.options).await {
                self.coordinator = found;
            }
        }
    }

    async fn try_join(&mut self) -> Result<Vec<TopicPartition>, Error> {
        let metadata = protocol::encode_subscription(&self.topics);
        let protocols = Assignor::ALL.map(|assignor| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(metadata.clone())
        });
        let request = JoinGroupRequest::default()
            .with_group_id(wire_group(&self.group))
            .with_session_timeout_ms(millis(self.options.session_timeout))
            .with_rebalance_timeout_ms(millis(self.options.rebalance_timeout))
            .with_member_id(self.id.clone())
            .with_protocol_type(StrBytes::from_static_str(CONSUMER))
            .with_protocols(protocols.into());
        let joined: JoinGroupResponse = self.coordinator.call(Api::JoinGroup, &request).await?;
        if ErrorCode::try_from_code(joined.error_code) == Some(ErrorCode::MemberIdRequired) {
            self.id = joined.member_id.clone();
        }
        check(Api::JoinGroup, joined.error_code, Some(self.group.as_str()))?;
        self.id = joined.member_id.clone();
        self.generation = joined.generation_id;
        let assignments = if joined.leader == joined.member_id {
            self.assign(&joined).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest::default()
            .with_group_id(wire_group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments);
        let request = if self.coordinator.version(Api::SyncGroup)? >= 5 {
            request
                .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER)))
                .with_protocol_name(joined.protocol_name.clone())
        } else {
            request
        };
        let synced: SyncGroupResponse = self.coordinator.call(Api::SyncGroup, &request).await?;
        check(Api::SyncGroup, synced.error_code, Some(self.group.as_str()))?;
        protocol::decode_assignment(synced.assignment)
    }

    /// As the leader: who reads what.
    async fn assign(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
        let name = joined.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::by_name(name).ok_or(Error::Answer {
            api: Api::JoinGroup,
            reason: "the coordinator chose a way to assign that was not offered",
        })?;
        let mut members = Subscriptions::new();
        for member in &joined.members {
            let topics = protocol::decode_subscription(member.metadata.clone())?;
            members.insert(member.member_id.to_string(), topics.into_iter().collect());
        }
        let wanted: BTreeSet<TopicName> = members.values().flatten().cloned().collect();
        let wanted: Vec<TopicName> = wanted.into_iter().collect();
        let found = self.cluster.metadata(Some(&wanted)).await?;
        let topics: BTreeMap<TopicName, u32> = found
            .topics
            .into_iter()
            .filter(|topic| topic.error.is_none())
            .map(|topic| {
                let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
                (topic.name, count)
            })
            .collect();
        let assignment = assignor.assign(&members, &topics).into_iter();
        let assignment = assignment.map(|(member, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(protocol::encode_assignment(&partitions))
        });
        Ok(assignment.collect())
    }

    /// Tells the coordinator that it is there.
    ///
    /// # Errors
    /// [`Error::Refused`] with a code that joining again does not heal. A lost connection is
    /// [`Beat::Lost`]: joining again finds the coordinator, or fails.
    pub async fn heartbeat(&self) -> Result<Beat, Error> {
        let request = HeartbeatRequest::default()
            .with_group_id(wire_group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let answer: Result<HeartbeatResponse, Error> =
            self.coordinator.call(Api::Heartbeat, &request).await;
        let error = match answer {
            Ok(answer) => match check(Api::Heartbeat, answer.error_code, None) {
                Ok(()) => return Ok(Beat::Steady),
                Err(error) => error,
            },
            Err(error) => error,
        };
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => Ok(Beat::Rebalance),
            Some(
                ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::FencedInstanceId,
            ) => Ok(Beat::Lost),
            _ if error.is_passing() => Ok(Beat::Lost),
            _ => Err(error),
        }
    }

    /// Stores how far it has read.
    ///
    /// # Errors
    /// [`Error::Refused`], with `IllegalGeneration`, `UnknownMemberId` or `RebalanceInProgress` when
    /// the group went on without this member; those of [`Connection::call`].
    pub async fn commit(&self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let by = Committer {
            member: &self.id,
            generation: self.generation,
        };
        let admin = Admin::new(self.coordinator.clone());
        admin.commit_as(&self.group, by, offsets).await
    }

    /// How far the group has read in its partitions; those without a committed offset are left out.
    ///
    /// # Errors
    /// Those of [`Admin::committed`].
    pub async fn committed(&self) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let admin = Admin::new(self.coordinator.clone());
        admin.committed(&self.group, Some(&self.assigned)).await
    }

    /// Leaves, so that others need not wait for its session to end.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn leave(self) -> Result<(), Error> {
        let request = LeaveGroupRequest::default().with_group_id(wire_group(&self.group));
        let several = self.coordinator.version(Api::LeaveGroup)? >= SEVERAL_LEAVE_SINCE;
        let request = if several {
            let one = MemberIdentity::default().with_member_id(self.id.clone());
            request.with_members(vec![one])
        } else {
            request.with_member_id(self.id.clone())
        };
        let answer: LeaveGroupResponse = self.coordinator.call(Api::LeaveGroup, &request).await?;
        check(Api::LeaveGroup, answer.error_code, None)
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// A connection for one member: JoinGroup waits there for as long as a rebalance may take.
async fn open_coordinator(
    cluster: &Cluster,
    group: &GroupId,
    options: &MemberOptions,
) -> Result<Connection, Error> {
    let id = cluster.coordinator_of(group).await?;
    let patient = Options {
        timeout: options.rebalance_timeout + cluster.options().timeout,
        ..cluster.options().clone()
    };
    cluster.open(id, patient).await
}
