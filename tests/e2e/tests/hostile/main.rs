//! One server, everything bad at it, and somebody who only wants to be served.
//!
//! While each attack goes on, a bystander produces, reads back and asks for `/healthz` on connections
//! of its own, and the server's resident memory is read from `/proc`. At no moment may it exceed
//! [`RSS_MAX`], and no call of the bystander may take longer than [`SERVED_WITHIN`].
//!
//! `watch` has the bystander, `bombs` what inflates, `metrics` what grows when it is decoded. Not here: what single bad requests are answered
//! with (`kafka-edge/tests/it/hostile.rs`).

mod bombs;
mod metrics;
mod watch;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Lantern, Place, eventually};
use kafka_client::{Admin, Producer};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use watch::Watch;

/// Request memory 256 MiB, answer memory 256 MiB, decompression of a few batches, 12,000 connections,
/// and what a started server takes.
const RSS_MAX: u64 = 1 << 30;
/// Longest that a call of a well-behaved client may take, on a machine that is busy attacking, too.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// How long an attack that does nothing but be there is watched.
const WATCHED: Duration = Duration::from_secs(3);

fn framed(body: &[u8]) -> Result<Vec<u8>> {
    let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    Ok(frame)
}

/// A request's header (the one before flexible versions, which the later ones begin with, too) and
/// whatever follows.
fn request(api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = api.to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
    bytes.extend_from_slice(body);
    framed(&bytes)
}

/// Sends bytes and takes what comes until the server closes, answers, or says nothing for a moment.
async fn poke(address: &str, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may close while this is being written.
    let _ = stream.write_all(bytes).await;
    let mut answer = [0; 1_024];
    let _ = tokio::time::timeout(Duration::from_millis(30), stream.read(&mut answer)).await;
    Ok(())
}

/// Every API in every version with counts and lengths that cannot be.
async fn giant_and_negative_numbers(lantern: &Lantern) -> Result<()> {
    let patterns: [&[u8]; 6] = [
        // Counts and lengths of 2^31 - 1, of -1, of -2^31; the same as unsigned varints; zeros.
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0],
    ];
    let mut attacks = Vec::new();
    for api in 0..=76 {
        for version in 0..=12 {
            let pattern = patterns[usize::try_from(api + version)? % patterns.len()];
            let body: Vec<u8> = pattern.iter().copied().cycle().take(200).collect();
            attacks.push(request(api, version, &body)?);
            // After an empty name or two, so that deeper counts are reached.
            let deeper: Vec<u8> = [0, 1, 0, 0].into_iter().chain(body).collect();
            attacks.push(request(api, version, &deeper)?);
        }
    }
    for chunk in attacks.chunks(64) {
        let pokes = chunk.iter().map(|bytes| poke(&lantern.kafka, bytes));
        for poked in futures(pokes).await {
            poked?;
        }
    }
    // Frames that announce 2 GiB, nothing, less than nothing; and 100 MiB of which one byte comes.
    for length in [i32::MAX, 0, -1, i32::MIN] {
        poke(&lantern.kafka, &length.to_be_bytes()).await?;
    }
    let mut announced = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&lantern.kafka).await?;
        stream.write_all(&(100_i32 << 20).to_be_bytes()).await?;
        stream.write_all(b"x").await?;
        announced.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// All of them at once, in their order.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(move |context| {
        let mut ready = true;
        for (future, answer) in &mut pinned {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(found) => *answer = Some(found),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if !ready {
            return std::task::Poll::Pending;
        }
        let answers = pinned.iter_mut().filter_map(|(_, answer)| answer.take());
        std::task::Poll::Ready(answers.collect())
    })
    .await
}

