//! One group: its members, their votes, and the small changes every request is made of.
//!
//! Invariants: see [`crate::invariants`]. `votes` counts, for each protocol, the members that speak
//! it; the leader is a member whenever there is one.
//! Not here: when a rebalance begins and ends (`rebalance`), what requests mean (`join`, `requests`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{GroupId, TopicName};

use crate::api::{Action, GroupDescription, GroupState, JoinRequest, Note, Protocol, Reason};
use crate::member::{Awaits, Member, owned};
use crate::rebalance::Phase;
use crate::snapshot::{MemberSnapshot, Snapshot};
use crate::{Error, InstanceId, MemberId, Options, StoreId, Ticket, subscription};

/// What a change to a group may look at and where it leaves its actions.
pub(crate) struct Context<'a> {
    pub(crate) now: Duration,
    pub(crate) options: &'a Options,
    pub(crate) out: &'a mut Vec<Action>,
    pub(crate) next_store: &'a mut u64,
}

impl Context<'_> {
    pub(crate) fn note(&mut self, note: Note) {
        self.out.push(Action::Note(note));
    }
}

/// What becomes possible once a store is done.
#[derive(Debug, Clone)]
pub(crate) enum OnStored {
    /// The leader's assignment can be given out.
    Assign {
        generation: i32,
        assignments: BTreeMap<MemberId, Bytes>,
    },
    /// A static member that came back can be told its new id.
    Welcome {
        generation: i32,
        member: MemberId,
        leader_told: MemberId,
        skip_assignment: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Arc<str>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) statics: BTreeMap<InstanceId, MemberId>,
    pub(crate) votes: BTreeMap<Arc<str>, usize>,
    /// Ids given out and not yet used, with the time they are given up.
    pub(crate) pending: BTreeMap<MemberId, Duration>,
    pub(crate) stores: BTreeMap<StoreId, OnStored>,
    pub(crate) next_seniority: u64,
}

