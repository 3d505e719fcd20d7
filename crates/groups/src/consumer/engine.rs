//! All groups of the second protocol, and the calls of [`Coordinator`] that are about them.
//!
//! Invariants: a group id is one kind of group at a time. An empty group gives way to the other kind as
//! soon as a member of it joins; one with members does not. `next_deadline` is never later than the
//! first moment something is due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{GroupId, TopicName};

use super::group::{ConsumerGroup, Context};
use super::ledger::{Changes, Ended};
use super::records::ConsumerSnapshot;
use super::request::validate;
use super::{ConsumerDescription, ConsumerHeartbeat, ConsumerState, Topics};
use crate::api::{Action, GroupListing, ListedState, MemberRef, Note};
use crate::{Coordinator, Error, MemberId, Options, StoreId, Ticket};

/// Every group of the second protocol.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    groups: HashMap<GroupId, Entry>,
    /// When to look at which group: never later than its own next deadline.
    wakes: BTreeSet<(Duration, GroupId)>,
    topics: Arc<Topics>,
    topics_version: u64,
}

#[derive(Debug)]
struct Entry {
    group: ConsumerGroup,
    /// The moment `wakes` has for it.
    wake: Option<Duration>,
}

/// What a call may use besides the groups.
pub(crate) struct Tools<'a> {
    pub(crate) now: Duration,
    pub(crate) options: &'a Options,
    pub(crate) out: &'a mut Vec<Action>,
    pub(crate) next_store: &'a mut u64,
}

impl Coordinator {
    /// Says which topics there are. Groups that read what changed learn of it with their members' next
    /// heartbeats.
    pub fn set_topics(&mut self, topics: Topics) {
        let consumers = &mut self.consumers;
        if *consumers.topics != topics {
            consumers.topics = Arc::new(topics);
            consumers.topics_version += 1;
        }
    }

    /// The topics as they were last said to be.
    pub fn topics(&self) -> &Arc<Topics> {
        &self.consumers.topics
    }

    /// Takes a heartbeat of the second protocol. The answer comes as [`Action::AnswerConsumer`] with
    /// `ticket`, now or when what it shows is stored. `random` makes an id for a member that brings
    /// none and must be fresh each time.
    pub fn consumer_heartbeat(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: &ConsumerHeartbeat,
        random: [u8; 16],
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let admitted = validate(request).and_then(|()| self.admit_consumer(now, request, &mut out));
        if let Err(error) = admitted {
            out.push(Action::AnswerConsumer {
                ticket,
                result: Err(error),
            });
            return out;
        }
        let (consumers, mut tools) = self.consumers_with(now, &mut out);
        consumers.with(&mut tools, &request.group, |group, cx| {
            group.heartbeat(cx, ticket, request, random);
        });
        consumers.forget_unless_joined(&mut tools, &request.group);
        out
    }

    /// The group as it is; `None` when there is none of this protocol.
    pub fn describe_consumer(&self, group: &GroupId) -> Option<ConsumerDescription> {
        let entry = self.consumers.groups.get(group)?;
        Some(entry.group.describe())
    }

    /// Whether `by` may read the group's offsets now. Only members of the second protocol say who they
    /// are, so groups of the first let everybody.
    ///
    /// # Errors
    /// [`Error::UnknownMember`], [`Error::StaleMemberEpoch`].
    pub fn may_fetch(&self, by: &MemberRef) -> Result<(), Error> {
        match self.consumers.groups.get(&by.group) {
            Some(entry) => entry.group.may_fetch(by),
            None => Ok(()),
        }
    }

    /// Puts back a group as it was stored. Every member's session starts anew at `now`. Say the topics
    /// first.
    ///
    /// # Errors
    /// [`Error::TooManyGroups`].
    pub fn restore_consumer(
        &mut self,
        now: Duration,
        id: &GroupId,
        stored: ConsumerSnapshot,
    ) -> Result<(), Error> {
        let limit = self.options().groups_max;
        if self.count() >= limit {
            return Err(Error::TooManyGroups { limit });
        }
        let mut out = Vec::new();
        let (consumers, tools) = self.consumers_with(now, &mut out);
        let topics = Arc::clone(&consumers.topics);
        let group = ConsumerGroup::restore(id.clone(), stored, &topics, now, tools.options);
        let wake = group.next_deadline(tools.options.offsets_retention);
        consumers
            .groups
            .insert(id.clone(), Entry { group, wake: None });
        consumers.wake_by(id, wake);
        Ok(())
    }

