//! How deliveries end: settled, lost, tried again, spent, buried, finished.
//!
//! The arrows of the queue's diagram that begin at `leased` and `spent`.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Queue, State};
use crate::offer::{EntryId, Failure, LeaseId, Outcome, Reason, SourceId, Spent, SpentId};
use crate::policy::backoff;

impl<T: Clone> Queue<T> {
    /// Ends a lease: `outcome` says what became of its n-th record. `jitter` is random in `[0, 1)`.
    ///
    /// `false` when the lease ended before: its records are somebody else's now.
    pub fn settle(
        &mut self,
        now: Duration,
        lease: LeaseId,
        jitter: f64,
        outcome: impl FnMut(usize) -> Outcome,
    ) -> bool {
        self.settle_each(now, lease, jitter, outcome, |_| {})
    }

    /// As [`Self::settle`], and tells `taken` of each record that is finished now because it was taken. That is not every
    /// one whose outcome is [`Outcome::Done`]: behind a failed one of its key it goes back, and if the lease ended before,
    /// all of it does.
    pub fn settle_each(
        &mut self,
        now: Duration,
        lease: LeaseId,
        jitter: f64,
        mut outcome: impl FnMut(usize) -> Outcome,
        mut taken: impl FnMut(usize),
    ) -> bool {
        let Some(held) = self.leases.remove(&lease) else {
            return false;
        };
        let mut behind: Vec<(SourceId, u64)> = Vec::new();
        for (index, id) in held.records.into_iter().enumerate() {
            let outcome = outcome(index);
            let slot = id.slot;
            let Some(entry) = self.entry(id) else {
                continue;
            };
            let chain = entry.offer.key.map(|key| (entry.offer.source, key));
            if let Some(chain) = chain
                && behind.contains(&chain)
            {
                entry.state = State::Blocked;
                // It may have passed during the call.
                if let Some(deadline) = entry.offer.deadline {
                    self.note_deadline(deadline, id);
                }
                continue;
            }
            match outcome {
                Outcome::Done => {
                    self.stats.done += 1;
                    // The next of its chain, if it was in this lease, is not to be leased again.
                    self.finish(now, slot);
                    taken(index);
                }
                Outcome::Failed { error, after } => {
                    behind.extend(chain);
                    self.fail(now, slot, error, after, jitter);
                }
                Outcome::Refused { error } => {
                    behind.extend(chain);
                    entry.failures.push(Failure { at: now, error });
                    self.stats.failures += 1;
                    self.spend(now, slot, Reason::Refused);
                }
            }
        }
        // What went back behind a record that was dropped is its key's first now.
        for chain in behind {
            self.ready_front(now, chain);
        }
        true
    }

    /// Takes back what was leased too long ago, as if it had failed, and says when to look again.
    pub fn expire_leases(&mut self, now: Duration, jitter: f64) {
        let over: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, held)| held.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for lease in over {
            self.stats.lost_leases += 1;
            let error = String::from("no answer before the lease ended");
            let outcome = Outcome::Failed { error, after: None };
            self.settle(now, lease, jitter, |_| outcome.clone());
        }
    }

    /// A spent record is in the dead-letter topic: it is finished.
    pub fn buried(&mut self, now: Duration, spent: SpentId) {
        if self
            .entry(spent.0)
            .is_some_and(|entry| entry.state == State::Spent)
        {
            self.finish(now, spent.0.slot);
        }
    }

    fn fail(
        &mut self,
        now: Duration,
        slot: usize,
        error: String,
        after: Option<Duration>,
        jitter: f64,
    ) {
        self.stats.failures += 1;
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        entry.failures.push(Failure { at: now, error });
        let attempt = u32::try_from(entry.failures.len()).unwrap_or(u32::MAX);
        if attempt >= self.policy.retry.attempts {
            return self.spend(now, slot, Reason::Exhausted);
        }
        let pause = backoff(&self.policy.retry, attempt, jitter).max(after.unwrap_or_default());
        let until = now.saturating_add(pause);
        // A pause past the deadline ends in a burial: it may as well come now.
        if entry
            .offer
            .deadline
            .is_some_and(|deadline| deadline <= until)
        {
            return self.spend(now, slot, Reason::Expired);
        }
        entry.state = State::Waiting(now);
        let number = entry.number;
        self.waiting
            .push(Reverse((until, EntryId { slot, number })));
    }

    pub(super) fn spend(&mut self, now: Duration, slot: usize, reason: Reason) {
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        let bury = reason != Reason::Expired || self.policy.bury_expired;
        entry.state = State::Spent;
        self.spent.push(Spent {
            id: bury.then_some(SpentId(EntryId {
                slot,
                number: entry.number,
            })),
            payload: entry.offer.payload.clone(),
            reason,
            failures: std::mem::take(&mut entry.failures),
        });
        if !bury {
            self.finish(now, slot);
        }
    }

    /// The record is dealt with, and the next of its key has its turn.
    fn finish(&mut self, now: Duration, slot: usize) {
        let Some(entry) = self.entries.try_remove(slot) else {
            return;
        };
        if let Some(source) = self.sources.get_mut(&entry.offer.source) {
            source.progress.finish(entry.offer.position);
        }
        let Some(chain) = entry.offer.key.map(|key| (entry.offer.source, key)) else {
            return;
        };
        if let Some(slots) = self.chains.get_mut(&chain) {
            if slots.front() == Some(&slot) {
                slots.pop_front();
            } else {
                // It expired behind others.
                slots.retain(|other| *other != slot);
            }
            if slots.is_empty() {
                self.chains.remove(&chain);
            }
        }
        self.ready_front(now, chain);
    }

    /// Makes the first of a chain ready if it waits for nothing any more.
    fn ready_front(&mut self, now: Duration, chain: (SourceId, u64)) {
        let front = self.chains.get(&chain).and_then(|slots| slots.front());
        let Some(slot) = front.copied() else { return };
        let entry = self.entries.get(slot);
        if entry.is_some_and(|entry| entry.state == State::Blocked) {
            self.make_ready(now, slot);
        }
    }
}
