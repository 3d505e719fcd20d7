//! Sending dead letters again.
//!
//! A letter goes back to the topic and partition it came from, as the record it was, with one header more:
//! `x-listener`, so that only the listener that gave it up gets it; other readers of that topic see it as one more
//! record. What was sent is remembered like the progress of a group ([`GROUP`]), out of order where a filter chose,
//! so that the next replay does not send it twice.
//!
//! Invariants: one replay of a topic goes on at a time ([`Replays`]), as two would not know of each other; nothing is sent
//! that could not be remembered, so a filter that leaves too many gaps ends a replay before its note is full.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::{Broker, Commit, Durability};
use delivery::{Finished, Hlc, Passed};
use env::Clock;
use flow::{Rate, TokenBucket};
use model::{GroupId, PartitionId, Position, Timestamp, TopicName, TopicPartition};
use parking_lot::Mutex;
use record::{BatchBuilder, Compression, Record, SharedRecord};
use serde::Serialize;
use tokio::sync::watch;

use crate::headers;
use crate::letters::{Filter, LetterError, Walk, origin, shown, text};
use crate::meaning::hlc;

/// The group whose progress tells what was sent again.
pub(crate) const GROUP: &str = "lantern-dlq-replay";

/// Bytes of the note that tells what was sent out of order: what Kafka's oldest answers of offsets can carry, and a margin.
const NOTE_BYTES_MAX: usize = 24 << 10;

/// Replays that go on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replays {
    by_topic: Arc<Mutex<BTreeMap<TopicName, UnderWay>>>,
}

/// One of them.
#[derive(Debug)]
struct UnderWay {
    since: Timestamp,
    told: watch::Receiver<Replayed>,
}

/// The right to replay a topic, until it is dropped.
pub(crate) struct Turn {
    replays: Replays,
    topic: TopicName,
}

impl Replays {
    /// Begins a replay if no other goes on.
    pub(crate) fn begin(
        &self,
        topic: &TopicName,
        now: Timestamp,
        told: &watch::Sender<Replayed>,
    ) -> Result<Turn, LetterError> {
        let mut by_topic = self.by_topic.lock();
        if let Some(other) = by_topic.get(topic) {
            return Err(LetterError::ReplayRunning {
                topic: topic.clone(),
                since: shown(other.since),
                sent: other.told.borrow().sent,
            });
        }
        let under_way = UnderWay {
            since: now,
            told: told.subscribe(),
        };
        by_topic.insert(topic.clone(), under_way);
        Ok(Turn {
            replays: self.clone(),
            topic: topic.clone(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.replays.by_topic.lock().remove(&self.topic);
    }
}

/// What to send again.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Which letters.
    pub filter: Filter,
    /// Most letters a second.
    pub rate: Option<Rate>,
    /// Also those that were sent before.
    pub again: bool,
    /// Counts only.
    pub dry_run: bool,
}

/// How far a replay is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Letters looked at.
    pub seen: u64,
    /// Letters sent (or that would be, in a dry run).
    pub sent: u64,
    /// Letters the filter left out.
    pub left_out: u64,
    /// Letters that were sent before.
    pub before: u64,
    /// Records that are no letters.
    pub no_letters: u64,
}

/// Sends the letters of a topic, oldest first; tells how far it is by `told`.
pub(crate) async fn replay(
    broker: &dyn Broker,
    clock: &dyn Clock,
    topic: &TopicName,
    replay: &Replay,
    told: &watch::Sender<Replayed>,
) -> Result<Replayed, LetterError> {
    let info = broker
        .topic(topic)
        .ok_or_else(|| broker::Error::UnknownTopic {
            topic: topic.clone(),
        })?;
    let mut run = Run {
        broker,
        clock,
        replay,
        bucket: replay.rate.map(TokenBucket::new),
        replayed: Replayed::default(),
        told,
    };
    for number in (0..info.partitions).map(PartitionId::new) {
        run.partition(&TopicPartition::new(topic.clone(), number))
            .await?;
    }
    Ok(run.replayed)
}

struct Run<'r> {
    broker: &'r dyn Broker,
    clock: &'r dyn Clock,
    replay: &'r Replay,
    bucket: Option<TokenBucket>,
    replayed: Replayed,
    told: &'r watch::Sender<Replayed>,
}