    /// Finds or makes the group of a heartbeat.
    fn admit_consumer(
        &mut self,
        now: Duration,
        request: &ConsumerHeartbeat,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let id = &request.group;
        if self.consumers.groups.contains_key(id) {
            return Ok(());
        }
        if request.epoch != 0 {
            return Err(if self.is_classic(id) {
                Error::OtherProtocol { group: id.clone() }
            } else {
                Error::UnknownGroup { group: id.clone() }
            });
        }
        self.give_way_to_consumers(id, out)?;
        self.make_room_if_full(out)?;
        let group = ConsumerGroup::new(id.clone(), now);
        self.consumers
            .groups
            .insert(id.clone(), Entry { group, wake: None });
        Ok(())
    }
}

impl Consumers {
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn contains(&self, id: &GroupId) -> bool {
        self.groups.contains_key(id)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Does everything that is due.
    pub(crate) fn tick(&mut self, tools: &mut Tools<'_>) {
        while let Some((at, id)) = self.wakes.first().cloned() {
            if at > tools.now {
                break;
            }
            self.wakes.pop_first();
            if let Some(entry) = self.groups.get_mut(&id) {
                entry.wake = None;
            }
            self.with(tools, &id, ConsumerGroup::tick);
            let retention = tools.options.offsets_retention;
            let over = self.groups.get(&id).is_some_and(|Entry { group, .. }| {
                let empty = group.members.is_empty() && !group.is_dead;
                empty && group.empty_since + retention <= tools.now
            });
            if over {
                self.forget(tools, &id);
            }
        }
    }

    /// Takes the end of a store; says whether the group is one of these.
    pub(crate) fn stored(
        &mut self,
        tools: &mut Tools<'_>,
        id: &GroupId,
        store: StoreId,
        success: bool,
    ) -> bool {
        let ended = self.with(tools, id, |group, cx| {
            match group.ledger.end(store, success) {
                Ended::Stored(answers) => {
                    for (ticket, answer) in answers {
                        let result = group.still_holds(answer);
                        cx.out.push(Action::AnswerConsumer { ticket, result });
                    }
                    group.flush(cx);
                }
                // The next heartbeat tries again; trying at once would spin on a full disk.
                Ended::Failed(tickets) => refuse(cx.out, &group.id, tickets),
            }
        });
        ended.is_some()
    }

    pub(crate) fn may_commit(&self, by: &MemberRef) -> Option<Result<(), Error>> {
        let entry = self.groups.get(&by.group)?;
        Some(entry.group.may_commit(by))
    }

    pub(crate) fn may_delete_offsets(&self, id: &GroupId, topic: &TopicName) -> Result<(), Error> {
        let Some(Entry { group, .. }) = self.groups.get(id) else {
            return Ok(());
        };
        let (group_id, name) = (id.clone(), topic.clone());
        match () {
            () if group.is_dead => Err(Error::NotAvailable { group: group_id }),
            () if group.is_subscribed(&self.topics, topic) => Err(Error::SubscribedToTopic {
                group: group_id,
                topic: name,
            }),
            () => Ok(()),
        }
    }

    /// Begins to delete a group; `None` when it is none of these.
    pub(crate) fn begin_delete(&mut self, id: &GroupId) -> Option<Result<(), Error>> {
        let Entry { group, .. } = self.groups.get_mut(id)?;
        Some(match group.state() {
            ConsumerState::Dead => Err(Error::NotAvailable { group: id.clone() }),
            ConsumerState::Empty => {
                group.is_dead = true;
                Ok(())
            }
            state @ (ConsumerState::Assigning
            | ConsumerState::Reconciling
            | ConsumerState::Stable) => Err(Error::NotEmpty {
                group: id.clone(),
                state: state.as_str(),
            }),
        })
    }

    /// Ends a deletion: the group is gone, or empty again.
    pub(crate) fn end_delete(&mut self, tools: &mut Tools<'_>, id: &GroupId, deleted: bool) {
        let Some(Entry { group, .. }) = self.groups.get_mut(id) else {
            return;
        };
        if !std::mem::take(&mut group.is_dead) {
            return;
        }
        if deleted {
            self.forget(tools, id);
            return;
        }
        group.empty_since = tools.now;
        let wake = group.next_deadline(tools.options.offsets_retention);
        self.wake_by(id, wake);
    }

    /// Lets a member of the first protocol have this id, if no member of the second has it.
    pub(crate) fn give_way(&mut self, tools: &mut Tools<'_>, id: &GroupId) -> Result<(), Error> {
        match self.groups.get(id) {
            None => Ok(()),
            Some(Entry { group, .. }) if group.is_dead => {
                Err(Error::NotAvailable { group: id.clone() })
            }
            Some(Entry { group, .. }) if group.members.is_empty() => {
                self.forget(tools, id);
                Ok(())
            }
            Some(_) => Err(Error::InconsistentProtocol { group: id.clone() }),
        }
    }

    /// The group that has been empty for longest, and since when.
    pub(crate) fn idle(&self) -> Option<(Duration, GroupId)> {
        let groups = self.groups.values().map(|entry| &entry.group);
        let idle = groups.filter(|group| group.members.is_empty() && !group.is_dead);
        idle.map(|group| (group.empty_since, group.id.clone()))
            .min()
    }

    pub(crate) fn forget(&mut self, tools: &mut Tools<'_>, id: &GroupId) {
        let Some(Entry { mut group, wake }) = self.groups.remove(id) else {
            return;
        };
        if let Some(at) = wake {
            self.wakes.remove(&(at, id.clone()));
        }
        let (dirty, waiting) = group.ledger.abandon();
        refuse(tools.out, id, waiting);
        if group.epoch == 0 {
            return;
        }
        let group = id.clone();
        tools.out.push(Action::Note(Note::Forgotten { group }));
        let store = StoreId(*tools.next_store);
        *tools.next_store += 1;
        let gone = |member: MemberId| (member, None);
        tools.out.push(Action::StoreConsumer {
            id: store,
            group: id.clone(),
            changes: Changes {
                header: Some(None),
                members: dirty.members.into_iter().map(gone).collect(),
            },
        });
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = GroupListing> {
        self.groups
            .values()
            .map(|Entry { group, .. }| GroupListing {
                group: group.id.clone(),
                protocol_type: "consumer".into(),
                state: ListedState::Consumer(group.state()),
                members: group.members.len(),
            })
    }

    /// Adds how many groups are in each state, and answers how many members they have.
    pub(crate) fn census(&self, states: &mut BTreeMap<ListedState, usize>) -> usize {
        let mut members = 0;
        for Entry { group, .. } in self.groups.values() {
            let state = ListedState::Consumer(group.state());
            *states.entry(state).or_default() += 1;
            members += group.members.len();
        }
        members
    }

    pub(crate) fn inspect(&self) -> impl Iterator<Item = &ConsumerGroup> {
        self.groups.values().map(|entry| &entry.group)
    }

    /// A first heartbeat that was refused leaves no group behind.
    fn forget_unless_joined(&mut self, tools: &mut Tools<'_>, id: &GroupId) {
        if self.groups.get(id).is_some_and(|e| e.group.epoch == 0) {
            self.forget(tools, id);
        }
    }

    /// Lets `change` work on a group and plans when to look at it again.
    fn with<T>(
        &mut self,
        tools: &mut Tools<'_>,
        id: &GroupId,
        change: impl FnOnce(&mut ConsumerGroup, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(id)?;
        let mut cx = Context {
            now: tools.now,
            options: tools.options,
            out: tools.out,
            next_store: tools.next_store,
            topics: &self.topics,
            topics_version: self.topics_version,
        };
        let answer = change(&mut entry.group, &mut cx);
        let due = entry.group.next_deadline(tools.options.offsets_retention);
        self.wake_by(id, due);
        Some(answer)
    }

    /// Plans to look at a group by `due`. A planned look that is earlier stays: it will find nothing due
    /// and plan anew.
    fn wake_by(&mut self, id: &GroupId, due: Option<Duration>) {
        let Some(entry) = self.groups.get_mut(id) else {
            return;
        };
        let Some(due) = due else {
            return;
        };
        if entry.wake.is_some_and(|planned| planned <= due) {
            return;
        }
        if let Some(planned) = entry.wake.replace(due) {
            self.wakes.remove(&(planned, id.clone()));
        }
        self.wakes.insert((due, id.clone()));
    }
}

fn refuse(out: &mut Vec<Action>, group: &GroupId, tickets: Vec<Ticket>) {
    let refused = tickets.into_iter().map(|ticket| Action::AnswerConsumer {
        ticket,
        result: Err(Error::NotAvailable {
            group: group.clone(),
        }),
    });
    out.extend(refused);
}
