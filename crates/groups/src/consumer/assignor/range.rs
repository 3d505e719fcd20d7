//! `range`: each topic by itself, in runs of neighbours.
//!
//! Topics with the same readers and as many partitions are divided as one: whoever has partition 3 of
//! one has it of all, so that records of one key in several topics meet in one member. Members keep
//! their numbers when others come and go; only a fresh division is in unbroken runs.

use std::collections::BTreeMap;

use model::{PartitionId, TopicId};

use super::divide::{Fill, divide};
use super::{Assignment, Subscriber};

pub(super) fn assign(
    subscribers: &[Subscriber<'_>],
    partitions: &BTreeMap<TopicId, u32>,
) -> Vec<Assignment> {
    let mut alike: BTreeMap<(u32, Vec<usize>), Vec<TopicId>> = BTreeMap::new();
    for (topic, count) in partitions {
        let readers = subscribers.iter().enumerate();
        let readers = readers.filter(|(_, one)| one.topics.contains(topic));
        let readers: Vec<_> = readers.map(|(member, _)| member).collect();
        if !readers.is_empty() {
            alike.entry((*count, readers)).or_default().push(*topic);
        }
    }
    let mut shares = vec![Assignment::new(); subscribers.len()];
    for ((count, readers), topics) in alike {
        let numbers = divide_alike(subscribers, count, &readers, &topics);
        for (member, numbers) in readers.into_iter().zip(numbers) {
            for topic in &topics {
                shares[member].extend(numbers.iter().map(|number| (*topic, *number)));
            }
        }
    }
    shares
}

/// The partition numbers of each reader. A number stays with whoever had it in the first of the topics
/// in which somebody had it.
fn divide_alike(
    subscribers: &[Subscriber<'_>],
    count: u32,
    readers: &[usize],
    topics: &[TopicId],
) -> Vec<Vec<PartitionId>> {
    let mut owners: BTreeMap<PartitionId, usize> = BTreeMap::new();
    for topic in topics {
        for (place, member) in readers.iter().enumerate() {
            let had = subscribers[*member].previous.of(*topic);
            for number in had.filter(|number| number.get() < count) {
                owners.entry(number).or_insert(place);
            }
        }
        if owners.len() == usize::try_from(count).unwrap_or(usize::MAX) {
            break;
        }
    }
    let mut kept = vec![Vec::new(); readers.len()];
    let mut free = Vec::new();
    for number in (0..count).map(PartitionId::new) {
        match owners.get(&number) {
            Some(place) => kept[*place].push(number),
            None => free.push(number),
        }
    }
    divide(kept, free, Fill::InRuns)
}
