//! Assignors: who should have which partition.
//!
//! Invariants of both: every partition of every topic that somebody reads is given to exactly one
//! member that reads it; the result follows from the input alone; who had a partition keeps it unless
//! balance asks for it. Neither looks at racks.
//!
//! | name | balances | for |
//! |---|---|---|
//! | `uniform` (default) | all partitions together: with equal subscriptions no two members differ by more than one | even load |
//! | `range` | each topic by itself; topics with as many partitions and the same readers are divided alike, so partition 3 of one and of the other are one member's | joins |
//!
//! Source: KIP-848's requirements of `uniform` and `range`; the algorithms are our own.

mod divide;
mod range;
mod unequal;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use model::{PartitionId, TopicId};

use super::Assignment;

/// A way of assigning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Even over all partitions.
    Uniform,
    /// Even in each topic, alike in topics that are alike.
    Range,
}

impl Assignor {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A member, as an assignor sees it.
#[derive(Debug, Clone, Copy)]
pub struct Subscriber<'a> {
    /// The topics it reads.
    pub topics: &'a BTreeSet<TopicId>,
    /// What it should have had so far.
    pub previous: &'a Assignment,
}

/// One partition of one topic.
type Partition = (TopicId, PartitionId);

/// What each of `subscribers` should have, in their order. `partitions` says how many each topic has;
/// a topic that is missing there has none.
pub fn assign(
    assignor: Assignor,
    subscribers: &[Subscriber<'_>],
    partitions: &BTreeMap<TopicId, u32>,
) -> Vec<Assignment> {
    if subscribers.is_empty() {
        return Vec::new();
    }
    match assignor {
        Assignor::Uniform => uniform::assign(subscribers, partitions),
        Assignor::Range => range::assign(subscribers, partitions),
    }
}

/// What each subscriber may keep of what it had (it still reads the topic, the partition is there, and
/// nobody before it in the list had it too), and what nobody has.
fn keep(
    subscribers: &[Subscriber<'_>],
    partitions: &BTreeMap<TopicId, u32>,
) -> (Vec<Vec<Partition>>, BTreeSet<Partition>) {
    let mut free = BTreeSet::new();
    for (topic, count) in partitions {
        if subscribers.iter().any(|one| one.topics.contains(topic)) {
            free.extend((0..*count).map(|number| (*topic, PartitionId::new(number))));
        }
    }
    let kept = subscribers.iter().map(|one| {
        let had = one.previous.iter();
        had.filter(|at| one.topics.contains(&at.0) && free.remove(at))
            .collect()
    });
    (kept.collect(), free)
}
