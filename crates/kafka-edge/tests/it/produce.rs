//! Produce: what is taken, what is refused, and with which code.

use bytes::Bytes;
use kafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::produce_response::PartitionProduceResponse;
use kafka_wire::messages::{ProduceRequest, ProduceResponse};
use kafka_wire::{Api, ErrorCode};
use model::Timestamp;
use record::{BatchBuilder, Compression};

use crate::support::{Raw, Server, batch, builder, wire_name};

pub(crate) fn request(
    topic: &str,
    partition: i32,
    acks: i16,
    records: Option<Bytes>,
) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(records);
    let topic = TopicProduceData::default()
        .with_name(wire_name(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic])
}

pub(crate) fn only(answer: ProduceResponse) -> PartitionProduceResponse {
    answer
        .responses
        .into_iter()
        .next()
        .unwrap()
        .partition_responses
        .into_iter()
        .next()
        .unwrap()
}

async fn produce(client: &mut Raw, topic: &str, records: Bytes) -> PartitionProduceResponse {
    only(
        client
            .call(Api::Produce, 9, &request(topic, 0, -1, Some(records)))
            .await,
    )
}

#[tokio::test]
async fn batches_get_the_next_offsets_in_every_version_and_with_every_ack() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let mut expected = 0;
    for version in Api::Produce.decoded() {
        for acks in [1, -1] {
            let records = batch(&[b"a", b"b", b"c"]).into_bytes();
            let body = request(topic.as_str(), 0, acks, Some(records));
            let answer = only(client.call(Api::Produce, version, &body).await);
            assert_eq!(
                (answer.error_code, answer.base_offset),
                (0, expected),
                "{version} {acks}"
            );
            assert_eq!(answer.log_append_time_ms, -1, "the producer's clock counts");
            expected += 3;
        }
    }
}

