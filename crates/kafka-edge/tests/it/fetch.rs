//! Fetch: whole batches, bounds, waiting, and offsets that are not there.

use std::iter;
use std::time::{Duration, Instant};

use broker::{Broker, Durability};
use kafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::messages::fetch_response::PartitionData;
use kafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use kafka_wire::{Api, ErrorCode};
use model::{Timestamp, TopicName};
use record::{BatchBuilder, Compression};

use crate::support::{Raw, Server, at, batch, wire_name};

#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) wait: i32,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) partition_max: i32,
}

pub(crate) const AT_ONCE: Ask = Ask {
    wait: 0,
    min: 1,
    max: 1 << 20,
    partition_max: 1 << 20,
};

pub(crate) fn request(topic: &str, from: &[(i32, i64)], ask: Ask) -> FetchRequest {
    let partitions = from.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(ask.partition_max)
    });
    let topic = FetchTopic::default()
        .with_topic(wire_name(topic))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(ask.wait)
        .with_min_bytes(ask.min)
        .with_max_bytes(ask.max)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

async fn fetch(client: &mut Raw, topic: &str, from: &[(i32, i64)], ask: Ask) -> Vec<PartitionData> {
    let answer: FetchResponse = client
        .call(Api::Fetch, 11, &request(topic, from, ask))
        .await;
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .collect()
}

fn offsets(data: &PartitionData) -> Vec<u64> {
    let records = data.records.clone().unwrap_or_default();
    let batches = record::Batches::new(records).map(Result::unwrap);
    batches.map(|batch| batch.base_offset().get()).collect()
}

async fn append(server: &Server, topic: &TopicName, partition: u32, values: &[&[u8]]) {
    let to = at(topic, partition);
    let appended = server
        .broker
        .append(&to, vec![batch(values)], Durability::Flushed)
        .await;
    appended.unwrap();
}

#[tokio::test]
async fn batches_come_whole_from_the_one_that_holds_the_offset_in_every_version() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    for _ in 0..3 {
        append(&server, &topic, 0, &[b"a", b"b", b"c"]).await;
    }
    let mut client = server.client().await;
    for version in Api::Fetch.decoded() {
        let body = request(topic.as_str(), &[(0, 4)], AT_ONCE);
        let answer: FetchResponse = client.call(Api::Fetch, version, &body).await;
        let data = &answer.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        assert_eq!(offsets(data), [3, 6], "version {version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (9, 9));
    }
}

#[tokio::test]
async fn bounds_hold_for_the_whole_answer_and_the_first_batch_always_comes() {
    let server = Server::start().await;
    let topic = server.topic("orders", 3).await;
    let big = [b'x'; 1_000];
    for partition in 0..3 {
        for _ in 0..4 {
            append(&server, &topic, partition, &[&big]).await;
        }
    }
    let mut client = server.client().await;
    let all = [(0, 0), (1, 0), (2, 0)];
    let counts = async |client: &mut Raw, max, partition_max| {
        let ask = Ask {
            max,
            partition_max,
            ..AT_ONCE
        };
        let parts = fetch(client, topic.as_str(), &all, ask).await;
        parts
            .iter()
            .map(|data| offsets(data).len())
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&mut client, 1 << 20, 1 << 20).await, [4, 4, 4]);
    assert_eq!(counts(&mut client, 1 << 20, 2_300).await, [2, 2, 2]);
    assert_eq!(counts(&mut client, 3_400, 2_300).await, [2, 1, 0]);
    assert_eq!(
        counts(&mut client, 10, 10).await,
        [1, 0, 0],
        "one batch whatever its size"
    );
    assert_eq!(counts(&mut client, 0, 0).await, [1, 0, 0]);
}

