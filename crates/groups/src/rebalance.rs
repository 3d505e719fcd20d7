//! The rebalance: how a group agrees on who its members are and who reads what.
//!
//! # The problem
//! Consumers come, go, crash and stall, each behind its own connection. At any time the partitions of
//! the topics they read must be split among those that are alive, no two members may believe they own
//! the same partition, and the broker must not understand the split: how to assign is the clients'
//! business (an *assignor*), and its data are opaque bytes here.
//!
//! # The obstacles
//! * Nobody sees all members at one moment. A join arrives while others work; the news that a
//!   rebalance began reaches a working member only with its next heartbeat or commit.
//! * The split is computed by a client, which may die between learning the members and answering.
//! * A member that stalls must not hold up the others for ever, and when it wakes it must find out
//!   that its assignment is no longer valid before it does harm.
//! * A restart of the broker must not look like a crash of every member.
//!
//! # The answer
//! Two barriers and a number. The first barrier collects joins ([`Phase::Preparing`]): every answer is
//! held back until all known members have joined again or the longest rebalance timeout any of them
//! asked for is over. Then those that did not join are dropped, the *generation* grows by one, the
//! protocol all speak and most prefer is chosen, one member is the leader, and all answers go out
//! together; the leader's carries the member list. The second barrier collects syncs
//! ([`Phase::Completing`]): followers wait until the leader brings the assignment, which is *stored
//! first* and then given out ([`Phase::Stable`]). Every later request names its generation; one that
//! names another is refused, which is how a member that slept learns it was dropped.
//!
//! Four refinements keep this from disturbing more than it must:
//! * The first rebalance of an empty group waits a moment after each new member
//!   ([`Options::initial_quiet`](crate::Options), bounded by `initial_delay_max`), since members are
//!   mostly started together.
//! * A new dynamic member is told its id before it may join (two steps), so that a client that
//!   retries a join is the same member, not a second one that has to time out. Ids given out and not
//!   used are *pending*: they hold the barrier like members, but only for a session timeout.
//! * A static member (one that chose an instance id) keeps its seat while it is away for less than
//!   its session timeout. When it comes back under a new member id, the old id is fenced and, if the
//!   group is stable and the protocol would stay the same, nothing is rebalanced.
//! * What is stored holds the members and their assignments, so that after a restart the group is
//!   stable at once and every session starts anew: members only notice if they miss that too.
//!
//! Kafka closes one hole that is easy to forget: a member that joined but never syncs. After the
//! rebalance timeout it is dropped, also when the others are stable already.
//!
//! Invariants: answers held back are answered when their barrier opens, when their member is removed,
//! or when a newer request of the same member supersedes them; the generation only grows.
//! Source: Kafka's `GroupCoordinator`, KIP-62, KIP-134, KIP-345, KIP-394, KIP-814.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::api::{Action, JoinAnswer, Note, Reason, SyncAnswer};
use crate::group::{Context, Group, OnStored};
use crate::member::{Awaits, Member};
use crate::{Error, MemberId};

