//! How late groups are, over a broker whose time is set.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Commit, DelayFilter, Delays, Durability, EmbeddedBroker};
use env::{Clock, SimClock, SimDisk};
use model::{GroupId, Offset, Outcome, Producer, TopicPartition};
use record::{BatchBuilder, Compression};

use crate::support::{at, clock, create, manual, now, spec};

struct Rig {
    broker: Arc<EmbeddedBroker>,
    clock: Arc<SimClock>,
    disk: SimDisk,
}

impl Rig {
    fn open() -> Self {
        let (clock, disk) = (clock(), SimDisk::new(7));
        let options = manual(disk.shared(), Arc::clone(&clock), 1);
        Self {
            broker: EmbeddedBroker::open(options).unwrap(),
            clock,
            disk,
        }
    }

    fn restart(self, after: Duration) -> Self {
        let Self {
            broker,
            clock,
            disk,
        } = self;
        drop(broker);
        clock.advance(after);
        let options = manual(disk.shared(), Arc::clone(&clock), 2);
        Self {
            broker: EmbeddedBroker::open(options).unwrap(),
            clock,
            disk,
        }
    }

    fn topic(&self, name: &str) -> TopicPartition {
        create(&self.broker, spec(name, 2));
        at(name, 0)
    }

    fn produce(&self, to: &TopicPartition, count: usize) {
        let mut batch = BatchBuilder::new(Compression::None);
        for _ in 0..count {
            batch.push(self.clock.now(), None, Some(b"x"), &[]);
        }
        let batches = vec![batch.build()];
        now(
            &self.broker,
            self.broker.append(to, batches, Durability::Flushed),
        )
        .unwrap();
    }

    fn commit_of(&self, position: u64) -> Commit {
        Commit {
            position: Offset::new(position).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: self.clock.now(),
        }
    }

    fn commit(&self, group: &str, of: &TopicPartition, position: u64) {
        let group: GroupId = group.parse().unwrap();
        let commits = vec![(of.clone(), self.commit_of(position))];
        now(&self.broker, self.broker.commit(&group, commits)).unwrap();
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    fn delays(&self) -> Delays {
        self.broker.delays(&DelayFilter::default()).unwrap()
    }
}

/// Places as `group topic-partition committed/end lag age: records p50 p99`.
fn told(delays: &Delays) -> Vec<String> {
    let place = |it: &broker::PlaceDelay| {
        let age = it.seen.age_ms.map_or("?".to_owned(), |age| age.to_string());
        let delay = it.seen.delay.map_or("-".to_owned(), |delay| {
            format!("{}x{} {}", delay.records, delay.p50, delay.p99)
        });
        format!(
            "{} {} {}/{} lag {} age {age}: {delay}",
            it.group, it.of, it.seen.committed, it.end, it.lag
        )
    };
    delays.places.iter().map(place).collect()
}

#[test]
fn a_commit_says_how_long_what_it_passes_had_waited() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    rig.commit("shop", &orders, 0);
    rig.produce(&orders, 10);
    rig.pass(1_000);
    rig.produce(&orders, 90);
    rig.pass(15);
    rig.commit("shop", &orders, 50);
    assert_eq!(
        told(&rig.delays()),
        ["shop orders-0 50/100 lag 50 age 15: 50x15 1023"]
    );
    rig.pass(2_000);
    assert_eq!(
        told(&rig.delays()),
        ["shop orders-0 50/100 lag 50 age 2015: 50x15 1023"]
    );
    // Another group has its own; one that begins in the middle passes nothing by that.
    rig.commit("audit", &orders, 100);
    let delays = rig.delays();
    assert_eq!(told(&delays)[0], "audit orders-0 100/100 lag 0 age 0: -");
    let groups: Vec<_> = delays
        .groups
        .iter()
        .map(|it| (it.group.as_str(), it.lag, it.age_ms))
        .collect();
    assert_eq!(groups, [("audit", 0, Some(0)), ("shop", 50, Some(2_015))]);
    let only = DelayFilter {
        group: Some("audit".parse().unwrap()),
        topic: None,
    };
    assert_eq!(rig.broker.delays(&only).unwrap().places.len(), 1);
    let none = DelayFilter {
        group: None,
        topic: Some("payments".parse().unwrap()),
    };
    assert_eq!(rig.broker.delays(&none).unwrap().places, []);
}

#[test]
fn the_wall_clock_may_jump() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    rig.commit("shop", &orders, 0);
    rig.produce(&orders, 1);
    rig.clock
        .step_to(rig.clock.now().plus(Duration::from_hours(1)));
    rig.pass(10);
    rig.commit("shop", &orders, 1);
    assert_eq!(
        told(&rig.delays()),
        ["shop orders-0 1/1 lag 0 age 0: 1x10 10"]
    );
}