impl Group {
    pub(crate) fn new(id: GroupId, now: Duration) -> Self {
        Self {
            id,
            phase: Phase::Empty { since: now },
            generation: 0,
            protocol_type: "".into(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            votes: BTreeMap::new(),
            pending: BTreeMap::new(),
            stores: BTreeMap::new(),
            next_seniority: 0,
        }
    }

    /// The group as it was stored: stable, or empty without members. Every session starts anew.
    pub(crate) fn restore(id: GroupId, snapshot: Snapshot, now: Duration) -> Self {
        let mut group = Self::new(id, now);
        group.generation = snapshot.generation;
        group.protocol_type = snapshot.protocol_type;
        group.protocol = snapshot.protocol;
        for stored in snapshot.members {
            let mut member = Member {
                id: stored.member,
                instance: stored.instance,
                client_id: stored.client_id,
                client_host: stored.client_host,
                session_timeout: stored.session_timeout,
                rebalance_timeout: stored.rebalance_timeout,
                protocols: stored.protocols,
                assignment: stored.assignment,
                awaits: Awaits::Nothing,
                is_new: false,
                synced: true,
                deadline: Duration::ZERO,
                seniority: stored.seniority,
            };
            member.touch(now);
            group.next_seniority = group.next_seniority.max(member.seniority + 1);
            group.insert(member);
        }
        if !group.members.is_empty() {
            group.leader = snapshot.leader;
            group.phase = Phase::Stable {
                sync_deadline: None,
            };
        }
        group
    }

    /// What is to be stored, with `assignments` in place of those the members have.
    pub(crate) fn snapshot(&self, assignments: Option<&BTreeMap<MemberId, Bytes>>) -> Snapshot {
        let assigned = |member: &Member| match assignments {
            Some(new) => new.get(&member.id).cloned().unwrap_or_default(),
            None => member.assignment.clone(),
        };
        let members = self.members.values().map(|member| MemberSnapshot {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            seniority: member.seniority,
            protocols: member.protocols.clone(),
            assignment: assigned(member),
        });
        Snapshot {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// Asks for the group to be stored; `then` happens when it is.
    pub(crate) fn store(&mut self, cx: &mut Context<'_>, then: Option<OnStored>) {
        let id = StoreId(*cx.next_store);
        *cx.next_store += 1;
        let snapshot = match &then {
            Some(OnStored::Assign { assignments, .. }) => self.snapshot(Some(assignments)),
            Some(OnStored::Welcome { .. }) | None => self.snapshot(None),
        };
        if let Some(then) = then {
            self.stores.insert(id, then);
        }
        let group = self.id.clone();
        cx.out.push(Action::Store {
            id,
            group,
            snapshot: Some(snapshot),
        });
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty { .. } => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
            Phase::Dead => GroupState::Dead,
        }
    }

    /// The longest time any member gives the others to join; zero without members.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    /// The id the current generation's leader has; empty without members.
    pub(crate) fn leader_id(&self) -> MemberId {
        self.leader.clone().unwrap_or_else(|| MemberId::new(""))
    }

    /// Whether a member with these protocols could be in the group with all others.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        *self.protocol_type == *protocol_type
            && protocols
                .iter()
                .any(|p| self.votes.get(&p.name) == Some(&everyone))
    }

    /// The protocol most members prefer among those all speak; ties go to the smaller name.
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let everyone = self.members.len();
        let mut ballots: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let preferred = member
                .protocols
                .iter()
                .find(|p| self.votes.get(&p.name) == Some(&everyone));
            if let Some(protocol) = preferred {
                *ballots.entry(&protocol.name).or_default() += 1;
            }
        }
        // `max_by_key` keeps the last of equals, so walk from the largest name down.
        ballots
            .into_iter()
            .rev()
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| name.clone())
    }

    /// Puts a member in and makes it leader if there is none.
    pub(crate) fn insert(&mut self, member: Member) {
        self.count_votes(&member.protocols, true);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, and answers with `error` what was owed to it. The next leader is the one
    /// who has been a member for longest.
    pub(crate) fn detach(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        error: &Error,
    ) -> Option<Member> {
        self.pending.remove(id);
        self.refuse(cx, id, error);
        let member = self.members.remove(id)?;
        self.count_votes(&member.protocols, false);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.senior(|_| true);
        }
        Some(member)
    }

    /// The member that has been there for longest among those that `fit`.
    pub(crate) fn senior(&self, fit: impl Fn(&Member) -> bool) -> Option<MemberId> {
        let fitting = self.members.values().filter(|member| fit(member));
        fitting
            .min_by_key(|member| member.seniority)
            .map(|member| member.id.clone())
    }

    /// Gives a static member a new id; whoever still waits under the old one is fenced.
    pub(crate) fn rename(&mut self, cx: &mut Context<'_>, old: &MemberId, new: &MemberId) {
        let Some(instance) = self
            .members
            .get(old)
            .and_then(|member| member.instance.clone())
        else {
            return;
        };
        let fenced = Error::FencedInstance {
            group: self.id.clone(),
            instance: instance.clone(),
            member: old.clone(),
        };
        self.refuse(cx, old, &fenced);
        if let Some(mut member) = self.members.remove(old) {
            member.id = new.clone();
            self.members.insert(new.clone(), member);
        }
        self.statics.insert(instance, new.clone());
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
    }

    /// Takes over what a member says about itself when it joins again, and owes it an answer.
    pub(crate) fn update(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        request: &JoinRequest,
        ticket: Ticket,
    ) {
        // A second request under the same id means that the first one's connection is gone.
        let superseded = Error::RebalanceInProgress {
            group: self.id.clone(),
        };
        self.refuse(cx, id, &superseded);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.awaits = Awaits::Join(ticket);
        let old = std::mem::replace(&mut member.protocols, owned(&request.protocols));
        self.count_votes(&old, false);
        self.count_votes(&request.protocols, true);
    }

    /// Answers with `error` what is owed to a member, if anything.
    pub(crate) fn refuse(&mut self, cx: &mut Context<'_>, id: &MemberId, error: &Error) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut member.awaits, Awaits::Nothing) {
            Awaits::Nothing => (),
            Awaits::Join(ticket) => {
                cx.out.push(Action::AnswerJoin {
                    ticket,
                    result: Err(error.clone()),
                });
            }
            Awaits::Sync(ticket) => {
                cx.out.push(Action::AnswerSync {
                    ticket,
                    result: Err(error.clone()),
                });
            }
        }
    }

    /// Removes a member that did not ask for it, saying why.
    pub(crate) fn expel(&mut self, cx: &mut Context<'_>, id: &MemberId, reason: Reason) {
        let error = self.unknown(id);
        if self.detach(cx, id, &error).is_some() {
            let (group, member) = (self.id.clone(), id.clone());
            cx.note(Note::MemberRemoved {
                group,
                member,
                reason,
            });
        }
    }

    pub(crate) fn unknown(&self, member: &MemberId) -> Error {
        Error::UnknownMember {
            group: self.id.clone(),
            member: member.clone(),
        }
    }

    /// Adds or takes away one member's voice for each protocol it names; a name twice counts once.
    fn count_votes(&mut self, protocols: &[Protocol], add: bool) {
        let names: BTreeSet<&Arc<str>> = protocols.iter().map(|protocol| &protocol.name).collect();
        for name in names {
            let count = self.votes.entry(name.clone()).or_default();
            *count = if add {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.votes.remove(name);
            }
        }
    }

    /// Whether any member reads `topic`; yes also when that cannot be known.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        let Some(protocol) = self.protocol.as_deref() else {
            return !self.members.is_empty();
        };
        &*self.protocol_type != "consumer"
            || self.members.values().any(|member| {
                subscription::topics(&member.metadata(protocol))
                    .is_none_or(|topics| topics.contains(topic.as_str()))
            })
    }

    pub(crate) fn describe(&self) -> GroupDescription {
        let protocol = match self.phase {
            Phase::Stable { .. } => self.protocol.clone(),
            Phase::Empty { .. }
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Dead => None,
        };
        let members = self
            .members
            .values()
            .map(|member| member.describe(protocol.as_deref()));
        GroupDescription {
            group: self.id.clone(),
            state: self.state(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
            protocol: protocol.unwrap_or_else(|| "".into()),
        }
    }
}
