//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: who is in a group, and what is whose.
//!
//! Joins and syncs may wait for other members; they end early when the client is gone, since nobody
//! would read the answer (the group misses the member in time, as it does any silent one).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groups::{InstanceId, JoinAnswer, JoinRequest, Leaving, MemberId, MemberRef, Protocol};
use groups::{SyncAnswer, SyncRequest};
use kafka_wire::messages::join_group_response::JoinGroupResponseMember;
use kafka_wire::messages::leave_group_response::MemberResponse;
use kafka_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_wire::{ErrorCode, StrBytes};
use model::GroupId;

use broker::coordinator::GroupError;

use crate::codes::Coded;
use crate::context::{Call, Fatal, text};

/// Versions from which on the two-step member id, protocol names in answers, and skipping the
/// assignment exist.
const MEMBER_ID_STEP_SINCE: i16 = 4;
const PROTOCOLS_IN_ANSWERS_SINCE: i16 = 7;
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// The first version in which several members leave at once.
const SEVERAL_LEAVE_SINCE: i16 = 3;

/// A group id as it is used everywhere.
///
/// # Errors
/// INVALID_GROUP_ID.
pub(super) fn group_id(id: &str) -> Result<GroupId, ErrorCode> {
    GroupId::new(id).map_err(|_| ErrorCode::InvalidGroupId)
}

/// A group whose members or offsets a request changes. Lantern's own are not for clients: what they commit says what
/// was delivered, and what may go.
///
/// # Errors
/// INVALID_GROUP_ID, GROUP_AUTHORIZATION_FAILED.
pub(super) fn group_to_change(id: &str) -> Result<GroupId, ErrorCode> {
    let group = group_id(id)?;
    if group.is_internal() {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    Ok(group)
}

fn instance(id: Option<&StrBytes>) -> Option<InstanceId> {
    id.map(|id| InstanceId::new(id))
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Ready with `None` when nobody waits for the answer any more.
pub(super) async fn unless_gone<T>(call: &Call, work: impl Future<Output = T>) -> Result<T, Fatal> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = call.peer.gone.cancelled() => Err(Fatal::Gone),
    }
}

/// Serves JoinGroup.
pub(crate) async fn join_group(
    call: &Call,
    request: JoinGroupRequest,
) -> Result<JoinGroupResponse, Fatal> {
    let member = request.member_id.clone();
    let group = match group_to_change(&request.group_id) {
        Ok(group) => group,
        Err(code) => return Ok(join_refused(call, code, member)),
    };
    let joined = call.shared.groups.join(join_request(call, group, request));
    Ok(match unless_gone(call, joined).await? {
        Ok(answer) => joined_answer(answer),
        Err(GroupError::Refused(groups::Error::MemberIdRequired { member })) => {
            join_refused(call, ErrorCode::MemberIdRequired, text(member.as_str()))
        }
        Err(error) => join_refused(call, error.kafka_code(), member),
    })
}

fn join_request(call: &Call, group: GroupId, request: JoinGroupRequest) -> JoinRequest {
    let version = call.version();
    let session_timeout = millis(request.session_timeout_ms);
    let protocol =
        |protocol: kafka_wire::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
            name: Arc::from(&*protocol.name),
            metadata: protocol.metadata,
        };
    JoinRequest {
        group,
        member: MemberId::new(&request.member_id),
        instance: instance(request.group_instance_id.as_ref()),
        client_id: Arc::from(call.header.client_id.as_deref().unwrap_or_default()),
        client_host: Arc::from(format!("/{}", call.peer.address.ip().to_canonical())),
        session_timeout,
        rebalance_timeout: if version >= 1 {
            millis(request.rebalance_timeout_ms)
        } else {
            session_timeout
        },
        protocol_type: Arc::from(&*request.protocol_type),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        member_id_required: version >= MEMBER_ID_STEP_SINCE,
        may_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
    }
}