impl Run<'_> {
    async fn partition(&mut self, at: &TopicPartition) -> Result<(), LetterError> {
        let (position, known) = self.known(at).await?;
        let start = self.broker.marks(at).await?.log_start;
        let mut progress = Passed::at(position.max(start));
        let from = if self.replay.again {
            start
        } else {
            position.max(start)
        };
        if !self.replay.again {
            let before = Walk::new(self.broker, at, start).await?;
            self.replayed.before += before.until(position).count().await?;
        }
        let mut walk = Walk::new(self.broker, at, from).await?;
        loop {
            let some = walk.next().await?;
            if some.is_empty() {
                break;
            }
            for shared in some {
                if let Err(error) = self.letter(at, &shared, &known, &mut progress).await {
                    self.commit(at, &progress, &known).await?;
                    return Err(error);
                }
                self.told.send_replace(self.replayed);
            }
            self.commit(at, &progress, &known).await?;
        }
        Ok(())
    }

    /// Sends one, if it is meant, and remembers that.
    async fn letter(
        &mut self,
        at: &TopicPartition,
        shared: &SharedRecord,
        known: &Finished,
        progress: &mut Passed,
    ) -> Result<(), LetterError> {
        let Some(record) = shared.get() else {
            return Ok(());
        };
        self.replayed.seen += 1;
        let place = Position::from(record.offset);
        // What lies before the progress was sent, and is not to be remembered again.
        let tracked = place >= progress.read_end();
        let mut may_send = || !tracked || progress.may_finish(known, NOTE_BYTES_MAX);
        let done = self
            .one(at, &record, known.contains(place), &mut may_send)
            .await?;
        if tracked {
            progress.pass(place, Position::from(record.offset.next()), done);
        }
        Ok(())
    }

    /// Whether the letter is done with: sent now, or before.
    async fn one(
        &mut self,
        at: &TopicPartition,
        record: &Record<'_>,
        known: bool,
        may_send: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<bool, LetterError> {
        let listener = text(record, headers::DLQ_LISTENER);
        let (Some(origin), Some(listener)) = (origin(record), listener) else {
            self.replayed.no_letters += 1;
            return Ok(true);
        };
        if known && !self.replay.again {
            self.replayed.before += 1;
            return Ok(true);
        }
        if !self.replay.filter.meets(record) {
            self.replayed.left_out += 1;
            return Ok(known);
        }
        let gone = || LetterError::OriginGone {
            partition: at.clone(),
            offset: record.offset.get(),
            origin: origin.topic.clone(),
        };
        let name: TopicName = origin.topic.parse().map_err(|_| gone())?;
        if name.is_internal() {
            // Any client may write letters, and only Lantern its own state.
            return Err(LetterError::OriginInternal {
                partition: at.clone(),
                offset: record.offset.get(),
                origin: name,
            });
        }
        let info = self.broker.topic(&name).ok_or_else(gone)?;
        if !may_send() {
            return Err(LetterError::TooScattered {
                partition: at.clone(),
                offset: record.offset.get(),
            });
        }
        self.replayed.sent += 1;
        if self.replay.dry_run {
            return Ok(known);
        }
        if let Some(bucket) = &mut self.bucket {
            let now = self.clock.monotonic();
            let wait = bucket.delay(now);
            bucket.charge(1, now);
            tokio::time::sleep(wait).await;
        }
        let partition = PartitionId::new(origin.partition % info.partitions.max(1));
        let batches = vec![self.batch(record, &listener)];
        let to = TopicPartition::new(name, partition);
        self.broker
            .append(&to, batches, Durability::Flushed)
            .await?;
        Ok(true)
    }

    /// The record as it was, and whom it is for.
    fn batch(&self, record: &Record<'_>, listener: &str) -> record::CheckedBatch {
        let now = self.clock.now();
        let after = hlc(record).after(now).to_string();
        let own = |name: &str| {
            name.starts_with(headers::DLQ_PREFIX)
                || [
                    Hlc::HEADER,
                    headers::LISTENER,
                    headers::DEADLINE,
                    headers::ARRIVAL,
                    headers::DELIVER_AT,
                ]
                .contains(&name)
        };
        // Its deadline has passed, or soon will: a replay is wanted now, and its time to live begins anew.
        let mut all: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .filter(|(name, _)| !own(name))
            .collect();
        all.push((headers::LISTENER, Some(listener.as_bytes())));
        all.push((Hlc::HEADER, Some(after.as_bytes())));
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(now, record.key, record.value, &all);
        builder.build()
    }

    async fn known(&self, at: &TopicPartition) -> Result<(Position, Finished), LetterError> {
        let committed = self
            .broker
            .committed(&group(), Some(vec![at.clone()]))
            .await?;
        let commit = committed.into_iter().find_map(|(_, commit)| commit);
        Ok(commit.map_or_else(Default::default, |commit| {
            let finished = Finished::read(commit.position, &commit.metadata);
            (commit.position, finished)
        }))
    }

    async fn commit(
        &self,
        at: &TopicPartition,
        progress: &Passed,
        known: &Finished,
    ) -> Result<(), LetterError> {
        if self.replay.dry_run {
            return Ok(());
        }
        let commit = Commit {
            position: progress.position(),
            leader_epoch: None,
            metadata: progress.finished(known).note_within(NOTE_BYTES_MAX),
            at: self.clock.now(),
        };
        self.broker
            .commit(&group(), vec![(at.clone(), commit)])
            .await?;
        Ok(())
    }
}

#[expect(clippy::expect_used, reason = "a constant that a test reads")]
fn group() -> GroupId {
    GROUP.parse().expect("the name is a group's")
}
