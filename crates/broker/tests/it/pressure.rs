//! The bound of the queue, and what a round of the writer does.

use std::sync::Arc;

use broker::{Append, Broker, Durability, EmbeddedBroker, Error, Options};
use env::SimDisk;
use model::Offset;
use stdx::ByteSize;
use test_kit::batches::{batch, batch_of, values};
use test_kit::within;

use crate::support::{
    SECOND, at, clock, create, manual, name, now, options, poll, spec, without_journal,
};

/// A broker whose queue takes four appends or 4 KiB.
fn small() -> Arc<EmbeddedBroker> {
    let broker = EmbeddedBroker::open(Options {
        queue_bytes: ByteSize::from_kib(4),
        queue_appends: 4,
        ..manual(SimDisk::new(1).shared(), clock(), 1)
    })
    .unwrap();
    create(&broker, spec("orders", 2));
    broker
}

#[test]
fn a_full_queue_makes_appends_wait_and_a_round_lets_them_in() {
    let broker = small();
    let orders = at("orders", 0);
    let mut appends: Vec<_> = (0..10)
        .map(|n| {
            let batches = vec![batch([n.to_string()])];
            broker.append(&orders, batches, Durability::Flushed)
        })
        .collect();
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    assert_eq!(broker.run_round(), 4, "no more than the queue holds");
    let done = appends.iter_mut().filter_map(|append| match poll(append) {
        std::task::Poll::Ready(appended) => Some(appended.unwrap().base_offset.get()),
        std::task::Poll::Pending => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), [0, 1, 2, 3]);
    appends.drain(..4);
    assert_eq!(broker.run_round(), 4);
    assert!(
        appends
            .drain(..4)
            .all(|mut append| poll(&mut append).is_ready())
    );
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    assert_eq!(broker.run_round(), 2);
}

#[test]
fn bytes_are_bounded_too_and_a_large_append_passes_alone() {
    let broker = small();
    let orders = at("orders", 0);
    let large = || vec![batch(["x".repeat(10_000)])];
    let mut first = broker.append(&orders, large(), Durability::Flushed);
    let mut second = broker.append(&orders, large(), Durability::Flushed);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert_eq!(broker.run_round(), 1);
    assert!(poll(&mut first).is_ready() && poll(&mut second).is_pending());
    assert_eq!(broker.run_round(), 1);
    assert!(poll(&mut second).is_ready());
}

#[test]
fn a_caller_that_goes_away_while_it_waits_appends_nothing() {
    let broker = small();
    let orders = at("orders", 0);
    let mut appends: Vec<_> = (0..6)
        .map(|n| {
            let batches = vec![batch([n.to_string()])];
            broker.append(&orders, batches, Durability::Flushed)
        })
        .collect();
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    // Queued ones are appended all the same; the two that wait for room are not.
    drop(appends);
    while broker.run_round() > 0 {}
    let marks = now(&broker, broker.marks(&orders)).unwrap();
    assert_eq!(marks.high_watermark, Offset::new(4).into());
}

