//! Transactions as clients speak of them: what is seen when, and who is told what.

use kafka_wire::messages::*;
use kafka_wire::{Api, ErrorCode};
use model::{Outcome, Producer, Timestamp, TopicName};
use record::{BatchBuilder, Batches, Compression, marker};

use crate::support::{Raw, Server, builder, text, wire_name};

fn wire_id(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

async fn init(client: &mut Raw, version: i16, id: &str) -> (i16, Producer) {
    init_as(client, version, id, 60_000, None).await
}

async fn init_as(
    client: &mut Raw,
    version: i16,
    id: &str,
    timeout: i32,
    expected: Option<Producer>,
) -> (i16, Producer) {
    let mut request = InitProducerIdRequest::default()
        .with_transactional_id(Some(wire_id(id)))
        .with_transaction_timeout_ms(timeout);
    if let Some(expected) = expected {
        request = request
            .with_producer_id(ProducerId(expected.id))
            .with_producer_epoch(expected.epoch);
    }
    let answer: InitProducerIdResponse = client.call(Api::InitProducerId, version, &request).await;
    let producer = Producer::new(answer.producer_id.0, answer.producer_epoch);
    (answer.error_code, producer)
}

async fn add(
    client: &mut Raw,
    version: i16,
    (id, by): (&str, Producer),
    topic: &str,
    partitions: &[i32],
) -> Vec<i16> {
    let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(wire_name(topic))
        .with_partitions(partitions.to_vec());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(wire_id(id))
        .with_v3_and_below_producer_id(ProducerId(by.id))
        .with_v3_and_below_producer_epoch(by.epoch)
        .with_v3_and_below_topics(vec![topic]);
    let answer: AddPartitionsToTxnResponse = client
        .call(Api::AddPartitionsToTxn, version, &request)
        .await;
    let results = answer.results_by_topic_v3_and_below.into_iter();
    results
        .flat_map(|topic| topic.results_by_partition)
        .map(|result| result.partition_error_code)
        .collect()
}

fn in_transaction(by: Producer, sequence: i32, values: &[&[u8]]) -> BatchBuilder {
    let mut batch = builder(values);
    batch.producer(by.id, by.epoch, sequence).transactional();
    batch
}

async fn produce(
    client: &mut Raw,
    id: Option<&str>,
    (topic, partition): (&TopicName, i32),
    batch: record::CheckedBatch,
) -> i16 {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch.into_bytes()));
    let topic = TopicProduceData::default()
        .with_name(wire_name(topic.as_str()))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(id.map(wire_id))
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic]);
    let answer: ProduceResponse = client.call(Api::Produce, 9, &request).await;
    answer.responses[0].partition_responses[0].error_code
}

async fn end(client: &mut Raw, version: i16, id: &str, by: Producer, outcome: Outcome) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(wire_id(id))
        .with_producer_id(ProducerId(by.id))
        .with_producer_epoch(by.epoch)
        .with_committed(outcome == Outcome::Commit);
    let answer: EndTxnResponse = client.call(Api::EndTxn, version, &request).await;
    answer.error_code
}

