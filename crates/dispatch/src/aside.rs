//! Records whose time has not come, kept in a topic of the listener's own: `lantern.delayed.NAME`.
//!
//! A record that is due in more than [`NEAR`] is copied there, with its coordinates in headers, and is finished in its own
//! topic: nobody waits behind it, and its topic's retention cannot take it. What is due when is decided by
//! [`delivery::Delayed`], whose threshold is committed as the note of that topic's one partition. A start, and every time
//! memory ran empty while the log has more, reads the topic once; what lies before the first record that still waits is deleted.
//!
//! Invariant: a record is finished in its own topic only when its copy is durable.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Durability, Error, ReadLimit, TopicConfig, TopicSpec, ensure_topic};
use delivery::{Delayed, Finished, Found, Queue, Scan, Scanner, SourceId};
use model::{Offset, PartitionId, Position, TopicName, TopicPartition};
use record::{BatchBuilder, Compression, Record, SharedRecord};
use tokio::sync::watch;
use tracing::warn;

use crate::context::Context;
use crate::headers;
use crate::letters::{Walk, records, text};
use crate::meaning::deliver_at;
use crate::sources::Held;

/// What is due sooner waits in memory.
pub(crate) const NEAR: Duration = Duration::from_secs(1);
/// Records that wait in memory with their due time and place, 40 bytes each.
const CAPACITY: usize = 65_536;
/// Bytes of one batch of copies.
const BATCH_BYTES: usize = 512 << 10;
/// Due records fetched at once.
const FETCH_MAX: usize = 256;
/// Pause after the log could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// A record to be put aside.
pub(crate) struct Aside {
    pub(crate) source: SourceId,
    pub(crate) position: Position,
    pub(crate) due: u64,
    pub(crate) held: Held,
}

/// One that was: where it came from, when it is due, where it is now.
pub(crate) struct Done {
    source: SourceId,
    position: Position,
    due: u64,
    place: Position,
}

/// A due record and its ticket.
pub(crate) type Due = (Position, Held);

/// The records of one listener that wait for their time.
pub(crate) struct Asides {
    at: TopicPartition,
    delayed: Delayed,
    /// Where the queue has them, by ticket.
    source: SourceId,
    /// The end of the topic, once there is one.
    end: Option<watch::Receiver<Position>>,
    fetching: bool,
    /// Something happened since the last commit.
    changed: bool,
}

impl Asides {
    /// Goes on where the listener stopped.
    pub(crate) async fn open(
        context: &Context,
        listener: &str,
        group: &model::GroupId,
        queue: &mut Queue<Held>,
    ) -> Result<Self, Error> {
        let at = TopicPartition::new(topic(listener), PartitionId::new(0));
        let committed = context
            .broker
            .committed(group, Some(vec![at.clone()]))
            .await?;
        let note = committed
            .into_iter()
            .find_map(|(_, commit)| Some(commit?.metadata));
        let threshold = note
            .and_then(|note| note.strip_prefix("t1:")?.parse().ok())
            .unwrap_or(0);
        let end = context.broker.watch(&at).ok();
        let now = millis(context);
        Ok(Self {
            delayed: match end {
                Some(_) => Delayed::new(CAPACITY, now, threshold),
                None => Delayed::empty(CAPACITY, now),
            },
            at,
            source: queue.resume_source(Position::default(), Finished::default()),
            end,
            fetching: false,
            changed: false,
        })
    }

    /// Records are about to be put aside.
    pub(crate) fn begin(&mut self, asides: &[Aside]) {
        self.changed = true;
        for aside in asides {
            self.delayed.put_aside(aside.due);
        }
    }

    /// They are.
    pub(crate) fn done(&mut self, context: &Context, done: Vec<Done>, queue: &mut Queue<Held>) {
        if self.end.is_none() {
            self.end = context.broker.watch(&self.at).ok();
        }
        for one in done {
            self.delayed.was_put_aside(one.due, Some(one.place));
            queue.let_go(one.source, one.position);
        }
    }

    /// A scan of the topic that should be made now.
    pub(crate) fn scan(&mut self, queue: &Queue<Held>) -> Option<(TopicPartition, Scan)> {
        if self.fetching {
            return None;
        }
        self.delayed.finished(queue.position(self.source));
        let end = *self.end.as_ref()?.borrow();
        Some((self.at.clone(), self.delayed.scan(end)?))
    }

