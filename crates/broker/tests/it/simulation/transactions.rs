//! Whole lives of transactions on a simulated disk: several producers at once, their calls cut off at
//! any round of the writer, power cuts, failing disks, restarts.
//!
//! What must be true of every transaction, whatever happens: one that was acknowledged as committed is
//! wholly there, in every partition and in its group's offsets; one that was acknowledged as aborted,
//! or never ended, is nowhere; one whose end was not answered is wholly there or nowhere, and that
//! stays. Nothing hangs: when every producer has begun anew, readers of what is committed reach the
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker::transaction_coordinator::Init;
use broker::{
    Broker, Commit, Durability, EmbeddedBroker, Error, Options, ReadLimit, TransactionCoordinator,
    TransactionError, TransactionOptions, read_committed,
};
use env::{Entropy, Faults, SeededEntropy, SimClock, SimDisk};
use model::{GroupId, Offset, Outcome, Producer, Timestamp, TopicPartition};
use record::{BatchBuilder, Compression};
use stdx::ByteSize;
use test_kit::batches::{batch, records};
use transactions::TransactionalId;

use crate::support::{at, clock, manual, name, poll};

const PRODUCERS: usize = 3;
const PLACES: [(&str, u32); 4] = [("a", 0), ("a", 1), ("written", 0), ("b", 0)];
const STEPS: usize = 90;
const SEEDS: u64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
    /// Its commit was asked for and not answered.
    Unknown,
}

/// One transaction as its producer knows it.
#[derive(Debug)]
struct Fact {
    fate: Fate,
    /// Values by whether they were acknowledged.
    values: BTreeMap<String, bool>,
    /// The offset staged, and whether that was acknowledged.
    staged: Option<bool>,
    producer: usize,
}

#[derive(Debug, Default)]
struct Client {
    producer: Option<Producer>,
    sequences: BTreeMap<TopicPartition, i32>,
    /// The transaction that is open, by number.
    open: Option<usize>,
    partitions: BTreeSet<TopicPartition>,
}

struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
    random: SeededEntropy,
    seed: u64,
    lives: u64,
    broker: Option<Arc<EmbeddedBroker>>,
    coordinator: Option<Arc<TransactionCoordinator>>,
    clients: [Client; PRODUCERS],
    facts: Vec<Fact>,
    plain: BTreeSet<String>,
    sent: u64,
    cut: u64,
}

fn id(client: usize) -> TransactionalId {
    TransactionalId::new(&format!("tx-{client}")).unwrap()
}

fn group(client: usize) -> GroupId {
    GroupId::new(&format!("group-{client}")).unwrap()
}

