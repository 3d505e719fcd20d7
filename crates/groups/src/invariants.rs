//! What must hold between any two calls, as pure predicates for tests and the simulator.
//!
//! What spans more than one moment (the generation only grows, every request is answered exactly
//! once) is checked where there is a history: in the model test of this crate.

use std::collections::BTreeMap;

use crate::api::GroupState;
use crate::group::{Group, OnStored};
use crate::member::{Awaits, Member};
use crate::rebalance::Phase;
use crate::{Coordinator, consumer};

/// Everything that is wrong with the coordinator's state, as sentences; empty when nothing is.
pub fn violations(coordinator: &Coordinator) -> Vec<String> {
    let mut found = consumer::invariants::violations(coordinator);
    let limit = coordinator.options().groups_max;
    let count = coordinator.count();
    for group in coordinator.inspect() {
        for (holds, what) in rules(coordinator, group) {
            if !holds {
                found.push(format!("group '{}' ({}): {what}", group.id, group.state()));
            }
        }
    }
    if count > limit {
        found.push(format!("there are {count} groups, more than {limit}"));
    }
    found
}

fn rules(coordinator: &Coordinator, group: &Group) -> Vec<(bool, &'static str)> {
    let options = coordinator.options();
    let state = group.state();
    let members = || group.members.values();
    let empty = group.members.is_empty();
    vec![
        (
            empty || !matches!(state, GroupState::Empty | GroupState::Dead),
            "an empty or dead group has members",
        ),
        (
            !empty || !matches!(state, GroupState::CompletingRebalance | GroupState::Stable),
            "a group with an assignment to make or made has no members",
        ),
        (
            group
                .leader
                .as_ref()
                .map_or(empty, |leader| group.members.contains_key(leader)),
            "the leader is not exactly one of the members",
        ),
        (
            group.members.iter().all(|(id, m)| *id == m.id),
            "a member is filed under another id",
        ),
        (
            statics_match(group),
            "the instance ids are not those of the static members",
        ),
        (votes_match(group), "the votes are not those of the members"),
        (
            empty
                || group
                    .votes
                    .values()
                    .any(|count| *count == group.members.len()),
            "there is no protocol that every member speaks",
        ),
        (
            group
                .pending
                .keys()
                .all(|id| !group.members.contains_key(id)),
            "a pending member is a member already",
        ),
        (
            group.pending.len() <= options.pending_max,
            "too many pending members",
        ),
        (
            waits_fit(group),
            "a member waits for an answer that this state does not hold back",
        ),
        (
            !matches!(state, GroupState::CompletingRebalance | GroupState::Stable)
                || group.protocol.is_some(),
            "no protocol was chosen",
        ),
        (
            matches!(group.phase, Phase::Dead | Phase::Stable { .. })
                || wakes_in_time(coordinator, group),
            "nobody will look at it",
        ),
        (
            !members().any(|m| matches!(m.awaits, Awaits::Sync(_)) && !m.synced),
            "a member waits for its assignment and counts as not having asked",
        ),
        (
            members()
                .map(|m| m.seniority)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                == group.members.len(),
            "two members are equally senior",
        ),
    ]
}

fn statics_match(group: &Group) -> bool {
    let expected: BTreeMap<_, _> = group
        .members
        .values()
        .filter_map(|m| m.instance.clone().map(|instance| (instance, m.id.clone())))
        .collect();
    expected == group.statics
}

fn votes_match(group: &Group) -> bool {
    let mut expected = BTreeMap::new();
    for member in group.members.values() {
        let names: std::collections::BTreeSet<_> =
            member.protocols.iter().map(|p| p.name.clone()).collect();
        for name in names {
            *expected.entry(name).or_insert(0_usize) += 1;
        }
    }
    expected == group.votes
}

/// Joins are held back while preparing, or while a static member's new id is being stored; syncs
/// only while completing.
fn waits_fit(group: &Group) -> bool {
    let being_welcomed = |member: &Member| {
        let names = |then: &OnStored| match then {
            OnStored::Welcome {
                member: welcomed, ..
            } => *welcomed == member.id,
            OnStored::Assign { .. } => false,
        };
        group.stores.values().any(names)
    };
    group.members.values().all(|member| match member.awaits {
        Awaits::Nothing => true,
        Awaits::Join(_) => match group.state() {
            GroupState::PreparingRebalance => true,
            GroupState::Stable => being_welcomed(member),
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Dead => false,
        },
        Awaits::Sync(_) => group.state() == GroupState::CompletingRebalance,
    })
}

fn wakes_in_time(coordinator: &Coordinator, group: &Group) -> bool {
    match group.next_deadline(coordinator.options().offsets_retention) {
        None => true,
        Some(due) => coordinator
            .next_deadline()
            .is_some_and(|planned| planned <= due),
    }
}
