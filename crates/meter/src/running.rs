//! One meter at work: where it stands in its topic, and how it goes on.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use broker::{Broker, DynBroker, Place, ReadLimit, Tail, TopicInfo, read_committed};
use model::{PartitionId, Position, Timestamp, TopicPartition};
use record::{Batches, Record};
use serde_json::Value;
use tracing::warn;

use crate::field::Event;
use crate::snapshot::{Progress, Snapshot};
use crate::spec::Meter;
use crate::tally::Tally;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes counted of one meter before others get their turn.
const TURN_BYTES: usize = 16 << 20;

pub(crate) const READ_LIMIT: ReadLimit = ReadLimit {
    bytes: READ_BYTES,
    at_least_one: true,
};

/// One meter at work.
pub(crate) struct Running {
    pub(crate) meter: Meter,
    pub(crate) tally: Tally,
    /// Absent until the topic is there.
    pub(crate) progress: Option<Progress>,
    /// Counted up to the end of the topic at least once: its samples may be written.
    pub(crate) caught_up: bool,
    pub(crate) changed: bool,
    pub(crate) written: Option<Timestamp>,
    /// The topic's partitions, from the first time they are counted.
    tails: BTreeMap<PartitionId, Tail>,
}

impl Running {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            meter: meter.clone(),
            tally: Tally::new(meter),
            progress: None,
            caught_up: false,
            changed: true,
            written: None,
            tails: BTreeMap::new(),
        }
    }

    /// The same meter with other metrics: values of those that stay are kept, new ones begin here.
    pub(crate) fn changed_to(self, meter: &Meter) -> Self {
        let mut snapshot = Snapshot::new();
        let mut tally = Tally::new(meter);
        if let Some(progress) = &self.progress {
            snapshot.put(&meter.name, progress, &self.tally);
            snapshot.take(&meter.name, &progress.topic, &mut tally);
        }
        Self {
            meter: meter.clone(),
            tally,
            changed: true,
            ..self
        }
    }

    /// Starts where the snapshot stood, or at the oldest record.
    pub(crate) async fn begin(
        &mut self,
        broker: &dyn Broker,
        topic: &TopicInfo,
        restored: &mut Snapshot,
        now: Timestamp,
        lookback: Duration,
    ) -> Result<(), broker::Error> {
        let id = topic.id.to_string();
        self.tally = Tally::new(&self.meter);
        self.caught_up = false;
        // They may be of an older topic of that name.
        self.tails.clear();
        let progress = restored.take(&self.meter.name, &id, &mut self.tally);
        if let Some(progress) = &progress {
            for (partition, until) in &progress.positions {
                let at = TopicPartition::new(topic.name.clone(), *partition);
                let found = broker.find(&at, Place::Time(now.minus(lookback))).await?;
                if let Some(found) = found {
                    self.remember(broker, &at, found.position, *until).await?;
                }
            }
        }
        self.progress = Some(progress.unwrap_or(Progress {
            topic: id,
            ..Progress::default()
        }));
        Ok(())
    }

    /// Follows which keys wait in records that are counted already.
    async fn remember(
        &mut self,
        broker: &dyn Broker,
        at: &TopicPartition,
        mut from: Position,
        until: Position,
    ) -> Result<(), broker::Error> {
        while from < until {
            let fetched = read_committed(broker, at, from, READ_LIMIT).await?;
            if fetched.next <= from {
                break;
            }
            each_event(&fetched.batches, at, from, Some(until), |event| {
                self.tally.remember(event);
            });
            from = fetched.next;
        }
        Ok(())
    }

    /// Counts what came since, up to a bound.
    pub(crate) async fn advance(
        &mut self,
        broker: &DynBroker,
        topic: &TopicInfo,
    ) -> Result<(), broker::Error> {
        let Self {
            tally,
            progress,
            changed,
            tails,
            ..
        } = self;
        let Some(progress) = progress else {
            return Ok(());
        };
        let mut left = TURN_BYTES;
        let mut all = true;
        for partition in (0..topic.partitions).map(PartitionId::new) {
            let at = TopicPartition::new(topic.name.clone(), partition);
            let marks = broker.marks(&at).await?;
            // Records that retention took before they were counted are gone.
            let next = progress
                .positions
                .entry(partition)
                .or_insert(marks.log_start);
            *next = (*next).clamp(marks.log_start, marks.log_end);
            let tail = match tails.entry(partition) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let tail = Tail::new(DynBroker::clone(broker), at.clone(), *next)?;
                    new.insert(tail.with_bytes(READ_LIMIT.bytes))
                }
            };
            if tail.position() != *next {
                tail.seek(*next);
            }
            while *next < marks.high_watermark {
                if left == 0 {
                    all = false;
                    break;
                }
                // What was aborted is not counted, and what is open waits.
                let Some(fetched) = tail.try_next().await? else {
                    *changed |= tail.position() > *next;
                    *next = tail.position();
                    break;
                };
                left = left.saturating_sub(fetched.batches.len());
                each_event(&fetched.batches, &at, *next, None, |event| {
                    tally.count(event);
                });
                *next = fetched.next;
                *changed = true;
            }
        }
        if all && !self.caught_up {
            self.caught_up = true;
            self.changed = true;
        }
        Ok(())
    }
}

/// Calls `each` with the records from `from` on (a batch may begin before it) and before `until`.
fn each_event(
    batches: &bytes::Bytes,
    at: &TopicPartition,
    from: Position,
    until: Option<Position>,
    mut each: impl FnMut(&dyn Event),
) {
    for batch in Batches::new(batches.clone()) {
        let records = match batch.and_then(|batch| batch.records()) {
            Ok(records) => records,
            Err(error) => {
                warn!(partition = %at, %error, "A batch cannot be read and is not counted.");
                continue;
            }
        };
        for record in records.iter().flatten() {
            let position = Position::from(record.offset);
            if position >= from && until.is_none_or(|until| position < until) {
                each(&RecordEvent {
                    record,
                    json: OnceCell::new(),
                });
            }
        }
    }
}

struct RecordEvent<'r> {
    record: Record<'r>,
    json: OnceCell<Option<Value>>,
}

impl Event for RecordEvent<'_> {
    fn millis(&self) -> i64 {
        self.record.timestamp.millis()
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.key
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.record.headers.get(name).flatten()
    }

    fn json(&self) -> Option<&Value> {
        let parse = || serde_json::from_slice(self.record.value?).ok();
        self.json.get_or_init(parse).as_ref()
    }
}
