//! The deliveries of one listener.
//!
//! ```text
//!            offer                     lease                 Done
//!   (read) ────────> blocked ─> ready ───────> leased ─────────────────────────────> finished
//!                       ^         ^  └─ deadline passed ─┐  │ │ Refused, or no          ^
//!              its key's│         └───── waiting <───────┼──┘ └─ attempt left ─> spent ─┘ buried, or
//!              turn     │              pause over  Failed└──────────────────────────────  dropped
//! ```
//!
//! Records of one key form a chain: its first is ready, leased, waiting or spent, the others are blocked until
//! it is finished. A lease may take several of one chain, from its front on. When one of them fails,
//! those behind it in the lease go back, whatever the listener says of them, so that a retry does not
//! overtake. Records without a key have no chain.
//! A deadline passes at its time, wherever the record waits (but not while it is leased: the call has what is left of it);
//! a blocked one then leaves its chain from the middle, which nobody notices.
//!
//! Bounded by its caller, who offers no more while [`Queue::room`] is used up.

mod check;
mod ending;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use ahash::RandomState;
use model::Position;
use slab::Slab;

use crate::offer::{EntryId, Failure, Lease, LeaseId, Leased, Offer, Reason, SourceId, Spent};
use crate::policy::Policy;
use crate::progress::{Finished, Progress};
use crate::ready::Ready;

/// The same for every queue: a chain's order must not depend on who asks.
pub(crate) fn hasher() -> RandomState {
    RandomState::with_seeds(0x6c61_6e74, 0x6572_6e00, 0x6465_6c69, 0x7665_7279)
}

/// Hash of a record's key.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    let mut state = hasher().build_hasher();
    state.write(key);
    state.finish()
}

/// What one listener has to be given.
#[derive(Debug)]
pub struct Queue<T> {
    policy: Policy,
    entries: Slab<Entry<T>>,
    ready: Ready,
    /// Records of one source and key, in order; only those of more than one record in all their life.
    chains: HashMap<(SourceId, u64), VecDeque<usize>, RandomState>,
    waiting: BinaryHeap<Reverse<(Duration, EntryId)>>,
    /// Records with a deadline; also some that are finished.
    deadlines: BinaryHeap<Reverse<(Duration, EntryId)>>,
    leases: BTreeMap<LeaseId, Held>,
    next_number: u64,
    sources: HashMap<SourceId, Source, RandomState>,
    spent: Vec<Spent<T>>,
    stats: Stats,
}

/// One partition.
#[derive(Debug, Default)]
struct Source {
    progress: Progress,
    /// Finished before a restart.
    known: Finished,
    /// Dealt with elsewhere.
    held: usize,
}

/// Records of one lease, and when it ends.
#[derive(Debug)]
struct Held {
    records: Vec<EntryId>,
    until: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    offer: Offer<T>,
    state: State,
    failures: Vec<Failure>,
    offered: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Blocked,
    /// By its number in the line.
    Ready(u64),
    Leased,
    /// Not due yet.
    Delayed,
    /// Since its attempt failed.
    Waiting(Duration),
    Spent,
}

/// Deadlines of finished records that are borne beside those of others.
const DEADLINES_MIN: usize = 64;

/// Whether the record of a slot is still in line under a number.
fn in_line<T>(entries: &Slab<Entry<T>>) -> impl Fn(usize, u64) -> bool {
    |slot, number| {
        let entry = entries.get(slot);
        entry.is_some_and(|entry| entry.state == State::Ready(number))
    }
}

/// Counts since the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records taken by the listener.
    pub done: u64,
    /// Attempts that failed or were refused.
    pub failures: u64,
    /// Leases that ended without an answer.
    pub lost_leases: u64,
    /// How long keys stood still behind a record that waited for its next attempt, summed.
    pub blocked: Duration,
}

impl<T: Clone> Queue<T> {
    /// An empty queue.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            entries: Slab::new(),
            ready: Ready::new(),
            chains: HashMap::with_hasher(hasher()),
            waiting: BinaryHeap::new(),
            deadlines: BinaryHeap::new(),
            leases: BTreeMap::new(),
            next_number: 0,
            sources: HashMap::with_hasher(hasher()),
            spent: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Another policy from now on; pauses that began stay as they are.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// A partition read from its beginning.
    pub fn add_source(&mut self) -> SourceId {
        self.resume_source(Position::default(), Finished::default())
    }

