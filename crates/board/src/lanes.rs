//! Where lanes are, kept across restarts in topic `lantern.boards`.
//!
//! Each record carries the state of all lanes of all boards, so only the newest counts and the topic
//! stays small; it is written when a lane turned, at most once per [`WRITE_EVERY`]. Written to the page
//! cache, not flushed: a lost turn is a lane that starts an item over, which is not worth an fsync.
//! Not here: what a state means (`playlist`).

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Broker, Durability, Error, Place, TopicConfig, TopicSpec, ensure_topic};
use model::limits::BOARDS_TOPIC;
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use parking_lot::Mutex;
use record::{BatchBuilder, Batches, Compression};
use serde::{Deserialize, Serialize};
use stdx::ByteSize;
use tokio::sync::Notify;

use crate::screen::LaneStates;

/// Least time between two records.
pub(crate) const WRITE_EVERY: Duration = Duration::from_millis(250);

/// Bytes the topic keeps. A reader starts by reading all of them.
const KEPT: ByteSize = ByteSize::from_mib(1);

/// Bytes of one record's value; states beyond them are not kept.
const VALUE_BYTES_MAX: usize = 512 << 10;

#[derive(Debug, Default)]
pub(crate) struct LaneStore {
    boards: Mutex<BTreeMap<String, LaneStates>>,
    changed: Notify,
}

/// The value of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boards: BTreeMap<String, LaneStates>,
}

impl LaneStore {
    /// Where the lanes of `board` were.
    pub(crate) fn of(&self, board: &str) -> LaneStates {
        self.boards.lock().get(board).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, board: &str, states: LaneStates) {
        if states.is_empty() {
            return;
        }
        self.boards.lock().insert(board.to_owned(), states);
        self.changed.notify_one();
    }

    /// Waits until something is to be written. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads what was kept.
    pub(crate) async fn load(&self, broker: &dyn Broker) -> Result<(), Error> {
        let spec = TopicSpec {
            name: topic(),
            partitions: 1,
            config: TopicConfig {
                retention: None,
                retention_bytes: Some(KEPT),
                segment_bytes: ByteSize::from_bytes(KEPT.bytes() / 4),
                ..TopicConfig::default()
            },
        };
        ensure_topic(broker, spec).await?;
        let at = TopicPartition::new(topic(), PartitionId::new(0));
        let Some(found) = broker.find(&at, Place::Earliest).await? else {
            return Ok(());
        };
        let mut next = found.position;
        let limit = broker::ReadLimit {
            bytes: 1 << 20,
            at_least_one: true,
        };
        let mut newest = None;
        loop {
            let fetched = broker.read(&at, next, limit).await?;
            if fetched.batches.is_empty() {
                break;
            }
            next = fetched.next;
            for batch in Batches::new(fetched.batches).flatten() {
                let Ok(records) = batch.records() else {
                    continue;
                };
                let kept = records.iter().flatten().filter_map(|record| record.value);
                newest = kept
                    .filter_map(|value| serde_json::from_slice::<Kept>(value).ok())
                    .last()
                    .or(newest);
            }
        }
        if let Some(kept) = newest {
            *self.boards.lock() = kept.boards;
        }
        Ok(())
    }

    /// Writes where all lanes are.
    pub(crate) async fn write(&self, broker: &dyn Broker, now: Timestamp) -> Result<(), Error> {
        let kept = Kept {
            boards: self.boards.lock().clone(),
        };
        let Ok(value) = serde_json::to_vec(&kept) else {
            return Ok(());
        };
        if value.len() > VALUE_BYTES_MAX {
            return Ok(());
        }
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(
            now,
            Some(b"lanes"),
            Some(&value),
            &[("content-type", Some(b"application/json"))],
        );
        let to = TopicPartition::new(topic(), PartitionId::new(0));
        broker
            .append(&to, vec![batch.build()], Durability::Written)
            .await?;
        Ok(())
    }
}

fn topic() -> TopicName {
    TopicName::new(BOARDS_TOPIC).expect("the constant is a topic name")
}
