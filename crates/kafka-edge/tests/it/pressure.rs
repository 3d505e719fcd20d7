//! Quotas and the line before the log: who is slowed down, how, and who is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use admission::{ClientQuota, Limit, Quotas, TopicQuota};
use broker::Broker;
use kafka_edge::Options;
use kafka_wire::messages::{
    FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use kafka_wire::{Api, ErrorCode};
use stdx::ByteSize;

use crate::fetch::{self, Ask};
use crate::produce;
use crate::support::{PATIENCE, Raw, Server, at, batch};

const MS: Duration = Duration::from_millis(1);
/// A quota of the tests, and the bytes of a batch: five batches in two seconds, so that a slow machine pauses too.
const RATE: u64 = 250_000;
const BATCH: usize = 100_000;

fn quota(of: &str) -> Quotas {
    let rate = Some(ByteSize::from_bytes(RATE));
    let (producer_byte_rate, consumer_byte_rate) = match of {
        "in" => (rate, None),
        _ => (None, rate),
    };
    let quota = ClientQuota {
        producer_byte_rate,
        consumer_byte_rate,
        request_percentage: None,
    };
    Quotas {
        clients: BTreeMap::from([("loader".to_owned(), quota)]),
        ..Quotas::default()
    }
}

async fn server(quotas: Quotas) -> Server {
    let admits = admission::Options {
        quotas,
        ..admission::Options::default()
    };
    Server::admitting(Options::default(), admits).await
}

fn body(topic: &str) -> ProduceRequest {
    let records = batch(&[&vec![b'x'; BATCH]]).into_bytes();
    produce::request(topic, 0, -1, Some(records)).with_timeout_ms(30_000)
}

async fn produce(client: &mut Raw, topic: &str) -> ProduceResponse {
    client.call(Api::Produce, 9, &body(topic)).await
}

fn error(answer: &ProduceResponse) -> i16 {
    answer.responses[0].partition_responses[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_its_quota_is_kept_to_it_and_the_others_are_not_touched() {
    let server = server(quota("in")).await;
    server.topic("orders", 1).await;
    let mut loader = server.client().await.named("loader");
    let mut other = server.client().await.named("other");
    let begun = Instant::now();
    let loading = tokio::spawn(async move {
        // Deaf to what it is told.
        let mut told = 0;
        for _ in 0..6 {
            told = told.max(produce(&mut loader, "orders").await.throttle_time_ms);
        }
        told
    });
    for _ in 0..20 {
        let answer = produce(&mut other, "orders").await;
        assert_eq!((error(&answer), answer.throttle_time_ms), (0, 0));
    }
    let told = loading.await.unwrap();
    // Two and a half batches are the burst; the last of six is read when the fifth is paid for.
    let least = MS * 990;
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    assert!((1..=1_400).contains(&told), "{told} ms");
    let throttled = "lantern_admission_throttled_total{reason=\"producer_byte_rate\"}";
    assert!(server.metric(throttled) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_first_and_then_nothing_is_read_for_the_pause() {
    let server = server(quota("in")).await;
    server.topic("orders", 1).await;
    let mut loader = server.client().await.named("loader");
    let begun = Instant::now();
    for _ in 0..6 {
        loader.send(Api::Produce, 9, &body("orders")).await;
    }
    // All were on their way already, and yet they are taken one by one: two and a half are the burst, and each is taken
    // when those before it are paid for.
    let mut told = 0;
    for id in 1..=6 {
        let answer: ProduceResponse = loader.receive(Api::Produce, 9, id).await;
        assert_eq!(error(&answer), 0);
        told = answer.throttle_time_ms;
    }
    let waited = begun.elapsed();
    assert!(waited >= MS * 990, "the sixth was taken after {waited:?}");
    assert!((50..=410).contains(&told), "{told} ms");
    let begun = Instant::now();
    assert!(loader.is_served().await);
    let waited = begun.elapsed();
    let told = Duration::from_millis(told.try_into().unwrap());
    assert!(
        waited + MS * 20 >= told,
        "told {told:?}, read after {waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_another_request_is_paid_for_one_by_one_too() {
    let server = server(quota("in")).await;
    server.topic("orders", 1).await;
    let mut loader = server.client().await.named("loader");
    let waiting = Ask {
        wait: 300,
        ..fetch::AT_ONCE
    };
    let ask = fetch::request("orders", &[(0, 0)], waiting);
    loader.send(Api::Fetch, 11, &ask).await;
    for _ in 0..6 {
        loader.send(Api::Produce, 9, &body("orders")).await;
    }
    let _: FetchResponse = loader.receive(Api::Fetch, 11, 1).await;
    let begun = Instant::now();
    for id in 2..=7 {
        let answer: ProduceResponse = loader.receive(Api::Produce, 9, id).await;
        assert_eq!(error(&answer), 0);
    }
    let waited = begun.elapsed();
    assert!(waited >= MS * 990, "the sixth was taken after {waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_a_quota_for_all_who_write_it() {
    let topics = BTreeMap::from([(
        "orders".to_owned(),
        TopicQuota {
            producer_byte_rate: Some(ByteSize::from_bytes(RATE)),
            consumer_byte_rate: None,
        },
    )]);
    let server = server(Quotas {
        topics,
        ..Quotas::default()
    })
    .await;
    server.topic("orders", 1).await;
    server.topic("free", 1).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    for _ in 0..3 {
        produce(&mut one, "orders").await;
    }
    let mut told = 0;
    for _ in 0..3 {
        told = told.max(
            produce(&mut two.named("two"), "orders")
                .await
                .throttle_time_ms,
        );
        two = server.client().await;
    }
    assert!(told > 50, "{told} ms");
    let answer = produce(&mut two, "free").await;
    assert_eq!(answer.throttle_time_ms, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_over_its_quota_gets_empty_answers_until_it_is_paid() {
    let server = server(quota("out")).await;
    let topic = server.topic("orders", 1).await;
    let mut producer = server.client().await;
    for _ in 0..20 {
        produce(&mut producer, "orders").await;
    }
    let all = Ask {
        wait: 0,
        min: 1,
        max: 10 << 20,
        partition_max: 10 << 20,
    };
    let body = fetch::request(topic.as_str(), &[(0, 0)], all);
    let bytes = |answer: &FetchResponse| {
        let topics = answer.responses.iter();
        let parts = topics.flat_map(|topic| &topic.partitions);
        parts
            .filter_map(|part| part.records.as_ref().map(bytes::Bytes::len))
            .sum::<usize>()
    };
    let mut loader = server.client().await.named("loader");
    let first: FetchResponse = loader.call(Api::Fetch, 11, &body).await;
    // No more than the burst, though two megabytes were asked for.
    assert!(
        (BATCH..=3 * BATCH).contains(&bytes(&first)),
        "{}",
        bytes(&first)
    );
    // One batch goes out in any case, and more than a batch is owed in no time.
    let mut told = 0;
    for _ in 0..5 {
        if told == 0 {
            let more: FetchResponse = loader.call(Api::Fetch, 11, &body).await;
            told = more.throttle_time_ms;
        }
    }
    assert!(told > 0);
    // Another connection does not help.
    let mut again = server.client().await.named("loader");
    let third: FetchResponse = again.call(Api::Fetch, 12, &body).await;
    assert!(third.throttle_time_ms > 0);
    assert_eq!((bytes(&third), third.error_code), (0, 0));
    let other: FetchResponse = producer.call(Api::Fetch, 11, &body).await;
    assert_eq!(other.throttle_time_ms, 0);
    assert!(bytes(&other) > 19 * BATCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_a_quota_too() {
    let default = ClientQuota {
        request_percentage: Some(0.1),
        ..ClientQuota::default()
    };
    let server = server(Quotas {
        default,
        ..Quotas::default()
    })
    .await;
    let mut client = server.client().await;
    let request = MetadataRequest::default().with_topics(None);
    let ask = async {
        loop {
            let answer: MetadataResponse = client.call(Api::Metadata, 9, &request).await;
            if answer.throttle_time_ms > 0 {
                return answer.throttle_time_ms;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, ask)
        .await
        .expect("no pause was told");
    let begun = Instant::now();
    assert!(client.is_served().await);
    let told = Duration::from_millis(told.try_into().unwrap());
    assert!(begun.elapsed() + MS * 20 >= told, "told {told:?}");
}

/// A limit of a mebibyte that does not move.
pub(crate) async fn narrow() -> Server {
    let limit = Limit {
        min: ByteSize::from_mib(1),
        max: ByteSize::from_mib(1),
        ..Limit::default()
    };
    let admits = admission::Options {
        limit,
        ..admission::Options::default()
    };
    Server::admitting(Options::default(), admits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_longer_than_its_timeout_is_told_to_try_again() {
    let server = narrow().await;
    let topic = server.topic("orders", 1).await;
    let busy = server
        .admission
        .admit("test", 1 << 20, PATIENCE)
        .await
        .unwrap();
    let mut client = server.client().await;
    let begun = Instant::now();
    let request = body("orders").with_timeout_ms(400);
    let answer: ProduceResponse = client.call(Api::Produce, 9, &request).await;
    assert!(begun.elapsed() >= MS * 300);
    assert_eq!(error(&answer), ErrorCode::RequestTimedOut.code());
    let words = answer.responses[0].partition_responses[0]
        .error_message
        .clone();
    assert!(words.unwrap().contains("nothing was written"));
    assert!(answer.throttle_time_ms > 0);
    let marks = server.broker.marks(&at(&topic, 0)).await.unwrap();
    assert_eq!(marks.log_end.bits(), 0);
    busy.finish(admission::Outcome::Succeeded);
    assert_eq!(error(&produce(&mut client, "orders").await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_busy_nothing_is_read_and_little_is_held() {
    const CLIENTS: usize = 20;
    let server = narrow().await;
    let topic = server.topic("orders", 1).await;
    let busy = server
        .admission
        .admit("test", 1 << 20, PATIENCE)
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.client().await;
        clients.push(tokio::spawn(async move {
            // Far more than sockets hold: sending ends when it is read, and not before.
            let mut told = 0;
            for _ in 0..4 {
                for _ in 0..25 {
                    client.send(Api::Produce, 9, &body("orders")).await;
                }
                for _ in 0..25 {
                    let frame = client.frame().await.expect("an answer");
                    let (_, answer): (_, ProduceResponse) =
                        kafka_wire::decode_response(Api::Produce, 9, frame).unwrap();
                    assert_eq!(error(&answer), 0);
                    told = told.max(answer.throttle_time_ms);
                }
            }
            told
        }));
    }
    let waiting = || server.metric("lantern_admission_waiting ");
    let wait = async {
        while waiting() < CLIENTS as f64 {
            tokio::time::sleep(MS).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a line");
    // Time in which more would be read, if anything were.
    tokio::time::sleep(MS * 200).await;
    // One request of each connection, and what one read took more.
    let held = server.metric("lantern_kafka_edge_request_memory_bytes");
    assert!(held < (CLIENTS * 2 * BATCH) as f64, "{held} bytes held");
    let received = server.metric("lantern_kafka_edge_received_bytes_total");
    assert!(
        received < (CLIENTS * 2 * BATCH) as f64,
        "{received} bytes read"
    );
    busy.finish(admission::Outcome::Succeeded);
    let mut told = 0;
    for client in clients {
        told = told.max(client.await.unwrap());
    }
    assert!(told > 0, "who stood in the line is told to pause");
    let marks = server.broker.marks(&at(&topic, 0)).await.unwrap();
    assert_eq!(marks.log_end.bits(), (CLIENTS * 100) as u128);
    assert_eq!(server.metric("lantern_admission_in_flight_bytes"), 0.0);
}

/// What a client had sent before it could hear of a pause must not lie in the socket for all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_for_the_line_is_told_and_not_kept() {
    let server = narrow().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let busy = server
        .admission
        .admit("test", 1 << 20, PATIENCE)
        .await
        .unwrap();
    client.send(Api::Produce, 9, &body("orders")).await;
    let wait = async {
        while server.metric("lantern_admission_waiting ") < 1.0 {
            tokio::time::sleep(MS).await;
        }
        // Long enough that the pause, three fifths of it, is not missed.
        tokio::time::sleep(MS * 1_000).await;
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a line");
    busy.finish(admission::Outcome::Succeeded);
    let frame = client.frame().await.expect("an answer");
    let (_, answer): (_, ProduceResponse) =
        kafka_wire::decode_response(Api::Produce, 9, frame).unwrap();
    assert!(
        answer.throttle_time_ms >= 600,
        "{}",
        answer.throttle_time_ms
    );
    let begun = Instant::now();
    assert_eq!(error(&produce(&mut client, "orders").await), 0);
    assert!(begun.elapsed() < MS * 500, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn inventing_connections_does_not_beat_a_quota() {
    let mut quotas = quota("in");
    let slow = Some(ByteSize::from_bytes(1_000));
    quotas
        .clients
        .entry("loader".to_owned())
        .or_default()
        .producer_byte_rate = slow;
    let server = server(quotas).await;
    server.topic("orders", 1).await;
    // A hundred seconds of its quota at once: admitted, since nothing was owed.
    let mut first = server.client().await.named("loader");
    let answer = produce(&mut first, "orders").await;
    assert_eq!((error(&answer), answer.throttle_time_ms), (0, 60_000));
    for _ in 0..10 {
        let mut next = server.client().await.named("loader");
        let answer = produce(&mut next, "orders").await;
        assert_eq!(error(&answer), ErrorCode::RequestTimedOut.code());
        assert!(
            answer.throttle_time_ms > 30_000,
            "{}",
            answer.throttle_time_ms
        );
    }
}