    /// A partition read from `position` on, of which some records behind it are finished already.
    pub fn resume_source(&mut self, position: Position, known: Finished) -> SourceId {
        let progress = Progress::at(position);
        // A number of its own, never used again: what ends late must not find another's partition.
        let id = SourceId(self.next_number());
        self.sources.insert(
            id,
            Source {
                progress,
                known,
                held: 0,
            },
        );
        id
    }

    /// Forgets a partition and its records, for instance because its topic is gone. What is leased of it may
    /// still be settled, to no effect.
    pub fn remove_source(&mut self, source: SourceId) {
        if self.sources.remove(&source).is_none() {
            return;
        }
        self.entries.retain(|_, entry| entry.offer.source != source);
        self.chains.retain(|(of, _), _| *of != source);
        let entries = &self.entries;
        self.ready.retain(in_line(entries));
    }

    /// Takes a record into the queue. `false`: it was finished before a restart.
    pub fn offer(&mut self, now: Duration, mut offer: Offer<T>) -> bool {
        let Some(source) = self.sources.get_mut(&offer.source) else {
            return false;
        };
        source.progress.begin(offer.position);
        if source.known.contains(offer.position) {
            // It counts as finished here, too, so that the next restart knows of it.
            source.progress.finish(offer.position);
            return false;
        }
        let due = offer.due.filter(|due| *due > now);
        if due.is_some() {
            offer.key = None;
        }
        let chain = offer.key.map(|key| (offer.source, key));
        let deadline = offer.deadline;
        let number = self.next_number();
        let slot = self.entries.insert(Entry {
            number,
            offer,
            state: State::Blocked,
            failures: Vec::new(),
            offered: now,
        });
        if let Some(deadline) = deadline {
            self.note_deadline(deadline, EntryId { slot, number });
        }
        if let Some(due) = due {
            if let Some(entry) = self.entries.get_mut(slot) {
                entry.state = State::Delayed;
            }
            self.waiting.push(Reverse((due, EntryId { slot, number })));
            return true;
        }
        if let Some(chain) = chain {
            let chain = self.chains.entry(chain).or_default();
            chain.push_back(slot);
            if chain.len() > 1 {
                return true;
            }
        }
        self.make_ready(now, slot);
        true
    }

    /// A record that is dealt with elsewhere until [`Self::let_go`]: its place counts as unfinished. `false`: it was
    /// finished before a restart.
    pub fn hold(&mut self, source: SourceId, position: Position) -> bool {
        let Some(source) = self.sources.get_mut(&source) else {
            return false;
        };
        source.progress.begin(position);
        if source.known.contains(position) {
            source.progress.finish(position);
            return false;
        }
        source.held += 1;
        true
    }