    pub(crate) fn scanned(&mut self, found: Option<Found>) {
        self.delayed.scanned(found);
    }

    /// Records that are due, to be fetched: at most as many as `room`.
    pub(crate) fn take(
        &mut self,
        now: u64,
        room: usize,
    ) -> Option<(TopicPartition, Vec<(Position, Position)>)> {
        if self.fetching || room == 0 {
            return None;
        }
        let taken = self.delayed.take(now, room.min(FETCH_MAX));
        if taken.is_empty() {
            return None;
        }
        (self.fetching, self.changed) = (true, true);
        let places = taken.into_iter().map(|(ticket, _, place)| (ticket, place));
        Some((self.at.clone(), places.collect()))
    }

    /// They were fetched: where the queue takes them, and the ticket behind the last one.
    pub(crate) fn fetched(&mut self) -> (SourceId, Position) {
        self.fetching = false;
        (self.source, self.delayed.next_ticket())
    }

    pub(crate) fn at(&self) -> &TopicPartition {
        &self.at
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source
    }

    /// Notes what the queue finished; answers what to commit, if something changed: the threshold, and as position the
    /// topic's end when nothing waits.
    pub(crate) fn commit(
        &mut self,
        now: u64,
        queue: &Queue<Held>,
    ) -> Option<(TopicPartition, Position, String)> {
        let end = *self.end.as_ref()?.borrow();
        let finished = queue.position(self.source);
        self.delayed.finished(finished);
        let threshold = self.delayed.threshold(now);
        let wanted = std::mem::take(&mut self.changed);
        // While something is under way, there will be more to say.
        self.changed = wanted && finished < self.delayed.next_ticket();
        let position = if self.delayed.is_empty() {
            end
        } else {
            Position::default()
        };
        wanted.then(|| (self.at.clone(), position, format!("t1:{threshold}")))
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.delayed.next_due().filter(|_| !self.fetching)
    }

    /// Records in memory.
    pub(crate) fn len(&self) -> usize {
        self.delayed.len()
    }
}

/// The wall clock, in milliseconds.
pub(crate) fn millis(context: &Context) -> u64 {
    u64::try_from(context.clock.now().millis()).unwrap_or(0)
}

/// A listener's name is shorter than a topic's by more than this.
fn topic(listener: &str) -> TopicName {
    #[expect(
        clippy::expect_used,
        reason = "a listener's name is 1 to 63 of a-z, 0-9 and -"
    )]
    format!("lantern.delayed.{listener}")
        .parse()
        .expect("letters that a topic may have")
}

