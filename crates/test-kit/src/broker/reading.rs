//! Appending and reading: order, limits, marks, waiting, finding.

use broker::{Broker, Durability, Error, Place, ReadLimit, Tail};
use model::{Offset, Position, Timestamp, TopicPartition};

use super::{
    BrokerHarness, append, at, create, marks, name, position, read, read_all, read_limited, spec,
};
use crate::batches::{batch, batch_at, records, values};
use crate::within;

/// Offsets are assigned one after another, in the order of appends.
pub async fn offsets_have_no_gaps_and_order_is_kept(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    assert_eq!(append(&*broker, &orders, ["a", "b", "c"]).await, 0);
    assert_eq!(append(&*broker, &orders, ["d"]).await, 3);
    assert_eq!(append(&*broker, &orders, ["e", "f"]).await, 4);
    let all = read_all(&*broker, &orders, 0).await;
    let expected = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(all.len(), expected.len());
    for (index, (offset, value)) in all.iter().enumerate() {
        assert_eq!(usize::try_from(offset.get()).unwrap(), index);
        assert_eq!(value, expected[index]);
    }
    let marks = marks(&*broker, &orders).await;
    assert_eq!(
        (marks.log_start, marks.high_watermark, marks.log_end),
        (position(0), position(6), position(6))
    );
}

/// All batches of one append get offsets one after another.
pub async fn many_batches_in_one_append_are_all_there(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["first"]).await;
    let batches = (0..20)
        .map(|n| batch([n.to_string(), format!("{n}b")]))
        .collect();
    let appended = within(broker.append(&orders, batches, Durability::Flushed))
        .await
        .unwrap();
    assert_eq!(appended.base_offset, Offset::new(1));
    assert_eq!(appended.next, position(41));
    assert!(!appended.duplicate);
    let all = read_all(&*broker, &orders, 1).await;
    assert_eq!(all.len(), 40);
    assert_eq!(all[39], (Offset::new(40), "19b".to_owned()));
    let nothing = within(broker.append(&orders, Vec::new(), Durability::Flushed))
        .await
        .unwrap();
    assert_eq!(nothing.next, position(41));
}

/// The limit is the topic's, and what was refused left nothing.
pub async fn a_batch_above_the_limit_is_refused(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let mut small = spec("small", 1);
    small.config.set("max.message.bytes", Some("200")).unwrap();
    within(broker.create_topic(small)).await.unwrap();
    let to = at("small", 0);
    let batches = vec![batch(["fits"]), batch(["x".repeat(200)])];
    let refused = within(broker.append(&to, batches, Durability::Flushed)).await;
    assert!(
        matches!(refused, Err(Error::BatchTooLarge { limit: 200, .. })),
        "{refused:?}"
    );
    assert_eq!(append(&*broker, &to, ["fits"]).await, 0);
}

/// No more bytes than asked, and never part of a batch.
pub async fn reads_keep_their_limit_and_return_whole_batches(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    for n in 0..10 {
        append(&*broker, &orders, [format!("value {n}")]).await;
    }
    let one = read_limited(&*broker, &orders, 0, 1, true)
        .await
        .batches
        .len();
    let three = read_limited(&*broker, &orders, 2, one * 3 + one / 2, false).await;
    assert_eq!(values(&three.batches), ["value 2", "value 3", "value 4"]);
    assert_eq!(three.next, position(5));
    let exact = read_limited(&*broker, &orders, 0, one * 2, false).await;
    assert_eq!(values(&exact.batches).len(), 2);
}

/// `at_least_one` returns a batch larger than the limit; without it the answer is empty.
pub async fn one_batch_comes_whatever_its_size_when_asked(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["x".repeat(10_000)]).await;
    append(&*broker, &orders, ["small"]).await;
    let one = read_limited(&*broker, &orders, 0, 10, true).await;
    assert_eq!(values(&one.batches).len(), 1);
    assert_eq!(one.next, position(1));
    let none = read_limited(&*broker, &orders, 0, 10, false).await;
    assert!(none.batches.is_empty());
    assert_eq!(none.next, position(0));
}