/// What a fetch from the beginning answers: values, aborted (producer, first offset), last stable
/// offset, high watermark. Values as a client of this isolation would show them.
async fn fetch(
    client: &mut Raw,
    version: i16,
    (topic, partition): (&TopicName, i32),
    committed: bool,
) -> (Vec<String>, Option<Vec<(i64, i64)>>, i64, i64) {
    use fetch_request::{FetchPartition, FetchTopic};
    let part = FetchPartition::default()
        .with_partition(partition)
        .with_partition_max_bytes(1 << 20);
    let asked = FetchTopic::default()
        .with_topic(wire_name(topic.as_str()))
        .with_partitions(vec![part]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![asked]);
    let answer: FetchResponse = client.call(Api::Fetch, version, &request).await;
    let part = &answer.responses[0].partitions[0];
    assert_eq!(part.error_code, 0);
    let aborted = part.aborted_transactions.as_ref().map(|aborted| {
        let aborted = aborted.iter();
        aborted
            .map(|one| (one.producer_id.0, one.first_offset))
            .collect::<Vec<_>>()
    });
    // As clients do it: a producer is aborted from the first offset told until its marker.
    let mut pending = aborted.clone().unwrap_or_default();
    let mut out: Vec<i64> = Vec::new();
    let mut values = Vec::new();
    for batch in Batches::new(part.records.clone().unwrap_or_default()) {
        let batch = batch.unwrap();
        let last = batch.last_offset().as_i64();
        out.extend(
            pending
                .extract_if(.., |(_, first)| *first <= last)
                .map(|(id, _)| id),
        );
        if batch.is_control() {
            out.retain(|id| *id != batch.producer_id());
            continue;
        }
        if batch.is_transactional() && out.contains(&batch.producer_id()) {
            continue;
        }
        for record in &batch.records().unwrap() {
            let value = record.unwrap().value.unwrap().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
    }
    (
        values,
        aborted,
        part.last_stable_offset,
        part.high_watermark,
    )
}

async fn latest(client: &mut Raw, topic: &TopicName, committed: bool) -> i64 {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let part = ListOffsetsPartition::default().with_timestamp(-1);
    let asked = ListOffsetsTopic::default()
        .with_name(wire_name(topic.as_str()))
        .with_partitions(vec![part]);
    let request = ListOffsetsRequest::default()
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![asked]);
    let answer: ListOffsetsResponse = client.call(Api::ListOffsets, 5, &request).await;
    answer.topics[0].partitions[0].offset
}

#[tokio::test]
async fn a_commit_shows_all_partitions_and_an_abort_none() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let mut client = server.client().await;
    let (code, by) = init(&mut client, 4, "shop").await;
    assert_eq!((code, by.epoch), (0, 0));
    for version in Api::Fetch.decoded() {
        let sequence = 2 * i32::from(version - *Api::Fetch.decoded().start());
        let before = latest(&mut client, &topic, false).await;
        for (outcome, number) in [(Outcome::Abort, 0), (Outcome::Commit, 1)] {
            let codes = add(&mut client, 3, ("shop", by), "orders", &[0, 1]).await;
            assert_eq!(codes, [0, 0]);
            for partition in [0, 1] {
                let value = format!("{outcome} {version} {partition}");
                let batch = in_transaction(by, sequence + number, &[value.as_bytes()]);
                let place = (&topic, partition);
                assert_eq!(
                    produce(&mut client, Some("shop"), place, batch.build()).await,
                    0
                );
            }
            let all = fetch(&mut client, version, (&topic, 0), false).await;
            assert!(all.0.last().unwrap().starts_with(&outcome.to_string()));
            assert_eq!(all.1, None, "who did not ask is told nothing");
            let (seen, _, stable, high) = fetch(&mut client, version, (&topic, 0), true).await;
            assert!(
                !seen
                    .iter()
                    .any(|value| value.ends_with(&format!("{version} 0")))
            );
            assert_eq!((stable, high), (all.2, all.3));
            assert!(stable < high, "the transaction is open");
            assert_eq!(latest(&mut client, &topic, true).await, stable);
            assert_eq!(latest(&mut client, &topic, false).await, high);
            assert_eq!(end(&mut client, 3, "shop", by, outcome).await, 0);
            assert_eq!(
                end(&mut client, 3, "shop", by, outcome).await,
                0,
                "asked again"
            );
        }
        for partition in [0, 1] {
            let (seen, aborted, stable, high) =
                fetch(&mut client, version, (&topic, partition), true).await;
            assert_eq!(stable, high);
            assert_eq!(
                seen.last().unwrap(),
                &format!("commit {version} {partition}")
            );
            assert!(
                !seen.iter().any(|value| value.starts_with("abort")),
                "{seen:?}"
            );
            assert_eq!(aborted.unwrap().last(), Some(&(by.id, before)));
        }
    }
}

