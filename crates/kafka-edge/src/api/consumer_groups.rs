//! ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups of the second protocol (KIP-848).
//!
//! A heartbeat is answered when what it shows is stored. An absent list (null) means "as before" and an
//! empty one "none", for topics and for partitions alike; both reach the group as they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::coordinator::GroupError;
use groups::consumer::{
    Assignment, ConsumerAnswer, ConsumerDescription, ConsumerHeartbeat, ConsumerMemberDescription,
};
use groups::{InstanceId, MemberId};
use kafka_wire::messages::consumer_group_describe_response::{
    Assignment as Described, DescribedGroup, Member, TopicPartitions as DescribedPartitions,
};
use kafka_wire::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use kafka_wire::messages::consumer_group_heartbeat_response::{
    Assignment as Assigned, TopicPartitions as AssignedPartitions,
};
use kafka_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, GroupId as WireGroup, TopicName as WireName,
};
use kafka_wire::{ErrorCode, StrBytes};
use model::{GroupId, PartitionId, TopicId, TopicName};
use uuid::Uuid;

use super::membership::{group_id, group_to_change, unless_gone};
use super::operations;
use crate::codes::Coded;
use crate::context::{Call, Fatal, text};

/// The first version in which members make their ids themselves and may subscribe by pattern.
const OWN_ID_SINCE: i16 = 1;

/// What Kafka's tools show members of this protocol as, from version 1 on.
const MEMBER_TYPE_CONSUMER: i8 = 1;

