//! What must hold in a queue at any time, for tests.

use super::{Queue, State};

impl<T: Clone> Queue<T> {
    /// Panics if an invariant does not hold. For tests; walks everything.
    pub fn check(&self) {
        let mut ready = 0;
        for (slot, entry) in &self.entries {
            let chain = entry.offer.key.map(|key| (entry.offer.source, key));
            if let Some(chain) = chain {
                let slots = self
                    .chains
                    .get(&chain)
                    .map(Vec::from_iter)
                    .unwrap_or_default();
                let place = slots.iter().position(|other| **other == slot);
                assert!(place.is_some(), "a record with a key is in its chain");
                let front = place == Some(0);
                match entry.state {
                    State::Ready(_) | State::Waiting(_) => assert!(front, "{slot}"),
                    State::Blocked => assert!(!front, "the first of a chain is not blocked"),
                    // What is spent may have expired behind others.
                    State::Leased | State::Spent => {}
                    State::Delayed => panic!("what is delayed has no key"),
                }
            } else {
                assert_ne!(entry.state, State::Blocked, "nothing blocks without a key");
            }
            ready += usize::from(matches!(entry.state, State::Ready(_)));
        }
        assert_eq!(
            ready,
            self.ready.len(),
            "ready records are in the ready queue"
        );
        let unfinished: usize = self
            .sources
            .values()
            .map(|source| source.progress.unfinished() - source.held)
            .sum();
        assert_eq!(
            unfinished,
            self.entries.len(),
            "every unfinished record has its entry"
        );
        for id in self.leases.values().flat_map(|held| &held.records) {
            let entry = self.entries.get(id.slot);
            let same = entry.filter(|entry| entry.number == id.number);
            let leased = same.is_none_or(|entry| entry.state == State::Leased);
            assert!(leased, "a lease holds what is leased");
        }
    }
}
