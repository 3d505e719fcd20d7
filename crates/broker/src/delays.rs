//! How late consumers are, as callers ask and are told.
//!
//! Not here: what the figures mean (`delay`), where they come from (`embedded::delays`).

use delay::{Quantiles, Seen};
use model::{GroupId, Offset, TopicName, TopicPartition};

/// Which places are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DelayFilter {
    /// Only this group.
    pub group: Option<GroupId>,
    /// Only this topic.
    pub topic: Option<TopicName>,
}

/// How late groups are, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delays {
    /// By group and partition.
    pub places: Vec<PlaceDelay>,
    /// By group, over its places above.
    pub groups: Vec<GroupDelay>,
    /// Places that are not measured, of all groups, because there are more than [`delay::PLACES_MAX`].
    pub unmeasured: usize,
}

/// One group in one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceDelay {
    /// The group.
    pub group: GroupId,
    /// The partition.
    pub of: TopicPartition,
    /// The partition's high watermark.
    pub end: Offset,
    /// Records between what is committed and the high watermark.
    pub lag: u64,
    /// The rest.
    pub seen: Seen,
}

/// One group as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDelay {
    /// The group.
    pub group: GroupId,
    /// Sum over its partitions.
    pub lag: u64,
    /// The largest of its partitions; none where it is not known of any.
    pub age_ms: Option<u64>,
    /// Of all records that it passed in the window.
    pub delay: Option<Quantiles>,
}
