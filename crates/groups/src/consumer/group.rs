//! One consumer group: its members, its epochs, who owns what, and the small changes every request is
//! made of.
//!
//! Invariants: see [`super::invariants`]. Whatever changes a record says so to the ledger; every call
//! ends with [`ConsumerGroup::settle`], which computes a target that is older than the group.
//! Not here: what a heartbeat means (`request`), how members go (`removal`), one member's step
//! (`reconcile`).

use std::collections::BTreeMap;
use std::time::Duration;

use model::{GroupId, PartitionId, TopicId, TopicName};

use super::ledger::{Changes, Ledger};
use super::member::Member;
use super::reconcile::{self, Standing};
use super::records::{ConsumerSnapshot, HeaderRecord};
use super::subscription::{Subscription, Subscriptions};
use super::topics::fingerprint;
use super::{Assignment, Assignor, ConsumerDescription, ConsumerState, Subscriber, Topics, assign};
use crate::api::{Action, Note, Reason};
use crate::{Error, InstanceId, MemberId, Options, StoreId};

/// What a change to a group may look at and where it leaves its actions.
pub(crate) struct Context<'a> {
    pub(crate) now: Duration,
    pub(crate) options: &'a Options,
    pub(crate) out: &'a mut Vec<Action>,
    pub(crate) next_store: &'a mut u64,
    pub(crate) topics: &'a Topics,
    /// Counts up whenever `topics` differ.
    pub(crate) topics_version: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: i32,
    pub(crate) target_epoch: i32,
    /// Of the topics the target is computed from.
    pub(crate) fingerprint: u64,
    /// The version of the topics that subscriptions were resolved with.
    pub(crate) topics_version: u64,
    /// The version of the topics that `fingerprint` is of.
    pub(crate) fingerprint_version: u64,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) statics: BTreeMap<InstanceId, MemberId>,
    pub(crate) subscriptions: Subscriptions,
    /// Whose each partition is: assigned, or to be given back.
    pub(crate) owners: BTreeMap<(TopicId, PartitionId), MemberId>,
    /// Since when it has no members.
    pub(crate) empty_since: Duration,
    /// It is being deleted.
    pub(crate) is_dead: bool,
    pub(crate) ledger: Ledger,
}

impl ConsumerGroup {
    pub(crate) fn new(id: GroupId, now: Duration) -> Self {
        Self {
            id,
            epoch: 0,
            target_epoch: 0,
            fingerprint: fingerprint(std::iter::empty()),
            topics_version: 0,
            fingerprint_version: 0,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            owners: BTreeMap::new(),
            empty_since: now,
            is_dead: false,
            ledger: Ledger::default(),
        }
    }

    /// The group as it was stored. Every session, and the time to give partitions back, starts anew.
    pub(crate) fn restore(
        id: GroupId,
        stored: ConsumerSnapshot,
        topics: &Topics,
        now: Duration,
        options: &Options,
    ) -> Self {
        let mut group = Self::new(id, now);
        let epochs = stored.members.values().map(|member| member.epoch);
        // Without its own record the group begins where its members are, and computes a new target.
        let newest = epochs.max().unwrap_or(0).max(0);
        let header = stored.header.unwrap_or(HeaderRecord {
            epoch: newest + 1,
            target_epoch: newest,
            fingerprint: 0,
        });
        group.epoch = header.epoch;
        group.target_epoch = header.target_epoch;
        group.fingerprint = header.fingerprint;
        for (id, record) in stored.members {
            let subscription = Subscription {
                names: record.names,
                regex: record.regex,
            };
            let interned = group.subscriptions.intern(subscription, topics);
            let standing = Standing {
                epoch: record.epoch,
                assigned: record.assigned,
                revoking: record.revoking,
            };
            let revokes = !standing.revoking.is_empty();
            let member = Member {
                id: id.clone(),
                instance: record.instance,
                rack: record.rack,
                client_id: record.client_id,
                client_host: record.client_host,
                rebalance_timeout: record.rebalance_timeout,
                // A pattern this version refuses reads nothing until its member brings another.
                subscription: interned.unwrap_or_default(),
                assignor: record.assignor,
                standing,
                previous_epoch: record.previous_epoch,
                target: record.target,
                session_deadline: now + options.consumer_session_timeout,
                revoke_deadline: revokes.then(|| now + record.rebalance_timeout),
            };
            if let Some(instance) = &member.instance {
                group.statics.insert(instance.clone(), id.clone());
            }
            for at in member.standing.assigned.iter() {
                group.owners.insert(at, id.clone());
            }
            for at in member.standing.revoking.iter() {
                group.owners.insert(at, id.clone());
            }
            group.members.insert(id, member);
        }
        group
    }

    pub(crate) fn state(&self) -> ConsumerState {
        let reconciled = |member: &Member| member.is_reconciled(self.target_epoch);
        match () {
            () if self.is_dead => ConsumerState::Dead,
            () if self.members.is_empty() => ConsumerState::Empty,
            () if self.epoch > self.target_epoch => ConsumerState::Assigning,
            () if !self.members.values().all(reconciled) => ConsumerState::Reconciling,
            () => ConsumerState::Stable,
        }
    }