#[tokio::test]
async fn offsets_outside_the_log_are_told_at_once() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    append(&server, &topic, 0, &[b"a"]).await;
    let mut client = server.client().await;
    let patient = Ask {
        wait: 15_000,
        ..AT_ONCE
    };
    let begun = Instant::now();
    for (from, code) in [
        ((0, 2), ErrorCode::OffsetOutOfRange),
        ((0, -1), ErrorCode::OffsetOutOfRange),
        ((7, 0), ErrorCode::UnknownTopicOrPartition),
    ] {
        let parts = fetch(&mut client, topic.as_str(), &[from], patient).await;
        assert_eq!(parts[0].error_code, code.code());
    }
    let parts = fetch(&mut client, "nowhere", &[(0, 0)], patient).await;
    assert_eq!(
        parts[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "no waiting for what will not come"
    );
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_the_record_it_waits_for() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let mut client = server.client().await;
    let patient = Ask {
        wait: 15_000,
        ..AT_ONCE
    };
    let begun = Instant::now();
    let id = client
        .send(
            Api::Fetch,
            11,
            &request(topic.as_str(), &[(0, 0), (1, 0)], patient),
        )
        .await;
    append(&server, &topic, 1, &[b"now"]).await;
    let answer: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    assert_eq!(offsets(&answer.responses[0].partitions[0]), [0_u64; 0]);
    assert_eq!(offsets(&answer.responses[0].partitions[1]), [0]);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "woken, not timed out"
    );
}

#[tokio::test]
async fn min_bytes_gathers_until_there_is_enough_or_no_more_time() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let gathering = Ask {
        wait: 15_000,
        min: 3_000,
        ..AT_ONCE
    };
    let id = client
        .send(
            Api::Fetch,
            11,
            &request(topic.as_str(), &[(0, 0)], gathering),
        )
        .await;
    for _ in 0..3 {
        append(&server, &topic, 0, &[&[b'x'; 1_000]]).await;
    }
    let answer: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    assert_eq!(offsets(&answer.responses[0].partitions[0]), [0, 1, 2]);
    let hurried = Ask {
        wait: 50,
        min: 1 << 20,
        ..AT_ONCE
    };
    let parts = fetch(&mut client, topic.as_str(), &[(0, 1)], hurried).await;
    assert_eq!(offsets(&parts[0]), [1, 2], "what there is when time is up");
}

#[tokio::test]
async fn appends_below_min_bytes_wake_nobody_and_the_last_one_wakes_once() {
    let server = Server::start().await;
    let topic = server.topic("orders", 3).await;
    let mut client = server.client().await;
    let one = batch(&[&[b'x'; 1_000]]).size();
    let gathering = Ask {
        wait: 15_000,
        min: i32::try_from(one * 40).unwrap(),
        ..AT_ONCE
    };
    let of = [(0, 0), (1, 0), (2, 0)];
    let body = request(topic.as_str(), &of, gathering);
    let begun = Instant::now();
    let id = client.send(Api::Fetch, 11, &body).await;
    // It waits: what comes now is not there when it first looks.
    let mut other = server.client().await;
    assert!(other.is_served().await);
    for n in 0..39 {
        append(&server, &topic, n % 3, &[&[b'x'; 1_000]]).await;
    }
    let woken = || server.metric("lantern_kafka_edge_fetch_wakeups_total");
    assert_eq!(woken(), 0.0);
    append(&server, &topic, 0, &[&[b'x'; 1_000]]).await;
    let answer: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    let parts = &answer.responses[0].partitions;
    let got: usize = parts.iter().map(|part| offsets(part).len()).sum();
    assert_eq!(got, 40);
    assert!(woken() <= 1.0, "woken {} times", woken());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "woken, not timed out"
    );
}

#[tokio::test]
async fn a_session_nobody_has_cannot_be_gone_on_with_and_can_be_ended_or_begun() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    for (id, epoch, code) in [
        (5, 1, ErrorCode::FetchSessionIdNotFound.code()),
        (0, 5, ErrorCode::FetchSessionIdNotFound.code()),
        (5, 0, 0),
        (5, -1, 0),
        (-1, -1, 0),
        (0, 0, 0),
    ] {
        let body = request(topic.as_str(), &[(0, 0)], AT_ONCE)
            .with_session_id(id)
            .with_session_epoch(epoch);
        let answer: FetchResponse = client.call(Api::Fetch, 11, &body).await;
        let got = (answer.error_code, answer.session_id, answer.responses.len());
        assert_eq!(got, (code, 0, usize::from(code == 0)), "({id}, {epoch})");
    }
}