/// How long to leave a group alone in which everyone has synced and only the store is not done.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// What a group is doing, with the times that end it.
///
/// ```text
///                 a member joins
///   ┌───────┐ ────────────────────────────> ┌───────────┐ <──────────────────────────────┐
///   │ Empty │                               │ Preparing │                                │
///   └───────┘ <──────────────────────────── └───────────┘ <────────┐                     │
///     │   ^     nobody is left at the end         │                │ a member joins,     │
///     │   │                                       │ all joined,    │ leaves, is lost,    │
///     │   └ restored without members              │ or time is up  │ does not sync in    │
///     │                                           v                │ time; not stored    │
///     │                                    ┌────────────┐ ─────────┘                     │
///     │ deleted, or                        │ Completing │                                │
///     │ empty for long                     └────────────┘                                │
///     v                                           │ the leader's assignment is stored    │
///   ┌──────┐                                      v                                      │
///   │ Dead │                                 ┌────────┐  a member joins, leaves, is lost │
///   └──────┘      restored with members ───> │ Stable │ ─────────────────────────────────┘
///                                            └────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members.
    Empty {
        /// Since when.
        since: Duration,
    },
    /// Joins are held back.
    Preparing {
        /// When those who have not joined are dropped.
        deadline: Duration,
        /// For the first rebalance of an empty group: how far new members can move the deadline.
        /// It does not end early.
        first_until: Option<Duration>,
    },
    /// Syncs are held back until the leader's assignment is stored.
    Completing {
        /// When those who have not synced are dropped.
        deadline: Duration,
    },
    /// Everyone who synced has its assignment.
    Stable {
        /// When those who have not synced are dropped; `None` when all have.
        sync_deadline: Option<Duration>,
    },
    /// Being deleted.
    Dead,
}

impl Group {
    /// Begins a rebalance, unless one is collecting joins already.
    pub(crate) fn prepare(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let from_empty = match self.phase {
            Phase::Preparing { .. } | Phase::Dead => return,
            Phase::Completing { .. } => {
                let error = Error::RebalanceInProgress {
                    group: self.id.clone(),
                };
                self.reset_assignments(cx, &error);
                false
            }
            Phase::Stable { .. } => false,
            Phase::Empty { .. } => true,
        };
        cx.note(Note::Rebalancing {
            group: self.id.clone(),
            generation: self.generation,
            reason,
        });
        if from_empty && !cx.options.initial_delay_max.is_zero() {
            let longest = cx.options.initial_delay_max.min(self.rebalance_timeout());
            let until = cx.now + longest;
            self.phase = Phase::Preparing {
                deadline: until.min(cx.now + cx.options.initial_quiet),
                first_until: Some(until),
            };
        } else {
            let deadline = cx.now + self.rebalance_timeout();
            self.phase = Phase::Preparing {
                deadline,
                first_until: None,
            };
            self.try_complete_join(cx);
        }
    }

    /// Gives members that start together with the newest one time to join the first rebalance.
    pub(crate) fn extend_first(&mut self, cx: &Context<'_>) {
        if let Phase::Preparing {
            deadline,
            first_until: Some(until),
        } = &mut self.phase
        {
            *deadline = (*deadline)
                .max(cx.now + cx.options.initial_quiet)
                .min(*until);
        }
    }

    /// Opens the first barrier if nobody is missing.
    pub(crate) fn try_complete_join(&mut self, cx: &mut Context<'_>) {
        let all_here = || {
            let joined = self.members.values().all(Member::awaits_join);
            self.pending.is_empty() && joined
        };
        if matches!(
            self.phase,
            Phase::Preparing {
                first_until: None,
                ..
            }
        ) && all_here()
        {
            self.complete_join(cx);
        }
    }

