//! Records whose time has not come: which are due next, of any number, in bounded memory.
//!
//! They lie in a log of their own, in the order they were put there. Memory holds the earliest, up to a capacity, by time and
//! place; everything due at the *horizon* or later is in the log only. When what is in memory has been delivered, the log is
//! read once more for the next ones. With capacity C and N records each of them is looked at N / C times in its life, and
//! memory does not grow with N.
//!
//! How far deliveries are is one number, the *threshold*: whatever was due before it is done. It is committed, and a start
//! reads the log for what is due at it or later. So a restart may deliver again what was due after the threshold, and loses
//! nothing: the threshold is never after the due time of something that is being put into the log, waits, or is under way.
//!
//! Times are Unix milliseconds. Not here: reading and writing the log (`dispatch`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use model::Position;
use stdx::TimingWheel;

/// The records of one listener that wait for their time.
#[derive(Debug)]
pub struct Delayed {
    capacity: usize,
    wheel: TimingWheel<Position>,
    /// What is due at it or later is in the log only; `None`: nothing is.
    horizon: Option<u64>,
    /// A scan of the log is under way, up to this position.
    scanning: Option<Position>,
    /// What was put aside behind a scan's end while it ran.
    during: Vec<(u64, Position)>,
    /// Being written to the log, by due time.
    asides: BTreeMap<u64, usize>,
    /// Due, and not taken yet.
    due: VecDeque<(u64, Position)>,
    /// Taken and not finished: ticket and due time.
    under_way: VecDeque<(Position, u64)>,
    tickets: u128,
    /// Everything due before it is done.
    threshold: u64,
}

/// What a scan of the log is to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Records due at this time or later.
    pub from: u64,
    /// Up to this position.
    pub end: Position,
    /// The earliest so many of them.
    pub capacity: usize,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The earliest, in any order.
    pub records: Vec<(u64, Position)>,
    /// Later ones begin here.
    pub horizon: Option<u64>,
    /// The first record that is still to be delivered; everything before it may be deleted.
    pub first: Option<Position>,
}

/// Collects what a scan finds, record by record, in memory for its capacity.
#[derive(Debug)]
pub struct Scanner {
    scan: Scan,
    /// The latest is on top.
    earliest: BinaryHeap<(u64, Reverse<Position>)>,
    horizon: Option<u64>,
    first: Option<Position>,
}

impl Scanner {
    /// Nothing looked at yet.
    pub fn new(scan: Scan) -> Self {
        Self {
            scan,
            earliest: BinaryHeap::new(),
            horizon: None,
            first: None,
        }
    }

    /// Looks at one record of the log, in order of position.
    pub fn look(&mut self, due: u64, position: Position) {
        if due < self.scan.from || position >= self.scan.end {
            return;
        }
        self.first.get_or_insert(position);
        if self.horizon.is_some_and(|horizon| due >= horizon) {
            return;
        }
        self.earliest.push((due, Reverse(position)));
        // Records of one time stay or go together, so that the horizon tells them apart.
        while self.earliest.len() > self.scan.capacity {
            let Some((latest, _)) = self.earliest.peek().copied() else {
                break;
            };
            if self.earliest.iter().all(|(due, _)| *due == latest) {
                break;
            }
            self.horizon = Some(latest);
            while self.earliest.peek().is_some_and(|(due, _)| *due == latest) {
                self.earliest.pop();
            }
        }
    }

    /// What was found.
    pub fn found(self) -> Found {
        let records = self.earliest.into_iter();
        Found {
            records: records
                .map(|(due, Reverse(position))| (due, position))
                .collect(),
            horizon: self.horizon,
            first: self.first,
        }
    }
}

impl Delayed {
    /// Before the first scan: everything due at `threshold` or later may be in the log.
    pub fn new(capacity: usize, now: u64, threshold: u64) -> Self {
        Self {
            capacity: capacity.max(1),
            wheel: TimingWheel::new(now),
            horizon: Some(threshold),
            scanning: None,
            during: Vec::new(),
            asides: BTreeMap::new(),
            due: VecDeque::new(),
            under_way: VecDeque::new(),
            tickets: 0,
            threshold,
        }
    }

    /// Without anything in the log.
    pub fn empty(capacity: usize, now: u64) -> Self {
        Self {
            horizon: None,
            ..Self::new(capacity, now, 0)
        }
    }

    /// A scan that should be made now, of a log that ends at `end`; [`Self::scanned`] takes what it found.
    pub fn scan(&mut self, end: Position) -> Option<Scan> {
        // Whoever scans deletes what lies before the first record that waits: nothing that is due sooner may be under way.
        let idle = self.scanning.is_none()
            && self.wheel.is_empty()
            && self.due.is_empty()
            && self.under_way.is_empty()
            && self.asides.is_empty();
        let from = self.horizon.filter(|_| idle)?;
        self.scanning = Some(end);
        Some(Scan {
            from,
            end,
            capacity: self.capacity,
        })
    }