fn joined_answer(answer: JoinAnswer) -> JoinGroupResponse {
    let members = answer.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member.as_str()))
            .with_group_instance_id(member.instance.map(|id| text(id.as_str())))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(answer.generation)
        .with_protocol_type(Some(text(&*answer.protocol_type)))
        .with_protocol_name(Some(text(&*answer.protocol)))
        .with_leader(text(answer.leader.as_str()))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(text(answer.member.as_str()))
        .with_members(members.collect())
}

fn join_refused(call: &Call, code: ErrorCode, member: StrBytes) -> JoinGroupResponse {
    // Before version 7 the name cannot be null.
    let name = (call.version() < PROTOCOLS_IN_ANSWERS_SINCE).then(StrBytes::new);
    JoinGroupResponse::default()
        .with_error_code(call.refuse(code))
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name(name)
        .with_member_id(member)
}

/// Serves SyncGroup.
pub(crate) async fn sync_group(
    call: &Call,
    request: SyncGroupRequest,
) -> Result<SyncGroupResponse, Fatal> {
    let refused = |code| {
        SyncGroupResponse::default()
            .with_error_code(call.refuse(code))
            .with_protocol_type(None)
            .with_protocol_name(None)
            .with_assignment(Bytes::new())
    };
    let group = match group_id(&request.group_id) {
        Ok(group) => group,
        Err(code) => return Ok(refused(code)),
    };
    let assignments = request.assignments.into_iter();
    let ask = SyncRequest {
        by: MemberRef {
            group,
            member: MemberId::new(&request.member_id),
            instance: instance(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.map(|name| Arc::from(&*name)),
        protocol: request.protocol_name.map(|name| Arc::from(&*name)),
        assignments: assignments
            .map(|one| (MemberId::new(&one.member_id), one.assignment))
            .collect(),
    };
    let synced = call.shared.groups.sync(ask);
    Ok(match unless_gone(call, synced).await? {
        Ok(SyncAnswer {
            protocol_type,
            protocol,
            assignment,
        }) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&*protocol_type)))
            .with_protocol_name(Some(text(&*protocol)))
            .with_assignment(assignment),
        Err(error) => refused(error.kafka_code()),
    })
}

/// Serves Heartbeat.
pub(crate) fn heartbeat(call: &Call, request: &HeartbeatRequest) -> HeartbeatResponse {
    let beat = group_id(&request.group_id).and_then(|group| {
        let by = MemberRef {
            group,
            member: MemberId::new(&request.member_id),
            instance: instance(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        };
        call.shared
            .groups
            .heartbeat(&by)
            .map_err(|error| error.kafka_code())
    });
    let code = beat.map_or_else(|code| call.refuse(code), |()| 0);
    HeartbeatResponse::default().with_error_code(code)
}

/// Serves LeaveGroup. Until version 2 one member leaves, and its error is the whole answer's.
pub(crate) fn leave_group(call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leaving: Vec<Leaving> = if call.version() < SEVERAL_LEAVE_SINCE {
        vec![Leaving {
            member: MemberId::new(&request.member_id),
            instance: None,
        }]
    } else {
        let members = request.members.iter();
        members
            .map(|member| Leaving {
                member: MemberId::new(&member.member_id),
                instance: instance(member.group_instance_id.as_ref()),
            })
            .collect()
    };
    let left = group_id(&request.group_id).and_then(|group| {
        let left = call.shared.groups.leave(&group, &leaving);
        left.map_err(|error| error.kafka_code())
    });
    let results = match left {
        Ok(results) => results,
        Err(code) => return LeaveGroupResponse::default().with_error_code(call.refuse(code)),
    };
    let codes = results
        .into_iter()
        .map(|left| left.map_or_else(|error| call.code(&error), |()| 0));
    if call.version() < SEVERAL_LEAVE_SINCE {
        return LeaveGroupResponse::default().with_error_code(codes.sum());
    }
    let members = request
        .members
        .into_iter()
        .zip(codes)
        .map(|(member, code)| {
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(code)
        });
    LeaveGroupResponse::default().with_members(members.collect())
}
