//! Batches out, acknowledgements back, many at a time.

use std::time::Duration;

use kafka_wire::Api;
use kafka_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{ProduceRequest, ProduceResponse};
use model::{Offset, PartitionId, TopicName, TopicPartition};
use record::CheckedBatch;
use tokio::time::Instant;

use crate::admin::{wire_index, wire_name};
use crate::connection::Pending;
use crate::error::check;
use crate::{Connection, Error, Options};

/// How long the server may wait for durability, in milliseconds.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// What a batch's acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// There is none: sent is all that is known.
    None,
    /// The server has it.
    Leader,
    /// It is as durable as the topic asks.
    All,
}

/// Sends batches. Clones share the connection and its order.
#[derive(Debug, Clone)]
pub struct Producer {
    connection: Connection,
    acks: Acks,
}

/// What one request took with it, on its way.
#[derive(Debug)]
pub struct Delivery {
    sent: Instant,
    pending: Option<Pending>,
    batches: usize,
    /// Where the first batch went.
    first: i32,
}

/// An acknowledged request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Offset of the first record of its first batch; 0 without acks.
    pub base_offset: Offset,
    /// From handing it to the connection to the acknowledgement.
    pub latency: Duration,
    /// How long the server asks this client to send nothing.
    pub throttle: Duration,
}

impl Producer {
    /// Over a connection of its own, with all acks.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        let connection = Connection::open(address, Options::default()).await?;
        Ok(Self::new(connection, Acks::All))
    }

    /// Over this connection.
    pub fn new(connection: Connection, acks: Acks) -> Self {
        Self { connection, acks }
    }

    /// Sends one batch, waits for its acknowledgement and answers the offset of its first record.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn send(&self, to: &TopicPartition, batch: CheckedBatch) -> Result<Offset, Error> {
        let ack = self.enqueue(to, batch).await?.acknowledged().await?;
        Ok(ack.base_offset)
    }

    /// Sends one batch; waits only for room among the requests in flight.
    ///
    /// Batches are written in the order in which they are enqueued.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn enqueue(
        &self,
        to: &TopicPartition,
        batch: CheckedBatch,
    ) -> Result<Delivery, Error> {
        self.enqueue_all(&to.topic, [(to.partition, batch)]).await
    }

    /// Sends one batch to each of some partitions in one request, as it costs the server less than
    /// one request each; waits only for room among the requests in flight.
    ///
    /// Batches of one partition are written in the order in which they are enqueued. What becomes
    /// of one batch says nothing about the others. There is at least one, and of each partition at
    /// most one.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn enqueue_all(
        &self,
        topic: &TopicName,
        batches: impl IntoIterator<Item = (PartitionId, CheckedBatch)>,
    ) -> Result<Delivery, Error> {
        let data: Vec<PartitionProduceData> = batches
            .into_iter()
            .map(|(partition, batch)| {
                PartitionProduceData::default()
                    .with_index(wire_index(partition))
                    .with_records(Some(batch.into_bytes()))
            })
            .collect();
        let batches = data.len();
        let first = data.first().map_or(0, |data| data.index);
        let data = TopicProduceData::default()
            .with_name(wire_name(topic))
            .with_partition_data(data);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(match self.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            })
            .with_timeout_ms(PRODUCE_TIMEOUT_MS)
            .with_topic_data(vec![data]);
        let sent = Instant::now();
        let pending = if self.acks == Acks::None {
            self.connection
                .send_unanswered(Api::Produce, &request)
                .await?;
            None
        } else {
            Some(self.connection.send(Api::Produce, &request).await?)
        };
        Ok(Delivery {
            sent,
            pending,
            batches,
            first,
        })
    }
}

impl Delivery {
    /// Waits until every batch of the request is acknowledged.
    ///
    /// # Errors
    /// [`Error::Refused`] if one of them is; those of [`Connection::call`].
    pub async fn acknowledged(self) -> Result<Ack, Error> {
        let Some(pending) = self.pending else {
            return Ok(Ack {
                base_offset: Offset::ZERO,
                latency: self.sent.elapsed(),
                throttle: Duration::ZERO,
            });
        };
        let answer: ProduceResponse = pending.body().await?;
        let latency = self.sent.elapsed();
        let answers = answer.responses.first();
        let answers = answers.map_or(&[][..], |topic| &topic.partition_responses);
        let first = answers.iter().find(|one| one.index == self.first);
        let Some(first) = first.filter(|_| answers.len() == self.batches) else {
            return Err(Error::Answer {
                api: Api::Produce,
                reason: "a partition produced to is missing",
            });
        };
        for one in answers {
            check(Api::Produce, one.error_code, one.error_message.as_deref())?;
        }
        Ok(Ack {
            base_offset: Offset::from_i64(first.base_offset).unwrap_or_default(),
            latency,
            throttle: Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap_or(0)),
        })
    }
}
