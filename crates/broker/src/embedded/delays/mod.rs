//! How late groups are: fed by every change of progress, told to whoever asks.
//!
//! All commits come by here, whoever made them: members of either protocol, transactions that end, listeners; they
//! are records of `lantern.groups`, and what is applied to the progress in memory is noted after it. So a delay ends
//! when the commit is durable.
//!
//! After a start the window is empty. Where groups stand is known from their progress, and since when the
//! records behind that wait from timestamps in the log ([`learn`]): their producers' clocks, unless the topic stamps
//! on arrival, and never later than the start.
//!
//! Invariant: the lock of the places is taken before a timeline's and never together with that of the progress.
//! Not here: the arithmetic (`delay`), the metrics (`metrics`).

mod learn;
mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;

use delay::{Place, Tally};
use model::{GroupId, Offset, Position, TopicPartition};

use super::Shared;
use super::partition::{Partition, Times};
use super::reads::offset_of;
use crate::{DelayFilter, Delays, GroupDelay, PlaceDelay};

pub(crate) use learn::run as learn;
pub(crate) use metrics::register;

/// Places that are copied at once by who looks, so that who commits waits for microseconds.
const PAGE: usize = 64;

/// A change of progress.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) group: GroupId,
    pub(crate) of: TopicPartition,
    /// `None`: it was forgotten.
    pub(crate) to: Option<Position>,
}

/// Takes up the places of all groups, once the progress is replayed.
pub(crate) fn begin(shared: &Shared) {
    let moved = shared.progress.lock().note_moves();
    note(shared, moved);
}

/// Notes what changed, in order.
pub(crate) fn note(shared: &Shared, moved: Vec<Moved>) {
    if moved.is_empty() {
        return;
    }
    let mut places = shared.places.lock();
    for Moved { group, of, to } in moved {
        let Some(to) = to.and_then(offset_of) else {
            places.remove(&group, &of);
            continue;
        };
        let Ok(partition) = shared.partition(&of) else {
            continue;
        };
        let Some(times) = partition.times() else {
            continue;
        };
        let now = times.now();
        let Some(place) = places.place(&group, &of, to, now) else {
            continue;
        };
        let mut timeline = times.timeline();
        timeline.watched();
        place.commit(to, now, &timeline);
    }
}

/// How late the groups are that `filter` picks.
pub(crate) fn look(shared: &Shared, filter: &DelayFilter) -> Delays {
    let mut delays = Delays::default();
    let mut groups: BTreeMap<GroupId, Whole> = BTreeMap::new();
    let wanted = |group: &GroupId, of: &TopicPartition| {
        filter.group.as_ref().is_none_or(|it| it == group)
            && filter.topic.as_ref().is_none_or(|it| *it == of.topic)
    };
    let mut after = None;
    loop {
        let page = shared.places.lock().page(after.as_ref(), PAGE, wanted);
        let Some((group, of, _)) = page.last() else {
            break;
        };
        after = Some((group.clone(), of.clone()));
        for (group, of, mut place) in page {
            // Its topic may just be going.
            let Ok(partition) = shared.partition(&of) else {
                continue;
            };
            let Some(times) = partition.times() else {
                continue;
            };
            let told = look_at(&group, &of, &mut place, &partition, times);
            let known = groups.entry(group).or_default();
            known.lag += told.lag;
            known.age_ms = known.age_ms.max(told.seen.age_ms);
            place.sketches().for_each(|sketch| known.tally.add(sketch));
            delays.places.push(told);
        }
    }
    let whole = |(group, known): (GroupId, Whole)| GroupDelay {
        group,
        lag: known.lag,
        age_ms: known.age_ms,
        delay: known.tally.quantiles(),
    };
    delays.groups = groups.into_iter().map(whole).collect();
    let measured = shared.places.lock().len();
    let committed = shared.progress.lock().commits();
    delays.unmeasured = committed.saturating_sub(measured);
    delays
}

/// What is known of a group while its places are gone through.
#[derive(Debug, Default)]
struct Whole {
    lag: u64,
    age_ms: Option<u64>,
    tally: Tally,
}

fn look_at(
    group: &GroupId,
    of: &TopicPartition,
    place: &mut Place,
    partition: &Arc<Partition>,
    times: &Times,
) -> PlaceDelay {
    let seen = place.look(partition.log_start(), times.now(), &times.timeline());
    let end: Offset = partition.readable();
    PlaceDelay {
        group: group.clone(),
        of: of.clone(),
        end,
        lag: end.since(seen.committed),
        seen,
    }
}
