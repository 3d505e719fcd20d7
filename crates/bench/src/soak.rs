//! Hours under load: does memory stay flat, and does anything fail?
//!
//! First the most that one producer with many requests in flight gets through, for some seconds; then
//! 80 % of that, paced by the clock, in batches to four partitions, made durable, read back by a consumer
//! that commits, with the agent at work and a retention that removes as fast as records come. Resident
//! memory is read every second. After a warm-up of a fifth of the time, a line is fitted through it: what
//! it grows over the rest must stay below [`GROWTH_MAX`] of its mean. Caches fill up to their bounds in
//! the warm-up; a leak goes on.
//!
//! One of those bounds is six hours by default: the samples that the agent takes every second (decision 9). The soak
//! keeps a twelfth of its time of them (five minutes at least), so that old ones go as new ones come, and says how much they take.
//!
//! Not here: how fast things are (`figures`).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Consumer, Delivery, ErrorCode, Producer};
use model::{GroupId, Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use stdx::HumanDuration;
use tokio::time::Instant;

use crate::figures::resident_mib;
use crate::machine;
use crate::spread::Spread;

/// The report, from the root of the project.
const PAGE: &str = "docs/benchmarks/soak.md";
const PARTITIONS: u32 = 4;
const BATCH_RECORDS: u32 = 100;
const RECORD_BYTES: usize = 100;
/// Batches waiting for their acknowledgement.
const IN_FLIGHT: usize = 64;
/// How long the most is measured.
const MEASURED: Duration = Duration::from_secs(10);
/// Batches due this soon are sent at once.
const TICK: Duration = Duration::from_millis(1);
/// Part of the most that is the load, in percent.
const LOAD_PERCENT: f64 = 80.0;
/// Growth over the time watched, as a share of the mean, that counts as flat.
pub(crate) const GROWTH_MAX: f64 = 0.05;
/// The warm-up is this part of the time.
const WARM_UP: f64 = 5.0;
/// Samples of the agent are kept for this part of the time: they and the chunks that hold them are full in the warm-up of an hour.
const SAMPLES_KEPT: u32 = 12;
/// The least that Lantern keeps.
const SAMPLES_KEPT_MIN: Duration = Duration::from_mins(5);

/// Options of a soak.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Soak {
    /// How long the load lasts
    #[arg(long, default_value = "1h")]
    duration: HumanDuration,
}

/// Resident memory over time: seconds since the load began, and MiB.
type Samples = Vec<(f64, f64)>;

/// Runs it and writes the report; an error if memory grew, or anything failed.
pub(crate) fn run(soak: &Soak) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(whole(soak.duration.get()))
}

async fn whole(span: Duration) -> Result<()> {
    ensure!(span >= Duration::from_secs(30), "a soak takes at least 30s");
    let place = Place::new()?;
    let file = place.path("lantern.yaml");
    fs::write(&file, "retention_interval: 5s\n")?;
    let kept = HumanDuration::new((span / SAMPLES_KEPT).max(SAMPLES_KEPT_MIN));
    let (file, kept) = (file.to_string_lossy(), kept.to_string());
    let flags = ["--config", &file, "--series-retention", &kept];
    let lantern = Lantern::start(&place, &flags)?;
    let topic: TopicName = "soak".parse()?;
    let config = [
        ("segment.bytes", "16777216"),
        ("retention.bytes", "67108864"),
    ];
    let admin = Admin::connect(&lantern.kafka).await?;
    admin.create_topic_with(&topic, PARTITIONS, &config).await?;

    let read = Arc::new(AtomicU64::new(0));
    let reading = tokio::spawn(follow(
        lantern.kafka.clone(),
        topic.clone(),
        Arc::clone(&read),
    ));
    let (batches, _) = load(&lantern, &topic, None, MEASURED).await?;
    let most = batches as f64 / MEASURED.as_secs_f64();
    let rate = most * LOAD_PERCENT / 100.0;
    println!(
        "at most {most:.0} batches/s; {rate:.0} batches/s for {}",
        HumanDuration::new(span)
    );
    let sampling = tokio::spawn(sample(lantern.id(), span));
    let before = read.load(Ordering::Relaxed);
    let (batches, acknowledged) = load(&lantern, &topic, Some(rate), span).await?;
    let samples = sampling.await??;
    let agent = agent_samples(&lantern).await?;
    ensure!(
        !reading.is_finished(),
        "the reader ended: {:?}",
        reading.await?
    );
    reading.abort();
    let read = read.load(Ordering::Relaxed) - before;
    ensure!(lantern.stop()?.success(), "Lantern did not stop in order");
    let done = Done {
        span,
        most,
        rate,
        batches,
        acknowledged,
        read,
        samples,
        agent,
    };
    done.report()
}

