//! DeleteRecords: drops the beginning of partitions.

use kafka_wire::ErrorCode;
use kafka_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::settled::Settled;
use crate::codes::Coded;
use crate::context::{Call, offset, partition, position};

/// Instead of an offset: everything that can be read now.
const HIGH_WATERMARK: i64 = -1;

/// Serves DeleteRecords.
pub(crate) async fn delete_records(
    call: &Call,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let settled = Settled::begin();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer =
                DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            let result = delete(
                call,
                &topic.name,
                asked.partition_index,
                asked.offset,
                settled,
            )
            .await;
            partitions.push(match result {
                Ok(start) => answer.with_low_watermark(start),
                Err(code) => answer
                    .with_low_watermark(-1)
                    .with_error_code(call.refuse(code)),
            });
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(
    call: &Call,
    topic: &str,
    index: i32,
    until: i64,
    settled: Settled,
) -> Result<i64, ErrorCode> {
    let of = partition(topic, index)?;
    if of.topic.is_internal() {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let coded = |error: broker::Error| error.kafka_code();
    let marks = settled.marks(call, &of).await.map_err(coded)?;
    let until = match until {
        HIGH_WATERMARK => marks.high_watermark,
        until => position(until).ok_or(ErrorCode::OffsetOutOfRange)?,
    };
    if until > marks.high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    call.broker()
        .delete_records(&of, until)
        .await
        .map(offset)
        .map_err(coded)
}
