//! The coordinator of transactions over an embedded broker: what a start finds, and what time does.

use std::sync::Arc;
use std::time::Duration;

use broker::transaction_coordinator::Init;
use broker::{
    Broker, Durability, DynBroker, EmbeddedBroker, TransactionCoordinator, TransactionError,
    TransactionOptions,
};
use env::{SimClock, SimDisk};
use model::{GroupId, Outcome, Producer};
use test_kit::batches::{batch, batch_in_transaction, values};
use transactions::{Error, Phase, TransactionalId};

use crate::support::{at, clock, create, manual, poll, spec};

struct World {
    broker: Arc<EmbeddedBroker>,
    coordinator: Arc<TransactionCoordinator>,
    clock: Arc<SimClock>,
}

fn open(disk: &SimDisk, clock: &Arc<SimClock>, options: TransactionOptions) -> World {
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(clock), 1)).unwrap();
    let shared: DynBroker = Arc::<EmbeddedBroker>::clone(&broker);
    let time: env::DynClock = Arc::<SimClock>::clone(clock);
    let world = World {
        coordinator: TransactionCoordinator::new(shared, time, options),
        broker,
        clock: Arc::clone(clock),
    };
    assert!(!world.coordinator.is_ready());
    let loading = Arc::clone(&world.coordinator);
    world.run(async move { loading.load().await }).unwrap();
    world
}

impl World {
    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = Box::pin(call);
        for _ in 0..40 {
            if let std::task::Poll::Ready(answer) = poll(&mut call) {
                return answer;
            }
            self.broker.run_round();
        }
        panic!("a call is not answered after many rounds");
    }

    fn init(&self, name: &str) -> Result<Producer, TransactionError> {
        let ask = Init {
            timeout: Duration::from_secs(5),
            expected: None,
        };
        self.run(self.coordinator.init(&id(name), ask))
    }

    fn write(&self, name: &str, by: Producer, value: &str) {
        let orders = at("orders", 0);
        let id = id(name);
        let added = self
            .coordinator
            .add_partitions(&id, by, vec![orders.clone()]);
        self.run(added).unwrap();
        let batch = vec![batch_in_transaction(by, 0, [value])];
        self.run(self.broker.append(&orders, batch, Durability::Flushed))
            .unwrap();
    }

    fn write_plain(&self, value: &str) {
        let plain = vec![batch([value])];
        let orders = at("orders", 0);
        self.run(self.broker.append(&orders, plain, Durability::Flushed))
            .unwrap();
    }

    /// Log start, last stable offset and high watermark, and what readers of what is committed see.
    fn seen(&self) -> ([u128; 3], Vec<String>) {
        let orders = at("orders", 0);
        let marks = self.run(self.broker.marks(&orders)).unwrap();
        let (mut from, mut seen) = (marks.log_start, Vec::new());
        while from < marks.last_stable {
            let limit = broker::ReadLimit {
                bytes: 1 << 20,
                at_least_one: true,
            };
            let read = broker::read_committed(&*self.broker, &orders, from, limit);
            let fetched = self.run(read).unwrap();
            assert!(fetched.next > from);
            seen.extend(values(&fetched.batches));
            from = fetched.next;
        }
        let marks = [marks.log_start, marks.last_stable, marks.high_watermark];
        (marks.map(model::Position::bits), seen)
    }

    /// Whether readers of what is committed reach the end.
    fn is_stable(&self) -> bool {
        let marks = self.run(self.broker.marks(&at("orders", 0))).unwrap();
        marks.last_stable == marks.high_watermark
    }
}

fn id(name: &str) -> TransactionalId {
    TransactionalId::new(name).unwrap()
}

#[test]
fn an_open_transaction_goes_on_after_a_kill() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let world = open(&disk, &clock, TransactionOptions::default());
    create(&world.broker, spec("orders", 1));
    let by = world.init("shop").unwrap();
    world.write("shop", by, "before");
    drop(world);
    disk.crash();
    let world = open(&disk, &clock, TransactionOptions::default());
    assert!(!world.is_stable());
    let batch = vec![batch_in_transaction(by, 1, ["after"])];
    let orders = at("orders", 0);
    world
        .run(world.broker.append(&orders, batch, Durability::Flushed))
        .unwrap();
    let shop = id("shop");
    let ended = world.coordinator.end(&shop, by, Outcome::Commit);
    world.run(ended).unwrap();
    assert!(world.is_stable());
}

#[test]
fn a_transaction_that_no_state_tells_of_is_aborted_at_the_start() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let world = open(&disk, &clock, TransactionOptions::default());
    create(&world.broker, spec("orders", 1));
    // As if its record in lantern.groups had been lost.
    let orphan = Producer::new(world.run(world.broker.new_producer_id()).unwrap(), 0);
    let log = world.broker.transactional().unwrap();
    log.enlist(orphan, &at("orders", 0)).unwrap();
    let batch = vec![batch_in_transaction(orphan, 0, ["x"])];
    world
        .run(
            world
                .broker
                .append(&at("orders", 0), batch, Durability::Flushed),
        )
        .unwrap();
    assert!(!world.is_stable());
    drop(world);
    disk.restart();
    let world = open(&disk, &clock, TransactionOptions::default());
    assert!(world.is_stable());
    let log = world.broker.transactional().unwrap();
    assert!(world.run(log.unfinished()).unwrap().is_empty());
}

