//! Records that are given up, as records: the same key, value and headers, and what happened to them.
//!
//! A dead letter is an ordinary record of an ordinary topic, `TOPIC.dlq`, so that any Kafka client reads it. Invariant:
//! a record is finished for its listener only when its dead letter is durable.

use std::time::Duration;

use broker::{Broker, Durability, Error, TopicConfig, TopicSpec, ensure_topic};
use delivery::{Failure, Reason};
use env::Clock;
use jiff::Timestamp as Instant;
use model::{PartitionId, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use serde_json::json;

use crate::headers;
use crate::held::Held;
use crate::meaning::hlc;
use crate::spec::Spec;

/// What a topic's dead letters' topic is called.
const SUFFIX: &str = ".dlq";

/// A record to bury.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetter {
    pub(crate) held: Held,
    pub(crate) reason: Reason,
    pub(crate) failures: Vec<Failure>,
}

/// The topic of the dead letters of `topic`.
///
/// A name that is too long for the suffix gives its end away.
pub(crate) fn topic_of(topic: &TopicName, spec: &Spec) -> TopicName {
    if let Some(topic) = &spec.dead_letters {
        return topic.clone();
    }
    usual_topic_of(topic)
}

/// That of a listener whose resource names none.
pub(crate) fn usual_topic_of(topic: &TopicName) -> TopicName {
    let mut name = topic.as_str().to_owned();
    name.truncate(model::limits::TOPIC_NAME_BYTES_MAX - SUFFIX.len());
    name.push_str(SUFFIX);
    // Topic names are ASCII, and a longer name of the same letters is one, too.
    name.parse().unwrap_or_else(|_| topic.clone())
}

/// Whether dead letters go there by themselves.
pub(crate) fn is_usual(topic: &TopicName) -> bool {
    topic.as_str().ends_with(SUFFIX)
}

/// Writes a dead letter; durable when ready. Not `whole`: without the value, whose size a header tells, for a topic that
/// takes no batch as large as that.
pub(crate) async fn bury(
    letter: &DeadLetter,
    whole: bool,
    spec: &Spec,
    broker: &dyn Broker,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let name = topic_of(&letter.held.lot.partition.topic, spec);
    let config = TopicConfig {
        retention: Some(spec.dead_letters_kept),
        // A letter is larger than the record was, and not compressed.
        batch_bytes: stdx::ByteSize::from_bytes(model::limits::BATCH_BYTES_MAX as u64),
        ..TopicConfig::default()
    };
    let topic = TopicSpec {
        name: name.clone(),
        partitions: 1,
        config,
    };
    let topic = ensure_topic(broker, topic).await?;
    let to = PartitionId::new(letter.held.lot.partition.partition.get() % topic.partitions.max(1));
    let batch = batch(letter, whole, spec, clock);
    broker
        .append(
            &TopicPartition::new(name, to),
            vec![batch],
            Durability::Flushed,
        )
        .await?;
    Ok(())
}

fn batch(letter: &DeadLetter, whole: bool, spec: &Spec, clock: &dyn Clock) -> record::CheckedBatch {
    let now = clock.now();
    let mut builder = BatchBuilder::new(Compression::None);
    let Some(record) = letter.held.shared.get() else {
        return builder.build();
    };
    let own = [
        (
            headers::DLQ_TOPIC,
            letter.held.lot.partition.topic.to_string(),
        ),
        (
            headers::DLQ_PARTITION,
            letter.held.lot.partition.partition.get().to_string(),
        ),
        (headers::DLQ_OFFSET, letter.held.offset.get().to_string()),
        (
            headers::DLQ_TIMESTAMP,
            record.timestamp.millis().to_string(),
        ),
        (headers::DLQ_LISTENER, spec.name.clone()),
        (headers::DLQ_REASON, letter.reason.word().to_owned()),
        (headers::DLQ_ATTEMPTS, attempts(&letter.failures, clock)),
        (delivery::Hlc::HEADER, hlc(&record).after(now).to_string()),
    ];
    // A letter of a letter tells of its last burial.
    let replaced = |name: &str| {
        own.iter().any(|(own, _)| *own == name) || name.starts_with(headers::DELAYED_PREFIX)
    };
    let mut all: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .filter(|(name, _)| !replaced(name))
        .collect();
    all.extend(
        own.iter()
            .map(|(name, value)| (*name, Some(value.as_bytes()))),
    );
    let size = record.value.map_or(0, <[u8]>::len).to_string();
    if !whole {
        all.push((headers::DLQ_VALUE_BYTES, Some(size.as_bytes())));
    }
    builder.push(now, record.key, record.value.filter(|_| whole), &all);
    builder.build()
}

/// The attempts as JSON, their times by the wall clock.
fn attempts(failures: &[Failure], clock: &dyn Clock) -> String {
    let (wall, monotonic) = (clock.now(), clock.monotonic());
    let shown = |at: Duration| {
        let at = wall.minus(monotonic.saturating_sub(at));
        Instant::from_millisecond(at.millis())
            .map_or_else(|_| at.millis().to_string(), |at| at.to_string())
    };
    let list: Vec<_> = failures
        .iter()
        .map(|failure| json!({"at": shown(failure.at), "error": failure.error}))
        .collect();
    serde_json::Value::Array(list).to_string()
}