#[tokio::test]
async fn many_requests_in_flight_are_stored_and_answered_in_order() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let mut ids = Vec::new();
    for number in 0..200_u32 {
        let records = batch(&[&number.to_be_bytes()]).into_bytes();
        ids.push(
            client
                .send(
                    Api::Produce,
                    9,
                    &request(topic.as_str(), 0, -1, Some(records)),
                )
                .await,
        );
    }
    for (offset, id) in (0..).zip(ids) {
        let answer = only(client.receive(Api::Produce, 9, id).await);
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

#[tokio::test]
async fn without_acks_nothing_is_answered_and_the_order_stays() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    for number in 0..50_u32 {
        let records = batch(&[&number.to_be_bytes()]).into_bytes();
        client
            .send(
                Api::Produce,
                7,
                &request(topic.as_str(), 0, 0, Some(records)),
            )
            .await;
    }
    let answer = produce(&mut client, topic.as_str(), batch(&[b"last"]).into_bytes()).await;
    assert_eq!(
        answer.base_offset, 50,
        "the first answer belongs to the request with acks"
    );
    // A failure can only be told by closing.
    client
        .send(
            Api::Produce,
            7,
            &request("nowhere", 0, 0, Some(batch(&[b"x"]).into_bytes())),
        )
        .await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn bad_batches_are_refused_by_kind_and_leave_the_log_alone() {
    let server = Server::start().await;
    let topic = server
        .topic_with("orders", 1, &[("max.message.bytes", "2000")])
        .await;
    let mut client = server.client().await;
    let good = batch(&[b"good"]).into_bytes();
    let bent = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    let mut transactional = builder(&[b"x"]);
    transactional.transactional();
    let mut cases = vec![
        (
            "a byte of a record",
            bent(good.len() - 1, 7),
            ErrorCode::CorruptMessage,
        ),
        (
            "the checksum",
            bent(18, good[18] ^ 1),
            ErrorCode::CorruptMessage,
        ),
        ("magic 1", bent(16, 1), ErrorCode::InvalidRecord),
        (
            "cut short",
            good.slice(..good.len() - 3),
            ErrorCode::CorruptMessage,
        ),
        (
            "a length beyond the end",
            bent(9, 0x7f),
            ErrorCode::CorruptMessage,
        ),
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        (
            "too large",
            batch(&[&[b'x'; 3_000]]).into_bytes(),
            ErrorCode::MessageTooLarge,
        ),
        (
            "transactional",
            transactional.build().into_bytes(),
            ErrorCode::InvalidTxnState,
        ),
    ];
    // A checksum that fits records which do not: counts too high, header name not text, stray bytes.
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    let two_records = resealed(&|bytes| {
        bytes[23..27].copy_from_slice(&1_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&2_i32.to_be_bytes());
    });
    cases.push((
        "a count beyond the records",
        two_records,
        ErrorCode::InvalidRecord,
    ));
    let millions = resealed(&|bytes| {
        bytes[23..27].copy_from_slice(&19_999_999_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&20_000_000_i32.to_be_bytes());
    });
    cases.push(("20 million records", millions, ErrorCode::InvalidRecord));
    cases.push((
        "stray bytes",
        resealed(&|bytes| bytes.push(0)),
        ErrorCode::InvalidRecord,
    ));
    for (what, records, code) in cases {
        let answer = produce(&mut client, topic.as_str(), records).await;
        assert_eq!(
            answer.error_code,
            code.code(),
            "{what}: {:?}",
            answer.error_message
        );
        assert!(answer.error_message.is_some(), "{what}");
        assert_eq!(answer.base_offset, -1);
    }
    let answer = produce(&mut client, topic.as_str(), good.clone()).await;
    assert_eq!(
        (answer.error_code, answer.base_offset),
        (0, 0),
        "nothing of it was stored"
    );
}

#[tokio::test]
async fn a_compacted_topic_refuses_records_without_a_key_and_names_them() {
    let server = Server::start().await;
    let compact = [("cleanup.policy", "compact")];
    let topic = server.topic_with("prices", 1, &compact).await;
    let mut client = server.client().await;
    for codec in [Compression::None, Compression::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        for key in [Some(&b"a"[..]), None, Some(b""), None] {
            builder.push(Timestamp::from_millis(1), key, Some(b"x"), &[]);
        }
        let body = request(topic.as_str(), 0, -1, Some(builder.build().into_bytes()));
        for version in [7, 8, 9] {
            let answer = only(client.call(Api::Produce, version, &body).await);
            assert_eq!(answer.error_code, ErrorCode::InvalidRecord.code());
            let named = answer.record_errors.iter();
            let named: Vec<i32> = named.map(|error| error.batch_index).collect();
            let expected: &[i32] = if version < 8 { &[] } else { &[1, 3] };
            assert_eq!(named, expected, "version {version}");
            let said = answer.error_message.map(|said| said.to_string());
            let says = said.is_some_and(|said| said.contains("'prices' is compacted"));
            assert_eq!(says, version >= 8);
        }
    }
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(Timestamp::from_millis(1), Some(b"a"), None, &[]);
    let answer = produce(&mut client, topic.as_str(), builder.build().into_bytes()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused_partition_by_partition() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let records = || Some(batch(&[b"x"]).into_bytes());
    let cases = [
        (
            request("nowhere", 0, -1, records()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            request("no spaces", 0, -1, records()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            request(topic.as_str(), 1, -1, records()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            request(topic.as_str(), -1, -1, records()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            request(topic.as_str(), 0, -1, None),
            ErrorCode::InvalidRecord,
        ),
        (
            request(topic.as_str(), 0, 7, records()),
            ErrorCode::InvalidRequiredAcks,
        ),
        (
            request("lantern.groups", 0, -1, records()),
            ErrorCode::InvalidTopicException,
        ),
    ];
    for (body, code) in cases {
        let answer = only(client.call(Api::Produce, 9, &body).await);
        assert_eq!(answer.error_code, code.code(), "{:?}", answer.error_message);
    }
    let mut zstd = BatchBuilder::new(Compression::Zstd);
    zstd.push(Timestamp::from_millis(1), None, Some(b"x"), &[]);
    let zstd = zstd.build().into_bytes();
    let body = request(topic.as_str(), 0, -1, Some(zstd.clone()));
    let answer = only(client.call(Api::Produce, 6, &body).await);
    assert_eq!(
        answer.error_code,
        ErrorCode::UnsupportedCompressionType.code()
    );
    let answer = only(client.call(Api::Produce, 7, &body).await);
    assert_eq!(answer.error_code, 0);
}

#[tokio::test]
async fn idempotent_retries_are_acknowledged_with_their_first_offset() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let of = |sequence, epoch| {
        let mut builder = builder(&[b"a", b"b"]);
        builder.producer(77, epoch, sequence);
        builder.build().into_bytes()
    };
    let offset_or_code = |answer: PartitionProduceResponse| match answer.error_code {
        0 => Ok(answer.base_offset),
        code => Err(ErrorCode::try_from_code(code).unwrap()),
    };
    let mut send = async |sequence, epoch| {
        offset_or_code(produce(&mut client, topic.as_str(), of(sequence, epoch)).await)
    };
    assert_eq!(send(0, 1).await, Ok(0));
    assert_eq!(send(2, 1).await, Ok(2));
    assert_eq!(send(0, 1).await, Ok(0), "a retry");
    assert_eq!(send(2, 1).await, Ok(2), "a retry");
    assert_eq!(send(9, 1).await, Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(send(4, 0).await, Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(send(0, 2).await, Ok(4), "a new epoch begins anew");
}

#[tokio::test]
async fn a_topic_with_log_append_time_says_when() {
    let server = Server::start().await;
    let config = [("message.timestamp.type", "LogAppendTime")];
    let topic = server.topic_with("orders", 1, &config).await;
    let mut client = server.client().await;
    let answer = produce(&mut client, topic.as_str(), batch(&[b"x"]).into_bytes()).await;
    assert!(
        answer.log_append_time_ms > 1_577_836_800_000,
        "{}",
        answer.log_append_time_ms
    );
}