/// Serves ConsumerGroupHeartbeat.
pub(crate) async fn heartbeat(
    call: &Call,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Fatal> {
    let asked = group_to_change(&request.group_id).and_then(|group| asked(call, group, request));
    let asked = match asked {
        Ok(asked) => asked,
        Err(code) => return Ok(refused(call, code, code.to_string())),
    };
    let beat = call.shared.groups.consumer_heartbeat(asked);
    Ok(match unless_gone(call, beat).await? {
        Ok(answer) => answered(answer),
        Err(error) => refused(call, error.kafka_code(), error.to_string()),
    })
}

fn asked(
    call: &Call,
    group: GroupId,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerHeartbeat, ErrorCode> {
    let shared = |text: StrBytes| Arc::<str>::from(&*text);
    let names = request.subscribed_topic_names;
    let names = names.map(|names| names.into_iter().map(|name| shared(name.0)).collect());
    let owned = request.topic_partitions;
    Ok(ConsumerHeartbeat {
        group,
        member: MemberId::new(&request.member_id),
        epoch: request.member_epoch,
        instance: request.instance_id.map(|id| InstanceId::new(&id)),
        rack: request.rack_id.map(shared),
        client_id: Arc::from(call.header.client_id.as_deref().unwrap_or_default()),
        client_host: Arc::from(format!("/{}", call.peer.address.ip().to_canonical())),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms)
            .ok()
            .map(Duration::from_millis),
        names,
        regex: request.subscribed_topic_regex.map(shared),
        assignor: request.server_assignor.map(shared),
        owned: owned.map(partitions).transpose()?,
        may_lack_id: call.version() < OWN_ID_SINCE,
    })
}

fn partitions(topics: Vec<OwnedPartitions>) -> Result<Assignment, ErrorCode> {
    let mut owned = Assignment::new();
    for topic in topics {
        let id = TopicId::from_bytes(topic.topic_id.into_bytes());
        for number in topic.partitions {
            let number = u32::try_from(number).map_err(|_| ErrorCode::InvalidRequest)?;
            owned.insert(id, PartitionId::new(number));
        }
    }
    Ok(owned)
}

fn answered(answer: ConsumerAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|assignment| {
        let topics = assignment.topics().map(|(id, numbers)| {
            AssignedPartitions::default()
                .with_topic_id(Uuid::from_bytes(id.bytes()))
                .with_partitions(numbers.iter().map(|one| number(*one)).collect())
        });
        Assigned::default().with_topic_partitions(topics.collect())
    });
    let interval = answer.heartbeat_interval.as_millis();
    ConsumerGroupHeartbeatResponse::default()
        .with_error_message(None)
        .with_member_id(Some(text(answer.member.as_str())))
        .with_member_epoch(answer.epoch)
        .with_heartbeat_interval_ms(i32::try_from(interval).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

fn refused(call: &Call, code: ErrorCode, reason: String) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(call.refuse(code))
        .with_error_message(Some(text(reason)))
        .with_member_id(None)
        .with_assignment(None)
}

/// Serves ConsumerGroupDescribe. A group of the other protocol is not found, as in Kafka: clients then
/// ask with DescribeGroups.
pub(crate) fn describe(
    call: &Call,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let asked = request.include_authorized_operations;
    let groups = request.group_ids.into_iter().map(|id| {
        let described = match group_id(&id) {
            Ok(group) => call.shared.groups.describe_consumer(&group),
            Err(code) => return unknown(call, id, code, code.to_string()),
        };
        match described {
            Ok((description, names)) => described_group(call, id, description, &names, asked),
            Err(GroupError::Refused(groups::Error::UnknownGroup { .. })) => {
                let reason = format!("group '{}' is no group of the consumer protocol", &*id);
                unknown(call, id, ErrorCode::GroupIdNotFound, reason)
            }
            Err(error) => unknown(call, id, error.kafka_code(), error.to_string()),
        }
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn unknown(call: &Call, id: WireGroup, code: ErrorCode, reason: String) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id)
        .with_error_code(call.refuse(code))
        .with_error_message(Some(text(reason)))
        .with_authorized_operations(operations::UNKNOWN)
}

fn described_group(
    call: &Call,
    id: WireGroup,
    description: ConsumerDescription,
    names: &BTreeMap<TopicId, TopicName>,
    asked: bool,
) -> DescribedGroup {
    let members = description.members.into_iter();
    let members = members.map(|member| described_member(call, member, names));
    DescribedGroup::default()
        .with_group_id(id)
        .with_error_message(None)
        .with_group_state(text(description.state.as_str()))
        .with_group_epoch(description.epoch)
        .with_assignment_epoch(description.target_epoch)
        .with_assignor_name(text(description.assignor))
        .with_members(members.collect())
        .with_authorized_operations(operations::on_group(asked, false))
}

fn described_member(
    call: &Call,
    member: ConsumerMemberDescription,
    names: &BTreeMap<TopicId, TopicName>,
) -> Member {
    let subscribed = member.names.iter().map(|name| WireName(text(&**name)));
    let described = Member::default()
        .with_member_id(text(member.member.as_str()))
        .with_instance_id(member.instance.map(|id| text(id.as_str())))
        .with_rack_id(member.rack.map(|rack| text(&*rack)))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(&*member.client_host))
        .with_subscribed_topic_names(subscribed.collect())
        .with_subscribed_topic_regex(member.regex.map(|regex| text(&*regex)))
        .with_assignment(described_partitions(&member.assigned, names))
        .with_target_assignment(described_partitions(&member.target, names));
    if call.version() < 1 {
        return described;
    }
    described.with_member_type(MEMBER_TYPE_CONSUMER)
}

/// Topics that vanished have no name and are left out.
fn described_partitions(
    partitions: &Assignment,
    names: &BTreeMap<TopicId, TopicName>,
) -> Described {
    let topics = partitions.topics().filter_map(|(id, numbers)| {
        let name = names.get(&id)?;
        let described = DescribedPartitions::default()
            .with_topic_id(Uuid::from_bytes(id.bytes()))
            .with_topic_name(WireName(text(name.as_str())))
            .with_partitions(numbers.iter().map(|one| number(*one)).collect());
        Some(described)
    });
    Described::default().with_topic_partitions(topics.collect())
}

fn number(partition: PartitionId) -> i32 {
    i32::try_from(partition.get()).unwrap_or(i32::MAX)
}
