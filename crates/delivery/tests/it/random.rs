//! Any sequence of offers, leases, outcomes and pauses, against what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use delivery::{Lease, Offer, Outcome, Policy, Priority, Queue, Reason, Retry};
use model::Position;
use proptest::prelude::*;

/// A record's source, position and key.
type Name = (usize, u128, Option<u8>);

#[derive(Debug, Clone)]
enum Step {
    Offer {
        source: usize,
        key: Option<u8>,
        priority: u8,
        deadline: Option<u64>,
    },
    Lease {
        limit: usize,
    },
    /// Settles one of the open leases; each record by the next of these.
    Settle {
        which: prop::sample::Index,
        outcomes: Vec<u8>,
    },
    Bury,
    Wait {
        millis: u64,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..3, prop::option::weighted(0.8, 0_u8..4), 0_u8..10, prop::option::weighted(0.2, 1_u64..900))
            .prop_map(|(source, key, priority, deadline)| Step::Offer { source, key, priority, deadline }),
        4 => (1_usize..5).prop_map(|limit| Step::Lease { limit }),
        4 => (any::<prop::sample::Index>(), prop::collection::vec(0_u8..4, 5))
            .prop_map(|(which, outcomes)| Step::Settle { which, outcomes }),
        2 => Just(Step::Bury),
        2 => (1_u64..700).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Restart),
    ]
}

struct World {
    queue: Queue<Name>,
    sources: Vec<delivery::SourceId>,
    now: Duration,
    leases: Vec<Lease<Name>>,
    /// Everything offered, and whether it is finished.
    all: BTreeMap<Name, bool>,
    next: [u128; 3],
    dead: Vec<delivery::Spent<Name>>,
    offers: BTreeMap<Name, (u8, Option<Duration>)>,
}

fn policy() -> Policy {
    Policy {
        retry: Retry {
            attempts: 3,
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
        },
        lease: Duration::from_millis(1_500),
        ..Policy::default()
    }
}

impl World {
    fn new() -> Self {
        let mut queue = Queue::new(policy());
        let sources = (0..3).map(|_| queue.add_source()).collect();
        Self {
            queue,
            sources,
            now: Duration::ZERO,
            leases: Vec::new(),
            all: BTreeMap::new(),
            next: [0; 3],
            dead: Vec::new(),
            offers: BTreeMap::new(),
        }
    }

    fn offer(&mut self, name: Name) {
        let (source, position, key) = name;
        let (priority, deadline) = self.offers[&name];
        let mut offer = Offer::new(self.sources[source], Position::from_bits(position), name);
        offer.key = key.map(u64::from);
        offer.priority = Priority::new(priority).unwrap();
        offer.deadline = deadline;
        offer.time = i64::try_from(position).unwrap();
        let taken = self.queue.offer(self.now, offer);
        assert_eq!(
            taken, !self.all[&name],
            "what is finished is known, and nothing else"
        );
        self.queue
            .read_to(self.sources[source], Position::from_bits(position + 1));
    }

    fn finish(&mut self, name: Name) {
        let before = self.all.insert(name, true);
        assert_eq!(before, Some(false), "{name:?} is finished once");
    }

    /// Finishes what was delivered or given up, which has an order.
    fn finish_in_order(&mut self, name: Name) {
        self.finish(name);
        let earlier = self.all.iter().filter(|((source, position, key), done)| {
            !**done && *source == name.0 && key.is_some() && *key == name.2 && *position < name.1
        });
        assert_eq!(earlier.count(), 0, "{name:?} overtook its key");
    }

