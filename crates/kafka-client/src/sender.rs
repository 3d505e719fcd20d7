//! Sends batches to the partitions of a topic, wherever their leaders are, and sends them again when that helps.
//!
//! ```text
//!              ┌─ lane of partition 0: queue ─> up to 5 in flight ─┐
//! Sender::send ┤                                                   ├─> Outcomes
//!              └─ lane of partition 1: …                           ┘
//! ```
//! Invariants: batches of a partition are written in the order in which they are sent; every batch has
//! exactly one outcome; at most [`SenderOptions::memory`] bytes wait for theirs. With all acks each lane
//! is an idempotent producer, so that what is sent again is not written twice. After a batch that failed
//! for good nothing more is sent to its partition ([`Error::NotSent`]): the order would be lost.
//! Source: KIP-98 (sequences, at most five batches in flight).

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::ErrorCode;
use model::{Offset, PartitionId, TopicName, TopicPartition};
use record::{BatchBuilder, CheckedBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use crate::cluster::BACKOFF;
use crate::{Ack, Acks, Admin, Cluster, Error, Producer};

/// Batches in flight in a partition: as many as servers recognise when they are sent again.
const IN_FLIGHT_MAX: usize = 5;

/// Batches that may wait in a partition's lane; when full, sending waits.
const LANE_BATCHES_MAX: usize = 8;

/// Outcomes that may wait to be taken; when full, lanes wait.
const OUTCOMES_MAX: usize = 256;

/// The unit in which memory is counted.
const MEMORY_UNIT: usize = 1 << 10;

/// How a sender behaves.
#[derive(Debug, Clone)]
pub struct SenderOptions {
    /// What an acknowledgement means. Default [`Acks::All`].
    pub acks: Acks,
    /// How long a batch is sent again before its failure is final. Default 30 s.
    pub give_up_after: Duration,
    /// Bytes of batches that may wait for their outcome; when reached, sending waits. Default 64 MiB.
    pub memory: usize,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            give_up_after: Duration::from_secs(30),
            memory: 64 << 20,
        }
    }
}

/// Sends batches to the partitions of one topic.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    lanes: BTreeMap<PartitionId, mpsc::Sender<Laden>>,
    room: Arc<Semaphore>,
    units_max: usize,
}

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    topic: TopicName,
    options: SenderOptions,
    /// With all acks from servers that give one.
    producer: Option<(i64, i16)>,
    outcomes: mpsc::Sender<Outcome>,
}

/// A batch to send, and what the caller knows it by.
#[derive(Debug)]
pub struct Load {
    /// Where to.
    pub partition: PartitionId,
    /// What, at least one record.
    pub batch: BatchBuilder,
    /// Comes back with the outcome.
    pub tag: u64,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// Where it was to go.
    pub partition: PartitionId,
    /// The caller's.
    pub tag: u64,
    /// Its records.
    pub records: usize,
    /// The offset of its first record, where the server said it; or why it is not known to be written.
    pub result: Result<Option<Offset>, Error>,
}

/// What became of the batches of a [`Sender`], in the order in which it became known.
#[derive(Debug)]
pub struct Outcomes {
    receiver: mpsc::Receiver<Outcome>,
}

impl Outcomes {
    /// The next outcome; none when the sender is gone and every batch has had its own.
    pub async fn next(&mut self) -> Option<Outcome> {
        self.receiver.recv().await
    }
}

struct Laden {
    load: Load,
    room: OwnedSemaphorePermit,
}

impl Sender {
    /// A sender to `topic`. Its outcomes must be taken for it to go on.
    ///
    /// # Errors
    /// Those of [`Admin::new_producer_id`], for all acks.
    pub async fn new(
        cluster: &Cluster,
        topic: TopicName,
        options: SenderOptions,
    ) -> Result<(Self, Outcomes), Error> {
        let producer = match options.acks {
            Acks::All => new_producer(cluster).await?,
            Acks::None | Acks::Leader => None,
        };
        let (outcomes, receiver) = mpsc::channel(OUTCOMES_MAX);
        let units_max = (options.memory / MEMORY_UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let sender = Self {
            shared: Arc::new(Shared {
                cluster: cluster.clone(),
                topic,
                options,
                producer,
                outcomes,
            }),
            lanes: BTreeMap::new(),
            room: Arc::new(Semaphore::new(units_max)),
            units_max,
        };
        Ok((sender, Outcomes { receiver }))
    }

    /// Sends a batch; waits for room. What becomes of it is told by [`Outcomes`].
    ///
    /// # Panics
    /// If the batch is empty.
    pub async fn send(&mut self, load: Load) {
        assert!(!load.batch.is_empty(), "a batch has at least one record");
        let units = load.batch.size().div_ceil(MEMORY_UNIT).min(self.units_max);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(units).await else {
            return;
        };
        let shared = &self.shared;
        let partition = load.partition;
        let lane = self.lanes.entry(partition).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(LANE_BATCHES_MAX);
            let at = TopicPartition::new(shared.topic.clone(), partition);
            tokio::spawn(Lane::new(Arc::clone(shared), at).run(queue));
            sender
        });
        // A lane ends only with its queue.
        drop(lane.send(Laden { load, room }).await);
    }
}

