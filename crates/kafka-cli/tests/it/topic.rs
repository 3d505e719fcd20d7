//! `lantern topic`.

use insta::assert_snapshot;
use tokio::io::AsyncWriteExt;

use crate::support::{Server, begin};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_from_its_creation_to_its_end() {
    let server = Server::start().await;
    let done = server.type_in("topic list").await;
    assert!(
        done.err.contains("lantern topic create NAME"),
        "{}",
        done.err
    );
    assert_eq!(done.ok(), "");
    let made =
        server.type_in("topic create orders payments -p 2 --retention 3d -c segment.bytes=1048576");
    assert_snapshot!(made.await.ok(), @r"
    Topic 'orders' created: 2 partitions.
    Topic 'payments' created: 2 partitions.
    ");
    server
        .typed("produce orders -p 1 -q", b"a\nb\nc\n")
        .await
        .ok();
    assert_snapshot!(server.type_in("topic list").await.ok(), @r"
    TOPIC     PARTITIONS  REPLICAS  RECORDS  BYTES
    orders             2         1        3   85 B
    payments           2         1        0    0 B
    ");
    assert_snapshot!(server.type_in("topic list ord* -o json").await.ok(), @r#"{"topic":"orders","partitions":2,"replicas":1,"records":3,"bytes":85,"internal":false}"#);
    let described = server.type_in("topic describe orders").await.ok();
    let (_, rest) = described.split_once("id ").unwrap();
    assert_snapshot!(&rest[36..], @r"


      CONFIG         VALUE
      retention.ms   259200000  3d
      segment.bytes  1048576    1.0 MiB

      PARTITION  LEADER  REPLICAS  IN SYNC  START  END  RECORDS
              0       0  0         0            0    0        0
              1       0  0         0            0    3        3
    ");
    assert_snapshot!(server.type_in("topic configure orders --unset retention.ms -c segment.bytes=2097152").await.ok(), @r"
    Topic 'orders' configured:
      retention.ms = 604800000 (the default)
      segment.bytes = 2097152
    ");
    let grown = server
        .type_in("topic add-partitions orders --add 2")
        .await
        .ok();
    assert_snapshot!(grown, @"Topic 'orders' has 4 partitions now (it had 2).");
    assert_snapshot!(server.type_in("topic delete orders --yes").await.ok(), @"Topic 'orders' deleted.");
    assert_snapshot!(server.type_in("topic delete orders --yes --if-exists").await.ok(), @"There is no topic 'orders'.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_the_way_out() {
    let server = Server::start().await;
    server.type_in("topic create orders -p 1").await.ok();
    let said = async |line: &str| server.type_in(line).await.failed();
    assert_snapshot!(said("topic describe ordres").await, @"there is no topic 'ordres': did you mean 'orders'?");
    assert_snapshot!(said("topic describe shop").await, @"there is no topic 'shop': `lantern topic list` shows those that are, `lantern topic create shop` makes it");
    assert_snapshot!(said("topic create orders").await, @r"
    cannot create topic 'orders': topic 'orders' already exists (TOPIC_ALREADY_EXISTS)
    `lantern topic describe orders` shows it, `lantern topic configure orders` changes it, and with --if-not-exists that is no error.
    ");
    let error = said("topic create other -c retention.mss=5").await;
    assert!(
        error.ends_with("'retention.mss' is no configuration key: did you mean 'retention.ms'?"),
        "{error}"
    );
    let error = said("topic configure orders -c retention.ms=soon").await;
    assert!(
        error.contains("retention.ms") && error.contains("soon"),
        "{error}"
    );
    let error = said("topic add-partitions orders --total 1").await;
    assert!(error.contains("topic 'orders' has 1 partitions"), "{error}");
    let done = server.type_in("topic delete orders").await;
    assert!(done.result.as_ref().unwrap_err().is_bad_use());
    assert!(done.failed().contains("say --yes"));
    let done = server.type_in("topic configure orders").await;
    assert!(done.result.unwrap_err().is_bad_use());
    server
        .type_in("topic create orders --if-not-exists")
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let polite = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let typed = |line: &str| begin(line, &address.to_string(), Box::new(std::io::empty()));
    let error = typed("topic list").end().await.failed();
    assert!(
        error.starts_with(&format!("what listens at {address} is no Kafka server")),
        "{error}"
    );
    polite.await.unwrap();
    let error = typed("topic list").end().await.failed();
    assert!(
        error.starts_with(&format!("no Kafka server answers at {address}: ")),
        "{error}"
    );
    let done = begin("topic list", "nowhere", Box::new(std::io::empty()))
        .end()
        .await;
    assert!(done.result.unwrap_err().is_bad_use());
}
