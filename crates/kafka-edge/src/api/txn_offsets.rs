//! TxnOffsetCommit: offsets that count when their transaction is committed.

use std::collections::BTreeMap;

use broker::Commit;
use broker::coordinator::COMMIT_METADATA_BYTES_MAX;
use groups::{InstanceId, MemberId, MemberRef};
use kafka_wire::ErrorCode;
use kafka_wire::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use model::{Producer, TopicPartition};

use super::membership::group_to_change;
use super::transactions::{fenced_since, transactional_id};
use crate::codes::Coded;
use crate::context::{Call, partition, position};

/// No version of this knows PRODUCER_FENCED.
const FENCED_NEVER: i16 = i16::MAX;

/// Serves TxnOffsetCommit. Errors are per partition; one of the whole call stands in all of them.
pub(crate) async fn commit(
    call: &Call,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let mut commits = BTreeMap::new();
    let mut refused: BTreeMap<(usize, usize), ErrorCode> = BTreeMap::new();
    for (t, topic) in request.topics.iter().enumerate() {
        for (p, asked) in topic.partitions.iter().enumerate() {
            match commit_of(call, &topic.name, asked) {
                Ok((of, commit)) => drop(commits.insert(of, commit)),
                Err(code) => drop(refused.insert((t, p), code)),
            }
        }
    }
    let whole = stage(call, &request, commits.into_iter().collect())
        .await
        .err();
    let topics = request.topics.into_iter().enumerate().map(|(t, topic)| {
        let partitions = topic.partitions.iter().enumerate().map(|(p, asked)| {
            let code = whole.or_else(|| refused.get(&(t, p)).copied());
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code.map_or(0, |code| call.refuse(code)))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn commit_of(
    call: &Call,
    topic: &str,
    asked: &TxnOffsetCommitRequestPartition,
) -> Result<(TopicPartition, Commit), ErrorCode> {
    let of = partition(topic, asked.partition_index)?;
    let info = call.broker().topic(&of.topic);
    if info.is_none_or(|info| of.partition.get() >= info.partitions) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > COMMIT_METADATA_BYTES_MAX {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let commit = Commit {
        position: position(asked.committed_offset).ok_or(ErrorCode::InvalidRequest)?,
        leader_epoch: Some(asked.committed_leader_epoch).filter(|epoch| *epoch >= 0),
        metadata: metadata.to_owned(),
        at: call.shared.clock.now(),
    };
    Ok((of, commit))
}

async fn stage(
    call: &Call,
    request: &TxnOffsetCommitRequest,
    commits: Vec<(TopicPartition, Commit)>,
) -> Result<(), ErrorCode> {
    let id = transactional_id(&request.transactional_id)?;
    let group = group_to_change(&request.group_id)?;
    let member = MemberRef {
        group: group.clone(),
        member: MemberId::new(&request.member_id),
        instance: request
            .group_instance_id
            .as_ref()
            .map(|id| InstanceId::new(id)),
        generation: request.generation_id,
    };
    call.shared
        .groups
        .may_stage(&member)
        .map_err(|error| error.kafka_code())?;
    let by = Producer::new(request.producer_id.0, request.producer_epoch);
    let staged = call.transactions()?.stage(&id, by, group, commits).await;
    staged.map_err(|error| fenced_since(FENCED_NEVER, call.version(), error.kafka_code()))
}
