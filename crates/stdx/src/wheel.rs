//! A hierarchical timing wheel: many timers, each set and rung in constant time.
//!
//! Three levels of 512 slots. A slot of the first level is one tick, of the second 512, of the third 262,144; with ticks of
//! a millisecond that is half a second, four minutes and 37 hours. What lies further waits beside the wheel in order. Time
//! moves slot by slot; a slot of a higher level is spread over the one below when time reaches it.
//!
//! Invariants: a timer rings at the first [`TimingWheel::advance`] to its tick or later, never before; timers of one advance ring
//! in order of their ticks, those of one tick in the order they were set.
//! Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 7.

use std::collections::BTreeMap;

/// Slots of one level.
const SLOTS: u64 = 512;
const BITS: u32 = SLOTS.trailing_zeros();
const LEVELS: usize = 3;
/// How far a tick is shifted to give the slot of each level.
const SHIFTS: [u32; LEVELS] = [0, BITS, 2 * BITS];
/// Ticks that the wheel spans.
const SPAN: u64 = 1 << (BITS * 3);
const _: () = assert!(SLOTS.is_power_of_two(), "slots are found by bits");

/// Timers by tick.
#[derive(Debug)]
pub struct TimingWheel<T> {
    levels: [Level<T>; LEVELS],
    /// Timers beyond the span.
    far: BTreeMap<u64, Vec<T>>,
    /// Everything before this tick has rung.
    now: u64,
    len: usize,
}

#[derive(Debug)]
struct Level<T> {
    slots: Vec<Vec<(u64, T)>>,
    len: usize,
}

impl<T> TimingWheel<T> {
    /// An empty wheel; the first tick that can ring is `now`.
    pub fn new(now: u64) -> Self {
        let level = || Level {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            len: 0,
        };
        Self {
            levels: [level(), level(), level()],
            far: BTreeMap::new(),
            now,
            len: 0,
        }
    }

    /// The first tick that has not rung.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Timers set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No timer is set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. One of a tick that was rung already rings with the next tick.
    pub fn insert(&mut self, tick: u64, timer: T) {
        self.len += 1;
        self.place(tick, timer);
    }

    fn place(&mut self, tick: u64, timer: T) {
        let at = tick.max(self.now);
        // The lowest level on which it shares all higher digits with the present.
        let differs = at ^ self.now;
        let level = SHIFTS
            .iter()
            .position(|shift| differs >> (shift + BITS) == 0);
        let level = level.and_then(|level| Some((self.levels.get_mut(level)?, SHIFTS.get(level)?)));
        match level {
            Some((level, shift)) => {
                if let Some(slot) = level.slots.get_mut(slot_of(at >> shift)) {
                    slot.push((tick, timer));
                    level.len += 1;
                }
            }
            None => self.far.entry(tick).or_default().push(timer),
        }
    }

    /// Rings every timer up to and including tick `to`: calls `ring` with its tick.
    pub fn advance(&mut self, to: u64, mut ring: impl FnMut(u64, T)) {
        while self.now <= to {
            if self.len == 0 {
                self.now = to + 1;
                return;
            }
            self.spread();
            let slot = slot_of(self.now);
            let [first, ..] = &mut self.levels;
            if first.len > 0
                && let Some(slot) = first.slots.get_mut(slot)
            {
                first.len -= slot.len();
                self.len -= slot.len();
                // Timers of the past are in the slot of the tick at which they were set.
                slot.sort_by_key(|(tick, _)| *tick);
                for (tick, timer) in slot.drain(..) {
                    ring(tick, timer);
                }
            }
            self.now = self.next_stop(to);
        }
    }

    /// The next tick to look at: the following one, or the border of the first level that has nothing left.
    fn next_stop(&self, to: u64) -> u64 {
        let following = self.now + 1;
        let [first, second, third] = &self.levels;
        let border = |bits: u32| ((self.now >> bits) + 1) << bits;
        let stop = if first.len > 0 {
            following
        } else if second.len > 0 {
            border(BITS)
        } else if third.len > 0 {
            border(BITS * 2)
        } else {
            border(BITS * 3)
        };
        // Not past what was asked for: a timer set later may lie in between.
        stop.min(to + 1).max(following)
    }

    /// At the border of a slot of a higher level, its timers move down.
    fn spread(&mut self) {
        if self.now & (SPAN - 1) == 0 {
            let beyond = self.far.split_off(&(self.now + SPAN));
            for (tick, timers) in std::mem::replace(&mut self.far, beyond) {
                for timer in timers {
                    self.place(tick, timer);
                }
            }
        }
        for level in (1..LEVELS).rev() {
            let (Some(wheel), Some(shift)) = (self.levels.get_mut(level), SHIFTS.get(level)) else {
                continue;
            };
            if self.now & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = wheel.slots.get_mut(slot_of(self.now >> shift));
            let timers = slot.map(std::mem::take).unwrap_or_default();
            wheel.len -= timers.len();
            for (tick, timer) in timers {
                self.place(tick, timer);
            }
        }
    }

