//! Looking at dead letters.
//!
//! They are ordinary records; this reads their own headers back into words. Only what is committed is read: a letter whose
//! transaction was aborted is none, as its record is delivered again. Not here: writing them (`dead_letter`), sending them
//! again (`replay`).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{Broker, Error as BrokerError, ReadLimit, read_committed};
use jiff::Timestamp as Instant;
use model::{Offset, PartitionId, Position, Timestamp, TopicName, TopicPartition};
use record::{Batches, Record, SharedRecord};
use serde::Serialize;
use serde_json::Value;

use crate::headers;

/// Most letters of one answer.
pub(crate) const LETTERS_MAX: usize = 1_000;
/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;

/// A topic of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterTopic {
    /// Its name.
    pub topic: String,
    /// Letters kept.
    pub letters: u64,
}

/// A dead letter in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Where the letter is.
    pub topic: String,
    /// Its partition there.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// When it was buried, RFC 3339.
    pub buried_at: String,
    /// Whom it was meant for.
    pub listener: String,
    /// `exhausted`, `refused` or `expired`.
    pub reason: String,
    /// Where the record was.
    pub origin: Origin,
    /// The record's key, if it has one.
    pub key: Option<Content>,
    /// Its value, if it has one.
    pub value: Option<Content>,
    /// Its own headers.
    pub headers: Vec<(String, Option<Content>)>,
    /// The attempts, `{"at", "error"}` each.
    pub attempts: Value,
}

/// Where a record was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its timestamp, RFC 3339.
    pub timestamp: String,
}

/// Bytes as JSON can carry them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Anything that is not UTF-8.
    Base64(String),
    /// UTF-8.
    #[serde(untagged)]
    Text(String),
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

/// Which letters are meant: all that have everything said here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Meant for this listener.
    pub listener: Option<String>,
    /// Given up for this reason.
    pub reason: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// With this text in an error.
    pub error: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
}

/// What a filter cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no filter: write listener=, reason=, key=, error= or topic= and what it must be")]
pub struct FilterError(String);

impl Filter {
    /// Reads `NAME=TEXT` each.
    ///
    /// # Errors
    /// [`FilterError`] with the part that is none.
    pub fn parse<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for part in parts {
            let wrong = || FilterError(part.to_owned());
            let (name, text) = part.split_once('=').ok_or_else(wrong)?;
            let place = match name {
                "listener" => &mut filter.listener,
                "reason" => &mut filter.reason,
                "key" => &mut filter.key,
                "error" => &mut filter.error,
                "topic" => &mut filter.topic,
                _ => return Err(wrong()),
            };
            *place = Some(text.to_owned());
        }
        Ok(filter)
    }

    pub(crate) fn meets(&self, record: &Record<'_>) -> bool {
        let same = |asked: &Option<String>, found: Option<&[u8]>| {
            asked
                .as_ref()
                .is_none_or(|asked| found == Some(asked.as_bytes()))
        };
        let header = |name| record.headers.get(name).flatten();
        let attempts = header(headers::DLQ_ATTEMPTS).map(String::from_utf8_lossy);
        same(&self.listener, header(headers::DLQ_LISTENER))
            && same(&self.reason, header(headers::DLQ_REASON))
            && same(&self.topic, header(headers::DLQ_TOPIC))
            && same(&self.key, record.key)
            && self.error.as_ref().is_none_or(|asked| {
                attempts.is_some_and(|attempts| attempts.contains(asked.as_str()))
            })
    }
}

