//! Clients. What they know is in their fields, true at every moment, since a call may never be
//! answered: the future of a life is dropped wherever it waits.

mod admin;
mod committer;
mod member;
mod producer;
mod reader;
mod subscriber;
mod transactor;

use std::pin::Pin;

use model::{PartitionId, TopicName, TopicPartition};

use crate::life::Life;

pub(crate) use admin::{Admin, found};
pub(crate) use committer::Committer;
pub(crate) use member::Member;
pub(crate) use producer::{Idempotent, Plain};
pub(crate) use reader::{CommittedReader, Reader};
pub(crate) use subscriber::Subscriber;
pub(crate) use transactor::Transactor;

/// Somebody who uses the broker.
pub(crate) trait Client {
    /// Uses it until the life ends.
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// Topics that are always there, with their partitions.
///
/// `a` and `b` are plain, `written` shows records before they are flushed, `short` is cut by
/// retention, `trim` by an administrator, `tx` has transactions. `table` is compacted and has
/// transactions, too; `cache` is compacted and cut by retention.
const TOPICS: [(&str, u32); 8] = [
    ("a", 2),
    ("b", 1),
    ("written", 2),
    ("short", 1),
    ("trim", 1),
    ("tx", 2),
    ("table", 2),
    ("cache", 1),
];

/// Whether a topic is compacted.
pub(crate) fn is_compacted(topic: &str) -> bool {
    matches!(topic, "table" | "cache")
}

/// Whether the newest batch of each producer stays in a topic: it is compacted, and nothing is removed for its age.
pub(crate) fn keeps_producers(topic: &str) -> bool {
    topic == "table"
}

pub(crate) fn name(topic: &str) -> TopicName {
    topic
        .parse()
        .expect("the topics of clients have good names")
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(name(topic), PartitionId::new(partition))
}

/// One of the places that everybody may write to.
fn some_place(life: &Life<'_>) -> TopicPartition {
    let (topic, partitions) = *life.world.dice.of(&TOPICS);
    let partition = u32::try_from(life.world.dice.below(u64::from(partitions)));
    at(topic, partition.unwrap_or(0))
}

pub(crate) fn transactional_places() -> Vec<TopicPartition> {
    vec![at("tx", 0), at("tx", 1), at("b", 0), at("table", 0)]
}

/// Where the groups of transactions have their progress.
pub(crate) fn staged_place() -> TopicPartition {
    at("a", 0)
}