#[tokio::test]
async fn only_partitions_that_were_added_take_batches_and_nobody_writes_markers() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let mut client = server.client().await;
    let (_, by) = init(&mut client, 4, "shop").await;
    let invalid = ErrorCode::InvalidTxnState.code();
    let first = || in_transaction(by, 0, &[b"x"]).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), first()).await,
        invalid
    );
    let codes = add(&mut client, 3, ("shop", by), "orders", &[0]).await;
    assert_eq!(codes, [0]);
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 1), first()).await,
        invalid
    );
    assert_eq!(
        produce(&mut client, None, (&topic, 0), first()).await,
        invalid
    );
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), first()).await,
        0
    );
    let outside = builder(&[b"x"]).producer(by.id, by.epoch, 1).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), outside).await,
        invalid,
        "inside of a transaction everything is part of it"
    );
    for id in [None, Some("shop")] {
        let forged = marker(by, Outcome::Commit, 0, Timestamp::from_millis(1));
        assert_eq!(
            produce(&mut client, id, (&topic, 0), forged).await,
            ErrorCode::InvalidRecord.code()
        );
    }
    assert_eq!(end(&mut client, 3, "shop", by, Outcome::Commit).await, 0);
    let late = in_transaction(by, 1, &[b"x"]).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), late).await,
        invalid,
        "nothing comes after the end"
    );
    assert_eq!(
        end(&mut client, 3, "shop", by, Outcome::Abort).await,
        invalid
    );
}

#[tokio::test]
async fn partitions_are_added_all_or_none() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let (_, by) = init(&mut client, 4, "shop").await;
    assert_eq!(
        add(&mut client, 3, ("shop", by), "orders", &[0, 7]).await,
        [55, 3]
    );
    assert_eq!(
        add(&mut client, 3, ("shop", by), "lantern.groups", &[0]).await,
        [29]
    );
    assert_eq!(
        end(&mut client, 3, "shop", by, Outcome::Commit).await,
        ErrorCode::InvalidTxnState.code(),
        "nothing was opened"
    );
}

#[tokio::test]
async fn a_newer_producer_aborts_and_fences_the_older_one() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let (_, old) = init(&mut client, 4, "shop").await;
    add(&mut client, 3, ("shop", old), "orders", &[0]).await;
    let batch = in_transaction(old, 0, &[b"lost"]).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), batch).await,
        0
    );
    let (code, new) = init(&mut client, 4, "shop").await;
    assert_eq!(code, 0);
    assert!(new.id == old.id && new.epoch > old.epoch, "{new}");
    let (fenced, epoch) = (
        ErrorCode::ProducerFenced.code(),
        ErrorCode::InvalidProducerEpoch.code(),
    );
    let late = in_transaction(old, 1, &[b"late"]).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), late).await,
        epoch
    );
    for version in 0..=3 {
        let code = if version < 2 { epoch } else { fenced };
        let asked = ("shop", old);
        assert_eq!(
            add(&mut client, version, asked, "orders", &[0]).await,
            [code]
        );
        assert_eq!(
            end(&mut client, version, "shop", old, Outcome::Commit).await,
            code
        );
    }
    let (code, _) = init_as(&mut client, 4, "shop", 60_000, Some(old)).await;
    assert_eq!(code, fenced);
    let (code, _) = init_as(&mut client, 3, "shop", 60_000, Some(old)).await;
    assert_eq!(code, epoch);
    let (seen, aborted, stable, high) = fetch(&mut client, 12, (&topic, 0), true).await;
    assert_eq!((seen, stable), (vec![], high));
    assert_eq!(aborted, Some(vec![(old.id, 0)]));
    let (_, next) = init_as(&mut client, 4, "shop", 60_000, Some(new)).await;
    assert_eq!(next, Producer::new(new.id, new.epoch + 1));
}

