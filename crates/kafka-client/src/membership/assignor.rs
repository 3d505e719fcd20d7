//! Who reads what, as the leader of a group decides it. Source: Kafka's RangeAssignor and RoundRobinAssignor.
//!
//! Pure: members and partition counts in, an assignment out. Every partition of a topic that anybody
//! subscribed to is given to exactly one of its subscribers.

use std::collections::{BTreeMap, BTreeSet};

use model::{PartitionId, TopicName, TopicPartition};

/// The topics that each member wants.
pub(crate) type Subscriptions = BTreeMap<String, BTreeSet<TopicName>>;

/// What each member reads.
pub(crate) type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// A way to assign partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// Of each topic a run of partitions to each subscriber.
    Range,
    /// All partitions of all topics, one after another, to each subscriber in turn.
    RoundRobin,
}

impl Assignor {
    /// In the order in which a member prefers them.
    pub(crate) const ALL: [Self; 2] = [Self::Range, Self::RoundRobin];

    /// Its name in JoinGroup.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Assigns the partitions of `topics`, which are numbers of partitions.
    pub(crate) fn assign(
        self,
        members: &Subscriptions,
        topics: &BTreeMap<TopicName, u32>,
    ) -> Assignment {
        let mut assignment: Assignment = members.keys().map(|id| (id.clone(), vec![])).collect();
        match self {
            Self::Range => range(members, topics, &mut assignment),
            Self::RoundRobin => round_robin(members, topics, &mut assignment),
        }
        assignment
    }
}

fn subscribers<'a>(members: &'a Subscriptions, topic: &TopicName) -> Vec<&'a String> {
    let all = members.iter();
    all.filter(|(_, topics)| topics.contains(topic))
        .map(|(id, _)| id)
        .collect()
}

fn range(members: &Subscriptions, topics: &BTreeMap<TopicName, u32>, to: &mut Assignment) {
    for (topic, partitions) in topics {
        let readers = subscribers(members, topic);
        let Ok(count @ 1..) = u32::try_from(readers.len()) else {
            continue;
        };
        let (each, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (index, reader) in (0..).zip(readers) {
            let end = next + each + u32::from(index < more);
            give(to, reader, topic, next..end);
            next = end;
        }
    }
}

fn round_robin(members: &Subscriptions, topics: &BTreeMap<TopicName, u32>, to: &mut Assignment) {
    let mut turn = members.iter().cycle();
    for (topic, partitions) in topics {
        if subscribers(members, topic).is_empty() {
            continue;
        }
        for partition in 0..*partitions {
            let next = turn.find(|(_, topics)| topics.contains(topic));
            if let Some((reader, _)) = next {
                give(to, reader, topic, partition..partition + 1);
            }
        }
    }
}

fn give(to: &mut Assignment, reader: &str, topic: &TopicName, partitions: std::ops::Range<u32>) {
    if let Some(given) = to.get_mut(reader) {
        let numbers = partitions.map(PartitionId::new);
        given.extend(numbers.map(|number| TopicPartition::new(topic.clone(), number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a:x,y b:x` and `x=3 y=2` to `a[x/0 x/1 y/0 y/1] b[x/2]`.
    fn check(assignor: Assignor, members: &str, topics: &str, expected: &str) {
        let members: Subscriptions = members
            .split(' ')
            .map(|member| {
                let (id, topics) = member.split_once(':').unwrap();
                let topics = topics.split(',').filter(|name| !name.is_empty());
                (id.to_owned(), topics.map(|t| t.parse().unwrap()).collect())
            })
            .collect();
        let topics = topics
            .split(' ')
            .map(|topic| {
                let (name, count) = topic.split_once('=').unwrap();
                (name.parse().unwrap(), count.parse().unwrap())
            })
            .collect();
        let assignment = assignor.assign(&members, &topics);
        let shown: Vec<String> = assignment
            .iter()
            .map(|(id, given)| {
                let given = given
                    .iter()
                    .map(|at| format!("{}/{}", at.topic, at.partition));
                format!("{id}[{}]", given.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn range_gives_runs_of_each_topic() {
        let range = Assignor::Range;
        check(range, "a:x b:x", "x=5", "a[x/0 x/1 x/2] b[x/3 x/4]");
        check(
            range,
            "a:x,y b:x,y",
            "x=3 y=3",
            "a[x/0 x/1 y/0 y/1] b[x/2 y/2]",
        );
        check(range, "a:x b:x c:x", "x=2", "a[x/0] b[x/1] c[]");
        check(range, "a:x b:y", "x=2 y=1 z=4", "a[x/0 x/1] b[y/0]");
        check(range, "a:", "x=2", "a[]");
    }

    #[test]
    fn round_robin_deals_out_all_topics() {
        let robin = Assignor::RoundRobin;
        check(
            robin,
            "a:x,y b:x,y",
            "x=3 y=3",
            "a[x/0 x/2 y/1] b[x/1 y/0 y/2]",
        );
        check(robin, "a:x,y b:y", "x=2 y=2", "a[x/0 x/1 y/1] b[y/0]");
        check(robin, "a:x", "x=1 y=9", "a[x/0]");
    }
}
