//! Plays the shop to a Kafka server at its intended pace.
//!
//! One task: takes what is due from the schedule, fills one batch per partition, sends them in one
//! request, and counts acknowledgements. A lost connection is made again and everything not acknowledged is sent again, in
//! order and under the same producer id and sequence numbers, so that an idempotent server stores it
//! once.
//!
//! Invariants: at most [`IN_FLIGHT_MAX`] requests wait for an acknowledgement (then filling waits, and
//! lateness counts from the intended time); records of one partition are sent in order.
//! Not here: what happens (`shop`), when (`schedule`), printing (`lantern`).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use env::DynClock;
use kafka_client::{Ack, Acks, Admin, Connection, Delivery, Options, Producer};
use model::{PartitionId, TopicName};
use record::{BatchBuilder, CheckedBatch, Compression};
use tokio_util::sync::CancellationToken;

use crate::event::Writer;
use crate::report::{Progress, Summary, Tally};
use crate::schedule::Schedule;
use crate::shop::Shop;
use crate::{Error, ORDERS_PARTITIONS, ORDERS_TOPIC};

/// Requests sent and not acknowledged. As many as an idempotent server remembers batches of a
/// partition: what is sent again after a lost connection is known to it.
const IN_FLIGHT_MAX: usize = 5;

/// A batch is sent when it is so large, even if the next tick is not due.
const BATCH_BYTES: usize = 256 << 10;

/// Events taken before acknowledgements are looked at again.
const EVENTS_PER_TURN: u32 = 4_000;

/// Below this rate each event is sent by itself at once.
const IMMEDIATE_RATE: f64 = 250.0;

/// How long events gather for a batch above that rate.
const LINGER: Duration = Duration::from_millis(4);

/// How long a lost server may take to come back, and how often it is tried.
const RECONNECT_FOR: Duration = Duration::from_secs(30);
const RECONNECT_EVERY: Duration = Duration::from_millis(250);

/// How long to wait for the last acknowledgements.
const DRAIN_FOR: Duration = Duration::from_secs(10);

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What to play.
#[derive(Debug, Clone, PartialEq)]
pub struct OrdersOptions {
    /// The Kafka server, `host:port`. Default `127.0.0.1:9092`.
    pub kafka: String,
    /// Events a second on average, 0.1 to 500,000. Default 2,246.
    pub rate: f64,
    /// How long to play; `None` until stopped. Default `None`.
    pub duration: Option<Duration>,
    /// Repeats a run: the same orders at the same times since the start. Take a random one otherwise,
    /// or order ids repeat too.
    pub seed: u64,
    /// An even pace instead of one with rushes. Default false.
    pub steady: bool,
}

impl OrdersOptions {
    /// The defaults with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            kafka: "127.0.0.1:9092".to_owned(),
            rate: 2_246.0,
            duration: None,
            seed,
            steady: false,
        }
    }

    /// All problems at once; empty when there are none.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(0.1..=500_000.0).contains(&self.rate) {
            problems.push(format!(
                "a rate of {} is not between 0.1 and 500000 a second",
                self.rate
            ));
        }
        if self.duration == Some(Duration::ZERO) {
            problems.push("a duration of 0 plays nothing".to_owned());
        }
        if !self.kafka.contains(':') {
            problems.push(format!("'{}' is not HOST:PORT", self.kafka));
        }
        problems
    }
}

/// Plays the shop until its duration is over or `stop` is cancelled, then waits for the last
/// acknowledgements. Calls `on_progress` once a second.
///
/// # Errors
/// [`Error`] by its variants. What was acknowledged until then stays.
pub async fn play_orders(
    options: &OrdersOptions,
    clock: DynClock,
    stop: CancellationToken,
    on_progress: impl FnMut(&Progress) + Send,
) -> Result<Summary, Error> {
    let problems = options.validate();
    if !problems.is_empty() {
        return Err(Error::Options { problems });
    }
    let (producer, producer_id, partitions) = prepare(&options.kafka).await?;
    let start = clock.monotonic();
    let mut player = Player {
        shop: Shop::new(options.seed),
        schedule: Schedule::new(options.rate, options.seed, options.steady),
        writer: Writer::new(options.seed, clock.now()),
        topic: topic(),
        lots: partitions.into_iter().map(Lot::new).collect(),
        producer_id,
        producer,
        flights: VecDeque::new(),
        tally: Tally::new(),
        next_report: REPORT_EVERY,
        options,
        clock,
        start,
        on_progress,
    };
    player.play(&stop).await?;
    player.drain().await?;
    Ok(player.tally.summary(player.now(), options.seed))
}

