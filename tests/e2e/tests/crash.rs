//! 50 kills under load: whatever was acknowledged is there after each and at the end, unchanged and in order.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Consumer, Producer};
use model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};

const CYCLES: u32 = 50;
const PARTITIONS: u32 = 4;
/// How long each cycle is under load before the kill: varied, so that kills hit every phase.
const LOAD: [u64; 5] = [37, 61, 89, 142, 230];

/// What was acknowledged: partition and offset to the number written there.
type Oracle = BTreeMap<(u32, u64), u64>;

/// Writes numbered records one after another until the server goes; answers what was acknowledged and
/// the next number.
async fn load(kafka: &str, topic: &TopicName, partition: u32, from: u64) -> Result<(Oracle, u64)> {
    let producer = Producer::connect(kafka).await?;
    let to = TopicPartition::new(topic.clone(), PartitionId::new(partition));
    let mut acknowledged = Oracle::new();
    let mut number = from;
    loop {
        let mut builder = BatchBuilder::new(Compression::None);
        let numbers: Vec<u64> = (number..number + 1 + number % 7).collect();
        for number in &numbers {
            builder.push(
                Timestamp::from_millis(1),
                None,
                Some(&number.to_be_bytes()),
                &[],
            );
        }
        number += numbers.len() as u64;
        let Ok(base) = producer.send(&to, builder.build()).await else {
            return Ok((acknowledged, number));
        };
        for (offset, number) in (base.get()..).zip(numbers) {
            acknowledged.insert((partition, offset), number);
        }
    }
}

/// The records of a partition from an offset on: offset to number.
async fn read_from(
    kafka: &str,
    topic: &TopicName,
    partition: u32,
    from: u64,
) -> Result<BTreeMap<u64, u64>> {
    let at = TopicPartition::new(topic.clone(), PartitionId::new(partition));
    let consumer = Consumer::connect(kafka).await?;
    let mut found = BTreeMap::new();
    let mut next = Offset::new(from);
    let end = consumer.end(&at).await?;
    while next < end {
        for batch in consumer.fetch(&at, next).await? {
            let records = batch.records()?;
            for record in &records {
                let record = record?;
                let value = record.value.context("every record has a value")?;
                found.insert(record.offset.get(), u64::from_be_bytes(value.try_into()?));
                next = record.offset.next();
            }
        }
    }
    Ok(found)
}

/// Reads a partition from an offset on and compares it with what was acknowledged; answers where it ends.
async fn check(
    kafka: &str,
    topic: &TopicName,
    partition: u32,
    from: u64,
    oracle: &Oracle,
) -> Result<u64> {
    let mut found = read_from(kafka, topic, partition, from).await?;
    // A batch begins before the offset asked for.
    found = found.split_off(&from);
    let end = from + found.len() as u64;
    let gapless = found.keys().copied().eq(from..end);
    ensure!(gapless, "partition {partition} has a gap in its offsets");
    let numbers: Vec<u64> = found.values().copied().collect();
    ensure!(numbers.is_sorted(), "partition {partition} is out of order");
    for ((_, offset), number) in oracle.range((partition, from)..(partition + 1, 0)) {
        match found.get(offset) {
            Some(there) if there == number => {}
            other => bail!("{partition}/{offset}: {number} was acknowledged, found {other:?}"),
        }
    }
    Ok(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_50_kills() -> Result<()> {
    let place = Place::new()?;
    // Files of the journal that are full, settled and used again within a cycle.
    let small = place.path("small-journal.yaml");
    fs::write(&small, "journal_size: 64KiB\n")?;
    let small = small.to_string_lossy().into_owned();
    let topic: TopicName = "numbers".parse()?;
    let mut oracle = Oracle::new();
    let mut next = [0_u64; PARTITIONS as usize];
    let mut checked = [0_u64; PARTITIONS as usize];
    for cycle in 0..CYCLES {
        let mut flags = vec!["--no-agent"];
        if cycle % 2 == 1 {
            flags.extend(["--config", &small]);
        }
        let lantern = Lantern::start(&place, &flags)?;
        if cycle == 0 {
            Admin::connect(&lantern.kafka)
                .await?
                .create_topic(&topic, PARTITIONS)
                .await?;
        }
        // What came since the last look is there after this kill; the rest is looked at once more in the end.
        for (partition, checked) in (0..PARTITIONS).zip(&mut checked) {
            *checked = check(&lantern.kafka, &topic, partition, *checked, &oracle).await?;
        }
        let mut writers = Vec::new();
        for (partition, from) in (0..PARTITIONS).zip(next) {
            let (kafka, topic) = (lantern.kafka.clone(), topic.clone());
            writers.push(tokio::spawn(async move {
                load(&kafka, &topic, partition, from).await
            }));
        }
        tokio::time::sleep(Duration::from_millis(LOAD[cycle as usize % LOAD.len()])).await;
        lantern.kill9()?;
        for (writer, next) in writers.into_iter().zip(&mut next) {
            let (acknowledged, number) = writer.await??;
            oracle.extend(acknowledged);
            *next = number;
        }
    }
    ensure!(
        oracle.len() > 1_000,
        "the load was too small to say anything: {}",
        oracle.len()
    );

    let lantern = Lantern::start(&place, &["--no-agent"])?;
    for partition in 0..PARTITIONS {
        check(&lantern.kafka, &topic, partition, 0, &oracle).await?;
    }
    Ok(())
}
