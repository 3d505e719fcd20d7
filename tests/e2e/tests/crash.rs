//! Kills under load: whatever was acknowledged is there after each and at the end, unchanged and in order.
//!
//! Small segments and a retention that looks every 10 ms make kills hit new segments and removals
//! too; every third start is killed before it is ready. `E2E_KILLS` says how many kills there are
//! (50 unless it is set); `cargo xtask nightly` does 1,000.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::Lantern;
use kafka_client::{Admin, Consumer, Place, Producer};
use model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};

/// How many kills, unless `E2E_KILLS` says another number.
const KILLS: u32 = 50;
/// Starts are killed after so many milliseconds: some while they recover.
const STARTS: [u64; 4] = [3, 11, 24, 60];
const PARTITIONS: u32 = 4;
/// How long each cycle is under load before the kill: varied, so that kills hit every phase.
const LOAD: [u64; 5] = [37, 61, 89, 142, 230];

/// What was acknowledged: partition and offset to the number written there.
type Oracle = BTreeMap<(u32, u64), u64>;

fn kills() -> Result<u32> {
    match std::env::var("E2E_KILLS") {
        Ok(text) => text.parse().context("E2E_KILLS is no number"),
        Err(_) => Ok(KILLS),
    }
}

/// Writes numbered records one after another until the server goes; answers what was acknowledged and
/// the next number.
async fn load(kafka: &str, topic: &TopicName, partition: u32, from: u64) -> Result<(Oracle, u64)> {
    let Ok(producer) = Producer::connect(kafka).await else {
        // Killed before that, on a busy machine.
        return Ok((Oracle::new(), from));
    };
    let to = TopicPartition::new(topic.clone(), PartitionId::new(partition));
    let mut acknowledged = Oracle::new();
    let mut number = from;
    loop {
        let mut builder = BatchBuilder::new(Compression::None);
        let numbers: Vec<u64> = (number..number + 1 + number % 7).collect();
        // Records of 1970 would be past their retention.
        let stamp = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        for number in &numbers {
            builder.push(stamp, None, Some(&number.to_be_bytes()), &[]);
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

/// As [`check`] for a topic that retention cuts: what is left is whole, up to the newest that was
/// acknowledged. Answers where it begins.
async fn check_short(kafka: &str, topic: &TopicName, oracle: &Oracle) -> Result<u64> {
    let at = TopicPartition::new(topic.clone(), PartitionId::new(0));
    let earliest = async || -> Result<u64> {
        let found = Admin::connect(kafka)
            .await?
            .offset(&at, Place::Earliest)
            .await?;
        Ok(found.map_or(0, Offset::get))
    };
    loop {
        let start = earliest().await?;
        match check(kafka, topic, 0, start, oracle).await {
            Ok(_) => return Ok(start),
            // Retention went on meanwhile.
            Err(_) if earliest().await? > start => (),
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_many_kills() -> Result<()> {
    let place = e2e::Place::new()?;
    let usual = place.path("usual.yaml");
    fs::write(&usual, "retention_interval: 10ms\n")?;
    let usual = usual.to_string_lossy().into_owned();
    // Files of the journal that are full, settled and used again within a cycle.
    let small = place.path("small-journal.yaml");
    fs::write(&small, "journal_size: 64KiB\nretention_interval: 10ms\n")?;
    let small = small.to_string_lossy().into_owned();
    let topic: TopicName = "numbers".parse()?;
    let mut oracle = Oracle::new();
    let mut next = [0_u64; PARTITIONS as usize];
    let mut checked = [0_u64; PARTITIONS as usize];
    let short: TopicName = "short".parse()?;
    let mut short_oracle = Oracle::new();
    let mut short_next = 0;
    for cycle in 0..kills()? {
        let config = if cycle % 2 == 1 { &small } else { &usual };
        let flags = ["--no-agent", "--config", config];
        if cycle % 3 == 2 {
            let after = STARTS[cycle as usize / 3 % STARTS.len()];
            Lantern::start_and_kill9(&place, &flags, Duration::from_millis(after))?;
        }
        let lantern = Lantern::start(&place, &flags)?;
        if cycle == 0 {
            let admin = Admin::connect(&lantern.kafka).await?;
            let rolls = ("segment.bytes", "16384");
            admin
                .create_topic_with(&topic, PARTITIONS, &[rolls])
                .await?;
            let kept = [("segment.bytes", "2048"), ("retention.bytes", "8192")];
            admin.create_topic_with(&short, 1, &kept).await?;
        }
        // What came since the last look is there after this kill; the rest is looked at once more in the end.
        for (partition, checked) in (0..PARTITIONS).zip(&mut checked) {
            *checked = check(&lantern.kafka, &topic, partition, *checked, &oracle).await?;
        }
        check_short(&lantern.kafka, &short, &short_oracle).await?;
        let (kafka, to) = (lantern.kafka.clone(), short.clone());
        let short_writer = tokio::spawn(async move { load(&kafka, &to, 0, short_next).await });
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
        let (acknowledged, number) = short_writer.await??;
        short_oracle.extend(acknowledged);
        short_next = number;
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
    let start = check_short(&lantern.kafka, &short, &short_oracle).await?;
    ensure!(start > 0, "retention removed nothing");
    Ok(())
}