/// Before the start and after the end are errors that carry the marks.
pub async fn a_read_outside_the_log_is_refused(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["a", "b"]).await;
    let limit = ReadLimit {
        bytes: 100,
        at_least_one: true,
    };
    for from in [position(3), Position::from_bits(u128::MAX)] {
        match within(broker.read(&orders, from, limit)).await {
            Err(Error::OutOfRange { log_end, asked, .. }) => {
                assert_eq!((log_end, asked), (position(2), from));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// At the high watermark there is nothing, at once.
pub async fn a_read_at_the_end_is_empty(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    assert!(read(&*broker, &orders, 0).await.batches.is_empty());
    append(&*broker, &orders, ["a", "b"]).await;
    let fetched = read(&*broker, &orders, 2).await;
    assert!(fetched.batches.is_empty());
    assert_eq!(fetched.next, position(2));
    assert_eq!(fetched.marks.high_watermark, position(2));
}

/// A batch is never cut, also when the position lies inside it.
pub async fn a_read_inside_a_batch_returns_the_whole_batch(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["a"]).await;
    append(&*broker, &orders, ["b", "c", "d"]).await;
    let fetched = read(&*broker, &orders, 2).await;
    let found = records(&fetched.batches);
    assert_eq!(found[0], (Offset::new(1), "b".to_owned()));
    assert_eq!(fetched.next, position(4));
}

/// A watch starts at the high watermark, changes on a publish and only then.
pub async fn a_watch_wakes_when_more_is_readable(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 2).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["a"]).await;
    let mut watch = broker.watch(&orders).unwrap();
    assert_eq!(*watch.borrow_and_update(), position(1));
    append(&*broker, &at("orders", 1), ["elsewhere"]).await;
    assert!(!watch.has_changed().unwrap(), "another partition's publish");
    let waiting = tokio::spawn(async move {
        watch.changed().await.unwrap();
        *watch.borrow_and_update()
    });
    append(&*broker, &orders, ["b", "c"]).await;
    assert_eq!(within(waiting).await.unwrap(), position(3));
}

/// A tail reads what was there, then what comes, without a gap between the two.
pub async fn a_tail_sees_everything_once_and_in_order(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    append(&*broker, &orders, ["0", "1"]).await;
    let mut tail = Tail::new(broker.clone(), orders.clone(), position(0)).unwrap();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 202 {
            seen.extend(values(&tail.next().await.unwrap().batches));
        }
        seen
    });
    for n in 2..202 {
        append(&*broker, &orders, [n.to_string()]).await;
    }
    let seen = within(reader).await.unwrap();
    let expected: Vec<String> = (0..202).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    let mut late = Tail::from_place(broker.clone(), orders.clone(), Place::Latest)
        .await
        .unwrap();
    assert!(late.try_next().await.unwrap().is_none());
    append(&*broker, &orders, ["new"]).await;
    assert_eq!(values(&within(late.next()).await.unwrap().batches), ["new"]);
}

/// Whoever waits on a topic hears that it is gone.
pub async fn a_tail_ends_when_its_topic_is_deleted(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let mut tail = Tail::new(broker.clone(), at("orders", 0), position(0)).unwrap();
    let waiting = tokio::spawn(async move { tail.next().await });
    within(broker.delete_topic(&name("orders"))).await.unwrap();
    let ended = within(waiting).await.unwrap();
    assert!(
        matches!(ended, Err(Error::UnknownTopic { .. })),
        "{ended:?}"
    );
}

async fn find(
    broker: &dyn Broker,
    of: &TopicPartition,
    place: Place,
) -> Option<(u64, Option<i64>)> {
    let found = within(broker.find(of, place)).await.unwrap()?;
    let offset = u64::try_from(found.position.bits()).unwrap();
    Some((offset, found.timestamp.map(Timestamp::millis)))
}

/// Earliest, latest, by time (the first record at or after it, inside a batch too), newest time.
pub async fn places_are_found_by_meaning(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let time = |millis| Place::Time(Timestamp::from_millis(millis));
    assert_eq!(find(&*broker, &orders, time(0)).await, None);
    assert_eq!(find(&*broker, &orders, Place::MaxTimestamp).await, None);
    assert_eq!(
        find(&*broker, &orders, Place::Earliest).await,
        Some((0, None))
    );
    for (stamp, count) in [(1_000, 2), (3_000, 3), (2_000, 1)] {
        let values = (0..count).map(|n| n.to_string());
        let batches = vec![batch_at(Timestamp::from_millis(stamp), values)];
        within(broker.append(&orders, batches, Durability::Flushed))
            .await
            .unwrap();
    }
    assert_eq!(
        find(&*broker, &orders, Place::Latest).await,
        Some((6, None))
    );
    for (asked, expected) in [
        (0, Some((0, Some(1_000)))),
        (1_000, Some((0, Some(1_000)))),
        (1_001, Some((2, Some(3_000)))),
        (2_500, Some((2, Some(3_000)))),
        (3_001, None),
    ] {
        assert_eq!(
            find(&*broker, &orders, time(asked)).await,
            expected,
            "{asked}"
        );
    }
    assert_eq!(
        find(&*broker, &orders, Place::MaxTimestamp).await,
        Some((2, Some(3_000)))
    );
}

