//! OffsetForLeaderEpoch: where an epoch ended. One node leads for ever, in epoch 0.

use kafka_wire::ErrorCode;
use kafka_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::codes::Coded;
use crate::context::{Call, check_leader_epoch, offset, partition};

/// Serves OffsetForLeaderEpoch. An epoch that never was is answered with -1, as Kafka does.
pub(crate) async fn offset_for_leader_epoch(
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = EpochEndOffset::default()
                .with_partition(asked.partition)
                .with_leader_epoch(-1)
                .with_end_offset(-1);
            partitions.push(match end(call, &topic.topic, asked).await {
                Ok(end) if asked.leader_epoch == 0 => {
                    answer.with_leader_epoch(0).with_end_offset(end)
                }
                Ok(_) => answer,
                Err(code) => answer.with_error_code(call.refuse(code)),
            });
        }
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions),
        );
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

async fn end(call: &Call, topic: &str, asked: &OffsetForLeaderPartition) -> Result<i64, ErrorCode> {
    let of = partition(topic, asked.partition)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    let marks = call
        .broker()
        .marks(&of)
        .await
        .map_err(|error| error.kafka_code())?;
    Ok(offset(marks.log_end))
}
