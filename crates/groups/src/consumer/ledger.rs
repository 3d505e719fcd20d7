//! What of a group is not stored yet, and who waits for it.
//!
//! Invariants: at most one store of a group is under way, and it has everything that had changed when
//! it began; what a failed one had is part of the next. So what is on disk is always the whole group at
//! some earlier moment. Answers are given when everything that had changed before them is stored; when
//! a store fails, all who wait are refused and ask again.

use std::collections::{BTreeMap, BTreeSet};

use super::ConsumerAnswer;
use super::records::{HeaderRecord, MemberRecord};
use crate::{MemberId, StoreId, Ticket};

/// What of a group is different from what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The group's own record: unchanged, gone, or this.
    pub header: Option<Option<HeaderRecord>>,
    /// Members' records: `None` for those that are gone.
    pub members: BTreeMap<MemberId, Option<MemberRecord>>,
}

/// Which records changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Dirty {
    pub(crate) header: bool,
    pub(crate) members: BTreeSet<MemberId>,
}

impl Dirty {
    pub(crate) fn is_empty(&self) -> bool {
        !self.header && self.members.is_empty()
    }

    fn merge(&mut self, other: Self) {
        self.header |= other.header;
        self.members.extend(other.members);
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    dirty: Dirty,
    under_way: Option<(StoreId, Dirty)>,
    /// Those whose answer shows what is being stored.
    waiting: Vec<(Ticket, ConsumerAnswer)>,
    /// Those whose answer shows what will be stored after that.
    queued: Vec<(Ticket, ConsumerAnswer)>,
}

impl Ledger {
    pub(crate) fn touch_header(&mut self) {
        self.dirty.header = true;
    }

    pub(crate) fn touch(&mut self, member: &MemberId) {
        self.dirty.members.insert(member.clone());
    }

    /// Whether everything is stored.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.under_way.is_none()
    }

    /// Begins to store what changed, unless nothing did or a store is under way.
    pub(crate) fn begin(&mut self, id: impl FnOnce() -> StoreId) -> Option<(StoreId, &Dirty)> {
        if self.under_way.is_some() || self.dirty.is_empty() {
            return None;
        }
        let (id, dirty) = (id(), std::mem::take(&mut self.dirty));
        self.waiting.append(&mut self.queued);
        let (id, dirty) = self.under_way.insert((id, dirty));
        Some((*id, dirty))
    }

    /// Takes an answer to give when what it shows is stored.
    pub(crate) fn hold(&mut self, ticket: Ticket, answer: ConsumerAnswer) {
        if self.dirty.is_empty() {
            self.waiting.push((ticket, answer));
        } else {
            self.queued.push((ticket, answer));
        }
    }

    /// Ends the store with this id. Answers whose answers can be given now, or (`Err`) who is refused.
    pub(crate) fn end(&mut self, id: StoreId, success: bool) -> Ended {
        match self.under_way.take() {
            Some((under_way, dirty)) if under_way == id => {
                let mut answers = std::mem::take(&mut self.waiting);
                if success {
                    return Ended::Stored(answers);
                }
                self.dirty.merge(dirty);
                answers.append(&mut self.queued);
                Ended::Failed(answers.into_iter().map(|(ticket, _)| ticket).collect())
            }
            other => {
                self.under_way = other;
                Ended::Stored(Vec::new())
            }
        }
    }

    /// Everyone who waits, when the group goes away.
    pub(crate) fn abandon(&mut self) -> (Dirty, Vec<Ticket>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        if let Some((_, under_way)) = self.under_way.take() {
            dirty.merge(under_way);
        }
        let waiting = self.waiting.drain(..).chain(self.queued.drain(..));
        (dirty, waiting.map(|(ticket, _)| ticket).collect())
    }
}

/// What the end of a store makes possible.
#[derive(Debug)]
pub(crate) enum Ended {
    /// These answers can be given.
    Stored(Vec<(Ticket, ConsumerAnswer)>),
    /// These are refused.
    Failed(Vec<Ticket>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> ConsumerAnswer {
        ConsumerAnswer {
            member: "m".into(),
            epoch: 1,
            heartbeat_interval: std::time::Duration::ZERO,
            assignment: None,
        }
    }

    fn tickets(ended: Ended) -> (bool, Vec<u64>) {
        match ended {
            Ended::Stored(answers) => (true, answers.iter().map(|(t, _)| t.0).collect()),
            Ended::Failed(refused) => (false, refused.iter().map(|t| t.0).collect()),
        }
    }

    #[test]
    fn answers_wait_for_what_they_show_and_what_failed_is_stored_again() {
        let mut ledger = Ledger::default();
        assert!(ledger.begin(|| StoreId(0)).is_none(), "nothing to store");
        ledger.touch(&"a".into());
        ledger.begin(|| StoreId(1)).unwrap();
        ledger.hold(Ticket(1), answer());
        ledger.touch(&"b".into());
        assert!(ledger.begin(|| StoreId(9)).is_none(), "one at a time");
        ledger.hold(Ticket(2), answer());
        assert_eq!(tickets(ledger.end(StoreId(1), true)), (true, vec![1]));
        ledger.begin(|| StoreId(2)).unwrap();
        ledger.touch_header();
        ledger.hold(Ticket(3), answer());
        assert_eq!(tickets(ledger.end(StoreId(2), false)), (false, vec![2, 3]));
        let (_, dirty) = ledger.begin(|| StoreId(3)).unwrap();
        assert!(dirty.header && dirty.members.contains("b"));
        assert_eq!(
            tickets(ledger.end(StoreId(2), true)),
            (true, vec![]),
            "an old store says nothing"
        );
        assert!(!ledger.is_clean());
        assert_eq!(tickets(ledger.end(StoreId(3), true)), (true, vec![]));
        assert!(ledger.is_clean());
    }
}
