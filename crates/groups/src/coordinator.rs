//! All groups: finds the one a request is about, bounds how many there are, and knows when to look
//! again.
//!
//! Invariants: `next_deadline` is never later than the first moment something is due; the number of
//! groups never passes [`Options::groups_max`].
//! Not here: storage, timers, answers over a wire (`broker::coordinator`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use model::{GroupId, TopicName};

use crate::api::{
    Action, GroupDescription, GroupListing, JoinRequest, Leaving, ListedState, MemberRef, Note,
    SyncRequest,
};
use crate::consumer::{Consumers, Tools};
use crate::group::{Context, Group};
use crate::rebalance::Phase;
use crate::snapshot::Snapshot;
use crate::{Error, Options, StoreId, Ticket};

/// One result for each member that leaves, in the order asked.
pub type LeaveResults = Vec<Result<(), Error>>;

/// Every group of one broker, as a state machine that is told the time.
///
/// Each call that can change something answers with [`Action`]s, which the caller carries out in
/// order. `now` is any clock that never goes back, the same for all calls.
#[derive(Debug)]
pub struct Coordinator {
    options: Options,
    groups: HashMap<GroupId, Entry>,
    /// When to look at which group: never later than its own next deadline.
    wakes: BTreeSet<(Duration, GroupId)>,
    next_store: u64,
    pub(crate) consumers: Consumers,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    /// The moment `wakes` has for it.
    wake: Option<Duration>,
}