/// Requests that come byte by byte, connections that say nothing or vanish.
async fn slow_and_half_open(lantern: &Lantern) -> Result<()> {
    let kafka = request(3, 1, &[0, 0, 0, 0])?;
    let http = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nquery=";
    let mut slow = Vec::new();
    for turn in 0..400 {
        let (address, bytes) = if turn % 2 == 0 {
            (lantern.kafka.clone(), kafka.clone())
        } else {
            (lantern.http.clone(), http.to_vec())
        };
        slow.push(tokio::spawn(async move {
            let Ok(mut stream) = TcpStream::connect(&address).await else {
                return;
            };
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
    }
    for turn in 0..2_000 {
        let address = if turn % 2 == 0 {
            &lantern.kafka
        } else {
            &lantern.http
        };
        let mut stream = TcpStream::connect(address).await?;
        if turn % 3 == 0 {
            stream.write_all(b"\0\0").await?;
        }
        // Gone without a word, as a machine that loses its power is for the one behind it.
        stream.set_zero_linger()?;
    }
    tokio::time::sleep(WATCHED).await;
    for task in slow {
        task.abort();
    }
    Ok(())
}

/// 200 connections that ask for 36 MB and do not read.
async fn answers_nobody_reads(lantern: &Lantern, topic: &TopicName) -> Result<()> {
    let at = TopicPartition::new(topic.clone(), PartitionId::new(0));
    let producer = Producer::connect(&lantern.kafka).await?;
    let value = vec![b'x'; 900_000];
    for _ in 0..44 {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), None, Some(&value), &[]);
        producer.send(&at, builder.build()).await?;
    }
    // Fetch, version 4: replica -1, wait 0, at least 1 byte, at most 36 MB, read uncommitted; one
    // topic, one partition from offset 0.
    let most = 36_000_000_i32.to_be_bytes();
    let name = topic.as_str().as_bytes();
    let mut body = vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1];
    body.extend_from_slice(&most);
    body.extend_from_slice(&[0, 0, 0, 0, 1]);
    body.extend_from_slice(&i16::try_from(name.len())?.to_be_bytes());
    body.extend_from_slice(name);
    body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    body.extend_from_slice(&0_i64.to_be_bytes());
    body.extend_from_slice(&most);
    let fetch = request(1, 4, &body)?;
    let mut deaf = Vec::new();
    for _ in 0..200 {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let mut stream = socket.connect(lantern.kafka.parse()?).await?;
        // Several answers wait for each.
        for _ in 0..4 {
            stream.write_all(&fetch).await?;
        }
        deaf.push(stream);
    }
    tokio::time::sleep(WATCHED).await;
    Ok(())
}

/// Opens connections until there are `count`, as far as the server takes them.
async fn open(address: &str, count: usize, patience: Duration) -> Result<Vec<TcpStream>> {
    let address = address.parse()?;
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let socket = TcpSocket::new_v4()?;
        let connected = tokio::time::timeout(patience, socket.connect(address));
        match connected.await {
            Ok(stream) => streams.push(stream?),
            // Those beyond the server's limit wait in the kernel's queue, and that is full.
            Err(_) => break,
        }
    }
    Ok(streams)
}

async fn idle_kafka_connections(lantern: &Lantern, count: usize) -> Result<()> {
    let mut idle = open(&lantern.kafka, count, SERVED_WITHIN * 4).await?;
    ensure!(idle.len() == count, "only {} connections", idle.len());
    tokio::time::sleep(WATCHED).await;
    // The server still has them all, the first and the last.
    for stream in [0, count - 1] {
        let stream = &mut idle[stream];
        stream.write_all(&request(18, 0, &[])?).await?;
        let mut answer = [0; 4];
        tokio::time::timeout(SERVED_WITHIN, stream.read_exact(&mut answer)).await??;
    }
    // And takes new ones.
    Admin::connect(&lantern.kafka).await?;
    Ok(())
}

async fn idle_http_connections(lantern: &Lantern) -> Result<()> {
    let idle = open(&lantern.http, 10_000, SERVED_WITHIN).await?;
    ensure!(idle.len() >= 4_096, "only {} connections", idle.len());
    tokio::time::sleep(WATCHED).await;
    Ok(())
}