/// Connects, makes sure that the topic is there, and gets a producer id.
async fn prepare(address: &str) -> Result<(Producer, (i64, i16), Vec<PartitionId>), Error> {
    let unreachable = |source| Error::NoServer {
        address: address.to_owned(),
        source,
    };
    let connection = connect(address).await.map_err(unreachable)?;
    let admin = Admin::new(connection.clone());
    let topic = topic();
    let failed = |source| Error::Topic {
        topic: topic.clone(),
        source,
    };
    let created = admin.create_topic(&topic, ORDERS_PARTITIONS).await;
    let found = admin
        .topics(Some(std::slice::from_ref(&topic)))
        .await
        .map_err(failed)?;
    let count = match (found.iter().find(|found| found.name == topic), created) {
        (Some(found), _) if found.partitions > 0 => found.partitions,
        (_, Err(error)) => return Err(failed(error)),
        // Created a moment ago, so it is there even if the list is older.
        (_, Ok(())) => ORDERS_PARTITIONS,
    };
    let producer_id = admin.new_producer_id().await.map_err(Error::Refused)?;
    let partitions = (0..count).map(PartitionId::new).collect();
    Ok((
        Producer::new(connection, Acks::All),
        producer_id,
        partitions,
    ))
}

async fn connect(address: &str) -> Result<Connection, kafka_client::Error> {
    let options = Options {
        client_id: "lantern-demo".to_owned(),
        ..Options::default()
    };
    Connection::open(address, options).await
}

#[expect(
    clippy::expect_used,
    reason = "the name is a constant that follows the rule"
)]
fn topic() -> TopicName {
    TopicName::new(ORDERS_TOPIC).expect("'orders' is a topic name")
}

/// Events of one partition that gather for a batch.
#[derive(Debug)]
struct Lot {
    to: PartitionId,
    builder: BatchBuilder,
    /// When each was meant to happen.
    intended: Vec<Duration>,
    next_sequence: i32,
}

impl Lot {
    fn new(to: PartitionId) -> Self {
        let builder = BatchBuilder::new(Compression::None);
        Self {
            to,
            builder,
            intended: Vec::new(),
            next_sequence: 0,
        }
    }

    /// The batch, numbered for an idempotent server; nothing gathers afterwards.
    fn close(&mut self, (id, epoch): (i64, i16)) -> (CheckedBatch, Vec<Duration>) {
        let mut builder =
            std::mem::replace(&mut self.builder, BatchBuilder::new(Compression::None));
        builder.producer(id, epoch, self.next_sequence);
        let count = i32::try_from(builder.len()).unwrap_or(i32::MAX);
        // After 2^31 events the numbers start over, as Kafka's producers do.
        self.next_sequence = self.next_sequence.wrapping_add(count) & i32::MAX;
        (builder.build(), std::mem::take(&mut self.intended))
    }
}

type Acknowledgement = Pin<Box<dyn Future<Output = Result<Ack, kafka_client::Error>> + Send>>;

/// Batches on their way in one request, at most one for each partition.
struct Flight {
    batches: Vec<(PartitionId, CheckedBatch)>,
    intended: Vec<Duration>,
    ack: Acknowledgement,
}

struct Player<'a, P> {
    shop: Shop,
    schedule: Schedule,
    writer: Writer,
    topic: TopicName,
    lots: Vec<Lot>,
    producer_id: (i64, i16),
    producer: Producer,
    flights: VecDeque<Flight>,
    tally: Tally,
    next_report: Duration,
    options: &'a OrdersOptions,
    clock: DynClock,
    start: Duration,
    on_progress: P,
}

