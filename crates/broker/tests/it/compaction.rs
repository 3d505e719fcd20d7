//! Compacted topics: what they take, what stays of them, and what one bad partition does to others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use broker::{Broker, Durability, EmbeddedBroker, Error, Place, ReadLimit};
use env::{SimClock, SimDisk};
use model::{Position, Timestamp};
use record::{BatchBuilder, Batches, CheckedBatch, Compression};

use crate::support::{SECOND, at, clock, create, manual, name, now, spec};

const ROOM: ReadLimit = ReadLimit {
    bytes: 1 << 20,
    at_least_one: true,
};

fn batch(key: Option<&str>, value: Option<&str>, time: Timestamp) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    let key = key.map(str::as_bytes);
    builder.push(time, key, value.map(str::as_bytes), &[]);
    builder.build()
}

fn compacted(broker: &EmbeddedBroker, topic: &str, partitions: u32, more: &[(&str, &str)]) {
    let mut spec = spec(topic, partitions);
    let basic = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1024"),
        ("retention.ms", "1"),
    ];
    for (key, value) in basic.iter().chain(more) {
        spec.config.set(key, Some(value)).unwrap();
    }
    create(broker, spec);
}

fn write(broker: &EmbeddedBroker, clock: &SimClock, partition: u32, key: &str, value: &str) {
    let batches = vec![batch(Some(key), Some(value), env::Clock::now(clock))];
    let to = at("prices", partition);
    now(broker, broker.append(&to, batches, Durability::Flushed)).unwrap();
}

/// Offset and value of the last record of each key, and how many records there are.
fn table(broker: &EmbeddedBroker, partition: u32) -> (BTreeMap<String, (u64, String)>, usize) {
    let of = at("prices", partition);
    let marks = now(broker, broker.marks(&of)).unwrap();
    let (mut found, mut count, mut from) = (BTreeMap::new(), 0, marks.log_start);
    while from < marks.high_watermark {
        let fetched = now(broker, broker.read(&of, from, ROOM)).unwrap();
        assert!(fetched.next > from);
        from = fetched.next;
        for batch in Batches::new(fetched.batches).map(Result::unwrap) {
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let value = text(record.value.unwrap());
                found.insert(text(record.key.unwrap()), (record.offset.get(), value));
                count += 1;
            }
        }
    }
    (found, count)
}

/// Many values of few keys in each of four partitions, in small appends that go through the journal.
fn fill(broker: &EmbeddedBroker, clock: &SimClock) {
    for turn in 0..20 {
        for partition in 0..4 {
            for key in ["a", "b", "c"] {
                write(
                    broker,
                    clock,
                    partition,
                    key,
                    &format!("{turn} {}", "x".repeat(60)),
                );
            }
        }
        clock.advance(SECOND);
    }
}

#[test]
fn the_last_values_stay_through_power_cuts() {
    for seed in 0..6 {
        let disk = SimDisk::new(seed);
        let clock = clock();
        let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
        compacted(&broker, "prices", 4, &[]);
        fill(&broker, &clock);
        let before: Vec<_> = (0..4).map(|partition| table(&broker, partition)).collect();
        assert!(broker.clean_now() > 0);
        assert_eq!(broker.clean_now(), 0, "nothing is dirty any more");
        broker.retain_now();
        let check = |broker: &EmbeddedBroker| {
            for (partition, (values, count)) in (0..).zip(&before) {
                let (found, left) = table(broker, partition);
                assert_eq!(&found, values, "retention.ms takes nothing");
                assert!(left < count / 2, "{left} of {count} are left");
                let to = at("prices", partition);
                let place = Place::Time(Timestamp::MIN);
                let first = now(broker, broker.find(&to, place)).unwrap().unwrap();
                assert!(first.position > Position::default(), "over the gap");
            }
        };
        check(&broker);
        drop(broker);
        disk.crash();
        let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 2)).unwrap();
        check(&broker);
        write(&broker, &clock, 0, "a", "new");
        assert_eq!(table(&broker, 0).0["a"], (60, "new".to_owned()));
    }
}