async fn bad_http(lantern: &Lantern) -> Result<()> {
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "a".repeat(4 << 20)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(100_000)
    );
    let endless =
        "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".to_owned();
    let negative =
        "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned();
    let chunk = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned();
    for _ in 0..20 {
        for bytes in [&huge, &many, &endless, &negative, &chunk] {
            poke(&lantern.http, bytes.as_bytes()).await?;
        }
    }
    // Bodies that never end, as fast as they are taken.
    for path in ["/api/v1/write", "/api/v1/query"] {
        let mut stream = TcpStream::connect(&lantern.http).await?;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let chunk = [b"10000\r\n".as_slice(), &vec![b'a'; 65_536], b"\r\n"].concat();
        let pour = async {
            for _ in 0..4_000 {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(WATCHED, pour).await;
    }
    // Viewers of a board that never read.
    let list: serde_json::Value = reqwest::get(lantern.url("/apis/lantern/v1/boards"))
        .await?
        .json()
        .await?;
    let board = list["items"][0]["metadata"]["name"]
        .as_str()
        .context("there are boards")?;
    let mut deaf = Vec::new();
    for _ in 0..300 {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let mut stream = socket.connect(lantern.http.parse()?).await?;
        let upgrade = format!(
            "GET /boards/{board}/stream HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            lantern.http
        );
        stream.write_all(upgrade.as_bytes()).await?;
        deaf.push(stream);
    }
    tokio::time::sleep(WATCHED).await;
    Ok(())
}

/// Files for as many connections as this test opens, on top of what the test itself has open.
///
/// Answers how many idle connections to try: 10,000, or what the server, which has the same limit, gives
/// to clients of Kafka: half of it, less the other connections of this test.
fn many_files() -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    let most = limit.maximum.unwrap_or(u64::MAX);
    if most < 12_000 {
        bail!("this test opens 10,000 connections: allow it 12,000 files (ulimit -Hn)");
    }
    Ok(usize::try_from(most / 2)?.saturating_sub(1_000).min(10_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_memory_is_bounded_and_others_are_served() -> Result<()> {
    let idle = many_files()?;
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let topic: TopicName = "bystander".parse()?;
    let target: TopicName = "target".parse()?;
    let admin = Admin::connect(&lantern.kafka).await?;
    admin.create_topic(&topic, 1).await?;
    admin.create_topic(&target, 1).await?;
    let mut watch = Watch::start(&lantern, &topic).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    watch.look("nothing").await?;

    giant_and_negative_numbers(&lantern).await?;
    watch.look("giant and negative numbers").await?;
    slow_and_half_open(&lantern).await?;
    watch.look("slow and half-open connections").await?;
    bad_http(&lantern).await?;
    watch.look("bad HTTP").await?;
    answers_nobody_reads(&lantern, &target).await?;
    watch.look("answers nobody reads").await?;
    idle_kafka_connections(&lantern, idle).await?;
    watch.look("10,000 idle Kafka connections").await?;
    idle_http_connections(&lantern).await?;
    watch.look("10,000 idle HTTP connections").await?;
    watch.end().await?;

    // Nothing panicked, and what the attackers held is given back.
    let log = fs::read_to_string(place.path("log.txt"))?;
    ensure!(!log.contains("panicked"), "something panicked:\n{log}");
    eventually("memory given back", Duration::from_secs(30), async || {
        let metrics = reqwest::get(lantern.url("/metrics")).await?.text().await?;
        let held = metrics
            .lines()
            .find_map(|line| line.strip_prefix("lantern_kafka_edge_answer_memory_bytes "));
        Ok(held.filter(|held| held.parse() == Ok(0.0)).map(|_| ()))
    })
    .await?;
    ensure!(lantern.stop()?.success(), "the stop after it all");
    Ok(())
}
