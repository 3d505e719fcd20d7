//! Batches in: a loop of fetches over partitions of the caller's choice.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire::Api;
use kafka_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::messages::{FetchRequest, FetchResponse};
use model::{Offset, PartitionId, TopicName, TopicPartition};
use record::CheckedBatch;

use crate::aborted::{Aborted, visible};
use crate::admin::{wire_index, wire_name};
use crate::error::check;
use crate::reader::batches;
use crate::{Admin, Connection, Error, Isolation, Options, Place};

/// How a consumer fetches.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How long the server may wait for `bytes_min`. Default 500 ms.
    pub wait_max: Duration,
    /// The server waits for so many bytes. Default 1.
    pub bytes_min: u32,
    /// Most bytes of one answer, and of one partition in it; one batch may exceed it. Default 8 MiB.
    pub bytes_max: u32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 8 << 20,
        }
    }
}

/// Reads partitions from offsets on. The connection is its own: a fetch waits at the server.
#[derive(Debug)]
pub struct Consumer {
    connection: Connection,
    options: ConsumerOptions,
    next: BTreeMap<TopicPartition, Offset>,
}

/// What came of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where it is from.
    pub partition: TopicPartition,
    /// The offset asked for: records before it are to be skipped, batches come whole.
    pub from: Offset,
    /// The batches, at least one; no markers of transactions, and nothing that was aborted.
    pub batches: Vec<CheckedBatch>,
    /// Where to read on: after the last batch, or after what was left out behind it.
    pub(crate) next: Offset,
    /// First offset not yet readable at the server.
    pub high_watermark: Offset,
}

impl Consumer {
    /// Over a connection of its own, reading nothing yet.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        let connection = Connection::open(address, Options::default()).await?;
        Ok(Self::new(connection, ConsumerOptions::default()))
    }

    /// Over this connection, reading nothing yet.
    pub fn new(connection: Connection, options: ConsumerOptions) -> Self {
        Self {
            connection,
            options,
            next: BTreeMap::new(),
        }
    }

    /// Where the readable records of a partition end.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn end(&self, of: &TopicPartition) -> Result<Offset, Error> {
        let end = Admin::new(self.connection.clone())
            .offset(of, Place::Latest)
            .await?;
        end.ok_or(Error::Answer {
            api: Api::ListOffsets,
            reason: "a partition has no end",
        })
    }

    /// One fetch of one partition: the batches from the one that holds `from`; none when nothing
    /// came in time.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn fetch(
        &self,
        at: &TopicPartition,
        from: Offset,
    ) -> Result<Vec<CheckedBatch>, Error> {
        let asked = BTreeMap::from([(at.clone(), from)]);
        let mut fetched = self.ask(&asked).await?;
        fetched.retain(|one| !one.batches.is_empty());
        Ok(fetched
            .pop()
            .map_or_else(Vec::new, |fetched| fetched.batches))
    }

    /// Reads a partition from `offset` on, from the next poll.
    pub fn seek(&mut self, at: TopicPartition, offset: Offset) {
        self.next.insert(at, offset);
    }

    /// The offset that the next poll reads.
    pub fn position(&self, of: &TopicPartition) -> Option<Offset> {
        self.next.get(of).copied()
    }

    /// The next batches of all partitions; empty when none came in time.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code of the first partition that failed, e.g.
    /// `OffsetOutOfRange`; [`Error::Batch`]; those of [`Connection::call`].
    pub async fn poll(&mut self) -> Result<Vec<Fetched>, Error> {
        let mut fetched = self.ask(&self.next).await?;
        for one in &fetched {
            self.next.insert(one.partition.clone(), one.next);
        }
        fetched.retain(|one| !one.batches.is_empty());
        Ok(fetched)
    }

    async fn ask(&self, asked: &BTreeMap<TopicPartition, Offset>) -> Result<Vec<Fetched>, Error> {
        let request = fetch_request(&self.options, Isolation::Committed, asked);
        let answer: FetchResponse = self.connection.call(Api::Fetch, &request).await?;
        check(Api::Fetch, answer.error_code, None)?;
        let strange = || Error::Answer {
            api: Api::Fetch,
            reason: "it has a partition that was not asked for",
        };
        let mut fetched = Vec::new();
        for topic in answer.responses {
            let name = TopicName::new(topic.topic.as_str()).map_err(|_| strange())?;
            for data in topic.partitions {
                check(Api::Fetch, data.error_code, Some(name.as_str()))?;
                let index = u32::try_from(data.partition_index).map_err(|_| strange())?;
                let partition = TopicPartition::new(name.clone(), PartitionId::new(index));
                let from = *asked.get(&partition).ok_or_else(strange)?;
                let batches = batches(data.records.unwrap_or_default(), from)?;
                if let Some(last) = batches.last() {
                    let aborted = data.aborted_transactions.unwrap_or_default().into_iter();
                    let aborted = aborted.map(Aborted::from).collect();
                    fetched.push(Fetched {
                        partition,
                        from,
                        next: last.next_offset().max(from),
                        batches: visible(batches, aborted),
                        high_watermark: Offset::from_i64(data.high_watermark).unwrap_or_default(),
                    });
                }
            }
        }
        Ok(fetched)
    }
}

/// A fetch of these partitions from these offsets on.
pub(crate) fn fetch_request(
    options: &ConsumerOptions,
    isolation: Isolation,
    asked: &BTreeMap<TopicPartition, Offset>,
) -> FetchRequest {
    let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (at, offset) in asked {
        let one = FetchPartition::default()
            .with_partition(wire_index(at.partition))
            .with_fetch_offset(offset.as_i64())
            .with_partition_max_bytes(signed(options.bytes_max));
        match topics.last_mut() {
            Some(last) if last.topic.as_str() == at.topic.as_str() => last.partitions.push(one),
            Some(_) | None => topics.push(
                FetchTopic::default()
                    .with_topic(wire_name(&at.topic))
                    .with_partitions(vec![one]),
            ),
        }
    }
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(i32::try_from(options.wait_max.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(signed(options.bytes_min))
        .with_max_bytes(signed(options.bytes_max))
        .with_isolation_level(isolation.number())
        .with_session_epoch(-1)
        .with_topics(topics)
}
