//! What assignors promise, over small groups of every shape.

use std::collections::{BTreeMap, BTreeSet};

use groups::consumer::{Assignment, Assignor, Subscriber, assign};
use model::TopicId;
use proptest::prelude::*;

use crate::consumer_play::{partitions, text_of, topic_id};

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

type Counts = BTreeMap<TopicId, u32>;

/// Members with what they read and had, and how many partitions topics have.
#[derive(Debug, Clone)]
struct Case {
    counts: Counts,
    members: Vec<(BTreeSet<TopicId>, Assignment)>,
}

impl Case {
    fn assign(&self, assignor: Assignor) -> Vec<Assignment> {
        let members = self.members.iter();
        let subscribers: Vec<_> = members
            .map(|(topics, previous)| Subscriber { topics, previous })
            .collect();
        assign(assignor, &subscribers, &self.counts)
    }

    /// The case in which everybody has what it was assigned.
    fn settled(mut self, assignor: Assignor) -> Self {
        let assigned = self.assign(assignor);
        for ((_, previous), now) in self.members.iter_mut().zip(assigned) {
            *previous = now;
        }
        self
    }

    /// How many partitions are somebody else's now.
    fn moved(&self, after: &[Assignment]) -> usize {
        let pairs = self.members.iter().zip(after);
        pairs
            .map(|((_, before), now)| before.difference(now).len())
            .sum()
    }
}

fn reads(names: &[&str]) -> BTreeSet<TopicId> {
    names.iter().map(|name| topic_id(name)).collect()
}

fn counts() -> impl Strategy<Value = Counts> {
    prop::collection::vec(0..7_u32, TOPICS.len()).prop_map(|counts| {
        let named = TOPICS.iter().zip(counts);
        named.map(|(name, count)| (topic_id(name), count)).collect()
    })
}

fn had() -> impl Strategy<Value = Assignment> {
    prop::collection::vec((0..TOPICS.len(), 0..9_u32), 0..6).prop_map(|all| {
        let all = all.into_iter();
        all.map(|(topic, number)| {
            let number = model::PartitionId::new(number);
            (topic_id(TOPICS[topic]), number)
        })
        .collect()
    })
}

/// Members that read any topics and had anything, also what is not there or was another's too.
fn any_case() -> impl Strategy<Value = Case> {
    let member = (prop::sample::subsequence(TOPICS.to_vec(), 0..=4), had());
    let members = prop::collection::vec(member, 1..6);
    (counts(), members).prop_map(|(counts, members)| Case {
        counts,
        members: members
            .into_iter()
            .map(|(names, had)| (reads(&names), had))
            .collect(),
    })
}

fn alike(counts: Counts, members: usize) -> Case {
    Case {
        counts,
        members: vec![(reads(&TOPICS), Assignment::new()); members],
    }
}

fn sizes(assigned: &[Assignment]) -> (usize, usize) {
    let sizes = assigned.iter().map(Assignment::len);
    (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0))
}

