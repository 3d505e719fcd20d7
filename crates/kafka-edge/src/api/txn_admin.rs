//! DescribeProducers, DescribeTransactions and ListTransactions: looking for what hangs.

use kafka_wire::ErrorCode;
use kafka_wire::StrBytes;
use kafka_wire::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_wire::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_wire::messages::list_transactions_response::TransactionState as Listed;
use kafka_wire::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
    TopicName as WireName, TransactionalId as WireId,
};
use model::{Outcome, TopicPartition};
use transactions::{Phase, Transaction, TransactionalId};

use crate::codes::Coded;
use crate::context::{Call, offset, partition, text};

/// Kafka's names of states.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Empty => "Empty",
        Phase::Open => "Ongoing",
        Phase::Ending(Outcome::Commit) => "PrepareCommit",
        Phase::Ending(Outcome::Abort) => "PrepareAbort",
        Phase::Ended(Outcome::Commit) => "CompleteCommit",
        Phase::Ended(Outcome::Abort) => "CompleteAbort",
    }
}

/// Serves DescribeProducers.
pub(crate) async fn describe_producers(
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            let answer = PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_message(None);
            partitions.push(match producers(call, &topic.name, *index).await {
                Ok(producers) => answer.with_active_producers(producers),
                Err(code) => answer.with_error_code(call.refuse(code)),
            });
        }
        topics.push(
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DescribeProducersResponse::default().with_topics(topics)
}

async fn producers(call: &Call, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let of = partition(topic, index)?;
    let Some(log) = call.broker().transactional() else {
        return Ok(Vec::new());
    };
    let known = log.producers(&of).await;
    let known = known.map_err(|error| error.kafka_code())?;
    let state = known.into_iter().map(|known| {
        ProducerState::default()
            .with_producer_id(ProducerId(known.producer.id))
            .with_producer_epoch(known.producer.epoch.into())
            .with_last_sequence(known.last_sequence.unwrap_or(-1))
            .with_last_timestamp(known.last_used.millis())
            .with_coordinator_epoch(if known.open_since.is_some() { 0 } else { -1 })
            .with_current_txn_start_offset(known.open_since.map_or(-1, offset))
    });
    Ok(state.collect())
}

/// Serves DescribeTransactions.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let state = match find(call, &id).await {
            Ok(found) => state_of(&found),
            Err(code) => TransactionState::default().with_error_code(call.refuse(code)),
        };
        states.push(state.with_transactional_id(id));
    }
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

async fn find(call: &Call, id: &str) -> Result<Transaction, ErrorCode> {
    let unknown = ErrorCode::TransactionalIdNotFound;
    let id = TransactionalId::new(id).map_err(|_| unknown)?;
    let found = call.transactions()?.describe(&id).await;
    found.map_err(|error| error.kafka_code())?.ok_or(unknown)
}

fn state_of(found: &Transaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for TopicPartition { topic, partition } in found.partitions() {
        let index = i32::try_from(partition.get()).unwrap_or(i32::MAX);
        match topics.last_mut() {
            Some(last) if last.topic.as_str() == topic.as_str() => last.partitions.push(index),
            _ => topics.push(
                TopicData::default()
                    .with_topic(WireName(text(topic.as_str())))
                    .with_partitions(vec![index]),
            ),
        }
    }
    let since = match found.phase() {
        Phase::Empty => -1,
        _ => found.started().millis(),
    };
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(name(found.phase())))
        .with_transaction_timeout_ms(i32::try_from(found.timeout().as_millis()).unwrap_or(i32::MAX))
        .with_transaction_start_time_ms(since)
        .with_producer_id(ProducerId(found.producer().id))
        .with_producer_epoch(found.producer().epoch)
        .with_topics(topics)
}

/// Serves ListTransactions.
pub(crate) async fn list(
    call: &Call,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let listed = match call.transactions() {
        Ok(transactions) => transactions
            .list()
            .await
            .map_err(|error| error.kafka_code()),
        Err(code) => Err(code),
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(code) => return ListTransactionsResponse::default().with_error_code(call.refuse(code)),
    };
    let now = call.shared.clock.now();
    let wanted = |state: &Transaction| {
        let states = &request.state_filters;
        let ids = &request.producer_id_filters;
        let open_for = now.millis().saturating_sub(state.started().millis());
        let long = request.duration_filter < 0
            || (state.phase() == Phase::Open && open_for >= request.duration_filter);
        long && (states.is_empty() || states.iter().any(|one| **one == *name(state.phase())))
            && (ids.is_empty() || ids.contains(&ProducerId(state.producer().id)))
    };
    let found = listed.iter().filter(|(_, state)| wanted(state));
    let found = found.map(|(id, state)| {
        Listed::default()
            .with_transactional_id(WireId(text(id.as_str())))
            .with_producer_id(ProducerId(state.producer().id))
            .with_transaction_state(StrBytes::from_static_str(name(state.phase())))
    });
    let found = found.collect();
    let unknown = request.state_filters.iter();
    let unknown = unknown.filter(|state| !STATES.contains(&state.as_str()));
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.cloned().collect())
        .with_transaction_states(found)
}
