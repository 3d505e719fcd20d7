//! Which topics there are, as far as the one administrator of the run knows.
//!
//! Each change that is asked for, answered, or found out begins a new era of the topic's name. Calls
//! of others that saw an era end prove nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use model::{TopicId, TopicName};

/// What is known of one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    pub(crate) era: u64,
    /// Its id if it exists; `None` if it does not.
    pub(crate) id: Option<TopicId>,
    /// A creation or deletion is asked for and not answered.
    pub(crate) changing: bool,
    /// How many partitions it may have.
    pub(crate) partitions: Option<RangeInclusive<u32>>,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    known: BTreeMap<TopicName, Topic>,
}

impl Topics {
    pub(crate) fn get(&self, name: &TopicName) -> Topic {
        self.known.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> Vec<TopicName> {
        self.known.keys().cloned().collect()
    }

    /// The era of a name, and whether it is settled: only then do answers prove anything.
    pub(crate) fn era(&self, name: &TopicName) -> u64 {
        self.known.get(name).map_or(0, |topic| topic.era)
    }

    pub(crate) fn is_settled(&self, name: &TopicName) -> bool {
        self.known
            .get(name)
            .is_some_and(|topic| !topic.changing && topic.id.is_some())
    }

    /// A change is asked for.
    pub(crate) fn change(&mut self, name: &TopicName) {
        let topic = self.known.entry(name.clone()).or_default();
        topic.era += 1;
        topic.changing = true;
    }

    /// It is known what became of it.
    pub(crate) fn settle(&mut self, name: &TopicName, id: Option<TopicId>) {
        let topic = self.known.entry(name.clone()).or_default();
        topic.era += 1;
        topic.changing = false;
        topic.id = id;
    }

    pub(crate) fn set_partitions(&mut self, name: &TopicName, range: RangeInclusive<u32>) {
        self.known.entry(name.clone()).or_default().partitions = Some(range);
    }
}
