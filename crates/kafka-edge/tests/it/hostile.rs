//! What is no request: closed at once, counted once, and nobody else notices.

use std::time::Duration;

use kafka_edge::Options;
use kafka_wire::Api;

use crate::support::{Raw, Server};

/// Sends bytes on a connection of their own, which must be closed; another one goes on.
async fn closes(server: &Server, what: &str, bytes: &[u8]) {
    let mut bystander = server.client().await;
    assert!(bystander.is_served().await);
    let before = server.metric("lantern_kafka_edge_connections_malformed_total");
    let mut client = server.client().await;
    client.send_bytes(bytes).await;
    assert!(client.is_closed().await, "{what} was not closed");
    let after = server.metric("lantern_kafka_edge_connections_malformed_total");
    assert_eq!(after - before, 1.0, "{what}");
    assert!(
        bystander.is_served().await,
        "{what} hurt another connection"
    );
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

#[tokio::test]
async fn what_is_no_kafka_closes_the_connection() {
    let server = Server::start().await;
    closes(&server, "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    closes(
        &server,
        "TLS",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03],
    )
    .await;
    closes(&server, "a negative length", &[0xff, 0xff, 0xff, 0xff]).await;
    closes(&server, "a length of zero", &[0; 4]).await;
    closes(&server, "a length of 2 GiB", &[0x7f, 0xff, 0xff, 0xff]).await;
    closes(
        &server,
        "an unknown API",
        &framed(b"\x03\xe7\0\0\0\0\0\x01\xff\xff"),
    )
    .await;
    closes(
        &server,
        "SASL",
        &framed(b"\0\x11\0\x01\0\0\0\x01\xff\xff\0\x05PLAIN"),
    )
    .await;
    closes(
        &server,
        "Metadata 99",
        &framed(b"\0\x03\0\x63\0\0\0\x01\xff\xff\0\0\0\0"),
    )
    .await;
    closes(
        &server,
        "Produce 2",
        &framed(b"\0\0\0\x02\0\0\0\x01\xff\xff\0\x01\0\0\0\0\0\0\0\0"),
    )
    .await;
    closes(
        &server,
        "2^31 topics",
        &framed(b"\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff"),
    )
    .await;
    closes(
        &server,
        "a body cut short",
        &framed(b"\0\x03\0\x01\0\0\0\x01\xff\xff\0\0"),
    )
    .await;
    closes(
        &server,
        "a client id that is no text",
        &framed(b"\0\x12\0\0\0\0\0\x01\0\x02\xff\xfe"),
    )
    .await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client
        .send_bytes(&framed(b"\0\x12\0\x63\0\0\0\x2a\xff\xff\0\0\0"))
        .await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..6], [0, 0, 0, 42, 0, 35]);
    assert_eq!(
        usize::from(frame[9]),
        Api::ALL.len(),
        "the table comes with it"
    );
    assert!(client.is_served().await, "and the client may ask again");
}

#[tokio::test]
async fn requests_before_a_bad_one_are_still_answered() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = client
        .send(
            Api::ApiVersions,
            0,
            &kafka_wire::messages::ApiVersionsRequest::default(),
        )
        .await;
    client.send_bytes(b"\xff\xff\xff\xff").await;
    let _: kafka_wire::messages::ApiVersionsResponse =
        client.receive(Api::ApiVersions, 0, id).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_request_that_never_ends_and_a_client_that_never_asks_are_closed() {
    let server = Server::with(Options {
        stall_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(200),
        ..Options::default()
    })
    .await;
    let mut idle = server.client().await;
    let mut slow = server.client().await;
    slow.send_bytes(&framed(b"\0\x12\0\0\0\0\0\x01\xff\xff")[..9])
        .await;
    assert!(slow.is_closed().await);
    assert!(idle.is_closed().await);
    let stalled = server.metric("lantern_kafka_edge_connections_stalled_total");
    assert_eq!(stalled, 2.0);
}

#[tokio::test]
async fn a_client_that_only_closes_its_side_still_gets_its_answers() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = client
        .send(
            Api::ApiVersions,
            3,
            &kafka_wire::messages::ApiVersionsRequest::default(),
        )
        .await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
        .await
        .unwrap();
    let _: kafka_wire::messages::ApiVersionsResponse =
        client.receive(Api::ApiVersions, 3, id).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn bytes_may_come_one_by_one() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in framed(b"\0\x12\0\0\0\0\0\x01\xff\xff") {
        client.send_bytes(&[byte]).await;
    }
    assert!(client.frame().await.is_some());
}
