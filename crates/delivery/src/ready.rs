//! Who is next: by class of priority, then by time, with a bound on how long a class may starve.
//!
//! Strict priority starves: a flood of class 0 would hold class 9 back for ever. Weighted sharing does not
//! starve, but slows what is urgent always, also when nothing is at risk. Here the most urgent class is
//! served, unless another one that has ready records was not served for the interval; then that one gets one turn. So
//! urgent records give away at most nine turns an interval.
//!
//! What is taken back before its turn (its deadline passed) leaves its key behind, which is passed over when it comes up
//! and swept when such keys are more than the others.
//!
//! Invariants: within a class the earliest time is first, of equal times the one that became ready first; memory is
//! within a constant of what is ready.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::Priority;

/// Time, number in order of becoming ready, slot.
type Key = (i64, u64, usize);
/// Keys that were taken back and still lie in a class: so many are borne beside as many as are ready.
const STALE_MIN: usize = 64;

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
    /// Keys that were not taken back.
    ready: usize,
}

impl Class {
    fn push(&mut self, key: Key) {
        if self.in_order.back().is_none_or(|last| *last < key) {
            self.in_order.push_back(key);
        } else {
            self.others.push(Reverse(key));
        }
    }

    fn pop(&mut self) -> Option<Key> {
        match (self.in_order.front(), self.others.peek()) {
            (Some(one), Some(Reverse(other))) if other < one => Some(self.others.pop()?.0),
            (None, _) => Some(self.others.pop()?.0),
            (Some(_), _) => self.in_order.pop_front(),
        }
    }

    fn is_empty(&self) -> bool {
        self.ready == 0
    }

    fn retain(&mut self, keep: impl Fn(usize, u64) -> bool) {
        self.in_order
            .retain(|(_, number, slot)| keep(*slot, *number));
        self.others
            .retain(|Reverse((_, number, slot))| keep(*slot, *number));
        self.ready = self.in_order.len() + self.others.len();
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

    /// Puts a record in line; answers the number by which `pop` asks whether it still is.
    pub(crate) fn push(
        &mut self,
        now: Duration,
        priority: Priority,
        time: i64,
        slot: usize,
    ) -> u64 {
        self.count += 1;
        let number = self.count;
        if let Some(class) = self.classes.get_mut(usize::from(priority.get())) {
            if class.is_empty() {
                class.hungry_since = now;
            }
            class.push((time, number, slot));
            class.ready += 1;
            self.len += 1;
        }
        number
    }

    /// Takes the next one that `is_ready` says still is what it was.
    pub(crate) fn pop(
        &mut self,
        now: Duration,
        starvation: Duration,
        is_ready: impl Fn(usize, u64) -> bool,
    ) -> Option<usize> {
        let mut waiting = self.classes.iter_mut().filter(|class| !class.is_empty());
        let urgent = waiting.next()?;
        let class = waiting
            .filter(|class| now.saturating_sub(class.hungry_since) >= starvation)
            .min_by_key(|class| class.hungry_since)
            .unwrap_or(urgent);
        class.hungry_since = now;
        loop {
            let (_, number, slot) = class.pop()?;
            if is_ready(slot, number) {
                class.ready -= 1;
                self.len -= 1;
                return Some(slot);
            }
        }
    }

    /// One record of this class was taken back: `is_ready` says so of its number from now on.
    pub(crate) fn take_back(&mut self, priority: Priority, is_ready: impl Fn(usize, u64) -> bool) {
        let Some(class) = self.classes.get_mut(usize::from(priority.get())) else {
            return;
        };
        class.ready -= 1;
        self.len -= 1;
        if class.in_order.len() + class.others.len() > 2 * class.ready + STALE_MIN {
            class.retain(is_ready);
        }
    }

    /// Forgets every record that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize, u64) -> bool) {
        for class in &mut self.classes {
            class.retain(&keep);
        }
        self.len = self.classes.iter().map(|class| class.ready).sum();
    }

    /// Keys held, those taken back too.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        let classes = self.classes.iter();
        classes
            .map(|class| class.in_order.len() + class.others.len())
            .sum()
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
        let order: Vec<_> = std::iter::from_fn(|| ready.pop(now, SECOND, |_, _| true)).collect();
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
            let slot = ready.pop(now, SECOND, |_, _| true).unwrap();
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

    #[test]
    fn what_is_taken_back_is_passed_over_and_does_not_pile_up() {
        let mut ready = Ready::new();
        let now = Duration::ZERO;
        let first = ready.push(now, class(3), 0, 7);
        for slot in 0..10_000 {
            ready.push(now, class(3), 1, slot);
            ready.take_back(class(3), |_, number| number == first);
            assert!(ready.keys() <= 100, "{}", ready.keys());
        }
        assert_eq!(ready.len(), 1);
        let is_first = |slot, number| (slot, number) == (7, first);
        assert_eq!(ready.pop(now, SECOND, is_first), Some(7));
        assert_eq!(ready.pop(now, SECOND, is_first), None);
    }
}