/// Why letters cannot be shown or sent again.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// The topic holds other things.
    #[error("'{topic}' is no topic of dead letters")]
    NoLetters {
        /// Its name.
        topic: TopicName,
    },
    /// Where a letter came from is gone.
    #[error(
        "letter {offset} of {partition} came from topic '{origin}', which does not exist any more; create it, or leave it out by --filter"
    )]
    OriginGone {
        /// Where the letter is.
        partition: TopicPartition,
        /// Its offset.
        offset: u64,
        /// The topic that is gone.
        origin: String,
    },
    /// Where a letter says that it came from is not written by replays.
    #[error(
        "letter {offset} of {partition} says that it came from '{origin}', one of Lantern's own topics, which no replay writes to; choose others by --filter topic=NAME"
    )]
    OriginInternal {
        /// Where the letter is.
        partition: TopicPartition,
        /// Its offset.
        offset: u64,
        /// The topic it names.
        origin: TopicName,
    },
    /// Another replay of the same letters goes on.
    #[error(
        "a replay of '{topic}' goes on since {since} and has sent {sent} letters so far: wait for its end, or stop it, and try again"
    )]
    ReplayRunning {
        /// The topic.
        topic: TopicName,
        /// When the other began, RFC 3339.
        since: String,
        /// What it sent so far.
        sent: u64,
    },
    /// What was sent and what was not alternate too often to be remembered.
    #[error(
        "letter {offset} of {partition} was not sent: the filter left too many gaps before it to remember which letters were sent. Replay without a filter, or first with one that takes what lies in the gaps"
    )]
    TooScattered {
        /// Where the letter is.
        partition: TopicPartition,
        /// Its offset.
        offset: u64,
    },
    /// The log says no.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// The records of one partition from a place up to its high watermark, or to where a transaction is open, some at a time.
pub(crate) struct Walk<'w> {
    broker: &'w dyn Broker,
    at: &'w TopicPartition,
    from: Position,
    end: Position,
}

impl<'w> Walk<'w> {
    pub(crate) async fn new(
        broker: &'w dyn Broker,
        at: &'w TopicPartition,
        from: Position,
    ) -> Result<Self, BrokerError> {
        let marks = broker.marks(at).await?;
        Ok(Self {
            broker,
            at,
            from: from.max(marks.log_start),
            end: marks.high_watermark,
        })
    }

    /// Ends before `end`, if that comes first.
    pub(crate) fn until(mut self, end: Position) -> Self {
        self.end = self.end.min(end);
        self
    }

    /// How many are left.
    pub(crate) async fn count(mut self) -> Result<u64, BrokerError> {
        let mut count = 0;
        loop {
            // Offsets would count markers and what was aborted, too.
            let some = self.next().await?.len();
            if some == 0 {
                return Ok(count);
            }
            count += some as u64;
        }
    }

    /// The next ones, at least one; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<SharedRecord>, BrokerError> {
        let limit = ReadLimit {
            bytes: READ_BYTES,
            at_least_one: true,
        };
        while self.from < self.end {
            let fetched = read_committed(self.broker, self.at, self.from, limit).await?;
            if fetched.next <= self.from {
                break;
            }
            let range = self.from..self.end;
            let inside = |shared: &SharedRecord| {
                let record = shared.get();
                record.is_some_and(|record| range.contains(&Position::from(record.offset)))
            };
            let mut records = records(&fetched.batches);
            records.retain(inside);
            self.from = fetched.next;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }
}

/// The records of what was read; what is not legible is passed over.
pub(crate) fn records(batches: &bytes::Bytes) -> Vec<SharedRecord> {
    let batches = Batches::new(batches.clone())
        .flatten()
        .filter(|batch| !batch.is_control());
    let records = batches.filter_map(|batch| batch.records().ok().map(Arc::new));
    records
        .flat_map(|records| SharedRecord::all(&records).collect::<Vec<_>>())
        .collect()
}

/// Dead letters that were asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Letters {
    /// Oldest first.
    #[serde(rename = "items")]
    pub letters: Vec<Letter>,
    /// There may be more behind the last one: as many as were asked for are here, or 8 MiB of them.
    pub more: bool,
}

/// Bytes of letters in one answer. As JSON, and where they are no text, they take some times as much.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Bytes of the attempts that are read; Lantern writes a few hundred.
const ATTEMPTS_BYTES_MAX: usize = 64 << 10;

