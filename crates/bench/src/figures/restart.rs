//! A start after kill -9 under load, with a log of many gibibytes; and `lantern verify` over all of it.
//!
//! Every batch carries its number, and what was acknowledged where is noted; at the end all of the log is read
//! and held against that. "Cold" starts find nothing of the log in memory, as after a power cut: the kernel is asked
//! to drop the pages of every file, which it does once they are written back.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Consumer, Delivery, Producer};
use model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};
use rustix::fs::Advice;
use tokio::time::Instant;

use super::{furnished, runtime};
use crate::Smoke;
use crate::page::Row;
use crate::spread::{Spread, short};

const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 100;
/// Records in a batch.
const BATCH: u32 = 1_000;
/// Requests waiting for their acknowledgement.
const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 10;
/// How long each round is under load before the kill.
const LOAD: Duration = Duration::from_millis(300);
/// The target.
const LIMIT_MS: f64 = 2_000.0;
/// Bytes of a file read at once.
const READ_BYTES: usize = 1 << 20;

/// Acknowledged batches: where each begins, and its number.
type Oracle = BTreeMap<(u32, Offset), u64>;

pub(super) fn measure(smoke: &Smoke) -> Result<Vec<Row>> {
    let wanted = smoke.restart_gib << 30;
    let place = furnished()?;
    let topic: TopicName = "filled".parse()?;
    let runtime = runtime()?;
    let mut writer = Writer::new(topic.clone());
    let mut lantern = Lantern::start(&place, &[])?;
    runtime.block_on(async {
        let admin = Admin::connect(&lantern.kafka).await?;
        admin.create_topic(&topic, PARTITIONS).await?;
        writer.write(&lantern.kafka, wanted, Duration::MAX).await
    })?;
    let mut warm = Spread::new();
    let mut cold = Spread::new();
    for round in 0..2 * ROUNDS {
        runtime.block_on(writer.write_and_kill(lantern))?;
        let drop_pages = round >= ROUNDS;
        if drop_pages {
            forget_pages(&place.path("data"))?;
        }
        lantern = Lantern::start(&place, &[])?;
        let spread = if drop_pages { &mut cold } else { &mut warm };
        spread.add(lantern.ready_after);
    }
    let read = runtime.block_on(check(&lantern.kafka, &topic, &writer.acknowledged))?;
    lantern.kill9()?;
    let size = gib(files(&place.path("data"))?
        .iter()
        .map(|(_, length)| length)
        .sum());
    let row = |what: &str, spread: &Spread| {
        let (median, worst) = (spread.at(50.0), spread.at(100.0));
        let text = format!(
            "median {} ms, worst of {ROUNDS} {} ms",
            short(median),
            short(worst)
        );
        Row::new(
            format!("{what}, {size:.1} GiB in {PARTITIONS} partitions"),
            text,
        )
        .target("< 2 s", worst < LIMIT_MS)
    };
    let batches = writer.acknowledged.len();
    let mut rows = vec![
        row("start → ready after kill -9 under load", &warm),
        row("the same with nothing of it in memory", &cold),
        Row::new(
            format!("acknowledged records lost in {} kills", 2 * ROUNDS),
            format!(
                "0 of {}, each read back and compared ({read} records read)",
                batches as u64 * u64::from(BATCH)
            ),
        )
        .target("0", true),
    ];
    rows.extend(verify(&place)?);
    Ok(rows)
}

/// `lantern verify` with nothing in memory, and the plain reading of the same bytes.
fn verify(place: &Place) -> Result<Vec<Row>> {
    let data = place.path("data");
    forget_pages(&data)?;
    let started = std::time::Instant::now();
    let output = Command::new(e2e::binary())
        .arg("verify")
        .arg(&data)
        .output()?;
    let took = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "lantern verify: {said}");
    forget_pages(&data)?;
    let started = std::time::Instant::now();
    let mut all = 0;
    let mut bytes = vec![0; READ_BYTES];
    for (path, _) in files(&data)? {
        let mut file = File::open(path)?;
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            all += count as u64;
        }
    }
    let plain = started.elapsed().as_secs_f64();
    Ok(vec![Row::new(
        format!(
            "`lantern verify` of {:.1} GiB, nothing of it in memory",
            gib(all)
        ),
        format!(
            "{} s ({:.0} MiB/s); reading the same files and no more, one after another, {} s",
            short(took),
            gib(all) * 1_024.0 / took,
            short(plain)
        ),
    )])
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

