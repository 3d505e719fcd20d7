//! Reads partitions of a cluster from offsets on, wherever their leaders are.
//!
//! One fetch waits at each leader, on a connection of its own. An answer is taken only for partitions
//! that still stand where they stood when it was asked for, so that seeking and removing need not wait.
//! Bounded: at most one answer of [`ConsumerOptions::bytes_max`] is held for each leader.
//!
//! Trouble that may pass (a leader that moved, a server that restarts) is told once, then waited out;
//! the caller decides when it has waited enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::messages::fetch_response::PartitionData;
use kafka_wire::messages::{FetchRequest, FetchResponse};
use kafka_wire::{Api, ErrorCode};
use model::{Offset, TopicPartition};
use record::CheckedBatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::aborted::{Aborted, visible};
use crate::admin::named;
use crate::consumer::fetch_request;
use crate::error::check;
use crate::{Cluster, Connection, ConsumerOptions, Error, Fetched, Options};

/// How long to wait after trouble before asking again.
const BACKOFF: Duration = Duration::from_millis(250);

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All that are readable, those of open and aborted transactions among them.
    Uncommitted,
    /// Those outside transactions and of committed ones.
    #[default]
    Committed,
}

impl Isolation {
    pub(crate) const fn number(self) -> i8 {
        match self {
            Self::Uncommitted => 0,
            Self::Committed => 1,
        }
    }
}

/// What a reader came upon.
#[derive(Debug)]
pub enum Step {
    /// Batches, in the order of each partition; none when the servers had nothing new.
    Batches(Vec<Fetched>),
    /// An offset that the partition does not have (any more): seek to one that it has.
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        asked: Offset,
    },
    /// Something failed that may pass; reading goes on by itself. Told each time that it fails.
    Trouble(Error),
}

/// Reads partitions of a cluster.
#[derive(Debug)]
pub struct Reader {
    cluster: Cluster,
    options: ConsumerOptions,
    isolation: Isolation,
    positions: BTreeMap<TopicPartition, Offset>,
    leaders: BTreeMap<TopicPartition, i32>,
    connections: BTreeMap<i32, Connection>,
    flights: JoinSet<Flight>,
    flying: BTreeSet<i32>,
    not_before: Option<Instant>,
    /// What one answer had beside its batches.
    ahead: Vec<Step>,
}

/// One fetch and its answer.
#[derive(Debug)]
struct Flight {
    leader: i32,
    asked: BTreeMap<TopicPartition, Offset>,
    answer: Result<FetchResponse, Error>,
}

impl Reader {
    /// Reads nothing yet.
    pub fn new(cluster: Cluster, options: ConsumerOptions, isolation: Isolation) -> Self {
        Self {
            cluster,
            options,
            isolation,
            positions: BTreeMap::new(),
            leaders: BTreeMap::new(),
            connections: BTreeMap::new(),
            flights: JoinSet::new(),
            flying: BTreeSet::new(),
            not_before: None,
            ahead: Vec::new(),
        }
    }

    /// Reads a partition from `offset` on.
    pub fn seek(&mut self, at: TopicPartition, offset: Offset) {
        self.positions.insert(at, offset);
    }

    /// Reads a partition no more.
    pub fn remove(&mut self, at: &TopicPartition) {
        self.positions.remove(at);
    }

    /// Reads nothing more.
    pub fn clear(&mut self) {
        self.positions.clear();
    }

    /// The partitions that are read, and the offset that is read next in each.
    pub fn positions(&self) -> &BTreeMap<TopicPartition, Offset> {
        &self.positions
    }

    /// What comes next; waits for ever when no partition is read. May be dropped at any point without
    /// losing anything.
    ///
    /// # Errors
    /// Those that do not pass: [`Error::Refused`], [`Error::Batch`], [`Error::Unsupported`].
    pub async fn next(&mut self) -> Result<Step, Error> {
        if let Some(step) = self.ahead.pop() {
            return Ok(step);
        }
        loop {
            if let Some(until) = self.not_before {
                sleep_until(until).await;
                self.not_before = None;
            }
            if let Err(error) = self.launch().await {
                return self.trouble(error);
            }
            match self.flights.join_next().await {
                Some(Ok(flight)) => {
                    self.flying.remove(&flight.leader);
                    return self.land(flight);
                }
                // A fetch is never aborted and does not panic; should it, it is asked again.
                Some(Err(_ended)) => self.flying.clear(),
                None => std::future::pending().await,
            }
        }
    }