/// Writes copies; ready when they are durable.
pub(crate) async fn put(context: &Context, at: TopicPartition, asides: Vec<Aside>) -> Vec<Done> {
    let mut done = Vec::with_capacity(asides.len());
    let mut rest = asides.into_iter().peekable();
    while rest.peek().is_some() {
        let mut builder = BatchBuilder::new(Compression::None);
        let mut some = Vec::new();
        while let Some(aside) = rest.next_if(|_| builder.size() < BATCH_BYTES) {
            copy(&aside, &mut builder);
            some.push(aside);
        }
        let batch = builder.build();
        let base = loop {
            match append(context, &at, batch.clone()).await {
                Ok(base) => break base,
                Err(error) => {
                    warn!(topic = %at.topic, %error, "Records cannot be put aside until their time; trying again.");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        done.extend((0..).zip(some).map(|(number, aside)| Done {
            source: aside.source,
            position: aside.position,
            due: aside.due,
            place: Position::from(base.plus(number)),
        }));
    }
    done
}

fn copy(aside: &Aside, builder: &mut BatchBuilder) {
    let Some(record) = aside.held.shared.get() else {
        return;
    };
    let (partition, offset) = (&aside.held.partition, aside.held.offset);
    let own = [
        (headers::DELAYED_TOPIC, partition.topic.to_string()),
        (
            headers::DELAYED_PARTITION,
            partition.partition.get().to_string(),
        ),
        (headers::DELAYED_OFFSET, offset.get().to_string()),
    ];
    let mut all: Vec<(&str, Option<&[u8]>)> = record.headers.iter().collect();
    all.extend(
        own.iter()
            .map(|(name, value)| (*name, Some(value.as_bytes()))),
    );
    builder.push(record.timestamp, record.key, record.value, &all);
}

async fn append(
    context: &Context,
    at: &TopicPartition,
    batch: record::CheckedBatch,
) -> Result<Offset, Error> {
    let broker = &*context.broker;
    let config = TopicConfig {
        retention: None,
        ..TopicConfig::default()
    };
    let spec = TopicSpec {
        name: at.topic.clone(),
        partitions: 1,
        config: TopicConfig {
            // A copy has some headers more than what its own topic took.
            batch_bytes: stdx::ByteSize::from_bytes(model::limits::BATCH_BYTES_MAX as u64),
            ..config
        },
    };
    ensure_topic(broker, spec).await?;
    let appended = broker.append(at, vec![batch], Durability::Flushed).await?;
    Ok(appended.base_offset)
}

/// Reads the topic for what is due next, and deletes what is done.
pub(crate) async fn scan(context: &Context, at: &TopicPartition, scan: Scan) -> Option<Found> {
    let found = look(&*context.broker, at, scan).await;
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            warn!(topic = %at.topic, %error, "Records that wait for their time cannot be read; trying again.");
            tokio::time::sleep(AGAIN).await;
            None
        }
    }
}

async fn look(broker: &dyn Broker, at: &TopicPartition, scan: Scan) -> Result<Found, Error> {
    let mut scanner = Scanner::new(scan);
    let mut walk = Walk::new(broker, at, Position::default()).await?;
    loop {
        let some = walk.next().await?;
        if some.is_empty() {
            break;
        }
        for record in some.iter().filter_map(SharedRecord::get) {
            let due = deliver_at(&record).and_then(|due| u64::try_from(due).ok());
            scanner.look(due.unwrap_or(0), Position::from(record.offset));
        }
    }
    let found = scanner.found();
    let until = found.first.unwrap_or(scan.end);
    if until > broker.marks(at).await?.log_start {
        broker.delete_records(at, until).await?;
    }
    Ok(found)
}

/// Reads records by their places.
pub(crate) async fn fetch(
    context: &Context,
    at: &TopicPartition,
    places: Vec<(Position, Position)>,
) -> Vec<Due> {
    let limit = ReadLimit {
        bytes: 1,
        at_least_one: true,
    };
    // By place, so that those of one batch are read once.
    let mut by_place = places;
    by_place.sort_by_key(|(_, place)| *place);
    let mut batch: Vec<SharedRecord> = Vec::new();
    let mut due = Vec::with_capacity(by_place.len());
    for (ticket, place) in by_place {
        let here = |record: &Record<'_>| Position::from(record.offset) == place;
        let find = |batch: &[SharedRecord]| {
            batch
                .iter()
                .find(|one| one.get().is_some_and(|one| here(&one)))
                .cloned()
        };
        let mut found = find(&batch);
        while found.is_none() {
            match context.broker.read(at, place, limit).await {
                Ok(fetched) => {
                    batch = records(&fetched.batches);
                    found = find(&batch);
                    if found.is_none() {
                        warn!(topic = %at.topic, ?place, "A record that waited for its time is gone.");
                        break;
                    }
                }
                Err(
                    Error::OutOfRange { .. }
                    | Error::UnknownTopic { .. }
                    | Error::UnknownPartition { .. },
                ) => {
                    warn!(topic = %at.topic, ?place, "A record that waited for its time is gone.");
                    break;
                }
                Err(error) => {
                    warn!(topic = %at.topic, %error, "A record that waited for its time cannot be read; trying again.");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        if let Some(held) = found.and_then(|shared| original(at, shared)) {
            due.push((ticket, held));
        }
    }
    due.sort_by_key(|(ticket, _)| *ticket);
    due
}

/// The record with the coordinates it had in its own topic.
fn original(at: &TopicPartition, shared: SharedRecord) -> Option<Held> {
    let record = shared.get()?;
    let number = |name| text(&record, name)?.parse::<u64>().ok();
    let coordinates = || {
        let topic = text(&record, headers::DELAYED_TOPIC)?.parse().ok()?;
        let partition = u32::try_from(number(headers::DELAYED_PARTITION)?).ok()?;
        let offset = Offset::new(number(headers::DELAYED_OFFSET)?);
        Some((
            TopicPartition::new(topic, PartitionId::new(partition)),
            offset,
        ))
    };
    // What somebody else wrote into the topic is delivered as it is.
    let (partition, offset) = coordinates().unwrap_or_else(|| (at.clone(), record.offset));
    Some(Held {
        partition: Arc::new(partition),
        offset,
        shared,
    })
}
