//! Reading and writing the topic of records whose time has not come.
//!
//! Everything here is tried again until it is done: a disk that fails for a while costs time and no record. What to read and
//! write is decided in `aside`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Durability, Error, ReadLimit, TopicConfig, TopicSpec, ensure_topic};
use delivery::{Carry, Fate, Found, Scan, Scanner, SourceId, Turn};
use model::{Offset, PartitionId, Position, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression, Record, SharedRecord};
use tracing::warn;

use crate::aside::Places;
use crate::context::Context;
use crate::headers;
use crate::held::Held;
use crate::letters::{Walk, records, text};
use crate::meaning::waits_until;
use crate::memory::Budget;

/// Bytes of one batch of copies.
const BATCH_BYTES: usize = 512 << 10;
/// Records carried at once, and bytes of them.
const CARRY_RECORDS: usize = 4_096;
const CARRY_BYTES: usize = 4 << 20;
/// Bytes looked at in one carry.
const CARRY_READ_BYTES: usize = 64 << 20;
/// Pause after the log could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);

/// A record to be put aside.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    pub(crate) source: SourceId,
    pub(crate) position: Position,
    pub(crate) due: u64,
    pub(crate) held: Held,
}

/// One that was: where it came from, when it is due, where it is now.
pub(crate) struct Done {
    pub(crate) source: SourceId,
    pub(crate) position: Position,
    pub(crate) due: u64,
    pub(crate) place: Position,
}

/// A due record and its ticket.
pub(crate) type Due = (Position, Held);