    /// Sees to it that a fetch waits at each leader.
    async fn launch(&mut self) -> Result<(), Error> {
        let positions = &self.positions;
        self.leaders.retain(|at, _| positions.contains_key(at));
        if positions.keys().any(|at| !self.leaders.contains_key(at)) {
            self.leaders = self.cluster.leaders(positions.keys()).await?;
        }
        let wanted: BTreeSet<i32> = self.leaders.values().copied().collect();
        for leader in wanted {
            if self.flying.contains(&leader) {
                continue;
            }
            let connection = self.connection(leader).await?;
            let of_leader = self.positions.iter().filter(|(at, _)| {
                let known = self.leaders.get(*at);
                known == Some(&leader)
            });
            let asked: BTreeMap<_, _> = of_leader
                .map(|(at, offset)| (at.clone(), *offset))
                .collect();
            let request = fetch_request(&self.options, self.isolation, &asked);
            self.flying.insert(leader);
            self.flights
                .spawn(fetch(leader, connection, request, asked));
        }
        Ok(())
    }

    async fn connection(&mut self, leader: i32) -> Result<Connection, Error> {
        let open = self.connections.get(&leader);
        if let Some(open) = open.filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let shared = self.cluster.options();
        let patient = Options {
            timeout: shared.timeout.max(self.options.wait_max * 2),
            ..shared.clone()
        };
        let open = self.cluster.open(leader, patient).await?;
        self.connections.insert(leader, open.clone());
        Ok(open)
    }

    /// Waits a little and looks for the leaders anew, if it is trouble that may pass.
    fn trouble(&mut self, error: Error) -> Result<Step, Error> {
        let gone = error.code() == Some(ErrorCode::UnknownTopicOrPartition);
        if !error.is_passing() || gone {
            return Err(error);
        }
        self.leaders.clear();
        self.not_before = Some(Instant::now() + BACKOFF);
        Ok(Step::Trouble(error))
    }

    fn land(&mut self, flight: Flight) -> Result<Step, Error> {
        let Flight {
            leader,
            asked,
            answer,
        } = flight;
        let answer = answer.and_then(|answer| {
            check(Api::Fetch, answer.error_code, None)?;
            Ok(answer)
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.connections.remove(&leader);
                return self.trouble(error);
            }
        };
        let mut fetched = Vec::new();
        for topic in answer.responses {
            for data in topic.partitions {
                let at = named(&topic.topic, data.partition_index, Api::Fetch)?;
                let from = asked.get(&at).copied();
                // Removed or sought meanwhile: what was asked for is no longer wanted.
                let Some(from) = from.filter(|from| self.positions.get(&at) == Some(from)) else {
                    continue;
                };
                self.take(at, from, data, &mut fetched)?;
            }
        }
        Ok(Step::Batches(fetched))
    }

    fn take(
        &mut self,
        at: TopicPartition,
        from: Offset,
        data: PartitionData,
        fetched: &mut Vec<Fetched>,
    ) -> Result<(), Error> {
        match check(Api::Fetch, data.error_code, Some(at.topic.as_str())) {
            Ok(()) => (),
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                self.ahead.push(Step::OutOfRange {
                    partition: at,
                    asked: from,
                });
                return Ok(());
            }
            // Whether it is really gone is told by the metadata that is asked for next.
            Err(error) if error.is_passing() => {
                self.leaders.remove(&at);
                self.not_before = Some(Instant::now() + BACKOFF);
                self.ahead.push(Step::Trouble(error));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let batches = batches(data.records.unwrap_or_default(), from)?;
        let next = batches
            .last()
            .map_or(from, |last| last.next_offset().max(from));
        if !batches.is_empty() {
            self.positions.insert(at.clone(), next);
        }
        let aborted = match self.isolation {
            Isolation::Uncommitted => Vec::new(),
            Isolation::Committed => {
                let named = data.aborted_transactions.unwrap_or_default().into_iter();
                named.map(Aborted::from).collect()
            }
        };
        let batches = visible(batches, aborted);
        if !batches.is_empty() {
            fetched.push(Fetched {
                partition: at,
                from,
                next,
                batches,
                high_watermark: Offset::from_i64(data.high_watermark).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

async fn fetch(
    leader: i32,
    connection: Connection,
    request: FetchRequest,
    asked: BTreeMap<TopicPartition, Offset>,
) -> Flight {
    let answer = connection.call(Api::Fetch, &request).await;
    Flight {
        leader,
        asked,
        answer,
    }
}

/// The batches in `bytes` that hold anything at or after `from`.
pub(crate) fn batches(bytes: Bytes, from: Offset) -> Result<Vec<CheckedBatch>, Error> {
    let mut batches = Vec::new();
    for batch in record::Batches::new(bytes) {
        let batch = batch.map_err(|error| Error::Batch(Arc::new(error)))?;
        if batch.last_offset() >= from {
            batches.push(batch);
        }
    }
    Ok(batches)
}