    /// A record that was held is finished.
    pub fn let_go(&mut self, source: SourceId, position: Position) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.held -= 1;
            source.progress.finish(position);
        }
    }

    /// Everything of `source` before `position` was offered, or is no matter of this listener.
    pub fn read_to(&mut self, source: SourceId, position: Position) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.progress.read_to(position);
        }
    }

    /// What to commit for `source`.
    pub fn position(&self, source: SourceId) -> Position {
        let source = self.sources.get(&source);
        source.map_or(Position::default(), |source| source.progress.position())
    }

    /// What is finished behind [`Self::position`].
    pub fn finished(&self, source: SourceId) -> Finished {
        let source = self.sources.get(&source);
        source.map_or_else(Finished::default, |source| {
            source
                .progress
                .finished()
                .with_unread(source.progress.read_end(), &source.known)
        })
    }

    /// How many more records of `source` may be offered, if it may have `records` unfinished and `window`
    /// between its position and the last one read.
    pub fn room(&self, source: SourceId, records: usize, window: usize) -> usize {
        self.sources.get(&source).map_or(0, |source| {
            let unfinished = records.saturating_sub(source.progress.unfinished());
            unfinished.min(window.saturating_sub(source.progress.window()))
        })
    }

    /// Records offered and not finished.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everything offered is finished.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records that wait for nothing but a lease.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Counts since the queue was made.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Gives the right to deliver up to `limit` records. `None`: nothing is ready.
    pub fn lease(&mut self, now: Duration, limit: usize) -> Option<Lease<T>> {
        self.wake(now);
        let mut records = Vec::new();
        let mut held = Vec::new();
        while held.len() < limit {
            let entries = &self.entries;
            let next = self
                .ready
                .pop(now, self.policy.starvation, in_line(entries));
            let Some(slot) = next else { break };
            self.lease_chain(now, slot, limit, &mut held, &mut records);
        }
        if held.is_empty() {
            return None;
        }
        let id = LeaseId(self.next_number());
        let until = match self.policy.lease {
            Duration::ZERO => Duration::MAX,
            lease => now.saturating_add(lease),
        };
        let records_held = Held {
            records: held,
            until,
        };
        self.leases.insert(id, records_held);
        Some(Lease { id, records })
    }

    /// Leases a record and, while there is room, those that follow it in its key.
    fn lease_chain(
        &mut self,
        now: Duration,
        first: usize,
        limit: usize,
        held: &mut Vec<EntryId>,
        records: &mut Vec<Leased<T>>,
    ) {
        let mut place = 0;
        let mut next = Some(first);
        while let Some(slot) = next.filter(|_| held.len() < limit) {
            let Some(entry) = self.entries.get_mut(slot) else {
                return;
            };
            let chain = entry.offer.key.map(|key| (entry.offer.source, key));
            if entry.state == State::Spent {
                // It expired while it was blocked, and what follows waits until it is buried.
                return;
            }
            entry.state = State::Leased;
            held.push(EntryId {
                slot,
                number: entry.number,
            });
            records.push(Leased {
                payload: entry.offer.payload.clone(),
                chain,
                attempt: u32::try_from(entry.failures.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1),
                remaining: entry
                    .offer
                    .deadline
                    .map(|deadline| deadline.saturating_sub(now)),
                waited: now.saturating_sub(entry.offered),
            });
            place += 1;
            next = chain.and_then(|chain| self.chains.get(&chain)?.get(place).copied());
        }
    }

    /// When something happens by itself: a pause or a lease ends, a deadline passes. `None`: nothing will.
    pub fn next_event(&self) -> Option<Duration> {
        let pause = self.waiting.peek().map(|Reverse((until, _))| *until);
        let deadline = self.deadlines.peek().map(|Reverse((at, _))| *at);
        let lease = self.leases.values().map(|held| held.until).min();
        let lease = lease.filter(|until| *until < Duration::MAX);
        [pause, deadline, lease].into_iter().flatten().min()
    }

    /// What was offered and is not finished, in any order, to be changed in place: for instance to make it smaller.
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries
            .iter_mut()
            .map(|(_, entry)| &mut entry.offer.payload)
    }

    /// Records that will not be delivered, since the last call.
    pub fn take_spent(&mut self) -> Vec<Spent<T>> {
        std::mem::take(&mut self.spent)
    }

    fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The record, if it is still there: its slot may have another's by now.
    fn entry(&mut self, id: EntryId) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(id.slot)?;
        (entry.number == id.number).then_some(entry)
    }

    /// Makes ready what waited long enough, and spends what expired; [`Self::lease`] does so, too.
    pub fn wake(&mut self, now: Duration) {
        self.expire(now);
        while let Some(Reverse((until, id))) = self.waiting.peek().copied() {
            if until > now {
                return;
            }
            self.waiting.pop();
            match self.entry(id).map(|entry| entry.state) {
                Some(State::Waiting(since)) => {
                    self.stats.blocked += now.saturating_sub(since);
                    self.make_ready(now, id.slot);
                }
                Some(State::Delayed) => self.make_ready(now, id.slot),
                _ => {}
            }
        }
    }

    /// Spends what waits past its deadline.
    fn expire(&mut self, now: Duration) {
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.pop();
            let Some(entry) = self.entry(id) else {
                continue;
            };
            let (state, priority) = (entry.state, entry.offer.priority);
            match state {
                // Its call knows what is left; if it fails, that ends it.
                State::Leased | State::Spent => continue,
                State::Ready(_) => {
                    entry.state = State::Blocked;
                    let entries = &self.entries;
                    self.ready.take_back(priority, in_line(entries));
                }
                State::Waiting(since) => self.stats.blocked += now.saturating_sub(since),
                State::Blocked | State::Delayed => {}
            }
            self.spend(now, id.slot, Reason::Expired);
        }
    }

    fn note_deadline(&mut self, at: Duration, id: EntryId) {
        self.deadlines.push(Reverse((at, id)));
        if self.deadlines.len() > 2 * self.entries.len() + DEADLINES_MIN {
            let entries = &self.entries;
            self.deadlines.retain(|Reverse((_, id))| {
                let entry = entries.get(id.slot);
                entry.is_some_and(|entry| entry.number == id.number)
            });
        }
    }

    fn make_ready(&mut self, now: Duration, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            let (priority, time) = (entry.offer.priority, entry.offer.time);
            entry.state = State::Ready(self.ready.push(now, priority, time, slot));
        }
    }
}
