//! A set of partitions by topic: what a member has, should have, or must give back.
//!
//! Invariants: no topic is there without a partition; iteration is by topic id, then by partition.

use std::collections::{BTreeMap, BTreeSet};

use model::{PartitionId, TopicId};

/// A set of partitions by topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    topics: BTreeMap<TopicId, BTreeSet<PartitionId>>,
}

impl Assignment {
    /// No partitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; says whether it was not there before.
    pub fn insert(&mut self, topic: TopicId, partition: PartitionId) -> bool {
        self.topics.entry(topic).or_default().insert(partition)
    }

    /// Whether it is in the set.
    pub fn contains(&self, topic: TopicId, partition: PartitionId) -> bool {
        let partitions = self.topics.get(&topic);
        partitions.is_some_and(|partitions| partitions.contains(&partition))
    }

    /// Its partitions one by one.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, PartitionId)> {
        let each = self.topics.iter();
        each.flat_map(|(topic, partitions)| partitions.iter().map(|one| (*topic, *one)))
    }

    /// Its topics with their partitions.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (TopicId, &BTreeSet<PartitionId>)> {
        self.topics.iter().map(|(topic, all)| (*topic, all))
    }

    /// Its partitions of one topic.
    pub fn of(&self, topic: TopicId) -> impl Iterator<Item = PartitionId> {
        self.topics.get(&topic).into_iter().flatten().copied()
    }

    /// How many partitions it has.
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether every partition of it is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.topics().all(|(topic, mine)| {
            let theirs = other.topics.get(&topic);
            theirs.is_some_and(|theirs| mine.is_subset(theirs))
        })
    }

    /// Whether a partition is in both.
    pub fn intersects(&self, other: &Self) -> bool {
        self.topics().any(|(topic, mine)| {
            let theirs = other.topics.get(&topic);
            theirs.is_some_and(|theirs| !mine.is_disjoint(theirs))
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter()
            .filter(|(t, p)| other.contains(*t, *p))
            .collect()
    }

    /// What is in it and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.iter()
            .filter(|(t, p)| !other.contains(*t, *p))
            .collect()
    }
}

impl FromIterator<(TopicId, PartitionId)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (TopicId, PartitionId)>>(partitions: I) -> Self {
        let mut all = Self::new();
        all.extend(partitions);
        all
    }
}

impl Extend<(TopicId, PartitionId)> for Assignment {
    fn extend<I: IntoIterator<Item = (TopicId, PartitionId)>>(&mut self, partitions: I) {
        for (topic, partition) in partitions {
            self.insert(topic, partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[(u8, u32)]) -> Assignment {
        let each = partitions.iter();
        each.map(|(topic, number)| (TopicId::from_bytes([*topic; 16]), PartitionId::new(*number)))
            .collect()
    }

    #[test]
    fn sets_are_told_apart_by_topic_and_partition() {
        let (a, b) = (set(&[(1, 0), (1, 1), (2, 0)]), set(&[(1, 1), (2, 1)]));
        assert_eq!(a.len(), 3);
        assert_eq!(a.intersection(&b), set(&[(1, 1)]));
        assert_eq!(a.difference(&b), set(&[(1, 0), (2, 0)]));
        assert!(a.intersects(&b) && !a.intersects(&set(&[(3, 0), (2, 1)])));
        assert!(set(&[(2, 0)]).is_subset(&a) && !b.is_subset(&a));
        assert!(set(&[]).is_subset(&b) && set(&[]).is_empty());
        assert_eq!(
            a.difference(&a),
            Assignment::new(),
            "no empty topics are left"
        );
    }
}