    fn take_spent(&mut self) {
        self.dead.extend(self.queue.take_spent());
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Offer {
                source,
                key,
                priority,
                deadline,
            } => {
                let name = (source, self.next[source], key);
                // Some positions are skipped, as in a compacted log.
                self.next[source] += 1 + u128::from(priority % 3);
                let deadline = deadline.map(|millis| self.now + Duration::from_millis(millis));
                self.offers.insert(name, (priority, deadline));
                self.all.insert(name, false);
                self.offer(name);
            }
            Step::Lease { limit } => {
                if let Some(lease) = self.queue.lease(self.now, limit) {
                    assert!((1..=limit).contains(&lease.records.len()));
                    self.check_lease(&lease);
                    self.leases.push(lease);
                }
            }
            Step::Settle { which, outcomes } => {
                if self.leases.is_empty() {
                    return;
                }
                let lease = self.leases.remove(which.index(self.leases.len()));
                self.settle(&lease, &outcomes);
            }
            Step::Bury => {
                for spent in std::mem::take(&mut self.dead) {
                    self.queue.buried(self.now, spent.id.unwrap());
                    if spent.reason == Reason::Expired {
                        // Whatever its place: it is not delivered.
                        assert!(self.offers[&spent.payload].1.is_some());
                        self.finish(spent.payload);
                    } else {
                        self.finish_in_order(spent.payload);
                    }
                }
            }
            Step::Wait { millis } => {
                self.now += Duration::from_millis(millis);
                self.queue.expire_leases(self.now, 0.5);
            }
            Step::Restart => self.restart(),
        }
        self.take_spent();
        self.check_deadlines();
        self.queue.check();
        self.check_positions();
    }

    fn check_lease(&self, lease: &Lease<Name>) {
        let mut seen = BTreeSet::new();
        for record in &lease.records {
            let (source, position, key) = record.payload;
            assert!(
                !self.all[&record.payload],
                "finished records are not leased"
            );
            let unfinished_before = self.all.iter().filter(|((s, p, k), done)| {
                !**done && *s == source && key.is_some() && *k == key && *p < position
            });
            for (name, _) in unfinished_before {
                assert!(seen.contains(name), "{:?} before {name:?}", record.payload);
            }
            seen.insert(record.payload);
            let deadline = self.offers[&record.payload].1;
            assert!(deadline.is_none_or(|deadline| deadline > self.now));
        }
    }

    /// Nothing that could be told so waits past its deadline.
    fn check_deadlines(&mut self) {
        self.queue.wake(self.now);
        self.take_spent();
        let leased: BTreeSet<Name> = self
            .leases
            .iter()
            .flat_map(|lease| lease.records.iter().map(|record| record.payload))
            .collect();
        let dead: BTreeSet<Name> = self.dead.iter().map(|spent| spent.payload).collect();
        for (name, done) in &self.all {
            let late = self.offers[name]
                .1
                .is_some_and(|deadline| deadline <= self.now);
            let known = *done || leased.contains(name) || dead.contains(name);
            assert!(!late || known, "{name:?} waits past its deadline");
        }
    }

    fn settle(&mut self, lease: &Lease<Name>, outcomes: &[u8]) {
        let mut chosen = Vec::new();
        let valid = self.queue.settle(self.now, lease.id, 0.5, |index| {
            let outcome = outcomes[index % outcomes.len()];
            chosen.push(outcome);
            let error = String::new();
            match outcome {
                0 | 1 => Outcome::Done,
                2 => Outcome::Failed { error, after: None },
                _ => Outcome::Refused { error },
            }
        });
        if !valid {
            return;
        }
        let mut failed = BTreeSet::new();
        for (record, outcome) in lease.records.iter().zip(chosen) {
            let (source, _, key) = record.payload;
            if key.is_some() && failed.contains(&(source, key)) {
                continue;
            }
            if outcome < 2 {
                self.finish_in_order(record.payload);
            } else {
                failed.insert((source, key));
            }
        }
    }

    /// Everything in memory is lost but what was committed.
    fn restart(&mut self) {
        let mut queue = Queue::new(policy());
        let mut sources = Vec::new();
        let mut again = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let (position, finished) = (self.queue.position(*source), self.queue.finished(*source));
            let note = finished.note();
            let finished = delivery::Finished::read(position, &note);
            sources.push(queue.resume_source(position, finished));
            let names = self.all.keys().filter(|name| name.0 == index);
            again.extend(
                names
                    .filter(|name| Position::from_bits(name.1) >= position)
                    .copied(),
            );
        }
        (self.queue, self.sources) = (queue, sources);
        self.leases.clear();
        self.dead.clear();
        for name in again {
            self.offer(name);
        }
    }

    fn check_positions(&self) {
        for (index, source) in self.sources.iter().enumerate() {
            let position = self.queue.position(*source);
            let first = self
                .all
                .iter()
                .find(|(name, done)| name.0 == index && !**done);
            if let Some((name, _)) = first {
                assert!(
                    position <= Position::from_bits(name.1),
                    "{name:?} was passed"
                );
            }
        }
    }

    /// With a listener that takes everything, everything ends.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.apply(Step::Bury);
            if self.queue.is_empty() {
                return;
            }
            if self.leases.is_empty() {
                self.apply(Step::Lease { limit: 3 });
            }
            match self.leases.pop() {
                Some(lease) => self.settle(&lease, &[0]),
                None => self.apply(Step::Wait { millis: 100 }),
            }
        }
        panic!("the queue does not end: {:?}", self.queue);
    }
}

proptest! {
    #[test]
    fn whatever_happens_order_holds_and_everything_ends_once(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
        world.drain();
        prop_assert!(world.all.values().all(|done| *done));
        for (index, source) in world.sources.iter().enumerate() {
            let end = world.all.keys().rfind(|name| name.0 == index);
            if let Some(name) = end {
                prop_assert_eq!(world.queue.position(*source), Position::from_bits(name.1 + 1));
            }
        }
    }
}
