//! Records that are given up, as records: the same key, value and headers, and what happened to them.
//!
//! A dead letter is an ordinary record of an ordinary topic, `TOPIC.dlq`, so that any Kafka client reads it. Invariant:
//! a record is finished for its listener only when its dead letter is durable, or, where the listener has an output, becomes so
//! together with the progress that says so.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Durability, Error, TopicConfig, TopicInfo, TopicSpec, ensure_topic};
use delivery::{Failure, Reason};
use env::Clock;
use jiff::Timestamp as Instant;
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use crate::context::Context;
use crate::derived::{HEAD_BYTES, HEADER_HEAD_BYTES};
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
    letter: &Arc<DeadLetter>,
    whole: bool,
    spec: &Spec,
    broker: &dyn Broker,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let topic = letters_topic(letter, spec, broker).await?;
    let letter = Letter::new(letter, whole, &topic, spec, clock);
    broker
        .append(&letter.to, vec![letter.batch()], Durability::Flushed)
        .await?;
    Ok(())
}

/// Makes a dead letter that a transaction appends, as its topic takes it: without the value where that is too large.
///
/// # Errors
/// Those of making the topic; [`Error::BatchTooLarge`] and [`Error::Keyless`] where the topic takes no such letter: inside a
/// transaction it would fail that again and again.
pub(crate) async fn prepare(
    letter: &Arc<DeadLetter>,
    spec: &Spec,
    context: &Context,
) -> Result<Letter, Error> {
    // Kept until the letter is: its transaction copies it.
    let turn = context.burial(letter.held.shared.size()).await;
    let (broker, clock) = (&*context.broker, &*context.clock);
    let topic = letters_topic(letter, spec, broker).await?;
    let mut made = Letter::new(letter, true, &topic, spec, clock);
    let limit = topic.config.batch_bytes.as_usize();
    if made.batch().as_bytes().len() > limit {
        made = Letter::new(letter, false, &topic, spec, clock);
        let size = made.batch().as_bytes().len();
        if size > limit {
            let topic = topic.name.clone();
            return Err(Error::BatchTooLarge { topic, size, limit });
        }
    }
    let record = letter.held.shared.get();
    let keyless = record.is_some_and(|record| record.key.is_none());
    if keyless && topic.config.cleanup.policy.compacts() {
        return Err(Error::Keyless {
            topic: topic.name.clone(),
            records: vec![0],
        });
    }
    made.turn = turn;
    Ok(made)
}

/// The topic of a letter; a missing one is made.
async fn letters_topic(
    letter: &DeadLetter,
    spec: &Spec,
    broker: &dyn Broker,
) -> Result<Arc<TopicInfo>, Error> {
    let config = TopicConfig {
        retention: Some(spec.dead_letters_kept),
        // A letter is larger than the record was, and not compressed.
        batch_bytes: stdx::ByteSize::from_bytes(model::limits::BATCH_BYTES_MAX as u64),
        ..TopicConfig::default()
    };
    let topic = TopicSpec {
        name: topic_of(&letter.held.lot.partition.topic, spec),
        partitions: 1,
        config,
    };
    ensure_topic(broker, topic).await
}

/// A dead letter as the record that it becomes.
#[derive(Debug)]
pub(crate) struct Letter {
    of: Arc<DeadLetter>,
    /// Where it goes.
    pub(crate) to: TopicPartition,
    at: Timestamp,
    /// What happened to the record.
    own: Vec<(&'static str, String)>,
    whole: bool,
    /// To copy its bytes, while it waits for its transaction.
    turn: Option<OwnedSemaphorePermit>,
}

impl Letter {
    fn new(
        of: &Arc<DeadLetter>,
        whole: bool,
        topic: &TopicInfo,
        spec: &Spec,
        clock: &dyn Clock,
    ) -> Self {
        let at = clock.now();
        let from = &of.held.lot.partition;
        let number = PartitionId::new(from.partition.get() % topic.partitions.max(1));
        let mut own = vec![
            (headers::DLQ_TOPIC, from.topic.to_string()),
            (headers::DLQ_PARTITION, from.partition.get().to_string()),
            (headers::DLQ_OFFSET, of.held.offset.get().to_string()),
        ];
        if let Some(record) = of.held.shared.get() {
            let timestamp = record.timestamp.millis().to_string();
            own.extend([
                (headers::DLQ_TIMESTAMP, timestamp),
                (headers::DLQ_LISTENER, spec.name.clone()),
                (headers::DLQ_REASON, of.reason.word().to_owned()),
                (headers::DLQ_ATTEMPTS, attempts(&of.failures, clock)),
                (delivery::Hlc::HEADER, hlc(&record).after(at).to_string()),
            ]);
            if !whole {
                let size = record.value.map_or(0, <[u8]>::len).to_string();
                own.push((headers::DLQ_VALUE_BYTES, size));
            }
        }
        Self {
            of: Arc::clone(of),
            to: TopicPartition::new(topic.name.clone(), number),
            at,
            own,
            whole,
            turn: None,
        }
    }

    /// Bytes of it in a batch, at most.
    pub(crate) fn size(&self) -> usize {
        let own = self.own.iter();
        let own = own.map(|(name, value)| name.len() + value.len() + HEADER_HEAD_BYTES);
        HEAD_BYTES + self.of.held.shared.size() + own.sum::<usize>()
    }

    pub(crate) fn push(&self, builder: &mut BatchBuilder) {
        let Some(record) = self.of.held.shared.get() else {
            return;
        };
        // A letter of a letter tells of its last burial.
        let replaced = |name: &str| {
            self.own.iter().any(|(own, _)| *own == name)
                || name.starts_with(headers::DELAYED_PREFIX)
        };
        let mut all: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .filter(|(name, _)| !replaced(name))
            .collect();
        let own = self.own.iter();
        all.extend(own.map(|(name, value)| (*name, Some(value.as_bytes()))));
        builder.push(
            self.at,
            record.key,
            record.value.filter(|_| self.whole),
            &all,
        );
    }

    /// It alone.
    fn batch(&self) -> CheckedBatch {
        let mut builder = BatchBuilder::new(Compression::None);
        self.push(&mut builder);
        builder.build()
    }
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
