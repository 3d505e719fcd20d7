//! Somebody who only wants to be served, and how much memory the server takes meanwhile.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::Lantern;
use kafka_client::{Admin, Consumer, Producer};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{RSS_MAX, SERVED_WITHIN};

/// Watches the server from outside.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    rss: Arc<AtomicU64>,
    slowest: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
    bystander: tokio::task::JoinHandle<Result<()>>,
    sampler: std::thread::JoinHandle<()>,
}

fn rss(process: u32) -> Option<u64> {
    memory(process, "VmRSS:")
}

/// A line of `/proc/PROCESS/status`, in bytes.
pub(crate) fn memory(process: u32, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// One round of what a client wants: metadata, a record in, the same record out, and health.
async fn be_served(
    producer: &Producer,
    consumer: &Consumer,
    admin: &Admin,
    http: &mut TcpStream,
    at: &TopicPartition,
) -> Result<()> {
    let topics = admin.topics(Some(std::slice::from_ref(&at.topic))).await?;
    ensure!(topics.len() == 1, "the topic is gone");
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(Timestamp::from_millis(1), None, Some(b"hello"), &[]);
    let offset = producer.send(at, builder.build()).await?;
    let read = consumer.fetch(at, offset).await?;
    ensure!(!read.is_empty(), "what was acknowledged is not read");
    http.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let mut answer = [0; 512];
    let count = http.read(&mut answer).await?;
    ensure!(answer[..count].starts_with(b"HTTP/1.1 200"), "no health");
    Ok(())
}

impl Watch {
    pub(crate) async fn start(lantern: &Lantern, topic: &TopicName) -> Result<Self> {
        let (stop, slowest, highest, calls) = <(
            Arc<AtomicBool>,
            Arc<AtomicU64>,
            Arc<AtomicU64>,
            Arc<AtomicU64>,
        )>::default();
        let at = TopicPartition::new(topic.clone(), PartitionId::new(0));
        let producer = Producer::connect(&lantern.kafka).await?;
        let consumer = Consumer::connect(&lantern.kafka).await?;
        let admin = Admin::connect(&lantern.kafka).await?;
        let mut http = TcpStream::connect(&lantern.http).await?;
        let (end, slow, count) = (Arc::clone(&stop), Arc::clone(&slowest), Arc::clone(&calls));
        let bystander = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let served = be_served(&producer, &consumer, &admin, &mut http, &at);
                tokio::time::timeout(SERVED_WITHIN, served)
                    .await
                    .context("a well-behaved client was not served in time")??;
                let took = u64::try_from(begun.elapsed().as_micros())?;
                slow.fetch_max(took, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        });
        let (end, most, process) = (Arc::clone(&stop), Arc::clone(&highest), lantern.id());
        let sampler = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(rss) = rss(process) {
                    most.fetch_max(rss, Ordering::Relaxed);
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Ok(Self {
            stop,
            rss: highest,
            slowest,
            calls,
            bystander,
            sampler,
        })
    }

    /// Checks the bounds after an attack, and begins to measure the next.
    pub(crate) async fn look(&mut self, attack: &str) -> Result<()> {
        self.look_within(attack, SERVED_WITHIN).await
    }

    /// The same, with a bound of its own for the slowest call.
    pub(crate) async fn look_within(&mut self, attack: &str, within: Duration) -> Result<()> {
        let rss = self.rss.swap(0, Ordering::Relaxed);
        let slowest = Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed));
        let calls = self.calls.swap(0, Ordering::Relaxed);
        // Seen with `--nocapture`.
        let _ = writeln!(
            std::io::stderr(),
            "{attack}: {} MiB at most, {calls} calls served, the slowest in {slowest:?}",
            rss >> 20
        );
        if self.bystander.is_finished() {
            (&mut self.bystander)
                .await?
                .with_context(|| attack.to_owned())?;
        }
        ensure!(
            rss < RSS_MAX,
            "{attack}: {rss} bytes resident, the bound is {RSS_MAX}"
        );
        ensure!(slowest < within, "{attack}: a call took {slowest:?}");
        ensure!(calls > 0, "{attack}: no call was served");
        Ok(())
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.bystander.await??;
        let _ = self.sampler.join();
        Ok(())
    }
}
