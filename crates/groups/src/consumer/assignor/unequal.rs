//! Balancing members who read different topics.
//!
//! Everybody keeps what it had. What is free goes to whoever has least among those who read it, topics
//! with few readers first. Then, topic by topic, partitions move from the member that has most to the
//! one that has least, as long as they are two or more apart. Each move makes the sum of squares of the
//! sizes smaller, so this ends; at the end no single move makes two members more even.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use model::{PartitionId, TopicId};

use super::{Partition, Subscriber};

/// Who reads a topic, and which partitions of it each owner has.
#[derive(Debug, Default)]
struct Readers {
    all: Vec<usize>,
    owned: BTreeMap<usize, Vec<PartitionId>>,
}

pub(super) fn balance(
    subscribers: &[Subscriber<'_>],
    kept: Vec<Vec<Partition>>,
    free: BTreeSet<Partition>,
) -> Vec<Vec<Partition>> {
    let mut loads: Vec<usize> = kept.iter().map(Vec::len).collect();
    let mut topics: BTreeMap<TopicId, Readers> = BTreeMap::new();
    for (member, one) in subscribers.iter().enumerate() {
        for topic in one.topics {
            topics.entry(*topic).or_default().all.push(member);
        }
    }
    for (member, had) in kept.into_iter().enumerate() {
        for (topic, partition) in had {
            let readers = topics.entry(topic).or_default();
            readers.owned.entry(member).or_default().push(partition);
        }
    }
    give(&mut topics, free, &mut loads);
    while topics.values_mut().any(|topic| topic.even(&mut loads)) {}
    let mut shares = vec![Vec::new(); subscribers.len()];
    for (topic, readers) in topics {
        for (member, partitions) in readers.owned {
            let partitions = partitions.into_iter();
            shares[member].extend(partitions.map(|partition| (topic, partition)));
        }
    }
    shares
}

fn give(topics: &mut BTreeMap<TopicId, Readers>, free: BTreeSet<Partition>, loads: &mut [usize]) {
    let mut by_topic: BTreeMap<TopicId, Vec<PartitionId>> = BTreeMap::new();
    for (topic, partition) in free {
        by_topic.entry(topic).or_default().push(partition);
    }
    let mut order: Vec<_> = by_topic.into_iter().collect();
    order.sort_by_key(|(topic, _)| topics.get(topic).map_or(0, |readers| readers.all.len()));
    for (topic, partitions) in order {
        let Some(readers) = topics.get_mut(&topic) else {
            continue;
        };
        let waiting = readers.all.iter();
        let mut waiting: BinaryHeap<_> = waiting.map(|one| Reverse((loads[*one], *one))).collect();
        for partition in partitions {
            let Some(Reverse((load, member))) = waiting.pop() else {
                break;
            };
            readers.owned.entry(member).or_default().push(partition);
            loads[member] = load + 1;
            waiting.push(Reverse((load + 1, member)));
        }
    }
}

impl Readers {
    /// Moves partitions until owners and readers are even; says whether it moved any.
    fn even(&mut self, loads: &mut [usize]) -> bool {
        let mut moved = false;
        loop {
            let most = self.owned.keys().copied().max_by_key(|one| loads[*one]);
            let least = self.all.iter().copied().min_by_key(|one| loads[*one]);
            let (Some(most), Some(least)) = (most, least) else {
                return moved;
            };
            if loads[most] < loads[least] + 2 {
                return moved;
            }
            let Some(partitions) = self.owned.get_mut(&most) else {
                return moved;
            };
            let partition = partitions.pop();
            if partitions.is_empty() {
                self.owned.remove(&most);
            }
            self.owned.entry(least).or_default().extend(partition);
            loads[most] -= 1;
            loads[least] += 1;
            moved = true;
        }
    }
}
