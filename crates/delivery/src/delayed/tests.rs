//! Any sequence of what may happen to records that wait, and how much memory and log they take.

use std::collections::{BTreeMap, BTreeSet};

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
    Carry,
    /// The carry that was begun is done.
    Carried,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Some together, some far away.
        8 => (prop_oneof![1_u64..6, 1_u64..3_000, 60_000_u64..90_000], any::<bool>())
            .prop_map(|(after, now)| Step::Put(after, now)),
        2 => Just(Step::Written),
        3 => prop_oneof![1_u64..900, 1_u64..70_000].prop_map(Step::Wait),
        4 => (1_usize..6).prop_map(Step::Take),
        3 => (1_usize..6).prop_map(Step::Finish),
        3 => Just(Step::Scan),
        2 => Just(Step::Commit),
        2 => Just(Step::Carry),
        3 => Just(Step::Carried),
        1 => Just(Step::Crash),
    ]
}

const CAPACITY: usize = 5;

/// Which record this is, whatever its place.
type Id = usize;

struct World {
    delayed: Delayed,
    now: u64,
    /// By place; those before the first are deleted.
    log: BTreeMap<u128, (Id, u64)>,
    next_place: u128,
    dues: Vec<u64>,
    unwritten: Vec<Id>,
    taken: VecDeque<(Position, Id)>,
    done: BTreeSet<Id>,
    committed: Turn,
    carry: Option<Carry>,
}

impl World {
    fn new() -> Self {
        Self {
            delayed: Delayed::new(CAPACITY, 1_000, Turn::default()),
            now: 1_000,
            log: BTreeMap::new(),
            next_place: 0,
            dues: Vec::new(),
            unwritten: Vec::new(),
            taken: VecDeque::new(),
            done: BTreeSet::new(),
            committed: Turn::default(),
            carry: None,
        }
    }

    fn append(&mut self, id: Id) -> Position {
        let place = self.next_place;
        self.next_place += 1;
        self.log.insert(place, (id, self.dues[id]));
        Position::from_bits(place)
    }

    fn write_all(&mut self) {
        for id in std::mem::take(&mut self.unwritten) {
            let place = self.append(id);
            self.delayed.was_put_aside(self.dues[id], Some(place));
        }
    }

    fn scan(&mut self) {
        let end = Position::from_bits(self.next_place);
        let Some(scan) = self.delayed.scan(end) else {
            return;
        };
        // Something is written while the scan goes on.
        self.write_all();
        let mut scanner = Scanner::new(scan);
        for (place, (_, due)) in &self.log {
            let place = Position::from_bits(*place);
            scanner.look(Turn { due: *due, place });
        }
        let found = scanner.found();
        assert!(found.records.len() <= CAPACITY);
        self.delayed.scanned(Some(found));
    }

