//! What must be true whatever happens.
//!
//! 1. A batch acknowledged as flushed is at its offset, unchanged, after any crash.
//! 2. A record a reader saw in a topic that publishes flushed records stays there, at its offset.
//! 3. A log holds nothing that was not sent to it, and nothing twice; offsets have no gaps.
//! 4. A log start that was acknowledged never goes back, and never passes what was asked for.
//! 5. An acknowledged topic exists with its id until a deletion is asked for; an acknowledged
//!    deletion is final.
//! 6. A group's acknowledged commit is there, unless a later one that was not answered is.
//! 7. No producer id comes twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{Offset, TopicId, TopicName, TopicPartition};

/// What is known of one topic.
#[derive(Debug)]
pub(super) struct TopicFate {
    pub(super) id: Option<TopicId>,
    pub(super) partitions: u32,
    /// A creation or deletion was asked for and not answered with success.
    pub(super) uncertain: bool,
    /// Readers see only what is flushed.
    pub(super) flushed: bool,
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub(super) struct LogFate {
    /// Value by offset: acknowledged as flushed, or seen by a reader.
    pub(super) certain: BTreeMap<u64, String>,
    /// Values sent here at any time.
    pub(super) sent: HashSet<String>,
    /// The log start that was acknowledged.
    pub(super) start: u64,
    /// The largest log start that was asked for.
    pub(super) start_asked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) topics: BTreeMap<TopicName, TopicFate>,
    pub(super) logs: BTreeMap<TopicPartition, LogFate>,
    /// Offsets a group may have in a partition: the last acknowledged, and later ones unanswered.
    pub(super) commits: BTreeMap<(String, TopicPartition), Vec<Option<u64>>>,
    producer_ids: BTreeSet<i64>,
}

impl Oracle {
    pub(super) fn log(&mut self, of: &TopicPartition) -> &mut LogFate {
        self.logs.entry(of.clone()).or_default()
    }

    /// The topic is gone, or another one has its name: nothing known of it holds any more.
    pub(super) fn forget_topic(&mut self, topic: &TopicName) {
        self.topics.remove(topic);
        self.logs.retain(|of, _| of.topic != *topic);
        self.commits.retain(|(_, of), _| of.topic != *topic);
    }

    pub(super) fn producer_id(&mut self, id: i64) {
        assert!(self.producer_ids.insert(id), "producer id {id} came twice");
    }

    pub(super) fn commit(&mut self, group: &str, of: &TopicPartition, offset: u64, known: bool) {
        let key = (group.to_owned(), of.clone());
        let fates = self.commits.entry(key).or_insert_with(|| vec![None]);
        if known {
            fates.clear();
        }
        fates.push(Some(offset));
    }

    /// Checks what a broker says a group committed, which makes it certain.
    pub(super) fn check_commit(&mut self, group: &str, of: &TopicPartition, found: Option<u64>) {
        let key = (group.to_owned(), of.clone());
        let fates = self.commits.entry(key).or_insert_with(|| vec![None]);
        assert!(
            fates.contains(&found),
            "{group} in {of} is at {found:?}, it can only be at one of {fates:?}"
        );
        *fates = vec![found];
    }
}

impl LogFate {
    /// Checks all records of a log, and remembers them as seen if that makes them certain.
    pub(super) fn check(
        &mut self,
        of: &TopicPartition,
        start: u64,
        records: &[(Offset, String)],
        seen_is_certain: bool,
    ) {
        assert!(
            start >= self.start,
            "{of} starts at {start}, acknowledged was {}",
            self.start
        );
        assert!(
            start <= self.start_asked.max(self.start),
            "{of} starts at {start}, asked for was at most {}",
            self.start_asked
        );
        self.start = start;
        let mut next = None;
        let mut found = HashSet::new();
        for (offset, value) in records {
            let offset = offset.get();
            assert!(
                next.is_none_or(|next| next == offset),
                "{of} has a gap before {offset}"
            );
            next = Some(offset + 1);
            assert!(
                self.sent.contains(value),
                "{of} holds {value} at {offset}, never sent"
            );
            assert!(found.insert(value), "{of} holds {value} twice");
        }
        let by_offset: BTreeMap<u64, &String> = records
            .iter()
            .map(|(offset, value)| (offset.get(), value))
            .collect();
        for (offset, value) in self.certain.range(start..) {
            let there = by_offset.get(offset);
            assert!(
                there.is_some_and(|there| *there == value),
                "{of} lost {value} at {offset}: there is {there:?}"
            );
        }
        if seen_is_certain {
            for (offset, value) in records {
                self.certain.insert(offset.get(), value.clone());
            }
        }
    }
}