/// The first offset of every batch that a client gets which asks on behind each answer, and where that ends.
async fn walk(client: &mut Raw, topic: &str, partition_max: i32) -> (Vec<u64>, u64) {
    let ask = Ask {
        partition_max,
        ..AT_ONCE
    };
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let parts = fetch(client, topic, &[(0, i64::try_from(from).unwrap())], ask).await;
        assert_eq!(parts[0].error_code, 0);
        let records = parts[0].records.clone().unwrap_or_default();
        let batches: Vec<_> = record::Batches::new(records).map(Result::unwrap).collect();
        let Some(last) = batches.last() else {
            return (seen, from);
        };
        from = last.next_offset().get();
        let full = batches.iter().filter(|batch| batch.record_count() > 0);
        assert!(full.count() == batches.len() || batches.len() == 1);
        seen.extend(batches.iter().map(|batch| batch.base_offset().get()));
    }
}

/// A topic of small segments that are compacted when asked, with a batch of one record for each key.
async fn compactable(server: &Server, keys: impl Iterator<Item = u32>) -> TopicName {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1024"),
        ("min.cleanable.dirty.ratio", "0.0"),
    ];
    let topic = server.topic_with("prices", 1, &settings).await;
    let to = at(&topic, 0);
    for key in keys {
        let mut builder = BatchBuilder::new(Compression::None);
        let time = Timestamp::from_millis(1_000);
        builder.push(time, Some(&key.to_be_bytes()), Some(&[b'x'; 100]), &[]);
        let batches = vec![builder.build()];
        let appended = server.broker.append(&to, batches, Durability::Flushed);
        appended.await.unwrap();
    }
    topic
}

#[tokio::test]
async fn what_compaction_took_is_a_gap_and_not_a_batch_without_records() {
    let server = Server::start().await;
    // Every tenth has a key that comes once.
    let keys = (0..200_u32).map(|n| if n % 10 == 0 { n } else { 1 });
    let topic = compactable(&server, keys).await;
    let mut client = server.client().await;
    let (all, end) = walk(&mut client, topic.as_str(), 1 << 20).await;
    assert_eq!((all.len(), end), (200, 200));
    assert!(server.broker.clean_now() > 0);
    for partition_max in [1 << 20, 300, 1] {
        let (left, end) = walk(&mut client, topic.as_str(), partition_max).await;
        assert!(left.len() < 50 && end == 200, "{left:?} until {end}");
        assert!(
            (0..20).all(|tenth| left.contains(&(tenth * 10))),
            "{left:?}"
        );
    }
}

#[tokio::test]
async fn a_long_way_without_records_is_told_of_in_steps() {
    let server = Server::start().await;
    let topic = compactable(&server, iter::repeat_n(1, 1_000)).await;
    assert!(server.broker.clean_now() > 0);
    let mut client = server.client().await;
    // One batch at a time: else one read finds the record behind them all.
    let (steps, end) = walk(&mut client, topic.as_str(), 1).await;
    assert_eq!(end, 1_000);
    // The last segment is not compacted, and has a few batches with records.
    assert!(
        steps.len() < 20 && steps[0] < 500,
        "answers at {steps:?}: a read for each, or one that takes as long as it takes"
    );
}

#[tokio::test]
async fn when_the_time_is_over_what_is_there_goes_out_however_little() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let mut client = server.client().await;
    let greedy = Ask {
        wait: 1_000,
        min: 100_000,
        ..AT_ONCE
    };
    let body = request(topic.as_str(), &[(0, 0), (1, 0)], greedy);
    let id = client.send(Api::Fetch, 11, &body).await;
    let mut other = server.client().await;
    assert!(other.is_served().await);
    append(&server, &topic, 1, &[b"late"]).await;
    let answer: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    let parts = &answer.responses[0].partitions;
    assert_eq!((parts[1].high_watermark, offsets(&parts[1])), (1, vec![0]));
    assert_eq!((parts[0].high_watermark, offsets(&parts[0])), (0, vec![]));
}

