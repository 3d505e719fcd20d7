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
use test_kit::batches::batch_in_transaction;
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
