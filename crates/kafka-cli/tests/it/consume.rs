//! `lantern consume`: from where, until where, what fits.

use insta::assert_snapshot;

use crate::support::{NOW, Server, lines};

/// Ten records in two partitions, a minute apart, the last of them now.
async fn ten(server: &Server) {
    server.type_in("topic create orders -p 2").await.ok();
    let lines = lines(0..10, |n| {
        let at = NOW.millis() - (9 - n) * 60_000;
        let (amount, partition) = (n * 10, n % 2);
        format!(
            "{{\"key\":\"k{n}\",\"value\":{{\"n\":{n},\"amount\":{amount}}},\"partition\":{partition},\
             \"headers\":{{\"parity\":\"{partition}\"}},\"timestamp\":{at}}}"
        )
    });
    server
        .typed("produce orders -i json -q", lines.leak().as_bytes())
        .await
        .ok();
}

async fn keys(server: &Server, flags: &str) -> String {
    let line = format!("consume orders -F %k\\n {flags}");
    let read = server.type_in(line.trim_end()).await.ok();
    let mut keys: Vec<&str> = read.lines().collect();
    keys.sort_unstable();
    keys.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_place_to_a_place() {
    let server = Server::start().await;
    ten(&server).await;
    for (flags, expected) in [
        ("", "k0 k1 k2 k3 k4 k5 k6 k7 k8 k9"),
        ("--from end", ""),
        ("--from 3", "k6 k7 k8 k9"),
        ("--from -1", "k8 k9"),
        ("--from 2m", "k7 k8 k9"),
        ("--from 2026-05-01T11:55:30Z", "k5 k6 k7 k8 k9"),
        ("--from 4m --until 2m", "k5 k6"),
        ("--until 1", "k0 k1"),
        ("--from 1 --until -2", "k2 k3 k4 k5"),
        ("--from 4 --until 1", ""),
        ("--partition 1 --from 2", "k5 k7 k9"),
        ("-n 3 --partition 0", "k0 k2 k4"),
    ] {
        assert_eq!(keys(&server, flags).await, expected, "{flags}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_fits() {
    let server = Server::start().await;
    ten(&server).await;
    for (flags, expected) in [
        ("--key-match [13]$", "k1 k3"),
        ("--value-match \"n\":[45]", "k4 k5"),
        ("--header parity=1 --from 3", "k7 k9"),
        ("--header nothing", ""),
        ("--where .amount_>_70", "k8 k9"),
        ("--where .amount_>=_30 --where .n_<_5", "k3 k4"),
        ("--where .n_==_4 --count 1", "k4"),
    ] {
        assert_eq!(keys(&server, flags).await, expected, "{flags}");
    }
    let read = server
        .type_in("consume orders --where .n==4 -o json")
        .await
        .ok();
    assert_snapshot!(read, @r#"{"topic":"orders","partition":0,"offset":2,"timestamp":"2026-05-01T11:55:00.000Z","key":"k4","value":"{\"n\":4,\"amount\":40}","headers":[{"name":"parity","value":"0"}]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_consumed_as_json_can_be_produced_again() {
    let server = Server::start().await;
    ten(&server).await;
    server.type_in("topic create copy -p 2").await.ok();
    let json = server.type_in("consume orders -o json").await.ok();
    server
        .typed("produce copy -i json", json.clone().leak().as_bytes())
        .await
        .ok();
    let copy = server.type_in("consume copy -o json").await.ok();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| line.replace("\"copy\"", "\"orders\""))
            .collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&copy), sorted(&json));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_ends_who_follows_it() {
    let server = Server::start().await;
    let error = server.type_in("consume nothing").await.failed();
    assert!(error.starts_with("there is no topic 'nothing'"), "{error}");
    server.type_in("topic create orders -p 1").await.ok();
    let following = server.begin("consume orders -f -o value", Box::new(std::io::empty()));
    // It begins at the end, whenever it has found that.
    let mut number = 0;
    while !following.has_printed() {
        number += 1;
        server
            .type_in(&format!("produce orders -q record-{number}"))
            .await
            .ok();
    }
    server.type_in("topic delete orders --yes").await.ok();
    let done = following.end().await;
    assert!(done.out.starts_with("record-"), "{}", done.out);
    assert_snapshot!(done.failed(), @"cannot read: there is no such topic or partition (UNKNOWN_TOPIC_OR_PARTITION)");
}