    /// A tick at or before the first timer; exact when it is within the first level. `None`: no timer is set.
    ///
    /// Looks at up to 512 slots of each level.
    pub fn next_tick(&self) -> Option<u64> {
        // A lower level holds what comes sooner.
        let levels = self.levels.iter().zip(SHIFTS);
        let Some((level, shift)) = levels.into_iter().find(|(level, _)| level.len > 0) else {
            return self.far.keys().next().copied();
        };
        let base = self.now >> shift;
        let rest = base..(base | (SLOTS - 1)) + 1;
        let has_some = |at: &u64| {
            level
                .slots
                .get(slot_of(*at))
                .is_some_and(|slot| !slot.is_empty())
        };
        rest.into_iter()
            .find(has_some)
            .map(|at| (at << shift).max(self.now))
    }

    /// Calls `each` with the tick of every timer and the timer, in any order.
    pub fn each(&self, mut each: impl FnMut(u64, &T)) {
        let slots = self.levels.iter().flat_map(|level| &level.slots);
        slots.flatten().for_each(|(tick, timer)| each(*tick, timer));
        self.far
            .iter()
            .for_each(|(tick, timers)| timers.iter().for_each(|timer| each(*tick, timer)));
    }

    /// Takes away every timer that `keep` does not want; it may change the others.
    pub fn retain(&mut self, mut keep: impl FnMut(u64, &mut T) -> bool) {
        let mut len = 0;
        for wheel in &mut self.levels {
            for slot in &mut wheel.slots {
                slot.retain_mut(|(tick, timer)| keep(*tick, timer));
            }
            wheel.len = wheel.slots.iter().map(Vec::len).sum();
            len += wheel.len;
        }
        self.far.retain(|tick, timers| {
            timers.retain_mut(|timer| keep(*tick, timer));
            !timers.is_empty()
        });
        self.len = len + self.far.values().map(Vec::len).sum::<usize>();
    }
}

/// The slot of a tick that was shifted to its level.
fn slot_of(shifted: u64) -> usize {
    // 9 bits fit.
    usize::try_from(shifted & (SLOTS - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        Advance(u64),
        Truncate(u64),
    }

    fn spans() -> impl Strategy<Value = u64> {
        // Near each border between levels, and anywhere.
        prop_oneof![
            0_u64..5,
            500_u64..530,
            262_100_u64..262_200,
            (1_u64 << 27) - 9..(1 << 27) + 9,
            0_u64..1 << 29
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => spans().prop_map(Step::Insert),
            4 => spans().prop_map(Step::Advance),
            1 => spans().prop_map(Step::Truncate),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #[test]
        fn it_rings_what_a_sorted_map_rings(start in 0_u64..1 << 40, steps in steps()) {
            let mut wheel = TimingWheel::new(start);
            // By the tick they ring at: their own and their number.
            let mut model: BTreeMap<u64, Vec<(u64, usize)>> = BTreeMap::new();
            let (mut now, mut first) = (start, start);
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(after) => {
                        // Some are in the past.
                        let tick = (now + after).saturating_sub(3);
                        wheel.insert(tick, id);
                        model.entry(tick.max(first)).or_default().push((tick, id));
                    }
                    Step::Advance(by) => {
                        now += by;
                        let mut rung = Vec::new();
                        wheel.advance(now, |tick, id| rung.push((tick, id)));
                        let later = model.split_off(&(now + 1));
                        let due = std::mem::replace(&mut model, later);
                        let mut expected = Vec::new();
                        for mut timers in due.into_values() {
                            timers.sort_by_key(|(tick, _)| *tick);
                            expected.extend(timers);
                        }
                        prop_assert_eq!(rung, expected);
                        first = now + 1;
                    }
                    Step::Truncate(after) => {
                        wheel.retain(|tick, _| tick < now + after);
                        for timers in model.values_mut() {
                            timers.retain(|(tick, _)| *tick < now + after);
                        }
                        model.retain(|_, timers| !timers.is_empty());
                    }
                }
                prop_assert_eq!(wheel.len(), model.values().map(Vec::len).sum::<usize>());
                let next = wheel.next_tick();
                prop_assert_eq!(next.is_some(), !model.is_empty());
                if let (Some(next), Some(first)) = (next, model.keys().next()) {
                    prop_assert!(next <= *first, "{next} is not after {first}");
                }
            }
        }
    }

    #[test]
    fn many_timers_over_an_hour_ring_each_at_its_millisecond() {
        let mut wheel = TimingWheel::new(0);
        for id in 0..100_000_u64 {
            wheel.insert(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 3_600_000, id);
        }
        let (mut rung, mut before) = (0, 0);
        for now in (0..=3_600_000).step_by(1_000) {
            wheel.advance(now, |tick, _| {
                assert!(tick <= now && tick >= before);
                before = tick;
                rung += 1;
            });
        }
        assert_eq!(rung, 100_000);
    }
}
