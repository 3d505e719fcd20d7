//! ListOffsets: offsets by their meaning (earliest, latest, by time, newest timestamp).

use broker::{Found, Place};
use kafka_wire::ErrorCode;
use kafka_wire::messages::list_offsets_request::ListOffsetsPartition;
use kafka_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use model::Timestamp;

use super::settled::Settled;
use crate::codes::Coded;
use crate::context::{Call, check_leader_epoch, offset, partition};

/// The isolation level of readers that stop where a transaction is open.
const READ_COMMITTED: i8 = 1;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// The first version that knows [`MAX_TIMESTAMP`].
const MAX_TIMESTAMP_SINCE: i16 = 7;
/// The first versions that know of tiered storage (KIP-405, KIP-1005). Here everything is local.
const EARLIEST_LOCAL_SINCE: i16 = 8;
const LATEST_TIERED_SINCE: i16 = 9;

/// Serves ListOffsets. Nothing at or after a time is offset -1, which is no error.
pub(crate) async fn list_offsets(call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == READ_COMMITTED;
    let settled = Settled::begin();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_timestamp(-1)
                .with_offset(-1);
            partitions.push(
                match find(call, &topic.name, asked, committed, settled).await {
                    Ok(None) => answer,
                    Ok(Some(found)) => {
                        let epoch = if call.version() >= 4 { 0 } else { -1 };
                        let time = found.timestamp.filter(|_| asks_for_time(asked.timestamp));
                        answer
                            .with_timestamp(time.map_or(-1, Timestamp::millis))
                            .with_offset(offset(found.position))
                            .with_leader_epoch(epoch)
                    }
                    Err(code) => answer.with_error_code(call.refuse(code)),
                },
            );
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// For the ends of the log Kafka answers no timestamp.
const fn asks_for_time(timestamp: i64) -> bool {
    timestamp >= 0 || timestamp == MAX_TIMESTAMP
}

async fn find(
    call: &Call,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed: bool,
    settled: Settled,
) -> Result<Option<Found>, ErrorCode> {
    let at = partition(topic, asked.partition_index)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    let place = match asked.timestamp {
        LATEST => Place::Latest,
        EARLIEST => Place::Earliest,
        MAX_TIMESTAMP if call.version() >= MAX_TIMESTAMP_SINCE => Place::MaxTimestamp,
        EARLIEST_LOCAL if call.version() >= EARLIEST_LOCAL_SINCE => Place::Earliest,
        // Nothing was moved away: there is no such offset.
        LATEST_TIERED if call.version() >= LATEST_TIERED_SINCE => return Ok(None),
        time if time >= 0 => Place::Time(Timestamp::from_millis(time)),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let coded = |error: broker::Error| error.kafka_code();
    if place != Place::Earliest {
        settled.marks(call, &at).await.map_err(coded)?;
    }
    let found = call.broker().find(&at, place).await.map_err(coded)?;
    if !committed {
        return Ok(found);
    }
    // The end of what is committed is before an open transaction, and nothing beyond is found.
    let stable = call.broker().marks(&at).await.map_err(coded)?.last_stable;
    Ok(match place {
        Place::Latest => found.map(|found| Found {
            position: found.position.min(stable),
            ..found
        }),
        Place::Earliest => found,
        Place::Time(_) | Place::MaxTimestamp => found.filter(|found| found.position < stable),
    })
}