impl Coordinator {
    /// No groups yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            groups: HashMap::new(),
            wakes: BTreeSet::new(),
            next_store: 0,
            consumers: Consumers::default(),
        }
    }

    /// The options it works by.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Takes a join request. The answer comes as [`Action::AnswerJoin`] with `ticket`, now or later.
    /// `random` makes the id of a new member and must be fresh each time.
    pub fn join(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: &JoinRequest,
        random: [u8; 16],
    ) -> Vec<Action> {
        let mut out = Vec::new();
        if let Err(error) = self.admit(now, request, &mut out) {
            out.push(Action::AnswerJoin {
                ticket,
                result: Err(error),
            });
            return out;
        }
        self.with(now, &request.group, &mut out, |group, cx| {
            group.join(cx, ticket, request, random);
        });
        out
    }

    /// Takes a sync request. The answer comes as [`Action::AnswerSync`] with `ticket`, now or later.
    pub fn sync(&mut self, now: Duration, ticket: Ticket, request: SyncRequest) -> Vec<Action> {
        let mut out = Vec::new();
        let by = request.by.clone();
        let found = self.with(now, &by.group, &mut out, |group, cx| {
            group.sync(cx, ticket, request);
        });
        if found.is_none() {
            out.push(Action::AnswerSync {
                ticket,
                result: Err(unknown(&by)),
            });
        }
        out
    }

    /// Takes a heartbeat.
    ///
    /// # Errors
    /// [`Error::RebalanceInProgress`] when the member should join again, [`Error::UnknownMember`],
    /// [`Error::IllegalGeneration`], [`Error::FencedInstance`], [`Error::NotAvailable`].
    pub fn heartbeat(&mut self, now: Duration, by: &MemberRef) -> Result<(), Error> {
        let mut out = Vec::new();
        let answer = self.change(now, &by.group, &mut out, |group, cx| {
            group.heartbeat(cx, by)
        });
        debug_assert!(out.is_empty(), "a heartbeat only moves a deadline");
        answer.unwrap_or_else(|| Err(unknown(by)))
    }

    /// Takes members out. One result for each, in the order asked.
    ///
    /// # Errors
    /// [`Error::NotAvailable`] for all of them when the group is being deleted.
    pub fn leave(
        &mut self,
        now: Duration,
        group: &GroupId,
        leaving: &[Leaving],
    ) -> Result<(LeaveResults, Vec<Action>), Error> {
        let mut out = Vec::new();
        if let Some(Entry { group, .. }) = self.groups.get(group)
            && group.phase == Phase::Dead
        {
            return Err(Error::NotAvailable {
                group: group.id.clone(),
            });
        }
        let left = self.with(now, group, &mut out, |group, cx| group.leave(cx, leaving));
        let nobody = |one: &Leaving| {
            let (group, member) = (group.clone(), one.member.clone());
            Err(Error::UnknownMember { group, member })
        };
        let results = left.unwrap_or_else(|| leaving.iter().map(nobody).collect());
        Ok((results, out))
    }

    /// Whether `by` may commit offsets now. The commit itself is the caller's.
    ///
    /// A consumer without membership (generation -1, empty member) may, as long as the group has no
    /// members.
    ///
    /// # Errors
    /// [`Error::IllegalGeneration`], [`Error::UnknownMember`], [`Error::FencedInstance`],
    /// [`Error::RebalanceInProgress`] (between join and sync), [`Error::StaleMemberEpoch`] (members of
    /// the second protocol), [`Error::UnknownGroup`], [`Error::NotAvailable`].
    pub fn may_commit(&mut self, now: Duration, by: &MemberRef) -> Result<(), Error> {
        let mut out = Vec::new();
        if let Some(answer) = self.consumers.may_commit(by) {
            return answer;
        }
        match self.change(now, &by.group, &mut out, |group, cx| group.commit(cx, by)) {
            Some(answer) => answer,
            None if by.generation < 0 => Ok(()),
            None => Err(Error::UnknownGroup {
                group: by.group.clone(),
            }),
        }
    }

    /// Reports that an [`Action::Store`] is done, or that it failed.
    pub fn stored(
        &mut self,
        now: Duration,
        group: &GroupId,
        id: StoreId,
        success: bool,
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let (consumers, mut tools) = self.consumers_with(now, &mut out);
        if consumers.stored(&mut tools, group, id, success) {
            return out;
        }
        self.with(now, group, &mut out, |group, cx| {
            if let Some(then) = group.stores.remove(&id) {
                group.on_stored(cx, then, success);
            }
        });
        out
    }

    /// The next moment [`tick`](Self::tick) may have something to do. `None`: not by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        let classic = self.wakes.first().map(|(at, _)| *at);
        let both = classic.into_iter().chain(self.consumers.next_deadline());
        both.min()
    }

    /// Does everything that is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut out = Vec::new();
        while let Some((at, id)) = self.wakes.first().cloned() {
            if at > now {
                break;
            }
            self.wakes.pop_first();
            if let Some(entry) = self.groups.get_mut(&id) {
                entry.wake = None;
            }
            self.with(now, &id, &mut out, Group::tick);
            self.forget_if_idle(now, &id, &mut out);
        }
        let (consumers, mut tools) = self.consumers_with(now, &mut out);
        consumers.tick(&mut tools);
        out
    }

    /// Puts back a group as it was stored. Every member's session starts anew at `now`.
    ///
    /// # Errors
    /// [`Error::TooManyGroups`].
    pub fn restore(&mut self, now: Duration, id: &GroupId, stored: Snapshot) -> Result<(), Error> {
        if self.count() >= self.options.groups_max && !self.groups.contains_key(id) {
            return Err(Error::TooManyGroups {
                limit: self.options.groups_max,
            });
        }
        let group = Group::restore(id.clone(), stored, now);
        self.groups.insert(id.clone(), Entry { group, wake: None });
        self.rewake(id);
        Ok(())
    }

    /// The group as it is. `None`: no member ever joined, or it was forgotten.
    pub fn describe(&self, group: &GroupId) -> Option<GroupDescription> {
        self.groups.get(group).map(|entry| entry.group.describe())
    }

    /// Whether there is a group with this id, of either protocol: it has members, or had some not long ago.
    pub fn knows(&self, group: &GroupId) -> bool {
        self.groups.contains_key(group) || self.consumers.contains(group)
    }

    /// All groups by id.
    pub fn list(&self) -> Vec<GroupListing> {
        let mut listings: Vec<_> = self
            .groups
            .values()
            .map(|Entry { group, .. }| GroupListing {
                group: group.id.clone(),
                protocol_type: group.protocol_type.clone(),
                state: ListedState::Classic(group.state()),
                members: group.members.len(),
            })
            .chain(self.consumers.list())
            .collect();
        listings.sort_by(|a, b| a.group.cmp(&b.group));
        listings
    }

    /// How many groups are in each state, and how many members they have in total.
    pub fn census(&self) -> (BTreeMap<ListedState, usize>, usize) {
        let mut states = BTreeMap::new();
        let mut members = self.consumers.census(&mut states);
        for entry in self.groups.values() {
            let state = ListedState::Classic(entry.group.state());
            *states.entry(state).or_default() += 1;
            members += entry.group.members.len();
        }
        (states, members)
    }

    /// Whether the group's offsets in `topic` may be deleted.
    ///
    /// # Errors
    /// [`Error::SubscribedToTopic`] when a member reads the topic, [`Error::NotAvailable`].
    pub fn may_delete_offsets(&self, group: &GroupId, topic: &TopicName) -> Result<(), Error> {
        let Some(Entry { group, .. }) = self.groups.get(group) else {
            return self.consumers.may_delete_offsets(group, topic);
        };
        if group.phase == Phase::Dead {
            return Err(Error::NotAvailable {
                group: group.id.clone(),
            });
        }
        if !group.members.is_empty() && group.is_subscribed(topic) {
            let (group, topic) = (group.id.clone(), topic.clone());
            return Err(Error::SubscribedToTopic { group, topic });
        }
        Ok(())
    }

    /// Begins to delete a group: from here on every request about it is refused with
    /// [`Error::NotAvailable`], until [`end_delete`](Self::end_delete). Says whether the group was
    /// known here (it may still have committed offsets if not).
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotAvailable`] when it is being deleted already.
    pub fn begin_delete(&mut self, now: Duration, id: &GroupId) -> Result<bool, Error> {
        if let Some(begun) = self.consumers.begin_delete(id) {
            return begun.map(|()| true);
        }
        let known = self.groups.contains_key(id);
        let entry = self.groups.entry(id.clone()).or_insert_with(|| Entry {
            group: Group::new(id.clone(), now),
            wake: None,
        });
        match entry.group.phase {
            Phase::Dead => return Err(Error::NotAvailable { group: id.clone() }),
            Phase::Empty { .. } => entry.group.phase = Phase::Dead,
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                let state = entry.group.state().as_str();
                return Err(Error::NotEmpty {
                    group: id.clone(),
                    state,
                });
            }
        }
        Ok(known)
    }

    /// Ends a deletion: the group is gone, or (`deleted` is false) empty again.
    pub fn end_delete(&mut self, now: Duration, id: &GroupId, deleted: bool) -> Vec<Action> {
        let mut out = Vec::new();
        let (consumers, mut tools) = self.consumers_with(now, &mut out);
        consumers.end_delete(&mut tools, id, deleted);
        let Some(entry) = self.groups.get_mut(id) else {
            return out;
        };
        if entry.group.phase != Phase::Dead {
            return out;
        }
        if deleted {
            self.forget(id, &mut out);
        } else {
            entry.group.phase = Phase::Empty { since: now };
            self.rewake(id);
        }
        out
    }

    /// For tests and the simulator: the group's innards for [`crate::invariants`].
    pub(crate) fn inspect(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|entry| &entry.group)
    }

    /// Checks what does not depend on the group, and makes the group if this is its first member.
    fn admit(
        &mut self,
        now: Duration,
        request: &JoinRequest,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let (min, max) = (
            self.options.session_timeout_min,
            self.options.session_timeout_max,
        );
        let asked = request.session_timeout;
        if asked < min || asked > max {
            return Err(Error::InvalidSessionTimeout { asked, min, max });
        }
        if self.groups.contains_key(&request.group) {
            return Ok(());
        }
        if !request.member.is_empty() {
            let (group, member) = (request.group.clone(), request.member.clone());
            return Err(Error::UnknownMember { group, member });
        }
        let (consumers, mut tools) = self.consumers_with(now, out);
        consumers.give_way(&mut tools, &request.group)?;
        self.make_room_if_full(out)?;
        let group = Group::new(request.group.clone(), now);
        self.groups
            .insert(request.group.clone(), Entry { group, wake: None });
        Ok(())
    }

    /// How many groups there are, of both protocols.
    pub(crate) fn count(&self) -> usize {
        self.groups.len() + self.consumers.len()
    }

    /// Whether there is a group of the first protocol with this id.
    pub(crate) fn is_classic(&self, id: &GroupId) -> bool {
        self.groups.contains_key(id)
    }

    /// The groups of the second protocol and what they work with.
    pub(crate) fn consumers_with<'a>(
        &'a mut self,
        now: Duration,
        out: &'a mut Vec<Action>,
    ) -> (&'a mut Consumers, Tools<'a>) {
        let tools = Tools {
            now,
            options: &self.options,
            out,
            next_store: &mut self.next_store,
        };
        (&mut self.consumers, tools)
    }

    /// Lets a member of the second protocol have this id, if no member of the first has it.
    pub(crate) fn give_way_to_consumers(
        &mut self,
        id: &GroupId,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let Some(Entry { group, .. }) = self.groups.get(id) else {
            return Ok(());
        };
        match group.phase {
            Phase::Dead => Err(Error::NotAvailable { group: id.clone() }),
            Phase::Empty { .. } if group.pending.is_empty() => {
                self.forget(id, out);
                Ok(())
            }
            Phase::Empty { .. }
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. } => Err(Error::OtherProtocol { group: id.clone() }),
        }
    }

    /// Forgets the group that has been empty for longest, if there is no room for another.
    pub(crate) fn make_room_if_full(&mut self, out: &mut Vec<Action>) -> Result<(), Error> {
        if self.count() < self.options.groups_max {
            return Ok(());
        }
        let empty_since = |group: &Group| match group.phase {
            Phase::Empty { since } if group.pending.is_empty() => Some(since),
            Phase::Empty { .. }
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. }
            | Phase::Dead => None,
        };
        let idle = self.groups.values().filter_map(|Entry { group, .. }| {
            empty_since(group).map(|since| (since, group.id.clone()))
        });
        let Some((_, id)) = idle.chain(self.consumers.idle()).min() else {
            return Err(Error::TooManyGroups {
                limit: self.options.groups_max,
            });
        };
        self.forget(&id, out);
        let (consumers, mut tools) = self.consumers_with(Duration::ZERO, out);
        consumers.forget(&mut tools, &id);
        Ok(())
    }

    fn forget_if_idle(&mut self, now: Duration, id: &GroupId, out: &mut Vec<Action>) {
        let Some(Entry { group, .. }) = self.groups.get(id) else {
            return;
        };
        if let Phase::Empty { since } = group.phase
            && group.pending.is_empty()
            && (group.generation == 0 || since + self.options.offsets_retention <= now)
        {
            self.forget(id, out);
        }
    }

    fn forget(&mut self, id: &GroupId, out: &mut Vec<Action>) {
        let Some(entry) = self.groups.remove(id) else {
            return;
        };
        if let Some(at) = entry.wake {
            self.wakes.remove(&(at, id.clone()));
        }
        out.push(Action::Note(Note::Forgotten { group: id.clone() }));
        // A group without a generation was never stored.
        if entry.group.generation > 0 {
            let store = StoreId(self.next_store);
            self.next_store += 1;
            out.push(Action::Store {
                id: store,
                group: id.clone(),
                snapshot: None,
            });
        }
    }

    /// Lets `change` work on a group and plans when to look at it again.
    fn with<T>(
        &mut self,
        now: Duration,
        id: &GroupId,
        out: &mut Vec<Action>,
        change: impl FnOnce(&mut Group, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let answer = self.change(now, id, out, change)?;
        self.rewake(id);
        Some(answer)
    }

    /// Lets `change` work on a group, where it can only move deadlines further away: then the plan
    /// need not change, and a heartbeat does not look at every other member.
    fn change<T>(
        &mut self,
        now: Duration,
        id: &GroupId,
        out: &mut Vec<Action>,
        change: impl FnOnce(&mut Group, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(id)?;
        let next_store = &mut self.next_store;
        let mut cx = Context {
            now,
            options: &self.options,
            out,
            next_store,
        };
        Some(change(&mut entry.group, &mut cx))
    }

    /// Plans the next look at a group. A planned look that is too early stays: it will find nothing
    /// due and plan anew, which is cheaper than moving it with every heartbeat.
    fn rewake(&mut self, id: &GroupId) {
        let Some(entry) = self.groups.get_mut(id) else {
            return;
        };
        let next = match (
            entry.wake,
            entry.group.next_deadline(self.options.offsets_retention),
        ) {
            (_, None) => return,
            (Some(planned), Some(due)) if planned <= due => return,
            (_, Some(due)) => due,
        };
        if let Some(planned) = entry.wake.replace(next) {
            self.wakes.remove(&(planned, id.clone()));
        }
        self.wakes.insert((next, id.clone()));
    }
}

fn unknown(by: &MemberRef) -> Error {
    Error::UnknownMember {
        group: by.group.clone(),
        member: by.member.clone(),
    }
}
