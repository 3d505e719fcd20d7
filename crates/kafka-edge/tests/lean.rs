//! What a small produce request may cost: allocations, counted in the whole process while many connections have one request
//! in flight each (`docs/sketches/produce.md`).
//!
//! A program of its own, because its allocator counts.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use kafka_wire::messages::ProduceRequest;
use kafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{Api, encode_request};

use crate::support::{PATIENCE, Server, batch, wire_name};

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "it/support.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 50;
/// The least of so many counts holds: a round of the log that serves few requests costs each of them more, and how many it serves is
/// up to who else has the processors.
const TRIES: usize = 8;

/// Requests of a client that arrive in one piece.
const TOGETHER: usize = 16;

/// 9.8 were counted under full load and 9.5 to 9.9 here; 25.5 before requests were made lean.
const ALLOCATIONS_MAX: f64 = 12.5;

/// 4.8 were counted.
const ALLOCATIONS_TOGETHER_MAX: f64 = 6.0;

#[test]
fn a_small_produce_request_costs_few_allocations() {
    let profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(async {
        let server = Server::start().await;
        server.topic("orders", 1).await;
        server
    });
    let records = batch(&[b"a small value"]).into_bytes();
    let data = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(wire_name("orders"))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic]);
    let frame = encode_request(Api::Produce, 9, 1, "test", &request).unwrap();
    let connect = |_| {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    for (together, most) in [(1, ALLOCATIONS_MAX), (TOGETHER, ALLOCATIONS_TOGETHER_MAX)] {
        let frames = frame.repeat(together);
        let each = allocations(&mut clients, &frames, together);
        println!("{each:.1} allocations a request, {together} at a time");
        assert!(
            each <= most,
            "{each:.1} allocations a request, {together} at a time"
        );
    }
    drop(server);
    drop(runtime);
    drop(profiler);
}

/// Allocations for each request when every client sends so many of them in one piece, again and again.
fn allocations(clients: &mut [TcpStream], frames: &[u8], together: usize) -> f64 {
    let mut answer = [0; 4 << 10];
    let mut round = || {
        for client in clients.iter_mut() {
            client.write_all(frames).unwrap();
        }
        for client in clients.iter_mut() {
            for _ in 0..together {
                client.read_exact(&mut answer[..4]).unwrap();
                let length = i32::from_be_bytes(answer[..4].try_into().unwrap());
                let body = &mut answer[..length.try_into().unwrap()];
                client.read_exact(body).unwrap();
            }
        }
    };
    // Buffers and tables grow to what they need.
    for _ in 0..20_usize.div_ceil(together) {
        round();
    }
    let rounds = ROUNDS.div_ceil(together);
    let counts = (0..TRIES).map(|_| {
        let before = dhat::HeapStats::get().total_blocks;
        for _ in 0..rounds {
            round();
        }
        dhat::HeapStats::get().total_blocks - before
    });
    let counted = counts.min().unwrap();
    counted as f64 / (CONNECTIONS * rounds * together) as f64
}