proptest! {
    #[test]
    fn every_partition_that_is_read_has_one_owner_who_reads_it(case in any_case()) {
        for assignor in Assignor::ALL {
            let assigned = case.assign(assignor);
            prop_assert_eq!(assigned.len(), case.members.len());
            let mut all = Assignment::new();
            for (share, (topics, _)) in assigned.iter().zip(&case.members) {
                for (topic, partition) in share.iter() {
                    prop_assert!(topics.contains(&topic), "a topic nobody asked for");
                    prop_assert!(partition.get() < case.counts[&topic], "no such partition");
                    prop_assert!(all.insert(topic, partition), "two owners");
                }
            }
            let is_read = |topic| case.members.iter().any(|(topics, _)| topics.contains(topic));
            let expected = case.counts.iter().filter(|(topic, _)| is_read(topic));
            let expected: u32 = expected.map(|(_, count)| *count).sum();
            prop_assert_eq!(all.len(), usize::try_from(expected).unwrap());
            prop_assert_eq!(case.assign(assignor), assigned, "the same again");
        }
    }

    #[test]
    fn who_has_its_share_keeps_it(case in any_case()) {
        for assignor in Assignor::ALL {
            let settled = case.clone().settled(assignor);
            let again = settled.assign(assignor);
            prop_assert_eq!(settled.moved(&again), 0);
        }
    }

    #[test]
    fn uniform_is_even_for_equal_subscriptions(case in any_case()) {
        let mut case = case;
        for (topics, _) in &mut case.members {
            *topics = reads(&TOPICS);
        }
        let (least, most) = sizes(&case.assign(Assignor::Uniform));
        prop_assert!(most - least <= 1, "{least} to {most}");
    }

    #[test]
    fn uniform_leaves_no_single_move_that_helps(case in any_case()) {
        let assigned = case.assign(Assignor::Uniform);
        for share in &assigned {
            for (topic, _) in share.iter() {
                for (other, (topics, _)) in assigned.iter().zip(&case.members) {
                    let helps = topics.contains(&topic) && other.len() + 1 < share.len();
                    prop_assert!(!helps, "{} and {}", text_of(share), text_of(other));
                }
            }
        }
    }

    #[test]
    fn range_is_even_in_each_topic_and_alike_in_topics_that_are_alike(case in any_case()) {
        let assigned = case.assign(Assignor::Range);
        let readers = |topic: &TopicId| -> Vec<usize> {
            let members = case.members.iter().enumerate();
            members.filter(|(_, (topics, _))| topics.contains(topic)).map(|(at, _)| at).collect()
        };
        let numbers = |member: usize, topic: &TopicId| -> Vec<_> {
            assigned[member].of(*topic).collect()
        };
        for (topic, count) in &case.counts {
            let readers_here = readers(topic);
            let sizes = readers_here.iter().map(|member| numbers(*member, topic).len());
            let (least, most) = (sizes.clone().min(), sizes.max());
            prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
            let twins = case.counts.iter().filter(|(other, same)| {
                *same == count && readers(other) == readers_here
            });
            for (twin, _) in twins {
                for member in &readers_here {
                    prop_assert_eq!(numbers(*member, topic), numbers(*member, twin));
                }
            }
        }
    }

    #[test]
    fn a_member_that_comes_or_goes_moves_no_more_than_it_must(
        counts in counts(), members in 1..7_usize, gone in 0..7_usize,
    ) {
        let total: u32 = counts.values().sum();
        let total = usize::try_from(total).unwrap();
        let settled = alike(counts, members).settled(Assignor::Uniform);

        let mut more = settled.clone();
        more.members.push((reads(&TOPICS), Assignment::new()));
        let after = more.assign(Assignor::Uniform);
        prop_assert_eq!(more.moved(&after), total / (members + 1), "the new one's share, no more");

        let mut fewer = settled;
        let gone = gone % members;
        fewer.members.remove(gone);
        let after = fewer.assign(Assignor::Uniform);
        prop_assert_eq!(fewer.moved(&after), 0, "only what the lost one had finds new owners");
    }
}

#[test]
fn first_assignments_read_as_one_expects() {
    let counts = || -> Counts { [(topic_id("a"), 3), (topic_id("b"), 3)].into() };
    let shares = |case: &Case, assignor| {
        let assigned = case.assign(assignor);
        assigned.iter().map(text_of).collect::<Vec<_>>()
    };
    let two = alike(counts(), 2);
    assert_eq!(shares(&two, Assignor::Uniform), ["a0 a2 b1", "a1 b0 b2"]);
    assert_eq!(shares(&two, Assignor::Range), ["a0 a1 b0 b1", "a2 b2"]);
    let mut unequal = two;
    unequal.members[1] = (reads(&["b"]), partitions("b2"));
    assert_eq!(
        shares(&unequal, Assignor::Uniform),
        ["a0 a1 a2", "b0 b1 b2"]
    );
    assert_eq!(
        shares(&unequal, Assignor::Range),
        ["a0 a1 a2 b0 b1", "b2"],
        "b2 stays"
    );
    let nobody = Case {
        counts: counts(),
        members: vec![],
    };
    assert_eq!(shares(&nobody, Assignor::Uniform), Vec::<String>::new());
}
