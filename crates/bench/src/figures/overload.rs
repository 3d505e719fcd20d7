//! What three times the capacity does to the records that are taken (`docs/decisions/0015-pressure.md`), with the limit
//! before the log and without it, and with senders that do not listen.
//!
//! Many connections, each with at most five requests in flight as Kafka's producers have. Capacity is what they get
//! when each sends its next request as soon as it may. The load is open: requests are due by the clock, at three times
//! that rate. One that cannot be sent within [`HOLD`] (no room in flight, or told to pause) is given up at the
//! sender, as a producer does whose buffer is full. The senders share the processors with Lantern.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Lantern, Place};
use kafka_client::{Acks, Admin, Connection, Delivery, Options, Producer};
use model::{PartitionId, TopicName, TopicPartition};
use record::CheckedBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::idle::resident_mib;
use super::produce::batch_of;
use super::runtime;
use crate::Smoke;
use crate::page::Row;
use crate::soak::{GROWTH_MAX, line};
use crate::spread::{Spread, short};

const CONNECTIONS: u32 = 400;
const IN_FLIGHT: usize = 5;
const PARTITIONS: u32 = 8;
const RECORDS: usize = 100;
const OVERLOAD: f64 = 3.0;
/// How long a request may wait at its sender.
const HOLD: Duration = Duration::from_millis(100);
const WARM: Duration = Duration::from_secs(5);
const CAPACITY_SPAN: Duration = Duration::from_secs(10);
const SPAN: Duration = Duration::from_mins(1);
/// Memory goes up and down by some tenths within minutes, so whether it grows takes longer to tell.
const WATCHED_SPAN: Duration = Duration::from_mins(6);
/// And is looked at from here on: it takes most of a minute until every connection and thread has had its most.
const SETTLED: Duration = Duration::from_mins(1);
/// What a partition keeps: else minutes fill the disk.
const RETENTION: [(&str, &str); 1] = [("retention.bytes", "268435456")];
/// The goodput and the p99 that are wanted.
const GOODPUT: f64 = 0.9;
/// And it goes as soon as it may.
const CONFIG: &str = "retention_interval: 2s\n";
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(500);

/// What senders do.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Requests a second of all connections; `None` is as fast as they are answered.
    rate: Option<f64>,
    /// Whether `throttle_time_ms` is kept to.
    listens: bool,
    begin: Instant,
    /// What is sent before this is not counted.
    from: Instant,
    end: Instant,
}

/// All senders count into one; they take turns on one thread.
type Shared = Arc<Mutex<Tally>>;

/// What came of the requests.
#[derive(Debug)]
struct Tally {
    /// Due while it counted.
    offered: u64,
    /// Acknowledged while it counted.
    good: u64,
    refused: u64,
    withheld: u64,
    /// Told to pause.
    throttled: u64,
    from_sent: Spread,
    from_due: Spread,
}