#[test]
fn one_round_writes_many_partitions_and_flushes_all_or_each_once() {
    let flushes = |options: Options, lines: [&str; 2]| {
        let text = metrics_of_one_round(options);
        for line in lines.into_iter().chain([
            "lantern_broker_appends_total 100",
            "lantern_broker_append_records_total 100",
            "lantern_broker_round_appends_sum 100.0",
            "lantern_broker_topic_high_watermark{topic=\"orders\"} 100",
            "lantern_broker_topics 2",
        ]) {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    };
    flushes(
        manual(SimDisk::new(1).shared(), clock(), 1),
        [
            "lantern_broker_flushes_total 0",
            "lantern_broker_journal_commits_total 1",
        ],
    );
    flushes(
        without_journal(SimDisk::new(1).shared(), clock(), 1),
        [
            "lantern_broker_flushes_total 4",
            "lantern_broker_journal_commits_total 0",
        ],
    );
}

/// What a broker counts after 100 appends to four partitions in one round.
fn metrics_of_one_round(options: Options) -> String {
    let broker = EmbeddedBroker::open(options).unwrap();
    create(&broker, spec("orders", 4));
    let places: Vec<_> = (0..4).map(|partition| at("orders", partition)).collect();
    let mut registry = prometheus_client::registry::Registry::default();
    broker.register(&mut registry);
    let mut appends: Vec<_> = (0..100)
        .map(|n| {
            let batches = vec![batch([n.to_string()])];
            broker.append(&places[n % 4], batches, Durability::Flushed)
        })
        .collect();
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    assert_eq!(broker.run_round(), 100);
    assert!(appends.iter_mut().all(|append| poll(append).is_ready()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn appends_to_several_partitions_at_once_each_get_their_own_answer_in_their_order() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    let to = |topic, partition, batches| Append {
        to: at(topic, partition),
        batches,
        durability: Durability::Flushed,
    };
    let answers = now(
        &broker,
        broker.append_each(vec![
            to("orders", 1, vec![batch(["a"])]),
            to("nowhere", 0, vec![batch(["b"])]),
            to("orders", 0, Vec::new()),
            to("orders", 1, vec![batch_of((7, 0, 5), ["a gap"])]),
            to("orders", 1, vec![batch(["c", "d"])]),
        ]),
    );
    let [first, unknown, nothing, gap, last] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(first.as_ref().unwrap().base_offset, Offset::ZERO);
    assert!(matches!(unknown, Err(Error::UnknownTopic { .. })));
    assert_eq!(nothing.as_ref().unwrap().base_offset, Offset::ZERO);
    assert!(gap.is_ok() || matches!(gap, Err(Error::OutOfOrderSequence { .. })));
    assert!(last.as_ref().unwrap().base_offset > Offset::ZERO);
    assert!(now(&broker, broker.append_each(Vec::new())).is_empty());
}

#[test]
fn appends_joined_in_one_write_each_get_their_own_answer() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    let orders = at("orders", 0);
    let append = |batches| broker.append(&orders, batches, Durability::Flushed);
    let mut appends = [
        append(vec![batch(["a", "b"]), batch(["c"])]),
        append(vec![batch(["d"])]),
        append(vec![batch_of((7, 0, 0), ["e"])]),
        append(vec![batch_of((7, 0, 0), ["e"])]),
        append(vec![batch_of((7, 0, 5), ["a gap"])]),
        append(vec![batch(["f", "g"])]),
    ];
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    assert_eq!(broker.run_round(), 6);
    let answers: Vec<_> = appends
        .iter_mut()
        .map(|append| match poll(append) {
            std::task::Poll::Ready(Ok(appended)) => {
                let next = u64::try_from(appended.next.bits()).unwrap();
                Some((appended.base_offset.get(), next, appended.duplicate))
            }
            std::task::Poll::Ready(Err(_)) => None,
            std::task::Poll::Pending => panic!("not answered"),
        })
        .collect();
    let expected = [
        Some((0, 3, false)),
        Some((3, 4, false)),
        Some((4, 5, false)),
        Some((4, 5, true)),
        None,
        Some((5, 7, false)),
    ];
    assert_eq!(answers, expected);
    let limit = broker::ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let fetched = now(
        &broker,
        broker.read(&orders, model::Position::default(), limit),
    )
    .unwrap();
    assert_eq!(
        values(&fetched.batches),
        ["a", "b", "c", "d", "e", "f", "g"]
    );
}

#[test]
fn when_joined_appends_do_not_fit_those_that_do_are_taken() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    let orders = at("orders", 0);
    disk.set_capacity(Some(disk.used() + 400));
    let append = |bytes| {
        let batches = vec![batch(["x".repeat(bytes)])];
        broker.append(&orders, batches, Durability::Flushed)
    };
    let mut appends = [append(100), append(1_000), append(100)];
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    broker.run_round();
    let fits: Vec<_> = appends
        .iter_mut()
        .map(|append| match poll(append) {
            std::task::Poll::Ready(answer) => answer.map(|appended| appended.base_offset.get()),
            std::task::Poll::Pending => panic!("not answered"),
        })
        .collect();
    assert!(
        matches!(fits[..], [Ok(0), Err(Error::DiskFull { .. }), Ok(1)]),
        "{fits:?}"
    );
}

#[test]
fn what_is_only_written_is_answered_at_once_and_seen_after_the_flush() {
    let broker = small();
    let orders = at("orders", 0);
    let written = broker.append(&orders, vec![batch(["a"])], Durability::Written);
    let appended = now(&broker, written).unwrap();
    assert_eq!(appended.next, Offset::new(1).into());
    let marks = now(&broker, broker.marks(&orders)).unwrap();
    assert_eq!(
        marks.high_watermark,
        Offset::new(1).into(),
        "flushed in the same round"
    );
}

#[test]
fn a_topic_that_asks_for_written_is_flushed_later() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
    let mut fast = spec("fast", 1);
    fast.config.durability = Durability::Written;
    create(&broker, fast);
    let place = at("fast", 0);
    let append = |value: &'static str| {
        let append = broker.append(&place, vec![batch([value])], Durability::Written);
        now(&broker, append).unwrap();
    };
    append("kept");
    let marks = now(&broker, broker.marks(&place)).unwrap();
    assert_eq!(
        marks.high_watermark,
        Offset::new(1).into(),
        "readable unflushed"
    );
    clock.advance(SECOND * 2);
    broker.run_round();
    append("lost");
    disk.crash_with(env::Survival::Nothing);
    drop(broker);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock, 2)).unwrap();
    let limit = broker::ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let position = model::Position::default();
    let fetched = now(&broker, broker.read(&place, position, limit)).unwrap();
    assert_eq!(values(&fetched.batches), ["kept"]);
}

#[tokio::test]
async fn shutdown_answers_what_is_queued_and_refuses_the_rest() {
    let broker = EmbeddedBroker::open(options(SimDisk::new(1).shared(), clock(), 1)).unwrap();
    within(broker.create_topic(spec("orders", 1)))
        .await
        .unwrap();
    let mut tail = broker::Tail::new(broker.clone(), at("orders", 0), model::Position::default());
    let waiting = tokio::spawn(async move { tail.as_mut().unwrap().next().await.map(|_| ()) });
    let mut appends = tokio::task::JoinSet::new();
    for n in 0..50 {
        let broker = broker.clone();
        appends.spawn(async move {
            let batches = vec![batch([n.to_string()])];
            broker
                .append(&at("orders", 0), batches, Durability::Flushed)
                .await
        });
    }
    let first = within(appends.join_next()).await.unwrap().unwrap();
    assert!(first.is_ok());
    within(broker.shutdown()).await.unwrap();
    while let Some(append) = within(appends.join_next()).await {
        let append = append.unwrap();
        assert!(matches!(append, Ok(_) | Err(Error::Stopping)), "{append:?}");
    }
    assert!(
        within(waiting).await.unwrap().is_ok(),
        "the tail saw the first append"
    );
    let refused = within(broker.create_topic(spec("late", 1))).await;
    assert!(matches!(refused, Err(Error::Stopping)), "{refused:?}");
    let deleted = within(broker.delete_topic(&name("orders"))).await;
    assert!(matches!(deleted, Err(Error::Stopping)), "{deleted:?}");
}
