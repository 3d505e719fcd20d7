//! `lantern produce`, as `lantern consume` sees it.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use insta::assert_snapshot;

use crate::support::{Server, lines};

/// Standard input that a test types into.
struct Typing(Mutex<Receiver<&'static str>>);

impl Read for Typing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Ok(text) = self.0.lock().unwrap().recv() else {
            return Ok(0);
        };
        into[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

fn typing() -> (SyncSender<&'static str>, Box<Typing>) {
    let (sender, receiver) = sync_channel(8);
    (sender, Box::new(Typing(Mutex::new(receiver))))
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_json_and_words_become_records() {
    let server = Server::start().await;
    server.type_in("topic create orders -p 1").await.ok();
    let done = server
        .typed(
            "produce orders -K : -H source=shop -H seen -Z",
            b"o-1:paid\no-2:\nalone",
        )
        .await;
    assert!(
        done.err.starts_with("3 records produced to 'orders' in "),
        "{}",
        done.err
    );
    assert_eq!(done.ok(), "");
    let line = br#"{"key":{"base64":"/w=="},"value":{"total":3},"headers":{"a":"1"},"timestamp":"2026-05-01T11:00:00Z"}"#;
    server.typed("produce orders --input json", line).await.ok();
    server
        .type_in("produce orders -k greeting hello world")
        .await
        .ok();
    server
        .typed("produce orders -i whole", b"two\nlines\n")
        .await
        .ok();
    assert_snapshot!(server.type_in("consume orders").await.ok(), @r#"
    2026-05-01T12:00:00.000Z  orders/0@0  o-1  paid  source=shop  seen
    2026-05-01T12:00:00.000Z  orders/0@1  o-2  <null>  source=shop  seen
    2026-05-01T12:00:00.000Z  orders/0@2  -  alone  source=shop  seen
    2026-05-01T11:00:00.000Z  orders/0@3  \xff  {"total":3}  a=1
    2026-05-01T12:00:00.000Z  orders/0@4  greeting  hello
    2026-05-01T12:00:00.000Z  orders/0@5  greeting  world
    2026-05-01T12:00:00.000Z  orders/0@6  -  two\nlines\n
    "#);
    let summary = server.type_in("produce orders x -o json").await.ok();
    assert!(
        summary.starts_with(r#"{"topic":"orders","records":1,"acknowledged":1,"bytes":1,"#),
        "{summary}"
    );
    let done = server.type_in("produce fresh x --create").await;
    assert!(done.err.contains("Topic 'fresh' created."), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_and_every_acks_comes_back() {
    let server = Server::start().await;
    let lines = lines(0..5_000, |n| format!("line {n}"));
    let lines: &'static [u8] = Box::leak(lines.into_boxed_str()).as_bytes();
    for flags in [
        "-z none",
        "-z gzip",
        "-z snappy",
        "-z lz4",
        "-z zstd",
        "--acks leader",
        "--acks none",
        "--batch 7",
    ] {
        let topic = flags.replace([' ', '-'], "");
        server
            .type_in(&format!("topic create {topic} -p 1"))
            .await
            .ok();
        server
            .typed(&format!("produce {topic} {flags}"), lines)
            .await
            .ok();
        // Without acks the last batches may come after the command's end.
        let read = server
            .type_in(&format!(
                "consume {topic} -f -o value --from beginning -n 5000"
            ))
            .await
            .ok();
        assert_eq!(read.as_bytes(), lines, "{flags}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_where_kafkas_own_client_sends_them() {
    let server = Server::start().await;
    server.type_in("topic create orders -p 8").await.ok();
    server
        .typed("produce orders -K : -q", b"21:x\nfoobar:x\nabc:x\n21:y\n")
        .await
        .ok();
    let read = server.type_in("consume orders -F %k=%p\\n").await.ok();
    let mut read: Vec<&str> = read.lines().collect();
    read.sort_unstable();
    // murmur2 of the keys, without its sign, modulo 8.
    assert_eq!(read, ["21=4", "21=4", "abc=3", "foobar=6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_is_named() {
    let server = Server::start().await;
    server
        .type_in("topic create small -p 1 -c max.message.bytes=1000")
        .await
        .ok();
    let mut lines = b"fits\n".to_vec();
    lines.extend([b'x'; 2_000]);
    lines.extend(b"\nafter\n");
    let done = server.typed("produce small --batch 1", lines.leak()).await;
    assert!(done.err.starts_with("1 record produced"), "{}", done.err);
    let error = done.failed();
    assert!(
        error.starts_with("2 of 3 records not acknowledged (lines 2 to 3): "),
        "{error}"
    );
    assert!(error.contains("MESSAGE_TOO_LARGE"), "{error}");
    assert_eq!(
        server.type_in("consume small -o value").await.ok(),
        "fits\n"
    );

    let done = server
        .typed(
            "produce small -i json",
            b"{\"value\":\"1\"}\n{\"amount\":1}\n",
        )
        .await;
    let error = done.failed();
    assert!(
        error.starts_with("line 2: it is no record as JSON: unknown field `amount`"),
        "{error}"
    );
    assert!(error.ends_with("(produced before it: 1 record)"), "{error}");
    let error = server.type_in("produce small x -p 7").await.failed();
    assert_snapshot!(error, @"topic 'small' has no partition 7: it has 1, numbered from 0");
    let error = server
        .typed(
            "produce small -i json",
            b"{\"value\":\"1\",\"partition\":3}",
        )
        .await
        .failed();
    assert!(
        error.starts_with("line 1: there is no partition 3"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_loses_and_doubles_nothing() {
    let mut server = Server::start().await;
    server.type_in("topic create orders -p 1").await.ok();
    let (keys, input) = typing();
    let producing = server.begin("produce orders", input);
    let following = server.begin(
        "consume orders -f --from beginning -o value",
        Box::new(std::io::empty()),
    );
    keys.send("one\n").unwrap();
    following.says("one\n").await;
    server.stop().await;
    keys.send("two\nthree\n").unwrap();
    following.says("trying again").await;
    server.start_again().await;
    following.says("three\n").await;
    keys.send("four\n").unwrap();
    following.says("four\n").await;
    drop(keys);
    producing.end().await.ok();
    following.stop.cancel();
    let done = following.end().await;
    assert!(done.err.contains("connected again"), "{}", done.err);
    assert_eq!(done.ok(), "one\ntwo\nthree\nfour\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn being_stopped_sends_what_was_read() {
    let server = Server::start().await;
    server.type_in("topic create orders -p 1").await.ok();
    let (keys, input) = typing();
    let producing = server.begin("produce orders", input);
    let following = server.begin(
        "consume orders -f --from beginning -o value",
        Box::new(std::io::empty()),
    );
    keys.send("one\ntwo\nhal").unwrap();
    following.says("two\n").await;
    producing.stop.cancel();
    let done = producing.end().await;
    assert!(
        done.err
            .contains("3 bytes of a line without an end were read and not produced"),
        "{}",
        done.err
    );
    assert!(done.err.contains("2 records produced"), "{}", done.err);
    done.ok();
    following.stop.cancel();
    assert_eq!(following.end().await.ok(), "one\ntwo\n");
}