/// A Lantern with its connections.
struct Way {
    lantern: Lantern,
    producers: Vec<(Producer, TopicPartition)>,
    _place: Place,
}

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    runtime()?.block_on(async {
        let mut rows = Vec::new();
        for (name, config, listens) in [
            ("with the limit", "append_limit: {enabled: true}\n", true),
            ("with it, senders that do not listen", "append_limit: {enabled: true}\n", false),
            ("without the limit", "append_limit: {enabled: false}\n", true),
        ] {
            let way = Way::start(&format!("{config}{CONFIG}")).await?;
            let before = resident_mib(way.lantern.id())?;
            let full = way.run(None, listens, CAPACITY_SPAN).await?;
            let capacity = full.good as f64 / CAPACITY_SPAN.as_secs_f64();
            let rss_full = resident_mib(way.lantern.id())?;
            let judged = name == "with the limit";
            let (span, settled) = if judged { (WATCHED_SPAN, SETTLED) } else { (SPAN, SPAN / 2) };
            let watching = watch(way.lantern.id(), WARM + settled, WARM + span);
            let (over, memory) =
                tokio::join!(way.run(Some(capacity * OVERLOAD), listens, span), watching);
            let (over, (slope, rss_over)) = (over?, memory?);
            let watched = span.as_secs_f64() - settled.as_secs_f64();
            let grown = slope * watched;
            // The machine is not ours alone: what it can do is asked again.
            let again = way.run(None, listens, CAPACITY_SPAN).await?;
            let capacity_after = again.good as f64 / CAPACITY_SPAN.as_secs_f64();
            let goodput = over.good as f64 / span.as_secs_f64();
            let share = goodput / capacity.midpoint(capacity_after);
            let percent = |part: u64| short(100.0 * part as f64 / over.offered.max(1) as f64);
            let mut rss = format!(
                "{} / {} / {} MiB",
                short(before),
                short(rss_full),
                short(rss_over),
            );
            if judged {
                let _ = write!(rss, ", {grown:+.1} MiB in its last {watched} s");
            }
            let mut goodput_row = Row::new(
                format!("{name}: goodput at three times the capacity"),
                format!(
                    "{} % of {} requests/s ({} before, {} after)",
                    short(100.0 * share),
                    short(capacity.midpoint(capacity_after)),
                    short(capacity),
                    short(capacity_after),
                ),
            );
            if judged {
                goodput_row = goodput_row.target("≥ 90 %", share >= GOODPUT);
            }
            rows.push(goodput_row);
            rows.push(Row::new(
                format!("{name}: acknowledgement from the send, p50 / p99 / p99.9 (the same at capacity)"),
                format!("{} ({})", over.from_sent.three(), full.from_sent.three()),
            ));
            rows.push(Row::new(
                format!("{name}: the same from when the request was due"),
                over.from_due.three(),
            ));
            rows.push(Row::new(
                format!("{name}: withheld at the sender / refused / told to pause"),
                format!(
                    "{} / {} / {} % of {} requests",
                    percent(over.withheld),
                    percent(over.refused),
                    percent(over.throttled),
                    over.offered,
                ),
            ));
            let mut memory_row = Row::new(
                format!("{name}: memory (RSS) before / after capacity / in the overload (mean)"),
                rss,
            );
            if judged {
                memory_row = memory_row.target("flat", grown <= rss_over * GROWTH_MAX);
            }
            rows.push(memory_row);
        }
        Ok(rows)
    })
}

impl Way {
    async fn start(config: &str) -> Result<Self> {
        let place = Place::new()?;
        let file = place.path("lantern.yaml");
        fs::write(&file, config)?;
        let file = file.to_string_lossy();
        let lantern = Lantern::start(&place, &["--no-agent", "--config", &file])?;
        let topic: TopicName = "bench".parse()?;
        let admin = Admin::connect(&lantern.kafka).await?;
        admin
            .create_topic_with(&topic, PARTITIONS, &RETENTION)
            .await?;
        let mut producers = Vec::new();
        for number in 0..CONNECTIONS {
            let options = Options {
                client_id: format!("sender-{number}"),
                timeout: Duration::from_mins(1),
                in_flight_max: IN_FLIGHT,
                ..Options::default()
            };
            let connection = Connection::open(&lantern.kafka, options).await?;
            let to = TopicPartition::new(topic.clone(), PartitionId::new(number % PARTITIONS));
            producers.push((Producer::new(connection, Acks::All), to));
        }
        Ok(Self {
            lantern,
            producers,
            _place: place,
        })
    }

    async fn run(&self, rate: Option<f64>, listens: bool, span: Duration) -> Result<Tally> {
        let begin = Instant::now() + Duration::from_millis(100);
        let load = Load {
            rate,
            listens,
            begin,
            from: begin + WARM,
            end: begin + WARM + span,
        };
        let batch = batch_of(RECORDS);
        let tally = Arc::new(Mutex::new(Tally::new()));
        let mut senders = Vec::new();
        for (number, (producer, to)) in (0..).zip(&self.producers) {
            let tally = Arc::clone(&tally);
            let sender = send(
                number,
                producer.clone(),
                to.clone(),
                batch.clone(),
                load,
                tally,
            );
            senders.push(tokio::spawn(sender));
        }
        for sender in senders {
            sender.await??;
        }
        let tally = Arc::into_inner(tally).context("all senders have ended")?;
        tally.into_inner().ok().context("nobody panicked")
    }
}

/// Looks at a process's memory from so long from now until then: the slope of the line through it, in MiB a second, and its mean.
async fn watch(process: u32, from: Duration, until: Duration) -> Result<(f64, f64)> {
    let begin = Instant::now();
    let mut seen = Vec::new();
    let mut due = from;
    while due < until {
        sleep_until(begin + due).await;
        seen.push((due.as_secs_f64(), resident_mib(process)?));
        due += LOOK;
    }
    Ok(line(&seen))
}