#[tokio::test]
async fn an_open_transaction_ends_when_its_time_is_over() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    for timeout in [0, -1, 900_001] {
        let (code, by) = init_as(&mut client, 4, "shop", timeout, None).await;
        assert_eq!((code, by.id), (50, -1), "{timeout}");
    }
    let (_, by) = init_as(&mut client, 4, "shop", 100, None).await;
    add(&mut client, 3, ("shop", by), "orders", &[0]).await;
    let batch = in_transaction(by, 0, &[b"lost"]).build();
    let code = produce(&mut client, Some("shop"), (&topic, 0), batch).await;
    assert_eq!(code, 0);
    let mut watch = broker::Broker::watch(&*server.broker, &crate::support::at(&topic, 0)).unwrap();
    let ended = watch.wait_for(|mark| mark.bits() == 2);
    tokio::time::timeout(crate::support::PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    let (seen, _, stable, _) = fetch(&mut client, 12, (&topic, 0), true).await;
    assert_eq!((seen, stable), (vec![], 2));
    let fenced = ErrorCode::ProducerFenced.code();
    assert_eq!(
        end(&mut client, 3, "shop", by, Outcome::Commit).await,
        fenced
    );
}

async fn stage(
    client: &mut Raw,
    version: i16,
    (id, by): (&str, Producer),
    member: Option<(&str, i32)>,
    offset: i64,
) -> i16 {
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let part = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(wire_name("orders"))
        .with_partitions(vec![part]);
    let mut request = TxnOffsetCommitRequest::default()
        .with_transactional_id(wire_id(id))
        .with_group_id(GroupId(text("readers")))
        .with_producer_id(ProducerId(by.id))
        .with_producer_epoch(by.epoch)
        .with_topics(vec![topic]);
    if let Some((member, generation)) = member {
        request = request
            .with_member_id(text(member))
            .with_generation_id(generation);
    }
    let answer: TxnOffsetCommitResponse =
        client.call(Api::TxnOffsetCommit, version, &request).await;
    answer.topics[0].partitions[0].error_code
}

async fn committed(client: &mut Raw, stable: bool, all: bool) -> (i16, i64) {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = OffsetFetchRequestTopics::default()
        .with_name(wire_name("orders"))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text("readers")))
        .with_topics((!all).then(|| vec![topic]));
    let request = OffsetFetchRequest::default()
        .with_require_stable(stable)
        .with_groups(vec![group]);
    let answer: OffsetFetchResponse = client.call(Api::OffsetFetch, 8, &request).await;
    let topics = &answer.groups[0].topics;
    topics.first().map_or((0, -2), |topic| {
        let part = &topic.partitions[0];
        (part.error_code, part.committed_offset)
    })
}

async fn add_group(client: &mut Raw, version: i16, id: &str, by: Producer) -> i16 {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(wire_id(id))
        .with_producer_id(ProducerId(by.id))
        .with_producer_epoch(by.epoch)
        .with_group_id(GroupId(text("readers")));
    let answer: AddOffsetsToTxnResponse =
        client.call(Api::AddOffsetsToTxn, version, &request).await;
    answer.error_code
}