#[test]
fn progress_of_a_transaction_counts_when_it_ends() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    rig.commit("shop", &orders, 0);
    rig.produce(&orders, 4);
    let log = rig.broker.transactional().unwrap();
    let group: GroupId = "shop".parse().unwrap();
    for (id, outcome, to) in [(1, Outcome::Abort, 4), (2, Outcome::Commit, 3)] {
        let commits = vec![(orders.clone(), rig.commit_of(to))];
        now(
            &rig.broker,
            log.stage(Producer { id, epoch: 0 }, &group, commits),
        )
        .unwrap();
        rig.pass(500);
        now(&rig.broker, log.settle(id, outcome)).unwrap();
    }
    assert_eq!(
        told(&rig.delays()),
        ["shop orders-0 3/4 lag 1 age 1000: 3x1023 1023"]
    );
}

#[test]
fn after_a_restart_ages_come_from_the_log() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    for _ in 0..40 {
        rig.produce(&orders, 5);
        rig.pass(1_000);
    }
    rig.commit("shop", &orders, 20);
    rig.commit("idle", &orders, 200);
    let rig = rig.restart(Duration::from_mins(1));
    assert_eq!(
        told(&rig.delays()),
        [
            "idle orders-0 200/200 lag 0 age 0: -",
            "shop orders-0 20/200 lag 180 age ?: -"
        ]
    );
    rig.broker.learn_delays_now();
    // The record at 20 was written after 4 of the 40 seconds.
    assert_eq!(
        told(&rig.delays())[1],
        "shop orders-0 20/200 lag 180 age 96000: -"
    );
    rig.commit("shop", &orders, 200);
    let delays = rig.delays();
    let delay = delays.places[1].seen.delay.unwrap();
    // Between 60 and 96 seconds ago, evenly; of each sixteenth the oldest time is taken.
    assert_eq!(delay.records, 180);
    assert!(
        (78_000..=78_000 + 3_000 + 78_000 / 16).contains(&delay.p50),
        "{delay:?}"
    );
    assert!(
        (95_000..=96_000 + 96_000 / 16).contains(&delay.p99),
        "{delay:?}"
    );
}

#[test]
fn a_topic_that_goes_takes_its_places_along() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    rig.commit("shop", &orders, 0);
    rig.produce(&orders, 9);
    let name = orders.topic.clone();
    now(&rig.broker, rig.broker.delete_topic(&name)).unwrap();
    assert_eq!(rig.delays(), Delays::default());
    // A new one of that name begins anew.
    let orders = rig.topic("orders");
    rig.produce(&orders, 2);
    rig.commit("shop", &orders, 1);
    rig.pass(70);
    assert_eq!(told(&rig.delays()), ["shop orders-0 1/2 lag 1 age 70: -"]);
    now(
        &rig.broker,
        rig.broker.forget_group(&"shop".parse().unwrap(), None),
    )
    .unwrap();
    assert_eq!(rig.delays().places, []);
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let rig = Rig::open();
    let orders = rig.topic("orders");
    rig.commit("shop", &orders, 0);
    rig.produce(&orders, 8);
    rig.pass(250);
    rig.commit("shop", &orders, 5);
    let mut registry = prometheus_client::registry::Registry::default();
    rig.broker.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"kafka_topic_partitions{topic="orders"} 2.0"#,
        r#"kafka_topic_partition_current_offset{topic="orders",partition="0"} 8.0"#,
        r#"kafka_topic_partition_oldest_offset{topic="orders",partition="1"} 0.0"#,
        r#"lantern_broker_partition_append_records_total{topic="orders",partition="0"} 8.0"#,
        r#"lantern_broker_topic_append_records_total{topic="orders"} 8.0"#,
        r#"kafka_consumergroup_current_offset{consumergroup="shop",topic="orders",partition="0"} 5.0"#,
        r#"kafka_consumergroup_lag{consumergroup="shop",topic="orders",partition="0"} 3.0"#,
        r#"lantern_delay_partition_age_seconds{consumergroup="shop",topic="orders",partition="0"} 0.25"#,
        r#"lantern_delay_partition_seconds{consumergroup="shop",topic="orders",partition="0",quantile="0.99"} 0.255"#,
        r#"lantern_delay_group_seconds{consumergroup="shop",quantile="0.5"} 0.255"#,
        r#"lantern_delay_group_records{consumergroup="shop"} 5.0"#,
        "lantern_delay_hidden 0.0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in:\n{text}"
        );
    }
}