/// A request on its way.
struct Sent {
    due: Instant,
    at: Instant,
    delivery: Delivery,
    _room: OwnedSemaphorePermit,
}

/// One connection's requests: sent here, their answers taken by another task.
async fn send(
    number: u32,
    producer: Producer,
    to: TopicPartition,
    batch: CheckedBatch,
    load: Load,
    tally: Shared,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    // Microseconds after the beginning until which the server asks for silence.
    let quiet = Arc::new(AtomicU64::new(0));
    let (sent, answers) = mpsc::channel(IN_FLIGHT);
    let taking = tokio::spawn(take(answers, load, Arc::clone(&quiet), Arc::clone(&tally)));
    let (mut offered, mut withheld) = (0, 0);
    let mut due = load.begin;
    let gap = load
        .rate
        .map(|rate| Duration::from_secs_f64(f64::from(CONNECTIONS) / rate));
    if let Some(gap) = gap {
        due += gap * number / CONNECTIONS;
    }
    loop {
        if gap.is_none() {
            due = Instant::now().max(load.begin);
        }
        if due >= load.end {
            break;
        }
        sleep_until(due).await;
        let given_up = if gap.is_some() { due + HOLD } else { load.end };
        let free = wait_for_room(&room, &quiet, load, given_up).await;
        let counts = due >= load.from;
        offered += u64::from(counts);
        match free {
            Some(free) => {
                let at = Instant::now();
                let delivery = producer.enqueue(&to, batch.clone()).await?;
                let due = if gap.is_some() { due } else { at };
                let one = Sent {
                    due,
                    at,
                    delivery,
                    _room: free,
                };
                sent.send(one).await.ok().context("answers are taken")?;
            }
            None => withheld += u64::from(counts),
        }
        if let Some(gap) = gap {
            due += gap;
        }
    }
    drop(sent);
    taking.await??;
    let mut tally = locked(&tally);
    tally.offered += offered;
    tally.withheld += withheld;
    Ok(())
}

/// Room in flight, once the pause asked for is over; `None` if that takes too long.
async fn wait_for_room(
    room: &Arc<Semaphore>,
    quiet: &AtomicU64,
    load: Load,
    given_up: Instant,
) -> Option<OwnedSemaphorePermit> {
    if Instant::now() >= given_up {
        return None;
    }
    let free = timeout_at(given_up, Arc::clone(room).acquire_owned())
        .await
        .ok()?
        .ok()?;
    loop {
        let until = load.begin + Duration::from_micros(quiet.load(Ordering::Relaxed));
        if until <= Instant::now() {
            return Some(free);
        }
        if until > given_up {
            sleep_until(given_up).await;
            return None;
        }
        sleep_until(until).await;
    }
}

async fn take(
    mut answers: mpsc::Receiver<Sent>,
    load: Load,
    quiet: Arc<AtomicU64>,
    tally: Shared,
) -> Result<()> {
    while let Some(sent) = answers.recv().await {
        let answer = sent.delivery.acknowledged().await;
        let now = Instant::now();
        let counts = now >= load.from && now < load.end;
        let mut tally = locked(&tally);
        match answer {
            Ok(ack) => {
                if load.listens && !ack.throttle.is_zero() {
                    let until = (now + ack.throttle).saturating_duration_since(load.begin);
                    let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
                    quiet.fetch_max(until, Ordering::Relaxed);
                }
                if counts {
                    tally.good += 1;
                    tally.throttled += u64::from(!ack.throttle.is_zero());
                    tally.from_sent.add(now - sent.at);
                    tally.from_due.add(now - sent.due);
                }
            }
            Err(kafka_client::Error::Refused { .. }) => tally.refused += u64::from(counts),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn locked(tally: &Shared) -> MutexGuard<'_, Tally> {
    tally.lock().expect("nobody panics with it")
}

impl Tally {
    fn new() -> Self {
        Self {
            offered: 0,
            good: 0,
            refused: 0,
            withheld: 0,
            throttled: 0,
            from_sent: Spread::new(),
            from_due: Spread::new(),
        }
    }
}