#[tokio::test]
async fn a_deleted_topic_ends_the_wait() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let patient = Ask {
        wait: 15_000,
        ..AT_ONCE
    };
    let id = client
        .send(Api::Fetch, 11, &request(topic.as_str(), &[(0, 0)], patient))
        .await;
    // Only a fetch that has begun to wait shows anything.
    let mut other = server.client().await;
    assert!(other.is_served().await);
    server.broker.delete_topic(&topic).await.unwrap();
    let answer: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    let code = answer.responses[0].partitions[0].error_code;
    assert!(
        code == 0 || code == ErrorCode::UnknownTopicOrPartition.code(),
        "{code}"
    );
    let parts = fetch(&mut client, topic.as_str(), &[(0, 0)], patient).await;
    assert_eq!(
        parts[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test]
async fn offsets_are_found_by_their_meaning() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut builder = BatchBuilder::new(Compression::Gzip);
    for time in [1_000, 5_000, 3_000, 9_000] {
        builder.push(Timestamp::from_millis(time), None, Some(b"x"), &[]);
    }
    let body = super::produce::request(topic.as_str(), 0, -1, Some(builder.build().into_bytes()));
    let mut client = server.client().await;
    let _: kafka_wire::messages::ProduceResponse = client.call(Api::Produce, 9, &body).await;
    let mut find = async |version, timestamp| {
        let asked = ListOffsetsPartition::default().with_timestamp(timestamp);
        let asked = ListOffsetsTopic::default()
            .with_name(wire_name(topic.as_str()))
            .with_partitions(vec![asked]);
        let body = ListOffsetsRequest::default().with_topics(vec![asked]);
        let answer: ListOffsetsResponse = client.call(Api::ListOffsets, version, &body).await;
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.offset, found.timestamp)
    };
    for version in Api::ListOffsets.decoded() {
        assert_eq!(find(version, -1).await, (0, 4, -1), "latest");
        assert_eq!(find(version, -2).await, (0, 0, -1), "earliest");
        assert_eq!(find(version, 0).await, (0, 0, 1_000));
        assert_eq!(find(version, 1_001).await, (0, 1, 5_000));
        assert_eq!(find(version, 5_001).await, (0, 3, 9_000));
        assert_eq!(find(version, 9_001).await, (0, -1, -1), "nothing that late");
    }
    assert_eq!(find(7, -3).await, (0, 3, 9_000), "the largest timestamp");
    assert_eq!(find(6, -3).await.0, ErrorCode::InvalidRequest.code());
    assert_eq!(
        find(8, -4).await,
        (0, 0, -1),
        "the earliest on this machine"
    );
    assert_eq!(find(7, -4).await.0, ErrorCode::InvalidRequest.code());
    assert_eq!(find(9, -5).await, (0, -1, -1), "nothing is elsewhere");
    assert_eq!(find(8, -5).await.0, ErrorCode::InvalidRequest.code());
}

#[tokio::test]
async fn the_end_of_the_log_is_after_everything_acknowledged() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let asked = ListOffsetsTopic::default()
        .with_name(wire_name(topic.as_str()))
        .with_partitions(vec![partition]);
    let latest = ListOffsetsRequest::default().with_topics(vec![asked]);
    for count in 1..=100 {
        // Answered from the page cache, before the flush that makes it readable.
        let records = Some(batch(&[b"x"]).into_bytes());
        let body = super::produce::request(topic.as_str(), 0, 1, records);
        let answer: kafka_wire::messages::ProduceResponse =
            client.call(Api::Produce, 9, &body).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        let answer: ListOffsetsResponse = client.call(Api::ListOffsets, 7, &latest).await;
        assert_eq!(answer.topics[0].partitions[0].offset, count);
    }
}
