//! What listeners hold in memory is bounded by bytes, whatever waits and however long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::{Durability, TopicConfig, TopicSpec};
use dispatch::MemoryOptions;
use model::{PartitionId, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};
use stdx::ByteSize;

use crate::rig::{Answer, Rig};

const MIB: i64 = 1 << 20;

fn batch(rig: &Rig, compression: Compression, records: &[(&str, usize)]) -> CheckedBatch {
    let mut builder = BatchBuilder::new(compression);
    for (key, size) in records {
        let mut value = key.as_bytes().to_vec();
        value.resize(*size, b'.');
        builder.push(rig.clock.now(), Some(key.as_bytes()), Some(&value), &[]);
    }
    builder.build()
}

async fn append(rig: &Rig, partition: u32, batch: &CheckedBatch) {
    let to = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(partition));
    rig.broker
        .append(&to, vec![batch.clone()], Durability::Flushed)
        .await
        .unwrap();
}

/// A listener of `orders` whose endpoint is dead until it is told to live.
async fn dead(rig: &Rig, partitions: u32, ordering: &str) -> Arc<AtomicBool> {
    let config = TopicConfig {
        batch_bytes: ByteSize::from_mib(64),
        ..TopicConfig::default()
    };
    let name = "orders".parse().unwrap();
    let spec = TopicSpec {
        name,
        partitions,
        config,
    };
    rig.broker.create_topic(spec).await.unwrap();
    let lives = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&lives);
    rig.probe.script(move |_, _| {
        if answers.load(Ordering::Relaxed) {
            Answer::done(0)
        } else {
            Answer::failed("nobody is there")
        }
    });
    rig.listener(&format!(
        "{{topics: orders, native: probe, ordering: {ordering}, concurrency: 64, from: earliest, \
         retry: {{attempts: 100, initial: 1s, max: 1s}}}}"
    ))
    .await;
    lives
}

#[tokio::test(start_paused = true)]
async fn a_hundred_partitions_of_huge_batches_wait_behind_a_dead_endpoint_in_a_share() {
    let rig = Rig::new();
    let lives = dead(&rig, 100, "none").await;
    // 32 MiB each when it is decompressed, 3 GiB in all.
    let huge = batch(&rig, Compression::Zstd, &[("huge", 1 << 20); 32]);
    for partition in 0..100 {
        append(&rig, partition, &huge).await;
    }
    rig.until(|| rig.handle.list()[0].breaker == "open").await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(rig.handle.list()[0].held_bytes > 0);
    lives.store(true, Ordering::Relaxed);
    rig.until_finished().await;
    assert_eq!(rig.records("orders.dlq").await, []);
    // Its share is 64 MiB, and one batch may be decompressed beyond it.
    let most = rig.figure("held_bytes_max");
    assert!(most <= 96 * MIB + 4_096, "{} MiB", most / MIB);
    assert_eq!(rig.figure("held_bytes"), 0, "everything is given back");
}

#[tokio::test(start_paused = true)]
async fn plain_batches_larger_than_the_share_come_two_at_a_time() {
    let rig = Rig::with_memory(MemoryOptions {
        listener: ByteSize::from_mib(1),
        ..MemoryOptions::default()
    });
    let lives = dead(&rig, 20, "none").await;
    let large = batch(&rig, Compression::None, &[("large", 3 << 19); 2]);
    for partition in 0..20 {
        append(&rig, partition, &large).await;
    }
    rig.until(|| rig.probe.values().len() > 10).await;
    lives.store(true, Ordering::Relaxed);
    rig.until_finished().await;
    // Two reads at a time, of 3 MiB each.
    let most = rig.figure("held_bytes_max");
    assert!(most <= 7 * MIB, "{} MiB", most / MIB);
    assert_eq!(rig.figure("held_bytes"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_keeps_itself_in_memory_and_not_its_batch() {
    let rig = Rig::with_memory(MemoryOptions {
        listener: ByteSize::from_mib(1),
        ..MemoryOptions::default()
    });
    rig.topic("orders", 1).await;
    rig.probe.script(|_, value| {
        if value.starts_with("stuck") {
            Answer::failed("not now")
        } else {
            Answer::done(0)
        }
    });
    rig.listener(
        "{topics: orders, native: probe, batch: 10, retry: {attempts: 100, initial: 1h, max: 1h}}",
    )
    .await;
    // 40 batches of 200 KiB, in each of which one record is stuck: with its batch it would take 8 MiB.
    for number in 0..40 {
        let stuck = format!("stuck{number:03}");
        let mut records = vec![(stuck.as_str(), 2_000)];
        let others: Vec<String> = (0..99)
            .map(|other| format!("free{number}-{other}"))
            .collect();
        records.extend(others.iter().map(|key| (key.as_str(), 2_000)));
        append(&rig, 0, &batch(&rig, Compression::None, &records)).await;
    }
    let free = || {
        let seen = rig.probe.values();
        seen.iter()
            .filter(|value| value.starts_with("free"))
            .count()
    };
    rig.until(|| free() == 3_960).await;
    let held = rig.figure("held_bytes");
    assert!(held < MIB, "{held} bytes for 80 kB that wait");
    assert!(rig.figure("held_bytes_max") <= 3 * MIB);
}
