//! Who is next: by class of priority, then by time, with a bound on how long a class may starve.
//!
//! Strict priority starves: a flood of class 0 would hold class 9 back for ever. Weighted sharing does not
//! starve, but slows what is urgent always, also when nothing is at risk. Here the most urgent class is
//! served, unless another one that has ready records was not served for the interval; then that one gets one turn. So
//! urgent records give away at most nine turns an interval.
//!
//! Invariants: within a class the earliest time is first, of equal times the one that became ready first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::Priority;

type Key = (i64, u64, usize);

/// Records that wait for nothing but a lease.
#[derive(Debug)]
pub(crate) struct Ready {
    classes: [Class; Priority::COUNT],
    /// Numbers what becomes ready, so that equal times keep their order.
    count: u64,
    len: usize,
}

/// One class. Records mostly come in order of their time: those go through a queue, the others through a heap.
#[derive(Debug, Default)]
struct Class {
    in_order: VecDeque<Key>,
    others: BinaryHeap<Reverse<Key>>,
    /// When it was served last, or got its first record after it had none.
    hungry_since: Duration,
}

impl Class {
    fn push(&mut self, key: Key) {
        if self.in_order.back().is_none_or(|last| *last < key) {
            self.in_order.push_back(key);
        } else {
            self.others.push(Reverse(key));
        }
    }

    fn pop(&mut self) -> Option<usize> {
        let (_, _, slot) = match (self.in_order.front(), self.others.peek()) {
            (Some(one), Some(Reverse(other))) if other < one => self.others.pop()?.0,
            (None, _) => self.others.pop()?.0,
            (Some(_), _) => self.in_order.pop_front()?,
        };
        Some(slot)
    }

    fn is_empty(&self) -> bool {
        self.in_order.is_empty() && self.others.is_empty()
    }
}

impl Ready {
    pub(crate) fn new() -> Self {
        Self {
            classes: std::array::from_fn(|_| Class::default()),
            count: 0,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, now: Duration, priority: Priority, time: i64, slot: usize) {
        self.count += 1;
        self.len += 1;
        let key = (time, self.count, slot);
        let Some(class) = self.classes.get_mut(usize::from(priority.get())) else {
            return;
        };
        if class.is_empty() {
            class.hungry_since = now;
        }
        class.push(key);
    }

    /// Takes the next one.
    pub(crate) fn pop(&mut self, now: Duration, starvation: Duration) -> Option<usize> {
        let mut waiting = self.classes.iter_mut().filter(|class| !class.is_empty());
        let urgent = waiting.next()?;
        let class = waiting
            .filter(|class| now.saturating_sub(class.hungry_since) >= starvation)
            .min_by_key(|class| class.hungry_since)
            .unwrap_or(urgent);
        class.hungry_since = now;
        self.len -= 1;
        class.pop()
    }

    /// Forgets every record that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.len = 0;
        for class in &mut self.classes {
            class.in_order.retain(|(_, _, slot)| keep(*slot));
            class.others.retain(|Reverse((_, _, slot))| keep(*slot));
            self.len += class.in_order.len() + class.others.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn class(number: u8) -> Priority {
        Priority::new(number).unwrap()
    }

    #[test]
    fn the_urgent_come_first_and_within_a_class_the_earliest() {
        let mut ready = Ready::new();
        let now = Duration::ZERO;
        for (slot, (priority, time)) in [(5, 30), (0, 90), (5, 10), (0, 90), (5, 20), (9, 1)]
            .into_iter()
            .enumerate()
        {
            ready.push(now, class(priority), time, slot);
        }
        let order: Vec<_> = std::iter::from_fn(|| ready.pop(now, SECOND)).collect();
        assert_eq!(order, [1, 3, 2, 4, 0, 5]);
        assert_eq!(ready.len(), 0);
    }

    /// A flood of class 0, a lease every millisecond: who of the others waits how long?
    #[test]
    fn a_flood_of_the_most_urgent_leaves_every_class_its_turn() {
        let mut ready = Ready::new();
        let flood = 0_usize;
        for number in 1..=9 {
            for _ in 0..100 {
                let priority = class(number);
                ready.push(Duration::ZERO, priority, 0, usize::from(number));
            }
        }
        let mut served = [Duration::ZERO; 10];
        let mut turns = [0; 10];
        for millis in 0..20_000 {
            let now = Duration::from_millis(millis);
            ready.push(now, class(0), i64::try_from(millis).unwrap(), flood);
            let slot = ready.pop(now, SECOND).unwrap();
            let waited = now.saturating_sub(served[slot]);
            // Nine classes may come due together; one lease a millisecond serves them in nine.
            assert!(
                waited <= SECOND + Duration::from_millis(9),
                "{slot}: {waited:?}"
            );
            served[slot] = now;
            turns[slot] += 1;
        }
        assert_eq!(turns[1..], [19; 9], "once a second each");
        assert_eq!(turns[0], 20_000 - 9 * 19);
    }
}
