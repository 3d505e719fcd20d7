//! What a native listener costs for each record, from the log to its call and back to its progress, in process.
//!
//! `cargo bench -p dispatch --bench native` reads a million small records by one listener and by four, at batch 100; with
//! `--test` it reads a few. The log is in memory, so that this is the work of dispatch and of the broker's reads alone.
//! The time counted is that of the whole process: on a machine with idle cores listeners share it out among them.
//!
//! The last rows put a new version of every listener in force each millisecond meanwhile: what a hand-over costs those that
//! are at work.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broker::{Broker, Durability, EmbeddedBroker, Options, TopicSpec};
use dispatch::{Answering, Delivery, Inputs, Listener, ListenerFile, Outcome, Service};
use env::{Clock, RealClock};
use record::{BatchBuilder, Compression};
use tokio_util::sync::CancellationToken;

/// Counts, and does nothing else.
#[derive(Default)]
struct Counting(AtomicU64);

impl Listener for Counting {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Answering<'a> {
        self.0.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
        let outcomes = vec![Outcome::Done; deliveries.len()];
        Box::pin(std::future::ready(outcomes.into()))
    }
}

fn main() {
    let brief = std::env::args().any(|argument| argument == "--test");
    let records = if brief { 10_000 } else { 1_000_000 };
    println!("ordering  listeners  ns a record and listener  versions");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for changes in [false, true] {
        for ordering in ["none", "key"] {
            for listeners in [1, 4] {
                let (took, versions) = runtime.block_on(run(records, listeners, ordering, changes));
                let each = took.as_nanos() / u128::from(records) / listeners as u128;
                println!("{ordering:<8}  {listeners:>9}  {each:>24}  {versions:>8}");
            }
        }
    }
}

/// How long it took, and how many versions of the first listener were in force.
async fn run(records: u64, listeners: usize, ordering: &str, changes: bool) -> (Duration, u64) {
    let clock = RealClock::new();
    let broker = EmbeddedBroker::open(Options::in_memory()).unwrap();
    let topic = TopicSpec::new("orders".parse().unwrap(), 1);
    let orders = broker.create_topic(topic).await.unwrap().partition(0);
    for base in (0..records).step_by(1_000) {
        let mut batch = BatchBuilder::new(Compression::None);
        for number in base..base + 1_000 {
            let key = (number % 512).to_be_bytes();
            batch.push(clock.now(), Some(&key), Some(&[7; 32]), &[]);
        }
        let batches = vec![batch.build()];
        broker
            .append(&orders, batches, Durability::Written)
            .await
            .unwrap();
    }
    let counting = Arc::new(Counting::default());
    let listener: Arc<dyn Listener> = Arc::<Counting>::clone(&counting);
    let service = Service::new(Inputs {
        native: [("counting".to_owned(), listener)].into(),
        ..Inputs::new(broker.clone())
    });
    // The same twice, but for a number that does not matter here.
    let files = |priority: u64| -> Vec<ListenerFile> {
        let spec = format!(
            "{{topics: orders, native: counting, batch: 100, concurrency: 4, \
             priority: {priority}, ordering: {ordering}, from: earliest}}"
        );
        let file = |number: usize| ListenerFile::of(&format!("l{number}"), &spec);
        (0..listeners).map(file).collect()
    };
    let stop = CancellationToken::new();
    let handle = service.handle();
    let begin = Instant::now();
    handle.apply(&files(0)).unwrap();
    let running = tokio::spawn(service.run(stop.clone()));
    let mut turn = 0;
    while counting.0.load(Ordering::Relaxed) < records * listeners as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if changes {
            turn += 1;
            handle.apply(&files(turn % 2)).unwrap();
        }
    }
    let took = begin.elapsed();
    let versions = handle.list().first().map_or(0, |one| one.generation);
    stop.cancel();
    running.await.unwrap();
    broker.shutdown().await.unwrap();
    (took, versions)
}