#[test]
fn a_damaged_partition_is_given_up_and_the_others_go_on() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
    compacted(&broker, "prices", 4, &[]);
    fill(&broker, &clock);
    let mut segments: Vec<PathBuf> = disk.content().into_iter().map(|(path, _)| path).collect();
    segments.retain(|path| {
        path.parent().is_some_and(|dir| dir.ends_with("1"))
            && path.ends_with("00000000000000000000.log")
    });
    disk.flip_bit(&segments[0], 80 * 8).unwrap();
    disk.drop_caches();
    assert!(broker.clean_now() > 0);
    assert_eq!(
        metric(&broker, "lantern_broker_compaction_uncleanable_partitions"),
        1.0
    );
    assert_eq!(metric(&broker, "lantern_broker_compaction_runs_total"), 3.0);
    for partition in [0, 2, 3] {
        assert!(table(&broker, partition).1 < 40);
    }
    broker.clean_now();
    assert_eq!(
        metric(&broker, "lantern_broker_compaction_failures_total"),
        1.0
    );
}

fn metric(broker: &Arc<EmbeddedBroker>, named: &str) -> f64 {
    let mut registry = prometheus_client::registry::Registry::default();
    broker.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{named} ")));
    let value = line.and_then(|line| line.split(' ').next_back());
    value
        .unwrap_or_else(|| panic!("{named} in {text}"))
        .parse()
        .unwrap()
}

#[test]
fn records_need_keys_and_lanterns_own_topics_are_not_compacted() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
    compacted(&broker, "prices", 1, &[]);
    let to = at("prices", 0);
    let time = env::Clock::now(&*clock);
    let batches = vec![
        batch(Some("a"), Some("1"), time),
        batch(None, Some("2"), time),
        batch(Some("b"), Some("3"), time),
    ];
    let refused = now(
        &broker,
        broker.append(&to, batches.clone(), Durability::Flushed),
    );
    match refused {
        Err(Error::Keyless { topic, records }) => {
            assert_eq!((topic, records), (name("prices"), vec![1]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table(&broker, 0).1, 0, "nothing was written");
    // As it was before, it takes them; and keeps them when it changes.
    let mut config = broker.topic(&name("prices")).unwrap().config.clone();
    config.set("cleanup.policy", Some("delete")).unwrap();
    now(
        &broker,
        broker.configure_topic(&name("prices"), config.clone()),
    )
    .unwrap();
    now(&broker, broker.append(&to, batches, Durability::Flushed)).unwrap();

    let mut own = spec("lantern.mine", 1);
    own.config
        .set("cleanup.policy", Some("compact,delete"))
        .unwrap();
    match now(&broker, broker.create_topic(own)) {
        Err(Error::InvalidConfig { key, .. }) => assert_eq!(key, "cleanup.policy"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_is_closed_in_time_for_the_longest_lag() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
    let slow = [
        ("segment.bytes", "1048576"),
        ("max.compaction.lag.ms", "60000"),
        ("min.cleanable.dirty.ratio", "1"),
    ];
    compacted(&broker, "prices", 1, &slow);
    for value in ["1", "2", "3"] {
        write(&broker, &clock, 0, "a", value);
    }
    assert_eq!(broker.clean_now(), 0);
    clock.advance(SECOND * 61);
    broker.retain_now();
    assert!(broker.clean_now() > 0);
    assert_eq!(table(&broker, 0).1, 1);
    // What was compacted is there for who opens it again, and says so itself.
    drop(broker);
    disk.restart();
    let names: Vec<String> = disk
        .content()
        .into_iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.contains("-00000000000000000003-")),
        "{names:?}"
    );
    let looked = crate::verify::look(&disk, &clock, 1).unwrap();
    assert!(looked.is_sound());
}
