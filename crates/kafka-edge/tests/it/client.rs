//! Our own client against our own endpoint.

use std::time::Duration;

use kafka_client::{
    Acks, Admin, Connection, Consumer, ConsumerOptions, Error, Options, Place, Producer,
};
use kafka_wire::ErrorCode;
use model::{Offset, Timestamp, TopicName};
use record::{BatchBuilder, Compression};

use crate::support::{Server, at, batch};

#[tokio::test]
async fn batches_go_out_many_at_a_time_and_come_back() {
    let server = Server::start().await;
    let address = server.address.to_string();
    let admin = Admin::connect(&address).await.unwrap();
    let topic: TopicName = "orders".parse().unwrap();
    admin
        .create_topic_with(&topic, 2, &[("retention.ms", "60000")])
        .await
        .unwrap();
    let (id, epoch) = admin.new_producer_id().await.unwrap();

    let producer = Producer::connect(&address).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..100_i32 {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        builder.push(
            Timestamp::from_millis(number.into()),
            None,
            Some(&number.to_be_bytes()),
            &[],
        );
        builder.producer(id, epoch, number);
        deliveries.push(
            producer
                .enqueue(&at(&topic, 1), builder.build())
                .await
                .unwrap(),
        );
    }
    for (expected, delivery) in (0..).zip(deliveries) {
        let ack = delivery.acknowledged().await.unwrap();
        assert_eq!(ack.base_offset, Offset::new(expected));
        assert!(ack.latency > Duration::ZERO);
    }

    let mut consumer = Consumer::connect(&address).await.unwrap();
    consumer.seek(at(&topic, 0), Offset::ZERO);
    consumer.seek(at(&topic, 1), Offset::new(40));
    let mut numbers = Vec::new();
    while consumer.position(&at(&topic, 1)) < Some(Offset::new(100)) {
        for fetched in consumer.poll().await.unwrap() {
            assert_eq!(fetched.partition, at(&topic, 1));
            assert_eq!(fetched.high_watermark, Offset::new(100));
            for batch in fetched.batches {
                for record in &batch.records().unwrap() {
                    let value = record.unwrap().value.unwrap();
                    numbers.push(i32::from_be_bytes(value.try_into().unwrap()));
                }
            }
        }
    }
    assert_eq!(numbers, (40..100).collect::<Vec<_>>());
    assert_eq!(
        consumer.end(&at(&topic, 1)).await.unwrap(),
        Offset::new(100)
    );
    let time = Place::Time(Timestamp::from_millis(70));
    assert_eq!(
        admin.offset(&at(&topic, 1), time).await.unwrap(),
        Some(Offset::new(70))
    );
    let late = Place::Time(Timestamp::from_millis(100));
    assert_eq!(admin.offset(&at(&topic, 1), late).await.unwrap(), None);
    let topics = admin.topics(Some(&[topic])).await.unwrap();
    assert_eq!(topics[0].partitions, 2);
}

#[tokio::test]
async fn one_request_takes_batches_for_several_partitions() {
    let server = Server::start().await;
    let address = server.address.to_string();
    let admin = Admin::connect(&address).await.unwrap();
    let topic: TopicName = "orders".parse().unwrap();
    admin.create_topic(&topic, 2).await.unwrap();
    let producer = Producer::connect(&address).await.unwrap();
    let several =
        |partitions: [u32; 2]| partitions.map(|n| (at(&topic, n).partition, batch(&[b"a"])));
    let sent = producer.send(&at(&topic, 0), batch(&[b"first"])).await;
    assert_eq!(sent.unwrap(), Offset::ZERO);
    for expected in [0, 1] {
        let sent = producer.enqueue_all(&topic, several([1, 0])).await.unwrap();
        let ack = sent.acknowledged().await.unwrap();
        assert_eq!(
            ack.base_offset,
            Offset::new(expected),
            "of partition 1, the first"
        );
    }
    let sent = producer.enqueue_all(&topic, several([0, 7])).await.unwrap();
    let error = sent.acknowledged().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    // What became of one batch says nothing about the others.
    let consumer = Consumer::connect(&address).await.unwrap();
    for (partition, end) in [(0, 4), (1, 2)] {
        let found = consumer.end(&at(&topic, partition)).await.unwrap();
        assert_eq!(found, Offset::new(end));
    }
}

#[tokio::test]
async fn refusals_carry_kafkas_code_and_words() {
    let server = Server::start().await;
    let address = server.address.to_string();
    let admin = Admin::connect(&address).await.unwrap();
    let topic: TopicName = "orders".parse().unwrap();
    admin.create_topic(&topic, 1).await.unwrap();
    let error = admin.create_topic(&topic, 1).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
    assert!(
        error.to_string().contains("'orders' already exists"),
        "{error}"
    );
    let producer = Producer::connect(&address).await.unwrap();
    let error = producer
        .send(&at(&topic, 9), batch(&[b"x"]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let mut consumer = Consumer::connect(&address).await.unwrap();
    consumer.seek(at(&topic, 0), Offset::new(5));
    let error = consumer.poll().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    admin.delete_topic(&topic).await.unwrap();
    let error = admin.topics(Some(&[topic])).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn a_server_that_goes_fails_everything_that_waits_for_it() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let address = server.address.to_string();
    let connection = Connection::open(&address, Options::default())
        .await
        .unwrap();
    let patient = ConsumerOptions {
        wait_max: Duration::from_secs(20),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::new(connection.clone(), patient);
    consumer.seek(at(&topic, 0), Offset::ZERO);
    let waiting = tokio::spawn(async move {
        // The first answer is that of a server that stops; the next one never comes.
        loop {
            if let Err(error) = consumer.poll().await {
                return error;
            }
        }
    });
    server.stop.cancel();
    assert!(matches!(
        waiting.await.unwrap(),
        Error::Closed | Error::Io(_)
    ));
    let producer = Producer::new(connection, Acks::All);
    let error = producer
        .send(&at(&topic, 0), batch(&[b"x"]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Closed | Error::Io(_)), "{error:?}");
    drop(server);
    let error = Connection::open(&address, Options::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Connect { .. } | Error::Closed | Error::Io(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn without_acks_sent_is_all_that_is_known() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let connection = Connection::open(&server.address.to_string(), Options::default())
        .await
        .unwrap();
    let producer = Producer::new(connection.clone(), Acks::None);
    for _ in 0..10 {
        producer.send(&at(&topic, 0), batch(&[b"x"])).await.unwrap();
    }
    // An answered request on the same connection comes after them.
    let last = Producer::new(connection, Acks::Leader);
    let offset = last.send(&at(&topic, 0), batch(&[b"last"])).await.unwrap();
    assert_eq!(offset, Offset::new(10));
}