/// Letters of a topic, oldest first, from `from` of its first partition on. At least one, however large it is.
pub(crate) async fn read(
    broker: &dyn Broker,
    topic: &TopicName,
    partition: Option<PartitionId>,
    from: Option<u64>,
    limit: usize,
    filter: &Filter,
) -> Result<Letters, BrokerError> {
    let info = broker
        .topic(topic)
        .ok_or_else(|| BrokerError::UnknownTopic {
            topic: topic.clone(),
        })?;
    let mut found = Letters::default();
    let mut bytes = 0;
    let partitions = (0..info.partitions).map(PartitionId::new);
    for number in partitions.filter(|number| partition.is_none_or(|only| only == *number)) {
        let at = TopicPartition::new(topic.clone(), number);
        let begin = from.map(|offset| Position::from(Offset::new(offset)));
        let mut walk = Walk::new(broker, &at, begin.unwrap_or_default()).await?;
        loop {
            let some = walk.next().await?;
            if some.is_empty() {
                break;
            }
            for record in some
                .iter()
                .filter_map(SharedRecord::get)
                .filter(|one| filter.meets(one))
            {
                bytes += bytes_of(&record);
                if bytes > ANSWER_BYTES_MAX && !found.letters.is_empty() {
                    found.more = true;
                    return Ok(found);
                }
                found.letters.extend(letter(&at, &record));
                if found.letters.len() >= limit {
                    found.more = true;
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

fn bytes_of(record: &Record<'_>) -> usize {
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + of(value)).sum();
    of(record.key) + of(record.value) + headers
}

/// `None` for a record that is no letter.
fn letter(at: &TopicPartition, record: &Record<'_>) -> Option<Letter> {
    let header = |name| text(record, name);
    let own = |name: &str| name.starts_with(headers::DLQ_PREFIX) || name == delivery::Hlc::HEADER;
    let kept = record.headers.iter().filter(|(name, _)| !own(name));
    Some(Letter {
        topic: at.topic.to_string(),
        partition: at.partition.get(),
        offset: record.offset.get(),
        buried_at: shown(record.timestamp),
        listener: header(headers::DLQ_LISTENER)?,
        reason: header(headers::DLQ_REASON)?,
        origin: origin(record)?,
        key: record.key.map(Content::from),
        value: record.value.map(Content::from),
        headers: kept
            .map(|(name, value)| (name.to_owned(), value.map(Content::from)))
            .collect(),
        attempts: attempts(&header(headers::DLQ_ATTEMPTS)?),
    })
}

/// None of them if somebody else wrote so many, or no such thing.
fn attempts(text: &str) -> Value {
    let read = (text.len() <= ATTEMPTS_BYTES_MAX).then(|| serde_json::from_str(text).ok());
    read.flatten().unwrap_or_default()
}

pub(crate) fn origin(record: &Record<'_>) -> Option<Origin> {
    let number = |name| text(record, name)?.parse::<u64>().ok();
    let millis = text(record, headers::DLQ_TIMESTAMP)?.parse().ok()?;
    Some(Origin {
        topic: text(record, headers::DLQ_TOPIC)?,
        partition: u32::try_from(number(headers::DLQ_PARTITION)?).ok()?,
        offset: number(headers::DLQ_OFFSET)?,
        timestamp: shown(Timestamp::from_millis(millis)),
    })
}

pub(crate) fn text(record: &Record<'_>, name: &str) -> Option<String> {
    let value = record.headers.get(name).flatten()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

pub(crate) fn shown(at: Timestamp) -> String {
    Instant::from_millisecond(at.millis())
        .map_or_else(|_| at.millis().to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_what_it_does_not_know() {
        let filter = Filter::parse(["reason=refused", "key=o-1=2"]).unwrap();
        assert_eq!(filter.key.as_deref(), Some("o-1=2"));
        for part in ["refused", "reson=refused"] {
            let error = Filter::parse([part]).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("listener="),
                "{error}"
            );
        }
    }
}
