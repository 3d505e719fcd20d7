//! Bounds: memory, connections, requests in flight.

use std::time::Duration;

use broker::{Broker, Durability};
use kafka_edge::Options;
use kafka_wire::Api;
use stdx::ByteSize;

use crate::fetch::{self, Ask};
use crate::support::{PATIENCE, Raw, Server, at, batch};

/// Waits until a number is what it should be.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_their_answers_cost_no_more_than_the_budget() {
    let server = Server::with(Options {
        answer_memory: ByteSize::from_mib(64),
        stall_timeout: Duration::from_secs(1),
        ..Options::default()
    })
    .await;
    let topic = server.topic("orders", 1).await;
    let big = vec![b'x'; 1_000_000];
    for _ in 0..16 {
        let to = at(&topic, 0);
        server
            .broker
            .append(&to, vec![batch(&[&big])], Durability::Written)
            .await
            .unwrap();
    }
    let ask = Ask {
        wait: 0,
        min: 1,
        max: 36 << 20,
        partition_max: 36 << 20,
    };
    let body = fetch::request(topic.as_str(), &[(0, 0)], ask);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = Raw::connect_narrow(server.address).await;
        client.send(Api::Fetch, 11, &body).await;
        clients.push(client);
    }
    let held = || server.metric("lantern_kafka_edge_answer_memory_bytes");
    // The rest is in the sockets' own buffers.
    until("much memory held", || held() > 20e6).await;
    for _ in 0..1_000 {
        assert!(held() <= f64::from(64 << 20), "{} bytes held", held());
        tokio::task::yield_now().await;
    }
    // Who does not read is closed in time, and then others get theirs.
    let mut patient = server.client().await;
    let id = patient.send(Api::Fetch, 11, &body).await;
    let answer: kafka_wire::messages::FetchResponse = patient.receive(Api::Fetch, 11, id).await;
    let records = answer.responses[0].partitions[0]
        .records
        .clone()
        .unwrap_or_default();
    assert!(!records.is_empty());
    drop(clients);
    drop(answer);
    until("memory given back", || held() == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_announced_but_not_sent_hold_little_and_finished_ones_hold_nothing() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.client().await;
        // 90 MiB announced, 20 KiB sent.
        client.send_bytes(&(90_i32 << 20).to_be_bytes()).await;
        client.send_bytes(&vec![0; 20 << 10]).await;
        clients.push(client);
    }
    let held = || server.metric("lantern_kafka_edge_request_memory_bytes");
    until("all that was sent has arrived", || {
        server.metric("lantern_kafka_edge_received_bytes_total") >= f64::from(50 * (20 << 10))
    })
    .await;
    assert!(held() < 10e6, "{} bytes held for 1 MB that came", held());
    let mut served = server.client().await;
    assert!(served.is_served().await);
    drop(clients);
    until("memory given back", || held() == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_as_large_as_allowed_comes_through() {
    let server = Server::with(Options {
        request_bytes_max: ByteSize::from_mib(8),
        request_memory: ByteSize::from_mib(48),
        ..Options::default()
    })
    .await;
    let topic = server
        .topic_with("orders", 1, &[("max.message.bytes", "8000000")])
        .await;
    let records = batch(&[&vec![b'x'; 7_500_000]]).into_bytes();
    let body = crate::produce::request(topic.as_str(), 0, -1, Some(records));
    let mut client = server.client().await;
    for _ in 0..10 {
        let id = client.send(Api::Produce, 9, &body).await;
        let _: kafka_wire::messages::ProduceResponse = client.receive(Api::Produce, 9, id).await;
    }
    assert_eq!(
        server
            .broker
            .marks(&at(&topic, 0))
            .await
            .unwrap()
            .log_end
            .bits(),
        10
    );
    let records = batch(&[&vec![b'x'; 9_000_000]]).into_bytes();
    let body = crate::produce::request(topic.as_str(), 0, -1, Some(records));
    let mut client = server.client().await;
    let frame = kafka_wire::encode_request(Api::Produce, 9, 1, "test", &body).unwrap();
    // The server closes while this is still being written.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &frame).await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let server = Server::with(Options {
        connections_max: 2,
        ..Options::default()
    })
    .await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    assert!(one.is_served().await && two.is_served().await);
    assert!(server.client().await.is_closed().await);
    assert_eq!(
        server.metric("lantern_kafka_edge_connections_refused_total"),
        1.0
    );
    drop(one);
    until("a free place", || {
        server.metric("lantern_kafka_edge_connections ") < 2.0
    })
    .await;
    assert!(server.client().await.is_served().await);
}
