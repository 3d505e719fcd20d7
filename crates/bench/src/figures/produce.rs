//! Records in, durable, and out again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Consumer, Producer};
use model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};
use tokio::time::Instant;

use super::runtime;
use crate::Smoke;
use crate::page::Row;
use crate::spread::{Spread, short};

const RECORD_BYTES: usize = 100;
const SPAN: Duration = Duration::from_secs(8);
/// Requests waiting for their acknowledgement in the run for throughput.
const IN_FLIGHT: usize = 64;
/// The rate of the comparison figures.
const RATE: u32 = 2_246;

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    runtime()?.block_on(async {
        let topic: TopicName = "bench".parse()?;
        Admin::connect(&lantern.kafka)
            .await?
            .create_topic(&topic, 1)
            .await?;
        let to = TopicPartition::new(topic, PartitionId::new(0));
        let producer = Producer::connect(&lantern.kafka).await?;
        let mut rows = Vec::new();
        for batch in [1, 100, 1_000] {
            let alone = one_by_one(&producer, &to, batch).await?;
            let disk = raw(&place, batch)?;
            let rate = many(&producer, &to, batch).await?;
            rows.push(Row::new(
                format!("batch {batch}: acknowledgement, 1 in flight (p50 / p99 / p99.9)"),
                alone.three(),
            ));
            rows.push(Row::new(
                format!("batch {batch}: write and fdatasync of as many bytes, same disk"),
                format!(
                    "{}; ratio of the medians {}",
                    disk.three(),
                    short(alone.at(50.0) / disk.at(50.0))
                ),
            ));
            rows.push(Row::new(
                format!("batch {batch}: one connection, {IN_FLIGHT} in flight"),
                format!("{rate:.0} records/s"),
            ));
        }
        Ok(rows)
    })
}

pub(super) fn batch_of(records: usize) -> CheckedBatch {
    let value = [b'x'; RECORD_BYTES];
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push(now(), None, Some(&value), &[]);
    }
    builder.build()
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

async fn one_by_one(producer: &Producer, to: &TopicPartition, records: usize) -> Result<Spread> {
    let mut spread = Spread::new();
    let started = Instant::now();
    while started.elapsed() < SPAN {
        let batch = batch_of(records);
        let sent = Instant::now();
        producer.send(to, batch).await?;
        spread.add(sent.elapsed());
    }
    Ok(spread)
}

/// Records per second.
async fn many(producer: &Producer, to: &TopicPartition, records: usize) -> Result<f64> {
    let batch = batch_of(records);
    let mut waiting = VecDeque::with_capacity(IN_FLIGHT);
    let started = Instant::now();
    let mut sent = 0_usize;
    while started.elapsed() < SPAN {
        if waiting.len() == IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            let oldest: kafka_client::Delivery = oldest;
            oldest.acknowledged().await?;
        }
        waiting.push_back(producer.enqueue(to, batch.clone()).await?);
        sent += records;
    }
    for delivery in waiting {
        delivery.acknowledged().await?;
    }
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}

/// What the disk takes to make as many bytes durable, appended to a file.
fn raw(place: &Place, records: usize) -> Result<Spread> {
    let bytes = batch_of(records).size();
    let mut file = File::create(place.path("raw"))?;
    let mut spread = Spread::new();
    let started = std::time::Instant::now();
    let block = vec![b'x'; bytes];
    while started.elapsed() < SPAN / 2 {
        let begun = std::time::Instant::now();
        file.write_all(&block)?;
        rustix::fs::fdatasync(&file)?;
        spread.add(begun.elapsed());
    }
    Ok(spread)
}

/// Produce to consumer, at a rate, from the moment each record was to be sent.
pub(super) fn measure_consumer(_: &Smoke) -> Result<Vec<Row>> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let spread = runtime()?.block_on(async {
        let topic: TopicName = "bench".parse()?;
        Admin::connect(&lantern.kafka)
            .await?
            .create_topic(&topic, 1)
            .await?;
        let to = TopicPartition::new(topic, PartitionId::new(0));
        let total = RATE * 15;
        let start = Instant::now() + Duration::from_millis(200);
        let producer = Producer::connect(&lantern.kafka).await?;
        let consumer = Consumer::connect(&lantern.kafka).await?;
        let sending = tokio::spawn(send_at_rate(producer, to.clone(), start, total));
        let spread = receive(consumer, to, start, total);
        let limit = Duration::from_mins(1);
        let spread = tokio::time::timeout(limit, spread)
            .await
            .context("records did not come")??;
        sending.await??;
        anyhow::Ok(spread)
    })?;
    let what = format!("produce → consumer at {RATE}/s, durable, one record a batch");
    let text = format!(
        "{} (p50 / p99 / p99.9 of {})",
        spread.three(),
        spread.count()
    );
    Ok(vec![Row::new(what, text)])
}

/// When record `number` is to be sent.
fn due(start: Instant, number: u32) -> Instant {
    start + Duration::from_secs(1) * number / RATE
}

async fn send_at_rate(
    producer: Producer,
    to: TopicPartition,
    start: Instant,
    total: u32,
) -> Result<()> {
    let mut waiting = VecDeque::new();
    for number in 0..total {
        tokio::time::sleep_until(due(start, number)).await;
        let mut value = [b'x'; RECORD_BYTES];
        value[..4].copy_from_slice(&number.to_be_bytes());
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(now(), None, Some(&value), &[]);
        let delivery: kafka_client::Delivery = producer.enqueue(&to, builder.build()).await?;
        waiting.push_back(delivery);
        if waiting.len() > 1_000
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.acknowledged().await?;
        }
    }
    for delivery in waiting {
        delivery.acknowledged().await?;
    }
    Ok(())
}

async fn receive(
    mut consumer: Consumer,
    from: TopicPartition,
    start: Instant,
    total: u32,
) -> Result<Spread> {
    let mut spread = Spread::new();
    consumer.seek(from, Offset::new(0));
    let mut seen = 0;
    while seen < total {
        let fetched = consumer.poll().await?;
        let now = Instant::now();
        for batch in fetched.iter().flat_map(|part| &part.batches) {
            for record in &batch.records()? {
                let value = record?.value.context("a value")?;
                let number = value.first_chunk::<4>().context("a number")?;
                spread.add(now.saturating_duration_since(due(start, u32::from_be_bytes(*number))));
                seen += 1;
            }
        }
    }
    Ok(spread)
}