fn partitions(topic: &TopicName) -> Vec<TopicPartition> {
    let numbers = (0..PARTITIONS).map(PartitionId::new);
    numbers
        .map(|number| TopicPartition::new(topic.clone(), number))
        .collect()
}

/// Sends batches in turn to all partitions, at a rate or as fast as they are acknowledged; answers how
/// many, and how long each took from when it was due.
async fn load(
    lantern: &Lantern,
    topic: &TopicName,
    rate: Option<f64>,
    span: Duration,
) -> Result<(u64, Spread)> {
    let producer = Producer::connect(&lantern.kafka).await?;
    let places = partitions(topic);
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..BATCH_RECORDS {
        let now = jiff::Timestamp::now().as_millisecond();
        let value = [b'x'; RECORD_BYTES];
        builder.push(Timestamp::from_millis(now), None, Some(&value), &[]);
    }
    let batch = builder.build();
    let mut waiting: VecDeque<(Instant, Delivery)> = VecDeque::with_capacity(IN_FLIGHT);
    let (mut sent, mut spread) = (0_u64, Spread::new());
    let start = Instant::now();
    while start.elapsed() < span {
        let due = match rate {
            Some(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
            None => Instant::now(),
        };
        // A timer has milliseconds: whoever waited for one before each batch would send a thousand a second.
        if due.duration_since(Instant::now()) > TICK {
            tokio::time::sleep_until(due).await;
        }
        if waiting.len() >= IN_FLIGHT
            && let Some((due, delivery)) = waiting.pop_front()
        {
            delivery.acknowledged().await?;
            spread.add(due.elapsed());
        }
        let to = &places[usize::try_from(sent).unwrap_or(0) % places.len()];
        waiting.push_back((due, producer.enqueue(to, batch.clone()).await?));
        sent += 1;
    }
    for (due, delivery) in waiting {
        delivery.acknowledged().await?;
        spread.add(due.elapsed());
    }
    Ok((sent, spread))
}

/// Reads everything and commits every second, as a consumer does.
async fn follow(kafka: String, topic: TopicName, read: Arc<AtomicU64>) -> Result<()> {
    let mut consumer = Consumer::connect(&kafka).await?;
    let admin = Admin::connect(&kafka).await?;
    let group = GroupId::new("soak")?;
    for place in partitions(&topic) {
        consumer.seek(place, Offset::new(0));
    }
    let mut committed = Instant::now();
    loop {
        match consumer.poll().await {
            Ok(fetched) => {
                let batches = fetched.iter().flat_map(|part| &part.batches);
                let records: u64 = batches.map(|batch| u64::from(batch.record_count())).sum();
                read.fetch_add(records, Ordering::Relaxed);
            }
            // It fell behind retention, and goes on where the log begins now.
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                for place in partitions(&topic) {
                    let earliest = admin.offset(&place, kafka_client::Place::Earliest).await?;
                    consumer.seek(place, earliest.unwrap_or_default());
                }
            }
            Err(error) => return Err(error.into()),
        }
        if committed.elapsed() >= Duration::from_secs(1) {
            let at = partitions(&topic).into_iter();
            let at = at.filter_map(|place| Some((place.clone(), consumer.position(&place)?)));
            admin.set_committed(&group, &at.collect()).await?;
            committed = Instant::now();
        }
    }
}