    /// The front of the log moves to its end: at most three records are carried.
    fn carried(&mut self, carry: Carry) {
        let mut moved = Vec::new();
        let mut cut = None;
        for (place, (id, due)) in self.log.clone() {
            let turn = Turn {
                due,
                place: Position::from_bits(place),
            };
            match carry.fate(turn) {
                Fate::Done => assert!(self.done.contains(&id), "{id} would be lost"),
                Fate::Carried if moved.len() < 3 => moved.push((turn, self.append(id))),
                Fate::Carried | Fate::Stays => break,
            }
            cut = Some(place);
        }
        if let Some(cut) = cut {
            self.log = self.log.split_off(&(cut + 1));
        }
        self.delayed.carried(&moved);
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Put(after, at_once) => {
                let id = self.dues.len();
                self.dues.push(self.now + after);
                self.delayed.put_aside(self.now + after);
                self.unwritten.push(id);
                if at_once {
                    self.write_all();
                }
            }
            Step::Written => self.write_all(),
            Step::Wait(millis) => self.now += millis,
            Step::Take(limit) => {
                for (ticket, turn) in self.delayed.take(self.now, limit) {
                    assert!(turn.due <= self.now, "not before its time");
                    let (id, due) = self.log[&turn.place.bits()];
                    assert_eq!(due, turn.due);
                    self.taken.push_back((ticket, id));
                }
            }
            Step::Finish(count) => {
                for _ in 0..count {
                    let Some((ticket, id)) = self.taken.pop_front() else {
                        break;
                    };
                    self.done.insert(id);
                    self.delayed
                        .finished(Position::from_bits(ticket.bits() + 1));
                }
            }
            Step::Scan => self.scan(),
            Step::Commit => {
                let threshold = self.delayed.threshold(self.now);
                assert!(threshold >= self.committed && threshold.due <= self.now);
                self.committed = threshold;
            }
            Step::Carry => {
                let length = self.log.len() as u64;
                self.carry = self.delayed.carry(self.now, length, 2).or(self.carry);
            }
            Step::Carried => {
                if let Some(carry) = self.carry.take() {
                    self.carried(carry);
                }
            }
            Step::Crash => {
                self.taken.clear();
                // What was not written is read again from its own topic.
                self.unwritten.clear();
                self.carry = None;
                self.delayed = Delayed::new(CAPACITY, self.now, self.committed);
            }
        }
        for (place, (id, due)) in &self.log {
            let turn = Turn {
                due: *due,
                place: Position::from_bits(*place),
            };
            let safe = self.done.contains(id) || turn >= self.committed;
            assert!(safe, "{id} would be lost in a crash");
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
        let mut written = BTreeSet::new();
        for step in steps {
            world.apply(step);
            written.extend(world.log.values().map(|(id, _)| *id));
        }
        for step in [Step::Carried, Step::Written] {
            world.apply(step);
        }
        written.extend(world.log.values().map(|(id, _)| *id));
        for _ in 0..2_000 {
            if world.delayed.is_empty() {
                break;
            }
            world.apply(Step::Scan);
            world.apply(Step::Wait(100));
            world.apply(Step::Take(3));
            world.apply(Step::Finish(3));
            world.apply(Step::Commit);
            world.apply(Step::Carry);
            world.apply(Step::Carried);
            let waiting = world.delayed.waiting();
            let left = written.difference(&world.done).count() as u64;
            prop_assert!(waiting.is_none_or(|waiting| waiting >= left), "{waiting:?} of {left}");
        }
        prop_assert_eq!(&world.done, &written, "{:?}", world.delayed);
        prop_assert!(world.delayed.is_empty());
    }
}

/// Delivers everything from a log of these due times; answers how often the log was read.
fn drain(dues: &[u64], capacity: usize) -> usize {
    let now = 1_000_000;
    let end = Position::from_bits(dues.len() as u128);
    let mut delayed = Delayed::new(capacity, 0, Turn::default());
    let (mut scans, mut done) = (0, vec![false; dues.len()]);
    loop {
        if let Some(scan) = delayed.scan(end) {
            scans += 1;
            let mut scanner = Scanner::new(scan);
            for (place, due) in (0..).map(Position::from_bits).zip(dues) {
                scanner.look(Turn { due: *due, place });
            }
            delayed.scanned(Some(scanner.found()));
        }
        assert!(delayed.len() <= capacity * 3 / 2, "{}", delayed.len());
        let taken = delayed.take(now, 1_000);
        if taken.is_empty() {
            break;
        }
        for (ticket, turn) in taken {
            let place = usize::try_from(turn.place.bits()).unwrap();
            assert!(!std::mem::replace(&mut done[place], true), "twice");
            delayed.finished(Position::from_bits(ticket.bits() + 1));
        }
    }
    assert!(done.iter().all(|done| *done) && delayed.is_empty());
    scans
}

#[test]
fn more_than_fit_into_memory_may_be_due_in_one_millisecond() {
    let scans = drain(&vec![7; 300_000], 65_536);
    assert!(scans <= 7, "{scans}");
}

#[test]
fn a_million_wait_in_memory_for_some_of_them() {
    let dues: Vec<u64> = (0..1_000_000_u64)
        .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 999_983)
        .collect();
    let scans = drain(&dues, 1 << 17);
    assert!(scans <= 11, "{scans}: each reads the log once");
}

/// One record that is due in a year, and then a long life of others: how long does the log get?
#[test]
fn a_record_that_waits_for_a_year_keeps_nothing_but_itself() {
    let mut world = World::new();
    world.apply(Step::Put(31_536_000_000, true));
    let mut longest = 0;
    for _ in 0..2_000 {
        for step in [
            Step::Put(10, true),
            Step::Wait(20),
            Step::Scan,
            Step::Take(9),
            Step::Finish(9),
            Step::Commit,
            Step::Carry,
            Step::Carried,
        ] {
            world.apply(step);
        }
        longest = longest.max(world.log.len());
    }
    assert_eq!(
        (world.done.len(), world.delayed.waiting()),
        (2_000, Some(1))
    );
    assert!(longest <= 6, "{longest} records are kept for one");
}
