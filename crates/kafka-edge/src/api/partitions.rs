//! CreatePartitions grows topics; ListPartitionReassignments has nothing to list on one node.

use broker::TopicInfo;
use kafka_wire::ErrorCode;
use kafka_wire::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, ListPartitionReassignmentsResponse,
};
use model::TopicName;
use model::limits::PARTITIONS_MAX;

use super::topics::{Refusal, named_twice};
use crate::context::{Call, text};

/// Serves CreatePartitions.
pub(crate) async fn create_partitions(
    call: &Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let twice = named_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let grown = if twice.contains(topic.name.as_str()) {
            Err(Refusal::twice())
        } else {
            grow(call, &topic, request.validate_only).await
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match grown {
            Ok(()) => result.with_error_message(None),
            Err(refusal) => result
                .with_error_code(call.refuse(refusal.code))
                .with_error_message(Some(text(refusal.reason))),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow(
    call: &Call,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let unknown = || Refusal::new(ErrorCode::UnknownTopicOrPartition, "there is no such topic");
    let name = TopicName::new(&asked.name).map_err(|_| unknown())?;
    let info = call.broker().topic(&name).ok_or_else(unknown)?;
    if name.is_internal() {
        let reason = "this topic belongs to Lantern itself";
        return Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, reason));
    }
    let count = check(call, &info, asked)?;
    call.room_for(count - info.partitions)
        .map_err(Refusal::too_many)?;
    if !validate_only {
        call.broker().add_partitions(&name, count).await?;
    }
    Ok(())
}

fn check(call: &Call, info: &TopicInfo, asked: &CreatePartitionsTopic) -> Result<u32, Refusal> {
    let count = u32::try_from(asked.count).unwrap_or(0);
    if count <= info.partitions || count > PARTITIONS_MAX {
        let reason = format!(
            "topic '{}' has {} partitions: it can have more, at most {PARTITIONS_MAX}, not {}",
            info.name, info.partitions, asked.count
        );
        return Err(Refusal::new(ErrorCode::InvalidPartitions, reason));
    }
    let Some(assignments) = &asked.assignments else {
        return Ok(count);
    };
    let new = usize::try_from(count - info.partitions).unwrap_or(usize::MAX);
    let here = |nodes: &[kafka_wire::messages::BrokerId]| *nodes == [call.node()];
    if assignments.len() != new || !assignments.iter().all(|one| here(&one.broker_ids)) {
        let reason = "each new partition has one replica, on this node";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, reason));
    }
    Ok(count)
}

/// Serves ListPartitionReassignments: there are never any.
pub(crate) fn list_partition_reassignments() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
