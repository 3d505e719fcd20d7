//! Followers in the process: what they get from the ring, what from the log, and long polls that are woken when
//! what they asked for is there.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker::{
    Broker, Demand, Durability, DynBroker, EmbeddedBroker, Fetched, Options, Tail, Wanted, Wish,
};
use env::{SimClock, SimDisk};
use model::{Offset, Outcome, Position, Producer, TopicPartition};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use record::CheckedBatch;
use stdx::ByteSize;
use test_kit::batches::{batch, batch_in_transaction, records, values};
use test_kit::wakes::Wakes;

use crate::support::{at, clock, create, manual, name, now, poll, spec};

struct World {
    broker: Arc<EmbeddedBroker>,
    registry: Registry,
    clock: Arc<SimClock>,
    orders: TopicPartition,
}

impl World {
    fn new(change: impl FnOnce(Options) -> Options) -> Self {
        let clock = clock();
        let disk = SimDisk::new(1).shared();
        let options = change(manual(disk, Arc::clone(&clock), 1));
        let broker = EmbeddedBroker::open(options).unwrap();
        let mut registry = Registry::default();
        broker.register(&mut registry);
        create(&broker, spec("orders", 2));
        Self {
            broker,
            registry,
            clock,
            orders: at("orders", 0),
        }
    }

    fn with_slots(slots: usize) -> Self {
        Self::new(|options| Options {
            ring_slots: slots,
            ring_slots_max: slots,
            ..options
        })
    }

    fn append(&self, value: impl AsRef<[u8]>) {
        self.append_batch(batch([value]));
    }

    fn append_batch(&self, batch: CheckedBatch) {
        let append = self
            .broker
            .append(&self.orders, vec![batch], Durability::Flushed);
        now(&self.broker, append).unwrap();
    }

    fn tail(&self, from: u64) -> Tail {
        let broker: DynBroker = Arc::<EmbeddedBroker>::clone(&self.broker);
        Tail::new(broker, self.orders.clone(), Offset::new(from).into()).unwrap()
    }

    fn metric(&self, line: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let found = text.lines().find_map(|metric| metric.strip_prefix(line));
        let value = found.unwrap_or_else(|| panic!("no metric {line} in {text}"));
        value.trim().parse().unwrap()
    }

    fn want(&self, partition: u32, seen: u64, committed: bool, demand: &Arc<Demand>) -> Wanted {
        let wish = Wish {
            seen: Offset::new(seen).into(),
            room: None,
            committed,
        };
        self.broker
            .want(&at("orders", partition), wish, demand)
            .unwrap()
    }
}

/// What there is now.
fn take(tail: &mut Tail) -> Vec<String> {
    match poll(&mut Box::pin(tail.try_next())) {
        Poll::Ready(fetched) => fetched
            .unwrap()
            .map_or_else(Vec::new, |fetched| values(&fetched.batches)),
        Poll::Pending => panic!("it waits"),
    }
}

fn take_all(tail: &mut Tail) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let some = take(tail);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn a_follower_at_the_end_gets_batches_from_the_ring_and_a_lapped_one_comes_back() {
    let world = World::with_slots(4);
    (0..3).for_each(|n| world.append(n.to_string()));
    let (mut fast, mut slow) = (world.tail(0), world.tail(0));
    assert_eq!(take_all(&mut fast), numbers(0..3), "from the log");
    assert_eq!(take_all(&mut slow), numbers(0..3));
    assert_eq!(world.metric("lantern_broker_ring_reads_total"), 0);
    for n in 3..20 {
        world.append(n.to_string());
        assert_eq!(take_all(&mut fast), [n.to_string()]);
    }
    assert_eq!(world.metric("lantern_broker_ring_reads_total"), 17);
    assert_eq!(world.metric("lantern_broker_ring_slots_unread"), 4);
    assert_eq!(take_all(&mut slow), numbers(3..20), "nothing is missing");
    assert_eq!(world.metric("lantern_broker_ring_lapped_total"), 1);
    let before = world.metric("lantern_broker_ring_reads_total");
    world.append("20");
    assert_eq!(
        (take_all(&mut fast), take_all(&mut slow)),
        (numbers(20..21), numbers(20..21))
    );
    let after = world.metric("lantern_broker_ring_reads_total");
    assert_eq!(after - before, 2, "both are at the ring again");
}