    /// Opens the first barrier: the next generation is those who joined, and static members who keep
    /// their seats.
    pub(crate) fn complete_join(&mut self, cx: &mut Context<'_>) {
        let missing = self
            .members
            .values()
            .filter(|m| !m.awaits_join() && m.instance.is_none());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.expel(cx, &id, Reason::JoinExpired);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none of them is here: their sessions decide.
            let deadline = cx.now + self.rebalance_timeout();
            self.phase = Phase::Preparing {
                deadline,
                first_until: None,
            };
            return;
        }
        // After 2^31 rebalances the count starts over; a group does not live that long.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let (group, generation) = (self.id.clone(), self.generation);
        self.protocol = self.select_protocol();
        if self.members.is_empty() {
            self.phase = Phase::Empty { since: cx.now };
            cx.note(Note::Emptied { group, generation });
            self.store(cx, None);
            return;
        }
        self.phase = Phase::Completing {
            deadline: cx.now + self.rebalance_timeout(),
        };
        cx.note(Note::Joined {
            group,
            generation,
            members: self.members.len(),
        });
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let answer = self.join_answer(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.touch(cx.now);
            member.is_new = false;
            member.synced = false;
            if let Awaits::Join(ticket) = std::mem::replace(&mut member.awaits, Awaits::Nothing) {
                cx.out.push(Action::AnswerJoin {
                    ticket,
                    result: Ok(answer),
                });
            }
        }
    }

    /// The current generation as `member` is told.
    pub(crate) fn join_answer(&self, member: &MemberId) -> JoinAnswer {
        let protocol = self.protocol.clone().unwrap_or_else(|| "".into());
        let members = if self.is_leader(member) {
            self.members
                .values()
                .map(|other| other.joined(&protocol))
                .collect()
        } else {
            Vec::new()
        };
        JoinAnswer {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader: self.leader_id(),
            member: member.clone(),
            members,
            skip_assignment: false,
        }
    }

    /// A leader that did not join cannot assign: another one who did takes its place.
    fn elect_joined_leader(&mut self) -> bool {
        let present = |id: &MemberId| self.members.get(id).is_some_and(Member::awaits_join);
        if self.leader.as_ref().is_some_and(present) {
            return true;
        }
        match self.senior(Member::awaits_join) {
            Some(leader) => {
                self.leader = Some(leader);
                true
            }
            None => false,
        }
    }

    /// What a store made possible happens, or is given up when it failed.
    pub(crate) fn on_stored(&mut self, cx: &mut Context<'_>, then: OnStored, success: bool) {
        let unavailable = Error::NotAvailable {
            group: self.id.clone(),
        };
        match then {
            OnStored::Assign {
                generation,
                assignments,
            } => {
                let current = generation == self.generation;
                // Otherwise another rebalance began meanwhile, and everyone has been told.
                if current && let Phase::Completing { deadline } = self.phase {
                    if success {
                        self.assign(cx, &assignments, deadline);
                    } else {
                        self.reset_assignments(cx, &unavailable);
                        self.prepare(cx, Reason::StoreFailed);
                    }
                }
            }
            OnStored::Welcome {
                generation,
                member,
                leader_told,
                skip_assignment,
            } => {
                // In a rebalance that began meanwhile the member counts as joined already.
                let stable = matches!(self.phase, Phase::Stable { .. });
                if generation != self.generation || !stable {
                    return;
                }
                if !success {
                    self.refuse(cx, &member, &unavailable);
                    return;
                }
                let mut answer = self.join_answer(&member);
                answer.skip_assignment = skip_assignment && self.is_leader(&member);
                if !skip_assignment {
                    answer.leader = leader_told;
                    answer.members.clear();
                }
                self.welcome(cx, &member, answer);
            }
        }
    }

    /// Answers a join outside a rebalance.
    fn welcome(&mut self, cx: &mut Context<'_>, id: &MemberId, answer: JoinAnswer) {
        if let Some(member) = self.members.get_mut(id)
            && let Awaits::Join(ticket) = member.awaits
        {
            member.awaits = Awaits::Nothing;
            member.is_new = false;
            member.touch(cx.now);
            cx.out.push(Action::AnswerJoin {
                ticket,
                result: Ok(answer),
            });
        }
    }

    /// Opens the second barrier.
    fn assign(
        &mut self,
        cx: &mut Context<'_>,
        assignments: &BTreeMap<MemberId, Bytes>,
        deadline: Duration,
    ) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignments.get(&id).cloned().unwrap_or_default();
            }
            self.answer_sync(cx, &id);
        }
        let all_synced = self.members.values().all(|member| member.synced);
        self.phase = Phase::Stable {
            sync_deadline: (!all_synced).then_some(deadline),
        };
        let (group, generation) = (self.id.clone(), self.generation);
        cx.note(Note::Stable {
            group,
            generation,
            members: self.members.len(),
        });
    }

    /// Hands a member that waits for it its assignment.
    pub(crate) fn answer_sync(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let protocol_type = self.protocol_type.clone();
        let protocol = self.protocol.clone().unwrap_or_else(|| "".into());
        if let Some(member) = self.members.get_mut(id)
            && let Awaits::Sync(ticket) = member.awaits
        {
            member.awaits = Awaits::Nothing;
            member.touch(cx.now);
            let assignment = member.assignment.clone();
            let result = Ok(SyncAnswer {
                protocol_type,
                protocol,
                assignment,
            });
            cx.out.push(Action::AnswerSync { ticket, result });
        }
    }

    /// Refuses every sync held back and forgets the assignments.
    fn reset_assignments(&mut self, cx: &mut Context<'_>, error: &Error) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.assignment = Bytes::new();
            if matches!(member.awaits, Awaits::Sync(_)) {
                member.touch(cx.now);
                self.refuse(cx, &id, error);
            }
        }
    }

    /// A member is gone: those who stay share its work.
    pub(crate) fn after_removal(&mut self, cx: &mut Context<'_>, reason: Reason) {
        match self.phase {
            Phase::Empty { .. } | Phase::Dead => (),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(cx, reason),
            Phase::Preparing { .. } => self.try_complete_join(cx),
        }
    }

    /// Does everything that is due at `cx.now`.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let pending = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > cx.now);
        if self.pending.len() < pending {
            self.try_complete_join(cx);
        }
        let lost = self
            .members
            .values()
            .filter(|member| member.is_expired(cx.now));
        for id in lost.map(|member| member.id.clone()).collect::<Vec<_>>() {
            // An earlier one's removal may have completed a rebalance, which renews sessions.
            if self
                .members
                .get(&id)
                .is_some_and(|member| member.is_expired(cx.now))
            {
                self.expel(cx, &id, Reason::SessionExpired);
                self.after_removal(cx, Reason::SessionExpired);
            }
        }
        match self.phase {
            Phase::Preparing { deadline, .. } if deadline <= cx.now => self.complete_join(cx),
            Phase::Completing { deadline }
            | Phase::Stable {
                sync_deadline: Some(deadline),
            } if deadline <= cx.now => {
                self.expel_unsynced(cx);
            }
            Phase::Empty { .. }
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. }
            | Phase::Dead => (),
        }
    }

    fn expel_unsynced(&mut self, cx: &mut Context<'_>) {
        let silent = self.members.values().filter(|member| !member.synced);
        let silent: Vec<_> = silent.map(|member| member.id.clone()).collect();
        if let Phase::Stable { sync_deadline } = &mut self.phase {
            *sync_deadline = None;
        }
        if silent.is_empty() {
            // All synced, so the leader's assignment is being stored; look again later.
            if let Phase::Completing { deadline } = &mut self.phase {
                *deadline = cx.now + STORE_PATIENCE;
            }
            return;
        }
        for id in silent {
            self.expel(cx, &id, Reason::SyncExpired);
        }
        self.prepare(cx, Reason::SyncExpired);
    }

    /// The next moment [`tick`](Self::tick) may have something to do. `None`: never by itself.
    pub(crate) fn next_deadline(&self, offsets_retention: Duration) -> Option<Duration> {
        let phase = match self.phase {
            // A group that never had a generation is only an attempt, held by its pending members.
            Phase::Empty { since } if self.generation == 0 => {
                self.pending.is_empty().then_some(since)
            }
            Phase::Empty { since } => Some(since + offsets_retention),
            Phase::Preparing { deadline, .. } | Phase::Completing { deadline } => Some(deadline),
            Phase::Stable { sync_deadline } => sync_deadline,
            Phase::Dead => None,
        };
        let members = self.members.values().filter_map(Member::next_deadline);
        let pending = self.pending.values().copied();
        members.chain(pending).chain(phase).min()
    }
}
