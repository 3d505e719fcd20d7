//! Metadata and DescribeTopicPartitions: who serves what. One node serves everything.

use std::sync::Arc;

use broker::{TopicInfo, TopicSpec};
use kafka_wire::ErrorCode;
use kafka_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::messages::metadata_request::MetadataRequestTopic;
use kafka_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
    MetadataResponse, TopicName as WireName,
};
use model::{PartitionId, TopicName, TopicPartition};
use uuid::Uuid;

use super::operations;
use crate::codes::Coded;
use crate::context::{Call, text};

/// Most topics that asking about them creates in one request; the client asks about the rest again.
const CREATIONS_PER_REQUEST: usize = 100;

/// Most partitions in one answer to DescribeTopicPartitions, as in Kafka.
const PARTITIONS_PER_ANSWER: usize = 2_000;

/// Serves Metadata. Topics that are not there are made if client and options agree.
pub(crate) async fn metadata(call: &Call, request: MetadataRequest) -> MetadataResponse {
    // Version 0 has no null list: the empty one means all.
    let asked = request
        .topics
        .filter(|topics| call.version() > 0 || !topics.is_empty());
    let ask = request.include_topic_authorized_operations;
    let topics = match asked {
        None => call
            .broker()
            .topics()
            .values()
            .map(|info| known(call, info, ask))
            .collect(),
        Some(asked) => {
            let mut topics = Vec::with_capacity(asked.len());
            let mut creations = if request.allow_auto_topic_creation {
                CREATIONS_PER_REQUEST
            } else {
                0
            };
            for topic in asked {
                topics.push(one(call, topic, &mut creations, ask).await);
            }
            topics
        }
    };
    let (host, port) = call.endpoint();
    let broker = MetadataResponseBroker::default()
        .with_node_id(call.node())
        .with_host(host)
        .with_port(port);
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&*call.shared.options.cluster_id)))
        .with_controller_id(call.node())
        .with_topics(topics)
        .with_cluster_authorized_operations(operations::on_cluster(
            request.include_cluster_authorized_operations,
        ))
}

async fn one(
    call: &Call,
    asked: MetadataRequestTopic,
    creations: &mut usize,
    ask: bool,
) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        return by_id(call, asked.topic_id, ask);
    };
    let refused = |code| {
        MetadataResponseTopic::default()
            .with_error_code(call.refuse(code))
            .with_name(Some(name.clone()))
            .with_topic_authorized_operations(operations::on_topic(ask, false))
    };
    let Ok(topic) = TopicName::new(name.as_str()) else {
        return refused(ErrorCode::InvalidTopicException);
    };
    if let Some(info) = call.broker().topic(&topic) {
        return known(call, &info, ask);
    }
    let options = &call.shared.options;
    if *creations == 0 || !options.auto_create_topics || topic.is_internal() {
        return refused(ErrorCode::UnknownTopicOrPartition);
    }
    *creations -= 1;
    if let Err(code) = call.room_for(options.partitions_default) {
        return refused(code);
    }
    let spec = TopicSpec {
        name: topic,
        partitions: options.partitions_default,
        config: options.topic_defaults.clone(),
    };
    match broker::ensure_topic(call.broker().as_ref(), spec).await {
        Ok(info) => known(call, &info, ask),
        Err(error) => refused(error.kafka_code()),
    }
}

fn by_id(call: &Call, id: Uuid, ask: bool) -> MetadataResponseTopic {
    let topics = call.broker().topics();
    let found = topics
        .values()
        .find(|info| info.id.bytes() == *id.as_bytes());
    match found {
        Some(info) => known(call, info, ask),
        None => MetadataResponseTopic::default()
            .with_error_code(call.refuse(ErrorCode::UnknownTopicId))
            .with_name(None)
            .with_topic_id(id),
    }
}

