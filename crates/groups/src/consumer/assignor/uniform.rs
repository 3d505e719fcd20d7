//! `uniform`: all partitions together, evenly.
//!
//! Members that all read the same topics are the usual case and have an exact answer ([`divide`]).
//! Members that read different topics are in `unequal`.

use std::collections::BTreeMap;

use model::TopicId;

use super::divide::{Fill, divide};
use super::{Assignment, Subscriber, keep, unequal};

pub(super) fn assign(
    subscribers: &[Subscriber<'_>],
    partitions: &BTreeMap<TopicId, u32>,
) -> Vec<Assignment> {
    let (kept, free) = keep(subscribers, partitions);
    let same = |pair: &[Subscriber<'_>]| {
        std::ptr::eq(pair[0].topics, pair[1].topics) || pair[0].topics == pair[1].topics
    };
    let shares = if subscribers.windows(2).all(same) {
        divide(kept, free, Fill::InTurn)
    } else {
        unequal::balance(subscribers, kept, free)
    };
    let shares = shares.into_iter();
    shares.map(|share| share.into_iter().collect()).collect()
}