/// All files below a directory, with their lengths.
fn files(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                waiting.push(entry.path());
            } else {
                found.push((entry.path(), data.len()));
            }
        }
    }
    Ok(found)
}

/// Drops what the kernel has of these files in memory.
fn forget_pages(dir: &Path) -> Result<()> {
    for (path, _) in files(dir)? {
        let file = File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Writes numbered batches and notes which are acknowledged.
struct Writer {
    topic: TopicName,
    number: u64,
    acknowledged: Oracle,
}

impl Writer {
    fn new(topic: TopicName) -> Self {
        Self {
            topic,
            number: 0,
            acknowledged: Oracle::new(),
        }
    }

    /// Writes so many bytes, or for so long. Ends with the server too: what is not acknowledged then is nobody's.
    async fn write(&mut self, kafka: &str, bytes: u64, span: Duration) -> Result<()> {
        let producer = Producer::connect(kafka).await?;
        let started = Instant::now();
        let mut written = 0;
        let mut waiting: VecDeque<(u32, u64, Delivery)> = VecDeque::with_capacity(IN_FLIGHT);
        while written < bytes && started.elapsed() < span {
            if waiting.len() == IN_FLIGHT && !self.settle(&mut waiting).await {
                return Ok(());
            }
            let partition = u32::try_from(self.number % u64::from(PARTITIONS))?;
            let to = TopicPartition::new(self.topic.clone(), PartitionId::new(partition));
            let batch = numbered(self.number);
            written += batch.size() as u64;
            let Ok(delivery) = producer.enqueue(&to, batch).await else {
                return Ok(());
            };
            waiting.push_back((partition, self.number, delivery));
            self.number += 1;
        }
        while !waiting.is_empty() && self.settle(&mut waiting).await {}
        Ok(())
    }

    /// Waits for the oldest request; whether it was acknowledged.
    async fn settle(&mut self, waiting: &mut VecDeque<(u32, u64, Delivery)>) -> bool {
        let Some((partition, number, delivery)) = waiting.pop_front() else {
            return true;
        };
        let Ok(ack) = delivery.acknowledged().await else {
            return false;
        };
        self.acknowledged
            .insert((partition, ack.base_offset), number);
        true
    }

    /// Kills the server in the middle of writing.
    async fn write_and_kill(&mut self, lantern: Lantern) -> Result<()> {
        let before = self.acknowledged.len();
        let kafka = lantern.kafka.clone();
        let kill = tokio::spawn(async move {
            tokio::time::sleep(LOAD).await;
            lantern.kill9()
        });
        self.write(&kafka, u64::MAX, 100 * LOAD).await?;
        kill.await??;
        ensure!(
            self.acknowledged.len() > before,
            "nothing was acknowledged before a kill"
        );
        Ok(())
    }
}

/// A batch whose records begin with its number.
fn numbered(number: u64) -> CheckedBatch {
    let mut value = [b'x'; RECORD_BYTES];
    value[..8].copy_from_slice(&number.to_be_bytes());
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..BATCH {
        builder.push(now, None, Some(&value), &[]);
    }
    builder.build()
}

/// Reads everything; an error unless every acknowledged batch is where it was, with its number in every record.
/// How many records there are.
async fn check(kafka: &str, topic: &TopicName, acknowledged: &Oracle) -> Result<u64> {
    let mut found = 0;
    let mut records = 0;
    for partition in 0..PARTITIONS {
        let from = TopicPartition::new(topic.clone(), PartitionId::new(partition));
        let mut consumer = Consumer::connect(kafka).await?;
        let end = consumer.end(&from).await?;
        let mut next = Offset::ZERO;
        consumer.seek(from, next);
        while next < end {
            let fetched = consumer.poll().await?;
            for batch in fetched.iter().flat_map(|part| &part.batches) {
                ensure!(batch.base_offset() == next, "a gap at offset {next}");
                next = batch.next_offset();
                records += u64::from(batch.record_count());
                let Some(number) = acknowledged.get(&(partition, batch.base_offset())) else {
                    continue;
                };
                ensure!(batch.record_count() == BATCH, "a batch has other records");
                for record in &batch.records()? {
                    let value = record?.value.context("a value")?;
                    let of = value.first_chunk().context("a number")?;
                    ensure!(u64::from_be_bytes(*of) == *number, "a batch was replaced");
                }
                found += 1;
            }
        }
    }
    let lost = acknowledged.len() - found;
    ensure!(lost == 0, "{lost} acknowledged batches are lost");
    Ok(records)
}