/// Writes copies; ready when they are durable.
pub(crate) async fn put(context: &Context, at: TopicPartition, asides: &[Aside]) -> Vec<Done> {
    let mut done = Vec::with_capacity(asides.len());
    let mut rest = asides.iter().peekable();
    while rest.peek().is_some() {
        let mut builder = BatchBuilder::new(Compression::None);
        let mut some = Vec::new();
        while let Some(aside) = rest.next_if(|_| builder.size() < BATCH_BYTES) {
            copy(aside, &mut builder);
            some.push(aside);
        }
        let base = append(context, &at, builder.build()).await;
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
    let (partition, offset) = (&aside.held.lot.partition, aside.held.offset);
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

/// Appends until it succeeds.
async fn append(context: &Context, at: &TopicPartition, batch: CheckedBatch) -> Offset {
    loop {
        match try_append(context, at, batch.clone()).await {
            Ok(base) => return base,
            Err(error) => {
                warn!(topic = %at.topic, %error, "Records cannot be put aside until their time; trying again.");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn try_append(
    context: &Context,
    at: &TopicPartition,
    batch: CheckedBatch,
) -> Result<Offset, Error> {
    let broker = &*context.broker;
    let spec = TopicSpec {
        name: at.topic.clone(),
        partitions: 1,
        config: TopicConfig {
            retention: None,
            // A copy has some headers more than what its own topic took.
            batch_bytes: stdx::ByteSize::from_bytes(model::limits::BATCH_BYTES_MAX as u64),
            ..TopicConfig::default()
        },
    };
    ensure_topic(broker, spec).await?;
    let appended = broker.append(at, vec![batch], Durability::Flushed).await?;
    Ok(appended.base_offset)
}

/// When a record of the topic is due, and where it is.
fn turn(record: &Record<'_>) -> Turn {
    let due = waits_until(record).and_then(|due| u64::try_from(due).ok());
    Turn {
        due: due.unwrap_or(0),
        place: Position::from(record.offset),
    }
}

/// Reads the topic for what is due next.
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
            return Ok(scanner.found());
        }
        for record in some.iter().filter_map(SharedRecord::get) {
            scanner.look(turn(&record));
        }
    }
}

/// Carries some of the front of the topic to its end, and deletes it; answers what moved where.
pub(crate) async fn carry(
    context: &Context,
    at: &TopicPartition,
    carry: Carry,
) -> Vec<(Turn, Position)> {
    let found = match front(&*context.broker, at, carry).await {
        Ok(found) => found,
        Err(error) => {
            warn!(topic = %at.topic, %error, "Records that wait for their time cannot be read; trying again.");
            tokio::time::sleep(AGAIN).await;
            return Vec::new();
        }
    };
    let mut moved = Vec::with_capacity(found.carried.len());
    let mut rest = found.carried.iter().peekable();
    while rest.peek().is_some() {
        let mut builder = BatchBuilder::new(Compression::None);
        let mut some = Vec::new();
        while let Some(shared) = rest.next_if(|_| builder.size() < BATCH_BYTES) {
            let Some(record) = shared.get() else { continue };
            let all: Vec<_> = record.headers.iter().collect();
            builder.push(record.timestamp, record.key, record.value, &all);
            some.push(turn(&record));
        }
        let base = append(context, at, builder.build()).await;
        let places = (0..).map(|number| Position::from(base.plus(number)));
        moved.extend(some.into_iter().zip(places));
    }
    if let Some(until) = found.until {
        delete(context, at, until).await;
    }
    moved
}

/// Deletes everything before `until`.
pub(crate) async fn delete(context: &Context, at: &TopicPartition, until: Position) {
    // What moved must not be found twice: nothing goes on before this is done.
    while let Err(error) = context.broker.delete_records(at, until).await {
        if matches!(error, Error::UnknownTopic { .. } | Error::Stopping) {
            return;
        }
        warn!(topic = %at.topic, %error, "Records that are done with cannot be deleted; trying again.");
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is to be carried of the front, and where that ends.
#[derive(Default)]
struct Front {
    carried: Vec<SharedRecord>,
    until: Option<Position>,
}

async fn front(broker: &dyn Broker, at: &TopicPartition, carry: Carry) -> Result<Front, Error> {
    let mut found = Front::default();
    let (mut bytes, mut looked) = (0, 0);
    let mut walk = Walk::new(broker, at, Position::default()).await?;
    loop {
        let some = walk.next().await?;
        if some.is_empty() {
            return Ok(found);
        }
        for shared in some {
            let Some(record) = shared.get() else { continue };
            match carry.fate(turn(&record)) {
                Fate::Done => {}
                Fate::Stays => return Ok(found),
                Fate::Carried => {
                    bytes += shared.size();
                    found.carried.push(shared.detached());
                }
            }
            looked += shared.size();
            found.until = Some(Position::from(record.offset.next()));
            let full = found.carried.len() >= CARRY_RECORDS || bytes >= CARRY_BYTES;
            if full || looked >= CARRY_READ_BYTES {
                return Ok(found);
            }
        }
    }
}

/// What a fetch brought.
pub(crate) struct Fetched {
    /// In order of their tickets.
    pub(crate) due: Vec<Due>,
    /// How many of the places are dealt with; some may have been gone.
    pub(crate) count: usize,
}

/// Reads records by their places, as many as there is memory for and at least one; each is a copy of its own, as its batch
/// has others that wait much longer.
pub(crate) async fn fetch(
    context: &Context,
    budget: &Arc<Budget>,
    at: &TopicPartition,
    places: &Places,
) -> Fetched {
    // The first one, and the others by place, so that those of one batch are read once.
    let mut by_place: Vec<(Position, Position)> = places.to_vec();
    if let Some((_, others)) = by_place.split_first_mut() {
        others.sort_by_key(|(_, place)| *place);
    }
    let mut batch: Vec<SharedRecord> = Vec::new();
    let mut found: HashMap<Position, Option<Held>> = HashMap::with_capacity(by_place.len());
    for (ticket, place) in by_place {
        if !found.is_empty() && !budget.has_room() {
            break;
        }
        if find(&batch, place).is_none() {
            batch = read(context, at, place).await;
        }
        let held = find(&batch, place).and_then(|shared| original(at, shared.detached(), budget));
        if held.is_none() {
            warn!(topic = %at.topic, ?place, "A record that waited for its time is gone.");
        }
        found.insert(ticket, held);
    }
    let mut fetched = Fetched {
        due: Vec::new(),
        count: 0,
    };
    // Tickets are finished in their order: what was fetched behind one that was not is fetched again.
    for (ticket, _) in places.iter() {
        let Some(held) = found.remove(ticket) else {
            break;
        };
        fetched.count += 1;
        fetched.due.extend(held.map(|held| (*ticket, held)));
    }
    fetched
}

fn find(batch: &[SharedRecord], place: Position) -> Option<&SharedRecord> {
    let here = |record: &Record<'_>| Position::from(record.offset) == place;
    batch
        .iter()
        .find(|one| one.get().is_some_and(|one| here(&one)))
}

/// The batch at a place; empty when it is gone.
async fn read(context: &Context, at: &TopicPartition, place: Position) -> Vec<SharedRecord> {
    let limit = ReadLimit {
        bytes: 1,
        at_least_one: true,
    };
    loop {
        match context.broker.read(at, place, limit).await {
            Ok(fetched) => return records(&fetched.batches),
            Err(
                Error::OutOfRange { .. }
                | Error::UnknownTopic { .. }
                | Error::UnknownPartition { .. },
            ) => return Vec::new(),
            Err(error) => {
                warn!(topic = %at.topic, %error, "A record that waited for its time cannot be read; trying again.");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The record with the coordinates it had in its own topic.
fn original(at: &TopicPartition, shared: SharedRecord, budget: &Arc<Budget>) -> Option<Held> {
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
    Some(Held::alone(Arc::new(partition), offset, shared, budget))
}
