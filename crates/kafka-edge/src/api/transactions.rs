//! AddPartitionsToTxn, AddOffsetsToTxn and EndTxn: what is in a transaction, and how it ends.
//!
//! A call waits for the last one of its transactional id; that one's markers are written before it is
//! answered, so clients hardly ever hear CONCURRENT_TRANSACTIONS.

use kafka_wire::ErrorCode;
use kafka_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
};
use model::{Outcome, Producer, TopicPartition};
use transactions::TransactionalId;

use super::membership::group_to_change;
use crate::codes::Coded;
use crate::context::{Call, partition};

/// The first version of these whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// Serves AddPartitionsToTxn: all partitions of the request, or none.
pub(crate) async fn add_partitions(
    call: &Call,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let checked: Vec<Vec<Result<TopicPartition, ErrorCode>>> = topics
        .iter()
        .map(|topic| check_topic(call, topic))
        .collect();
    let all: Result<Vec<TopicPartition>, ErrorCode> = checked.iter().flatten().cloned().collect();
    let whole = match all {
        Ok(partitions) => {
            let by = Producer::new(
                request.v3_and_below_producer_id.0,
                request.v3_and_below_producer_epoch,
            );
            let id = &request.v3_and_below_transactional_id;
            add(call, id, by, partitions).await
        }
        // The good ones are told that the bad ones kept them out.
        Err(_) => Err(ErrorCode::OperationNotAttempted),
    };
    let results = topics.into_iter().zip(checked).map(|(topic, checked)| {
        let partitions = topic.partitions.iter().zip(checked);
        let partitions = partitions.map(|(index, checked)| {
            let code = checked.and(whole).err();
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code.map_or(0, |code| call.refuse(code)))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(partitions.collect())
            .with_name(topic.name)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

fn check_topic(
    call: &Call,
    topic: &AddPartitionsToTxnTopic,
) -> Vec<Result<TopicPartition, ErrorCode>> {
    let check = |index: &i32| {
        let of = partition(&topic.name, *index)?;
        if of.topic.is_internal() {
            return Err(ErrorCode::TopicAuthorizationFailed);
        }
        // Its end could not be written there, and would keep the id busy until the disk is back.
        if call.broker().is_offline(&of) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let info = call.broker().topic(&of.topic);
        match info {
            Some(info) if of.partition.get() < info.partitions => Ok(of),
            _ => Err(ErrorCode::UnknownTopicOrPartition),
        }
    };
    topic.partitions.iter().map(check).collect()
}

async fn add(
    call: &Call,
    id: &str,
    by: Producer,
    partitions: Vec<TopicPartition>,
) -> Result<(), ErrorCode> {
    let id = transactional_id(id)?;
    let added = call.transactions()?.add_partitions(&id, by, partitions);
    added
        .await
        .map_err(|error| known_to(call, error.kafka_code()))
}

/// Serves AddOffsetsToTxn.
pub(crate) async fn add_offsets(
    call: &Call,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let added = async {
        let id = transactional_id(&request.transactional_id)?;
        let by = Producer::new(request.producer_id.0, request.producer_epoch);
        let group = group_to_change(&request.group_id)?;
        let added = call.transactions()?.add_group(&id, by, group);
        added
            .await
            .map_err(|error| known_to(call, error.kafka_code()))
    };
    let code = added.await.map_or_else(|code| call.refuse(code), |()| 0);
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

/// Serves EndTxn.
pub(crate) async fn end(call: &Call, request: EndTxnRequest) -> EndTxnResponse {
    let ended = async {
        let id = transactional_id(&request.transactional_id)?;
        let by = Producer::new(request.producer_id.0, request.producer_epoch);
        let outcome = if request.committed {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        let ended = call.transactions()?.end(&id, by, outcome);
        ended
            .await
            .map_err(|error| known_to(call, error.kafka_code()))
    };
    let code = ended.await.map_or_else(|code| call.refuse(code), |()| 0);
    EndTxnResponse::default().with_error_code(code)
}

/// What the ids of Lantern's own transactions begin with: those of listeners with an output.
const OWN_ID: &str = "lantern-";

/// The id that a request acts for. Lantern's own are not for clients: who began one again would fence the listener.
///
/// # Errors
/// INVALID_REQUEST, TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
pub(super) fn transactional_id(id: &str) -> Result<TransactionalId, ErrorCode> {
    if id.starts_with(OWN_ID) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    TransactionalId::new(id).map_err(|_| ErrorCode::InvalidRequest)
}

fn known_to(call: &Call, code: ErrorCode) -> ErrorCode {
    fenced_since(FENCED_SINCE, call.version(), code)
}

/// The code as clients of `version` know it: PRODUCER_FENCED came late.
pub(super) fn fenced_since(since: i16, version: i16, code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::ProducerFenced && version < since {
        return ErrorCode::InvalidProducerEpoch;
    }
    code
}