/// What came of a call.
enum Called<T> {
    Answered(T),
    /// The process was killed, or the power failed, while it ran.
    Cut,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            disk: SimDisk::new(seed),
            clock: clock(),
            random: SeededEntropy::new(seed ^ 0x7a6),
            seed,
            lives: 0,
            broker: None,
            coordinator: None,
            clients: Default::default(),
            facts: Vec::new(),
            plain: BTreeSet::new(),
            sent: 0,
            cut: 0,
        };
        world.open();
        for topic in ["a", "b", "written"] {
            let mut config = broker::TopicConfig::default();
            config.set("segment.bytes", Some("1024")).unwrap();
            if topic == "written" {
                config.durability = Durability::Written;
            }
            let broker = world.broker();
            let created = broker.create_topic(broker::TopicSpec {
                name: name(topic),
                partitions: 2,
                config,
            });
            assert!(matches!(poll(&mut Box::pin(created)), Poll::Ready(Ok(_))));
        }
        world
    }

    fn draw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    }

    fn pick(&self, below: usize) -> usize {
        usize::try_from(self.draw(below as u64)).unwrap()
    }

    fn broker(&self) -> Arc<EmbeddedBroker> {
        Arc::clone(self.broker.as_ref().unwrap())
    }

    fn coordinator(&self) -> Arc<TransactionCoordinator> {
        Arc::clone(self.coordinator.as_ref().unwrap())
    }

    fn open(&mut self) {
        self.lives += 1;
        let journal_kib = [0, 4, 64][self.pick(3)];
        let preallocate_kib = [0, 4, 512][self.pick(3)];
        let options = Options {
            groups_records_max: 16,
            journal_bytes: ByteSize::from_kib(journal_kib),
            preallocate_bytes: ByteSize::from_kib(preallocate_kib),
            ..manual(
                self.disk.shared(),
                Arc::clone(&self.clock),
                self.seed ^ (self.lives << 32),
            )
        };
        let broker = EmbeddedBroker::open(options).unwrap();
        let shared: broker::DynBroker = Arc::<EmbeddedBroker>::clone(&broker);
        let clock: env::DynClock = Arc::<SimClock>::clone(&self.clock);
        let options = TransactionOptions::default();
        let coordinator = TransactionCoordinator::new(shared, clock, options);
        let loading = Arc::clone(&coordinator);
        drive(&broker, async move { loading.load().await }).unwrap();
        self.broker = Some(broker);
        self.coordinator = Some(coordinator);
    }

    fn restart(&mut self, power: bool) {
        self.disk.set_faults(Faults::default());
        if power || env::Disk::exists(&self.disk, std::path::Path::new("/data")).is_err() {
            self.disk.crash();
        } else {
            self.disk.restart();
        }
        self.coordinator = None;
        self.broker = None;
        self.open();
        // What clients had in mind is lost with the connection; they begin anew.
        for client in &mut self.clients {
            client.producer = None;
        }
        self.begin_all();
    }

    /// Every producer begins anew, which settles what is open; then everything is checked.
    fn begin_all(&mut self) {
        for client in 0..PRODUCERS {
            let begun = self.init(client);
            assert!(begun, "with a good disk a producer can begin");
        }
        self.check();
    }

    /// Runs a call with rounds of the writer; at random it is cut off after some of them.
    fn call<T>(&mut self, call: impl Future<Output = T>) -> Called<T> {
        let mut call = Box::pin(call);
        let rounds = if self.draw(14) == 0 { self.draw(5) } else { 40 };
        let broker = self.broker();
        for _ in 0..rounds {
            if let Poll::Ready(answer) = poll(&mut call) {
                return Called::Answered(answer);
            }
            broker.run_round();
        }
        assert!(rounds < 40, "a call is not answered after many rounds");
        drop(call);
        self.cut += 1;
        Called::Cut
    }

    fn after_cut(&mut self) {
        let power = self.draw(2) == 0;
        self.restart(power);
    }

    /// Whether the client has a producer now; on a good disk it always has.
    fn init(&mut self, client: usize) -> bool {
        let coordinator = self.coordinator();
        let ask = Init {
            timeout: Duration::from_secs(5),
            expected: None,
        };
        let begun = drive(&self.broker(), async move {
            coordinator.init(&id(client), ask).await
        });
        let state = &mut self.clients[client];
        state.sequences.clear();
        state.partitions.clear();
        state.producer = begun.ok();
        if state.producer.is_some()
            && let Some(number) = state.open.take()
        {
            let fact = &mut self.facts[number];
            if fact.fate == Fate::Open {
                fact.fate = Fate::Aborted;
            }
        }
        state.producer.is_some()
    }

    fn step(&mut self) {
        let millis = self.draw(300);
        self.clock.advance(Duration::from_millis(millis));
        let client = self.pick(PRODUCERS);
        if self.clients[client].producer.is_none() && !self.init(client) {
            return self.restart(false);
        }
        match self.draw(100) {
            0..45 => self.write(client),
            45..55 => self.stage(client),
            55..75 => self.end(client),
            75..80 => drop(self.init(client)),
            80..86 => self.write_plain(),
            86..90 => self.look(),
            90..93 => self.tick(),
            93..96 => self.fail(),
            96..98 => self.restart(false),
            _ => self.restart(true),
        }
    }

    fn place(&self) -> TopicPartition {
        let (topic, partition) = PLACES[self.pick(PLACES.len())];
        at(topic, partition)
    }

    fn value(&mut self) -> String {
        self.sent += 1;
        format!("{}-{}", self.sent, "x".repeat(self.pick(50)))
    }

    /// The number of the client's transaction, opened if need be.
    fn opened(&mut self, client: usize) -> usize {
        if let Some(open) = self.clients[client].open {
            return open;
        }
        self.facts.push(Fact {
            fate: Fate::Open,
            values: BTreeMap::new(),
            staged: None,
            producer: client,
        });
        let number = self.facts.len() - 1;
        self.clients[client].open = Some(number);
        number
    }

    fn write(&mut self, client: usize) {
        let place = self.place();
        let producer = self.clients[client].producer.unwrap();
        let number = self.opened(client);
        if !self.clients[client].partitions.contains(&place) {
            let (coordinator, of) = (self.coordinator(), vec![place.clone()]);
            let added = self
                .call(async move { coordinator.add_partitions(&id(client), producer, of).await });
            match added {
                Called::Cut => return self.after_cut(),
                Called::Answered(Err(error)) => return self.refused(client, &error),
                Called::Answered(Ok(())) => {
                    self.clients[client].partitions.insert(place.clone());
                }
            }
        }
        let value = self.value();
        self.facts[number].values.insert(value.clone(), false);
        let sequence = self.clients[client].sequences.get(&place).copied();
        let sequence = sequence.unwrap_or(0);
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), None, Some(value.as_bytes()), &[]);
        builder.producer(producer.id, producer.epoch, sequence);
        let batch = builder.transactional().build();
        let broker = self.broker();
        let appended = self.call(broker.append(&place, vec![batch], Durability::Flushed));
        match appended {
            Called::Cut => self.after_cut(),
            Called::Answered(Ok(_)) => {
                self.facts[number].values.insert(value, true);
                let sequences = &mut self.clients[client].sequences;
                sequences.insert(place, sequence + 1);
            }
            Called::Answered(Err(
                Error::ProducerFenced { .. } | Error::NotInTransaction { .. },
            )) => {
                // Its time was over.
                assert!(self.timed_out(producer), "an open transaction was refused");
                self.facts[number].fate = Fate::Aborted;
                self.clients[client].open = None;
                self.clients[client].producer = None;
            }
            Called::Answered(Err(Error::Frozen { .. } | Error::DiskFull { .. })) => {
                self.clients[client].producer = None;
            }
            Called::Answered(Err(other)) => panic!("{other:?}"),
        }
    }

    /// Whether the coordinator has gone on from this producer.
    fn timed_out(&self, producer: Producer) -> bool {
        let coordinator = self.coordinator();
        let listed = drive(&self.broker(), async move { coordinator.list().await });
        let listed = listed.unwrap();
        !listed.iter().any(|(_, state)| state.producer() == producer)
    }

    fn refused(&mut self, client: usize, error: &TransactionError) {
        match error {
            TransactionError::Refused(transactions::Error::Fenced { .. }) => {
                if let Some(number) = self.clients[client].open.take() {
                    self.facts[number].fate = Fate::Aborted;
                }
            }
            // A partition is frozen, and its last end not everywhere yet; or the records are.
            TransactionError::Refused(transactions::Error::Busy)
            | TransactionError::Storage(
                Error::Frozen { .. } | Error::DiskFull { .. } | Error::Io { .. },
            ) => (),
            other => panic!("{other:?}"),
        }
        self.clients[client].producer = None;
    }

    fn stage(&mut self, client: usize) {
        let producer = self.clients[client].producer.unwrap();
        let number = self.opened(client);
        let coordinator = self.coordinator();
        let commit = Commit {
            position: Offset::new(number as u64).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: Timestamp::from_millis(1),
        };
        self.facts[number].staged.get_or_insert(false);
        let staged = self.call(async move {
            let group = group(client);
            coordinator
                .add_group(&id(client), producer, group.clone())
                .await?;
            let commits = vec![(at("a", 0), commit)];
            coordinator
                .stage(&id(client), producer, group, commits)
                .await
        });
        match staged {
            Called::Cut => self.after_cut(),
            Called::Answered(Ok(())) => self.facts[number].staged = Some(true),
            Called::Answered(Err(error)) => self.refused(client, &error),
        }
    }

    fn end(&mut self, client: usize) {
        let Some(number) = self.clients[client].open else {
            return;
        };
        // A producer that had an error may only abort.
        let fact = &self.facts[number];
        let whole = fact.values.values().all(|known| *known) && fact.staged != Some(false);
        let outcome = if whole && self.draw(3) > 0 {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        let fate = match outcome {
            Outcome::Commit => Fate::Unknown,
            Outcome::Abort => Fate::Aborted,
        };
        self.facts[number].fate = fate;
        let producer = self.clients[client].producer.unwrap();
        let coordinator = self.coordinator();
        let ended = self.call(async move { coordinator.end(&id(client), producer, outcome).await });
        self.clients[client].partitions.clear();
        match ended {
            Called::Cut => {
                self.clients[client].open = None;
                self.after_cut();
            }
            Called::Answered(Ok(())) => {
                self.clients[client].open = None;
                if outcome == Outcome::Commit {
                    self.facts[number].fate = Fate::Committed;
                }
            }
            // Nothing had been let in before it was asked to end.
            Called::Answered(Err(TransactionError::Refused(transactions::Error::WrongPhase {
                ..
            }))) => {
                self.clients[client].open = None;
                self.facts[number].fate = Fate::Aborted;
                assert!(self.facts[number].values.values().all(|known| !known));
            }
            Called::Answered(Err(TransactionError::Storage(_))) => {
                self.clients[client].open = None;
                self.clients[client].producer = None;
            }
            Called::Answered(Err(error)) => self.refused(client, &error),
        }
    }

    fn write_plain(&mut self) {
        let (place, value) = (self.place(), self.value());
        let broker = self.broker();
        let batches = vec![batch([&value])];
        match self.call(broker.append(&place, batches, Durability::Flushed)) {
            Called::Cut => self.after_cut(),
            Called::Answered(Ok(_)) => drop(self.plain.insert(value)),
            Called::Answered(Err(Error::Frozen { .. } | Error::DiskFull { .. })) => (),
            Called::Answered(Err(other)) => panic!("{other:?}"),
        }
    }

    fn tick(&mut self) {
        let millis = self.draw(9_000);
        self.clock.advance(Duration::from_millis(millis));
        let coordinator = self.coordinator();
        if let Called::Cut = self.call(async move { coordinator.tick().await }) {
            self.after_cut();
        }
    }

    fn fail(&mut self) {
        let after = Some(self.draw(10));
        let faults = match self.draw(3) {
            0 => Faults {
                sync: after,
                ..Faults::default()
            },
            1 => Faults {
                write: after,
                ..Faults::default()
            },
            _ => Faults {
                power: after,
                ..Faults::default()
            },
        };
        self.disk.set_faults(faults);
    }

    /// Every value that a reader of what is committed sees, and whether it reached all ends.
    fn seen(&self) -> Option<(BTreeSet<String>, bool)> {
        let broker = self.broker();
        let mut seen = BTreeSet::new();
        let mut reached = true;
        for (topic, partition) in PLACES {
            let of = at(topic, partition);
            let marks = drive(&broker, broker.marks(&of)).unwrap();
            assert!(marks.log_start <= marks.last_stable);
            assert!(marks.last_stable <= marks.high_watermark);
            reached &= marks.last_stable == marks.high_watermark;
            let mut from = marks.log_start;
            loop {
                let limit = ReadLimit {
                    bytes: 300,
                    at_least_one: true,
                };
                let read = drive(&broker, read_committed(&*broker, &of, from, limit));
                let fetched = match read {
                    Ok(fetched) => fetched,
                    // Without power nothing can be read, and nothing wrong either.
                    Err(Error::Io { .. }) => return None,
                    Err(other) => panic!("{other:?}"),
                };
                for (_, value) in records(&fetched.batches) {
                    assert!(seen.insert(value.clone()), "{value} is there twice");
                }
                if fetched.next == from {
                    break;
                }
                from = fetched.next;
            }
        }
        Some((seen, reached))
    }

    /// At any moment: nothing is seen that is open or aborted.
    fn look(&mut self) {
        let Some((seen, _)) = self.seen() else { return };
        for fact in &self.facts {
            if matches!(fact.fate, Fate::Open | Fate::Aborted) {
                let wrong = fact.values.keys().find(|value| seen.contains(*value));
                assert_eq!(wrong, None, "{:?} is seen", fact.fate);
            }
        }
    }

    /// After a start and when nothing is open: everything is seen that must be.
    fn check(&mut self) {
        let (seen, reached) = self.seen().unwrap();
        assert!(reached, "a transaction hangs");
        for value in &self.plain {
            assert!(seen.contains(value), "{value} is lost");
        }
        let broker = self.broker();
        for client in 0..PRODUCERS {
            let asked = Some(vec![at("a", 0)]);
            let found = drive(&broker, broker.committed(&group(client), asked)).unwrap();
            let found = found[0].1.as_ref();
            let found = found.map(|commit| usize::try_from(commit.position.bits()).unwrap());
            let staged = broker.transactional().unwrap().staged(&group(client));
            assert!(staged.unwrap().is_empty(), "staged progress hangs");
            self.check_client(client, &seen, found);
        }
    }

    fn check_client(&mut self, client: usize, seen: &BTreeSet<String>, offset: Option<usize>) {
        let mut last = None;
        for (number, fact) in self.facts.iter_mut().enumerate() {
            if fact.producer != client {
                continue;
            }
            let known = fact.values.iter().filter(|(_, known)| **known);
            let visible = known
                .clone()
                .filter(|(value, _)| seen.contains(*value))
                .count();
            let all = known.count();
            if fact.fate == Fate::Unknown {
                let by_offset = fact.staged == Some(true) && offset == Some(number);
                let committed = if all > 0 { visible > 0 } else { by_offset };
                fact.fate = if committed {
                    Fate::Committed
                } else {
                    Fate::Aborted
                };
            }
            match fact.fate {
                Fate::Committed => {
                    assert_eq!(visible, all, "{number} is torn: {fact:?}");
                    if fact.staged == Some(true) {
                        last = Some(number);
                    }
                }
                Fate::Aborted | Fate::Open => {
                    let wrong = fact.values.keys().find(|value| seen.contains(*value));
                    assert_eq!(wrong, None, "{number} came back: {fact:?}");
                }
                Fate::Unknown => unreachable!("it was just found out"),
            }
        }
        assert_eq!(offset, last, "the group's offset of {client}");
    }
}

/// A call on a disk that works, to its end.
#[track_caller]
fn drive<T>(broker: &EmbeddedBroker, call: impl Future<Output = T>) -> T {
    let mut call = Box::pin(call);
    for _ in 0..40 {
        if let Poll::Ready(answer) = poll(&mut call) {
            return answer;
        }
        broker.run_round();
    }
    panic!("a call is not answered after many rounds");
}

#[test]
fn a_transaction_is_wholly_there_or_nowhere_in_any_life() {
    let seeds = match super::from_env("LANTERN_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..super::from_env("LANTERN_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut committed, mut cut, mut lives) = (0, 0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.restart(true);
            let committed = world
                .facts
                .iter()
                .filter(|fact| fact.fate == Fate::Committed);
            (committed.count(), world.cut, world.lives)
        });
        match run {
            Ok(counts) => {
                committed += counts.0;
                cut += counts.1;
                lives += counts.2;
            }
            Err(cause) => {
                eprintln!("replay with LANTERN_SIM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.count() >= 20 {
        assert!(
            committed > 200,
            "only {committed} transactions were committed"
        );
        assert!(cut > 50, "only {cut} calls were cut off");
        assert!(lives > 200, "only {lives} lives");
    }
}