async fn sample(process: u32, span: Duration) -> Result<Samples> {
    let start = Instant::now();
    let mut samples = Vec::new();
    while start.elapsed() < span {
        samples.push((start.elapsed().as_secs_f64(), resident_mib(process)?));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(samples)
}

/// Slope, in MiB a second, and mean of the line through samples (least squares).
pub(crate) fn line(samples: &[(f64, f64)]) -> (f64, f64) {
    let count = samples.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let (mut over, mut under) = (0.0, 0.0);
    for (at, value) in samples {
        over += (at - time) * (value - memory);
        under += (at - time) * (at - time);
    }
    (if under > 0.0 { over / under } else { 0.0 }, memory)
}

/// What the load did.
struct Done {
    span: Duration,
    most: f64,
    rate: f64,
    batches: u64,
    acknowledged: Spread,
    read: u64,
    samples: Samples,
    agent: Agent,
}

/// The agent's samples in memory at the end.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    num_series: u64,
    num_samples: u64,
    sample_bytes: u64,
}

async fn agent_samples(lantern: &Lantern) -> Result<Agent> {
    let answer = reqwest::get(lantern.url("/api/v1/status/tsdb")).await?;
    let answer: serde_json::Value = answer.error_for_status()?.json().await?;
    Ok(serde_json::from_value(answer["data"]["headStats"].clone())?)
}

impl Agent {
    /// What the default of six hours would hold of the same.
    fn told(&self) -> String {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let each = self.sample_bytes as f64 / (self.num_samples.max(1)) as f64;
        let six_hours = mib(each * self.num_series as f64 * 6.0 * 3_600.0);
        format!(
            "{} of {} series in {:.1} MiB, {each:.2} bytes each; six hours of them would be {six_hours:.0} MiB",
            self.num_samples,
            self.num_series,
            mib(self.sample_bytes as f64)
        )
    }
}

impl Done {
    fn report(&self) -> Result<()> {
        let warm = self.span.as_secs_f64() / WARM_UP;
        let watched: Vec<_> = self
            .samples
            .iter()
            .copied()
            .filter(|(at, _)| *at >= warm)
            .collect();
        let (slope, mean) = line(&watched);
        let grown = slope * (self.span.as_secs_f64() - warm);
        let flat = grown <= mean * GROWTH_MAX;
        let most = watched
            .iter()
            .map(|(_, memory)| *memory)
            .fold(0.0, f64::max);
        let records = self.batches * u64::from(BATCH_RECORDS);
        let mut page = String::from(
            "# Soak\n\nHow memory behaves under load for a long time. Written by `cargo xtask soak --duration 1h`; what it \
             does is said in `crates/bench/src/soak.rs`.\n\n| What | Measured |\n|---|---|\n",
        );
        let rows = [
            (
                "Load",
                format!(
                    "{} at {:.0} batches/s of {BATCH_RECORDS} records of {RECORD_BYTES} bytes, {LOAD_PERCENT} % of the {:.0} batches/s one producer reached",
                    HumanDuration::new(self.span),
                    self.rate,
                    self.most
                ),
            ),
            (
                "Acknowledged as durable",
                format!(
                    "{records} records, {:.0} batches/s, none refused",
                    self.batches as f64 / self.span.as_secs_f64()
                ),
            ),
            (
                "Acknowledgement from when it was due (p50 / p99 / p99.9)",
                self.acknowledged.three(),
            ),
            ("Read back meanwhile", format!("{} records", self.read)),
            (
                "Resident memory after the warm-up (mean / most)",
                format!("{mean:.1} / {most:.1} MiB"),
            ),
            (
                "Slope of the line through it",
                format!(
                    "{:+.2} MiB/h, {grown:+.2} MiB over the time watched: {}",
                    slope * 3_600.0,
                    if flat { "flat" } else { "NOT flat" }
                ),
            ),
            ("Samples of the agent in memory", self.agent.told()),
            ("Machine", machine::line()),
        ];
        for (what, value) in rows {
            let _ = writeln!(page, "| {what} | {value} |");
        }
        print!("{page}");
        let path = e2e::root().join(PAGE);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, page)?;
        if !flat {
            bail!("memory grew by {grown:.1} MiB, more than {GROWTH_MAX} of {mean:.1} MiB");
        }
        ensure!(self.read > 0, "nothing was read back");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_finds_a_leak_under_noise() {
        let noisy = |slope: f64| -> Samples {
            let at = (0..600).map(f64::from);
            at.map(|at| (at, 100.0 + slope * at + (at * 7.0).sin() * 5.0))
                .collect()
        };
        for slope in [0.0, 0.01, -0.02] {
            let (found, _) = line(&noisy(slope));
            assert!((found - slope).abs() < 0.001, "{found} for {slope}");
        }
    }
}