/// What is deleted is out of range, also after a restart; offsets go on.
pub async fn deleted_records_are_out_of_range(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    for n in 0..10 {
        append(&*broker, &orders, [n.to_string()]).await;
    }
    let start = within(broker.delete_records(&orders, position(4)))
        .await
        .unwrap();
    assert_eq!(start, position(4));
    let earlier = within(broker.delete_records(&orders, position(2)))
        .await
        .unwrap();
    assert_eq!(earlier, position(4), "the log start never goes back");
    let beyond = within(broker.delete_records(&orders, position(11))).await;
    assert!(
        matches!(beyond, Err(Error::OutOfRange { .. })),
        "{beyond:?}"
    );
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(marks(&*broker, &orders).await.log_start, position(4));
    let limit = ReadLimit {
        bytes: 100,
        at_least_one: true,
    };
    let refused = within(broker.read(&orders, position(3), limit)).await;
    assert!(
        matches!(refused, Err(Error::OutOfRange { .. })),
        "{refused:?}"
    );
    assert_eq!(values(&read(&*broker, &orders, 4).await.batches)[0], "4");
    let start = within(broker.delete_records(&orders, position(10)))
        .await
        .unwrap();
    assert_eq!(start, position(10));
    assert_eq!(append(&*broker, &orders, ["next"]).await, 10);
}

/// Everything acknowledged as flushed is there after each of several crashes, unchanged.
pub async fn acknowledged_records_survive_crashes(mut harness: impl BrokerHarness) {
    let orders = at("orders", 0);
    let mut expected = Vec::new();
    for round in 0..5 {
        let broker = harness.open();
        if round == 0 {
            create(&*broker, "orders", 1).await;
        }
        assert_eq!(
            read_all(&*broker, &orders, 0).await,
            expected,
            "round {round}"
        );
        for n in 0..20 {
            let value = format!("{round}-{n}");
            let offset = append(&*broker, &orders, [value.as_str()]).await;
            expected.push((Offset::new(offset), value));
        }
        drop(broker);
        harness.kill().await;
    }
    let broker = harness.open();
    assert_eq!(read_all(&*broker, &orders, 0).await, expected);
}

/// Producers that wait for each answer find their records in their own order, none lost or doubled.
pub async fn concurrent_producers_keep_their_own_order(mut harness: impl BrokerHarness) {
    const PRODUCERS: usize = 20;
    const EACH: usize = 25;
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let broker = broker.clone();
        producers.spawn(async move {
            for n in 0..EACH {
                append(&*broker, &at("orders", 0), [format!("{producer} {n}")]).await;
            }
        });
    }
    while let Some(done) = within(producers.join_next()).await {
        done.unwrap();
    }
    let all = read_all(&*broker, &at("orders", 0), 0).await;
    assert_eq!(all.len(), PRODUCERS * EACH);
    let mut next = [0; PRODUCERS];
    for (index, (offset, value)) in all.iter().enumerate() {
        assert_eq!(usize::try_from(offset.get()).unwrap(), index);
        let (producer, n) = value.split_once(' ').unwrap();
        let producer: usize = producer.parse().unwrap();
        assert_eq!(n.parse::<usize>().unwrap(), next[producer]);
        next[producer] += 1;
    }
}

/// Appends to many partitions at once land where they were sent.
pub async fn partitions_do_not_mix(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 8).await;
    let mut producers = tokio::task::JoinSet::new();
    for partition in 0..8 {
        let broker = broker.clone();
        producers.spawn(async move {
            for n in 0..10 {
                append(
                    &*broker,
                    &at("orders", partition),
                    [format!("{partition} {n}")],
                )
                .await;
            }
        });
    }
    while let Some(done) = within(producers.join_next()).await {
        done.unwrap();
    }
    for partition in 0..8 {
        let all = read_all(&*broker, &at("orders", partition), 0).await;
        let expected: Vec<_> = (0..10)
            .map(|n| (Offset::new(n), format!("{partition} {n}")))
            .collect();
        assert_eq!(all, expected);
    }
}
