//! What the journal is worth (`docs/decisions/0010-journal.md`): the same requests with it and with a
//! flush for every partition, in turns.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use e2e::{Lantern, Place};
use kafka_client::{Admin, Delivery, Producer};
use model::{PartitionId, TopicName};
use record::CheckedBatch;
use tokio::time::Instant;

use super::idle::cpu_seconds;
use super::produce::batch_of;
use super::runtime;
use crate::Smoke;
use crate::page::Row;
use crate::spread::{Spread, short};

/// Partitions in a request, records for each, requests in flight.
const LOADS: [(u32, usize, usize); 6] = [
    (1, 1, 1),
    (4, 3, 1),
    (16, 3, 1),
    (1_000, 1, 1),
    (1, 100, 64),
    (1, 1_000, 64),
];
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(3);

/// One way of making records durable.
struct Way {
    lantern: Lantern,
    producer: Producer,
    _place: Place,
}

/// What one round of a load gave.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Median time to the acknowledgement, in milliseconds.
    p50: f64,
    /// Requests in a second.
    rate: f64,
    /// Processor time of Lantern for a request, in microseconds.
    cpu: f64,
}

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    runtime()?.block_on(async {
        let ways = [Way::start("16MiB").await?, Way::start("0").await?];
        let mut rows = Vec::new();
        for (partitions, records, in_flight) in LOADS {
            let topic: TopicName = format!("p{partitions}-r{records}").parse()?;
            for way in &ways {
                let admin = Admin::connect(&way.lantern.kafka).await?;
                admin.create_topic(&topic, partitions).await?;
            }
            let mut rounds = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (way, rounds) in ways.iter().zip(&mut rounds) {
                    rounds.push(way.round(&topic, partitions, records, in_flight).await?);
                }
            }
            rows.push(row((partitions, records, in_flight), &rounds));
        }
        Ok(rows)
    })
}

fn row((partitions, records, in_flight): (u32, usize, usize), rounds: &[Vec<Round>; 2]) -> Row {
    let medians = |of: fn(&Round) -> f64| {
        let [journal, direct] = rounds.each_ref().map(|rounds| median(rounds, of));
        (journal, direct)
    };
    let (p50, p50_direct) = medians(|round| round.p50);
    let (rate, rate_direct) = medians(|round| round.rate);
    let (cpu, cpu_direct) = medians(|round| round.cpu);
    Row::new(
        format!("{partitions} partitions × {records} records a request, {in_flight} in flight"),
        format!(
            "p50 {} ms ({}); {} requests/s ({}); {} µs of processor a request ({})",
            short(p50),
            short(p50_direct),
            short(rate),
            short(rate_direct),
            short(cpu),
            short(cpu_direct),
        ),
    )
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Way {
    async fn start(journal_size: &str) -> Result<Self> {
        let place = Place::new()?;
        let config = place.path("lantern.yaml");
        fs::write(&config, format!("journal_size: {journal_size}\n"))?;
        let config = config.to_string_lossy();
        let lantern = Lantern::start(&place, &["--no-agent", "--config", &config])?;
        Ok(Self {
            producer: Producer::connect(&lantern.kafka).await?,
            lantern,
            _place: place,
        })
    }

    async fn round(
        &self,
        topic: &TopicName,
        partitions: u32,
        records: usize,
        in_flight: usize,
    ) -> Result<Round> {
        let batch = batch_of(records);
        let request: Vec<(PartitionId, CheckedBatch)> = (0..partitions)
            .map(|number| (PartitionId::new(number), batch.clone()))
            .collect();
        let mut spread = Spread::new();
        let mut waiting = VecDeque::with_capacity(in_flight);
        let before = cpu_seconds(self.lantern.id())?;
        let started = Instant::now();
        let mut requests = 0_u32;
        while started.elapsed() < SPAN {
            if waiting.len() == in_flight {
                settle(&mut waiting, &mut spread).await?;
            }
            let sent = Instant::now();
            let delivery = self.producer.enqueue_all(topic, request.clone()).await?;
            waiting.push_back((sent, delivery));
            requests += 1;
        }
        while !waiting.is_empty() {
            settle(&mut waiting, &mut spread).await?;
        }
        let took = started.elapsed().as_secs_f64();
        let spent = cpu_seconds(self.lantern.id())? - before;
        Ok(Round {
            p50: spread.at(50.0),
            rate: f64::from(requests) / took,
            cpu: spent * 1e6 / f64::from(requests),
        })
    }
}

/// Waits for the oldest request's acknowledgement.
async fn settle(waiting: &mut VecDeque<(Instant, Delivery)>, spread: &mut Spread) -> Result<()> {
    if let Some((sent, delivery)) = waiting.pop_front() {
        delivery.acknowledged().await?;
        spread.add(sent.elapsed());
    }
    Ok(())
}