/// A topic that is there; with what the client may do if it would `ask`.
fn known(call: &Call, info: &Arc<TopicInfo>, ask: bool) -> MetadataResponseTopic {
    let node = call.node();
    let partition = |index: u32| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_epoch(0)
            .with_replica_nodes(vec![node]);
        if is_offline(call, &info.name, index) {
            // Producers without keys choose others.
            return partition
                .with_error_code(ErrorCode::LeaderNotAvailable.code())
                .with_leader_id(NO_LEADER)
                .with_offline_replicas(vec![node]);
        }
        partition.with_leader_id(node).with_isr_nodes(vec![node])
    };
    MetadataResponseTopic::default()
        .with_name(Some(wire_name(&info.name)))
        .with_topic_id(Uuid::from_bytes(info.id.bytes()))
        .with_is_internal(info.name.is_internal())
        .with_partitions((0..info.partitions).map(partition).collect())
        .with_topic_authorized_operations(operations::on_topic(ask, info.name.is_internal()))
}

/// Nobody serves a partition.
const NO_LEADER: BrokerId = BrokerId(-1);

/// Whether the disk of a partition is missing.
fn is_offline(call: &Call, topic: &TopicName, index: u32) -> bool {
    let of = TopicPartition::new(topic.clone(), PartitionId::new(index));
    call.broker().is_offline(&of)
}

/// A topic's name as the wire wants it.
pub(super) fn wire_name(name: &TopicName) -> WireName {
    WireName(text(name.as_str()))
}

/// Serves DescribeTopicPartitions: topics by name, a page at a time.
pub(crate) fn describe_topic_partitions(
    call: &Call,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let known = call.broker().topics();
    let mut names: Vec<String> = if request.topics.is_empty() {
        known.keys().map(ToString::to_string).collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect()
    };
    names.sort_unstable();
    names.dedup();
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = limit.clamp(1, PARTITIONS_PER_ANSWER);
    let (from, mut first) = match &request.cursor {
        Some(cursor) => (
            cursor.topic_name.to_string(),
            u32::try_from(cursor.partition_index).unwrap_or(0),
        ),
        None => (String::new(), 0),
    };
    let mut answer = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().skip_while(|name| *name < from) {
        let start = if name == from {
            std::mem::take(&mut first)
        } else {
            0
        };
        if room == 0 {
            answer.next_cursor = Some(cursor(&name, start));
            break;
        }
        let info = TopicName::new(&name).ok().and_then(|name| known.get(&name));
        let Some(info) = info else {
            let topic = DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(WireName(text(name))))
                .with_error_code(call.refuse(ErrorCode::UnknownTopicOrPartition));
            answer.topics.push(topic);
            continue;
        };
        let count = u32::try_from(room).unwrap_or(u32::MAX);
        let end = info.partitions.min(start.saturating_add(count));
        room = room.saturating_sub(usize::try_from(end.saturating_sub(start)).unwrap_or(room));
        answer.topics.push(described(call, info, start..end));
        if end < info.partitions {
            answer.next_cursor = Some(cursor(&name, end));
            break;
        }
    }
    answer
}

fn cursor(topic: &str, partition: u32) -> Cursor {
    Cursor::default()
        .with_topic_name(WireName(text(topic)))
        .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX))
}

fn described(
    call: &Call,
    info: &TopicInfo,
    range: std::ops::Range<u32>,
) -> DescribeTopicPartitionsResponseTopic {
    let node = call.node();
    let partition = |index: u32| {
        let partition = DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_epoch(0)
            .with_replica_nodes(vec![node])
            // They may be null, but Kafka's own client takes only lists.
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()));
        if is_offline(call, &info.name, index) {
            return partition
                .with_error_code(ErrorCode::LeaderNotAvailable.code())
                .with_leader_id(NO_LEADER)
                .with_offline_replicas(vec![node]);
        }
        partition.with_leader_id(node).with_isr_nodes(vec![node])
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire_name(&info.name)))
        .with_topic_id(Uuid::from_bytes(info.id.bytes()))
        .with_is_internal(info.name.is_internal())
        .with_partitions(range.map(partition).collect())
        .with_topic_authorized_operations(operations::on_topic(true, info.name.is_internal()))
}
