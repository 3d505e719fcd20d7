//! What clients know, and what must therefore be true.
//!
//! 1. A batch acknowledged as flushed is at its offset, unchanged, after any crash (`log`).
//! 2. One acknowledged as written is so after a kill of the process.
//! 3. What a reader saw of a topic that publishes flushed records stays there.
//! 4. A log holds nothing that was not sent to it, nothing twice, no gaps; the records of a producer
//!    are in the order they were sent.
//! 5. Appends and reads of a partition are linearizable.
//! 6. Topics that were acknowledged exist, those deleted do not (`topics`).
//! 7. A group's progress is its last acknowledged commit, or one that was not answered since; it is
//!    at most the high watermark, and everything before it was delivered (`progress`).
//! 8. A transaction is wholly there or nowhere (`transactions`).
//! 9. From a topic that is compacted goes only what a newer record of its key stands for, what was aborted, and tombstones and
//!    markers that are old (`compacted`); 1 to 8 hold for what stays.
//!
//! Where a bit was flipped, records may be missing, and only where the broker says so; what is served
//! must be right all the same.

mod compacted;
mod log;
mod progress;
mod topics;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use commitlog::LogId;
use model::limits::GROUPS_TOPIC;
use model::{PartitionId, TopicId, TopicName, TopicPartition};

pub(crate) use compacted::Rules;
pub(crate) use log::{Log, Look, Token};
pub(crate) use progress::Commits;
pub(crate) use topics::Topics;
pub(crate) use transactions::{Fate, Transactions};

/// Counts, to show that a run did something.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Appends acknowledged.
    pub appends: u64,
    /// Of these, retries that answered with the first one's offset.
    pub duplicates: u64,
    /// Records read.
    pub reads: u64,
    /// Commits of groups acknowledged.
    pub commits: u64,
    /// Transactions acknowledged as committed.
    pub transactions: u64,
    /// Compactions that took something away.
    pub compacted: u64,
    /// Times that a record which was known to be in a log was missing at a check, as it may be.
    pub outdated: u64,
    /// Kills and power cuts.
    pub crashes: u64,
    /// Calls refused because of the disk.
    pub refused: u64,
    /// Bits flipped.
    pub flips: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.appends += other.appends;
        self.duplicates += other.duplicates;
        self.reads += other.reads;
        self.commits += other.commits;
        self.transactions += other.transactions;
        self.compacted += other.compacted;
        self.outdated += other.outdated;
        self.crashes += other.crashes;
        self.refused += other.refused;
        self.flips += other.flips;
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) topics: Topics,
    pub(crate) logs: BTreeMap<TopicPartition, Log>,
    pub(crate) commits: Commits,
    pub(crate) transactions: Transactions,
    pub(crate) producer_ids: BTreeSet<i64>,
    pub(crate) tally: Tally,
    /// A bit was flipped in this run.
    pub(crate) rotten: bool,
    /// Partitions of which the broker said that they are damaged.
    damaged: BTreeSet<TopicPartition>,
    /// The broker said that the journal is damaged, which concerns every partition.
    damaged_journal: bool,
}

impl Oracle {
    pub(crate) fn log(&mut self, of: &TopicPartition) -> &mut Log {
        self.logs.entry(of.clone()).or_default()
    }

    /// Compares the whole of a log with what is known of it, when nobody else is at work.
    pub(crate) fn check_log(&mut self, of: &TopicPartition, look: &Look<'_>) {
        let log = self.logs.entry(of.clone()).or_default();
        self.tally.outdated += log.check(of, look, &self.transactions);
    }

    /// The broker says that `of` is damaged, which only a flipped bit excuses.
    pub(crate) fn damage(&mut self, of: &TopicPartition, what: &str) {
        assert!(
            self.rotten,
            "{of} is damaged and no bit was flipped: {what}"
        );
        self.damaged.insert(of.clone());
    }

    pub(crate) fn damage_journal(&mut self, what: &str) {
        assert!(
            self.rotten,
            "the journal is damaged and no bit was flipped: {what}"
        );
        self.damaged_journal = true;
    }

    /// Records of this log may be missing though nobody can know.
    pub(crate) fn excuse(&mut self, log: &LogId) {
        let id = Some(TopicId::from_bytes(log.topic));
        let mut names = self.topics.names().into_iter();
        let topic = names.find(|name| self.topics.get(name).id == id);
        // Nobody but the broker itself knows of the other one.
        let topic = topic.unwrap_or_else(|| GROUPS_TOPIC.parse().expect("a name"));
        let of = TopicPartition::new(topic, PartitionId::new(log.partition));
        self.damaged.insert(of);
    }

    /// Whether records of `of` may be missing.
    pub(crate) fn excused(&self, of: &TopicPartition) -> bool {
        self.damaged_journal || self.damaged.contains(of)
    }

    /// Whether what the broker keeps for groups and transactions may be missing.
    pub(crate) fn excused_inside(&self) -> bool {
        self.damaged_journal || self.damaged.iter().any(|of| of.topic.is_internal())
    }

    /// Nothing known of the topic's records holds any more.
    pub(crate) fn forget_topic(&mut self, topic: &TopicName) {
        self.logs.retain(|of, _| of.topic != *topic);
        self.commits.forget_topic(topic);
    }

    /// What was only in the page cache may be gone.
    pub(crate) fn drop_pages(&mut self) {
        for log in self.logs.values_mut() {
            log.drop_pages();
        }
    }

    pub(crate) fn lose_cache(&mut self) {
        for log in self.logs.values_mut() {
            log.lose_cache();
        }
    }
}