impl<P: FnMut(&Progress) + Send> Player<'_, P> {
    /// Time since the start.
    fn now(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }

    async fn play(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let linger = if self.options.rate <= IMMEDIATE_RATE {
            Duration::ZERO
        } else {
            LINGER
        };
        let end = self.options.duration.unwrap_or(Duration::MAX);
        let mut next_send = Duration::ZERO;
        loop {
            let now = self.now();
            self.report_if_due(now, false);
            let room = self.flights.len() < IN_FLIGHT_MAX;
            if room && now >= next_send {
                self.fill(now, end);
                self.send_lots(stop).await?;
                next_send = now + linger;
            }
            let next_event = self.schedule.peek().at;
            if stop.is_cancelled() || next_event >= end {
                return Ok(());
            }
            let room = self.flights.len() < IN_FLIGHT_MAX;
            let work = next_send.max(next_event);
            let wake = self
                .next_report
                .min(if room { work } else { Duration::MAX });
            let pause = wake.saturating_sub(self.now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                answer = first_ack(&mut self.flights) => self.landed(answer, stop).await?,
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// Takes what is due by `now` and before `end` from the schedule into the lots.
    fn fill(&mut self, now: Duration, end: Duration) {
        for _ in 0..EVENTS_PER_TURN {
            let next = self.schedule.peek().at;
            if next > now || next >= end {
                return;
            }
            if self
                .lots
                .iter()
                .any(|lot| lot.builder.size() >= BATCH_BYTES)
            {
                return;
            }
            let slot = self.schedule.take();
            let event = self.shop.next(slot.at, slot.rush);
            let partitions = u32::try_from(self.lots.len()).unwrap_or(u32::MAX);
            let place = model::partition_of(self.writer.key(&event), partitions).get();
            if let Some(lot) = self
                .lots
                .get_mut(usize::try_from(place).unwrap_or_default())
            {
                self.writer.write(&event, &mut lot.builder);
                lot.intended.push(slot.at);
                self.tally.happened(event.status);
            }
        }
    }

    async fn send_lots(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let mut batches = Vec::with_capacity(self.lots.len());
        let mut intended = Vec::new();
        for lot in self.lots.iter_mut().filter(|lot| !lot.builder.is_empty()) {
            let (batch, meant) = lot.close(self.producer_id);
            batches.push((lot.to, batch));
            intended.extend(meant);
        }
        if batches.is_empty() {
            return Ok(());
        }
        self.tally.sent += u64::try_from(intended.len()).unwrap_or_default();
        let sent = self
            .producer
            .enqueue_all(&self.topic, batches.clone())
            .await;
        let (ack, lost) = match sent {
            Ok(delivery) => (acknowledgement(delivery), None),
            Err(error) => (failed(error.clone()), Some(error)),
        };
        self.flights.push_back(Flight {
            batches,
            intended,
            ack,
        });
        match lost {
            Some(error) => self.reconnect(error, stop).await,
            None => Ok(()),
        }
    }

    /// The first request in flight was answered.
    async fn landed(
        &mut self,
        answer: Result<Ack, kafka_client::Error>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        match answer {
            Ok(_) => {
                let now = self.now();
                if let Some(flight) = self.flights.pop_front() {
                    for intended in flight.intended {
                        self.tally.acknowledged(now.saturating_sub(intended));
                    }
                }
                Ok(())
            }
            Err(error) => self.reconnect(error, stop).await,
        }
    }

    /// Makes the connection again and sends again what was not acknowledged; gives up on it when
    /// stopped meanwhile.
    async fn reconnect(
        &mut self,
        mut error: kafka_client::Error,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let since = self.now();
        self.tally.reconnects += 1;
        while is_lost(&error) {
            let now = self.now();
            self.report_if_due(now, true);
            if stop.is_cancelled() {
                // What is in flight stays unacknowledged, and the summary says so.
                self.flights.clear();
                return Ok(());
            }
            let after = now.saturating_sub(since);
            if after >= RECONNECT_FOR {
                let address = self.options.kafka.clone();
                return Err(Error::Lost {
                    address,
                    after,
                    source: error,
                });
            }
            match self.resend().await {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
            let pause = tokio::time::sleep(RECONNECT_EVERY);
            let _ = stop.run_until_cancelled(pause).await;
        }
        Err(Error::Refused(error))
    }

    async fn resend(&mut self) -> Result<(), kafka_client::Error> {
        let connection = connect(&self.options.kafka).await?;
        self.producer = Producer::new(connection, Acks::All);
        for flight in &mut self.flights {
            let delivery = self
                .producer
                .enqueue_all(&self.topic, flight.batches.clone())
                .await?;
            flight.ack = acknowledgement(delivery);
        }
        Ok(())
    }

    /// Waits for what is in flight; what is not acknowledged in time stays uncounted.
    async fn drain(&mut self) -> Result<(), Error> {
        let never = CancellationToken::new();
        let work = async {
            self.send_lots(&never).await?;
            while !self.flights.is_empty() {
                let answer = first_ack(&mut self.flights).await;
                self.landed(answer, &never).await?;
                let now = self.now();
                self.report_if_due(now, false);
            }
            Ok(())
        };
        tokio::time::timeout(DRAIN_FOR, work)
            .await
            .unwrap_or(Ok(()))
    }

    fn report_if_due(&mut self, now: Duration, reconnecting: bool) {
        if now >= self.next_report {
            let progress = self.tally.report(now, reconnecting);
            (self.on_progress)(&progress);
            while self.next_report <= now {
                self.next_report += REPORT_EVERY;
            }
        }
    }
}

/// The answer to the first batch in flight; never, when there is none. Cancel safe: the answer waits
/// in the queue.
async fn first_ack(flights: &mut VecDeque<Flight>) -> Result<Ack, kafka_client::Error> {
    match flights.front_mut() {
        Some(flight) => (&mut flight.ack).await,
        None => std::future::pending().await,
    }
}

fn acknowledgement(delivery: Delivery) -> Acknowledgement {
    Box::pin(delivery.acknowledged())
}

fn failed(error: kafka_client::Error) -> Acknowledgement {
    Box::pin(std::future::ready(Err(error)))
}

/// Whether the connection is gone, rather than the request refused.
fn is_lost(error: &kafka_client::Error) -> bool {
    use kafka_client::Error as E;
    match error {
        E::Connect { .. } | E::Advertised { .. } | E::Io(_) | E::Closed | E::Timeout { .. } => true,
        E::Unsupported { .. }
        | E::Refused { .. }
        | E::NoLeader { .. }
        | E::NotSent
        | E::Wire(_)
        | E::Answer { .. }
        | E::Batch(_) => false,
    }
}