async fn new_producer(cluster: &Cluster) -> Result<Option<(i64, i16)>, Error> {
    let asked = crate::cluster::patiently(async || {
        let admin = Admin::new(cluster.any().await?);
        admin.new_producer_id().await
    });
    match asked.await {
        Ok(producer) => Ok(Some(producer)),
        Err(Error::Unsupported { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One partition's way out.
struct Lane {
    shared: Arc<Shared>,
    to: TopicPartition,
    producer: Option<Producer>,
    flights: VecDeque<Flight>,
    next_sequence: i32,
    failed: bool,
}

type Acknowledgement = Pin<Box<dyn Future<Output = Result<Ack, Error>> + Send>>;

struct Flight {
    batch: CheckedBatch,
    tag: u64,
    began: Instant,
    acknowledged: Acknowledgement,
    _room: OwnedSemaphorePermit,
}

impl Lane {
    fn new(shared: Arc<Shared>, to: TopicPartition) -> Self {
        Self {
            shared,
            to,
            producer: None,
            flights: VecDeque::new(),
            next_sequence: 0,
            failed: false,
        }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Laden>) {
        let mut open = true;
        while open || !self.flights.is_empty() {
            let room = open && self.flights.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                laden = queue.recv(), if room => match laden {
                    Some(laden) => self.begin(laden).await,
                    None => open = false,
                },
                answer = oldest(&mut self.flights) => self.land(answer).await,
            }
        }
    }

    async fn begin(&mut self, laden: Laden) {
        let Laden { mut load, room } = laden;
        let records = load.batch.len();
        if self.failed {
            self.tell(load.tag, records, Err(Error::NotSent)).await;
            return;
        }
        if let Some((id, epoch)) = self.shared.producer {
            load.batch.producer(id, epoch, self.next_sequence);
            let count = i32::try_from(records).unwrap_or(i32::MAX);
            // Sequences begin at 0 again after the largest.
            self.next_sequence = self.next_sequence.wrapping_add(count) & i32::MAX;
        }
        let batch = load.batch.build();
        let acknowledged = self.fly(&batch).await;
        self.flights.push_back(Flight {
            batch,
            tag: load.tag,
            began: Instant::now(),
            acknowledged,
            _room: room,
        });
    }

    /// Puts a batch on the wire, behind those before it.
    async fn fly(&mut self, batch: &CheckedBatch) -> Acknowledgement {
        let producer = match &self.producer {
            Some(producer) => producer.clone(),
            None => match self.producer().await {
                Ok(producer) => self.producer.insert(producer).clone(),
                Err(error) => return Box::pin(async { Err(error) }),
            },
        };
        match producer.enqueue(&self.to, batch.clone()).await {
            Ok(delivery) => Box::pin(delivery.acknowledged()),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn producer(&mut self) -> Result<Producer, Error> {
        let leaders = self.shared.cluster.leaders([&self.to]).await?;
        let leader = leaders.get(&self.to).ok_or_else(|| Error::NoLeader {
            partition: self.to.clone(),
        })?;
        let connection = self.shared.cluster.broker(*leader).await?;
        Ok(Producer::new(connection, self.shared.options.acks))
    }

    /// The oldest batch has its answer.
    async fn land(&mut self, answer: Result<Ack, Error>) {
        let Some(flight) = self.flights.front() else {
            return;
        };
        let result = match answer {
            Ok(ack) => Ok((self.shared.options.acks != Acks::None).then_some(ack.base_offset)),
            // It was sent again, and the first time had succeeded.
            Err(error) if error.code() == Some(ErrorCode::DuplicateSequenceNumber) => Ok(None),
            Err(error) => {
                let again = flight.began.elapsed() < self.shared.options.give_up_after;
                if error.is_passing() && again {
                    return self.fly_again().await;
                }
                Err(error)
            }
        };
        self.failed |= result.is_err();
        let Some(flight) = self.flights.pop_front() else {
            return;
        };
        let records = usize::try_from(flight.batch.record_count()).unwrap_or(usize::MAX);
        self.tell(flight.tag, records, result).await;
    }

    /// Sends everything in flight again in its order, to whoever leads now.
    async fn fly_again(&mut self) {
        self.producer = None;
        sleep(BACKOFF).await;
        let mut flights = std::mem::take(&mut self.flights);
        for flight in &mut flights {
            flight.acknowledged = self.fly(&flight.batch).await;
        }
        self.flights = flights;
    }

    async fn tell(&mut self, tag: u64, records: usize, result: Result<Option<Offset>, Error>) {
        let outcome = Outcome {
            partition: self.to.partition,
            tag,
            records,
            result,
        };
        // Who does not take outcomes does not mind.
        drop(self.shared.outcomes.send(outcome).await);
    }
}

/// The answer to the oldest batch in flight; never, without one.
async fn oldest(flights: &mut VecDeque<Flight>) -> Result<Ack, Error> {
    match flights.front_mut() {
        Some(flight) => flight.acknowledged.as_mut().await,
        None => std::future::pending().await,
    }
}
