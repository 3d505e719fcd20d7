//! Zip bombs: what they take of memory, and of the time of others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Producer};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};

use crate::RSS_MAX;
use crate::watch::{Watch, memory};

/// Bombs of a kind that come at the same time.
pub(crate) const BOMBS: usize = 4;
/// Connections that ask for what is in them at the same time.
const SEARCHES: usize = 64;
/// Connections that send one bomb after another.
const BOMBERS: usize = 16;
/// How long they do.
pub(crate) const BOMBED: Duration = Duration::from_secs(5);
/// Longest call of another client meanwhile: bombs are inflated on threads that serve nobody. Where they were inflated on
/// those that serve, it took seconds.
pub(crate) const SERVED_BESIDE_BOMBS: Duration = Duration::from_millis(500);

/// Batches of a few KiB that inflate to as much as is allowed, and to more; and bodies of HTTP.
async fn zip_bombs(lantern: &Lantern, topic: &TopicName) -> Result<()> {
    let to = TopicPartition::new(topic.clone(), PartitionId::new(0));
    // As much as is allowed, in every compression; and more than that.
    for (compression, inflated) in [
        (Compression::Gzip, 60 << 20),
        (Compression::Snappy, 60 << 20),
        (Compression::Zstd, 60 << 20),
        (Compression::Lz4, 60 << 20),
        (Compression::Lz4, 140 << 20),
    ] {
        let zeros = vec![0; inflated];
        let mut builder = BatchBuilder::new(compression);
        builder.push(Timestamp::from_millis(1), None, Some(&zeros), &[]);
        let batch = builder.build();
        drop(zeros);
        let mut sending = Vec::new();
        for _ in 0..BOMBS {
            let (kafka, to, batch) = (lantern.kafka.clone(), to.clone(), batch.clone());
            sending.push(tokio::spawn(async move {
                // Taken or refused, as its size on the wire allows.
                let _answer = Producer::connect(&kafka).await?.send(&to, batch).await;
                Ok::<_, anyhow::Error>(())
            }));
        }
        for sent in sending {
            sent.await??;
        }
    }
    // 200 MB of zeros in snappy's block format, which says its length first: a literal byte, then
    // copies of it.
    let mut bomb = vec![0x80, 0x84, 0xaf, 0x5f, 0x00, 0x00];
    for _ in 0..(200_000_000 / 64) {
        bomb.extend_from_slice(&[0xfe, 0x01, 0x00]);
    }
    let client = reqwest::Client::new();
    for _ in 0..8 {
        let answer = client
            .post(lantern.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .body(bomb.clone())
            .send()
            .await;
        if let Ok(answer) = answer {
            ensure!(
                answer.status().is_client_error(),
                "a bomb was answered with {}",
                answer.status()
            );
        }
    }
    Ok(())
}

/// The newest record of a batch by its time is only found by inflating the batch: asked for by many at once.
async fn searches_in_bombs(lantern: &Lantern, topic: &TopicName) -> Result<()> {
    let at = TopicPartition::new(topic.clone(), PartitionId::new(0));
    let mut asking = Vec::new();
    for _ in 0..SEARCHES {
        let (kafka, at) = (lantern.kafka.clone(), at.clone());
        asking.push(tokio::spawn(async move {
            let admin = Admin::connect(&kafka).await?;
            let found = admin.offset(&at, kafka_client::Place::MaxTimestamp).await?;
            ensure!(found.is_some(), "there are records");
            Ok::<_, anyhow::Error>(())
        }));
    }
    for asked in asking {
        asked.await??;
    }
    Ok(())
}

/// One bomb after another on each of several connections, each of nearly as much as is allowed; answers how many were answered.
async fn bombers(lantern: &Lantern, topic: &TopicName) -> Result<u64> {
    let to = TopicPartition::new(topic.clone(), PartitionId::new(0));
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(
        Timestamp::from_millis(1),
        None,
        Some(&vec![0; 120 << 20]),
        &[],
    );
    let batch = builder.build();
    drop(builder);
    let until = Instant::now() + BOMBED;
    let mut sending = Vec::new();
    for _ in 0..BOMBERS {
        let (kafka, to, batch) = (lantern.kafka.clone(), to.clone(), batch.clone());
        sending.push(tokio::spawn(async move {
            let producer = Producer::connect(&kafka).await?;
            let mut answered = 0;
            while Instant::now() < until {
                // Taken: it is a batch like any other.
                producer.send(&to, batch.clone()).await?;
                answered += 1;
            }
            Ok::<_, anyhow::Error>(answered)
        }));
    }
    let mut answered = 0;
    for sent in sending {
        answered += sent.await??;
    }
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_zip_bombs_are_inflated_others_are_served() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let (topic, target): (TopicName, TopicName) = ("bystander".parse()?, "target".parse()?);
    let admin = Admin::connect(&lantern.kafka).await?;
    admin.create_topic(&topic, 1).await?;
    admin.create_topic(&target, 1).await?;
    let mut watch = Watch::start(&lantern, &topic).await?;
    let answered = bombers(&lantern, &target).await?;
    ensure!(answered >= BOMBERS as u64, "only {answered} bombs came in");
    let attack = format!("{answered} zip bombs");
    watch.look_within(&attack, SERVED_BESIDE_BOMBS).await?;
    watch.end().await?;
    ensure!(lantern.stop()?.success(), "the stop after it all");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn zip_bombs_take_no_more_memory_than_is_allowed() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let target: TopicName = "target".parse()?;
    Admin::connect(&lantern.kafka)
        .await?
        .create_topic(&target, 1)
        .await?;
    zip_bombs(&lantern, &target).await?;
    searches_in_bombs(&lantern, &target).await?;
    let most = memory(lantern.id(), "VmHWM:").context("the peak of resident memory")?;
    ensure!(
        most < RSS_MAX,
        "{most} bytes were resident, the bound is {RSS_MAX}"
    );
    ensure!(lantern.stop()?.success(), "the stop after it all");
    Ok(())
}
