//! Batches that inflate to much: checked where they keep nobody waiting, in the order they came.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::messages::ProduceResponse;
use kafka_wire::messages::produce_response::PartitionProduceResponse;
use kafka_wire::{Api, ErrorCode};
use model::Timestamp;
use record::{BatchBuilder, Compression};
use tokio::task::JoinHandle;

use crate::produce::{only, request};
use crate::support::{PATIENCE, Raw, Server, batch};

/// A few hundred bytes that inflate to a megabyte: more than is inflated on the spot.
fn heavy() -> Bytes {
    heavy_with(&vec![b'x'; 1 << 20], Some(b"key"))
}

fn heavy_with(value: &[u8], key: Option<&[u8]>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(Timestamp::from_millis(1_000), key, Some(value), &[]);
    builder.build().into_bytes()
}

fn light() -> Bytes {
    batch(&[b"light"]).into_bytes()
}

async fn produce(client: &mut Raw, topic: &str, records: Bytes) -> PartitionProduceResponse {
    let body = request(topic, 0, -1, Some(records));
    let answer: ProduceResponse = client.call(Api::Produce, 9, &body).await;
    only(answer)
}

/// Keeps all threads for heavy work busy until it is dropped.
struct Busy {
    _go: Vec<mpsc::SyncSender<()>>,
    _tasks: Vec<JoinHandle<()>>,
}

async fn busy(server: &Server) -> Busy {
    let (mut held, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..server.admission.aside_threads() {
        let (go, wait) = mpsc::sync_channel::<()>(1);
        let (begun, begins) = tokio::sync::oneshot::channel();
        let admission = server.admission.clone();
        tasks.push(tokio::spawn(async move {
            let work = move || {
                let _asked = begun.send(());
                let _ended = wait.recv();
            };
            let _done = admission.aside("test", PATIENCE, work).await;
        }));
        begins.await.unwrap();
        held.push(go);
    }
    Busy {
        _go: held,
        _tasks: tasks,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_one_that_inflates_do_not_overtake_it_and_others_do_not_wait() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let busy = busy(&server).await;
    let mut first = server.client().await;
    let mut ids = Vec::new();
    for records in [light(), heavy(), light(), heavy(), light()] {
        let body = request(topic.as_str(), 0, -1, Some(records)).with_timeout_ms(30_000);
        ids.push(first.send(Api::Produce, 9, &body).await);
    }
    let ahead = only(first.receive(Api::Produce, 9, ids[0]).await);
    assert_eq!((ahead.error_code, ahead.base_offset), (0, 0));
    // Somebody else is served meanwhile, also with what is compressed and small.
    let mut second = server.client().await;
    let answer = produce(&mut second, topic.as_str(), light()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    let small = heavy_with(&vec![b'x'; 100_000], None);
    let answer = produce(&mut second, topic.as_str(), small).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 2));
    drop(busy);
    for (offset, id) in (3..).zip(&ids[1..]) {
        let answer = only(first.receive(Api::Produce, 9, *id).await);
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_request_that_is_served_in_its_turn_the_order_is_kept_too() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let metadata = kafka_wire::messages::MetadataRequest::default();
    let mut ids = Vec::new();
    for round in 0..10 {
        let api = client.send(Api::Metadata, 1, &metadata).await;
        let records = if round % 2 == 0 { heavy() } else { light() };
        let body = request(topic.as_str(), 0, -1, Some(records));
        ids.push((api, client.send(Api::Produce, 9, &body).await));
    }
    for (offset, (api, id)) in (0..).zip(ids) {
        let _: kafka_wire::messages::MetadataResponse = client.receive(Api::Metadata, 1, api).await;
        let answer = only(client.receive(Api::Produce, 9, id).await);
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_hear_of_it_too_late_is_refused_and_nothing_is_written() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let busy = busy(&server).await;
    let mut client = server.client().await;
    // Its patience is a second.
    let refused = produce(&mut client, topic.as_str(), heavy()).await;
    assert_eq!(refused.error_code, ErrorCode::RequestTimedOut.code());
    assert_eq!(
        server.metric("lantern_admission_refused_total{reason=\"busy\"}"),
        1.0
    );
    let answer = produce(&mut client, topic.as_str(), light()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    drop(busy);
    let answer = produce(&mut client, topic.as_str(), heavy()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_in_it_is_refused_as_it_is_on_the_spot() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    // More than any batch may inflate to.
    let bomb = heavy_with(&vec![0; model::limits::INFLATED_BYTES_MAX + 1], None);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let answer = produce(&mut client, topic.as_str(), bomb).await;
    assert_eq!(answer.error_code, ErrorCode::MessageTooLarge.code());
    // The first of two batches is good, the second is heavy and bad: neither is written.
    let mut bad = heavy().to_vec();
    let half = bad.len() / 2;
    bad[half] ^= 0x55;
    let crc = crc32c::crc32c(&bad[21..]);
    bad[17..21].copy_from_slice(&crc.to_be_bytes());
    let both = [light().to_vec(), bad].concat();
    let answer = produce(&mut client, topic.as_str(), both.into()).await;
    assert_ne!(answer.error_code, 0);
    let answer = produce(&mut client, topic.as_str(), light()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_refuses_what_has_no_key_without_inflating_it_again() {
    let server = Server::start().await;
    let topic = server
        .topic_with("prices", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut client = server.client().await;
    let keyless = heavy_with(&vec![b'x'; 1 << 20], None);
    let answer = produce(&mut client, topic.as_str(), keyless).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(answer.record_errors.len(), 0, "too much to list");
    let small = heavy_with(b"small", None);
    let answer = produce(&mut client, topic.as_str(), small).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(answer.record_errors.len(), 1);
    let answer = produce(&mut client, topic.as_str(), heavy()).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_it_takes_is_the_clients() {
    let quota = admission::ClientQuota {
        request_percentage: Some(1.0),
        ..admission::ClientQuota::default()
    };
    let quotas = admission::Quotas {
        clients: [("test".to_owned(), quota)].into(),
        ..admission::Quotas::default()
    };
    let admits = admission::Options {
        quotas,
        ..admission::Options::default()
    };
    let server = Server::admitting(kafka_edge::Options::default(), admits).await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    let large = heavy_with(&vec![b'x'; 60 << 20], None);
    let body = request(topic.as_str(), 0, -1, Some(large));
    let answer: ProduceResponse = client.call(Api::Produce, 9, &body).await;
    let told = u64::try_from(answer.throttle_time_ms).unwrap();
    let limit = Duration::from_millis(100);
    assert!(
        Duration::from_millis(told) > limit,
        "60 MiB at a hundredth of a processor, and a pause of {told} ms"
    );
}
