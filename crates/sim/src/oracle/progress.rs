//! What groups committed: a register for each group and partition, written by several at once.
//!
//! A write that was acknowledged takes the place of every write that had been answered before it
//! began; one that was not answered may count at any time. A look after a restart makes what it finds
//! the only possibility.

use std::collections::{BTreeMap, BTreeSet};

use model::{TopicName, TopicPartition};

/// One write that may be what is stored.
#[derive(Debug, Clone)]
struct Write {
    id: u64,
    began: u64,
    /// When it was acknowledged.
    ended: Option<u64>,
    value: Option<u64>,
}

/// A write that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    group: String,
    of: TopicPartition,
    id: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Commits {
    registers: BTreeMap<(String, TopicPartition), Vec<Write>>,
    delivered: BTreeMap<(String, TopicPartition), BTreeSet<u64>>,
    now: u64,
}

impl Commits {
    fn register(&mut self, group: &str, of: &TopicPartition) -> &mut Vec<Write> {
        let never = Write {
            id: 0,
            began: 0,
            ended: Some(0),
            value: None,
        };
        self.registers
            .entry((group.to_owned(), of.clone()))
            .or_insert_with(|| vec![never])
    }

    /// A commit is asked for.
    pub(crate) fn begin(
        &mut self,
        group: &str,
        of: &TopicPartition,
        value: Option<u64>,
    ) -> Written {
        self.now += 1;
        let now = self.now;
        self.register(group, of).push(Write {
            id: now,
            began: now,
            ended: None,
            value,
        });
        Written {
            group: group.to_owned(),
            of: of.clone(),
            id: now,
        }
    }

    /// It was acknowledged.
    pub(crate) fn acknowledge(&mut self, written: &Written) {
        self.now += 1;
        let now = self.now;
        let register = self.register(&written.group, &written.of);
        let Some(write) = register.iter_mut().find(|write| write.id == written.id) else {
            return;
        };
        write.ended = Some(now);
        let began = write.began;
        register.retain(|write| write.ended.is_none_or(|ended| ended >= began));
    }

    /// It was refused before anything was stored.
    pub(crate) fn refuse(&mut self, written: &Written) {
        self.register(&written.group, &written.of)
            .retain(|write| write.id != written.id);
    }

    /// What may be stored now.
    pub(crate) fn possible(&mut self, group: &str, of: &TopicPartition) -> BTreeSet<Option<u64>> {
        let register = self.register(group, of);
        register.iter().map(|write| write.value).collect()
    }

    /// Checks what was found when nobody else was at work, which makes it certain.
    pub(crate) fn check(
        &mut self,
        group: &str,
        of: &TopicPartition,
        found: Option<u64>,
        excused: bool,
    ) {
        let possible = self.possible(group, of);
        assert!(
            excused || possible.contains(&found),
            "{group} in {of} is at {found:?}, it can only be at one of {possible:?}"
        );
        self.now += 1;
        let now = self.now;
        *self.register(group, of) = vec![Write {
            id: now,
            began: now,
            ended: Some(now),
            value: found,
        }];
    }

    /// All groups and partitions that were ever written.
    pub(crate) fn known(&self) -> Vec<(String, TopicPartition)> {
        self.registers.keys().cloned().collect()
    }

    /// A member of the group was given these records.
    pub(crate) fn deliver(
        &mut self,
        group: &str,
        of: &TopicPartition,
        offsets: impl Iterator<Item = u64>,
    ) {
        let key = (group.to_owned(), of.clone());
        self.delivered.entry(key).or_default().extend(offsets);
    }

    /// Whether a member of the group was given the record.
    pub(crate) fn was_delivered(&self, group: &str, of: &TopicPartition, offset: u64) -> bool {
        let delivered = self.delivered.get(&(group.to_owned(), of.clone()));
        delivered.is_some_and(|offsets| offsets.contains(&offset))
    }

    pub(crate) fn forget_topic(&mut self, topic: &TopicName) {
        self.registers.retain(|(_, of), _| of.topic != *topic);
        self.delivered.retain(|(_, of), _| of.topic != *topic);
    }
}
