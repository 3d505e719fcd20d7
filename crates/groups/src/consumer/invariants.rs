//! What must hold of a group between any two calls, as pure predicates for tests and the simulator.
//!
//! What spans more than one moment (epochs only grow, no member believes to own what another was given)
//! is checked where there is a history: in the model test of this crate.

use std::collections::BTreeMap;
use std::time::Duration;

use super::group::ConsumerGroup;
use super::member::Member;
use super::{Assignment, LEAVES_FOR_NOW};
use crate::Coordinator;

/// Everything that is wrong, as sentences; empty when nothing is.
pub(crate) fn violations(coordinator: &Coordinator) -> Vec<String> {
    let mut found = Vec::new();
    for group in coordinator.consumers.inspect() {
        for (holds, what) in rules(coordinator, group) {
            if !holds {
                found.push(format!("group '{}' ({}): {what}", group.id, group.state()));
            }
        }
        if coordinator.is_classic(&group.id) {
            found.push(format!("group '{}' is of both protocols", group.id));
        }
    }
    found
}

fn rules(coordinator: &Coordinator, group: &ConsumerGroup) -> Vec<(bool, &'static str)> {
    let options = coordinator.options();
    let members = || group.members.values();
    vec![
        (
            owners_match(group),
            "a partition has two owners, or the owners are not those of the members",
        ),
        (
            group.members.iter().all(|(id, member)| *id == member.id),
            "a member is filed under another id",
        ),
        (
            statics_match(group),
            "the instance ids are not those of the static members",
        ),
        (
            group.target_epoch <= group.epoch,
            "the target is newer than the group",
        ),
        (
            members().all(|m| epoch_fits(m, group.target_epoch)),
            "a member is ahead of the target",
        ),
        (
            members().all(|m| m.revoke_deadline.is_some() != m.standing.revoking.is_empty()),
            "a member has partitions to give back and no time for it, or the other way round",
        ),
        (
            members().all(|m| !m.standing.assigned.intersects(&m.standing.revoking)),
            "a partition is assigned and to be given back",
        ),
        (
            targets_are_disjoint(group),
            "two members should have the same partition",
        ),
        (
            group.members.len() <= options.consumer_members_max,
            "there are too many members",
        ),
        (
            !group.is_dead || group.members.is_empty(),
            "a group that is being deleted has members",
        ),
        (
            wakes_in_time(coordinator, group, options.offsets_retention),
            "nobody will look at it",
        ),
    ]
}

fn epoch_fits(member: &Member, target_epoch: i32) -> bool {
    let epoch = member.standing.epoch;
    (0..=target_epoch).contains(&epoch) || epoch == LEAVES_FOR_NOW
}

fn owners_match(group: &ConsumerGroup) -> bool {
    let mut expected = BTreeMap::new();
    for member in group.members.values() {
        let owned = [&member.standing.assigned, &member.standing.revoking];
        for at in owned.into_iter().flat_map(Assignment::iter) {
            if expected.insert(at, member.id.clone()).is_some() {
                return false;
            }
        }
    }
    expected == group.owners
}

fn statics_match(group: &ConsumerGroup) -> bool {
    let members = group.members.values();
    let expected: BTreeMap<_, _> = members
        .filter_map(|m| m.instance.clone().map(|instance| (instance, m.id.clone())))
        .collect();
    expected == group.statics
}

fn targets_are_disjoint(group: &ConsumerGroup) -> bool {
    let mut all = Assignment::new();
    let mut targets = group.members.values().flat_map(|m| m.target.iter());
    targets.all(|(topic, partition)| all.insert(topic, partition))
}

fn wakes_in_time(coordinator: &Coordinator, group: &ConsumerGroup, retention: Duration) -> bool {
    match group.next_deadline(retention) {
        None => true,
        Some(due) => coordinator
            .next_deadline()
            .is_some_and(|planned| planned <= due),
    }
}