#[tokio::test]
async fn offsets_count_when_the_transaction_does() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let (_, by) = init(&mut client, 4, "shop").await;
    let invalid = ErrorCode::InvalidTxnState.code();
    assert_eq!(stage(&mut client, 3, ("shop", by), None, 1).await, invalid);
    let unstable = ErrorCode::UnstableOffsetCommit.code();
    let mut last = -1;
    for (round, version) in (0..).zip([0, 1, 2, 3, 3, 3]) {
        let outcome = if round % 2 == 0 {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        assert_eq!(add_group(&mut client, version, "shop", by).await, 0);
        assert_eq!(
            stage(&mut client, version, ("shop", by), None, 10 + round).await,
            0
        );
        assert_eq!(committed(&mut client, false, false).await, (0, last));
        assert_eq!(committed(&mut client, true, false).await, (unstable, -1));
        assert_eq!(committed(&mut client, true, true).await, (unstable, -1));
        assert_eq!(end(&mut client, version, "shop", by, outcome).await, 0);
        if outcome == Outcome::Commit {
            last = 10 + round;
        }
        assert_eq!(committed(&mut client, true, false).await, (0, last));
    }
    assert_eq!(add_group(&mut client, 3, "shop", by).await, 0);
    let stranger = Some(("nobody", 3));
    let code = stage(&mut client, 3, ("shop", by), stranger, 1).await;
    assert_ne!(code, 0, "who is no member commits nothing");
    let older = Producer::new(by.id, by.epoch - 1);
    assert_eq!(
        stage(&mut client, 3, ("shop", older), None, 1).await,
        ErrorCode::InvalidProducerEpoch.code()
    );
}

#[tokio::test]
async fn an_operator_finds_what_is_open() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let (_, by) = init(&mut client, 4, "shop").await;
    add(&mut client, 3, ("shop", by), "orders", &[0]).await;
    let batch = in_transaction(by, 0, &[b"a", b"b"]).build();
    assert_eq!(
        produce(&mut client, Some("shop"), (&topic, 0), batch).await,
        0
    );
    init(&mut client, 4, "idle").await;

    let request = ListTransactionsRequest::default()
        .with_state_filters(vec![text("Ongoing"), text("Gone")])
        .with_duration_filter(-1);
    let answer: ListTransactionsResponse = client.call(Api::ListTransactions, 1, &request).await;
    assert_eq!(answer.unknown_state_filters, [text("Gone")]);
    let found: Vec<_> = answer
        .transaction_states
        .iter()
        .map(|state| (state.transactional_id.as_str(), state.producer_id.0))
        .collect();
    assert_eq!(found, [("shop", by.id)]);

    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![wire_id("shop"), wire_id("nobody")]);
    let answer: DescribeTransactionsResponse =
        client.call(Api::DescribeTransactions, 0, &request).await;
    let shop = &answer.transaction_states[0];
    assert_eq!(shop.transaction_state.as_str(), "Ongoing");
    assert_eq!(
        (shop.producer_epoch, shop.transaction_timeout_ms),
        (0, 60_000)
    );
    assert_eq!(shop.topics[0].topic.as_str(), "orders");
    let unknown = ErrorCode::TransactionalIdNotFound.code();
    assert_eq!(answer.transaction_states[1].error_code, unknown);

    let asked = describe_producers_request::TopicRequest::default()
        .with_name(wire_name("orders"))
        .with_partition_indexes(vec![0, 9]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    let answer: DescribeProducersResponse = client.call(Api::DescribeProducers, 0, &request).await;
    let parts = &answer.topics[0].partitions;
    let producer = &parts[0].active_producers[0];
    assert_eq!(producer.producer_id.0, by.id);
    assert_eq!(
        (producer.last_sequence, producer.current_txn_start_offset),
        (1, 0)
    );
    assert_eq!(parts[1].error_code, 3);
}

#[tokio::test]
async fn compressed_batches_take_part_too() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let (_, by) = init(&mut client, 4, "shop").await;
    add(&mut client, 3, ("shop", by), "orders", &[0]).await;
    let mut batch = BatchBuilder::new(Compression::Zstd);
    batch.push(Timestamp::from_millis(1), None, Some(b"v"), &[]);
    batch.producer(by.id, by.epoch, 0).transactional();
    let code = produce(&mut client, Some("shop"), (&topic, 0), batch.build()).await;
    assert_eq!(code, 0);
    assert_eq!(end(&mut client, 3, "shop", by, Outcome::Commit).await, 0);
    let (seen, _, _, _) = fetch(&mut client, 12, (&topic, 0), true).await;
    assert_eq!(seen, ["v"]);
}
