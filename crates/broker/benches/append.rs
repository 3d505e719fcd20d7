//! Durable appends per second, in process: 200 producers that each wait for fsync before the next
//! batch, records of 100 bytes, on the machine's disk.
//!
//! `cargo bench -p broker --bench append` runs every row for two seconds; with `--test` each runs
//! once, briefly. `LANTERN_BENCH_DIR` chooses the disk. Latency is that of one append, from the call
//! to its answer; producers are a closed loop, so this is not a latency under a chosen load.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table"
)]

use std::sync::Arc;
use std::time::Duration;

use broker::{Durability, DynBroker, EmbeddedBroker, Options, TopicConfig, TopicSpec};
use env::{Clock, RealClock, RealDisk, RealEntropy};
use hdrhistogram::Histogram;
use model::{PartitionId, Timestamp, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};

const PRODUCERS: usize = 200;
const RECORD_BYTES: usize = 100;

fn main() {
    let brief = std::env::args().any(|argument| argument == "--test");
    let time = Duration::from_millis(if brief { 50 } else { 2_000 });
    let dir = match std::env::var_os("LANTERN_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!("durability partitions batch   records/s  appends/s   p50 ms   p99 ms p99.9 ms");
    for durability in [Durability::Flushed, Durability::Written] {
        for partitions in [1, 16] {
            for records in [1, 100, 1_000] {
                let place = dir
                    .path()
                    .join(format!("{durability:?}-{partitions}-{records}"));
                let row = Row {
                    durability,
                    partitions,
                    records,
                };
                runtime.block_on(row.run(&place, time));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Row {
    durability: Durability,
    partitions: u32,
    records: usize,
}

impl Row {
    async fn run(self, dir: &std::path::Path, time: Duration) {
        let clock = Arc::new(RealClock::new());
        let options = Options::new(
            dir,
            RealDisk::shared(),
            clock.clone(),
            Arc::new(RealEntropy),
        );
        let broker: DynBroker = EmbeddedBroker::open(options).unwrap();
        let spec = TopicSpec {
            name: "bench".parse().unwrap(),
            partitions: self.partitions,
            config: TopicConfig {
                durability: self.durability,
                ..TopicConfig::default()
            },
        };
        broker.create_topic(spec).await.unwrap();
        let batch = batch(self.records);
        let start = clock.monotonic();
        let mut producers = tokio::task::JoinSet::new();
        for number in 0..PRODUCERS {
            let (broker, clock, batch) = (broker.clone(), clock.clone(), batch.clone());
            let partition = u32::try_from(number).unwrap() % self.partitions;
            let to = TopicPartition::new("bench".parse().unwrap(), PartitionId::new(partition));
            producers.spawn(async move {
                let mut micros = Histogram::<u64>::new(3).unwrap();
                loop {
                    let sent = clock.monotonic();
                    if sent.saturating_sub(start) >= time {
                        return micros;
                    }
                    let batches = vec![batch.clone()];
                    broker.append(&to, batches, self.durability).await.unwrap();
                    let took = clock.monotonic().saturating_sub(sent);
                    micros
                        .record(u64::try_from(took.as_micros()).unwrap())
                        .unwrap();
                }
            });
        }
        let mut micros = Histogram::<u64>::new(3).unwrap();
        while let Some(done) = producers.join_next().await {
            micros.add(done.unwrap()).unwrap();
        }
        let seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
        let appends = micros.len() as f64 / seconds;
        let millis = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        println!(
            "{:<10} {:>10} {:>5} {:>11.0} {:>10.0} {:>8.2} {:>8.2} {:>8.2}",
            format!("{:?}", self.durability),
            self.partitions,
            self.records,
            appends * self.records as f64,
            appends,
            millis(0.5),
            millis(0.99),
            millis(0.999)
        );
    }
}

fn batch(records: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        let value = [b'x'; RECORD_BYTES];
        builder.push(Timestamp::from_millis(1), None, Some(&value), &[]);
    }
    builder.build()
}