    /// What a scan found; `None` if it failed and should be made again.
    pub fn scanned(&mut self, found: Option<Found>) {
        self.scanning = None;
        let Some(found) = found else {
            self.during.clear();
            return;
        };
        self.horizon = found.horizon;
        let during = std::mem::take(&mut self.during);
        for (due, position) in found.records.into_iter().chain(during) {
            self.wait(due, position);
        }
    }

    /// A record is about to be written to the log.
    pub fn put_aside(&mut self, due: u64) {
        *self.asides.entry(due).or_default() += 1;
    }

    /// It is there, durable; `None`: it could not be written.
    pub fn was_put_aside(&mut self, due: u64, position: Option<Position>) {
        if let Some(count) = self.asides.get_mut(&due) {
            *count -= 1;
            if *count == 0 {
                self.asides.remove(&due);
            }
        }
        let Some(position) = position else { return };
        match self.scanning {
            // The scan will find it, as it lies before its end.
            Some(end) if self.is_beyond(due) && position < end => {}
            Some(_) if self.is_beyond(due) => self.during.push((due, position)),
            _ => self.wait(due, position),
        }
    }

    fn is_beyond(&self, due: u64) -> bool {
        self.horizon.is_some_and(|horizon| due >= horizon)
    }

    fn wait(&mut self, due: u64, position: Position) {
        if self.is_beyond(due) {
            return;
        }
        if due < self.wheel.now() {
            // It came due while it was written.
            self.due.push_back((due, position));
            return;
        }
        self.wheel.insert(due, position);
        if self.wheel.len() > self.capacity * 2 {
            self.forget_the_latest();
        }
    }

    /// Half of what is in memory goes back behind the horizon.
    fn forget_the_latest(&mut self) {
        let mut all = Vec::with_capacity(self.wheel.len());
        self.wheel.each(|due| all.push(due));
        let middle = all.len() / 2;
        let (_, horizon, _) = all.select_nth_unstable(middle);
        let horizon = *horizon;
        // If half of them are due at one time, they stay: time must go on.
        if all.iter().any(|due| *due < horizon) {
            self.wheel.truncate(horizon);
            self.horizon = Some(self.horizon.map_or(horizon, |old| old.min(horizon)));
        }
    }

    /// Up to `limit` records that are due, each with a ticket: tickets grow by one.
    pub fn take(&mut self, now: u64, limit: usize) -> Vec<(Position, u64, Position)> {
        let due = &mut self.due;
        self.wheel
            .advance(now, |at, position| due.push_back((at, position)));
        let count = limit.min(due.len());
        let mut taken = Vec::with_capacity(count);
        for (at, position) in self.due.drain(..count) {
            let ticket = Position::from_bits(self.tickets);
            self.tickets += 1;
            self.under_way.push_back((ticket, at));
            taken.push((ticket, at, position));
        }
        taken
    }

    /// The ticket the next record taken gets.
    pub fn next_ticket(&self) -> Position {
        Position::from_bits(self.tickets)
    }

    /// Every record with a ticket before `ticket` is finished.
    pub fn finished(&mut self, ticket: Position) {
        while self
            .under_way
            .front()
            .is_some_and(|(first, _)| *first < ticket)
        {
            self.under_way.pop_front();
        }
    }

    /// What to commit at `now`: everything due before it is done.
    pub fn threshold(&mut self, now: u64) -> u64 {
        let bounds = [
            self.asides.keys().next().copied(),
            self.due.iter().map(|(due, _)| *due).min(),
            self.under_way.iter().map(|(_, due)| *due).min(),
            self.during.iter().map(|(due, _)| *due).min(),
            self.wheel.next_tick(),
            self.horizon,
        ];
        let threshold = bounds.into_iter().flatten().min().unwrap_or(now).min(now);
        self.threshold = self.threshold.max(threshold);
        self.threshold
    }

    /// When the next record is due, or earlier. `None`: nothing waits in memory.
    pub fn next_due(&self) -> Option<u64> {
        let due = self.due.front().map(|(due, _)| *due);
        due.or_else(|| self.wheel.next_tick())
    }

    /// Records in memory.
    pub fn len(&self) -> usize {
        self.wheel.len() + self.due.len() + self.under_way.len()
    }