#[test]
fn time_ends_a_transaction_and_its_producer_is_fenced() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let world = open(&disk, &clock, TransactionOptions::default());
    create(&world.broker, spec("orders", 1));
    let by = world.init("shop").unwrap();
    world.write("shop", by, "late");
    world.clock.advance(Duration::from_millis(4_999));
    world.run(world.coordinator.tick());
    assert!(!world.is_stable());
    world.clock.advance(Duration::from_millis(1));
    world.run(world.coordinator.tick());
    assert!(world.is_stable());
    let shop = id("shop");
    let ended = world.coordinator.end(&shop, by, Outcome::Commit);
    assert!(matches!(
        world.run(ended),
        Err(TransactionError::Refused(Error::Fenced { .. }))
    ));
    let state = world.run(world.coordinator.describe(&id("shop"))).unwrap();
    assert_eq!(state.unwrap().phase(), Phase::Ended(Outcome::Abort));
}

#[test]
fn ids_have_a_bound_and_a_refused_one_leaves_no_trace() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let options = TransactionOptions {
        ids_max: 1,
        ..TransactionOptions::default()
    };
    let world = open(&disk, &clock, options);
    let ask = Init {
        timeout: Duration::ZERO,
        expected: None,
    };
    let refused = world.run(world.coordinator.init(&id("a"), ask));
    assert!(matches!(
        refused,
        Err(TransactionError::Refused(Error::Timeout { .. }))
    ));
    world.init("b").unwrap();
    assert!(matches!(
        world.init("c"),
        Err(TransactionError::Refused(Error::TooManyIds { limit: 1 }))
    ));
}

#[test]
fn a_deleted_topic_holds_no_transaction_up() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let world = open(&disk, &clock, TransactionOptions::default());
    create(&world.broker, spec("orders", 1));
    create(&world.broker, spec("gone", 1));
    let by = world.init("shop").unwrap();
    world.write("shop", by, "x");
    let gone = at("gone", 0);
    let shop = GroupId::new("shop").unwrap();
    let coordinator = &world.coordinator;
    world
        .run(coordinator.add_partitions(&id("shop"), by, vec![gone.clone()]))
        .unwrap();
    world
        .run(coordinator.add_group(&id("shop"), by, shop.clone()))
        .unwrap();
    let commit = broker::Commit {
        position: model::Offset::new(3).into(),
        leader_epoch: None,
        metadata: String::new(),
        at: model::Timestamp::from_millis(1),
    };
    let commits = vec![(gone.clone(), commit)];
    world
        .run(coordinator.stage(&id("shop"), by, shop.clone(), commits))
        .unwrap();
    world.run(world.broker.delete_topic(&gone.topic)).unwrap();
    world
        .run(coordinator.end(&id("shop"), by, Outcome::Commit))
        .unwrap();
    assert!(world.is_stable());
    assert!(
        world
            .run(world.broker.committed(&shop, None))
            .unwrap()
            .is_empty()
    );
}

/// As in Kafka: DeleteRecords reaches the high watermark and retention takes whole segments before it, whatever is open
/// there. What is left of the transaction keeps its outcome, and nobody waits for what is gone.
#[test]
fn what_is_deleted_under_an_open_transaction_holds_nobody_up() {
    for (outcome, sees) in [
        (Outcome::Commit, &["plain", "in it 2", "after"][..]),
        (Outcome::Abort, &["plain", "after"]),
    ] {
        let (disk, clock) = (SimDisk::new(1), clock());
        let world = open(&disk, &clock, TransactionOptions::default());
        create(&world.broker, spec("orders", 1));
        let by = world.init("shop").unwrap();
        world.write("shop", by, "in it 1");
        world.write_plain("plain");
        assert_eq!(world.seen(), ([0, 0, 2], vec![]));
        let orders = at("orders", 0);
        let beyond = world
            .broker
            .delete_records(&orders, model::Offset::new(3).into());
        assert!(matches!(
            world.run(beyond),
            Err(broker::Error::OutOfRange { .. })
        ));
        let deleted = world
            .broker
            .delete_records(&orders, model::Offset::new(1).into());
        world.run(deleted).unwrap();
        assert_eq!(world.seen(), ([1, 1, 2], vec![]), "what is open still is");
        drop(world);
        disk.crash();
        let world = open(&disk, &clock, TransactionOptions::default());
        assert_eq!(world.seen(), ([1, 1, 2], vec![]), "also after a start");
        let next = vec![batch_in_transaction(by, 1, ["in it 2"])];
        world
            .run(world.broker.append(&orders, next, Durability::Flushed))
            .unwrap();
        let shop = id("shop");
        world
            .run(world.coordinator.end(&shop, by, outcome))
            .unwrap();
        world.write_plain("after");
        let expected: Vec<String> = sees.iter().map(ToString::to_string).collect();
        assert_eq!(world.seen(), ([1, 5, 5], expected), "{outcome:?}");
    }
}

#[test]
fn retention_takes_segments_under_an_open_transaction() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let world = open(&disk, &clock, TransactionOptions::default());
    let mut spec = spec("orders", 1);
    for (key, value) in [("segment.bytes", "1024"), ("retention.bytes", "2048")] {
        spec.config.set(key, Some(value)).unwrap();
    }
    create(&world.broker, spec);
    let by = world.init("shop").unwrap();
    world.write("shop", by, "in it");
    for number in 0..20 {
        world.write_plain(&format!("{number:0>400}"));
    }
    assert!(world.broker.retain_now() > 0);
    let (marks, seen) = world.seen();
    assert!(marks[0] > 0 && marks[1] == marks[0], "{marks:?}");
    assert!(seen.is_empty(), "it is open still");
    let shop = id("shop");
    let ended = world.coordinator.end(&shop, by, Outcome::Commit);
    world.run(ended).unwrap();
    let (marks, seen) = world.seen();
    assert_eq!(marks[1], marks[2]);
    assert_eq!(
        seen.len() as u128,
        marks[2] - marks[0] - 1,
        "all but the marker"
    );
}