    /// The assignor most members wish for; the default when nobody wishes, the earlier of equals.
    pub(crate) fn assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            let members = self.members.values();
            members.filter(|m| m.assignor == Some(assignor)).count()
        };
        let all = Assignor::ALL.into_iter().rev();
        all.max_by_key(|assignor| votes(*assignor))
            .unwrap_or(Assignor::ALL[0])
    }

    /// A new target is needed.
    pub(crate) fn bump(&mut self, cx: &mut Context<'_>, reason: Reason) {
        cx.out.push(Action::Note(Note::Rebalancing {
            group: self.id.clone(),
            generation: self.epoch,
            reason,
        }));
        self.epoch += 1;
        self.ledger.touch_header();
    }

    /// Sees to it that subscriptions are resolved with the topics there are.
    pub(crate) fn see_topics(&mut self, cx: &Context<'_>) {
        if self.topics_version != cx.topics_version {
            self.topics_version = cx.topics_version;
            self.subscriptions.refresh(cx.topics);
        }
    }

    /// Computes the target if it is older than the group, or than the topics it is made of.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.fingerprint_version == cx.topics_version && self.target_epoch == self.epoch {
            return;
        }
        self.see_topics(cx);
        self.fingerprint_version = cx.topics_version;
        self.subscriptions.prune();
        let read = self.subscriptions.union();
        let counts = read.into_iter();
        let counts: BTreeMap<_, _> = counts
            .filter_map(|topic| Some((topic, cx.topics.partitions(topic)?)))
            .collect();
        let now = fingerprint(counts.iter().map(|(topic, count)| (*topic, *count)));
        if now != self.fingerprint {
            self.fingerprint = now;
            self.ledger.touch_header();
            if self.epoch == self.target_epoch {
                self.bump(cx, Reason::TopicsChanged);
            }
        }
        if self.target_epoch == self.epoch {
            return;
        }
        let topics: Vec<_> = self
            .members
            .values()
            .map(|member| self.subscriptions.topics(&member.subscription))
            .collect();
        let members = self.members.values().zip(&topics);
        let subscribers: Vec<_> = members
            .map(|(member, topics)| Subscriber {
                topics,
                previous: &member.target,
            })
            .collect();
        let targets = assign(self.assignor(), &subscribers, &counts);
        for (member, target) in self.members.values_mut().zip(targets) {
            if member.target != target {
                member.target = target;
                self.ledger.touch(&member.id);
            }
        }
        self.target_epoch = self.epoch;
        self.ledger.touch_header();
    }

    /// Leads one member a step towards its target.
    pub(crate) fn reconcile(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        owned: Option<&Assignment>,
    ) {
        let owners = &self.owners;
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let is_free = |topic, partition| {
            let owner = owners.get(&(topic, partition));
            owner.is_none_or(|owner| owner == id)
        };
        let step = reconcile::next(
            &member.standing,
            &member.target,
            self.target_epoch,
            owned,
            is_free,
        );
        let Some(next) = step else {
            return;
        };
        member.previous_epoch = member.standing.epoch;
        let revokes = !next.revoking.is_empty();
        member.revoke_deadline = revokes.then(|| cx.now + member.rebalance_timeout);
        self.stand(id, next);
        if self.state() == ConsumerState::Stable {
            cx.out.push(Action::Note(Note::Stable {
                group: self.id.clone(),
                generation: self.epoch,
                members: self.members.len(),
            }));
        }
    }

    /// Puts a member where it stands next, and its partitions with it.
    pub(crate) fn stand(&mut self, id: &MemberId, next: Standing) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut member.standing, next);
        for at in before.assigned.iter().chain(before.revoking.iter()) {
            self.owners.remove(&at);
        }
        let now = &member.standing;
        for at in now.assigned.iter().chain(now.revoking.iter()) {
            self.owners.insert(at, id.clone());
        }
        self.ledger.touch(id);
    }

    /// Stores what changed, unless a store is under way.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        let header = HeaderRecord {
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            fingerprint: self.fingerprint,
        };
        let next_store = &mut *cx.next_store;
        let new_id = || {
            let id = StoreId(*next_store);
            *next_store += 1;
            id
        };
        let Some((id, dirty)) = self.ledger.begin(new_id) else {
            return;
        };
        let record = |id: &MemberId| (id.clone(), self.members.get(id).map(Member::record));
        let changes = Changes {
            header: dirty.header.then_some(Some(header)),
            members: dirty.members.iter().map(record).collect(),
        };
        cx.out.push(Action::StoreConsumer {
            id,
            group: self.id.clone(),
            changes,
        });
    }

    /// When to look at it again.
    pub(crate) fn next_deadline(&self, offsets_retention: Duration) -> Option<Duration> {
        if self.is_dead {
            return None;
        }
        let first = self.members.values().map(Member::next_deadline).min();
        Some(first.unwrap_or(self.empty_since + offsets_retention))
    }

    /// Whether a member reads the topic.
    pub(crate) fn is_subscribed(&self, topics: &Topics, topic: &TopicName) -> bool {
        let id = topics.named(topic.as_str()).map(|topic| topic.id);
        self.members.values().any(|member| {
            let read = self.subscriptions.topics(&member.subscription);
            let named = member.subscription.names.iter();
            named.into_iter().any(|name| **name == *topic.as_str())
                || id.is_some_and(|id| read.contains(&id))
        })
    }

    pub(crate) fn unknown(&self, member: &MemberId) -> Error {
        Error::UnknownMember {
            group: self.id.clone(),
            member: member.clone(),
        }
    }

    pub(crate) fn describe(&self) -> ConsumerDescription {
        ConsumerDescription {
            group: self.id.clone(),
            state: self.state(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor().as_str(),
            members: self.members.values().map(Member::describe).collect(),
        }
    }
}