    /// Nothing waits, as far as is known in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.horizon.is_none() && self.asides.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Put aside, due so much later; written at once or only at the next `Written`.
        Put(u64, bool),
        Written,
        Wait(u64),
        Take(usize),
        Finish(usize),
        Scan,
        Commit,
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (1_u64..3_000, any::<bool>()).prop_map(|(after, now)| Step::Put(after, now)),
            2 => Just(Step::Written),
            3 => (1_u64..900).prop_map(Step::Wait),
            4 => (1_usize..6).prop_map(Step::Take),
            3 => (1_usize..6).prop_map(Step::Finish),
            3 => Just(Step::Scan),
            2 => Just(Step::Commit),
            1 => Just(Step::Crash),
        ]
    }

    const CAPACITY: usize = 5;

    struct World {
        delayed: Delayed,
        now: u64,
        log: Vec<u64>,
        unwritten: Vec<u64>,
        taken: VecDeque<(Position, Position)>,
        done: BTreeSet<u128>,
        committed: u64,
    }

    impl World {
        fn new() -> Self {
            Self {
                delayed: Delayed::new(CAPACITY, 1_000, 0),
                now: 1_000,
                log: Vec::new(),
                unwritten: Vec::new(),
                taken: VecDeque::new(),
                done: BTreeSet::new(),
                committed: 0,
            }
        }

        fn write(&mut self, due: u64) {
            let position = Position::from_bits(self.log.len() as u128);
            self.log.push(due);
            self.delayed.was_put_aside(due, Some(position));
        }

        fn scan(&mut self) {
            let end = Position::from_bits(self.log.len() as u128);
            let Some(scan) = self.delayed.scan(end) else {
                return;
            };
            // Something is written while the scan goes on.
            for due in std::mem::take(&mut self.unwritten) {
                self.write(due);
            }
            let mut scanner = Scanner::new(scan);
            for (position, due) in self.log.iter().enumerate() {
                scanner.look(*due, Position::from_bits(position as u128));
            }
            let found = scanner.found();
            let later = self.log.iter().enumerate().find(|(position, due)| {
                **due >= scan.from && Position::from_bits(*position as u128) < scan.end
            });
            assert_eq!(
                found.first,
                later.map(|(position, _)| Position::from_bits(position as u128))
            );
            self.delayed.scanned(Some(found));
        }

        fn apply(&mut self, step: Step) {
            match step {
                Step::Put(after, at_once) => {
                    let due = self.now + after;
                    self.delayed.put_aside(due);
                    if at_once {
                        self.write(due);
                    } else {
                        self.unwritten.push(due);
                    }
                }
                Step::Written => {
                    for due in std::mem::take(&mut self.unwritten) {
                        self.write(due);
                    }
                }
                Step::Wait(millis) => self.now += millis,
                Step::Take(limit) => {
                    for (ticket, due, position) in self.delayed.take(self.now, limit) {
                        assert!(due <= self.now, "not before its time");
                        assert_eq!(self.log[usize::try_from(position.bits()).unwrap()], due);
                        self.taken.push_back((ticket, position));
                    }
                }
                Step::Finish(count) => {
                    for _ in 0..count {
                        let Some((ticket, position)) = self.taken.pop_front() else {
                            break;
                        };
                        self.done.insert(position.bits());
                        self.delayed
                            .finished(Position::from_bits(ticket.bits() + 1));
                    }
                }
                Step::Scan => self.scan(),
                Step::Commit => {
                    let threshold = self.delayed.threshold(self.now);
                    assert!(threshold >= self.committed && threshold <= self.now);
                    self.committed = threshold;
                }
                Step::Crash => {
                    self.taken.clear();
                    self.unwritten.clear();
                    self.delayed = Delayed::new(CAPACITY, self.now, self.committed);
                }
            }
            let undone = (0_u128..)
                .zip(&self.log)
                .filter(|(position, _)| !self.done.contains(position));
            for (position, due) in undone {
                assert!(
                    *due >= self.committed,
                    "{position} would be lost in a crash"
                );
            }
            assert!(
                self.delayed.wheel.len() <= 2 * CAPACITY + 1,
                "memory is bounded"
            );
        }
    }

    proptest! {
        #[test]
        fn every_record_comes_in_its_time_whatever_happens(steps in prop::collection::vec(step(), 1..150)) {
            let mut world = World::new();
            for step in steps {
                world.apply(step);
            }
            world.apply(Step::Written);
            for _ in 0..1_000 {
                if world.delayed.is_empty() {
                    break;
                }
                world.apply(Step::Scan);
                world.apply(Step::Wait(100));
                world.apply(Step::Take(3));
                world.apply(Step::Finish(3));
            }
            prop_assert_eq!(world.done.len(), world.log.len(), "{:?}", world.delayed);
            prop_assert!(world.delayed.is_empty());
        }
    }

    #[test]
    fn as_many_as_are_due_at_one_time_are_held_whatever_the_capacity() {
        let mut scanner = Scanner::new(Scan {
            from: 0,
            end: Position::from_bits(100),
            capacity: 4,
        });
        for position in 0..50 {
            scanner.look(7, Position::from_bits(position));
        }
        scanner.look(9, Position::from_bits(50));
        let found = scanner.found();
        assert_eq!((found.records.len(), found.horizon), (50, Some(9)));
    }
}