#[test]
fn a_waiting_follower_is_woken_by_one_publish_and_gets_all_of_it() {
    let world = World::with_slots(8);
    let mut tail = world.tail(0).with_spin(100);
    {
        let mut waiting = Box::pin(tail.next());
        assert!(poll(&mut waiting).is_pending());
        let append = |n: u64| {
            let batches = vec![batch([n.to_string()])];
            world
                .broker
                .append(&world.orders, batches, Durability::Flushed)
        };
        let mut appends: Vec<_> = (0..3).map(append).collect();
        for append in &mut appends {
            assert!(poll(append).is_pending());
        }
        world.broker.run_round();
        let Poll::Ready(Ok(fetched)) = poll(&mut waiting) else {
            panic!("it is not woken");
        };
        assert_eq!(
            values(&fetched.batches),
            numbers(0..3),
            "small ones come together"
        );
    }
    now(&world.broker, world.broker.delete_topic(&name("orders"))).unwrap();
    let ended = poll(&mut Box::pin(tail.next()));
    assert!(
        matches!(ended, Poll::Ready(Err(broker::Error::UnknownTopic { .. }))),
        "{ended:?}"
    );
}

#[test]
fn large_batches_are_shared_and_what_a_ring_may_not_hold_comes_from_the_log() {
    let world = World::new(|options| Options {
        ring_bytes: ByteSize::from_kib(128),
        ..options
    });
    let (mut one, mut two) = (world.tail(0), world.tail(0));
    assert!(take(&mut one).is_empty() && take(&mut two).is_empty());
    let value = |letter: &str, kib: usize| letter.repeat(kib << 10);
    world.append(value("a", 100));
    let fetch = |tail: &mut Tail| -> Fetched {
        match poll(&mut Box::pin(tail.try_next())) {
            Poll::Ready(Ok(Some(fetched))) => fetched,
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (fetch(&mut one), fetch(&mut two));
    assert_eq!(first.batches.as_ptr(), second.batches.as_ptr());
    world.append(value("b", 200));
    world.append(value("c", 100));
    world.append(value("d", 100));
    let all: Vec<_> = take_all(&mut one)
        .iter()
        .map(|value| value[..1].to_owned())
        .collect();
    assert_eq!(all, ["b", "c", "d"]);
    drop((first, second));
    assert!(world.metric("lantern_broker_ring_held_bytes") <= 128 << 10);
    assert_eq!(take_all(&mut two).len(), 3);
    drop((one, two));
    world.broker.let_memory_go();
    assert_eq!(world.metric("lantern_broker_rings"), 0, "nobody follows");
    assert_eq!(world.metric("lantern_broker_ring_held_bytes"), 0);
}

#[test]
fn buffers_are_used_again_when_the_last_reader_lets_go() {
    let world = World::with_slots(4);
    let mut tail = world.tail(0);
    for n in 0..200 {
        world.append(format!("{n}{}", "x".repeat(10_000)));
        assert_eq!(take_all(&mut tail).len(), 1);
    }
    let reused = world.metric("lantern_broker_buffers_total{source=\"pool\"}");
    let made = world.metric("lantern_broker_buffers_total{source=\"allocated\"}");
    assert!(reused > made * 3, "{reused} reused, {made} allocated");
}

#[test]
fn rings_that_hold_too_much_together_keep_only_what_followers_need() {
    let world = World::new(|options| Options {
        rings_bytes: ByteSize::from_kib(64),
        ..options
    });
    let mut tails = [world.tail(0), world.tail(0)];
    for n in 0..50 {
        world.append(format!("{n} {}", "x".repeat(8 << 10)));
        // One keeps up, and the other does not.
        assert_eq!(take_all(&mut tails[0]).len(), 1);
        let held = world.metric("lantern_broker_ring_held_bytes");
        assert!(held <= 64 << 10, "{held} bytes are held");
    }
    let seen: Vec<_> = take_all(&mut tails[1]);
    let seen: Vec<_> = seen
        .iter()
        .map(|value| value.split(' ').next().unwrap())
        .collect();
    assert_eq!(seen, numbers(0..50));
}

#[test]
fn a_ring_that_stays_full_grows_and_one_that_idles_shrinks_and_nothing_is_lost() {
    let world = World::new(|options| Options {
        ring_slots: 8,
        ring_slots_max: 100,
        ..options
    });
    // One batch at a time, always seven behind.
    let mut tail = world.tail(0).with_bytes(1);
    assert!(take(&mut tail).is_empty());
    (0..8).for_each(|n| world.append(n.to_string()));
    let mut sent = 8;
    for read in 0..200_u64 {
        world.clock.advance(Duration::from_millis(100));
        assert_eq!(take(&mut tail), [read.to_string()]);
        world.append(sent.to_string());
        sent += 1;
    }
    let larger = "lantern_broker_ring_resizes_total{to=\"larger\"}";
    assert_eq!(world.metric(larger), 1);
    assert_eq!(world.metric("lantern_broker_ring_slots"), 12);
    assert_eq!(world.metric("lantern_broker_ring_lapped_total"), 0);
    assert_eq!(take_all(&mut tail), numbers(200..sent));
    world.clock.advance(Duration::from_mins(1));
    world.broker.let_memory_go();
    assert_eq!(world.metric("lantern_broker_ring_slots"), 8);
    world.append(sent.to_string());
    assert_eq!(take_all(&mut tail), [sent.to_string()]);
}

#[test]
fn a_long_poll_over_two_partitions_is_woken_once_and_only_when_there_is_enough() {
    let world = World::with_slots(4);
    let size = u64::try_from(batch(["x"]).size()).unwrap();
    let demand = Arc::new(Demand::new(usize::try_from(size * 10).unwrap()));
    world.append("x");
    assert_eq!(
        world.want(0, 0, false, &demand),
        Wanted::Ready,
        "there is more than was seen"
    );
    assert_eq!(world.want(0, 1, false, &demand), Wanted::Counting);
    assert_eq!(world.want(1, 0, false, &demand), Wanted::Counting);
    let mut met = Box::pin(demand.met());
    for n in 0..9 {
        assert!(poll(&mut met).is_pending(), "{n} of 10 are there");
        let to = at("orders", n % 2);
        let append = world
            .broker
            .append(&to, vec![batch(["x"])], Durability::Flushed);
        now(&world.broker, append).unwrap();
        assert!(!demand.is_over());
    }
    world.append("x");
    assert_eq!(poll(&mut met), Poll::Ready(true));
    let ended = Arc::new(Demand::new(1));
    assert_eq!(world.want(1, 4, false, &ended), Wanted::Counting);
    now(&world.broker, world.broker.delete_topic(&name("orders"))).unwrap();
    assert_eq!(poll(&mut Box::pin(ended.met())), Poll::Ready(false));
}

#[test]
fn a_publish_wakes_those_it_satisfies_once_and_nobody_else() {
    let world = World::with_slots(4);
    let size = batch(["x"]).size();
    // Fifty for each partition who want anything, and fifty who want two batches of the first.
    let kinds = [(0, 1), (1, 1), (0, size + 1)];
    let demands: Vec<_> = kinds.iter().cycle().take(150).collect();
    let demands: Vec<_> = demands
        .into_iter()
        .map(|(partition, bytes)| {
            let demand = Arc::new(Demand::new(*bytes));
            assert_eq!(world.want(*partition, 0, false, &demand), Wanted::Counting);
            demand
        })
        .collect();
    let mut waiters: Vec<_> = demands
        .iter()
        .map(|demand| (Box::pin(demand.met()), Arc::<Wakes>::default()))
        .collect();
    for (met, wakes) in &mut waiters {
        assert!(wakes.poll(met).is_pending());
    }
    let counts = |waiters: &[(_, Arc<Wakes>)]| {
        let of = |kind| waiters.iter().skip(kind).step_by(kinds.len());
        [0, 1, 2].map(|kind| of(kind).map(|(_, wakes)| wakes.count()).sum::<usize>())
    };
    world.append("x");
    assert_eq!(counts(&waiters), [50, 0, 0]);
    world.append("x");
    assert_eq!(counts(&waiters), [50, 0, 50]);
    world.append("x");
    assert_eq!(counts(&waiters), [50, 0, 50]);
    for (number, (met, wakes)) in waiters.iter_mut().enumerate() {
        let is_met = number % kinds.len() != 1;
        assert_eq!(wakes.poll(met).is_ready(), is_met);
        assert_eq!(wakes.count(), usize::from(is_met), "each is woken once");
    }
}

#[test]
fn a_long_poll_takes_no_more_of_a_partition_than_there_is_room_for() {
    let world = World::with_slots(4);
    let demand = Arc::new(Demand::new(1_000));
    let wish = |room| Wish {
        seen: Position::default(),
        room: Some(room),
        committed: false,
    };
    for (partition, room) in [(0, 600), (1, 600)] {
        let wanted = world
            .broker
            .want(&at("orders", partition), wish(room), &demand);
        assert_eq!(wanted.unwrap(), Wanted::Counting);
    }
    world.append("x".repeat(5_000));
    assert!(
        !demand.is_over(),
        "the other partition has to give the rest"
    );
    let other = at("orders", 1);
    let batches = vec![batch(["x".repeat(500)])];
    let append = world.broker.append(&other, batches, Durability::Flushed);
    now(&world.broker, append).unwrap();
    assert!(demand.is_over());
}

const WRITER: Producer = Producer::new(77, 0);

fn transactional(sequence: i32, value: &str) -> CheckedBatch {
    batch_in_transaction(WRITER, sequence, [value])
}

impl World {
    fn end(&self, outcome: Outcome) {
        let log = self.broker.transactional().unwrap();
        let mut ended = log.end(WRITER, outcome, vec![self.orders.clone()]);
        for _ in 0..3 {
            if let Poll::Ready(answers) = poll(&mut ended) {
                assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                return;
            }
            self.broker.run_round();
        }
        panic!("the marker is not answered");
    }

    fn enlist(&self) {
        let log = self.broker.transactional().unwrap();
        log.enlist(WRITER, &self.orders).unwrap();
    }
}

#[test]
fn a_long_poll_for_what_is_committed_is_woken_by_the_marker() {
    let world = World::with_slots(4);
    world.enlist();
    let large = transactional(0, &"x".repeat(2_000));
    let (all, committed) = (Arc::new(Demand::new(1_500)), Arc::new(Demand::new(1_500)));
    assert_eq!(world.want(0, 0, false, &all), Wanted::Counting);
    assert_eq!(world.want(0, 0, true, &committed), Wanted::Counting);
    world.append_batch(large);
    assert!(all.is_over());
    assert!(!committed.is_over(), "its fate is open");
    world.append("y".repeat(2_000));
    assert!(!committed.is_over(), "and what is behind it waits");
    world.end(Outcome::Commit);
    assert!(committed.is_over());
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Begin(usize),
    End(bool),
    Take {
        follower: usize,
        bytes: usize,
    },
    Wait(usize),
    SeekBack(usize),
    /// To the high watermark, maybe beyond where a transaction is open.
    SeekEnd(usize),
    LetGo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let follower = 0_usize..3;
    let step = prop_oneof![
        6 => prop_oneof![Just(1_usize), Just(300), Just(20_000)].prop_map(Step::Append),
        2 => prop_oneof![Just(1_usize), Just(300)].prop_map(Step::Begin),
        2 => any::<bool>().prop_map(Step::End),
        8 => (follower.clone(), prop_oneof![Just(100_usize), Just(700), Just(1 << 20)])
            .prop_map(|(follower, bytes)| Step::Take { follower, bytes }),
        2 => follower.clone().prop_map(Step::Wait),
        1 => follower.clone().prop_map(Step::SeekBack),
        2 => follower.prop_map(Step::SeekEnd),
        1 => Just(Step::LetGo),
    ];
    prop::collection::vec(step, 1..70)
}

/// A follower and the values it should see next, by offset.
struct Follower {
    tail: Option<Tail>,
    next: u64,
}

/// What the partition holds: values by offset, and whether they are committed (`None`: open).
#[derive(Default)]
struct Model {
    values: Vec<(u64, String, Option<bool>)>,
    end: u64,
}

impl Model {
    fn push(&mut self, value: &str, committed: Option<bool>) {
        self.values.push((self.end, value.to_owned(), committed));
        self.end += 1;
    }

    /// What a follower at `from` may see.
    fn visible(&self, from: u64) -> Vec<(Offset, String)> {
        let decided = self.values.iter().take_while(|(.., fate)| fate.is_some());
        let seen = decided.filter(|(offset, _, fate)| *offset >= from && *fate == Some(true));
        seen.map(|(offset, value, _)| (Offset::new(*offset), value.clone()))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn followers_see_what_is_committed_once_and_in_order(slots in 1_usize..7, steps in steps()) {
        let world = World::with_slots(slots);
        let mut model = Model::default();
        let (mut open, mut sequence) = (false, 0);
        let mut followers: Vec<Follower> = Vec::new();
        for _ in 0..3 {
            followers.push(Follower { tail: Some(world.tail(0)), next: 0 });
        }
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(size) => {
                    let value = format!("{number} {}", "x".repeat(size));
                    world.append(&value);
                    model.push(&value, Some(true));
                }
                Step::Begin(size) => {
                    if !open { world.enlist(); }
                    open = true;
                    let value = format!("{number} {}", "t".repeat(size));
                    world.append_batch(transactional(sequence, &value));
                    sequence += 1;
                    model.push(&value, None);
                }
                Step::End(commit) => {
                    if !open { continue }
                    open = false;
                    world.end(if commit { Outcome::Commit } else { Outcome::Abort });
                    for (.., fate) in &mut model.values {
                        fate.get_or_insert(commit);
                    }
                    model.end += 1;
                }
                Step::Take { follower, bytes } => {
                    let follower = &mut followers[follower];
                    let mut tail = follower.tail.take().unwrap().with_bytes(bytes);
                    let expected = model.visible(follower.next);
                    let got = match poll(&mut Box::pin(tail.try_next())) {
                        Poll::Ready(got) => got.unwrap(),
                        Poll::Pending => panic!("it waits"),
                    };
                    let got = got.map_or_else(Vec::new, |fetched| records(&fetched.batches));
                    prop_assert_eq!(got.is_empty(), expected.is_empty());
                    prop_assert!(expected.starts_with(&got), "{:?} is not the beginning of {:?}", got, expected);
                    if let Some((last, _)) = got.last() { follower.next = last.get() + 1; }
                    follower.tail = Some(tail);
                }
                Step::Wait(follower) => {
                    let follower = &mut followers[follower];
                    let mut tail = follower.tail.take().unwrap();
                    let expected = model.visible(follower.next);
                    let waited = poll(&mut Box::pin(tail.next()));
                    match waited {
                        Poll::Pending => prop_assert!(expected.is_empty()),
                        Poll::Ready(got) => {
                            let got = records(&got.unwrap().batches);
                            prop_assert!(!got.is_empty() && expected.starts_with(&got));
                            follower.next = got.last().unwrap().0.get() + 1;
                        }
                    }
                    follower.tail = Some(tail);
                }
                Step::SeekBack(follower) => {
                    let follower = &mut followers[follower];
                    let to = follower.next / 2;
                    // To the beginning of a batch, each of which holds one record here.
                    follower.tail.as_mut().unwrap().seek(Offset::new(to).into());
                    follower.next = to;
                }
                Step::SeekEnd(follower) => {
                    let follower = &mut followers[follower];
                    follower.tail.as_mut().unwrap().seek(Offset::new(model.end).into());
                    follower.next = model.end;
                }
                Step::LetGo => world.broker.let_memory_go(),
            }
        }
        for follower in &mut followers {
            let mut all = Vec::new();
            while let Poll::Ready(Ok(Some(fetched))) = poll(&mut Box::pin(follower.tail.as_mut().unwrap().try_next())) {
                all.extend(records(&fetched.batches));
            }
            prop_assert_eq!(all, model.visible(follower.next));
        }
    }
}
